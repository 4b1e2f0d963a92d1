//! The native codec: one packet is one binary frame. PROTOCOL.md has every byte of it.

mod code;
mod kind;
mod read;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod varint;
mod write;

use super::{Codec, Decoder};
use crate::protocol::{Class, DecodeError, Encoded, Frame, FrameKind, Packet};
use bytes::Bytes;
use sink::Size;

/// The version of the protocol that this crate speaks; it travels in `Hello` and `Welcome`.
pub const PROTOCOL_VERSION: u8 = 1;

/// What the first packet of a client begins with, behind its kind byte.
const MAGIC: [u8; 8] = *b"EMITWIRE";

/// The native codec. It keeps no state, so it is its own decoder.
///
/// Each packet has one encoding: bytes that decode are the bytes that the packet encodes to.
/// Names and payloads of a decoded packet are slices of the frame's body, not copies.
///
/// ```
/// # use emitwire_core::protocol::{Codec, Decoder, Native, Packet};
///
/// let packet = Packet::Heartbeat { written: 300 };
/// let frame = Native.encode(&packet).frames()[0].clone();
/// assert_eq!(frame.body[..], [0x06, 0xac, 0x02]);
/// assert_eq!(Native.decode(frame), Ok(Some(packet)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Native {
    /// The longest token of a `Welcome` or an `Attach`, in bytes.
    pub const TOKEN_BYTES_MAX: usize = 64;

    /// The most namespaces that one `Attach` names.
    pub const NAMESPACES_MAX: usize = 1024;

    /// The most ranges that one `Position` carries.
    pub const RANGES_MAX: usize = 256;

    /// The byte with which a packet begins; bit 7 is set when it is counted.
    #[must_use]
    pub fn kind(packet: &Packet) -> u8 {
        kind::of(packet)
    }
}

impl Codec for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        let mut size = Size(0);
        write::write(packet, &mut size);
        // A vector that is exactly full becomes `Bytes` without another allocation.
        let mut body = Vec::with_capacity(size.0);
        write::write(packet, &mut body);
        let class = match packet {
            Packet::Volatile(_) => Class::Volatile,
            _ => Class::Ordered,
        };
        Frame { kind: FrameKind::Binary, class, body: Bytes::from(body) }.into()
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(*self)
    }
}

impl Decoder for Native {
    fn decode(&mut self, frame: Frame) -> Result<Option<Packet>, DecodeError> {
        match frame.kind {
            FrameKind::Binary => read::read(frame.body).map(Some),
            FrameKind::Text => Err(DecodeError::FrameKind),
        }
    }
}
