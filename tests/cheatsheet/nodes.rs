//! "to all clients on this node (when using multiple nodes)": two servers whose adapters tell each
//! other what is said.

use crate::stage::{Stage, Wire, hello, on_each_wire, quiet};
use emitwire::room::{Mailbox, Selection, Shared};
use emitwire::{Adapter, Fanout, LocalAdapter, RoomError, RoomName, Server, SocketId, async_trait};
use std::sync::{Arc, Mutex, Weak};

/// The adapters of one namespace on all nodes.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<Vec<Weak<Node>>>>);

/// Gives broadcasts to its own members and to the other nodes; everything else stays here.
struct Node {
    local: LocalAdapter,
    cluster: Cluster,
}

impl Cluster {
    async fn node(&self, wire: Wire) -> Stage {
        let cluster = self.clone();
        let make = move |_: &str, local: LocalAdapter| -> Arc<dyn Adapter> {
            let node = Arc::new(Node { local, cluster: cluster.clone() });
            cluster.0.lock().unwrap().push(Arc::downgrade(&node));
            node
        };
        Stage::on(wire, Server::new().adapter(make), [quiet("/")]).await
    }
}

impl Node {
    fn tell_others(&self, selection: &Selection, event: &Shared) {
        let nodes: Vec<_> = self.cluster.0.lock().unwrap().clone();
        for other in nodes.iter().filter_map(Weak::upgrade) {
            if !std::ptr::eq(&*other, self) {
                let event = self.local.carry(event).unwrap();
                other.local.receive(selection, event, None);
            }
        }
    }
}

#[async_trait]
impl Adapter for Node {
    fn add(&self, id: SocketId, mailbox: Arc<Mailbox>) {
        self.local.add(id, mailbox);
    }

    fn silence(&self, id: SocketId) {
        self.local.silence(id);
    }

    fn remove(&self, id: SocketId) {
        self.local.remove(id);
    }

    fn join(&self, id: SocketId, rooms: &[RoomName]) -> Result<(), RoomError> {
        self.local.join(id, rooms)
    }

    fn leave(&self, id: SocketId, rooms: &[RoomName]) {
        self.local.leave(id, rooms);
    }

    fn rooms_of(&self, id: SocketId) -> Vec<RoomName> {
        self.local.rooms_of(id)
    }

    fn broadcast(&self, selection: &Selection, event: &mut Shared) -> Fanout {
        if !selection.local {
            self.tell_others(selection, event);
        }
        self.local.broadcast(selection, event)
    }

    fn join_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        self.local.join_all(selection, rooms)
    }

    fn leave_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        self.local.leave_all(selection, rooms)
    }

    fn disconnect_all(&self, selection: &Selection, words: &str) -> Fanout {
        self.local.disconnect_all(selection, words)
    }

    async fn rooms(&self, selection: &Selection) -> Result<Vec<(RoomName, usize)>, RoomError> {
        self.local.rooms(selection).await
    }

    async fn sockets(&self, selection: &Selection) -> Result<Vec<SocketId>, RoomError> {
        self.local.sockets(selection).await
    }
}

/// "to all clients on this node (when using multiple nodes)"
#[tokio::test]
async fn to_all_clients_on_this_node_and_on_no_other() {
    on_each_wire(async |wire| {
        let cluster = Cluster::default();
        let (one, other) = (cluster.node(wire).await, cluster.node(wire).await);
        let (ann, bob, far) = (one.enter().await, one.enter().await, other.enter().await);
        // What is not kept here crosses to the other node, so that this can fail.
        assert_eq!(hello(&one.everyone()).await, 2);
        assert_eq!((one.hellos([&ann, &bob]).await, other.hellos([&far]).await), ([1, 1], [1]));
        assert_eq!(hello(&one.everyone().local()).await, 2);
        assert_eq!((one.hellos([&ann, &bob]).await, other.hellos([&far]).await), ([1, 1], [0]));
        assert_eq!(hello(&ann.here.broadcast().local()).await, 1);
        assert_eq!((one.hellos([&ann, &bob]).await, other.hellos([&far]).await), ([0, 1], [0]));
        assert_eq!(hello(&other.everyone().local()).await, 1);
        assert_eq!((one.hellos([&ann, &bob]).await, other.hellos([&far]).await), ([0, 0], [1]));
    })
    .await;
}
