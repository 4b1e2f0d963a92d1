//! Looking for a better wire while the session lives on one that is not the best, and what the
//! choice among several wires hears of each.

use super::connector::Connect;
use super::dialer::{Dialer, Reached};
use super::dock::Dock;
use super::driver::Standing;
use super::random;
use crate::transport::{Better, BindError, Choice, ConnectError, Connection, Listener, Transport};
use async_trait::async_trait;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long a better wire has to bring the session that has left its link for it, and one of
/// several to bring any. What it cost is a pause, and not a row of attempts: there are others.
pub(super) const MOVE_PATIENCE: Duration = Duration::from_secs(5);

/// An attempt that was dropped earlier says nothing of its wire.
const SILENCE: Duration = Duration::from_secs(1);

/// Looking that goes on beside a session. Nothing when the link is lost, or when there is no sense
/// in it.
pub(super) type Looking<'a> = Pin<Box<dyn Future<Output = Option<Reached>> + Send + 'a>>;

/// Looks for a better wire until there is one, for as long as the session has its link: without
/// one it comes back by the ordinary way, and nothing is to stand in that.
pub(super) fn look<'a>(
    dialer: &'a Dialer,
    dock: Arc<Dock>,
    mut standing: watch::Receiver<Standing>,
    better: Better,
) -> Looking<'a> {
    Box::pin(async move {
        let mut lost = pin!(standing.wait_for(|standing| standing.detached.is_some()));
        let mut found = pin!(find(dialer, &dock, better));
        poll_fn(|cx| match lost.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => found.as_mut().poll(cx),
        })
        .await
    })
}

/// Looks on, if there is looking. What that holds, such as a place in a layer, is not to be missed
/// by an attempt to come back: when it is over it is dropped.
pub(super) fn poll_looking(
    looking: &mut Option<Looking<'_>>,
    cx: &mut Context<'_>,
) -> Poll<Reached> {
    match looking.as_mut().map(|looking| looking.as_mut().poll(cx)) {
        Some(Poll::Ready(Some(reached))) => Poll::Ready(reached),
        Some(Poll::Ready(None)) => {
            *looking = None;
            Poll::Pending
        }
        Some(Poll::Pending) | None => Poll::Pending,
    }
}

async fn find(dialer: &Dialer, dock: &Dock, mut better: Better) -> Option<Reached> {
    let mut wait = better.every;
    while !better.transports.is_empty() {
        sleep(about(wait)).await;
        for transport in std::mem::take(&mut better.transports) {
            let endpoint = transport.endpoint();
            match probe(dialer, dock, Arc::clone(&transport)).await {
                Probed::There(reached) => return Some(reached),
                Probed::Vain(error) => {
                    tracing::debug!(%error, endpoint, "no better wire");
                    better.transports.push(transport);
                }
                Probed::Unfit(error) => {
                    tracing::debug!(%error, endpoint, "no wire for this session");
                }
                Probed::Elsewhere => {
                    tracing::debug!(endpoint, "a layer leads elsewhere: no looking for better");
                    return None;
                }
                Probed::Over => return None,
            }
        }
        wait = wait.saturating_mul(2).min(better.every_max);
    }
    None
}

/// Between half of it and half as much again, so that clients who lost a wire together do not look
/// together.
fn about(wait: Duration) -> Duration {
    const PARTS: u32 = 1024;
    wait / 2 + wait / PARTS * (random::bits() as u32 % PARTS)
}

/// Whether a session is about to end, so that it has nothing to gain on another link, and what it
/// still has to say to lose.
pub(super) fn is_ending(dock: &Dock) -> bool {
    let core = dock.core();
    core.draining.load(Ordering::Acquire) || core.mailbox.closed().is_some()
}

enum Probed {
    There(Reached),
    Vain(ConnectError),
    /// It is there, and never for this session.
    Unfit(ConnectError),
    /// A layer around connecting has taken another transport.
    Elsewhere,
    /// The session is about to end.
    Over,
}

async fn probe(dialer: &Dialer, dock: &Dock, transport: Arc<dyn Transport>) -> Probed {
    let asked = Arc::new(Asked { transport, is_reached: AtomicBool::new(false) });
    let mut connect = Connect::new(Arc::<Asked>::clone(&asked));
    connect.is_look = true;
    let (begun, after) = (connect.begun(), dialer.config.connect_timeout);
    match begun.timed(after, dialer.reach(connect)).await {
        Err(error) => Probed::Vain(error),
        Ok(_) if !asked.is_reached.load(Ordering::Relaxed) => Probed::Elsewhere,
        Ok(_) if is_ending(dock) => Probed::Over,
        // Asked before the session leaves the link that it has.
        Ok(reached) => match dialer.may_go_on(&*reached.1, dock) {
            Ok(()) => Probed::There(reached),
            Err(error) => Probed::Unfit(error),
        },
    }
}

/// A transport that knows whether what came out of all layers can have come of it.
struct Asked {
    transport: Arc<dyn Transport>,
    is_reached: AtomicBool,
}

#[async_trait]
impl Transport for Asked {
    fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.transport.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let connection = self.transport.connect().await?;
        self.is_reached.store(true, Ordering::Relaxed);
        Ok(connection)
    }
}

/// What a session thinks of its wire, which was one of several.
pub(super) struct Liking {
    choice: Arc<dyn Choice>,
    /// It has left its link for a better one in vain, or for one that did not last.
    pub(super) hesitates: bool,
}

impl Liking {
    pub(super) fn of(choice: Arc<dyn Choice>) -> Box<Self> {
        Box::new(Self { choice, hesitates: false })
    }

    /// The session is on another link.
    pub(super) fn after(before: Option<Box<Self>>, choice: Arc<dyn Choice>) -> Box<Self> {
        let hesitates = before.is_some_and(|before| before.hesitates);
        Box::new(Self { choice, hesitates })
    }

    /// The link is lost, after a good life or not. On a wire that lets the first packets through
    /// and no more, each session seems to live.
    pub(super) fn lost(&mut self, was_good: bool) {
        if was_good {
            self.choice.proved();
        } else {
            self.choice.failed();
            self.hesitates = true;
        }
    }

    /// What it would rather have, if anything, and how often to look for it.
    pub(super) fn better(&self) -> Option<Better> {
        let mut better = self.choice.better()?;
        if self.hesitates {
            better.every = better.every_max;
        }
        Some(better)
    }
}

/// A connection whose session has not begun. The choice that it came of hears whether it did; also
/// that it did not for long, if the attempt is dropped.
pub(super) struct Trial {
    /// Nothing when it has heard, or if there was none.
    choice: Option<Arc<dyn Choice>>,
    since: Instant,
}

impl Trial {
    pub(super) fn of(connection: &dyn Connection) -> Self {
        Self { choice: connection.choice(), since: Instant::now() }
    }

    /// Whether the connection is one of several that there might have been.
    pub(super) fn is_of_several(&self) -> bool {
        self.choice.is_some()
    }

    /// The session lives on it.
    pub(super) fn proved(mut self) -> Option<Arc<dyn Choice>> {
        let choice = self.choice.take();
        if let Some(choice) = &choice {
            choice.proved();
        }
        choice
    }

    /// No session came of it.
    pub(super) fn blame(mut self) {
        if let Some(choice) = self.choice.take() {
            choice.failed();
        }
    }

    /// None did, and the wire has carried an answer, or was not asked.
    pub(super) fn forgive(mut self) {
        self.choice = None;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        match &self.choice {
            Some(choice) if self.since.elapsed() >= SILENCE => choice.failed(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_over_as_long_as_the_wait_itself() {
        let wait = Duration::from_secs(60);
        let waits: Vec<_> = (0..2000).map(|_| about(wait)).collect();
        let (half, longest) = (wait / 2, wait * 3 / 2);
        assert!(waits.iter().all(|wait| (half..longest).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < half + half / 10));
        assert!(waits.iter().any(|wait| *wait > longest - half / 10));
    }
}
