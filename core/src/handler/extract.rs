//! Extractors: what a handler may ask for as an argument.

use super::Refusal;
use crate::protocol::{Args, DisconnectReason, Event, Nak, Payload, Shape};
use crate::socket::{Envelope, Socket};
use crate::transport::Peer;
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;

/// Something that a handler can ask for as an argument.
///
/// ```
/// use emitwire_core::handler::{FromEvent, Refusal};
/// use emitwire_core::socket::Envelope;
///
/// struct NameLength(usize);
///
/// impl FromEvent for NameLength {
///     fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
///         Ok(Self(envelope.event().name.len()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot ask for `{Self}`",
    note = "ask for `Socket`, `Data<T>`, `Args<(A, B)>`, `Event`, `Peer`, or implement `FromEvent`"
)]
pub trait FromEvent: Sized {
    /// Takes it out of the event.
    ///
    /// # Errors
    /// A [`Refusal`]: the handler does not run and the sender gets its nak.
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal>;
}

/// The event's payload as a `T`; as a reply, a value of one's own type.
///
/// A payload that is no `T` never reaches the handler: the sender gets [`Nak::BadPayload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Data<T> {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        envelope.event().payload.decode().map(Self).map_err(Refusal::bad_payload)
    }
}

impl<T: DeserializeOwned> FromEvent for Args<T> {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        let payload = &envelope.event().payload;
        // One value is also the only argument; but a tuple that came as one value stays whole.
        let decoded = match payload.shape() {
            Shape::Value => payload.decode().or_else(|_| only_argument(payload).decode()),
            Shape::Arguments | Shape::Raw => payload.decode(),
        };
        decoded.map(Self).map_err(Refusal::bad_payload)
    }
}

/// The payload as a MessagePack array of one element.
fn only_argument(payload: &Payload) -> Payload {
    let mut bytes = BytesMut::with_capacity(1 + payload.len());
    bytes.put_u8(0x91);
    bytes.put_slice(payload.bytes());
    Payload::new(bytes.freeze(), Shape::Arguments)
}

impl FromEvent for Socket {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        Ok(envelope.socket().clone())
    }
}

impl FromEvent for Event {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        // Whoever keeps the event is not to keep everything that was read with it.
        Ok(envelope.event().detached())
    }
}

impl FromEvent for Envelope {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        Ok(envelope.clone())
    }
}

impl FromEvent for Bytes {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        Data::from_event(envelope).map(|Data(bytes)| bytes)
    }
}

impl FromEvent for Peer {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        Ok(envelope.socket().peer().clone())
    }
}

/// Why the socket ended: in the hooks of its end only.
impl FromEvent for DisconnectReason {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        envelope.reason().cloned().ok_or_else(|| Refusal::nak_only(Nak::BadPayload))
    }
}

macro_rules! tuples {
    ($(($($part:ident),*)),*) => {$(
        /// All of them: how a handler's arguments are extracted.
        impl<$($part: FromEvent),*> FromEvent for ($($part,)*) {
            fn from_event(_envelope: &Envelope) -> Result<Self, Refusal> {
                Ok(($($part::from_event(_envelope)?,)*))
            }
        }
    )*};
}

tuples!((), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, G));
