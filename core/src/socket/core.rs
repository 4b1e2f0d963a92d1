//! What all sockets of a session share, and what all sockets of a namespace share.

use super::EmitError;
use super::acks::Acks;
use crate::protocol::{
    DisconnectReason, EVENT_NAME_BYTES_MAX, EventId, EventName, EventPacket, EventRef,
    NamespaceNumber, ProducerId, SessionId, ToPayload, is_reserved,
};
use crate::room::{Adapter, Counters, Mailbox};
use crate::transport::{Capabilities, Peer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    pub(crate) counters: Arc<Counters>,
    pub(crate) event_bytes_max: usize,
    pub(crate) emit_wait_max: Duration,
    pub(crate) ack_timeout: Duration,
    /// Sockets, by the client's number, that were asked to end; the driver looks here when it is
    /// woken.
    pub(crate) leaving: Mutex<Vec<NamespaceNumber>>,
    /// This side drains the session.
    pub(crate) draining: AtomicBool,
}

impl SessionCore {
    /// Has the driver end one socket.
    pub(crate) fn leave(&self, client: NamespaceNumber) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        self.mailbox.nudge();
    }

    /// The sockets that are to end since the last call.
    pub(crate) fn take_leaving(&self) -> Vec<NamespaceNumber> {
        std::mem::take(&mut self.leaving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something has finished: a drain may have waited for it.
    pub(crate) fn nudge_if_draining(&self) {
        if self.draining.load(Ordering::Acquire) {
            self.mailbox.nudge();
        }
    }

    /// Nothing is emitted, confirmed or answered any more.
    pub(crate) fn end(&self, reason: &DisconnectReason) {
        self.mailbox.end(reason);
        self.acks.close();
    }
}

/// A namespace of a server, as broadcasts see it.
pub(crate) struct Scope {
    pub(crate) path: Arc<str>,
    pub(crate) number: NamespaceNumber,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) event_bytes_max: usize,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("path", &self.path).finish_non_exhaustive()
    }
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
