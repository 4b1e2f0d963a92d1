//! Bytes with a meaning inside a packet: flags and codes.

use crate::protocol::{CloseCode, DecodeError, LossReason, Shape};

/// The flags byte of a packet.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u8);

/// Bit 0 of an event: its sender waits for an answer.
pub(super) const WANTS_ACK: u8 = 0b0001;
/// Bit 0 of a hello: an attach follows.
pub(super) const RESUMES: u8 = 0b0001;
pub(super) const RESUMABLE: u8 = 0b0010;
pub(super) const RESTARTED: u8 = 0b0100;
/// Bit 0 of a position: its sender wants one in return.
pub(super) const ASKS: u8 = 0b0001;
/// Bit 0 of a fragment: no other piece follows.
pub(super) const LAST: u8 = 0b0001;
/// Bit 1 of an event and of its answers: a producer follows the event's number.
pub(super) const PRODUCER: u8 = 0b0010;
/// Bits 2 and 3 of whatever carries a payload: its shape.
pub(super) const SHAPE: u8 = 0b1100;

impl Flags {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn with(self, flag: u8, set: bool) -> Self {
        if set { Self(self.0 | flag) } else { self }
    }

    pub(super) fn with_shape(self, shape: Shape) -> Self {
        let bits = match shape {
            Shape::Value => 0,
            Shape::Arguments => 1,
            Shape::Raw => 2,
        };
        Self(self.0 | bits << SHAPE.trailing_zeros())
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn shape(self) -> Result<Shape, DecodeError> {
        match (self.0 & SHAPE) >> SHAPE.trailing_zeros() {
            0 => Ok(Shape::Value),
            1 => Ok(Shape::Arguments),
            2 => Ok(Shape::Raw),
            _ => Err(DecodeError::OutOfRange),
        }
    }
}

pub(super) const NAK_NO_HANDLER: u8 = 1;
pub(super) const NAK_BUSY: u8 = 2;
pub(super) const NAK_REJECTED: u8 = 3;
pub(super) const NAK_BAD_PAYLOAD: u8 = 4;
pub(super) const NAK_FAILED: u8 = 5;
pub(super) const NAK_TIMEOUT: u8 = 6;
pub(super) const NAK_TOO_LARGE: u8 = 7;
pub(super) const NAK_CLOSED: u8 = 8;

pub(super) const OUTCOME_NEW: u8 = 0;
pub(super) const OUTCOME_RESUMED: u8 = 1;
pub(super) const OUTCOME_RESUMED_WITH_GAP: u8 = 2;

pub(super) fn of_loss(reason: LossReason) -> u8 {
    match reason {
        LossReason::Overflow => 1,
        LossReason::Superseded => 2,
        LossReason::Expired => 3,
        LossReason::Closed => 4,
    }
}

pub(super) fn loss(code: u8) -> Result<LossReason, DecodeError> {
    match code {
        1 => Ok(LossReason::Overflow),
        2 => Ok(LossReason::Superseded),
        3 => Ok(LossReason::Expired),
        4 => Ok(LossReason::Closed),
        _ => Err(DecodeError::OutOfRange),
    }
}

pub(super) fn close(code: u8) -> Result<CloseCode, DecodeError> {
    match code {
        1 => Ok(CloseCode::Normal),
        2 => Ok(CloseCode::Protocol),
        3 => Ok(CloseCode::Version),
        4 => Ok(CloseCode::HandshakeTimeout),
        5 => Ok(CloseCode::HeartbeatTimeout),
        6 => Ok(CloseCode::Slow),
        7 => Ok(CloseCode::Full),
        8 => Ok(CloseCode::Replaced),
        9 => Ok(CloseCode::Moved),
        _ => Err(DecodeError::OutOfRange),
    }
}
