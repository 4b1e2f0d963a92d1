//! What stands innermost on the way in, and what the peer sees of a layer's error.

use super::Listeners;
use crate::protocol::Nak;
use crate::socket::{Ack, BoxError, Emitter, Envelope, Refusal};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower_service::Service;

/// What a shed event's sender is told to wait at least; the layer itself does not know.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// The innermost service: calls the listeners. Always ready.
#[derive(Clone)]
pub(crate) struct Dispatch(pub(crate) Emitter);

impl Service<Envelope> for Dispatch {
    type Response = Ack;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let emitter = self.0.clone();
        Box::pin(async move {
            let name = envelope.event().name.clone();
            // A layer may have been given to the wrong direction by another.
            let socket = envelope.socket().ok_or(Nak::Failed)?;
            let listeners = Listeners::find(&emitter, socket, &name).ok_or(Nak::NoHandler)?;
            listeners.call(envelope).await.map_err(|refusal| {
                refusal.log(&name);
                refusal.into_nak().into()
            })
        })
    }
}

/// What the peer sees of a layer's error.
pub(crate) fn nak_of(error: BoxError) -> Refusal {
    let error = match error.downcast::<Nak>() {
        Ok(nak) => return Refusal::nak_only(*nak),
        Err(error) => error,
    };
    if error.is::<Elapsed>() {
        return Refusal::nak_only(Nak::Timeout);
    }
    if error.is::<Overloaded>() {
        return Refusal::nak_only(Nak::Busy { retry_after: RETRY_AFTER_OVERLOAD });
    }
    Refusal::failed(error)
}
