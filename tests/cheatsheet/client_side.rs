//! The emit cheatsheet, client side.

use crate::stage::{HELLO, Stage, on_each_wire, quiet, quiet_root};
use crate::support::{at_once, becomes, within};
use bytes::Bytes;
use emitwire::{
    AckError, Args, Config, Data, EmitError, Namespace, RoomError, Socket, Unhandled, WaitError,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Short, for those who do not answer.
const SOON: Duration = Duration::from_millis(150);

/// "basic emit"
#[tokio::test]
async fn a_client_emits() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        within(ann.there.emit("hello", "world")).await.unwrap();
        assert_eq!(stage.heard_from(&ann).await, [HELLO]);
        assert_eq!(stage.heard_from(&bob).await, [""; 0]);
        // It goes to the server and to nobody else.
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 0]);
    })
    .await;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    text: String,
    bytes: Bytes,
}

/// "basic emit", with any number of arguments of any type, binary ones among them
#[tokio::test]
async fn a_client_emits_several_arguments_and_bytes() {
    on_each_wire(async |wire| {
        let echo = |Args(all): Args<(u32, String, Nested)>| async move { Args(all) };
        let stage = Stage::with(wire, Config::default(), [quiet("/").on("echo", echo)]).await;
        let ann = stage.enter().await;
        let nested = Nested { text: "4".into(), bytes: Bytes::from_static(&[5, 0, 255]) };
        let said = (1, "2".to_owned(), nested);
        let asked = Args(said.clone());
        let answer = within(ann.there.emit("echo", &asked).ack()).await.unwrap();
        assert_eq!(said, answer);
    })
    .await;
}

/// "with acknowledgement", and `emitWithAck`
#[tokio::test]
async fn a_client_emits_with_acknowledgement() {
    on_each_wire(async |wire| {
        let length = |Data(text): Data<String>| async move { text.len() };
        let stage = Stage::with(wire, Config::default(), [quiet("/").on("hello", length)]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        let answer: usize = within(ann.there.emit("hello", "world").ack()).await.unwrap();
        assert_eq!(answer, 5);
        assert_eq!(stage.heard_from(&ann).await, [HELLO]);
        assert_eq!(stage.heard_from(&bob).await, [""; 0]);
    })
    .await;
}

/// "a message that might be dropped if the low-level transport is not writable"
#[tokio::test]
async fn a_client_emits_what_might_be_dropped() {
    on_each_wire(async |wire| {
        let (stage, [ann]) = Stage::new(wire).await;
        within(ann.there.emit("hello", "world").volatile()).await.unwrap();
        // It may overtake, so no fence says that it has come.
        becomes(|| stage.server.stats().volatile_in, 1).await;
        assert_eq!(stage.heard_from(&ann).await, [HELLO]);

        // More than may wait for the wire: it is dropped and counted, and that is no error.
        let large = "x".repeat(Config::default().volatile_bytes_max);
        within(ann.there.emit("hello", &large).volatile()).await.unwrap();
        let stats = ann.there.stats();
        assert_eq!((stats.volatile_out, stats.volatile_dropped), (1, 1));
        assert_eq!(stage.heard_from(&ann).await, [""; 0]);
    })
    .await;
}

/// "with timeout": "the other side did not acknowledge the event in the given delay"
#[tokio::test]
async fn a_client_emits_with_timeout() {
    on_each_wire(async |wire| {
        let park = Unhandled::Park { ttl: Duration::from_secs(3600) };
        let namespace = Namespace::new("/").unhandled(park).on("quick", || async { 1 });
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let ann = stage.enter().await;
        let in_time = ann.there.emit("quick", &()).timeout(SOON * 20).ack::<u32>();
        assert_eq!(within(in_time).await.unwrap(), 1);
        match within(ann.there.emit("hello", "world").timeout(SOON).ack::<()>()).await {
            Err(AckError::Timeout { after }) => assert_eq!(after, SOON),
            other => panic!("{other:?}"),
        }
        // Late, not lost: it had come all the same.
        assert_eq!(stage.heard_from(&ann).await, ["quick", HELLO]);
    })
    .await;
}

/// "rooms are a server-only concept"
#[tokio::test]
async fn a_client_has_no_rooms() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        assert_eq!(within(ann.there.join("room1")).await, Err(RoomError::NotOnServer));
        assert_eq!(within(ann.there.leave("room1")).await, Err(RoomError::NotOnServer));
        assert_eq!(ann.there.rooms(), Err(RoomError::NotOnServer));
        assert_eq!(ann.here.rooms().unwrap(), []);
        let (to, broadcast) = (ann.there.to("room1"), ann.there.broadcast());
        for selection in [to, ann.there.except("room1"), broadcast] {
            match within(selection.emit("hello", "world")).await {
                Err(EmitError::Room(RoomError::NotOnServer)) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(at_once(selection.sockets()), Err(RoomError::NotOnServer));
        }
        assert_eq!(stage.hellos([&ann, &bob]).await, [0, 0]);
    })
    .await;
}

/// "private message" of the rooms page: a client speaks to another through the server
#[tokio::test]
async fn a_client_sends_a_private_note_to_another_by_its_id() {
    on_each_wire(async |wire| {
        let pass_on = |socket: Socket, Args((to, text)): Args<(String, String)>| async move {
            socket.to(to).emit("hello", &text).await.map(|fanout| fanout.accepted)
        };
        let namespace = quiet("/").on("private", pass_on);
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob, cid] = stage.enter_all(quiet_root).await;
        let note = Args((bob.there.id().to_string(), "world"));
        let reached: usize = within(ann.there.emit("private", &note).ack()).await.unwrap();
        assert_eq!(reached, 1);
        assert_eq!(stage.hellos([&ann, &bob, &cid]).await, [0, 1, 0]);
    })
    .await;
}

/// Behind a client's own `socket.disconnect()` nothing can be said, asked or awaited.
#[tokio::test]
async fn a_client_that_has_disconnected_says_no_more() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        ann.there.disconnect("");
        match within(ann.there.emit("hello", "world")).await {
            Err(EmitError::Closed { .. }) => {}
            other => panic!("{other:?}"),
        }
        match within(ann.there.emit("hello", "world").ack::<()>()).await {
            Err(AckError::Emit(EmitError::Closed { .. })) => {}
            other => panic!("{other:?}"),
        }
        match within(ann.there.once("hello")).await {
            Err(WaitError::Closed { .. }) => {}
            other => panic!("{other:?}"),
        }
        becomes(|| ann.here.ended().is_some(), true).await;
        assert_eq!(stage.heard_from(&bob).await, [""; 0]);
        assert_eq!(stage.server.stats().events_in, 1, "the fence only");
    })
    .await;
}
