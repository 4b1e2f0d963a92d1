//! Two servers in one process, joined by an adapter: their members are one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bridge;

use bridge::Bus;
use emitwire::testing::{self, Guest, within};
use emitwire::{
    AckError, Data, DisconnectReason, Namespace, RoomError, RoomName, Server, Socket, SocketId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two servers of the namespace `/chat`, and two guests on each: `ann` and `bob`, `cid` and `dan`.
struct Cluster {
    bus: Bus,
    near: Server,
    _far: Server,
    guests: [Guest; 4],
}

async fn cluster() -> Cluster {
    let bus = Bus::default();
    let [near, far] = [server(&bus), server(&bus)];
    let guests = [
        testing::connect(&near, "/chat").await,
        testing::connect(&near, "/chat").await,
        testing::connect(&far, "/chat").await,
        testing::connect(&far, "/chat").await,
    ];
    Cluster { bus, near, _far: far, guests }
}

/// Its second namespace comes first on one of them, so that numbers differ from node to node.
fn server(bus: &Bus) -> Server {
    static ODD: AtomicBool = AtomicBool::new(false);
    let bus = bus.clone();
    let chat = Namespace::new("/chat")
        .on(
            "join",
            |socket: Socket, Data(room): Data<String>| async move { socket.join(room).await },
        )
        .on("say", |socket: Socket, Data(room): Data<String>| async move {
            socket.to(room).emit("said", &()).await.map(|_| ())
        });
    let server = Server::new().adapter(move |path, local| bus.bridge(path, local));
    if ODD.fetch_xor(true, Ordering::Relaxed) {
        return server.mount(Namespace::new("/other")).unwrap().mount(chat).unwrap();
    }
    server.mount(chat).unwrap()
}

impl Cluster {
    fn ids(&self) -> [SocketId; 4] {
        self.guests.each_ref().map(|guest| guest.id())
    }

    async fn join(&self, guest: usize, room: &str) {
        within(self.guests[guest].emit("join", room).ack::<()>()).await.unwrap();
    }

    /// What each of the four has heard, when all nodes have told each other all.
    async fn heard(&mut self) -> [Vec<String>; 4] {
        within(self.near.of("/chat").emit("stop", &())).await.unwrap();
        let mut all = Vec::new();
        for guest in &mut self.guests {
            let mut names = Vec::new();
            loop {
                match guest.next_event().await.name.to_string() {
                    name if name == "stop" => break,
                    name => names.push(name),
                }
            }
            all.push(names);
        }
        all.try_into().unwrap()
    }
}

fn said(who: [usize; 4]) -> [Vec<String>; 4] {
    who.map(|times| vec!["said".to_owned(); times])
}

#[tokio::test]
async fn a_broadcast_reaches_the_members_of_both_nodes_once() {
    let mut cluster = cluster().await;
    let [ann, _, cid, _] = cluster.ids();
    for (guest, room) in [(0, "red"), (2, "red"), (2, "blue"), (3, "blue")] {
        cluster.join(guest, room).await;
    }
    let everyone = cluster.near.of("/chat");
    let table = [
        (everyone.clone(), [1, 1, 1, 1]),
        (everyone.clone().to(["red", "blue"]), [1, 0, 1, 1]),
        (everyone.clone().except("red"), [0, 1, 0, 1]),
        (everyone.clone().to("blue").except(cid), [0, 0, 0, 1]),
        (everyone.clone().to([ann, cid]), [1, 0, 1, 0]),
        (everyone.clone().local(), [1, 1, 0, 0]),
        (everyone.clone().to("blue").local(), [0, 0, 0, 0]),
    ];
    for (row, (selection, who)) in table.into_iter().enumerate() {
        within(selection.emit("said", &())).await.unwrap();
        assert_eq!(cluster.heard().await, said(who), "row {row}");
    }
    within(everyone.emit("said", &()).volatile()).await.unwrap();
    assert_eq!(cluster.heard().await.len(), 4, "whoever hears it hears it once");
}

#[tokio::test]
async fn whoever_speaks_to_a_room_of_both_nodes_does_not_hear_itself() {
    let mut cluster = cluster().await;
    for guest in 0..4 {
        cluster.join(guest, "red").await;
    }
    within(cluster.guests[3].emit("say", "red").ack::<()>()).await.unwrap();
    // It has to come through before the fence of the other node does.
    let before = cluster.guests[0].next_event().await;
    assert_eq!(before.name, "said");
    assert_eq!(cluster.heard().await, said([0, 1, 1, 0]));
}

#[tokio::test]
async fn a_broadcast_is_answered_by_the_members_of_both_nodes() {
    let cluster = cluster().await;
    for (number, guest) in cluster.guests.iter().enumerate() {
        guest.on("vote", move || async move { number }).unwrap();
    }
    let vote = cluster.near.of("/chat");
    let answers = within(vote.emit("vote", &()).ack::<usize>()).await.unwrap();
    let answers = within(answers.all()).await;
    let answers: BTreeMap<_, _> =
        answers.into_iter().map(|(id, answer)| (id, answer.unwrap())).collect();
    let expected: BTreeMap<_, _> = cluster.ids().into_iter().zip(0..).collect();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn a_member_of_the_other_node_that_does_not_answer_is_named_at_the_deadline() {
    let cluster = cluster().await;
    cluster.guests[3].on("vote", std::future::pending::<()>).unwrap();
    let vote = cluster.near.of("/chat");
    let asked = vote.emit("vote", &()).ack::<()>().timeout(Duration::from_millis(300));
    let answers = within(within(asked).await.unwrap().all()).await;
    let (late, in_time): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| it.1.is_err());
    assert_eq!(in_time.len(), 3);
    assert_eq!(late[0].0, cluster.ids()[3]);
    assert!(matches!(late[0].1, Err(AckError::Timeout { .. })), "{late:?}");
}

#[tokio::test]
async fn the_sockets_and_rooms_of_both_nodes_are_listed_together() {
    let cluster = cluster().await;
    for (guest, room) in [(0, "red"), (2, "red"), (3, "blue")] {
        cluster.join(guest, room).await;
    }
    let everyone = cluster.near.of("/chat");
    let sockets = within(everyone.sockets()).await.unwrap();
    assert_eq!(BTreeSet::from_iter(sockets), BTreeSet::from(cluster.ids()));
    let rooms = within(everyone.rooms()).await.unwrap();
    assert_eq!(rooms, [(RoomName::from("blue"), 1), (RoomName::from("red"), 2)]);
    let here = within(everyone.clone().local().sockets()).await.unwrap();
    assert_eq!(BTreeSet::from_iter(here), BTreeSet::from_iter(cluster.ids()[..2].to_vec()));
    let held = within(everyone.local_sockets()).await.unwrap();
    assert_eq!(held.len(), 2, "only those of this node can be held");
}

#[tokio::test]
async fn members_of_both_nodes_join_leave_and_end_together() {
    let mut cluster = cluster().await;
    let everyone = cluster.near.of("/chat");
    within(everyone.join_all(["red", "blue"])).await.unwrap();
    within(everyone.clone().to(cluster.ids()[2]).leave_all("red")).await.unwrap();
    within(everyone.clone().to("red").emit("said", &())).await.unwrap();
    assert_eq!(cluster.heard().await, said([1, 1, 0, 1]));
    within(everyone.clone().except("red").disconnect_all("enough")).await.unwrap();
    let reason = within(cluster.guests[2].closed()).await;
    assert_eq!(reason, DisconnectReason::DismissedByPeer("enough".into()));
    assert_eq!(within(everyone.sockets()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_node_that_says_nothing_is_an_error_and_not_silence() {
    let cluster = cluster().await;
    let mute = cluster.bus.mute_node("/chat");
    let everyone = cluster.near.of("/chat");
    assert_eq!(within(everyone.sockets()).await, Err(RoomError::Unanswered { missing: 1 }));
    assert_eq!(within(everyone.rooms()).await, Err(RoomError::Unanswered { missing: 1 }));
    assert!(within(everyone.local().sockets()).await.is_ok(), "nobody else was asked");
    drop(mute);
}
