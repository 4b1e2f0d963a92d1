//! `Retry` around something that fails.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::protocol::Nak;
use emitwire_core::run::testing;
use emitwire_core::socket::{Ack, AckError, BoxError, EmitError, Envelope};
use emitwire_middleware::Retry;
use std::time::Duration;
use support::{Peer, around, call, settle};
use tokio::time::Instant;
use tower::ServiceExt;
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::error::Elapsed;
use tower_layer::Layer;

fn refused(nak: Nak) -> BoxError {
    AckError::Refused(nak).into()
}

fn busy(retry_after: Duration) -> BoxError {
    refused(Nak::Busy { retry_after })
}

#[tokio::test(start_paused = true)]
async fn what_may_fare_better_is_attempted_again_as_the_same_event() {
    let peer = Peer::new().await;
    let (stack, calls) = around(Retry::new(), |before, _| async move {
        match before {
            0 => Err(busy(Duration::ZERO)),
            1 => Err(refused(Nak::Failed)),
            2 => Err(AckError::Timeout { after: Duration::ZERO }.into()),
            3 => Err(Elapsed::new().into()),
            4 => Err(EmitError::Full { waited: Duration::ZERO }.into()),
            _ => Ok(Ack::empty()),
        }
    });
    let envelope = peer.outbound("order");
    call(&stack, envelope.clone()).await.unwrap();
    assert_eq!(calls.ids(), [envelope.event().id; 6]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_good_is_passed_on_at_once() {
    let peer = Peer::new().await;
    for nak in [Nak::BadPayload, Nak::NoHandler, Nak::TooLarge, Nak::Closed] {
        let expected = nak.clone();
        let (stack, calls) = around(Retry::new(), move |_, _| {
            let nak = nak.clone();
            async move { Err(refused(nak)) }
        });
        let error = call(&stack, peer.outbound("order")).await.unwrap_err();
        let told = error.downcast_ref::<AckError>();
        assert!(matches!(told, Some(AckError::Refused(nak)) if *nak == expected), "{told:?}");
        assert_eq!(calls.count(), 1, "{expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_are_below_a_ceiling_that_doubles_and_no_shorter_than_a_busy_peer_asks_for() {
    let peer = Peer::new().await;
    let (first, longest) = (Duration::from_millis(100), Duration::from_millis(800));
    let retry = || Retry::new().backoff(first, longest).seeded(5);
    let times = |retry: Retry, after: Duration| {
        let envelope = peer.outbound("order");
        async move {
            let (stack, calls) = around(retry, move |_, _| async move { Err(busy(after)) });
            let began = Instant::now();
            stack.oneshot(envelope).await.unwrap_err();
            calls.times().into_iter().map(|at| at - began).collect::<Vec<_>>()
        }
    };
    let drawn = times(retry(), Duration::ZERO).await;
    assert_eq!(drawn.len(), 8);
    assert_eq!(drawn, times(retry(), Duration::ZERO).await, "a seed decides");
    for (place, ceiling) in [100, 200, 400, 800, 800, 800, 800].into_iter().enumerate() {
        let delay = drawn[place + 1] - drawn[place];
        assert!(delay <= Duration::from_millis(ceiling + 2), "{place}: {delay:?}");
    }
    let floor = Duration::from_secs(3);
    for pair in times(retry(), floor).await.windows(2) {
        assert!(pair[1] - pair[0] >= floor, "{pair:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_so_many_attempts_and_when_its_time_is_over_with_the_last_error() {
    let peer = Peer::new().await;
    let fails = |_, _| async { Err(refused(Nak::Failed)) };
    let retry = Retry::new().attempts(3);
    let (stack, calls) = around(retry.clone(), fails);
    let error = call(&stack, peer.outbound("order")).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(AckError::Refused(Nak::Failed))), "{error}");
    assert_eq!((calls.count(), retry.stats().repeated, retry.stats().exhausted), (3, 2, 1));

    let retry = Retry::new().attempts(1000).within(Duration::from_secs(2));
    let retry = retry.backoff(Duration::from_secs(1), Duration::from_secs(1));
    let (stack, _) = around(retry.clone(), fails);
    let began = Instant::now();
    call(&stack, peer.outbound("order")).await.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(retry.stats().late, 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_there_is_no_more_than_a_tenth_more_of_it() {
    let peer = Peer::new().await;
    let retry = Retry::new();
    let (stack, calls) = around(retry.clone(), |_, _| async { Err(busy(Duration::ZERO)) });
    for _ in 0..1000 {
        call(&stack, peer.outbound("order")).await.unwrap_err();
    }
    assert!((1090..=1100).contains(&calls.count()), "{}", calls.count());
    assert!(retry.stats().broke > 900, "{:?}", retry.stats());
}

#[tokio::test(start_paused = true)]
async fn in_order_later_events_of_a_socket_wait_for_those_before_them() {
    let (peer, other) = (Peer::new().await, Peer::new().await);
    let fails_once = |before, _: Envelope| async move {
        if before == 0 { Err(refused(Nak::Failed)) } else { Ok(Ack::empty()) }
    };
    let (stack, calls) = around(Retry::new().in_order(), fails_once);
    let first = tokio::spawn(stack.clone().oneshot(peer.outbound("first")));
    settle().await;
    let second = tokio::spawn(stack.clone().oneshot(peer.outbound("second")));
    let elsewhere = tokio::spawn(stack.clone().oneshot(other.outbound("elsewhere")));
    for task in [first, second, elsewhere] {
        task.await.unwrap().unwrap();
    }
    assert_eq!(calls.names(), ["first", "elsewhere", "first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_while_it_waits_attempts_nothing_more_and_lets_the_next_go() {
    let peer = Peer::new().await;
    let (stack, calls) = around(Retry::new().in_order(), |_, envelope: Envelope| async move {
        match &*envelope.event().name {
            "first" => Err(busy(Duration::from_secs(1))),
            _ => Ok(Ack::empty()),
        }
    });
    let first = tokio::spawn(stack.clone().oneshot(peer.outbound("first")));
    settle().await;
    first.abort();
    call(&stack, peer.outbound("second")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls.names(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn in_order_whoever_waits_for_its_turn_takes_nothing_that_the_one_before_needs() {
    let peer = Peer::new().await;
    let layers = tower::layer::layer_fn(|inner| {
        Retry::new().in_order().layer(ConcurrencyLimitLayer::new(1).layer(inner))
    });
    let (stack, calls) = around(layers, |before, _| async move {
        if before == 0 { Err(refused(Nak::Failed)) } else { Ok(Ack::empty()) }
    });
    let first = tokio::spawn(stack.clone().oneshot(peer.outbound("first")));
    let second = tokio::spawn(stack.clone().oneshot(peer.outbound("second")));
    for task in [first, second] {
        testing::within(task).await.unwrap().unwrap();
    }
    assert_eq!(calls.names(), ["first", "first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn time_counts_from_the_emit_also_of_what_is_for_another_socket_by_now() {
    let (peer, next) = (Peer::new().await, Peer::new().await);
    let fails = |_, _| async { Err(refused(Nak::Failed)) };
    let (stack, calls) = around(Retry::new().within(Duration::from_secs(60)), fails);
    let first = peer.outbound("order");
    tokio::time::sleep(Duration::from_secs(61)).await;
    for envelope in [first.clone(), first.readdressed(&next.socket)] {
        call(&stack, envelope).await.unwrap_err();
    }
    assert_eq!(calls.count(), 2, "its time is over: one attempt each");
}
