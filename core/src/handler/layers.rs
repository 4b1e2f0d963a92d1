//! What stands innermost on the way in.

use super::Listeners;
use crate::protocol::Nak;
use crate::socket::{Ack, BoxError, Emitter, Envelope};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

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
