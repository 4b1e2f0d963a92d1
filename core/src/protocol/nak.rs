//! A nak: the answer that says no, and why.

use super::Payload;
use std::fmt;
use std::time::Duration;

/// Why an event was not handled. It is the answer to an event as much as an ack is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nak {
    /// No listener for this name, and none came while the event was parked.
    NoHandler,
    /// Too much at the moment; trying again later makes sense.
    Busy {
        /// The earliest moment for another attempt, counted from now.
        retry_after: Duration,
    },
    /// The handler refused, with data for the sender.
    Rejected(Payload),
    /// The payload is not what the handler takes; the handler did not run.
    BadPayload,
    /// The handler failed or panicked; why stays on its own side.
    Failed,
    /// The handler did not finish in time.
    Timeout,
    /// The event, or its answer, is larger than the other side takes.
    TooLarge,
    /// The socket or namespace had already ended.
    Closed,
}

impl Nak {
    /// Whether the same event may fare better at another attempt, and how long that has to wait at
    /// least. Of `None` the answer is final.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            Self::Failed | Self::Timeout => Some(Duration::ZERO),
            Self::NoHandler
            | Self::Rejected(_)
            | Self::BadPayload
            | Self::TooLarge
            | Self::Closed => None,
        }
    }
}

impl fmt::Display for Nak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler => f.write_str("nobody handles this event"),
            Self::Busy { retry_after } => write!(f, "busy, try again in {retry_after:?}"),
            Self::Rejected(payload) => write!(f, "rejected by the handler{}", payload.said()),
            Self::BadPayload => f.write_str("the payload is not what the handler takes"),
            Self::Failed => f.write_str("the handler failed"),
            Self::Timeout => f.write_str("the handler did not finish in time"),
            Self::TooLarge => f.write_str("the event or its answer is too large"),
            Self::Closed => f.write_str("the socket is closed"),
        }
    }
}

impl std::error::Error for Nak {}
