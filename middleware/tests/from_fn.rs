//! `from_fn`, on both ways.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod support;

use emitwire_core::protocol::Nak;
use emitwire_core::socket::{Ack, BoxError, Envelope};
use emitwire_middleware::{Next, from_fn};
use support::{Peer, around, call};

async fn polite(envelope: Envelope, next: Next) -> Result<Ack, BoxError> {
    if envelope.event().name == "shout" {
        return Err(Nak::BadPayload.into());
    }
    // What is inside may be run again: it is the same event.
    match next.clone().run(envelope.clone()).await {
        Err(_) => next.run(envelope).await,
        answer => answer,
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_given_each_event_and_may_answer_itself_or_run_what_is_inside() {
    let peer = Peer::new().await;
    let (stack, calls) = around(from_fn(polite), |before, _| async move {
        if before == 0 { Err("once".into()) } else { Ok(Ack::empty()) }
    });
    for envelope in [peer.inbound("say"), peer.outbound("say")] {
        call(&stack, envelope).await.unwrap();
    }
    assert_eq!(calls.names(), ["say", "say", "say"]);
    let refused = call(&stack, peer.inbound("shout")).await.unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&Nak::BadPayload));
    assert_eq!(calls.count(), 3);
}
