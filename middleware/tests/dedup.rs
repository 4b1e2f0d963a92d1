//! `Dedup` around something that handles.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::protocol::{Nak, Payload};
use emitwire_core::socket::{Ack, BoxError, Envelope};
use emitwire_middleware::Dedup;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Peer, around, call, settle};
use tokio::sync::Notify;
use tower::ServiceExt;

fn number(number: usize) -> Ack {
    Ack::new(Payload::encode(&number).unwrap())
}

fn nak(result: Result<Ack, BoxError>) -> Nak {
    *result.unwrap_err().downcast().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_not_handled_again_and_has_the_same_answer() {
    let peer = Peer::new().await;
    let dedup = Dedup::new();
    let (stack, calls) = around(dedup.clone(), |before, _| async move { Ok(number(before)) });
    let envelope = peer.inbound("buy");
    for _ in 0..3 {
        assert_eq!(call(&stack, envelope.clone()).await.unwrap(), number(0));
    }
    assert_eq!(call(&stack, peer.inbound("buy")).await.unwrap(), number(1));
    assert_eq!((calls.count(), dedup.stats().repeated, dedup.stats().entries), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn answers_for_good_are_kept_and_others_are_not() {
    let rejected = Nak::Rejected(Payload::encode("sold out").unwrap());
    let peer = Peer::new().await;
    let cases = [
        (rejected, 1),
        (Nak::BadPayload, 1),
        (Nak::TooLarge, 1),
        (Nak::Busy { retry_after: Duration::ZERO }, 2),
        (Nak::Timeout, 2),
        (Nak::Failed, 2),
        (Nak::NoHandler, 2),
        (Nak::Closed, 2),
    ];
    for (answer, runs) in cases {
        let told = answer.clone();
        let (stack, calls) = around(Dedup::new(), move |_, _| {
            let answer = answer.clone();
            async move { Err(answer.into()) }
        });
        let envelope = peer.inbound("buy");
        for _ in 0..2 {
            assert_eq!(nak(call(&stack, envelope.clone()).await), told);
        }
        assert_eq!(calls.count(), runs, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_while_its_handler_runs_waits_for_that() {
    let peer = Peer::new().await;
    let gate = Arc::new(Notify::new());
    let open = Arc::clone(&gate);
    let dedup = Dedup::new();
    let (stack, calls) = around(dedup.clone(), move |before, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(number(before))
        }
    });
    let envelope = peer.inbound("buy");
    let first = tokio::spawn(stack.clone().oneshot(envelope.clone()));
    settle().await;
    let second = tokio::spawn(stack.clone().oneshot(envelope.clone()));
    settle().await;
    // Who began it loses interest; it is not the handler's owner.
    first.abort();
    settle().await;
    open.notify_one();
    assert_eq!(second.await.unwrap().unwrap(), number(0));
    assert_eq!(call(&stack, envelope).await.unwrap(), number(0));
    assert_eq!((calls.count(), dedup.stats().joined, dedup.stats().repeated), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_or_takes_too_long_is_run_again_when_the_event_comes_again() {
    let peer = Peer::new().await;
    let (stack, calls) =
        around(Dedup::new().run_max(Duration::from_secs(3)), |before, _| async move {
            match before {
                0 => {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                }
                1 => std::future::pending().await,
                _ => Ok(number(before)),
            }
        });
    let envelope = peer.inbound("buy");
    assert_eq!(nak(call(&stack, envelope.clone()).await), Nak::Failed);
    assert_eq!(nak(call(&stack, envelope.clone()).await), Nak::Timeout);
    assert_eq!(call(&stack, envelope.clone()).await.unwrap(), number(2));
    assert_eq!(call(&stack, envelope).await.unwrap(), number(2));
    assert_eq!(calls.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_known_for_the_horizon_and_no_longer() {
    let peer = Peer::new().await;
    let dedup = Dedup::new().horizon(Duration::from_secs(10));
    let (stack, calls) = around(dedup.clone(), |before, _| async move { Ok(number(before)) });
    let envelope = peer.inbound("buy");
    call(&stack, envelope.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(9_990)).await;
    assert_eq!(call(&stack, envelope.clone()).await.unwrap(), number(0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(dedup.stats().entries, 0, "and keeps nothing after that");
    assert_eq!(dedup.stats().bytes, 0);
    assert_eq!(call(&stack, envelope).await.unwrap(), number(1));
    assert_eq!(calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn when_it_is_full_new_events_are_busy_until_the_oldest_may_be_forgotten() {
    let peer = Peer::new().await;
    let bounds = [
        Dedup::new().entries_max(2),
        // Two of about this size: see what an entry is said to cost.
        Dedup::new().bytes_max(300),
    ];
    for dedup in bounds {
        let dedup = dedup.horizon(Duration::from_secs(10));
        let (stack, calls) = around(dedup.clone(), |before, _| async move { Ok(number(before)) });
        let known = peer.inbound("buy");
        call(&stack, known.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        call(&stack, peer.inbound("buy")).await.unwrap();
        let answer = nak(call(&stack, peer.inbound("buy")).await);
        assert_eq!(answer, Nak::Busy { retry_after: Duration::from_secs(6) });
        assert_eq!(call(&stack, known).await.unwrap(), number(0), "nothing is forgotten for it");
        tokio::time::sleep(Duration::from_secs(6)).await;
        call(&stack, peer.inbound("buy")).await.unwrap();
        assert_eq!((calls.count(), dedup.stats().full), (3, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_event_is_one_entry_and_one_run() {
    let peer = Peer::new().await;
    let dedup = Dedup::new();
    let (stack, calls) = around(dedup.clone(), |before, _| async move { Ok(number(before)) });
    let envelope = peer.inbound("buy");
    for _ in 0..10_000 {
        call(&stack, envelope.clone()).await.unwrap();
    }
    assert_eq!((calls.count(), dedup.stats().entries), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn events_of_one_key_are_the_same_in_their_namespace_and_those_without_go_by_their_id() {
    let peer = Peer::new().await;
    let key = |envelope: &Envelope| {
        let name = &envelope.event().name;
        (*name != "free").then(|| name.as_bytes().to_vec())
    };
    let (stack, calls) =
        around(Dedup::new().key(key), |before, _| async move { Ok(number(before)) });
    for (name, expected) in [("a", 0), ("a", 0), ("b", 1), ("free", 2), ("free", 3), ("a", 0)] {
        assert_eq!(call(&stack, peer.inbound(name)).await.unwrap(), number(expected), "{name}");
    }
    assert_eq!(calls.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn volatile_events_and_those_that_go_out_pass_as_they_are() {
    let peer = Peer::new().await;
    let dedup = Dedup::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let (stack, _) = around(dedup.clone(), move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(Ack::empty()) }
    });
    let mut event = support::event("moved", support::fresh_id());
    event.volatile = true;
    let volatile = Envelope::new(peer.socket.clone(), event);
    let outbound = peer.outbound("buy");
    for envelope in [volatile, outbound] {
        for _ in 0..2 {
            call(&stack, envelope.clone()).await.unwrap();
        }
    }
    assert_eq!((runs.load(Ordering::Relaxed), dedup.stats().entries), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_known_for_ever() {
    let peer = Peer::new().await;
    let dedup = Dedup::new().horizon(Duration::MAX);
    let (stack, calls) = around(dedup, |before, _| async move { Ok(number(before)) });
    let envelope = peer.inbound("buy");
    for _ in 0..2 {
        assert_eq!(call(&stack, envelope.clone()).await.unwrap(), number(0));
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    assert_eq!(calls.count(), 1);
}
