//! `Reconnect`: how long to wait before the next attempt to connect, and after how many to stop.

use super::connector::Connect;
use super::random;
use crate::protocol::{Backoff, draw_from};
use crate::socket::BoxError;
use crate::transport::ConnectError;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;

/// Waits before each attempt to connect but the first, with full-jitter exponential backoff.
///
/// Attempt 0 is made at once. Before the `n`th in a row it waits [`Connect::wait_at_least`] and on
/// top of it a time that is drawn evenly between zero and a ceiling, so that many clients that were
/// cut off together do not come back together. The ceiling is `first_delay` for the first attempt
/// and doubles with each, up to one second in the first ten seconds and to `delay_max` afterwards.
///
/// It is the outermost layer of every client's connector; [`Client::reconnect_with`] sets another
/// policy. Whoever calls decides which attempt it is: the layer keeps no state between calls.
///
/// ```
/// use emitwire_core::run::{Client, Reconnect};
/// use emitwire_core::transport::Memory;
/// use std::time::Duration;
///
/// let patient = Reconnect::new().delay_max(Duration::from_secs(60)).attempts_max(100);
/// let client = Client::new(Memory::new("lobby")).reconnect_with(patient);
/// ```
///
/// # Cancel safety
/// Dropping the future of a call ends the waiting, or the attempt that it waits for.
///
/// Source: Brooker, *Exponential Backoff And Jitter*, 2015.
///
/// [`Client::reconnect_with`]: super::Client::reconnect_with
#[derive(Clone, Debug, Default)]
#[must_use = "a policy does nothing until a client has it"]
pub struct Reconnect {
    backoff: Backoff,
    attempts_max: Option<u32>,
    /// The state of a generator, shared by the clones.
    seeded: Option<Arc<AtomicU64>>,
}

/// With lower ceilings an attempt that fails at once would be repeated in a busy loop.
const CEILING_MIN: Duration = Duration::from_millis(10);

impl Reconnect {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ceiling of the first delay, at least 10 ms. Default 100 ms.
    pub fn first_delay(mut self, ceiling: Duration) -> Self {
        self.backoff = self.backoff.with_first(ceiling.max(CEILING_MIN));
        self
    }

    /// The ceiling of all delays, at least 10 ms, for so long after the loss, so that a short
    /// outage costs little. Default 1 s, for 10 s.
    pub fn early_delay_max(mut self, ceiling: Duration, lasts: Duration) -> Self {
        self.backoff = self.backoff.with_soon(ceiling.max(CEILING_MIN), lasts);
        self
    }

    /// The ceiling of all delays after that, at least 10 ms. Default 20 s.
    pub fn delay_max(mut self, ceiling: Duration) -> Self {
        self.backoff = self.backoff.with_later(ceiling.max(CEILING_MIN));
        self
    }

    /// How many attempts are made in a row: for the lost link, and if that was in vain for a new
    /// session once more as many. The next one is answered
    /// [`ConnectError::AttemptsExhausted`], and the client stays away: `on_connect_error` is told,
    /// and [`Session::ended`](super::Session::ended) gives
    /// [`DisconnectReason::AttemptsExhausted`](crate::protocol::DisconnectReason). Default: no
    /// limit.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// Makes the delays follow from a seed, for tests that are to be repeated. Clones draw from
    /// the same row. By default they come from the system's randomness.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeded = Some(Arc::new(AtomicU64::new(seed)));
        self
    }

    /// How long to wait, or after how many attempts to stop.
    fn decide(&self, connect: &Connect) -> Result<Option<Duration>, ConnectError> {
        let Some(attempts) = connect.attempt.checked_sub(1) else { return Ok(None) };
        if self.attempts_max.is_some_and(|max| attempts >= max) {
            return Err(ConnectError::AttemptsExhausted { attempts });
        }
        let jitter = self.backoff.nth_delay(attempts, connect.since_loss, self.draw());
        Ok(Some(connect.wait_at_least.saturating_add(jitter)))
    }

    fn draw(&self) -> u64 {
        match &self.seeded {
            Some(seeded) => draw_from(seeded),
            None => random::bits() as u64,
        }
    }
}

impl<S> Layer<S> for Reconnect {
    type Service = ReconnectService<S>;

    fn layer(&self, inner: S) -> ReconnectService<S> {
        ReconnectService { policy: self.clone(), inner }
    }
}

/// The service of [`Reconnect`], around any service of [`Connect`].
#[derive(Clone, Debug)]
pub struct ReconnectService<S> {
    policy: Reconnect,
    inner: S,
}

impl<S> Service<Connect> for ReconnectService<S>
where
    S: Service<Connect> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ReconnectFuture<S>;

    /// Always ready. Room inside is asked for when the waiting is over, so that nobody else's place
    /// is held for as long as that.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connect: Connect) -> Self::Future {
        let state = match self.policy.decide(&connect) {
            Err(error) => State::Refused { error: Some(error) },
            Ok(None) => State::Connecting { connecting: Oneshot::new(self.inner.clone(), connect) },
            Ok(Some(delay)) => {
                State::Waiting { sleep: sleep(delay), call: Some((self.inner.clone(), connect)) }
            }
        };
        ReconnectFuture { state }
    }
}

pin_project! {
    /// The future of [`ReconnectService`].
    pub struct ReconnectFuture<S: Service<Connect>> {
        #[pin]
        state: State<S>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S: Service<Connect>> {
        Refused { error: Option<ConnectError> },
        Waiting { #[pin] sleep: Sleep, call: Option<(S, Connect)> },
        Connecting { #[pin] connecting: Oneshot<S, Connect> },
    }
}

impl<S> Future for ReconnectFuture<S>
where
    S: Service<Connect>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let call = match state.as_mut().project() {
                StateProjection::Connecting { connecting } => {
                    return connecting.poll(cx).map_err(Into::into);
                }
                StateProjection::Refused { error } => {
                    let error = error.take().expect("a future that is ready is polled no more");
                    return Poll::Ready(Err(error.into()));
                }
                StateProjection::Waiting { sleep, call } => {
                    ready!(sleep.poll(cx));
                    call.take()
                }
            };
            let (inner, connect) = call.expect("the waiting is over once");
            state.set(State::Connecting { connecting: Oneshot::new(inner, connect) });
        }
    }
}
