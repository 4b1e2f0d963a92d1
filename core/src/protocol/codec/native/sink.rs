//! Where an encoding goes: once into its size, then into a buffer of exactly that size.

use super::code::Flags;
use super::varint;
use crate::protocol::{Credit, EventRef, NamespaceNumber};
use std::time::Duration;

/// Takes the fields of a packet in the order in which they travel.
pub(super) trait Sink {
    fn byte(&mut self, byte: u8);

    fn bytes(&mut self, bytes: &[u8]);

    fn varint(&mut self, value: u64);

    fn flags(&mut self, flags: Flags) {
        self.byte(flags.0);
    }

    fn id(&mut self, id: u128) {
        self.bytes(&id.to_be_bytes());
    }

    fn namespace(&mut self, number: NamespaceNumber) {
        self.varint(number.0.into());
    }

    /// Bytes behind their length.
    fn sized(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Whole milliseconds, rounded down.
    fn millis(&mut self, duration: Duration) {
        self.varint(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn credit(&mut self, credit: Credit) {
        self.varint(credit.events);
        self.varint(credit.bytes);
    }

    fn event_ref(&mut self, event: EventRef) {
        self.varint(event.number);
        if let Some(producer) = event.producer {
            self.id(producer.0);
        }
    }
}

/// Bytes that were taken; none is kept.
pub(super) struct Size(pub(super) usize);

impl Sink for Size {
    fn byte(&mut self, _: u8) {
        self.0 += 1;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn varint(&mut self, value: u64) {
        self.0 += varint::size(value);
    }
}

impl Sink for Vec<u8> {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn varint(&mut self, value: u64) {
        varint::write(value, self);
    }
}
