//! What all sockets of a session share.

use super::EmitError;
use super::acks::Acks;
use crate::protocol::{
    DisconnectReason, EVENT_NAME_BYTES_MAX, EventId, EventName, EventPacket, EventRef,
    NamespaceNumber, ProducerId, SessionId, ToPayload, is_reserved,
};
use crate::room::{Counters, Mailbox};
use crate::transport::{Capabilities, Peer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    pub(crate) counters: Arc<Counters>,
    pub(crate) event_bytes_max: usize,
    pub(crate) emit_wait_max: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) listeners_max: usize,
    /// This side drains the session.
    pub(crate) draining: AtomicBool,
    /// A lane has an event to handle that did not come by the driver.
    pub(crate) resumes: AtomicBool,
}

impl SessionCore {
    /// Has the driver look after its lanes.
    pub(crate) fn resume(&self) {
        self.resumes.store(true, Ordering::Release);
        self.mailbox.nudge();
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
