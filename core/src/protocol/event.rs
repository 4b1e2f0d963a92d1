//! An event: a name and a payload, and the id by which it is answered.

use super::{EventId, Payload};
use bytes::Bytes;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Longest event name, in bytes of UTF-8.
pub const EVENT_NAME_BYTES_MAX: usize = 255;

/// Names that belong to the lifecycle and are refused as application events, on both ends.
pub const RESERVED_NAMES: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether `name` belongs to the lifecycle: see [`RESERVED_NAMES`].
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name)
}

/// The name of an event: UTF-8, at most [`EVENT_NAME_BYTES_MAX`] bytes, cheap to clone.
#[derive(Clone)]
pub struct EventName(Bytes);

impl EventName {
    /// A name that is known when the program is compiled: no copy.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        Self(Bytes::from_static(name.as_bytes()))
    }

    /// As much of a text as a name of at most `bytes_max` bytes holds.
    #[must_use]
    pub fn truncated(text: &str, bytes_max: usize) -> Self {
        let mut end = text.len().min(bytes_max);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::from(&text[..end])
    }

    /// A name out of received bytes.
    ///
    /// # Errors
    /// The bytes come back when they are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Bytes> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(bytes),
        }
    }

    /// A copy that keeps nothing alive but its own bytes: see
    /// [`Payload::detached`](super::Payload::detached).
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the empty name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of its UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for EventName {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl From<String> for EventName {
    fn from(name: String) -> Self {
        Self(Bytes::from(name))
    }
}

impl Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for EventName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for EventName {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for EventName {}

impl PartialEq<str> for EventName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for EventName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl Hash for EventName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// One event as a handler or a layer sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Producer and counter; the same on every attempt.
    pub id: EventId,
    /// What happened.
    pub name: EventName,
    /// The arguments, encoded.
    pub payload: Payload,
    /// Whether the sender waits for an answer.
    pub wants_ack: bool,
    /// Whether it may be missed.
    pub volatile: bool,
}

impl Event {
    /// An event that wants no answer and may not be missed.
    #[must_use]
    pub fn new(id: EventId, name: EventName, payload: Payload) -> Self {
        Self { id, name, payload, wants_ack: false, volatile: false }
    }

    /// A copy that keeps nothing alive but its own bytes: see [`Payload::detached`].
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { name: self.name.detached(), payload: self.payload.detached(), ..*self }
    }

    /// Bytes that the event counts against windows and bounds: its name and its payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}
