//! Inbound layers: any tower layer around the listeners of a namespace.

use super::Listeners;
use crate::protocol::Nak;
use crate::socket::{Ack, Emitter, Envelope, Refusal};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

/// What a shed event's sender is told to wait at least; the layer itself does not know.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// An error of any layer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What ends at the listeners, with all layers around it.
pub(crate) type Inbound = BoxCloneSyncService<Envelope, Ack, BoxError>;

/// What a layer makes of the services inside it, so that it can stand around handlers. Nobody
/// implements it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand around handlers",
    note = "a layer's service is a `tower_service::Service<Envelope, Response = Ack>` whose future \
            is `Send`",
    note = "it is `Clone`, `Send` and `Sync`: a stack of layers is cloned for each event"
)]
pub trait EventService:
    Service<Envelope, Response = Ack, Error: Into<BoxError>, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

#[diagnostic::do_not_recommend]
impl<S> EventService for S
where
    S: Service<Envelope, Response = Ack> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
}

/// The innermost service: calls the listeners. Always ready.
#[derive(Clone)]
pub(super) struct Dispatch(pub(super) Emitter);

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
            let listeners = Listeners::find(&emitter, envelope.socket(), &name);
            let listeners = listeners.ok_or(Nak::NoHandler)?;
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
