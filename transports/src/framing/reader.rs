//! Length-delimited frames: what TCP, TLS and unix sockets read.
//!
//! A frame is the length of its body, as 32 bits in network order, and then the body
//! (docs/PROTOCOL.md).

use super::poll_stream;
use super::scratch::{SCRATCH_BYTES, with_scratch};
use super::writer::LENGTH_BYTES;
use bytes::{Buf, Bytes};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{HandshakeError, ReadError, ReadHalf};
use std::mem;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;

/// The reading half over a byte stream.
///
/// Each call reads once. Whole frames leave the thread's buffer as slices of one allocation that
/// fits them; only what has arrived of a partial frame stays here.
pub(crate) struct FrameReader<R> {
    stream: R,
    /// What the wire allows, whatever the session says.
    wire_bytes_max: usize,
    pub(super) frame_bytes_max: usize,
    pub(super) partial: Partial,
    /// No frame was read yet.
    is_fresh: bool,
    /// A frame was refused. What still comes is thrown away.
    has_failed: bool,
}

impl<R> FrameReader<R> {
    /// Takes frames of up to `wire_bytes_max`.
    pub(crate) fn new(stream: R, wire_bytes_max: usize) -> Self {
        Self {
            stream,
            wire_bytes_max,
            frame_bytes_max: wire_bytes_max,
            partial: Partial::default(),
            is_fresh: true,
            has_failed: false,
        }
    }

    /// Takes apart what came in one read.
    fn take(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), ReadError> {
        let mut rest = bytes;
        if !self.partial.is_empty() {
            rest = self.partial.fill(rest, self.frame_bytes_max)?;
            frames.extend(self.partial.finish());
        }
        let (whole, rest) = rest.split_at(whole_frames(rest, self.frame_bytes_max));
        split_frames(whole, frames);
        self.is_fresh &= frames.is_empty();
        let rest = self.partial.fill(rest, self.frame_bytes_max)?;
        debug_assert!(rest.is_empty(), "what follows the whole frames is less than one");
        Ok(())
    }

    /// Nothing more is taken.
    fn fail(&mut self, error: ReadError) -> ReadError {
        self.has_failed = true;
        let refused = mem::take(&mut self.partial);
        let is_tls = self.is_fresh && is_tls(refused.header);
        if is_tls { ReadError::Handshake { source: HandshakeError::Encrypted } } else { error }
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> ReadHalf for FrameReader<R> {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(self.wire_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let count = if self.partial.is_worth_a_read() {
            let count = ready!(poll_stream(&mut self.stream, cx, self.partial.room()))?;
            self.partial.grow_into_room(count);
            self.is_fresh = false;
            frames.extend(self.partial.finish());
            count
        } else {
            ready!(with_scratch(|scratch| {
                let count = ready!(poll_stream(&mut self.stream, cx, scratch))?;
                if self.has_failed {
                    return Poll::Ready(Ok(count));
                }
                let taken = self.take(&scratch[..count], frames).map(|()| count);
                Poll::Ready(taken.map_err(|error| self.fail(error)))
            }))?
        };
        if count == 0 && !self.partial.is_empty() {
            return Poll::Ready(Err(ReadError::Truncated));
        }
        Poll::Ready(Ok(count))
    }
}

/// What has arrived of a frame that is not whole. Between frames it holds no memory.
#[derive(Default)]
pub(super) struct Partial {
    header: [u8; LENGTH_BYTES],
    header_filled: usize,
    /// Filled up to `body_filled`; what follows is zeros, room for the next read.
    pub(super) body: Vec<u8>,
    body_filled: usize,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.header_filled == 0
    }

    /// Bytes of the body that are still to come; meaningful once the header is whole.
    fn missing(&self) -> usize {
        length(self.header) - self.body_filled
    }

    /// Takes what belongs to this frame and gives back what follows it.
    fn fill<'a>(&mut self, bytes: &'a [u8], max: usize) -> Result<&'a [u8], ReadError> {
        let (header, bytes) = bytes.split_at(bytes.len().min(LENGTH_BYTES - self.header_filled));
        self.header[self.header_filled..][..header.len()].copy_from_slice(header);
        self.header_filled += header.len();
        if self.header_filled < LENGTH_BYTES {
            return Ok(bytes);
        }
        let length = length(self.header);
        if length > max {
            return Err(ReadError::FrameTooLarge { bytes: length as u64, max });
        }
        let (body, rest) = bytes.split_at(bytes.len().min(self.missing()));
        self.body.truncate(self.body_filled);
        if self.body.capacity() - self.body_filled < body.len() {
            self.body.reserve_exact(self.ahead().max(body.len()));
        }
        self.body.extend_from_slice(body);
        self.body_filled += body.len();
        Ok(rest)
    }

    /// The frame, once it is whole.
    fn finish(&mut self) -> Option<Frame> {
        if self.header_filled < LENGTH_BYTES || self.missing() > 0 {
            return None;
        }
        let Self { body, .. } = mem::take(self);
        Some(Frame::ordered(body))
    }

    /// How many bytes more to make room for: as many as have arrived, because what the peer
    /// announces costs it nothing.
    fn ahead(&self) -> usize {
        self.missing().min(self.body_filled.max(AHEAD_BYTES_MIN))
    }

    /// Whether the next read should go straight into this body, without a copy, instead of through
    /// the thread's buffer, where it may bring the next frames along.
    fn is_worth_a_read(&self) -> bool {
        self.header_filled == LENGTH_BYTES && self.ahead() >= SCRATCH_BYTES
    }

    /// Where the next bytes of the body go: never further than its end.
    fn room(&mut self) -> &mut [u8] {
        if self.body.len() - self.body_filled < SCRATCH_BYTES {
            let end = self.body_filled + self.ahead();
            self.body.reserve_exact(end - self.body.len());
            self.body.resize(end, 0);
        }
        &mut self.body[self.body_filled..]
    }

    fn grow_into_room(&mut self, count: usize) {
        self.body_filled += count;
    }
}

/// How many bytes from the front are whole frames of an allowed length.
fn whole_frames(bytes: &[u8], max: usize) -> usize {
    let mut end = 0;
    while let Some((header, rest)) = bytes[end..].split_first_chunk() {
        let length = length(*header);
        if length > max || length > rest.len() {
            break;
        }
        end += LENGTH_BYTES + length;
    }
    end
}

/// Copies whole frames once, into one allocation that their bodies share.
fn split_frames(whole: &[u8], frames: &mut Vec<Frame>) {
    let Some((header, bodies)) = whole.split_first_chunk() else {
        return;
    };
    // The headers in between are copied too: they are small, and one copy is fast.
    let mut block = Bytes::copy_from_slice(bodies);
    let mut length = length(*header);
    loop {
        frames.push(Frame::ordered(block.split_to(length)));
        if block.is_empty() {
            return;
        }
        length = block.get_u32() as usize;
    }
}

/// A record of TLS, an alert or of its handshake, of any version (RFC 8446 §5.1). As a length it
/// would be one of 336 MiB or more.
fn is_tls(header: [u8; LENGTH_BYTES]) -> bool {
    matches!(header, [0x15 | 0x16, 0x03, ..])
}

fn length(header: [u8; LENGTH_BYTES]) -> usize {
    u32::from_be_bytes(header) as usize
}

/// The least room that a partial frame gets beyond what has arrived of it.
pub(super) const AHEAD_BYTES_MIN: usize = 4 * 1024;
