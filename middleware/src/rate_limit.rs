//! `RateLimit`: how often, and of which event.

use crate::{Call, NEVER};
use emitwire_core::protocol::{EventName, Nak};
use emitwire_core::socket::{Ack, BoxError, Envelope, EventService, Layers, Pair};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

/// Bounds how many events pass in a time: a bucket of tokens, for all events together and for some
/// names beside that. So many may come at once, and then as many as the time brings again.
///
/// Around listeners an event above the limit is answered [`Nak::Busy`], with when to come again:
/// the peer's [`Retry`](crate::Retry) backs off. Around emitting it waits for its turn, in the
/// order of asking, for no longer than [`wait_max`](Self::wait_max).
///
/// Its clones share one bucket, and so do all sockets behind it: `layers.inbound(limit)` is for a
/// namespace. [`per_session`](Self::per_session) gives each peer one of its own. Unlike tower's, it
/// may be cloned, and knows names.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// use emitwire_middleware::RateLimit;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let limit = RateLimit::new(100, second).event("search", 2, second);
/// let chat = Namespace::new("/chat").layers(limit.per_session());
/// ```
///
/// # Errors
/// Inbound [`Nak::Busy`], outbound [`RateLimitError`]; and those of what is inside it.
#[derive(Clone, Debug)]
pub struct RateLimit {
    all: Rate,
    named: Vec<(EventName, Rate)>,
    wait_max: Duration,
    buckets: Arc<Mutex<Buckets>>,
}

/// Why an emit did not pass a [`RateLimit`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RateLimitError {
    /// Its turn would come later than it may wait. It was not sent.
    #[error("too many events: the next may go in {retry_after:?}")]
    TooMany {
        /// When its turn would come.
        retry_after: Duration,
        /// What can be done about it.
        #[source]
        busy: Nak,
    },
}

/// So many in a time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    events: u32,
    per: Duration,
}

impl Rate {
    fn new(events: u32, per: Duration) -> Self {
        Self { events, per: per.min(NEVER) }
    }
}

#[derive(Debug, Default)]
struct Buckets {
    all: Bucket,
    named: HashMap<EventName, Bucket>,
}

/// When the bucket will be full again, if nothing is taken out.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl RateLimit {
    /// At most so many events in so much time. None at all pass a limit of zero.
    #[must_use]
    pub fn new(events: u32, per: Duration) -> Self {
        let (all, wait_max) = (Rate::new(events, per), Duration::from_secs(5));
        Self { all, named: Vec::new(), wait_max, buckets: Arc::default() }
    }

    /// Of the events of this name no more than so many, beside the limit for all.
    #[must_use]
    pub fn event(mut self, name: &str, events: u32, per: Duration) -> Self {
        self.named.retain(|(known, _)| *known != name);
        self.named.push((name.into(), Rate::new(events, per)));
        self
    }

    /// How long an emit waits for its turn. Default 5 s.
    #[must_use]
    pub fn wait_max(mut self, longest: Duration) -> Self {
        self.wait_max = longest;
        self
    }

    /// Around the listeners, with buckets of its own for each session: what one peer may say.
    #[must_use]
    pub fn per_session(self) -> Layers {
        Layers::new().per_session(move |_| Pair::inbound(self.anew()))
    }

    /// The same limits, with full buckets.
    fn anew(&self) -> Self {
        Self { buckets: Arc::default(), ..self.clone() }
    }

    /// Takes one out of each bucket that the event is in. If its turn comes only later than
    /// `longest` from now, takes none; says when that would be.
    fn take(&self, name: &EventName, longest: Duration) -> Result<Instant, Duration> {
        let rate = self.named.iter().find(|(known, _)| known == name).map(|(_, rate)| *rate);
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all = buckets.all.next(self.all, now);
        let of_name = match rate {
            Some(rate) => buckets.named.get(name).copied().unwrap_or_default().next(rate, now),
            None => Some((now, Bucket::default())),
        };
        let (Some((at, all)), Some((named_at, named))) = (of_all, of_name) else {
            return Err(Duration::MAX);
        };
        let at = at.max(named_at);
        let wait = at.saturating_duration_since(now);
        if wait > longest {
            return Err(wait);
        }
        buckets.all = all;
        if rate.is_some() {
            // No more names than there are limits.
            buckets.named.insert(name.clone(), named);
        }
        Ok(at)
    }
}

impl Bucket {
    /// When the next token is there, and the bucket without it.
    fn next(self, Rate { events, per }: Rate, now: Instant) -> Option<(Instant, Self)> {
        let each = per.checked_div(events)?;
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + each;
        // It holds as many as come in the time.
        let at = full_at.checked_sub(per).unwrap_or(now).max(now);
        Some((at, Self { full_at: Some(full_at) }))
    }
}

impl<S> Layer<S> for RateLimit {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, limit: self.clone() }
    }
}

/// The service of [`RateLimit`].
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    inner: S,
    limit: RateLimit,
}

impl<S: EventService> Service<Envelope> for RateLimitService<S> {
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    /// Always ready: whether there is a token, the event's name says.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        let is_outbound = envelope.is_outbound();
        let longest = if is_outbound { self.limit.wait_max } else { Duration::ZERO };
        let taken = self.limit.take(&envelope.event().name, longest);
        let inner = self.inner.clone();
        Box::pin(async move {
            match taken {
                Ok(at) if at > Instant::now() => sleep_until(at).await,
                Ok(_) => {}
                Err(retry_after) if is_outbound => {
                    let busy = Nak::Busy { retry_after };
                    return Err(RateLimitError::TooMany { retry_after, busy }.into());
                }
                Err(retry_after) => return Err(Nak::Busy { retry_after }.into()),
            }
            inner.oneshot(envelope).await.map_err(Into::into)
        })
    }
}
