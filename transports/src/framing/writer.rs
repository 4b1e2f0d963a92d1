//! Writing: headers and small bodies joined, large bodies where they are, one write for it all.

use super::scratch::with_scratch;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::WriteHalf;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

/// A byte stream's writing direction.
///
/// It is not `AsyncWrite`, because that spends tokio's budget of the calling task: whoever writes
/// a broadcast to many streams in one turn would find most of them "full", and wake their drivers.
pub(crate) trait WriteStream: Send + 'static {
    /// Writes what the stream takes at once, from the front of the slices; pending, with the
    /// waker registered, when it takes nothing.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends off what the stream may have gathered; a socket gathers nothing.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this direction in order.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What a wire puts before each body. It depends on nothing but the frame, so that it is written
/// next to the body, into the bytes of the one write, instead of being kept.
pub(crate) trait Header: Send + 'static {
    /// Its bytes, at most [`HEADER_BYTES_MAX`].
    fn bytes(body_bytes: usize) -> usize;

    /// Writes it; the room is just as long.
    ///
    /// # Errors
    /// The body is too long for this wire.
    fn write(frame: &Frame, room: &mut [u8]) -> io::Result<()>;
}

/// The length of the body, as 32 bits in network order.
#[cfg(feature = "__framed")]
pub(crate) struct Length;

#[cfg(feature = "__framed")]
impl Header for Length {
    fn bytes(_: usize) -> usize {
        LENGTH_BYTES
    }

    fn write(frame: &Frame, room: &mut [u8]) -> io::Result<()> {
        let length = u32::try_from(frame.body.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        room.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// The writing half over a byte stream: one write for a batch that fits into one.
pub(crate) struct FrameWriter<W, H> {
    pub(super) stream: W,
    /// How much of the frame in front is written, header included.
    pub(super) offset: usize,
    header: PhantomData<H>,
}

impl<W, H: Header> FrameWriter<W, H> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream, offset: 0, header: PhantomData }
    }

    /// Whether no frame is written in part.
    #[cfg(any(feature = "quic", feature = "ws"))]
    pub(crate) fn is_between_frames(&self) -> bool {
        self.offset == 0
    }

    /// For what goes out between two frames.
    #[cfg(any(feature = "quic", feature = "ws"))]
    pub(crate) fn stream(&mut self) -> &mut W {
        &mut self.stream
    }

    /// Not inlined: batches of small frames are not to set up its arrays.
    #[inline(never)]
    fn poll_write_gathered(
        &mut self,
        cx: &mut Context<'_>,
        batch: &VecDeque<Frame>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>>
    where
        W: WriteStream,
    {
        let gathered = Gathered::new::<H>(batch, self.offset, scratch)?;
        gathered.poll_write(&mut self.stream, cx, scratch)
    }

    /// Removes the frames that are written whole.
    fn advance(&mut self, written: usize, batch: &mut VecDeque<Frame>) {
        self.offset += written;
        while let Some(front) = batch.front() {
            let whole = H::bytes(front.body.len()) + front.body.len();
            if self.offset < whole {
                break;
            }
            self.offset -= whole;
            batch.pop_front();
        }
    }
}

impl<W: WriteStream, H: Header> WriteHalf for FrameWriter<W, H> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        with_scratch(|scratch| {
            while !batch.is_empty() {
                let written = match join_small::<H>(batch, self.offset, scratch) {
                    Some(joined) => self.stream.poll_write(cx, &[IoSlice::new(&scratch[..joined])]),
                    None => self.poll_write_gathered(cx, batch, scratch),
                };
                let written = ready!(written)?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.advance(written, batch);
            }
            self.stream.poll_flush(cx)
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

/// Joins a whole batch of small frames in the thread's buffer, which is the usual case, if it is
/// one and nothing of it was written before; says how many bytes it is.
fn join_small<H: Header>(
    batch: &VecDeque<Frame>,
    offset: usize,
    scratch: &mut [u8],
) -> Option<usize> {
    if offset > 0 {
        return None;
    }
    let mut joined = 0;
    for frame in batch {
        let body = &frame.body;
        let header_bytes = H::bytes(body.len());
        let room = scratch.get_mut(joined..joined + header_bytes + body.len())?;
        if body.len() > JOINED_BODY_BYTES_MAX {
            return None;
        }
        let (header, rest) = room.split_at_mut(header_bytes);
        H::write(frame, header).ok()?;
        rest.copy_from_slice(body);
        joined += header_bytes + body.len();
    }
    Some(joined)
}

/// What goes out in one write: headers and small bodies joined in the thread's buffer, large
/// bodies where they are.
struct Gathered<'a> {
    joined: usize,
    /// Each large body, and how much of the buffer goes before it.
    large: [(usize, &'a [u8]); LARGE_BODIES_MAX],
    large_count: usize,
}

impl<'a> Gathered<'a> {
    /// Takes frames from the front, without the first `offset` bytes, while there is room.
    fn new<H: Header>(
        batch: &'a VecDeque<Frame>,
        offset: usize,
        scratch: &mut [u8],
    ) -> io::Result<Self> {
        let mut gathered = Self { joined: 0, large: [(0, &[]); LARGE_BODIES_MAX], large_count: 0 };
        let mut written = offset;
        for frame in batch {
            if !gathered.add::<H>(frame, written, scratch)? {
                break;
            }
            written = 0;
        }
        Ok(gathered)
    }

    /// Says whether the frame, without its first `written` bytes, still fitted.
    fn add<H: Header>(
        &mut self,
        frame: &'a Frame,
        written: usize,
        scratch: &mut [u8],
    ) -> io::Result<bool> {
        let mut header = [0; HEADER_BYTES_MAX];
        let header = &mut header[..H::bytes(frame.body.len())];
        H::write(frame, header)?;
        let body = &frame.body[written.saturating_sub(header.len())..];
        let header = &header[written.min(header.len())..];
        let is_small = body.len() <= JOINED_BODY_BYTES_MAX;
        let copied = header.len() + if is_small { body.len() } else { 0 };
        let fits = scratch.len() - self.joined >= copied
            && (is_small || self.large_count < LARGE_BODIES_MAX);
        if fits {
            self.join(header, scratch);
            if is_small {
                self.join(body, scratch);
            } else {
                self.large[self.large_count] = (self.joined, body);
                self.large_count += 1;
            }
        }
        Ok(fits)
    }

    fn join(&mut self, bytes: &[u8], scratch: &mut [u8]) {
        scratch[self.joined..][..bytes.len()].copy_from_slice(bytes);
        self.joined += bytes.len();
    }

    fn poll_write(
        &self,
        stream: &mut impl WriteStream,
        cx: &mut Context<'_>,
        scratch: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut add = |slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
        };
        let mut from = 0;
        for &(until, body) in &self.large[..self.large_count] {
            if from < until {
                add(&scratch[from..until]);
            }
            add(body);
            from = until;
        }
        if from < self.joined {
            add(&scratch[from..self.joined]);
        }
        stream.poll_write(cx, &slices[..count])
    }
}

/// The longest header: an unmasked one of a WebSocket (RFC 6455 §5.2).
const HEADER_BYTES_MAX: usize = 10;

/// The length before each body of a length-delimited wire.
#[cfg(feature = "__framed")]
pub(super) const LENGTH_BYTES: usize = 4;

/// Bodies up to this size are cheaper to copy than to have a slice of their own.
const JOINED_BODY_BYTES_MAX: usize = 2 * 1024;

/// How many slices go out in one write: a joined run and a large body, in turn.
const SLICES_MAX: usize = 2 * LARGE_BODIES_MAX + 1;

/// How many large bodies go out in one write.
const LARGE_BODIES_MAX: usize = 31;
