//! The emit cheatsheet, server side.

use crate::stage::{Stage, hello, on_each_wire, quiet, quiet_root};
use crate::support::{becomes, within};
use emitwire::{AckError, Config, Data, Nak, Namespace, Refusal, Socket, SocketId};
use std::collections::HashMap;
use std::time::Duration;

/// Long enough for those who answer, and short for those who do not.
const SOON: Duration = Duration::from_millis(150);

/// "basic emit back to sender"
#[tokio::test]
async fn a_basic_emit_goes_back_to_the_sender() {
    on_each_wire(async |wire| {
        let back = |socket: Socket| async move { socket.emit("hello", "world").await };
        let namespace = quiet("/").on("ask", back);
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.there.emit("ask", &()).ack::<()>()).await.unwrap();
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 0]);
    })
    .await;
}

/// "to all clients in the current namespace except the sender"
#[tokio::test]
async fn a_broadcast_goes_to_all_in_the_current_namespace_except_the_sender() {
    on_each_wire(async |wire| {
        let namespaces = [quiet("/"), quiet("/other")];
        let stage = Stage::with(wire, Config::default(), namespaces).await;
        let [ann, bob, cid] = stage.enter_all(quiet_root).await;
        let dan = stage.enter_as(quiet("/other")).await;
        assert_eq!(hello(&ann.here.broadcast()).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid, &dan]).await, [0, 1, 1, 0]);
    })
    .await;
}

/// "to all clients in room1 except the sender"
#[tokio::test]
async fn to_all_clients_in_room1_except_the_sender() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        within(ann.here.join("room1")).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        assert_eq!(hello(&ann.here.to("room1")).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
        // The sender need not be in the room.
        assert_eq!(hello(&cid.here.to("room1")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 0]);
    })
    .await;
}

/// "to all clients in room1 and/or room2 except the sender"
#[tokio::test]
async fn to_all_clients_in_room1_and_or_room2_except_the_sender() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid, dan, eve]) = Stage::new(wire).await;
        within(ann.here.join(["room1", "room2"])).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        within(cid.here.join("room2")).await.unwrap();
        within(dan.here.join(["room1", "room2"])).await.unwrap();
        assert_eq!(hello(&ann.here.to(["room1", "room2"])).await, 3);
        assert_eq!(stage.hellos([&ann, &bob, &cid, &dan, &eve]).await, [0, 1, 1, 1, 0]);
    })
    .await;
}

/// "to all clients in room1"
#[tokio::test]
async fn to_all_clients_in_room1() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        within(ann.here.join("room1")).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        assert_eq!(hello(&stage.everyone().within("room1")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 0]);
        // The same from a socket that wants to hear itself.
        assert_eq!(hello(&ann.here.within("room1")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 0]);
    })
    .await;
}

/// "to all clients in room1 and/or room2 except those in room3"
#[tokio::test]
async fn to_all_clients_in_room1_and_or_room2_except_those_in_room3() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid, dan]) = Stage::new(wire).await;
        within(ann.here.join(["room1", "room3"])).await.unwrap();
        within(bob.here.join(["room1", "room2"])).await.unwrap();
        within(cid.here.join("room2")).await.unwrap();
        within(dan.here.join("room3")).await.unwrap();
        let selection = stage.everyone().to(["room1", "room2"]).except("room3");
        assert_eq!(hello(&selection).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid, &dan]).await, [0, 1, 1, 0]);
    })
    .await;
}

/// "to all clients except those in room1", with and without the sender
#[tokio::test]
async fn to_all_clients_but_those_in_a_room() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        within(bob.here.join("room1")).await.unwrap();
        assert_eq!(hello(&stage.everyone().except("room1")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 0, 1]);
        assert_eq!(hello(&ann.here.except("room1")).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 0, 1]);
        assert_eq!(hello(&ann.here.broadcast().except(cid.here.id())).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
    })
    .await;
}

/// "to all clients in namespace "myNamespace""
#[tokio::test]
async fn to_all_clients_in_another_namespace() {
    on_each_wire(async |wire| {
        let namespaces = [quiet("/"), quiet("/my-namespace")];
        let stage = Stage::with(wire, Config::default(), namespaces).await;
        let ann = stage.enter().await;
        let [bob, cid] = stage.enter_all(|| quiet("/my-namespace")).await;
        assert_eq!(hello(&stage.server.of("/my-namespace")).await, 2);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 1]);
    })
    .await;
}

/// "to all clients in room1 in namespace "myNamespace""
#[tokio::test]
async fn to_all_clients_in_room1_in_another_namespace() {
    on_each_wire(async |wire| {
        let namespaces = [quiet("/"), quiet("/my-namespace")];
        let stage = Stage::with(wire, Config::default(), namespaces).await;
        let ann = stage.enter().await;
        let [bob, cid] = stage.enter_all(|| quiet("/my-namespace")).await;
        // A room of the same name elsewhere is another room.
        within(ann.here.join("room1")).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        assert_eq!(hello(&stage.server.of("/my-namespace").to("room1")).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
    })
    .await;
}

/// "to individual socketid (private message)"
#[tokio::test]
async fn to_an_individual_socket_by_its_id() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        assert_eq!(hello(&stage.everyone().to(bob.here.id())).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
        assert_eq!(hello(&ann.here.to(cid.here.id())).await, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 0, 1]);
    })
    .await;
}

/// "`socket.to(socket.id).emit()` will NOT work, as it will send to everyone in the room named
/// `socket.id` but the sender"
#[tokio::test]
async fn a_socket_that_speaks_to_its_own_id_does_not_hear_itself() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        assert_eq!(hello(&ann.here.to(ann.here.id())).await, 0);
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 0]);
        within(bob.here.join(ann.here.id())).await.unwrap();
        assert_eq!(hello(&ann.here.to(ann.here.id())).await, 1);
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 1]);
    })
    .await;
}

/// "to all connected clients"
#[tokio::test]
async fn to_all_connected_clients() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob, cid]) = Stage::new(wire).await;
        assert_eq!(hello(&stage.everyone()).await, 3);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 1]);
    })
    .await;
}

/// A client that answers with its number.
fn juror(number: u32) -> Namespace {
    quiet("/").on("hello", move |Data(_): Data<String>| async move { number })
}

/// A client whose answer does not come: the event waits there for a listener.
fn silent() -> Namespace {
    Namespace::new("/")
}

/// "to all clients, with one acknowledgement per client"
#[tokio::test]
async fn to_all_clients_with_one_acknowledgement_per_client() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/")]).await;
        let ann = stage.enter_as(juror(1)).await;
        let bob = stage.enter_as(juror(2)).await;
        let refusing = || async { Err::<u32, _>(Refusal::with("no")) };
        let cid = stage.enter_as(quiet("/").on("hello", refusing)).await;
        let everyone = stage.everyone();
        let answers = within(everyone.emit("hello", "world").ack::<u32>()).await.unwrap();
        assert_eq!((answers.fanout().accepted, answers.fanout().dropped), (3, 0));
        let answers = within(answers.all()).await;
        assert_eq!(answers.len(), 3);
        let mut answers: HashMap<SocketId, _> = answers.into_iter().collect();
        assert_eq!(answers.remove(&ann.here.id()).unwrap().unwrap(), 1);
        assert_eq!(answers.remove(&bob.here.id()).unwrap().unwrap(), 2);
        let refused = answers.remove(&cid.here.id()).unwrap().unwrap_err();
        assert_eq!(refused.refusal::<String>().as_deref(), Some("no"));
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [1, 1, 1]);
    })
    .await;
}

/// "some clients did not acknowledge the event in the given delay": who, and what the others said
#[tokio::test]
async fn some_clients_did_not_acknowledge_in_the_given_delay() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/")]).await;
        let ann = stage.enter_as(juror(1)).await;
        let bob = stage.enter_as(silent()).await;
        let asked = stage.everyone().timeout(SOON);
        let mut answers = within(asked.emit("hello", "world").ack::<u32>()).await.unwrap();
        // The answers come as they are given, not all at the deadline.
        let (first, answer) = within(answers.next()).await.unwrap();
        assert_eq!((first, answer.unwrap()), (ann.here.id(), 1));
        let (second, answer) = within(answers.next()).await.unwrap();
        assert_eq!(second, bob.here.id());
        match answer {
            Err(AckError::Timeout { after }) => assert_eq!(after, SOON),
            other => panic!("{other:?}"),
        }
        assert!(within(answers.next()).await.is_none());
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 1]);
    })
    .await;
}

/// The same without waiting for the delay: whoever leaves will not answer, and nobody need not.
#[tokio::test]
async fn clients_that_leave_are_not_waited_for() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/")]).await;
        let [ann, bob] = stage.enter_all(silent).await;
        let long = stage.everyone().timeout(Duration::from_secs(3600));
        let nobody = long.clone().to("nobody");
        let answers = within(nobody.emit("hello", "world").ack::<u32>()).await.unwrap();
        assert_eq!(within(answers.all()).await.len(), 0);
        let mut answers = within(long.emit("hello", "world").ack::<u32>()).await.unwrap();
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 1]);
        let (first, second) = (ann.here.id(), bob.here.id());
        ann.there.disconnect("");
        for (id, leave) in [(first, None), (second, Some(bob.session))] {
            drop(leave);
            let (member, answer) = within(answers.next()).await.unwrap();
            assert_eq!(member, id);
            match answer {
                Err(AckError::Closed | AckError::Refused(Nak::Closed)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(within(answers.next()).await.is_none());
    })
    .await;
}

/// "with acknowledgement", and `emitWithAck`
#[tokio::test]
async fn a_server_emits_with_acknowledgement() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/")]).await;
        let ann = stage.enter_as(juror(42)).await;
        let bob = stage.enter_as(juror(0)).await;
        let answer: u32 = within(ann.here.emit("hello", "world").ack()).await.unwrap();
        assert_eq!(answer, 42);
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 0]);
    })
    .await;
}

/// "a message that might be dropped if the low-level transport is not writable"
#[tokio::test]
async fn a_server_emits_what_might_be_dropped() {
    on_each_wire(async |wire| {
        let mut config = Config::default();
        config.volatile_bytes_max = 512;
        let stage = Stage::with(wire, config, [quiet("/")]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.here.emit("hello", "world").volatile()).await.unwrap();
        // It may overtake, so no fence says that it has come.
        let came = || ann.session.stats().volatile_in;
        becomes(came, 1).await;
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 0]);

        // More than may wait for the wire: it is dropped and counted, and that is no error.
        let large = "x".repeat(1024);
        within(ann.here.emit("hello", &large).volatile()).await.unwrap();
        let (here, all) = (ann.here.stats(), stage.server.stats());
        assert_eq!((here.volatile_dropped, all.volatile_dropped), (1, 1));
        assert_eq!((here.volatile_out, all.volatile_out), (1, 1));
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 0]);
    })
    .await;
}

/// The same to many: `io.volatile.emit()`
#[tokio::test]
async fn a_server_emits_to_many_what_might_be_dropped() {
    on_each_wire(async |wire| {
        let mut config = Config::default();
        config.volatile_bytes_max = 512;
        let stage = Stage::with(wire, config, [quiet("/")]).await;
        let [ann, bob, cid] = stage.enter_all(quiet_root).await;
        assert_eq!(hello(&ann.here.broadcast().volatile()).await, 2);
        for member in [&bob, &cid] {
            becomes(|| member.session.stats().volatile_in, 1).await;
        }
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 1]);
        let large = "x".repeat(1024);
        let volatile = stage.everyone().volatile();
        let fanout = within(volatile.emit("hello", &large)).await.unwrap();
        assert_eq!((fanout.accepted, fanout.dropped), (0, 3));
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 0, 0]);
        assert_eq!(stage.server.stats().volatile_out, 2);
    })
    .await;
}

/// "with timeout": "the other side did not acknowledge the event in the given delay"
#[tokio::test]
async fn a_server_emits_with_timeout() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/")]).await;
        let ann = stage.enter_as(juror(1)).await;
        let bob = stage.enter_as(silent()).await;
        let in_time = ann.here.emit("hello", "world").timeout(SOON * 20).ack::<u32>();
        assert_eq!(within(in_time).await.unwrap(), 1);
        match within(bob.here.emit("hello", "world").ack::<u32>().timeout(SOON)).await {
            Err(AckError::Timeout { after }) => assert_eq!(after, SOON),
            other => panic!("{other:?}"),
        }
        // Late, not lost: it had come all the same.
        assert_eq!(stage.hellos([&ann, &bob]).await, [1, 1]);
    })
    .await;
}

/// What a server says is in the order in which it was said, whatever it was said by.
#[tokio::test]
async fn emits_and_broadcasts_of_a_server_keep_their_order() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        within(ann.here.join("room1")).await.unwrap();
        for round in ["one", "two"] {
            within(ann.here.emit("alone", round)).await.unwrap();
            within(stage.everyone().to("room1").emit("room", round)).await.unwrap();
            within(stage.everyone().emit("all", round)).await.unwrap();
        }
        let of_ann = ["alone one", "room one", "all one", "alone two", "room two", "all two"];
        assert_eq!(stage.heard(&ann).await, of_ann);
        assert_eq!(stage.heard(&bob).await, ["all one", "all two"]);
    })
    .await;
}
