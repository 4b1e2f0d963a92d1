//! `Retry`: another attempt, under the same id.

mod budget;
mod order;

use self::budget::Budget;
use self::order::Order;
use crate::Call;
use emitwire_core::protocol::{Backoff, draw_from};
use emitwire_core::socket::{Ack, BoxError, Envelope, EventService, Layers, Remedy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

/// How far apart attempts begin at least that only wait.
const PAUSE: Duration = Duration::from_millis(50);

/// Attempts an emit again when that may help: see [`Remedy`].
///
/// What is repeated is what is inside the layer: with a [`RequireAck`](crate::RequireAck) there an
/// event is attempted until it is handled, without one until it is accepted. Each attempt is the
/// same event, with the same id, so a [`Dedup`](crate::Dedup) at the other end handles it once.
/// Without one a handler may run again that had failed before; but not because an answer was late:
/// a session that lives delivers once what it has accepted, so of such an event no second one is
/// sent, it is only waited for again.
///
/// Between attempts it waits: exponentially longer, with full jitter, and no less than a busy peer
/// asks for. It gives up, with the last error, after [`attempts`](Self::attempts), or when the next
/// attempt would begin later than [`within`](Self::within) after the emit, or than the peer
/// remembers what it has handled (its `Dedup`'s horizon), or when its
/// [budget](Self::budget) is spent: a peer that is busy with everything is not helped by more.
///
/// Of a broadcast another attempt is only for those members that have not answered yet. Of
/// different events later ones may overtake one that is repeated, unless it is
/// [`in_order`](Self::in_order).
///
/// Around listeners it runs a handler again that failed, at once in the eyes of the peer, and all
/// its time counts as the handler's.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// # use emitwire_core::socket::Layers;
/// use emitwire_middleware::{RequireAck, Retry};
/// use std::time::Duration;
///
/// let layers = Layers::new()
///     .and(Retry::new().attempts(5)) // outside, so that each attempt has a deadline
///     .and(RequireAck::handled(Duration::from_secs(2)));
/// let orders = Namespace::new("/orders").layers(layers);
/// ```
///
/// # Errors
/// Those of what is inside it.
#[derive(Clone, Debug)]
pub struct Retry {
    attempts: u32,
    within: Duration,
    backoff: Backoff,
    shared: Arc<Shared>,
    order: Option<Arc<Order>>,
}

#[derive(Debug)]
struct Shared {
    budget: Budget,
    counters: Counters,
    /// Where the jitter comes from; drawn by the system if there is none.
    seed: Option<AtomicU64>,
}

#[derive(Debug, Default)]
struct Counters {
    repeated: AtomicU64,
    exhausted: AtomicU64,
    late: AtomicU64,
    clamped: AtomicU64,
    broke: AtomicU64,
}

/// What a [`Retry`] has done so far; its clones count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryStats {
    /// Attempts beside the first ones.
    pub repeated: u64,
    /// Emits that were given up after as many attempts as there may be.
    pub exhausted: u64,
    /// Emits that were given up because their time was over.
    pub late: u64,
    /// Those of them that would have had more time, if the peer remembered for longer.
    pub clamped: u64,
    /// Emits that were given up because the budget was spent.
    pub broke: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// At most 8 attempts within a minute, 50 ms to 5 s apart, with a budget of one more for ten
    /// events.
    #[must_use]
    pub fn new() -> Self {
        let backoff = backoff(Duration::from_millis(50), Duration::from_secs(5));
        let shared = Shared { budget: Budget::new(0.1), counters: Counters::default(), seed: None };
        let (within, shared) = (Duration::from_secs(60), Arc::new(shared));
        Self { attempts: 8, within, backoff, shared, order: None }
    }

    /// How many attempts there are at most, the first among them.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long after the emit another attempt may begin.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The delays: each is drawn between zero and a ceiling that is `first` at first and doubles up
    /// to `longest`.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = backoff(first, longest);
        self
    }

    /// How many attempts there may be beside the first ones, as a part of these: 0.1 is one for ten
    /// events. Ten are free as long as there have been few events. What it counts begins anew.
    #[must_use]
    pub fn budget(self, ratio: f64) -> Self {
        let seed = self.seed().map(AtomicU64::new);
        self.sharing(Shared { budget: Budget::new(ratio), counters: Counters::default(), seed })
    }

    /// Draws the delays from a seed, so that a test sees the same ones each time. What it counts
    /// begins anew.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        let budget = Budget::new(self.shared.budget.ratio());
        let seed = Some(AtomicU64::new(seed));
        self.sharing(Shared { budget, counters: Counters::default(), seed })
    }

    /// Holds events back until those before them to the same socket are done with, and broadcasts
    /// until those before them in their namespace are: then all are first started in the order of
    /// their emits, whatever has to be repeated. One is under way at a time, so each takes the
    /// time of a round trip.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.order = Some(Arc::default());
        self
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> RetryStats {
        let counters = &self.shared.counters;
        let [repeated, exhausted, late, clamped, broke] = [
            &counters.repeated,
            &counters.exhausted,
            &counters.late,
            &counters.clamped,
            &counters.broke,
        ]
        .map(|counter| counter.load(Ordering::Relaxed));
        RetryStats { repeated, exhausted, late, clamped, broke }
    }

    fn sharing(mut self, shared: Shared) -> Self {
        self.shared = Arc::new(shared);
        self
    }

    fn seed(&self) -> Option<u64> {
        self.shared.seed.as_ref().map(|seed| seed.load(Ordering::Relaxed))
    }

    /// How long to wait before the next attempt, or that there is none.
    fn next(&self, envelope: &Envelope, began: Instant, done: u32, after: Duration) -> Next<'_> {
        let is_under_way = envelope.is_under_way();
        let delay = match is_under_way {
            true => Duration::ZERO,
            false => {
                after.max(self.backoff.nth_delay(done - 1, Duration::ZERO, self.shared.draw()))
            }
        };
        let age = if envelope.is_outbound() { envelope.age() } else { began.elapsed() };
        let starts = age.saturating_add(delay);
        let is_late = envelope.deadline().is_some_and(|end| time_until(end) <= delay);
        if starts > self.within || is_late {
            return Next::GiveUp(&self.shared.counters.late, "their time is over");
        }
        if is_under_way {
            return Next::Await;
        }
        if done >= self.attempts {
            return Next::GiveUp(&self.shared.counters.exhausted, "as many as there may be");
        }
        if envelope.dedup_horizon().is_some_and(|horizon| starts > horizon) {
            self.shared.counters.clamped.fetch_add(1, Ordering::Relaxed);
            return Next::GiveUp(&self.shared.counters.late, "the peer remembers no longer");
        }
        if !self.shared.budget.withdraw() {
            return Next::GiveUp(&self.shared.counters.broke, "the budget is spent");
        }
        self.shared.counters.repeated.fetch_add(1, Ordering::Relaxed);
        Next::After(delay)
    }
}

enum Next<'a> {
    /// Nothing is to be sent again, only waited for.
    Await,
    After(Duration),
    GiveUp(&'a AtomicU64, &'static str),
}

impl Shared {
    fn draw(&self) -> u64 {
        match &self.seed {
            Some(seed) => draw_from(seed),
            // Without chance the longest delay is the safest.
            None => getrandom::u64().unwrap_or(u64::MAX),
        }
    }
}

/// The ceiling of its delays is `longest` from the beginning.
fn backoff(first: Duration, longest: Duration) -> Backoff {
    Backoff::default().with_first(first).with_soon(longest, Duration::ZERO).with_later(longest)
}

fn time_until(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

/// Around emitting.
impl From<Retry> for Layers {
    fn from(layer: Retry) -> Self {
        Self::new().outbound(layer)
    }
}

impl<S> Layer<S> for Retry {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService { inner, retry: self.clone() }
    }
}

/// The service of [`Retry`].
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    retry: Retry,
}

impl<S: EventService> Service<Envelope> for RetryService<S> {
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.retry.order.is_some() {
            // Who waits for its turn holds nothing that the one before may need again.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        // The one that is ready is the one to call.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        Box::pin(run(self.retry.clone(), ready, envelope))
    }
}

async fn run<S: EventService>(
    retry: Retry,
    mut inner: S,
    envelope: Envelope,
) -> Result<Ack, BoxError> {
    let _turn = match &retry.order {
        Some(order) => order.turn(&envelope).await,
        None => None,
    };
    retry.shared.budget.deposit();
    let (began, mut done) = (Instant::now(), 1);
    let mut attempted = began;
    let ready = inner.ready().await.map_err(Into::into)?;
    let mut result = ready.call(envelope.clone()).await.map_err(Into::into);
    while let Some(after) = remedy(&result) {
        match retry.next(&envelope, began, done, after) {
            // An attempt without time of its own is no reason to go round in circles.
            Next::Await => sleep_until(attempted + PAUSE).await,
            Next::After(delay) => {
                sleep(delay).await;
                done += 1;
            }
            Next::GiveUp(counter, why) => {
                counter.fetch_add(1, Ordering::Relaxed);
                let event = &envelope.event().name;
                tracing::debug!(%event, attempts = done, why, "no further attempt");
                break;
            }
        }
        attempted = Instant::now();
        let ready = inner.ready().await.map_err(Into::into)?;
        result = ready.call(envelope.clone()).await.map_err(Into::into);
    }
    result
}

/// How long another attempt has to wait at least, if it may help.
fn remedy(result: &Result<Ack, BoxError>) -> Option<Duration> {
    match result {
        Ok(ack) if ack.missing().is_empty() => None,
        Ok(ack) => Some(ack.retry_after()),
        Err(error) => match Remedy::of(&**error) {
            Remedy::Repeat { after } => Some(after),
            _ => None,
        },
    }
}
