//! Length-delimited frames on byte streams: what TCP, TLS and unix sockets share.
//!
//! A frame is the length of its body, as 32 bits in network order, and then the body
//! (docs/PROTOCOL.md). Reading and writing go through one buffer per thread, so that an idle
//! stream holds no memory but its halves.

use bytes::{Buf, Bytes};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{ReadError, ReadHalf, WriteHalf};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

#[cfg(test)]
mod tests;

/// The reading half over a byte stream.
///
/// Each call reads once. Whole frames leave the thread's buffer as slices of one allocation that
/// fits them; only what has arrived of a partial frame stays here.
pub(crate) struct FrameReader<R> {
    stream: R,
    /// What the wire allows, whatever the session says.
    wire_bytes_max: usize,
    frame_bytes_max: usize,
    partial: Partial,
}

impl<R> FrameReader<R> {
    /// Takes frames of up to `wire_bytes_max`.
    pub(crate) fn new(stream: R, wire_bytes_max: usize) -> Self {
        Self {
            stream,
            wire_bytes_max,
            frame_bytes_max: wire_bytes_max,
            partial: Partial::default(),
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
        let rest = self.partial.fill(rest, self.frame_bytes_max)?;
        debug_assert!(rest.is_empty(), "what follows the whole frames is less than one");
        Ok(())
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
            frames.extend(self.partial.finish());
            count
        } else {
            ready!(with_scratch(|scratch| {
                let count = ready!(poll_stream(&mut self.stream, cx, scratch))?;
                Poll::Ready(self.take(&scratch[..count], frames).map(|()| count))
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
struct Partial {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    /// Filled up to `body_filled`; what follows is zeros, room for the next read.
    body: Vec<u8>,
    body_filled: usize,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.header_filled == 0
    }

    /// Bytes of the body that are still to come; meaningful once the header is whole.
    fn missing(&self) -> usize {
        length(self.header) - self.body_filled
    }

    /// Takes what belongs to this frame and gives back what follows it.
    fn fill<'a>(&mut self, bytes: &'a [u8], max: usize) -> Result<&'a [u8], ReadError> {
        let (header, bytes) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header_filled));
        self.header[self.header_filled..][..header.len()].copy_from_slice(header);
        self.header_filled += header.len();
        if self.header_filled < HEADER_BYTES {
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
        if self.header_filled < HEADER_BYTES || self.missing() > 0 {
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
        self.header_filled == HEADER_BYTES && self.ahead() >= SCRATCH_BYTES
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
        end += HEADER_BYTES + length;
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

fn length(header: [u8; HEADER_BYTES]) -> usize {
    u32::from_be_bytes(header) as usize
}

fn poll_stream(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    Poll::Ready(Ok(room.filled().len()))
}

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

    /// Ends this direction in order.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The writing half over a byte stream: one write for a batch that fits into one.
pub(crate) struct FrameWriter<W> {
    stream: W,
    /// How much of the frame in front is written, header included.
    offset: usize,
}

impl<W> FrameWriter<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream, offset: 0 }
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
        let gathered = Gathered::new(batch, self.offset, scratch)?;
        gathered.poll_write(&mut self.stream, cx, scratch)
    }

    /// Removes the frames that are written whole.
    fn advance(&mut self, written: usize, batch: &mut VecDeque<Frame>) {
        self.offset += written;
        while let Some(front) = batch.front() {
            let whole = HEADER_BYTES + front.body.len();
            if self.offset < whole {
                break;
            }
            self.offset -= whole;
            batch.pop_front();
        }
    }
}

impl<W: WriteStream> WriteHalf for FrameWriter<W> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        with_scratch(|scratch| {
            while !batch.is_empty() {
                let written = match join_small(batch, self.offset, scratch) {
                    Some(joined) => self.stream.poll_write(cx, &[IoSlice::new(&scratch[..joined])]),
                    None => self.poll_write_gathered(cx, batch, scratch),
                };
                let written = ready!(written)?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.advance(written, batch);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

/// Joins a whole batch of small frames in the thread's buffer, which is the usual case, if it is
/// one and nothing of it was written before; says how many bytes it is.
fn join_small(batch: &VecDeque<Frame>, offset: usize, scratch: &mut [u8]) -> Option<usize> {
    if offset > 0 {
        return None;
    }
    let mut joined = 0;
    for Frame { body, .. } in batch {
        let room = scratch.get_mut(joined..joined + HEADER_BYTES + body.len())?;
        if body.len() > JOINED_BODY_BYTES_MAX {
            return None;
        }
        let (header, rest) = room.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&(body.len() as u32).to_be_bytes());
        rest.copy_from_slice(body);
        joined += HEADER_BYTES + body.len();
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
    fn new(batch: &'a VecDeque<Frame>, offset: usize, scratch: &mut [u8]) -> io::Result<Self> {
        let mut gathered = Self { joined: 0, large: [(0, &[]); LARGE_BODIES_MAX], large_count: 0 };
        let mut written = offset;
        for frame in batch {
            if !gathered.add(frame, written, scratch)? {
                break;
            }
            written = 0;
        }
        Ok(gathered)
    }

    /// Says whether the frame, without its first `written` bytes, still fitted.
    fn add(&mut self, frame: &'a Frame, written: usize, scratch: &mut [u8]) -> io::Result<bool> {
        let length = u32::try_from(frame.body.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let header = length.to_be_bytes();
        let header = &header[written.min(HEADER_BYTES)..];
        let body = &frame.body[written.saturating_sub(HEADER_BYTES)..];
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

/// Lends the thread's buffer. It is taken out meanwhile, so that whatever a waker runs in between
/// finds no borrow but, at worst, no buffer yet.
fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    // A thread that is about to end has no buffer any more, but may still have a goodbye to write.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.resize(SCRATCH_BYTES, 0);
    let result = work(&mut scratch);
    let _ = SCRATCH.try_with(|spare| spare.set(scratch));
    result
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The length before each body.
const HEADER_BYTES: usize = 4;

/// How much is read at once, and how much is joined for one write.
const SCRATCH_BYTES: usize = 64 * 1024;

/// The least room that a partial frame gets beyond what has arrived of it.
const AHEAD_BYTES_MIN: usize = 4 * 1024;

/// Bodies up to this size are cheaper to copy than to have a slice of their own.
const JOINED_BODY_BYTES_MAX: usize = 2 * 1024;

/// How many slices go out in one write: a joined run and a large body, in turn.
const SLICES_MAX: usize = 2 * LARGE_BODIES_MAX + 1;

/// How many large bodies go out in one write.
const LARGE_BODIES_MAX: usize = 31;
