//! What can go wrong with an emit, with the answer to one, and with listening.

use crate::protocol::{DisconnectReason, LossReason, Nak, PayloadError, SocketId};
use crate::room::RoomError;
use serde::de::DeserializeOwned;
use std::error::Error as StdError;
use std::time::Duration;
use thiserror::Error;
use tower::timeout::error::Elapsed;

/// Why an event was not accepted: it was not and will not be sent, unless a layer says otherwise,
/// by `Unanswered` or `Layer`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name belongs to the lifecycle.
    #[error("`{name}` is a reserved name{}", hint(name))]
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
    #[error("there was no room within {waited:?}: the peer is too slow, or away")]
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
    /// Rooms cannot be spoken to from here, or no such namespace is mounted.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A layer wanted more than acceptance, and did not get it. The event may have been handled all
    /// the same.
    #[error("a layer wanted an answer")]
    Unanswered {
        /// Why there is none.
        source: Box<AckError>,
    },
    /// A layer ended the emit. Whether the event was sent, the layer knows.
    #[error("a layer ended the emit")]
    Layer {
        /// Its error.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A layer sent out an event that had come in: a handler emits another one instead.
    #[error("the event has come in, and cannot go out")]
    Inbound,
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
    /// The event was removed before it was written, and not handled.
    #[error("the event was removed before it was sent: {reason}")]
    Lost {
        /// Why.
        reason: LossReason,
    },
    /// The socket or its session ended before the answer came. The event may have been handled all
    /// the same.
    #[error("the socket ended before the answer came")]
    Closed,
    /// The answer is not of the wanted type.
    #[error("the answer is not of the wanted type")]
    Payload {
        /// Why.
        source: PayloadError,
    },
    /// Some members of a broadcast, all of whose answers a layer wanted, have given none. They may
    /// have handled it all the same.
    #[error("{} members of a broadcast did not answer", members.len())]
    Missing {
        /// Who, in the order of their ids.
        members: Box<[SocketId]>,
        /// How long another attempt has to wait at least, because some of them were busy.
        retry_after: Duration,
    },
}

impl AckError {
    /// The data of a [`Refusal::with`](super::Refusal::with), if the peer refused with a `T`.
    #[must_use]
    pub fn refusal<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Refused(Nak::Rejected(payload)) => payload.decode().ok(),
            _ => None,
        }
    }
}

/// Why it is not known that the peer has an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The event was never accepted.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Not by the deadline. The peer may have it, or get it, all the same.
    #[error("the peer did not say within {after:?} that it has the event")]
    Timeout {
        /// The deadline, counted from the emit.
        after: Duration,
    },
    /// The peer does not have the event and will not get it.
    #[error("the event is lost: {reason}")]
    Lost {
        /// Why.
        reason: LossReason,
    },
    /// The event was written, and the session ended before the peer said that it has it.
    #[error("the session ended before the peer said that it has the event")]
    InDoubt,
}

/// Why a listener was not added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name belongs to the lifecycle, which has hooks.
    #[error("`{name}` is a reserved name{}", hint(name))]
    Reserved {
        /// The name.
        name: Box<str>,
    },
    /// No event can have the name.
    #[error("an event name of {bytes} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// There are as many listeners as a namespace or a socket may have.
    #[error("at most {max} listeners are allowed")]
    TooMany {
        /// The limit, `Config::listeners_max`.
        max: usize,
    },
    /// The handler asks for state that its namespace does not have.
    #[error("a handler asks for `State<{state}>`, and the namespace has no such state")]
    NoState {
        /// The type that it asks for.
        state: &'static str,
    },
    /// The handler asks for something that only certain hooks have.
    #[error("`{what}` is not there in this handler, only in the hook that it is of")]
    NotHere {
        /// The extractor.
        what: &'static str,
    },
    /// The socket has ended.
    #[error("the socket has ended")]
    Closed,
}

/// Why an awaited event did not come.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It cannot be listened to.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// None by the deadline.
    #[error("no such event within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The socket ended first.
    #[error("the socket ended first: {reason}")]
    Closed {
        /// Why it ended.
        reason: DisconnectReason,
    },
}

/// What to do instead of using a reserved name.
fn hint(name: &str) -> &'static str {
    match name {
        "connect" => ": use the hook `on_connect`",
        "connect_error" => ": use the hook `on_connect_error`",
        "disconnect" => ": use the hook `on_disconnect`, or `Socket::disconnect`",
        "disconnecting" => ": use the hook `on_disconnecting`",
        "newListener" => ": use the hook `on_listener_added`",
        "removeListener" => ": use the hook `on_listener_removed`",
        _ => "",
    }
}

/// What became of an emit that went through layers, in the words of the emitter.
impl EmitError {
    pub(super) fn of_layers(error: Box<dyn StdError + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<AckError>() {
                Ok(error) => match *error {
                    AckError::Emit(error) => error,
                    error => Self::Unanswered { source: Box::new(error) },
                },
                Err(source) => Self::Layer { source },
            },
        }
    }
}

impl AckError {
    /// `elapsed` is for how long the emit has been under way.
    pub(super) fn of_layers(error: Box<dyn StdError + Send + Sync>, elapsed: Duration) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) if error.is::<Elapsed>() => Self::Timeout { after: elapsed },
            Err(error) => Self::Emit(EmitError::of_layers(error)),
        }
    }
}

impl ReceiptError {
    pub(super) fn of_layers(
        error: Box<dyn StdError + Send + Sync>,
        elapsed: Duration,
    ) -> Result<(), Self> {
        Err(match AckError::of_layers(error, elapsed) {
            AckError::Emit(error) => Self::Emit(error),
            // Whoever says no has it, and whoever answers something else, too.
            AckError::Refused(_) | AckError::Payload { .. } => return Ok(()),
            AckError::Timeout { after } => Self::Timeout { after },
            AckError::Missing { .. } => Self::Timeout { after: elapsed },
            AckError::Lost { reason } => Self::Lost { reason },
            AckError::Closed => Self::InDoubt,
        })
    }
}

impl From<ReceiptError> for AckError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Emit(error) => Self::Emit(error),
            ReceiptError::Timeout { after } => Self::Timeout { after },
            ReceiptError::Lost { reason } => Self::Lost { reason },
            ReceiptError::InDoubt => Self::Closed,
        }
    }
}
