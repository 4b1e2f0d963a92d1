//! `from_fn`: a layer out of an async function.

use crate::Call;
use emitwire_core::socket::{Ack, BoxError, Envelope, EventService, Stack, boxed};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

/// A layer out of an async function that is given each event, and what is inside the layer.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// # use emitwire_core::protocol::Nak;
/// # use emitwire_core::socket::{Ack, BoxError, Envelope};
/// use emitwire_middleware::{Next, from_fn};
///
/// async fn short_ones_only(envelope: Envelope, next: Next) -> Result<Ack, BoxError> {
///     if envelope.event().payload.len() > 1024 {
///         return Err(Nak::TooLarge.into());
///     }
///     next.run(envelope).await
/// }
///
/// let chat = Namespace::new("/chat").inbound(from_fn(short_ones_only));
/// ```
///
/// # Cancel safety
/// As the function: it is dropped when the emit is, or when the handler's time is up.
pub fn from_fn<F, Fut>(function: F) -> FromFn<F>
where
    F: Fn(Envelope, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Ack, BoxError>> + Send + 'static,
{
    FromFn(Arc::new(function))
}

/// The layer that [`from_fn`] makes.
pub struct FromFn<F>(Arc<F>);

/// What is inside the layer. It can be run several times: each clone is the same.
#[derive(Clone)]
pub struct Next(Stack);

impl Next {
    /// Passes the event on, as soon as what is inside is ready for it.
    ///
    /// # Errors
    /// Those of what is inside.
    ///
    /// # Cancel safety
    /// Dropped before the event is accepted it is not sent, afterwards nobody is interested in the
    /// answer; a handler that runs is cancelled.
    pub async fn run(self, envelope: Envelope) -> Result<Ack, BoxError> {
        self.0.oneshot(envelope).await
    }
}

impl<S: EventService, F> Layer<S> for FromFn<F> {
    type Service = FromFnService<F>;

    fn layer(&self, inner: S) -> Self::Service {
        FromFnService { function: Arc::clone(&self.0), next: Next(boxed(inner)) }
    }
}

/// The service of [`from_fn`].
pub struct FromFnService<F> {
    function: Arc<F>,
    next: Next,
}

impl<F, Fut> Service<Envelope> for FromFnService<F>
where
    F: Fn(Envelope, Next) -> Fut,
    Fut: Future<Output = Result<Ack, BoxError>> + Send + 'static,
{
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    /// Always ready: what is inside is waited for when it is run.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        Box::pin((self.function)(envelope, self.next.clone()))
    }
}

impl<F> Clone for FromFn<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> Clone for FromFnService<F> {
    fn clone(&self) -> Self {
        Self { function: Arc::clone(&self.function), next: self.next.clone() }
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for FromFnService<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFnService").finish_non_exhaustive()
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}
