//! `RequireAck`: every event wants an answer, by a deadline.

use emitwire_core::socket::{Ack, AckError, BoxError, Envelope, Layers, Level};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

/// Has every emit wait for its peer, also a plain `emit(..).await`, and fail if that does not
/// answer in time.
///
/// Inside a [`Retry`](crate::Retry) the deadline is that of each attempt, outside that of all of
/// them. It begins when the emit reaches the layer, and includes the wait for room.
///
/// Of a broadcast it wants the answer of each member: those that give none, or one that another
/// attempt may better, are named by [`AckError::Missing`]. Their refusals for good are answers,
/// and for whoever asks each of them by `.ack()`.
///
/// Around listeners it changes nothing but that: a handler has the deadline.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// use emitwire_middleware::RequireAck;
/// use std::time::Duration;
///
/// let orders = Namespace::new("/orders").layers(RequireAck::handled(Duration::from_secs(5)));
/// ```
///
/// # Errors
/// [`AckError::Timeout`], [`AckError::Missing`], and those of what is inside it. They reach a plain
/// `emit(..).await` as `EmitError::Unanswered`.
#[derive(Clone, Copy, Debug)]
pub struct RequireAck {
    level: Level,
    deadline: Duration,
}

impl RequireAck {
    /// The peer's handler has to answer.
    #[must_use]
    pub fn handled(deadline: Duration) -> Self {
        Self { level: Level::Handled, deadline }
    }

    /// The peer's session has to say that it has the event. A broadcast has to be handled: of it
    /// there are no receipts.
    #[must_use]
    pub fn received(deadline: Duration) -> Self {
        Self { level: Level::Received, deadline }
    }
}

/// Around emitting.
impl From<RequireAck> for Layers {
    fn from(layer: RequireAck) -> Self {
        Self::new().outbound(layer)
    }
}

impl<S> Layer<S> for RequireAck {
    type Service = RequireAckService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireAckService { inner, require: *self }
    }
}

/// The service of [`RequireAck`].
#[derive(Clone, Copy, Debug)]
pub struct RequireAckService<S> {
    inner: S,
    require: RequireAck,
}

impl<S> Service<Envelope> for RequireAckService<S>
where
    S: Service<Envelope, Response = Ack, Error: Into<BoxError>>,
{
    type Response = Ack;
    type Error = BoxError;
    type Future = RequireAckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut envelope: Envelope) -> Self::Future {
        let RequireAck { level, deadline } = self.require;
        envelope.raise_level(level);
        // The core waits as long, gives up no later, and can say who is missing.
        envelope.set_attempt_max(deadline);
        RequireAckFuture { inner: self.inner.call(envelope), sleep: sleep(deadline), deadline }
    }
}

pin_project! {
    /// The future of [`RequireAckService`].
    #[derive(Debug)]
    pub struct RequireAckFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        sleep: Sleep,
        deadline: Duration,
    }
}

impl<F, E> Future for RequireAckFuture<F>
where
    F: Future<Output = Result<Ack, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Ack, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(match answer {
                Ok(ack) if !ack.missing().is_empty() => Err(missing(&ack).into()),
                answer => answer.map_err(Into::into),
            });
        }
        ready!(this.sleep.poll(cx));
        Poll::Ready(Err(AckError::Timeout { after: *this.deadline }.into()))
    }
}

fn missing(ack: &Ack) -> AckError {
    AckError::Missing { members: ack.missing().into(), retry_after: ack.retry_after() }
}
