//! The session as the user of a client holds it.

use super::handshake::goodbye;
use super::reception::{Reception, Standing};
use crate::protocol::{DisconnectReason, Outcome, Payload, SessionId};
use crate::room::{Counters, Stats};
use crate::socket::{SessionCore, Socket};
use crate::transport::{ConnectError, Transport};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// Why there is no socket of a namespace at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The client did not mount it.
    #[error("this client has not mounted the namespace {path}")]
    NotMounted {
        /// The path.
        path: Box<str>,
    },
    /// The server refused it.
    #[error("the namespace {path} refused{}", payload.said())]
    Refused {
        /// The path.
        path: Box<str>,
        /// What the server says.
        payload: Payload,
    },
    /// There is no session now, the socket was ended, or the server has not answered yet.
    #[error("the namespace {path} is not connected")]
    NotConnected {
        /// The path.
        path: Box<str>,
    },
}

impl NamespaceError {
    /// The data that the namespace refused with, if it is a `T`.
    #[must_use]
    pub fn refusal<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Refused { payload, .. } => payload.decode().ok(),
            _ => None,
        }
    }
}

/// A connected client. Dropping it closes the session.
#[must_use = "dropping the session closes it"]
#[derive(Debug)]
pub struct Session {
    supervised: Arc<Supervised>,
    moves: mpsc::Sender<Move>,
}

/// A wish to go over to another wire.
pub(super) struct Move {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) answer: oneshot::Sender<Result<Outcome, ConnectError>>,
}

impl Session {
    /// With where its wishes to go elsewhere arrive.
    pub(super) fn begin(supervised: Supervised) -> (Self, mpsc::Receiver<Move>) {
        let (moves, asked) = mpsc::channel(1);
        (Self { supervised: Arc::new(supervised), moves }, asked)
    }

    pub(super) fn supervised(&self) -> Arc<Supervised> {
        Arc::clone(&self.supervised)
    }

    /// Waits until every namespace has answered; an error when none let this client in.
    pub(super) async fn settled(&self) -> Result<(), ConnectError> {
        let standings = self.supervised.reception.answered().await;
        if standings.is_empty() || standings.iter().any(|one| matches!(one, Standing::Joined(_))) {
            return Ok(());
        }
        let mut error = ConnectError::Ended { reason: DisconnectReason::LinkLost };
        for (mount, standing) in self.supervised.reception.mounts.iter().zip(standings) {
            match standing {
                Standing::Refused(payload) => {
                    let namespace = mount.blueprint.path().to_string();
                    return Err(ConnectError::Refused { namespace, payload });
                }
                Standing::Ended(Some(reason)) => error = ConnectError::Ended { reason },
                Standing::Ended(None) | Standing::Asked | Standing::Joined(_) => {}
            }
        }
        Err(error)
    }

    /// The current socket of a namespace: the same for as long as the session lives, over all its
    /// links. Only a new session has new ones; who has layers that keep events until then, such as
    /// a `Buffer`, goes on emitting to the one it has.
    ///
    /// # Errors
    /// [`NamespaceError`]: not mounted, refused, or not connected at the moment.
    pub fn of(&self, path: &str) -> Result<Socket, NamespaceError> {
        let known: Box<str> = path.into();
        match self.supervised.reception.find(path) {
            None => Err(NamespaceError::NotMounted { path: known }),
            Some(Standing::Joined(socket)) => Ok(socket),
            Some(Standing::Refused(payload)) => {
                Err(NamespaceError::Refused { path: known, payload })
            }
            Some(Standing::Asked | Standing::Ended(_)) => {
                Err(NamespaceError::NotConnected { path: known })
            }
        }
    }

    /// The id of the current session, or of the last one.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.supervised.core().id
    }

    /// Whether there is a live session now, also one without a link or without a socket: see
    /// [`Session::is_attached`] and [`Session::of`].
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.supervised.core().mailbox.closed().is_none()
    }

    /// Whether the session has a link now. Without one, what is emitted waits.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.supervised.core().mailbox.queue().is_attached
    }

    /// What the current link came to, or the last: a new session, or one that was resumed.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.supervised.core().outcome()
    }

    /// Goes over to another wire to the same server, in the middle of whatever is under way:
    /// nothing is lost, doubled or out of order. From then on that is where the session comes back
    /// to. If the wire cannot be reached, everything stays as it is; if the session cannot go on
    /// there for another reason, it comes back to where it was.
    ///
    /// ```no_run
    /// # use emitwire_core::run::Session;
    /// # use emitwire_core::transport::{ConnectError, Memory};
    /// # async fn example(session: Session) -> Result<(), ConnectError> {
    /// session.move_to(Memory::new("next door")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]: the wire cannot be reached; `NotResumable` when the session ends with its
    /// link, or the server does not let it go on there; `PlainWire` when it began on an encrypted
    /// wire.
    ///
    /// # Cancel safety
    /// A move that has begun goes on when the future is dropped.
    pub async fn move_to(&self, transport: impl Transport) -> Result<Outcome, ConnectError> {
        let (answer, moved) = oneshot::channel();
        let asked = self.moves.send(Move { transport: Arc::new(transport), answer }).await;
        let ended = || {
            let reason = lock(&self.supervised.lost).clone();
            ConnectError::Ended { reason: reason.unwrap_or(DisconnectReason::Closed) }
        };
        if asked.is_err() {
            return Err(ended());
        }
        moved.await.unwrap_or_else(|_| Err(ended()))
    }

    /// What was counted since the first connect, and what waits now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.supervised.counters.snapshot();
        let core = self.supervised.core();
        if core.mailbox.closed().is_none() {
            stats.add_queue(&core.mailbox.queue());
        }
        stats
    }

    /// What was counted of one namespace, if it is mounted. What belongs to no namespace is zero.
    #[must_use]
    pub fn namespace_stats(&self, path: &str) -> Option<Stats> {
        let mounts = &self.supervised.reception.mounts;
        let mount = mounts.iter().find(|mount| **mount.blueprint.path() == *path)?;
        Some(mount.scope.counters.snapshot())
    }

    /// Closes the session: writes what may still be written, says goodbye, runs the hooks. A
    /// handler of this session that waits for it waits for itself, until
    /// `Config::disconnect_grace` is over.
    ///
    /// # Cancel safety
    /// The session closes also when the future is dropped.
    pub async fn close(self) {
        self.supervised.close();
        self.supervised.finished().await;
    }

    /// Waits until the session has ended for good: closed by this side or by the server, or lost
    /// with reconnecting switched off or no more attempts allowed. Says why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&self) -> DisconnectReason {
        self.supervised.finished().await;
        lock(&self.supervised.lost).clone().unwrap_or(DisconnectReason::Closed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.supervised.close();
    }
}

/// What the handle and the task behind it share.
pub(super) struct Supervised {
    reception: Arc<Reception>,
    counters: Arc<Counters>,
    core: Mutex<Arc<SessionCore>>,
    /// Why the last session ended.
    lost: Mutex<Option<DisconnectReason>>,
    closing: watch::Sender<bool>,
    finished: watch::Sender<bool>,
}

impl Supervised {
    pub(super) fn new(
        reception: Arc<Reception>,
        counters: Arc<Counters>,
        core: Arc<SessionCore>,
    ) -> Self {
        let (closing, finished) = (watch::Sender::new(false), watch::Sender::new(false));
        let (core, lost) = (Mutex::new(core), Mutex::default());
        Self { reception, counters, core, lost, closing, finished }
    }

    pub(super) fn lost(&self, reason: DisconnectReason) {
        *lock(&self.lost) = Some(reason);
    }

    pub(super) fn back(&self, core: Arc<SessionCore>) {
        *lock(&self.core) = core;
        // A close may have come between the dial and this line.
        if self.is_closing() {
            self.close();
        }
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
        if let Some(close) = goodbye(&DisconnectReason::Closed) {
            let core = self.core();
            let flush = core.mailbox.begin_close(DisconnectReason::Closed, close, false);
            core.mailbox.flush_in_turn(flush);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    pub(super) async fn closing(&self) {
        // The sender lives as long as `self`.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    pub(super) fn finish(&self) {
        self.finished.send_replace(true);
    }

    async fn finished(&self) {
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }

    fn core(&self) -> Arc<SessionCore> {
        Arc::clone(&lock(&self.core))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Supervised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervised").field("session", &self.core().id).finish_non_exhaustive()
    }
}
