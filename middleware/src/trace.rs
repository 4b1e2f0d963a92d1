//! `Trace`: a span around each event, on both of its ways, and a line when it has its answer.

use emitwire_core::room::Fanout;
use emitwire_core::socket::{Ack, Envelope, Layers};
use pin_project_lite::pin_project;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::Empty;

/// Runs what is inside it in a span, and says at level `debug` how it went. Around emitting the
/// span is named `emit`, around the listeners `handle`; both have the event's `id`, so that an
/// event is found in the logs of both ends.
///
/// Fields: `namespace`, `event`, `id`, and of an event of one socket `socket`. When it is done
/// `elapsed_us`; if it failed `error`; of a broadcast `accepted`, `dropped`, and `missing`: of how
/// many members there is no answer. Payloads are never logged.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// use emitwire_middleware::Trace;
///
/// let chat = Namespace::new("/chat")
///     .on("say", |Data(text): Data<String>| async move { text.len() })
///     .layers(Trace::new()); // both ways; or `inbound(..)` or `outbound(..)` alone
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

/// Both ways.
impl From<Trace> for Layers {
    fn from(trace: Trace) -> Self {
        Self::new().inbound(trace).outbound(trace)
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
        let (namespace, event) = (envelope.namespace(), envelope.event());
        let (name, id) = (&event.name, event.id);
        let span = match envelope.is_outbound() {
            true => tracing::debug_span!("emit", namespace, event = %name, %id, socket = Empty),
            false => tracing::debug_span!("handle", namespace, event = %name, %id, socket = Empty),
        };
        if let Some(socket) = envelope.socket() {
            span.record("socket", tracing::field::display(socket.id()));
        }
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
            Ok(ack) => match ack.fanout() {
                Some(Fanout { accepted, dropped, .. }) => {
                    let missing = ack.missing().len();
                    tracing::debug!(elapsed_us, accepted, dropped, missing, "done");
                }
                None => tracing::debug!(elapsed_us, "done"),
            },
            Err(error) => tracing::debug!(elapsed_us, %error, "failed"),
        }
        Poll::Ready(answer)
    }
}
