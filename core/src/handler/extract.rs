//! Extractors: what a handler may ask for as an argument.

use crate::protocol::{Args, DisconnectReason, Event, Nak, Outcome, Payload, Shape};
use crate::socket::{Envelope, Needs, Refusal, Socket};
use crate::transport::Peer;
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;

/// Something that a handler can ask for as an argument.
///
/// ```
/// # use emitwire_core::handler::FromEvent;
/// # use emitwire_core::socket::{Envelope, Refusal};
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
    note = "ask for `Socket`, `Data<T>`, `Args<(A, B)>`, `State<S>`, `Path<T>`, `Auth<T>`, \
            `Event`, `Peer`, or implement `FromEvent`"
)]
pub trait FromEvent: Sized {
    /// Takes it out of the event.
    ///
    /// # Errors
    /// A [`Refusal`]: the handler does not run and the sender gets its nak.
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal>;

    /// What it asks of the namespace: looked at when that is mounted. Nothing by default.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
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

/// What the handlers of a namespace share: see [`Namespace::state`](super::Namespace::state).
///
/// A namespace without such a state cannot be mounted.
///
/// ```
/// # use emitwire_core::handler::{Namespace, State};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// async fn count(State(visits): State<Arc<AtomicU64>>) -> u64 {
///     visits.fetch_add(1, Ordering::Relaxed) + 1
/// }
///
/// let counter = Namespace::new("/counter").state(Arc::new(AtomicU64::new(0))).on("count", count);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State<S>(pub S);

impl<S: Clone + Send + Sync + 'static> FromEvent for State<S> {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        envelope.state().cloned().map(Self).ok_or_else(|| Refusal::nak_only(Nak::Failed))
    }

    fn needs(needs: &mut Needs) {
        needs.state::<S>();
    }
}

/// What the client showed when it asked for the namespace, as a `T`: in `on_connect` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Auth<T> {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        // No application has an event of that name.
        if envelope.event().name != "connect" {
            return Err(Refusal::nak_only(Nak::Failed));
        }
        Data::from_event(envelope).map(|Data(shown)| Self(shown))
    }

    fn needs(needs: &mut Needs) {
        needs.only_on_connect("Auth");
    }
}

/// What could not be extracted is the handler's business.
impl<E: FromEvent> FromEvent for Result<E, Refusal> {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        Ok(E::from_event(envelope))
    }

    fn needs(needs: &mut Needs) {
        E::needs(needs);
    }
}

/// The socket that an event came by. A handler is called with no other.
pub(super) fn socket_of(envelope: &Envelope) -> Result<&Socket, Refusal> {
    envelope.socket().ok_or_else(|| Refusal::nak_only(Nak::Failed))
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
        socket_of(envelope).cloned()
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
        Ok(socket_of(envelope)?.peer())
    }
}

/// Why the socket ended, or its link: in the hooks of that only.
impl FromEvent for DisconnectReason {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        envelope.reason().cloned().ok_or_else(|| Refusal::nak_only(Nak::Failed))
    }

    fn needs(needs: &mut Needs) {
        needs.only_on_disconnect("DisconnectReason");
    }
}

/// What its link came to: in `on_attach` only.
impl FromEvent for Outcome {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        envelope.outcome().ok_or_else(|| Refusal::nak_only(Nak::Failed))
    }

    fn needs(needs: &mut Needs) {
        needs.only_on_attach("Outcome");
    }
}

macro_rules! tuples {
    ($(($($part:ident),*)),*) => {$(
        /// All of them: how a handler's arguments are extracted.
        impl<$($part: FromEvent),*> FromEvent for ($($part,)*) {
            fn from_event(_envelope: &Envelope) -> Result<Self, Refusal> {
                Ok(($($part::from_event(_envelope)?,)*))
            }

            fn needs(_needs: &mut Needs) {
                $($part::needs(_needs);)*
            }
        }
    )*};
}

tuples!((), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, G));
