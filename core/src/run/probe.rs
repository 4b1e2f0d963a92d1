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
use tokio::time::sleep;

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

async fn find(dialer: &Dialer, dock: &Dock, better: Better) -> Option<Reached> {
    let mut wait = better.every;
    loop {
        sleep(a_little_less(wait)).await;
        for transport in &better.transports {
            let endpoint = transport.endpoint();
            match probe(dialer, dock, Arc::clone(transport)).await {
                Probed::There(reached) => return Some(reached),
                Probed::Vain(error) => tracing::debug!(%error, endpoint, "no better wire"),
                Probed::Elsewhere => {
                    tracing::debug!(endpoint, "a layer leads elsewhere: no looking for better");
                    return None;
                }
            }
        }
        wait = wait.saturating_mul(2).min(better.every_max);
    }
}

/// Shorter by up to a quarter, so that clients who lost a wire together do not look together.
fn a_little_less(wait: Duration) -> Duration {
    const PARTS: u32 = 1024;
    wait - wait / (4 * PARTS) * (random::bits() as u32 % PARTS)
}

enum Probed {
    There(Reached),
    Vain(ConnectError),
    /// A layer around connecting has taken another transport.
    Elsewhere,
}

async fn probe(dialer: &Dialer, dock: &Dock, transport: Arc<dyn Transport>) -> Probed {
    let asked = Arc::new(Asked { transport, is_reached: AtomicBool::new(false) });
    let connect = Connect::new(Arc::<Asked>::clone(&asked));
    let (begun, after) = (connect.begun(), dialer.config.connect_timeout);
    match begun.timed(after, dialer.reach(connect)).await {
        Err(error) => Probed::Vain(error),
        Ok(_) if !asked.is_reached.load(Ordering::Relaxed) => Probed::Elsewhere,
        // Asked before the session leaves the link that it has.
        Ok((_, connection)) if !dock.may_go_on(connection.capabilities(), &dialer.config) => {
            Probed::Vain(ConnectError::PlainWire)
        }
        Ok(reached) => Probed::There(reached),
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
    /// It has left its link for a better one, and in vain.
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

    /// What it would rather have, if anything, and how often to look for it.
    pub(super) fn better(&self) -> Option<Better> {
        let mut better = self.choice.better()?;
        if self.hesitates {
            better.every = better.every_max;
        }
        Some(better)
    }
}

/// A connection whose session has not begun. Unless it does, or the server has said that it is not
/// the wire's fault, the choice that it came of hears of it.
pub(super) struct Trial(Option<Arc<dyn Choice>>);

impl Trial {
    pub(super) fn of(connection: &dyn Connection) -> Self {
        Self(connection.choice())
    }

    /// The session lives on it.
    pub(super) fn proved(mut self) -> Option<Arc<dyn Choice>> {
        let choice = self.0.take();
        if let Some(choice) = &choice {
            choice.proved();
        }
        choice
    }

    /// The wire has carried an answer.
    pub(super) fn forgive(mut self) {
        self.0 = None;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(choice) = &self.0 {
            choice.failed();
        }
    }
}
