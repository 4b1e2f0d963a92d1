//! What is left of a frame that is being read. Each method takes one field off its front.

use super::code::{Flags, PRODUCER};
use super::varint;
use crate::protocol::{Credit, DecodeError, EventName, EventRef, NamespaceNumber, ProducerId};
use bytes::{Buf, Bytes};
use std::time::Duration;

/// The bytes behind the last field that was taken.
pub(super) struct Source(Bytes);

impl Source {
    pub(super) fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    /// A flags byte in which only `known` bits may be set.
    pub(super) fn flags(&mut self, known: u8) -> Result<Flags, DecodeError> {
        match self.byte()? {
            byte if byte & !known == 0 => Ok(Flags(byte)),
            _ => Err(DecodeError::OutOfRange),
        }
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let (value, size) = varint::read(&self.0)?;
        self.0.advance(size);
        Ok(value)
    }

    pub(super) fn number(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange)
    }

    /// How many elements follow. They are at most `max`, but not yet known to be there.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, DecodeError> {
        match usize::try_from(self.varint()?) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(DecodeError::OutOfRange),
        }
    }

    pub(super) fn id(&mut self) -> Result<u128, DecodeError> {
        self.0.try_get_u128().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn namespace(&mut self) -> Result<NamespaceNumber, DecodeError> {
        self.number().map(NamespaceNumber)
    }

    pub(super) fn millis(&mut self) -> Result<Duration, DecodeError> {
        self.varint().map(Duration::from_millis)
    }

    pub(super) fn credit(&mut self) -> Result<Credit, DecodeError> {
        Ok(Credit { events: self.varint()?, bytes: self.varint()? })
    }

    /// Two numbers, the second not below the first.
    pub(super) fn range(&mut self) -> Result<(u64, u64), DecodeError> {
        let (first, last) = (self.varint()?, self.varint()?);
        if first <= last { Ok((first, last)) } else { Err(DecodeError::OutOfRange) }
    }

    pub(super) fn event_ref(&mut self, flags: Flags) -> Result<EventRef, DecodeError> {
        let number = self.varint()?;
        let producer = if flags.has(PRODUCER) { Some(ProducerId(self.id()?)) } else { None };
        Ok(EventRef { producer, number })
    }

    /// Bytes behind their length, at most `max` of them: a slice of the frame.
    pub(super) fn sized(&mut self, max: usize) -> Result<Bytes, DecodeError> {
        let length = self.varint()?;
        if length > max as u64 {
            return Err(DecodeError::TooLong { length, max: max as u64 });
        }
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(DecodeError::Truncated),
        }
    }

    pub(super) fn text(&mut self, max: usize) -> Result<EventName, DecodeError> {
        EventName::from_utf8(self.sized(max)?).map_err(|_| DecodeError::NotUtf8)
    }

    /// Exactly the bytes of `expected`, else `error` as soon as one differs.
    pub(super) fn expect(
        &mut self,
        expected: &[u8],
        error: DecodeError,
    ) -> Result<(), DecodeError> {
        let there = expected.len().min(self.0.len());
        if self.0[..there] != expected[..there] {
            return Err(error);
        }
        self.take(expected.len()).map(|_| ())
    }

    /// All that is left: a slice of the frame.
    pub(super) fn rest(&mut self) -> Bytes {
        if self.0.is_empty() {
            // Nothing that would keep the frame alive.
            return Bytes::new();
        }
        self.0.split_to(self.0.len())
    }

    /// Ends the reading: nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.0.split_to(length))
    }
}
