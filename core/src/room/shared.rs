//! One event for many members: encoded once for each codec among them.

use crate::protocol::{Codec, Encoded, Packet};

/// A broadcast on its way to the mailboxes.
#[derive(Debug)]
pub struct Shared {
    packet: Packet,
    event_bytes: usize,
    volatile: bool,
    /// By codec name; as good as always one.
    encoded: Vec<(&'static str, Encoded)>,
}

impl Shared {
    /// An event or volatile event; anything else counts as an event without bytes.
    #[must_use]
    pub fn new(packet: Packet) -> Self {
        let (event_bytes, volatile) = match &packet {
            Packet::Event(event) => (event.bytes(), false),
            Packet::Volatile(event) => (event.bytes(), true),
            _ => (0, false),
        };
        Self { packet, event_bytes, volatile, encoded: Vec::with_capacity(1) }
    }

    /// The packet itself, for adapters that carry it to other nodes.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Bytes that it counts against windows and bounds.
    #[must_use]
    pub fn event_bytes(&self) -> usize {
        self.event_bytes
    }

    /// Whether it may be missed.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Its frames in this codec: written at the first call, shared afterwards.
    pub fn encoded(&mut self, codec: &dyn Codec) -> &Encoded {
        let name = codec.name();
        let place = self.encoded.iter().position(|(known, _)| *known == name);
        let place = place.unwrap_or_else(|| {
            self.encoded.push((name, codec.encode(&self.packet)));
            self.encoded.len() - 1
        });
        &self.encoded[place].1
    }
}
