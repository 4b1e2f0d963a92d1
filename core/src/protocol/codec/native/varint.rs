//! Unsigned LEB128: seven bits a byte, low bits first, bit 7 set on all bytes but the last.

use crate::protocol::DecodeError;

/// Bytes of the longest varint: ten times seven bits hold 64.
const BYTES_MAX: usize = 10;

/// Bytes that `value` takes.
pub(super) fn size(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends `value`.
pub(super) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The value with which `bytes` begin, and how many of them it took.
///
/// # Errors
/// [`DecodeError::Truncated`] when the bytes end before the value, [`DecodeError::OutOfRange`]
/// when it has more than 64 bits, or more bytes than it needs: each value has one encoding.
pub(super) fn read(bytes: &[u8]) -> Result<(u64, usize), DecodeError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        let has_room = at + 1 < BYTES_MAX || byte <= 1;
        let is_padding = byte == 0 && at > 0;
        if !has_room || is_padding {
            return Err(DecodeError::OutOfRange);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok((value, at + 1));
        }
    }
    Err(DecodeError::Truncated)
}
