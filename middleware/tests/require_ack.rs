//! `RequireAck` around tower's mock.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::socket::{Ack, AckError, Envelope, Level};
use emitwire_middleware::RequireAck;
use std::time::Duration;
use support::{Peer, around, call};
use tokio::time::Instant;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_test::mock;

const DEADLINE: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn every_event_is_to_be_answered_and_no_level_is_lowered() {
    let peer = Peer::new().await;
    let layers = [
        (RequireAck::handled(DEADLINE), [Level::Handled, Level::Handled]),
        (RequireAck::received(DEADLINE), [Level::Received, Level::Handled]),
    ];
    for (layer, expected) in layers {
        let (stack, calls) = around(layer, |_, _| async { Ok(Ack::empty()) });
        let mut handled = peer.outbound("order");
        handled.raise_level(Level::Handled);
        for envelope in [peer.outbound("order"), handled] {
            call(&stack, envelope).await.unwrap();
        }
        let seen = calls.all();
        assert_eq!(seen.iter().map(Envelope::level).collect::<Vec<_>>(), expected);
        assert!(seen.iter().all(|envelope| envelope.attempt_max() == Some(DEADLINE)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_a_timeout_at_the_deadline_and_is_not_waited_for_any_more()
{
    let peer = Peer::new().await;
    let (service, mut inside) = mock::pair::<Envelope, Ack>();
    let stack = RequireAck::handled(DEADLINE).layer(service);
    inside.allow(1);
    let began = Instant::now();
    let calling = tokio::spawn(stack.oneshot(peer.outbound("order")));
    let (_, answer) = inside.next_request().await.unwrap();
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!(began.elapsed(), DEADLINE);
    let told = error.downcast_ref();
    assert!(matches!(told, Some(AckError::Timeout { after: DEADLINE })), "{error}");
    // Nobody waits for it any more.
    answer.send_response(Ack::empty());
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_what_is_inside_is() {
    let peer = Peer::new().await;
    let (service, mut inside) = mock::pair::<Envelope, Ack>();
    inside.allow(0);
    let mut stack = RequireAck::handled(DEADLINE).layer(service);
    let ready = tokio::time::timeout(DEADLINE, stack.ready());
    assert!(ready.await.is_err(), "it does not wait in place of what is inside");
    inside.send_error("gone");
    let error = stack.oneshot(peer.outbound("order")).await.unwrap_err();
    assert_eq!(error.to_string(), "gone");
}
