//! What all sockets of a session share.

use super::acks::Acks;
use super::newest::Newest;
use super::{EmitError, Pair, Slot};
use crate::protocol::{
    DisconnectReason, EVENT_NAME_BYTES_MAX, EventId, EventName, EventPacket, EventRef,
    NamespaceNumber, Outcome, ProducerId, SessionId, ToPayload, is_reserved,
};
use crate::room::{Counters, Loss, Mailbox, shielded};
use crate::transport::{Capabilities, Peer};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// Mints event ids: one per server or client.
pub(crate) struct Producer {
    pub(crate) id: ProducerId,
    last: AtomicU64,
}

impl Producer {
    pub(crate) fn new(id: ProducerId) -> Self {
        Self { id, last: AtomicU64::new(0) }
    }

    pub(crate) fn mint(&self) -> EventId {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        EventId { producer: self.id, number }
    }
}

/// A session, as its sockets see it.
pub(crate) struct SessionCore {
    pub(crate) id: SessionId,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) acks: Acks,
    pub(crate) producer: Arc<Producer>,
    /// Who is at the other end of the current link, or was at that of the last, and what that
    /// promises.
    link: RwLock<(Peer, Capabilities)>,
    /// What the last attach came to.
    outcome: Mutex<Outcome>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) event_bytes_max: usize,
    pub(crate) emit_wait_max: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) listeners_max: usize,
    /// For how long the peer knows an event that comes again; zero when it does not.
    pub(crate) dedup_horizon: Duration,
    /// Which events of a key are the newest, of those on their way through layers.
    pub(super) newest: Newest,
    /// The layers that were made for the session; none when it is over, for they may hold sockets.
    pairs: Mutex<Option<Vec<(Slot, Pair)>>>,
    /// This side drains the session.
    pub(crate) draining: AtomicBool,
    /// Somebody wants something of the driver: a lane, or who has a link for it.
    pub(crate) calls: AtomicBool,
}

/// What a session is made of.
pub(crate) struct Parts {
    pub(crate) id: SessionId,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    pub(crate) event_bytes_max: usize,
    pub(crate) emit_wait_max: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) listeners_max: usize,
    pub(crate) dedup_horizon: Duration,
}

impl SessionCore {
    /// The session is over this link from now on.
    pub(crate) fn attach(&self, peer: Peer, capabilities: Capabilities, outcome: Outcome) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = (peer, capabilities);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// The peer of this link is elsewhere from now on.
    pub(crate) fn change_path(&self, peer: Peer) {
        self.link.write().unwrap_or_else(PoisonError::into_inner).0 = peer;
    }

    pub(crate) fn peer(&self) -> Peer {
        self.link.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.link.read().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(crate) fn outcome(&self) -> Outcome {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { id, mailbox, producer, counters, event_bytes_max, .. } = parts;
        let Parts { emit_wait_max, ack_timeout, listeners_max, dedup_horizon, .. } = parts;
        Self {
            id,
            mailbox,
            acks: Acks::default(),
            producer,
            link: RwLock::new((parts.peer, parts.capabilities)),
            outcome: Mutex::new(Outcome::New),
            counters,
            event_bytes_max,
            emit_wait_max,
            ack_timeout,
            listeners_max,
            dedup_horizon,
            newest: Newest::default(),
            pairs: Mutex::new(Some(Vec::new())),
            draining: AtomicBool::new(false),
            calls: AtomicBool::new(false),
        }
    }

    /// The layers that were made for the session in this place, made now if there are none.
    pub(super) fn pair(&self, slot: Slot, make: impl FnOnce() -> Pair) -> Pair {
        let known = |pairs: &Option<Vec<(Slot, Pair)>>| {
            let found = pairs.as_ref()?.iter().find(|(at, _)| *at == slot);
            found.map(|(_, pair)| pair.clone())
        };
        let found = known(&self.pairs());
        found.unwrap_or_else(|| {
            // The application's, and so under no lock.
            let made = make();
            let mut pairs = self.pairs();
            known(&pairs).unwrap_or_else(|| {
                if let Some(pairs) = &mut *pairs {
                    pairs.push((slot, made.clone()));
                }
                made
            })
        })
    }

    /// The session is over, and makes its layers no longer known.
    pub(crate) fn let_go_of_layers(&self) {
        let pairs = self.pairs().take();
        // They are the application's.
        shielded("layers", || drop(pairs));
    }

    fn pairs(&self) -> MutexGuard<'_, Option<Vec<(Slot, Pair)>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the driver look after its lanes, and after who called it.
    pub(crate) fn call_driver(&self) {
        self.calls.store(true, Ordering::Release);
        self.mailbox.nudge();
    }

    /// Something has finished: a drain may have waited for it.
    pub(crate) fn nudge_if_draining(&self) {
        if self.draining.load(Ordering::Acquire) {
            self.mailbox.nudge();
        }
    }

    /// Nothing is emitted, confirmed or answered any more. See [`Mailbox::end`].
    pub(crate) fn end(&self, reason: &DisconnectReason, answered: &HashSet<EventRef>) -> Vec<Loss> {
        let losses = self.mailbox.end(reason, answered);
        self.acks.close();
        self.let_go_of_layers();
        losses
    }
}

/// The moment so long from now; one that no clock can hold is as good as never.
pub(crate) fn moment_after(duration: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    Instant::now() + duration.min(NEVER)
}

/// Checks name and size, and encodes the payload: the part that every emit shares.
pub(crate) fn pack<T: ToPayload + ?Sized>(
    name: &str,
    value: &T,
    namespace: NamespaceNumber,
    id: EventId,
    own: ProducerId,
    event_bytes_max: usize,
) -> Result<EventPacket, EmitError> {
    if is_reserved(name) {
        return Err(EmitError::Reserved { name: name.into() });
    }
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Err(EmitError::NameTooLong { bytes: name.len(), max: EVENT_NAME_BYTES_MAX });
    }
    let packet = EventPacket {
        namespace,
        event: EventRef::new(id, own),
        wants_ack: false,
        name: EventName::from(name),
        payload: value.to_payload()?,
    };
    match packet.bytes() {
        bytes if bytes > event_bytes_max => {
            Err(EmitError::TooLarge { bytes, max: event_bytes_max })
        }
        _ => Ok(packet),
    }
}
