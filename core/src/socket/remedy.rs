//! What a layer can do about an error.

use super::{AckError, EmitError, ReceiptError};
use crate::protocol::{LossReason, Nak};
use std::error::Error;
use std::time::Duration;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;

/// What can be done about an error of an emit, or of a handler: for layers that repeat.
///
/// ```
/// # use emitwire_core::protocol::Nak;
/// # use emitwire_core::socket::{AckError, Remedy};
/// use std::time::Duration;
///
/// let retry_after = Duration::from_millis(200);
/// let busy = AckError::Refused(Nak::Busy { retry_after });
/// assert_eq!(Remedy::of(&busy), Remedy::Repeat { after: retry_after });
/// assert_eq!(Remedy::of(&AckError::Refused(Nak::BadPayload)), Remedy::None);
/// assert_eq!(Remedy::of(&AckError::Closed), Remedy::NextSession);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Another attempt may fare better: the peer was busy, slow or failed, there was no room.
    Repeat {
        /// Not before this time is over.
        after: Duration,
    },
    /// The socket or its session has ended, or is about to: only the next one can carry the event.
    NextSession,
    /// Nothing: another attempt would end the same way.
    None,
}

impl Remedy {
    /// What can be done about an error: of this crate, of tower's layers, or any that has one of
    /// these as its source. Of an unknown one `None`.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(remedy) = known(error) {
                return remedy;
            }
            next = error.source();
        }
        Self::None
    }

    fn repeat(after: Option<Duration>) -> Self {
        after.map_or(Self::None, |after| Self::Repeat { after })
    }
}

const AT_ONCE: Remedy = Remedy::Repeat { after: Duration::ZERO };

fn known(error: &(dyn Error + 'static)) -> Option<Remedy> {
    if let Some(error) = error.downcast_ref::<AckError>() {
        return Some(of_ack(error));
    }
    if let Some(error) = error.downcast_ref::<ReceiptError>() {
        return Some(match error {
            ReceiptError::Emit(error) => of_emit(error),
            ReceiptError::Timeout { .. } => AT_ONCE,
            ReceiptError::Lost { reason } => of_loss(*reason),
            ReceiptError::InDoubt => Remedy::NextSession,
        });
    }
    if let Some(error) = error.downcast_ref::<EmitError>() {
        return Some(of_emit(error));
    }
    if let Some(nak) = error.downcast_ref::<Nak>() {
        return Some(Remedy::repeat(nak.retry_after()));
    }
    (error.is::<Elapsed>() || error.is::<Overloaded>()).then_some(AT_ONCE)
}

fn of_ack(error: &AckError) -> Remedy {
    match error {
        AckError::Emit(error) => of_emit(error),
        // Its socket is gone; whether the event is, that does not say.
        AckError::Refused(Nak::Closed) | AckError::Closed => Remedy::NextSession,
        AckError::Refused(nak) => Remedy::repeat(nak.retry_after()),
        AckError::Timeout { .. } => AT_ONCE,
        AckError::Lost { reason } => of_loss(*reason),
        AckError::Payload { .. } => Remedy::None,
        AckError::Missing { retry_after, .. } => Remedy::Repeat { after: *retry_after },
    }
}

fn of_emit(error: &EmitError) -> Remedy {
    match error {
        EmitError::Full { .. } => AT_ONCE,
        EmitError::Draining | EmitError::Closed { .. } => Remedy::NextSession,
        EmitError::Unanswered { source } => of_ack(source),
        EmitError::Layer { source } => Remedy::of(&**source),
        EmitError::Reserved { .. }
        | EmitError::NameTooLong { .. }
        | EmitError::Payload { .. }
        | EmitError::TooLarge { .. }
        | EmitError::Room(_)
        | EmitError::Inbound => Remedy::None,
    }
}

fn of_loss(reason: LossReason) -> Remedy {
    match reason {
        LossReason::Overflow => AT_ONCE,
        LossReason::Closed => Remedy::NextSession,
        // It is not wanted any more.
        LossReason::Superseded | LossReason::Expired => Remedy::None,
    }
}
