//! What RFC 6455 §5 allows in the header of a frame, and masking.

use emitwire_core::protocol::FrameKind;
use emitwire_core::transport::ReadError;
use std::io::Cursor;
use thiserror::Error as ThisError;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The header of a frame that may come.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) what: What,
    pub(super) is_final: bool,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) header_bytes: usize,
    pub(super) body_bytes: usize,
}

/// What a frame is.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// The first fragment of what is ours, and perhaps the only one.
    Begin(FrameKind),
    /// A further fragment.
    Continue,
    /// Something between the fragments.
    Control(Control),
}

impl Head {
    /// Reads the header of a frame from a peer of `role`; nothing while it is not whole.
    pub(super) fn parse(bytes: &[u8], from: Role, max: usize) -> Result<Option<Self>, ReadError> {
        let mut cursor = Cursor::new(bytes);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(malformed)? else {
            return Ok(None);
        };
        let header_bytes = cursor.position() as usize;
        let what = match header.opcode {
            OpCode::Data(Data::Binary) => What::Begin(FrameKind::Binary),
            OpCode::Data(Data::Text) => What::Begin(FrameKind::Text),
            OpCode::Data(_) => What::Continue,
            OpCode::Control(control) => What::Control(control),
        };
        check(&header, length, header_bytes, from)?;
        if length > max as u64 && !matches!(what, What::Control(_)) {
            return Err(ReadError::FrameTooLarge { bytes: length, max });
        }
        let FrameHeader { is_final, mask, .. } = header;
        // It is below `max`, or below the length of a control frame.
        let body_bytes = length as usize;
        Ok(Some(Self { what, is_final, mask, header_bytes, body_bytes }))
    }

    /// Header and body.
    pub(super) fn frame_bytes(&self) -> usize {
        self.header_bytes + self.body_bytes
    }

    /// Takes the mask off a part of the body that begins with its first byte.
    pub(super) fn unmask(&self, body: &mut [u8]) {
        if let Some(key) = self.mask {
            mask(body, key);
        }
    }
}

fn check(
    header: &FrameHeader,
    length: u64,
    header_bytes: usize,
    from: Role,
) -> Result<(), ReadError> {
    let is_control = matches!(header.opcode, OpCode::Control(_));
    let is_broken = match from {
        _ if header.rsv1 || header.rsv2 || header.rsv3 => ProtocolError::NonZeroReservedBits,
        Role::Client if header.mask.is_none() => ProtocolError::UnmaskedFrameFromClient,
        Role::Server if header.mask.is_some() => ProtocolError::MaskedFrameFromServer,
        _ if is_control && !header.is_final => ProtocolError::FragmentedControlFrame,
        _ if is_control && length > CONTROL_BYTES_MAX as u64 => ProtocolError::ControlFrameTooBig,
        _ if header.len(length) != header_bytes => return Err(malformed(LongerThanNecessary)),
        _ => return Ok(()),
    };
    Err(malformed(is_broken))
}

/// What a close says: its code, or why it says nothing. Codes are those of RFC 6455 §7.4 and of
/// IANA's registry; to tungstenite 1014 is none.
pub(super) fn close_code(body: &[u8]) -> Result<CloseCode, ReadError> {
    let Some((code, reason)) = body.split_first_chunk() else {
        let is_empty = body.is_empty();
        let nothing = is_empty.then_some(CloseCode::Normal);
        return nothing.ok_or_else(|| malformed(ProtocolError::InvalidCloseSequence));
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(malformed(ProtocolError::InvalidCloseSequence));
    }
    let code = CloseCode::from(code);
    std::str::from_utf8(reason).map_err(|error| malformed(Error::from(error)))?;
    Ok(code)
}

/// Masks or unmasks bytes that begin with the first byte of a body (RFC 6455 §5.3).
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = bytes.chunks_exact_mut(size_of::<u64>());
    for chunk in &mut chunks {
        let mut word = [0; size_of::<u64>()];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

pub(super) fn malformed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReadError {
    ReadError::Malformed { source: source.into() }
}

/// A length that would have fitted into fewer bytes (RFC 6455 §5.2).
#[derive(Debug, ThisError)]
#[error("a length takes more bytes than it needs")]
struct LongerThanNecessary;

/// The longest body of a ping, a pong or a close (RFC 6455 §5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;
