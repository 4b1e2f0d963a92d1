//! `RateLimit` on either way.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::protocol::Nak;
use emitwire_core::socket::{Ack, BoxError, Envelope, Remedy, Stack};
use emitwire_middleware::{RateLimit, RateLimitError};
use std::time::Duration;
use support::{Calls, Peer, around, call};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn limited(limit: RateLimit) -> (Stack, Calls) {
    around(limit, |_, _| async { Ok(Ack::empty()) })
}

fn busy(result: Result<Ack, BoxError>) -> Duration {
    match *result.unwrap_err().downcast::<Nak>().unwrap() {
        Nak::Busy { retry_after } => retry_after,
        other => panic!("{other}"),
    }
}

/// How many pass of so many that come at once.
async fn pass(stack: &Stack, count: usize, envelope: impl Fn() -> Envelope) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        passed += usize::from(call(stack, envelope()).await.is_ok());
    }
    passed
}

#[tokio::test(start_paused = true)]
async fn as_many_pass_at_once_as_the_limit_says_and_then_as_many_as_time_brings_again() {
    let peer = Peer::new().await;
    let (stack, _) = limited(RateLimit::new(10, SECOND));
    assert_eq!(pass(&stack, 100, || peer.inbound("say")).await, 10);
    let retry_after = busy(call(&stack, peer.inbound("say")).await);
    assert_eq!(retry_after, Duration::from_millis(100));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(pass(&stack, 100, || peer.inbound("say")).await, 3);
    sleep(SECOND * 100).await;
    assert_eq!(pass(&stack, 100, || peer.inbound("say")).await, 10, "no more are saved");
}

#[tokio::test(start_paused = true)]
async fn a_name_has_a_limit_beside_that_of_all_and_takes_no_more_of_that_than_passes() {
    let peer = Peer::new().await;
    let (stack, calls) = limited(RateLimit::new(10, SECOND).event("search", 2, SECOND));
    assert_eq!(pass(&stack, 50, || peer.inbound("search")).await, 2);
    assert_eq!(pass(&stack, 50, || peer.inbound("say")).await, 8);
    assert_eq!(calls.count(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_emit_waits_for_its_turn_and_fails_at_once_if_that_is_too_far_away() {
    let peer = Peer::new().await;
    let (stack, calls) = limited(RateLimit::new(2, SECOND).wait_max(SECOND));
    let began = Instant::now();
    let emits = (0..5)
        .map(|_| tokio::spawn(tower::ServiceExt::oneshot(stack.clone(), peer.outbound("say"))));
    let emits: Vec<_> = emits.collect();
    let mut results: Vec<Result<Ack, RateLimitError>> = Vec::new();
    for emit in emits {
        results.push(emit.await.unwrap().map_err(|error| *error.downcast().unwrap()));
    }
    let retry_after = Duration::from_millis(1500);
    let too_many = RateLimitError::TooMany { retry_after, busy: Nak::Busy { retry_after } };
    assert_eq!(results[4].as_ref().unwrap_err(), &too_many);
    assert_eq!(Remedy::of(&too_many), Remedy::Repeat { after: retry_after });
    assert!(results[..4].iter().all(Result::is_ok));
    let times: Vec<_> = calls.times().iter().map(|at| (*at - began).as_millis()).collect();
    // Timers have milliseconds.
    for (time, expected) in times.iter().zip([0, 0, 500, 1000]) {
        assert!(time.abs_diff(expected) <= 1, "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clones_share_a_bucket_and_nothing_passes_a_limit_of_zero() {
    let peer = Peer::new().await;
    let limit = RateLimit::new(3, SECOND);
    let (one, _) = limited(limit.clone());
    let (other, _) = limited(limit);
    assert_eq!(pass(&one, 2, || peer.inbound("say")).await, 2);
    assert_eq!(pass(&other, 2, || peer.inbound("say")).await, 1);
    let (none, _) = limited(RateLimit::new(0, SECOND));
    assert_eq!(pass(&none, 3, || peer.inbound("say")).await, 0);
    assert_eq!(pass(&none, 3, || peer.outbound("say")).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_once_for_ever_passes_once() {
    let peer = Peer::new().await;
    let (stack, _) = limited(RateLimit::new(1, Duration::MAX));
    assert_eq!(pass(&stack, 3, || peer.inbound("say")).await, 1);
    assert_eq!(pass(&stack, 3, || peer.outbound("say")).await, 0);
}
