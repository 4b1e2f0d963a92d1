//! Codecs: packets into frames and back. One connection speaks one codec.

mod native;

pub use native::{Native, PROTOCOL_VERSION};

use super::{DecodeError, Encoded, Frame, Packet};

/// Room for a packet's fields beside the bytes of an event, in the native codec.
const PACKET_HEADER_BYTES_MAX: usize = 512;

/// Turns packets into frames and says who turns them back.
///
/// Writing keeps no state, so that a broadcast is encoded once for all connections of one codec;
/// reading may keep some: one packet may be several frames.
pub trait Codec: Send + Sync + 'static {
    /// The cache key of a broadcast: codecs of one name write the same frames.
    fn name(&self) -> &'static str;

    /// Writes one packet. It cannot fail: the limits were checked before.
    ///
    /// Both ends count the bytes of names and payloads in their windows, so a payload is to come
    /// out of the decoder with the length that went in. A volatile packet is one frame, or its
    /// frames are ordered.
    fn encode(&self, packet: &Packet) -> Encoded;

    /// The largest frame that a packet can need whose event, answer or credentials are of at most
    /// `event_bytes_max` bytes. Both ends refuse a larger one before they allocate for it.
    fn frame_bytes_max(&self, event_bytes_max: usize) -> usize {
        event_bytes_max.saturating_add(PACKET_HEADER_BYTES_MAX)
    }

    /// A fresh reader for one connection.
    fn decoder(&self) -> Box<dyn Decoder>;
}

/// The reading half of a [`Codec`], one per connection.
pub trait Decoder: Send {
    /// Reads one frame; `None` while the packet needs more frames.
    ///
    /// # Errors
    /// Each variant of [`DecodeError`]; after one the connection is of no more use.
    fn decode(&mut self, frame: Frame) -> Result<Option<Packet>, DecodeError>;
}
