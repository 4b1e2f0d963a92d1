//! Going round the wires of a list within one attempt, when one of them was there and brought no
//! session.

use crate::protocol::DisconnectReason;
use crate::transport::{ConnectError, Connection};

/// The wires that an attempt has found to be no good.
#[derive(Default)]
pub(super) struct Round {
    vain: Vec<String>,
    /// The one that is tried, if there may be others.
    tried: Option<String>,
}

impl Round {
    /// This one is tried now.
    pub(super) fn tries(&mut self, connection: &dyn Connection) {
        self.tried = connection.choice().map(|_| connection.peer().endpoint().to_owned());
    }

    /// Whether there may be another wire. One that comes again is the last that is there.
    pub(super) fn may_go_on(&self) -> bool {
        self.tried.as_ref().is_some_and(|wire| !self.vain.contains(wire))
    }

    /// Whether to go on after this, with another wire. The list has heard of this one.
    pub(super) fn goes_on_after(&mut self, error: &ConnectError) -> bool {
        let goes_on = is_of_wire(error) && self.may_go_on();
        self.vain.extend(self.tried.take());
        goes_on
    }
}

/// Whether an attempt may have ended so because of the wire, or of the server at its end, and not
/// by the word of one that may speak for all: one of several may be older than the others.
pub(super) fn is_of_wire(error: &ConnectError) -> bool {
    use DisconnectReason::{Accused, HandshakeTimeout, LinkLost, Protocol, Version};
    match error {
        ConnectError::PlainWire | ConnectError::NotResumable | ConnectError::Handshake { .. } => {
            true
        }
        ConnectError::Ended { reason } => {
            matches!(reason, LinkLost | HandshakeTimeout | Protocol(_) | Accused(_) | Version)
        }
        _ => false,
    }
}
