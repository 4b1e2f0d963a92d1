//! The page about rooms.

use crate::stage::{Member, Stage, hello, on_each_wire, quiet, quiet_root};
use crate::support::{at_once, becomes, rooms, sockets, within};
use emitwire::{Config, DisconnectReason, RoomError, RoomName, Server, Socket};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// The rooms of a socket, as text.
fn rooms_of(socket: &Socket) -> Vec<String> {
    socket.rooms().unwrap().iter().map(ToString::to_string).collect()
}

fn all_rooms(server: &Server) -> Vec<(RoomName, usize)> {
    rooms(&server.of("/"))
}

/// "You can call `join` to subscribe the socket to a given channel"
#[tokio::test]
async fn a_socket_joins_a_room_and_hears_what_is_said_there() {
    on_each_wire(async |wire| {
        let join = |socket: Socket| async move { socket.join("some room").await };
        let stage = Stage::with(wire, Config::default(), [quiet("/").on_connect(join)]).await;
        let ann = stage.enter().await;
        // The client is let in before the hook has run; a fence follows the hook.
        assert_eq!(stage.heard_from(&ann).await, [""; 0]);
        assert_eq!(rooms_of(&ann.here), ["some room"]);
        assert_eq!(hello(&stage.everyone().to("some room")).await, 1);
        assert_eq!(stage.hellos([&ann]).await, [1]);
        // Who joins again is in it once.
        within(ann.here.join("some room")).await.unwrap();
        assert_eq!(hello(&stage.everyone().to("some room")).await, 1);
        assert_eq!(stage.hellos([&ann]).await, [1]);
    })
    .await;
}

/// "To leave a channel you call `leave` in the same fashion as `join`"
#[tokio::test]
async fn a_socket_leaves_a_room_and_hears_nothing_from_there() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        within(ann.here.join(["room1", "room2", "room3"])).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        within(ann.here.leave("room1")).await.unwrap();
        assert_eq!(hello(&stage.everyone().to("room1")).await, 1);
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 1]);
        assert_eq!(rooms_of(&ann.here), ["room2", "room3"]);
        within(ann.here.leave(["room2", "room3", "never joined"])).await.unwrap();
        assert_eq!(rooms_of(&ann.here), [""; 0]);
        assert_eq!(all_rooms(&stage.server), [("room1".into(), 1)]);
    })
    .await;
}

/// `socket.join(["room1", "room2"])`: all of them or, on an error, none
#[tokio::test]
async fn a_socket_joins_several_rooms_at_once() {
    on_each_wire(async |wire| {
        let mut config = Config::default();
        config.rooms_per_socket_max = 2;
        let stage = Stage::with(wire, config, [quiet("/")]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.here.join(["room1", "room2"])).await.unwrap();
        assert_eq!(rooms_of(&ann.here), ["room1", "room2"]);
        for room in ["room1", "room2"] {
            assert_eq!(hello(&stage.everyone().to(room)).await, 1);
            assert_eq!(stage.hellos([&ann, &bob]).await, [1, 0]);
        }
        let too_many = within(bob.here.join(["room1", "room2", "room3"])).await;
        assert_eq!(too_many, Err(RoomError::TooManyRooms { max: 2 }));
        assert_eq!(rooms_of(&bob.here), [""; 0]);
    })
    .await;
}

/// "a union is performed: every socket that is at least in one of the rooms will get the event
/// once (even if the socket is in two or more rooms)"
#[tokio::test]
async fn an_emit_to_several_rooms_reaches_each_socket_once() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid, dan]) = Stage::new(wire).await;
        within(ann.here.join(["room1", "room2", "room3"])).await.unwrap();
        within(bob.here.join(["room2", "room3"])).await.unwrap();
        within(cid.here.join("room3")).await.unwrap();
        let chained = stage.everyone().to("room1").to("room2").to("room3");
        assert_eq!(hello(&chained).await, 3);
        assert_eq!(stage.hellos([&ann, &bob, &cid, &dan]).await, [1, 1, 1, 0]);
        // Rooms and ids add up as well, and the same room twice is one.
        let mixed = stage.everyone().to(["room3", "room3"]).to(dan.here.id()).to(ann.here.id());
        assert_eq!(hello(&mixed).await, 4);
        assert_eq!(stage.hellos([&ann, &bob, &cid, &dan]).await, [1, 1, 1, 1]);
    })
    .await;
}

/// "every socket in the room excluding the sender will get the event"
#[tokio::test]
async fn a_socket_broadcasts_to_a_room_without_itself() {
    on_each_wire(async |wire| {
        let say = |socket: Socket| async move {
            let fanout = socket.to("some room").emit("hello", "world").await;
            fanout.map(|fanout| fanout.accepted)
        };
        let stage = Stage::with(wire, Config::default(), [quiet("/").on("say", say)]).await;
        let [ann, bob, cid] = stage.enter_all(quiet_root).await;
        within(ann.here.join("some room")).await.unwrap();
        within(bob.here.join("some room")).await.unwrap();
        let reached: usize = within(ann.there.emit("say", &()).ack()).await.unwrap();
        assert_eq!(reached, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
    })
    .await;
}

/// "each socket automatically joins a room identified by its own id"
#[tokio::test]
async fn a_socket_is_a_room_by_its_own_id() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        let id = ann.here.id();
        assert_eq!(id, ann.there.id());
        assert_eq!(sockets(&stage.everyone().to(id)), [id]);
        assert_eq!(hello(&stage.everyone().to(id.to_string())).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 0, 0]);
        // Others may join it; it cannot be left, and nobody takes it away.
        within(bob.here.join(id)).await.unwrap();
        within(ann.here.leave(id)).await.unwrap();
        assert_eq!(hello(&stage.everyone().to(id)).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 0]);
        // It is none of those that were joined.
        assert_eq!(rooms_of(&ann.here), [""; 0]);
    })
    .await;
}

/// "Upon disconnection, sockets `leave` all the channels they were part of automatically"
#[tokio::test]
async fn a_socket_that_disconnects_leaves_all_its_rooms() {
    type End = fn(Member);
    let ways: [End; 4] = [
        |ann| ann.there.disconnect("enough"),
        |ann| ann.here.disconnect("enough"),
        |ann| drop(ann.session),
        |ann| drop(tokio::spawn(ann.session.close())),
    ];
    on_each_wire(async |wire| {
        for end in ways {
            let (stage, [ann, bob]) = Stage::new(wire).await;
            within(ann.here.join(["room1", "room2"])).await.unwrap();
            within(bob.here.join("room1")).await.unwrap();
            let (here, ends) = (ann.here.clone(), ann);
            end(ends);
            becomes(|| all_rooms(&stage.server), vec![("room1".into(), 1)]).await;
            assert_eq!(sockets(&stage.everyone()), [bob.here.id()]);
            assert_eq!(sockets(&stage.everyone().to(here.id())), []);
            becomes(|| rooms_of(&here), Vec::new()).await;
            assert_eq!(within(here.join("room1")).await, Err(RoomError::Closed));
            assert_eq!(hello(&stage.everyone().to(["room1", "room2"])).await, 1);
            assert_eq!(stage.hellos([&bob]).await, [1]);
        }
    })
    .await;
}

/// "You can fetch the rooms the Socket was in by listening to the `disconnecting` event", and in
/// `disconnect` there are none
#[tokio::test]
async fn disconnecting_still_sees_the_rooms_and_disconnect_does_not() {
    on_each_wire(async |wire| {
        let (saw, mut seen) = mpsc::unbounded_channel();
        let saw_last = saw.clone();
        let leaving = move |socket: Socket| {
            let saw = saw.clone();
            async move {
                saw.send(("disconnecting", rooms_of(&socket))).unwrap();
                // The use that it is made for: those who stay are told.
                for room in socket.rooms().unwrap() {
                    socket.to(&room).emit("left", room.as_str()).await.unwrap();
                }
            }
        };
        let left = move |socket: Socket| {
            saw_last.send(("disconnect", rooms_of(&socket))).unwrap();
            async {}
        };
        let namespace = quiet("/").on_disconnecting(leaving).on_disconnect(left);
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob, cid] = stage.enter_all(quiet_root).await;
        within(ann.here.join(["room1", "room2"])).await.unwrap();
        within(bob.here.join(["room1", "room2"])).await.unwrap();
        within(ann.session.close()).await;
        let rooms = vec!["room1".to_owned(), "room2".to_owned()];
        assert_eq!(within(seen.recv()).await.unwrap(), ("disconnecting", rooms));
        assert_eq!(within(seen.recv()).await.unwrap(), ("disconnect", vec![]));
        assert_eq!(stage.heard(&bob).await, ["left room1", "left room2"]);
        assert_eq!(stage.heard(&cid).await, [""; 0]);
    })
    .await;
}

/// "broadcast data to each device / tab of a given user"
#[tokio::test]
async fn all_devices_of_a_user_hear_what_is_said_to_that_user() {
    on_each_wire(async |wire| {
        let (stage, [phone, desk, other]) = Stage::new(wire).await;
        for device in [&phone, &desk] {
            within(device.here.join("user:7")).await.unwrap();
        }
        assert_eq!(hello(&stage.everyone().to("user:7")).await, 2);
        assert_eq!(stage.hellos([&phone, &desk, &other]).await, [1, 1, 0]);
        // One of them is left when the other goes.
        phone.there.disconnect("");
        becomes(|| all_rooms(&stage.server), vec![("user:7".into(), 1)]).await;
        assert_eq!(hello(&stage.everyone().to("user:7")).await, 1);
        assert_eq!(stage.hellos([&desk, &other]).await, [1, 0]);
    })
    .await;
}

/// A namespace's rooms with their members, as `adapter.rooms` and `adapter.sids` show them
#[tokio::test]
async fn the_rooms_of_a_namespace_and_their_members_can_be_looked_at() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        assert_eq!(all_rooms(&stage.server), []);
        within(ann.here.join(["room1", "room2"])).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        assert_eq!(all_rooms(&stage.server), [("room1".into(), 2), ("room2".into(), 1)]);
        assert_eq!(rooms(&stage.everyone().to("room2")).len(), 2);
        let members: BTreeSet<_> = sockets(&stage.everyone().to("room1")).into_iter().collect();
        assert_eq!(members, BTreeSet::from([ann.here.id(), bob.here.id()]));
    })
    .await;
}

/// What ended a socket is told at both ends, once, behind its rooms.
#[tokio::test]
async fn a_socket_that_the_server_disconnects_hears_why() {
    on_each_wire(async |wire| {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let note = |side: &'static str| {
            let ends = Arc::clone(&ends);
            move |reason: DisconnectReason| {
                ends.lock().unwrap().push((side, reason));
                async {}
            }
        };
        let namespace = quiet("/").on_disconnect(note("server"));
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let ann = stage.enter_as(quiet("/").on_disconnect(note("client"))).await;
        within(ann.here.join("room1")).await.unwrap();
        ann.here.disconnect("closing time");
        becomes(|| ends.lock().unwrap().len(), 2).await;
        let mut ends = std::mem::take(&mut *ends.lock().unwrap());
        ends.sort_unstable_by_key(|(side, _)| *side);
        let wanted = [
            ("client", DisconnectReason::DismissedByPeer("closing time".into())),
            ("server", DisconnectReason::Dismissed("closing time".into())),
        ];
        assert_eq!(ends, wanted);
        assert_eq!(all_rooms(&stage.server), []);
    })
    .await;
}

/// "Upon disconnection, sockets `leave` all the channels": whoever has disconnected a socket and
/// then speaks to the others does not reach it
#[tokio::test]
async fn a_socket_that_was_disconnected_hears_nothing_that_is_said_behind_it() {
    type Dismiss = fn(&Stage, &Member);
    let ways: [Dismiss; 2] = [
        |_, ann| ann.here.disconnect("bye"),
        |stage, ann| {
            let one = stage.everyone().to(ann.here.id());
            assert_eq!(at_once(one.disconnect_all("bye")).unwrap().accepted, 1);
        },
    ];
    on_each_wire(async |wire| {
        for dismiss in ways {
            let (stage, [ann, bob]) = Stage::new(wire).await;
            within(ann.here.join("room1")).await.unwrap();
            dismiss(&stage, &ann);
            assert_eq!(hello(&stage.everyone()).await, 1);
            assert_eq!(hello(&stage.everyone().to("room1")).await, 0);
            assert_eq!(sockets(&stage.everyone()), [bob.here.id()]);
            assert_eq!(within(ann.here.join("room2")).await, Err(RoomError::Closed));
            becomes(|| ann.there.ended().is_some(), true).await;
            assert_eq!(stage.heard_before_its_end(&ann), [""; 0]);
        }
    })
    .await;
}
