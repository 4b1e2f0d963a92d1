//! `Trace`: a span around each event, and a line when it has its answer.

use emitwire_core::socket::{Ack, Envelope};
use pin_project_lite::pin_project;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

/// Runs what is inside it in a span named `event`, and says at level `debug` how it went.
///
/// Fields: `namespace`, `event`, `id`, `socket`; when it is done `elapsed_us` and, if it failed,
/// `error`. Payloads are never logged.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// use emitwire_middleware::Trace;
///
/// let chat = Namespace::new("/chat")
///     .on("say", |Data(text): Data<String>| async move { text.len() })
///     .layer(Trace::new());
/// # let _ = chat;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    _private: (),
}

impl Trace {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for Trace {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner }
    }
}

/// The service of [`Trace`].
#[derive(Clone, Copy, Debug)]
pub struct TraceService<S> {
    inner: S,
}

impl<S> Service<Envelope> for TraceService<S>
where
    S: Service<Envelope, Response = Ack>,
    S::Error: Display,
{
    type Response = Ack;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let (socket, event) = (envelope.socket(), envelope.event());
        let span = tracing::debug_span!(
            "event",
            namespace = socket.namespace(),
            event = %event.name,
            id = %event.id,
            socket = %socket.id(),
        );
        let inner = span.in_scope(|| self.inner.call(envelope));
        TraceFuture { inner, span, began: Instant::now() }
    }
}

pin_project! {
    /// The future of [`TraceService`].
    #[derive(Debug)]
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        span: Span,
        began: Instant,
    }
}

impl<F, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Ack, E>>,
    E: Display,
{
    type Output = Result<Ack, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let answer = ready!(this.inner.poll(cx));
        let elapsed_us = this.began.elapsed().as_micros() as u64;
        match &answer {
            Ok(_) => tracing::debug!(elapsed_us, "handled"),
            Err(error) => tracing::debug!(elapsed_us, %error, "not handled"),
        }
        Poll::Ready(answer)
    }
}
