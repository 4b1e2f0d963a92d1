//! The methods for many sockets at once: `socketsJoin`, `socketsLeave`, `disconnectSockets` and
//! `fetchSockets`.

use crate::stage::{Member, Stage, hello, on_each_wire};
use crate::support::{at_once, becomes, rooms, sockets, within};
use emitwire::{DisconnectReason, Fanout, NamespaceError, Socket, SocketId};

fn reached(fanout: Fanout) -> (usize, usize) {
    (fanout.accepted, fanout.dropped)
}

/// Whose ids these are, in the order of `members`.
fn who<const N: usize>(ids: &[SocketId], members: [&Member; N]) -> [usize; N] {
    let counts =
        members.map(|member| ids.iter().filter(|known| **known == member.here.id()).count());
    assert_eq!(counts.iter().sum::<usize>(), ids.len(), "somebody else is among them");
    counts
}

/// "makes all Socket instances join the "room1" room", those of a room, and one by its id
#[tokio::test]
async fn sockets_join_makes_the_selected_sockets_join() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        assert_eq!(reached(within(stage.everyone().join_all("room1")).await.unwrap()), (3, 0));
        assert_eq!(hello(&stage.everyone().to("room1")).await, 3);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 1]);

        within(ann.here.join("chosen")).await.unwrap();
        let chosen = stage.everyone().within("chosen");
        let rooms = ["room2", "room3"];
        assert_eq!(reached(within(chosen.join_all(rooms)).await.unwrap()), (1, 0));
        for room in rooms {
            assert_eq!(who(&sockets(&stage.everyone().to(room)), [&ann, &bob, &cid]), [1, 0, 0]);
        }

        let one = stage.everyone().to(bob.here.id());
        assert_eq!(reached(within(one.join_all("room4")).await.unwrap()), (1, 0));
        assert_eq!(hello(&stage.everyone().to("room4")).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
        // From a socket it is the others.
        assert_eq!(reached(within(ann.here.broadcast().join_all("room5")).await.unwrap()), (2, 0));
        assert_eq!(who(&sockets(&stage.everyone().to("room5")), [&ann, &bob, &cid]), [0, 1, 1]);
    })
    .await;
}

/// "makes all Socket instances leave the "room1" room", those of a room, and one by its id
#[tokio::test]
async fn sockets_leave_makes_the_selected_sockets_leave() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        let all = ["room1", "room2", "room3", "room4"];
        within(stage.everyone().join_all(all)).await.unwrap();
        within(ann.here.join("chosen")).await.unwrap();
        assert_eq!(reached(within(stage.everyone().leave_all("room1")).await.unwrap()), (3, 0));
        assert_eq!(hello(&stage.everyone().to("room1")).await, 0);
        let chosen = stage.everyone().within("chosen");
        within(chosen.leave_all(["room2", "room3"])).await.unwrap();
        assert_eq!(hello(&stage.everyone().to(["room2", "room3"])).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 1]);
        within(stage.everyone().to(bob.here.id()).leave_all("room4")).await.unwrap();
        assert_eq!(hello(&stage.everyone().to("room4")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 0, 1]);
        let left =
            rooms(&stage.everyone()).into_iter().map(|(name, size)| (name.to_string(), size));
        let left: Vec<_> = left.collect();
        let wanted = [("chosen", 1), ("room2", 2), ("room3", 2), ("room4", 2)];
        assert_eq!(left, wanted.map(|(name, size)| (name.to_owned(), size)));
    })
    .await;
}

/// "makes all Socket instances in the "room1" room disconnect", and all
#[tokio::test]
async fn disconnect_sockets_makes_the_selected_sockets_disconnect() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        within(ann.here.join("room1")).await.unwrap();
        let room = stage.everyone().within("room1");
        assert_eq!(reached(within(room.disconnect_all("go")).await.unwrap()), (1, 0));
        let dismissed = |words: &str| Some(DisconnectReason::DismissedByPeer(words.into()));
        becomes(|| ann.there.ended(), dismissed("go")).await;
        becomes(|| ann.here.ended(), Some(DisconnectReason::Dismissed("go".into()))).await;
        match ann.session.of("/") {
            Err(NamespaceError::NotConnected { .. }) => {}
            other => panic!("{other:?}"),
        }
        // It is the socket that ends, and not the session.
        assert!(ann.session.is_connected());
        assert_eq!(hello(&stage.everyone()).await, 2);
        assert_eq!(stage.hellos([&bob, &cid]).await, [1, 1]);

        assert_eq!(reached(within(stage.everyone().disconnect_all("")).await.unwrap()), (2, 0));
        for member in [&bob, &cid] {
            becomes(|| member.there.ended(), Some(DisconnectReason::ClosedByPeer)).await;
        }
        becomes(|| sockets(&stage.everyone()).len(), 0).await;
        assert_eq!(hello(&stage.everyone()).await, 0);
    })
    .await;
}

/// "return all Socket instances", those in a room, and one by its id
#[tokio::test]
async fn fetch_sockets_returns_the_selected_sockets() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        within(ann.here.join("room1")).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        let members = [&ann, &bob, &cid];
        let table = [
            (stage.everyone(), [1, 1, 1]),
            (stage.everyone().within("room1"), [1, 1, 0]),
            (stage.everyone().to("room1").except(bob.here.id()), [1, 0, 0]),
            (stage.everyone().within(cid.here.id()), [0, 0, 1]),
            (stage.everyone().to("nobody"), [0, 0, 0]),
            (ann.here.broadcast(), [0, 1, 1]),
            (ann.here.to("room1"), [0, 1, 0]),
        ];
        for (row, (selection, wanted)) in table.into_iter().enumerate() {
            let ids = at_once(selection.sockets()).unwrap();
            assert_eq!(who(&ids, members), wanted, "row {row}");
            let held = within(selection.local_sockets()).await.unwrap();
            let held: Vec<_> = held.iter().map(Socket::id).collect();
            assert_eq!(held, ids, "row {row}");
        }
    })
    .await;
}

/// What is fetched has `id`, `rooms` and `data`, and does `emit`, `join`, `leave`, `disconnect`.
#[tokio::test]
async fn a_fetched_socket_is_as_good_as_any() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        ann.here.set_data("Ann".to_owned());
        within(ann.here.join("room1")).await.unwrap();
        let fetched = within(stage.everyone().to("room1").local_sockets()).await.unwrap();
        let [fetched] = &fetched[..] else { panic!("{fetched:?}") };
        assert_eq!(fetched.id(), ann.there.id());
        assert_eq!(fetched.data::<String>().as_deref(), Some(&"Ann".to_owned()));
        assert_eq!(fetched.rooms().unwrap(), ["room1".into()]);
        within(fetched.emit("hello", "world")).await.unwrap();
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 0]);
        within(fetched.leave("room1")).await.unwrap();
        within(fetched.join("room2")).await.unwrap();
        assert_eq!(ann.here.rooms().unwrap(), ["room2".into()]);
        fetched.disconnect("bye");
        becomes(|| ann.there.ended().is_some(), true).await;
        assert!(stage.server.socket("/", bob.here.id()).is_some());
        becomes(|| stage.server.socket("/", ann.here.id()).is_none(), true).await;
    })
    .await;
}
