//! Packets that are larger than a frame of their wire: put together again from their pieces.

use super::{DecodeError, Fragment, Frame, ProtocolError};

/// The packet whose pieces are coming, of one link.
#[derive(Debug, Default)]
pub struct Assembly {
    packet: u64,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes the next piece; the packet's whole frame when it was the last one. `bytes_max` is the
    /// largest that may be.
    ///
    /// # Errors
    /// [`ProtocolError::Fragment`] when it is not the next piece, or an empty one;
    /// [`DecodeError::TooLong`] when the packet is larger than allowed.
    pub fn handle(
        &mut self,
        fragment: &Fragment,
        bytes_max: usize,
    ) -> Result<Option<Frame>, ProtocolError> {
        let (packet, offset) = (self.packet, self.bytes.len() as u64);
        if fragment.packet != packet || fragment.offset != offset || fragment.bytes.is_empty() {
            return Err(ProtocolError::Fragment { packet, offset });
        }
        let length = self.bytes.len() + fragment.bytes.len();
        if length > bytes_max {
            let (length, max) = (length as u64, bytes_max as u64);
            return Err(DecodeError::TooLong { length, max }.into());
        }
        self.bytes.extend_from_slice(&fragment.bytes);
        if !fragment.last {
            return Ok(None);
        }
        self.packet += 1;
        Ok(Some(Frame::ordered(std::mem::take(&mut self.bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn piece(packet: u64, offset: u64, last: bool, bytes: &'static [u8]) -> Fragment {
        Fragment { packet, offset, last, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn pieces_in_order_become_a_frame_and_the_next_packet_follows() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.handle(&piece(0, 0, false, b"ab"), 9), Ok(None));
        let whole = assembly.handle(&piece(0, 2, true, b"c"), 9);
        assert_eq!(whole, Ok(Some(Frame::ordered(&b"abc"[..]))));
        let whole = assembly.handle(&piece(1, 0, true, b"d"), 9);
        assert_eq!(whole, Ok(Some(Frame::ordered(&b"d"[..]))));
    }

    #[test]
    fn a_hole_an_overlap_an_empty_piece_and_too_much_are_violations() {
        let mut assembly = Assembly::default();
        assembly.handle(&piece(0, 0, false, b"ab"), 4).unwrap();
        let expected = Err(ProtocolError::Fragment { packet: 0, offset: 2 });
        for wrong in [piece(0, 3, false, b"c"), piece(0, 1, false, b"c"), piece(1, 0, true, b"c")] {
            assert_eq!(assembly.handle(&wrong, 4), expected);
        }
        assert_eq!(assembly.handle(&piece(0, 2, false, b""), 4), expected);
        let too_long = Err(DecodeError::TooLong { length: 5, max: 4 }.into());
        assert_eq!(assembly.handle(&piece(0, 2, true, b"cde"), 4), too_long);
    }
}
