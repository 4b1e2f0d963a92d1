//! How a handler says no.

use super::BoxError;
use crate::protocol::{Nak, Payload, PayloadError, ToPayload};
use std::error::Error;
use std::time::Duration;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;

/// What a shed event's sender is told to wait at least; the layer itself does not know.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// What becomes of an event whose handler returned `Err`.
///
/// A [`Nak`] travels as it is. Any other error turns into [`Nak::Failed`]: its text stays on this
/// side, in the log. What the peer is to see is said on purpose, with [`Refusal::with`].
///
/// ```
/// # use emitwire_core::socket::Refusal;
///
/// fn seat(row: u8) -> Result<u8, Refusal> {
///     if row > 40 {
///         return Err(Refusal::with(&"there are 40 rows"));
///     }
///     let number: u8 = "12".parse()?; // any error: the peer sees only that it failed
///     Ok(number)
/// }
/// # assert!(seat(1).is_ok() && seat(41).is_err());
/// ```
#[derive(Debug)]
pub struct Refusal {
    nak: Nak,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Refusal {
    /// Refuses with data that the peer gets as `Nak::Rejected`.
    #[must_use]
    pub fn with<T: ToPayload + ?Sized>(data: &T) -> Self {
        match data.to_payload() {
            Ok(payload) => Self { nak: Nak::Rejected(payload), source: None },
            Err(error) => Self::from(error),
        }
    }

    /// Refuses for now; the peer may try again after this time.
    #[must_use]
    pub fn busy(retry_after: Duration) -> Self {
        Self { nak: Nak::Busy { retry_after }, source: None }
    }

    /// What a layer's error means to the peer: a [`Nak`] as it is, tower's `Elapsed` as `Timeout`,
    /// `Overloaded` as `Busy`, anything else as `Failed`.
    #[must_use]
    pub fn of(error: BoxError) -> Self {
        let error = match error.downcast::<Nak>() {
            Ok(nak) => return Self::nak_only(*nak),
            Err(error) => error,
        };
        if error.is::<Elapsed>() {
            return Self::nak_only(Nak::Timeout);
        }
        if error.is::<Overloaded>() {
            return Self::busy(RETRY_AFTER_OVERLOAD);
        }
        Self::failed(error)
    }

    /// What the peer sees.
    #[must_use]
    pub fn nak(&self) -> &Nak {
        &self.nak
    }

    /// What stays here.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    pub(crate) fn bad_payload(error: PayloadError) -> Self {
        Self { nak: Nak::BadPayload, source: Some(Box::new(error)) }
    }

    pub(crate) fn nak_only(nak: Nak) -> Self {
        Self { nak, source: None }
    }

    /// Fails with an error of whatever type: for those that are boxed, and so no `Error`
    /// themselves. Its text stays on this side, in the log.
    #[must_use]
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { nak: Nak::Failed, source: Some(source.into()) }
    }

    /// What stays on this side stays in its log.
    pub(crate) fn log(&self, event: &str) {
        if let Some(source) = &self.source {
            tracing::warn!(event, nak = %self.nak, error = %source, "handler failed");
        }
    }

    pub(crate) fn into_nak(self) -> Nak {
        self.nak
    }

    /// What the peer gets as the reason of a refused connection.
    pub(crate) fn into_payload(self) -> Payload {
        match self.nak {
            Nak::Rejected(payload) => payload,
            _ => Payload::empty(),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = Box::new(error);
        match error.downcast::<Nak>() {
            Ok(nak) => Self::nak_only(*nak),
            Err(error) => Self::failed(error),
        }
    }
}
