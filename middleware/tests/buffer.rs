//! `Buffer` around something that is there now and then.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::protocol::{DisconnectReason, Nak};
use emitwire_core::socket::{Ack, AckError, BoxError, EmitError, Envelope, Level, Remedy, Stack};
use emitwire_middleware::{Buffer, BufferError, Overflow, Undelivered};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Calls, Peer, around, call, settle};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

/// What stands inside: whether there is a session, and whether it answers.
#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Gone,
    Silent,
    Fine,
}

struct Stage {
    peer: Peer,
    stack: Stack,
    calls: Calls,
    wire: watch::Sender<Wire>,
    buffer: Buffer,
    undelivered: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    async fn new(buffer: Buffer) -> Self {
        let undelivered = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&undelivered);
        let buffer = buffer.on_undelivered(move |undelivered: &Undelivered| {
            told.lock().unwrap().push(format!("{}: {}", undelivered.event.name, undelivered.error));
        });
        let (wire, seen) = watch::channel(Wire::Fine);
        let (stack, calls) = around(buffer.clone(), move |_, envelope: Envelope| {
            let mut seen = seen.clone();
            async move {
                if envelope.event().name == "no" {
                    return Err(AckError::Refused(Nak::BadPayload).into());
                }
                let wire = *seen.wait_for(|wire| *wire != Wire::Silent).await.unwrap();
                match wire {
                    Wire::Gone => Err(gone()),
                    _ => Ok(Ack::empty()),
                }
            }
        });
        Self { peer: Peer::new().await, stack, calls, wire, buffer, undelivered }
    }

    async fn emit(&self, name: &str) -> Result<Ack, BoxError> {
        call(&self.stack, self.peer.outbound(name)).await
    }

    fn undelivered(&self) -> Vec<String> {
        std::mem::take(&mut *self.undelivered.lock().unwrap())
    }
}

fn gone() -> BoxError {
    EmitError::Closed { reason: DisconnectReason::LinkLost }.into()
}

fn error(result: Result<Ack, BoxError>) -> BufferError {
    *result.unwrap_err().downcast().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_emit_is_ready_when_its_event_is_kept_and_what_cannot_go_out_goes_later_in_order() {
    let stage = Stage::new(Buffer::new()).await;
    stage.wire.send_replace(Wire::Gone);
    for name in ["a", "b", "c"] {
        stage.emit(name).await.unwrap();
    }
    settle().await;
    assert_eq!(stage.buffer.stats().events, 3);
    let first = stage.calls.all()[0].clone();
    assert_eq!(first.level(), Level::Received, "what was only accepted might still be lost");
    stage.wire.send_replace(Wire::Fine);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let names = stage.calls.names();
    assert_eq!(names[names.len() - 3..], ["a", "b", "c"], "{names:?}");
    let ids = stage.calls.ids();
    assert_eq!(ids[ids.len() - 3], first.event().id, "it is the same event");
    let stats = stage.buffer.stats();
    assert_eq!((stats.events, stats.bytes, stats.received, stats.undelivered), (0, 0, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_emit_that_wants_more_waits_for_it_and_what_was_refused_has_been_received() {
    let stage = Stage::new(Buffer::new()).await;
    stage.wire.send_replace(Wire::Silent);
    let mut handled = stage.peer.outbound("order");
    handled.raise_level(Level::Handled);
    let waiting = tokio::spawn(stage.stack.clone().oneshot(handled));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!waiting.is_finished());
    stage.wire.send_replace(Wire::Fine);
    waiting.await.unwrap().unwrap();
    let mut no = stage.peer.outbound("no");
    no.raise_level(Level::Handled);
    let refused = call(&stage.stack, no).await.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(AckError::Refused(Nak::BadPayload))));
    assert!(stage.undelivered().is_empty(), "it was told already");
    stage.emit("no").await.unwrap();
    settle().await;
    let stats = stage.buffer.stats();
    assert_eq!((stats.events, stats.received, stats.undelivered), (0, 3, 1));
    let told = ["no: the peer refused: the payload is not what the handler takes"];
    assert_eq!(stage.undelivered(), told, "nobody else would hear of it");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_not_received_in_its_time_is_given_up_and_told() {
    let ttl = |event: &emitwire_core::protocol::Event| {
        (event.name == "soon").then_some(Duration::from_secs(1))
    };
    let stage = Stage::new(Buffer::new().ttl(Duration::from_secs(10)).ttl_of(ttl)).await;
    stage.wire.send_replace(Wire::Gone);
    stage.emit("late").await.unwrap();
    let bytes = stage.buffer.stats().bytes;
    let mut soon = stage.peer.outbound("soon");
    soon.raise_level(Level::Received);
    let began = Instant::now();
    let expired = error(call(&stage.stack, soon).await);
    assert_eq!(expired, BufferError::Expired { after: Duration::from_secs(1) });
    assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", began.elapsed());
    assert_eq!((stage.buffer.stats().events, stage.buffer.stats().bytes), (1, bytes));
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Of the other one its emit has told.
    assert_eq!(stage.undelivered(), ["late: it was not received within 10s"]);
    let stats = stage.buffer.stats();
    assert_eq!((stats.events, stats.bytes, stats.undelivered), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_room_it_does_as_it_was_told() {
    let full = |overflow| Buffer::new().events_max(2).overflow(overflow).wait_max(SECOND);
    for (overflow, kept, told) in [
        (Overflow::Block, ["a", "b"], vec![]),
        (Overflow::Reject, ["a", "b"], vec![]),
        (Overflow::DropNewest, ["a", "b"], vec!["c: the buffer is full; waited for 0ns"]),
        (Overflow::DropOldest, ["b", "c"], vec!["a: it made way for a newer event"]),
    ] {
        let stage = Stage::new(full(overflow)).await;
        stage.wire.send_replace(Wire::Gone);
        for name in ["a", "b"] {
            stage.emit(name).await.unwrap();
        }
        let began = Instant::now();
        let third = stage.emit("c").await;
        match overflow {
            Overflow::Block => assert_eq!(waited(error(third)), SECOND),
            Overflow::Reject => assert_eq!(waited(error(third)), Duration::ZERO),
            _ => drop(third.unwrap()),
        }
        assert!(overflow == Overflow::Block || began.elapsed().is_zero(), "{overflow:?}");
        assert_eq!(stage.undelivered(), told, "{overflow:?}");
        assert_eq!(stage.buffer.stats().events, 2);
        stage.wire.send_replace(Wire::Fine);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let names = stage.calls.names();
        assert_eq!(names[names.len() - 2..], kept, "{overflow:?}");
    }
}

fn waited(full: BufferError) -> Duration {
    assert_eq!(Remedy::of(&full), Remedy::Repeat { after: Duration::ZERO });
    match full {
        BufferError::Full { waited, .. } => waited,
        other => panic!("{other}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_has_it_in_order_and_is_withdrawn_when_dropped() {
    let stage = Stage::new(Buffer::new().events_max(1)).await;
    stage.wire.send_replace(Wire::Silent);
    stage.emit("a").await.unwrap();
    let wait = |name| tokio::spawn(stage.stack.clone().oneshot(stage.peer.outbound(name)));
    let b = wait("b");
    settle().await;
    let (c, d) = (wait("c"), wait("d"));
    settle().await;
    c.abort();
    settle().await;
    stage.wire.send_replace(Wire::Fine);
    for waiting in [b, d] {
        waiting.await.unwrap().unwrap();
    }
    settle().await;
    assert_eq!(stage.calls.names(), ["a", "b", "d"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_have_a_bound_too_and_a_single_event_may_be_larger() {
    let stage = Stage::new(Buffer::new().bytes_max(1).overflow(Overflow::Reject)).await;
    stage.wire.send_replace(Wire::Silent);
    stage.emit("a").await.unwrap();
    error(stage.emit("b").await);
    stage.wire.send_replace(Wire::Fine);
    settle().await;
    stage.emit("c").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_emit_that_is_dropped_when_its_event_is_kept_withdraws_nothing() {
    let stage = Stage::new(Buffer::new()).await;
    stage.wire.send_replace(Wire::Silent);
    let mut handled = stage.peer.outbound("order");
    handled.raise_level(Level::Handled);
    let waiting = tokio::spawn(stage.stack.clone().oneshot(handled));
    settle().await;
    waiting.abort();
    settle().await;
    stage.wire.send_replace(Wire::Gone);
    settle().await;
    stage.wire.send_replace(Wire::Fine);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.buffer.stats().received, 1);
}

#[tokio::test(start_paused = true)]
async fn events_on_their_way_do_not_wait_for_each_others_receipts() {
    let stage = Stage::new(Buffer::new()).await;
    for number in 0..500 {
        stage.emit(&format!("{number}")).await.unwrap();
    }
    settle().await;
    let expected: Vec<_> = (0..500).map(|number| format!("{number}")).collect();
    assert_eq!(stage.calls.names(), expected);
    assert_eq!(stage.buffer.stats().received, 500);
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_kept_for_ever() {
    let stage = Stage::new(Buffer::new().ttl(Duration::MAX)).await;
    stage.wire.send_replace(Wire::Gone);
    stage.emit("a").await.unwrap();
    tokio::time::sleep(SECOND * 3600).await;
    stage.wire.send_replace(Wire::Fine);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(stage.buffer.stats().received, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_behind_one_that_cannot_go_out_is_given_up_in_its_own_time() {
    let soon = |event: &emitwire_core::protocol::Event| (event.name == "soon").then_some(SECOND);
    let stage = Stage::new(Buffer::new().ttl_of(soon)).await;
    stage.wire.send_replace(Wire::Silent);
    stage.emit("first").await.unwrap();
    stage.emit("soon").await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(stage.undelivered(), ["soon: it was not received within 1s"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_made_way_while_it_waited_to_go_out_does_not_go_out_and_is_in_nobodys_way() {
    let buffer = Buffer::new().events_max(2).overflow(Overflow::DropOldest);
    let stage = Stage::new(buffer).await;
    stage.wire.send_replace(Wire::Silent);
    for name in ["a", "b", "c"] {
        stage.emit(name).await.unwrap();
        settle().await;
    }
    assert_eq!(stage.undelivered(), ["a: it made way for a newer event"]);
    assert_eq!(stage.calls.names(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_expires_makes_room_for_whoever_waits() {
    let stage = Stage::new(Buffer::new().events_max(1).ttl(SECOND)).await;
    stage.wire.send_replace(Wire::Gone);
    for _ in 0..3 {
        stage.emit("a").await.unwrap();
    }
    assert_eq!(stage.undelivered().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_at_once_each_time_does_not_go_round_in_circles() {
    let peer = Peer::new().await;
    let buffer = Buffer::new();
    let (stack, calls) = around(buffer.clone(), |_, _| async {
        Err(AckError::Timeout { after: Duration::ZERO }.into())
    });
    call(&stack, peer.outbound("a")).await.unwrap();
    tokio::time::sleep(SECOND * 10).await;
    assert!((9..=11).contains(&calls.count()), "{}", calls.count());
}

#[tokio::test(start_paused = true)]
async fn there_are_events_for_so_many_peers_and_who_has_none_is_not_counted() {
    let peers = Buffer::new().for_peers(|socket| Some(socket.id().to_string().into_bytes()));
    let stage = Stage::new(peers.peers_max(1)).await;
    let other = Peer::new().await;
    let emit = || call(&stage.stack, other.outbound("b"));
    stage.wire.send_replace(Wire::Silent);
    stage.emit("a").await.unwrap();
    assert_eq!(error(emit().await), BufferError::TooManyPeers { max: 1 });
    stage.wire.send_replace(Wire::Fine);
    settle().await;
    emit().await.unwrap();
}

#[test]
fn what_is_on_its_way_when_its_runtime_ends_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(async {
        let stage = Stage::new(Buffer::new()).await;
        stage.wire.send_replace(Wire::Silent);
        stage.emit("a").await.unwrap();
        settle().await;
        stage
    });
    assert_eq!(stage.calls.count(), 1);
    drop(runtime);
    assert_eq!(stage.undelivered(), ["a: there is nobody left to send it"]);
}
