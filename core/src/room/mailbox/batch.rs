//! The frames of one vectored write, up to a bound.

use crate::protocol::{Class, Codec, Encoded, Fragment, Frame, Packet};
use std::collections::VecDeque;

/// Frames of one batch, hence of one vectored write.
const FRAMES_MAX: usize = 64;

/// Bytes of one batch.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// What a fragment adds to its piece, at most: its kind, its flags and two numbers.
const FRAGMENT_HEADER_BYTES_MAX: usize = 22;

/// The smallest frames on which a session can run, in bytes.
pub(crate) const FRAME_BYTES_MIN: usize = 256;

/// A batch that is being filled.
pub(super) struct Batch<'a> {
    frames: &'a mut VecDeque<Frame>,
    codec: &'a dyn Codec,
    /// The largest frame of the wire.
    frame_bytes_max: usize,
    /// Packets that were cut into pieces on this link.
    fragmented: &'a mut u64,
    bytes: usize,
    bytes_before: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        frames: &'a mut VecDeque<Frame>,
        codec: &'a dyn Codec,
        frame_bytes_max: usize,
        fragmented: &'a mut u64,
    ) -> Self {
        let bytes = frames.iter().map(|frame| frame.body.len()).sum();
        Self { frames, codec, frame_bytes_max, fragmented, bytes, bytes_before: bytes }
    }

    pub(super) fn extend(&mut self, encoded: &Encoded) {
        self.bytes += encoded.len();
        for frame in encoded.frames() {
            if frame.body.len() <= self.frame_bytes_max {
                self.frames.push_back(frame.clone());
            } else {
                self.extend_in_pieces(frame);
            }
        }
    }

    pub(super) fn packet(&mut self, packet: &Packet) {
        self.extend(&self.codec.encode(packet));
    }

    pub(super) fn bytes_added(&self) -> usize {
        self.bytes - self.bytes_before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    fn extend_in_pieces(&mut self, frame: &Frame) {
        self.frames.extend(pieces(frame, *self.fragmented, self.codec, self.frame_bytes_max));
        *self.fragmented += 1;
    }
}

/// The pieces of a frame that is larger than those of its wire; `packet` counts on each link from
/// zero.
pub(crate) fn pieces<'a>(
    frame: &'a Frame,
    packet: u64,
    codec: &'a dyn Codec,
    frame_bytes_max: usize,
) -> impl Iterator<Item = Frame> + 'a {
    let piece = frame_bytes_max.saturating_sub(FRAGMENT_HEADER_BYTES_MAX).max(1);
    (0..frame.body.len()).step_by(piece).flat_map(move |offset| {
        let end = frame.body.len().min(offset + piece);
        let (bytes, last) = (frame.body.slice(offset..end), end == frame.body.len());
        let fragment = Fragment { packet, offset: offset as u64, last, bytes };
        let encoded = codec.encode(&Packet::Fragment(fragment));
        // A piece is not to be dropped without the others.
        let ordered = |frame: &Frame| Frame { class: Class::Ordered, ..frame.clone() };
        encoded.frames().iter().map(ordered).collect::<Vec<_>>()
    })
}
