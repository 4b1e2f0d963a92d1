//! Payloads: serde values as MessagePack, several arguments, or bytes as they are.

use super::PayloadError;
use bytes::Bytes;
use rmp_serde::{Deserializer, Serializer};
use serde::Serialize;
use serde::de::value::BytesDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Deepest nesting of a payload that is decoded, so that a peer cannot exhaust the stack.
pub const PAYLOAD_DEPTH_MAX: usize = 128;

/// MessagePack's nil: what an empty payload decodes as.
const NIL: [u8; 1] = [0xc0];

/// How the bytes of a [`Payload`] are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// One MessagePack value, structs with named fields; no bytes at all stand for nil.
    #[default]
    Value,
    /// A MessagePack array whose elements are the arguments of one event.
    Arguments,
    /// Bytes that are nobody's encoding but the application's.
    Raw,
}

/// Encoded arguments of an event, or its answer. Cheap to clone.
///
/// MessagePack with named fields and serde's human-readable forms, so that any other codec sees
/// the same values; `Bytes` stay bytes.
///
/// ```
/// # use emitwire_core::protocol::Payload;
///
/// let payload = Payload::encode(&("left", 3))?;
/// let (side, steps): (String, u8) = payload.decode()?;
/// assert_eq!((side.as_str(), steps), ("left", 3));
/// # Ok::<(), emitwire_core::protocol::PayloadError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    shape: Shape,
}

impl Payload {
    /// A payload out of its parts; the bytes are checked only when they are decoded.
    #[must_use]
    pub fn new(bytes: Bytes, shape: Shape) -> Self {
        Self { bytes, shape }
    }

    /// The payload without a byte: an ack that says "done". It decodes as `()` or `None`.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Bytes that no codec looks into.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), shape: Shape::Raw }
    }

    /// Encodes one value.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] when the value's own `Serialize` fails.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        let mut serializer = Serializer::new(&mut bytes).with_struct_map().with_human_readable();
        value
            .serialize(&mut serializer)
            .map_err(|source| PayloadError::Encode { source: Box::new(source) })?;
        Ok(Self { bytes: Bytes::from(bytes), shape: Shape::Value })
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// [`PayloadError::Decode`] when the bytes are not a `T`, [`PayloadError::TrailingBytes`] when
    /// something follows it.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        match self.shape {
            Shape::Raw => {
                let bytes: BytesDeserializer<'_, rmp_serde::decode::Error> =
                    (&self.bytes[..]).into_deserializer();
                T::deserialize(bytes).map_err(decode_error)
            }
            Shape::Value | Shape::Arguments if self.bytes.is_empty() => decode(&NIL),
            Shape::Value | Shape::Arguments => decode(&self.bytes),
        }
    }

    /// The value, if it is a text: words of a refusal, most often.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.decode().ok()
    }

    /// The words of a refusal, behind a colon; nothing if it is no text.
    pub(crate) fn said(&self) -> String {
        self.text().map(|words| format!(": {words}")).unwrap_or_default()
    }

    /// How the bytes are to be read.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Encoded bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy that keeps nothing alive but its own bytes.
    ///
    /// A received payload is a slice of what was read from the wire at once; whoever keeps it for
    /// long keeps all of that. This costs one copy and ends it.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), shape: self.shape }
    }
}

/// Room for most payloads, so that they need not grow.
const USUAL_BYTES: usize = 128;

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    let mut rest = bytes;
    let mut deserializer = Deserializer::new(&mut rest).with_human_readable();
    // The library counts down to one, not to zero.
    deserializer.set_max_depth(PAYLOAD_DEPTH_MAX + 1);
    let value = T::deserialize(&mut deserializer).map_err(decode_error)?;
    match rest.len() {
        0 => Ok(value),
        count => Err(PayloadError::TrailingBytes { count }),
    }
}

fn decode_error(source: rmp_serde::decode::Error) -> PayloadError {
    PayloadError::Decode { source: Box::new(source) }
}

/// Several arguments of one event, in and out: `Args((1, "two"))`.
///
/// A tuple given to `emit` as it is travels as *one* argument that is an array; `Args` keeps its
/// elements apart for codecs that know the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args<T>(pub T);

/// What can be the payload of an event: any serde value, [`Args`], or a ready [`Payload`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of an event",
    note = "derive `serde::Serialize` for it, or pass a ready `Payload`"
)]
pub trait ToPayload {
    /// The encoded payload.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] when the value's own `Serialize` fails.
    fn to_payload(&self) -> Result<Payload, PayloadError>;
}

impl<T: Serialize + ?Sized> ToPayload for T {
    fn to_payload(&self) -> Result<Payload, PayloadError> {
        Payload::encode(self)
    }
}

impl ToPayload for Payload {
    fn to_payload(&self) -> Result<Payload, PayloadError> {
        Ok(self.clone())
    }
}

impl<T: Serialize> ToPayload for Args<T> {
    fn to_payload(&self) -> Result<Payload, PayloadError> {
        let value = Payload::encode(&self.0)?;
        Ok(Payload { bytes: value.bytes, shape: Shape::Arguments })
    }
}
