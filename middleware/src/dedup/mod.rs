//! `Dedup`: an event that comes twice is handled once.

mod table;

use self::table::{Answer, Awaited, Bounds, Known, Running, Table};
use crate::Call;
use emitwire_core::protocol::{EventId, Nak};
use emitwire_core::socket::{Ack, BoxError, Envelope, EventService, Layers, Refusal};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

/// Has an event handled once that comes again, and gives each of them the one answer.
///
/// Events are the same when they have one id: those that a peer's [`Retry`](crate::Retry) or
/// [`Buffer`](crate::Buffer) sends again, over any of its sessions. An application that makes the
/// same request twice by itself names it by a [key](Self::key) of its own.
///
/// An event that comes while its handler runs waits for that. The handler is this layer's: it runs
/// on when the socket that brought the event ends, for as long as [`run_max`](Self::run_max).
///
/// Remembered are answers that stay true: acks, and refusals for good. A handler that was busy,
/// took too long, failed or panicked runs again when the event comes again. An answer is known for
/// the [horizon](Self::horizon), which peers are told, so that they do not repeat for longer; when
/// there are more than can be remembered new events are answered [`Nak::Busy`], and nothing is
/// forgotten before its time.
///
/// What is remembered ends with the process. A handler that cannot run twice even so writes
/// `Event::id` together with its effect.
///
/// Volatile events pass as they are. It stands around listeners; put it there by
/// `layers(Dedup::new())`, which tells peers of it. All peers share its room: where one of them is
/// not trusted to leave some to the others, a [`RateLimit`](crate::RateLimit) for each session
/// stands outside.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// use emitwire_middleware::Dedup;
/// use std::time::Duration;
///
/// async fn buy(Data(article): Data<String>) -> String {
///     format!("here is your {article}")
/// }
///
/// let shop = Namespace::new("/shop")
///     .on("buy", buy)
///     .layers(Dedup::new().horizon(Duration::from_secs(300)));
/// ```
///
/// # Errors
/// [`Nak::Busy`] when it is full; what handlers answer as a [`Nak`].
#[derive(Clone)]
pub struct Dedup {
    bounds: Bounds,
    run_max: Duration,
    key: Option<KeyOf>,
    shared: Arc<Shared>,
}

type KeyOf = Arc<dyn Fn(&Envelope) -> Option<Box<[u8]>> + Send + Sync>;

#[derive(Default)]
struct Shared {
    table: Arc<Table>,
    repeated: AtomicU64,
    joined: AtomicU64,
    full: AtomicU64,
}

/// What a [`Dedup`] has done so far, and what it remembers; its clones count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DedupStats {
    /// Events that were answered with what was remembered.
    pub repeated: u64,
    /// Events that waited for a handler that another one had begun.
    pub joined: u64,
    /// Events that were answered `Busy` because no more can be remembered.
    pub full: u64,
    /// Events that are remembered or being handled now.
    pub entries: usize,
    /// About how many bytes they take.
    pub bytes: usize,
}

/// What makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(EventId),
    /// The application's, in one namespace.
    Own(Box<str>, Box<[u8]>),
}

impl Key {
    /// Bytes beside its own size.
    fn len(&self) -> usize {
        match self {
            Self::Id(_) => 0,
            Self::Own(namespace, key) => namespace.len() + key.len(),
        }
    }
}

impl Default for Dedup {
    fn default() -> Self {
        Self::new()
    }
}

impl Dedup {
    /// Remembers for five minutes, up to 500,000 events and about 64 MiB. That is as long as a
    /// [`Buffer`](crate::Buffer) keeps an event and both ends may be away, with something to spare.
    #[must_use]
    pub fn new() -> Self {
        let bounds = Bounds {
            horizon: Duration::from_secs(300),
            entries_max: 500_000,
            bytes_max: 64 * 1024 * 1024,
        };
        let (run_max, shared) = (Duration::from_secs(60), Arc::default());
        Self { bounds, run_max, key: None, shared }
    }

    /// For how long an answer is known, from when it was given.
    #[must_use]
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.bounds.horizon = horizon;
        self
    }

    /// How many events can be remembered.
    #[must_use]
    pub fn entries_max(mut self, entries: usize) -> Self {
        self.bounds.entries_max = entries;
        self
    }

    /// About how many bytes they may take, answers and keys among them.
    #[must_use]
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.bounds.bytes_max = bytes;
        self
    }

    /// How long a handler may run here, whatever becomes of those who wait for it; then it is
    /// cancelled, and its event answered `Timeout`. Default 60 s.
    #[must_use]
    pub fn run_max(mut self, longest: Duration) -> Self {
        self.run_max = longest;
        self
    }

    /// Events with the same key are the same, in one namespace; without one their id decides. Where
    /// peers do not trust each other the key has to have in it who it is: else one of them may ask
    /// for another's answer.
    ///
    /// ```
    /// # use emitwire_middleware::Dedup;
    /// // Orders have numbers, and `order` alone has a key.
    /// let dedup = Dedup::new().key(|envelope| {
    ///     let event = envelope.event();
    ///     let (number, _): (u64, String) = event.payload.decode().ok()?;
    ///     (event.name == "order").then(|| number.to_be_bytes().to_vec())
    /// });
    /// ```
    #[must_use]
    pub fn key(
        mut self,
        key: impl Fn(&Envelope) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.key = Some(Arc::new(move |envelope| key(envelope).map(Into::into)));
        self
    }

    /// What it has done so far, and what it remembers.
    #[must_use]
    pub fn stats(&self) -> DedupStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (entries, bytes) = self.shared.table.size();
        let Shared { repeated, joined, full, .. } = &*self.shared;
        let (repeated, joined, full) = (count(repeated), count(joined), count(full));
        DedupStats { repeated, joined, full, entries, bytes }
    }

    fn key_of(&self, envelope: &Envelope) -> Key {
        match self.key.as_ref().and_then(|key| key(envelope)) {
            Some(own) => Key::Own(envelope.namespace().into(), own),
            None => Key::Id(envelope.event().id),
        }
    }
}

/// Around the listeners, and told to peers.
impl From<Dedup> for Layers {
    fn from(layer: Dedup) -> Self {
        let horizon = layer.bounds.horizon;
        Self::new().inbound(layer).dedup_horizon(horizon)
    }
}

impl<S> Layer<S> for Dedup {
    type Service = DedupService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DedupService { inner, dedup: self.clone() }
    }
}

/// The service of [`Dedup`].
#[derive(Clone, Debug)]
pub struct DedupService<S> {
    inner: S,
    dedup: Dedup,
}

impl<S: EventService> Service<Envelope> for DedupService<S> {
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        if envelope.event().volatile || envelope.is_outbound() {
            // What may be missed is not repeated, and what goes out is the other end's to know.
            let passed = self.inner.call(envelope);
            return Box::pin(async { passed.await.map_err(Into::into) });
        }
        let Shared { table, repeated, joined, full } = &*self.dedup.shared;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match table.look_up(self.dedup.key_of(&envelope), &self.dedup.bounds) {
            Known::New(running) => {
                let (call, longest) = (self.inner.call(envelope), self.dedup.run_max);
                Box::pin(first(call, running, longest))
            }
            Known::Running(awaited) => {
                count(joined);
                Box::pin(join(awaited))
            }
            Known::Answered(answer) => {
                count(repeated);
                Box::pin(async { answer.map_err(Into::into) })
            }
            Known::Full { retry_after } => {
                count(full);
                Box::pin(async move { Err(Nak::Busy { retry_after }.into()) })
            }
        }
    }
}

/// Has the event handled. A handler that is ready at once needs no task.
async fn first<E: Into<BoxError>>(
    call: impl Future<Output = Result<Ack, E>> + Send + 'static,
    running: Running,
    longest: Duration,
) -> Result<Ack, BoxError> {
    let awaited = running.awaited();
    let mut run: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        let answer = match timeout(longest, call).await {
            Ok(answer) => answer.map_err(nak_of),
            Err(_) => Err(Nak::Timeout),
        };
        running.finish(answer);
    });
    let is_ready = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx).is_ready())).await;
    if !is_ready {
        // Polled again at once, so that no wake-up is missed.
        tokio::spawn(run);
    }
    join(awaited).await
}

/// Waits for a handler that runs.
async fn join(mut awaited: Awaited) -> Result<Ack, BoxError> {
    let answer: Option<Answer> = match awaited.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone(),
        // It was cancelled, or has panicked.
        Err(_) => None,
    };
    answer.unwrap_or(Err(Nak::Failed)).map_err(Into::into)
}

/// An error of what is inside, as peers see it.
fn nak_of(error: impl Into<BoxError>) -> Nak {
    let refusal = Refusal::of(error.into());
    if let Some(error) = refusal.source() {
        tracing::warn!(error = %error, nak = %refusal.nak(), "a layer failed");
    }
    refusal.nak().clone()
}

impl fmt::Debug for Dedup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
