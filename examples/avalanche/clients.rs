//! A process of clients: it says how many are here, and later how many are back.

use crate::child::obey;
use crate::say;
use emitwire::{
    BoxError, Client, ConnectError, DisconnectReason, Endpoint, Namespace,
    transport::HandshakeError,
};
use std::fmt;
use std::future::ready;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::interval;

/// How its clients stand, as it is said in one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Have been connected once.
    pub(crate) here: u64,
    /// Have been connected twice: they are back.
    pub(crate) back: u64,
    /// Connects beyond that: who was back was lost again.
    pub(crate) again: u64,
    /// Attempts that were refused: by a server that is full, or will not have them.
    pub(crate) refused: u64,
    /// Attempts that failed because nobody listened, or went away.
    pub(crate) failed: u64,
}

#[derive(Default)]
struct Tally {
    here: AtomicU64,
    back: AtomicU64,
    again: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// Connects so many clients, and tells how they stand until the parent ends.
pub(crate) async fn connect(url: &str, count: usize) -> Result<(), BoxError> {
    obey(|_| ());
    let tally = Arc::new(Tally::default());
    let watched = Arc::clone(&tally);
    let watching = tokio::spawn(async move {
        let mut looks = interval(LOOK);
        let mut said = Standing::default();
        loop {
            looks.tick().await;
            let standing = watched.standing();
            if standing != said {
                say(standing);
                said = standing;
            }
        }
    });
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let (tally, endpoint) = (Arc::clone(&tally), Endpoint::new(url)?);
        hands.spawn(async move {
            let mut sessions = Vec::new();
            for _ in (hand..count).step_by(HANDS) {
                let client = Client::new(endpoint.clone()).mount(counting(Arc::clone(&tally)));
                sessions.push(client.connect().await?);
            }
            Ok::<_, ConnectError>(sessions)
        });
    }
    let mut sessions = Vec::new();
    while let Some(joined) = hands.join_next().await {
        sessions.extend(joined??);
    }
    watching.await?;
    drop(sessions);
    Ok(())
}

/// A namespace that counts how often the server has let this client in, and has not.
fn counting(tally: Arc<Tally>) -> Namespace {
    let (errors, connects) = (Arc::clone(&tally), AtomicU64::new(0));
    Namespace::new("/")
        .on_connect(move || {
            let counter = match connects.fetch_add(1, Relaxed) {
                0 => &tally.here,
                1 => &tally.back,
                _ => &tally.again,
            };
            counter.fetch_add(1, Relaxed);
            ready(())
        })
        .on_connect_error(move |error| {
            let counter = if is_refusal(error) { &errors.refused } else { &errors.failed };
            counter.fetch_add(1, Relaxed);
        })
}

/// Whether somebody was there and would not have this client. A server that dies or is not there
/// yet refuses nobody.
fn is_refusal(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } => false,
        ConnectError::Ended { reason } => {
            !matches!(reason, DisconnectReason::LinkLost | DisconnectReason::Moved)
        }
        ConnectError::Handshake { source, .. } => !matches!(source, HandshakeError::Io { .. }),
        _ => true,
    }
}

impl Tally {
    fn standing(&self) -> Standing {
        Standing {
            here: self.here.load(Relaxed),
            back: self.back.load(Relaxed),
            again: self.again.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

impl Standing {
    pub(crate) fn sum(all: &[Self]) -> Self {
        let add = |sum: Self, one: &Self| Self {
            here: sum.here + one.here,
            back: sum.back + one.back,
            again: sum.again + one.again,
            refused: sum.refused + one.refused,
            failed: sum.failed + one.failed,
        };
        all.iter().fold(Self::default(), add)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { here, back, again, refused, failed } = self;
        write!(f, "{here} {back} {again} {refused} {failed}")
    }
}

impl FromStr for Standing {
    type Err = BoxError;

    fn from_str(line: &str) -> Result<Self, BoxError> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers?[..] {
            [here, back, again, refused, failed] => Ok(Self { here, back, again, refused, failed }),
            _ => Err(format!("`{line}` says nothing about clients").into()),
        }
    }
}

/// So many of a process connect at the same time.
const HANDS: usize = 64;

/// Between two looks at how they stand.
const LOOK: Duration = Duration::from_millis(10);
