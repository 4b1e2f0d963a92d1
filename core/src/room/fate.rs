//! What becomes of an event, as its sender knows it.

use crate::protocol::{Encoded, EventRef, LossReason, NamespaceNumber};
use std::fmt;

/// What has become of an event at one session.
///
/// | fate | means |
/// | --- | --- |
/// | `Handled` | the peer's handler has answered |
/// | `Refused` | the peer has answered no |
/// | `Received` | the peer's session has it |
/// | `Waiting` | it was accepted, and the peer has not said that it has it |
/// | `Lost` | no handler has run, and none will |
/// | `InDoubt` | it was written, and the session ended before the peer said that it has it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The peer's handler has answered.
    Handled,
    /// The peer has answered no.
    Refused,
    /// The peer's session has it.
    Received,
    /// It was accepted, and the peer has not said that it has it.
    Waiting,
    /// No handler has run, and none will.
    Lost(LossReason),
    /// It was written, and the session ended before the peer said that it has it.
    InDoubt,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled => f.write_str("handled"),
            Self::Refused => f.write_str("refused"),
            Self::Received => f.write_str("received"),
            Self::Waiting => f.write_str("waiting"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
            Self::InDoubt => f.write_str("in doubt: the session ended first"),
        }
    }
}

/// An event of this side that came to a bad end, as its mailbox knows it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is left of it.
    pub what: Remains,
    /// This side's number of its namespace.
    pub namespace: NamespaceNumber,
    /// Whether its answer is waited for.
    pub wants_ack: bool,
    /// `Lost`, or `InDoubt`.
    pub fate: Fate,
}

/// What is left of an event.
#[derive(Clone, Debug)]
pub enum Remains {
    /// All of it.
    Whole(Encoded),
    /// Its id, in the words of this side: its body had to make way.
    Id(EventRef),
}
