//! What a mailbox and its users say to each other.

use crate::protocol::{Credit, DisconnectReason};

/// The bounds of one mailbox; `Config` holds their defaults and says what they are for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest event that both sides agreed on, bytes of name and payload.
    pub event_bytes_max: usize,
    /// Bytes that wait before `emit` waits.
    pub unwritten_bytes_max: usize,
    /// Packets that wait before `emit` waits.
    pub unwritten_packets_max: usize,
    /// Bytes that wait or are kept until confirmed.
    pub log_bytes_max: usize,
    /// Packets that wait or are kept until confirmed.
    pub log_packets_max: usize,
    /// Bytes of volatile events that wait.
    pub volatile_bytes_max: usize,
}

/// Why a mailbox does not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// No room now; there will be.
    Full,
    /// Larger than this session's peer takes.
    TooLarge,
    /// The session drains.
    Draining,
    /// The session or link has ended.
    Closed(DisconnectReason),
}

/// What the driver is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// Parts of this side's window that are free again.
    pub freed: Credit,
    /// A position went out with something else.
    pub position_rode: bool,
    /// The mailbox takes nothing more.
    pub is_closed: bool,
}

/// Whether the caller has to flush after an append.
#[must_use = "appended bytes stay where they are until someone flushes"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Somebody else is about to.
    Pending,
    /// At the end of the turn.
    AtTurnEnd,
    /// At once: a batch is full.
    Now,
}
