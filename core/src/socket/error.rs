//! What can go wrong with an emit, and with the answer to one.

use crate::protocol::{DisconnectReason, Nak, PayloadError};
use crate::room::RoomError;
use std::time::Duration;
use thiserror::Error;

/// Why an event was not accepted. It was not and will not be sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name belongs to the lifecycle.
    #[error("`{name}` is a reserved name")]
    Reserved {
        /// The name.
        name: Box<str>,
    },
    /// The name is longer than names may be.
    #[error("an event name of {bytes} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The value could not be encoded.
    #[error("the payload cannot be encoded")]
    Payload {
        /// Why.
        #[from]
        source: PayloadError,
    },
    /// The event is larger than this session, or this server, takes.
    #[error("an event of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes of name and payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The mailbox stayed full: the peer reads or handles too slowly.
    #[error("the peer was too slow to make room within {waited:?}")]
    Full {
        /// How long the emit waited.
        waited: Duration,
    },
    /// The session drains and takes nothing new.
    #[error("the session is draining")]
    Draining,
    /// The socket or its session has ended.
    #[error("the socket is closed: {reason}")]
    Closed {
        /// Why it ended.
        reason: DisconnectReason,
    },
    /// No namespace of this path is mounted.
    #[error("no namespace {path} is mounted")]
    NoNamespace {
        /// The path.
        path: Box<str>,
    },
    /// Rooms cannot be spoken to from here.
    #[error(transparent)]
    Room(#[from] RoomError),
}

/// Why there is no answer to an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was never accepted.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The peer answered no.
    #[error("the peer refused: {0}")]
    Refused(Nak),
    /// No answer by the deadline. The event may have been handled all the same.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The deadline, counted from the emit.
        after: Duration,
    },
    /// The session ended before the answer came. The event may have been handled all the same.
    #[error("the session ended before the answer came")]
    Closed,
    /// The answer is not of the wanted type.
    #[error("the answer is not of the wanted type")]
    Payload {
        /// Why.
        source: PayloadError,
    },
}
