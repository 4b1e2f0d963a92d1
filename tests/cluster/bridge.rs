//! An adapter for two nodes in one process: each has an inbox, and what one is told the other is
//! told too. It holds nothing that an adapter over a network could not.

use emitwire::room::{Held, Mailbox, Selection, Shared};
use emitwire::{Adapter, Event, Fanout, LocalAdapter, RoomError, RoomName, SocketId, async_trait};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a node waits for another's answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The inboxes of all nodes, by namespace.
#[derive(Clone, Default)]
pub(crate) struct Bus(Arc<Mutex<Inboxes>>);

type Inboxes = BTreeMap<String, Vec<mpsc::UnboundedSender<Told>>>;

/// What nodes tell each other.
enum Told {
    Event { selection: Selection, event: Event, acks: Option<Arc<Held>> },
    Join(Selection, Vec<RoomName>),
    Leave(Selection, Vec<RoomName>),
    Disconnect(Selection, String),
    Sockets(Selection, oneshot::Sender<Vec<SocketId>>),
    Rooms(Selection, oneshot::Sender<Vec<(RoomName, usize)>>),
}

/// One node's adapter of one namespace.
struct Bridge {
    local: Arc<LocalAdapter>,
    bus: Bus,
    path: String,
    own: mpsc::UnboundedSender<Told>,
}

impl Bus {
    /// For [`emitwire::Server::adapter`].
    pub(crate) fn bridge(&self, path: &str, local: LocalAdapter) -> Arc<dyn Adapter> {
        let (own, inbox) = mpsc::unbounded_channel();
        let local = Arc::new(local);
        self.0.lock().unwrap().entry(path.to_owned()).or_default().push(own.clone());
        tokio::spawn(listen(Arc::clone(&local), inbox));
        Arc::new(Bridge { local, bus: self.clone(), path: path.to_owned(), own })
    }

    /// A node of this namespace that takes what it is told and says nothing.
    pub(crate) fn mute_node(&self, path: &str) -> impl Sized + use<> {
        let (own, inbox) = mpsc::unbounded_channel();
        self.0.lock().unwrap().entry(path.to_owned()).or_default().push(own);
        inbox
    }
}

impl Bridge {
    fn others(&self) -> Vec<mpsc::UnboundedSender<Told>> {
        let inboxes = self.bus.0.lock().unwrap();
        let others = inboxes.get(&self.path).into_iter().flatten();
        others.filter(|inbox| !inbox.same_channel(&self.own)).cloned().collect()
    }

    fn tell(&self, selection: &Selection, told: impl Fn(Selection) -> Told) {
        for other in self.others().iter().filter(|_| !selection.local) {
            let _ = other.send(told(selection.clone()));
        }
    }

    /// Asks all other nodes, and adds what they say to what is known here.
    async fn ask<T>(
        &self,
        selection: &Selection,
        mut known: Vec<T>,
        ask: impl Fn(Selection, oneshot::Sender<Vec<T>>) -> Told + Send,
    ) -> Result<Vec<T>, RoomError>
    where
        T: Send,
    {
        let mut asked = Vec::new();
        for other in self.others().iter().filter(|_| !selection.local) {
            let (answer, answered) = oneshot::channel();
            let _ = other.send(ask(selection.clone(), answer));
            asked.push(answered);
        }
        let mut missing = 0;
        for answered in asked {
            match tokio::time::timeout(PATIENCE, answered).await {
                Ok(Ok(more)) => known.extend(more),
                _ => missing += 1,
            }
        }
        if missing > 0 { Err(RoomError::Unanswered { missing }) } else { Ok(known) }
    }
}

/// Does what the other nodes say.
async fn listen(local: Arc<LocalAdapter>, mut inbox: mpsc::UnboundedReceiver<Told>) {
    while let Some(told) = inbox.recv().await {
        match told {
            Told::Event { selection, event, acks: None } => {
                local.receive(&selection, event, None);
            }
            Told::Event { selection, event, acks: Some(origin) } => {
                gather(&local, &selection, event, origin);
            }
            Told::Join(selection, rooms) => {
                local.join_all(&selection, &rooms);
            }
            Told::Leave(selection, rooms) => {
                local.leave_all(&selection, &rooms);
            }
            Told::Disconnect(selection, words) => {
                local.disconnect_all(&selection, &words);
            }
            Told::Sockets(selection, answer) => {
                let _ = answer.send(local.sockets(&selection).await.unwrap());
            }
            Told::Rooms(selection, answer) => {
                let _ = answer.send(local.rooms(&selection).await.unwrap());
            }
        }
    }
}

/// Collects the answers of this node's members for the node that asks.
fn gather(local: &LocalAdapter, selection: &Selection, event: Event, origin: Arc<Held>) {
    let (open, mut answers) = local.acks().open(event.id);
    local.receive(selection, event, Some(open.set()));
    for member in open.set().waiting() {
        origin.set().expect(member);
    }
    drop(open);
    tokio::spawn(async move {
        while let Some((member, answer)) = answers.next().await {
            // One that the mailbox did not take answers before anybody could announce it.
            origin.set().expect(member);
            origin.set().answer(member, answer);
        }
    });
}

#[async_trait]
impl Adapter for Bridge {
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
        let acks = event.acks().map(|acks| Arc::new(acks.hold()));
        if let Some(carried) = self.local.carry(event) {
            self.tell(selection, |selection| Told::Event {
                selection,
                event: carried.clone(),
                acks: acks.clone(),
            });
        }
        self.local.broadcast(selection, event)
    }

    fn join_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        self.tell(selection, |selection| Told::Join(selection, rooms.to_vec()));
        self.local.join_all(selection, rooms)
    }

    fn leave_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        self.tell(selection, |selection| Told::Leave(selection, rooms.to_vec()));
        self.local.leave_all(selection, rooms)
    }

    fn disconnect_all(&self, selection: &Selection, words: &str) -> Fanout {
        self.tell(selection, |selection| Told::Disconnect(selection, words.to_owned()));
        self.local.disconnect_all(selection, words)
    }

    async fn rooms(&self, selection: &Selection) -> Result<Vec<(RoomName, usize)>, RoomError> {
        let known = self.local.rooms(selection).await?;
        let all = self.ask(selection, known, Told::Rooms).await?;
        let mut sizes: BTreeMap<RoomName, usize> = BTreeMap::new();
        for (room, size) in all {
            *sizes.entry(room).or_default() += size;
        }
        Ok(sizes.into_iter().collect())
    }

    async fn sockets(&self, selection: &Selection) -> Result<Vec<SocketId>, RoomError> {
        let known = self.local.sockets(selection).await?;
        self.ask(selection, known, Told::Sockets).await
    }
}
