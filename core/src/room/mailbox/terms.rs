//! What a mailbox and its users say to each other.

use super::{LatestKey, Skipped};
use crate::protocol::{Credit, DisconnectReason, Encoded, LossReason, NamespaceNumber, SocketId};

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
    /// Whether the session outlives its link.
    pub is_resumable: bool,
}

/// What becomes of broadcasts to a member that reads too slowly: see `Config::slow_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// The member's link is given up; it comes back and resumes, and gets what it has not read, as
    /// far as `Config::log_bytes_max` reaches. Twice within `Config::slow_window` and it is treated
    /// as one of `DropOldest` until it has caught up. With a `Config::resume_window` of zero its
    /// session ends as `Slow`; what it has not read is lost, and counted.
    #[default]
    Detach,
    /// The oldest broadcast that waits makes way for the newest: for what is worth nothing when it
    /// is old. Events emitted to the socket itself stay.
    DropOldest,
    /// The newest broadcast is dropped.
    DropNewest,
}

/// An event on its way into a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// Its packet.
    pub encoded: &'a Encoded,
    /// Bytes of its name and payload.
    pub event_bytes: usize,
    /// This side's number of its namespace.
    pub namespace: NamespaceNumber,
    /// Whether somebody waits for its answer.
    pub wants_ack: bool,
    /// Which older event it makes needless.
    pub latest: Option<&'a LatestKey>,
}

/// A mailbox took an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether the caller has to flush.
    pub flush: Flush,
    /// Events that made way for it.
    pub removed: u64,
}

/// What waits in a mailbox, and what it keeps until the peer has confirmed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Packets that wait to be written.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Packets that were written and not confirmed yet.
    pub unconfirmed: usize,
    /// Their bytes.
    pub unconfirmed_bytes: usize,
    /// Volatile events that wait to be written.
    pub volatile: usize,
    /// Whether there is a link to write them on.
    pub is_attached: bool,
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
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Sockets that are to end, with words for their peer.
    pub leaving: Vec<(SocketId, Box<str>)>,
    /// Events that were removed before they were written and whose answer is waited for.
    pub removed: Vec<(Encoded, LossReason)>,
    /// Events that were written, and that a link was told to skip.
    pub skipped: Vec<Skipped>,
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
