//! The writing half: frames behind their headers, and pongs and closes between them.

use super::rules::{CONTROL_BYTES_MAX, mask};
use crate::framing::{FrameWriter, Header, WriteStream};
use bytes::Bytes;
use emitwire_core::protocol::{Frame, FrameKind};
use emitwire_core::transport::WriteHalf;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The writing half in the hands of the mailbox.
pub(super) struct Writer<W: WriteStream>(pub(super) Arc<Output<W>>);

impl<W: WriteStream> WriteHalf for Writer<W> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Some(state) => state.poll_write(cx, batch),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Some(state) => state.poll_close(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<W: WriteStream> Drop for Writer<W> {
    fn drop(&mut self) {
        let state = self.0.lock().take();
        // A peer that has closed waits for the answer; it goes out if there is room for it.
        if let Some(mut state) = state.filter(|state| state.closed_by_peer) {
            let _ = state.poll_close(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// A connection's writing direction. It has two users: the mailbox writes frames, and the reading
/// half answers pings at once, because peers exist that do not wait long. Its lock is held for one
/// write that does not block.
pub(super) struct Output<W>(Mutex<Option<State<W>>>);

impl<W: WriteStream> Output<W> {
    pub(super) fn new(stream: W, role: Role) -> Self {
        let frames = match role {
            Role::Server => Frames::Bare(FrameWriter::new(stream)),
            Role::Client => {
                let writer = FrameWriter::new(stream);
                Frames::Masked(Box::new(Masked { blocks: VecDeque::new(), writer }))
            }
        };
        Self(Mutex::new(Some(State {
            frames,
            begun: None,
            between: None,
            close_code: CloseCode::Normal,
            closed_by_peer: false,
            closed: false,
        })))
    }

    /// Has a ping answered by the next [`flush`](Self::flush). When many answers wait already, it
    /// is one that gives way to a newer one (RFC 6455 §5.5.3), so that pings can neither fill this
    /// side's memory nor keep it at writing.
    pub(super) fn pong(&self, body: &[u8]) {
        if let Some(state) = self.lock().as_mut().filter(|state| !state.closed) {
            let Between { control, pong } = &mut **state.between.get_or_insert_default();
            if pong.is_none() && control.len() <= PONGS_BYTES_MAX {
                state.push_control(Control::Pong, body);
            } else {
                *pong = Some(Bytes::copy_from_slice(body));
            }
        }
    }

    /// Writes what waits between the frames; says whether nothing waits any more.
    pub(super) fn flush(&self, cx: &mut Context<'_>) -> bool {
        match &mut *self.lock() {
            // What is wrong with the wire its writer will see.
            Some(state) if state.frames.are_whole() => {
                // An encrypted stream keeps what its socket did not take at once.
                let written = state.poll_control(cx).is_ready();
                written && state.frames.stream().poll_flush(cx).is_ready()
            }
            // Whoever goes on with the frame writes it behind that.
            Some(_) | None => true,
        }
    }

    /// The peer writes no more; our own close, when it comes, repeats its code.
    pub(super) fn closed_by_peer(&self, code: CloseCode) {
        if let Some(state) = &mut *self.lock() {
            state.closed_by_peer = true;
            state.close_code = code;
        }
    }

    /// What our close will say.
    pub(super) fn close_with(&self, code: CloseCode) {
        if let Some(state) = &mut *self.lock() {
            state.close_code = code;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State<W>>> {
        // A write that panicked leaves a connection that is as broken as its writer says.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Small, because a broadcast touches it once for each member.
struct State<W> {
    frames: Frames<W>,
    /// The frame of which a part was written, for a close that comes before the rest of it.
    begun: Option<Box<Frame>>,
    between: Option<Box<Between>>,
    close_code: CloseCode,
    closed_by_peer: bool,
    /// Our close is written, or about to be: nothing follows it.
    closed: bool,
}

/// What waits to be written between two frames.
#[derive(Default)]
struct Between {
    /// What is left of the control frames that are being written.
    control: Vec<u8>,
    /// The answer to the newest ping, if many wait before it.
    pong: Option<Bytes>,
}

impl<W: WriteStream> State<W> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        if self.closed && !batch.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = self.poll_frames(cx, batch);
        self.begun = match &written {
            Poll::Pending if !self.frames.are_whole() => batch.front().cloned().map(Box::new),
            _ => None,
        };
        written
    }

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        if self.between.is_some() {
            if !self.frames.are_whole() {
                ready!(self.frames.poll_finish(cx, batch))?;
            }
            ready!(self.poll_control(cx))?;
        }
        self.frames.poll_write(cx, batch)
    }

    /// Only between two frames.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Between { control, pong }) = self.between.as_deref_mut() {
            while !control.is_empty() {
                let rest = [IoSlice::new(control)];
                let written = ready!(self.frames.stream().poll_write(cx, &rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                control.drain(..written);
            }
            match pong.take() {
                Some(body) => self.push_control(Control::Pong, &body),
                None => self.between = None,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push_control(&mut self, control: Control, body: &[u8]) {
        debug_assert!(body.len() <= CONTROL_BYTES_MAX);
        let key = self.frames.mask();
        let between = self.between.get_or_insert_default();
        push(&mut between.control, OpCode::Control(control), body, key);
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut begun: VecDeque<_> = self.begun.iter().map(|frame| (**frame).clone()).collect();
        ready!(self.frames.poll_finish(cx, &mut begun))?;
        self.begun = None;
        if !self.closed {
            ready!(self.poll_control(cx))?;
            self.closed = true;
            self.push_control(Control::Close, &u16::from(self.close_code).to_be_bytes());
        }
        ready!(self.poll_control(cx))?;
        self.frames.stream().poll_close(cx)
    }
}

/// How frames are written: as they are by a server, masked by a client (RFC 6455 §5.1).
enum Frames<W> {
    Bare(FrameWriter<W, Unmasked>),
    Masked(Box<Masked<W>>),
}

struct Masked<W> {
    /// Whole frames, with their headers and masked: what no longer is in a batch and not yet
    /// written.
    blocks: VecDeque<Frame>,
    writer: FrameWriter<W, Nothing>,
}

impl<W: WriteStream> Frames<W> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Bare(writer) => writer.poll_write(cx, batch),
            Self::Masked(masked) => loop {
                ready!(masked.writer.poll_write(cx, &mut masked.blocks))?;
                masked.blocks = VecDeque::new();
                if batch.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                masked.blocks.push_back(Frame::ordered(masked_block(batch)));
            },
        }
    }

    /// Whether something can go out in between.
    fn are_whole(&self) -> bool {
        match self {
            Self::Bare(writer) => writer.is_between_frames(),
            Self::Masked(masked) => masked.blocks.is_empty(),
        }
    }

    /// Writes the rest of what was begun.
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Bare(writer) => {
                let mut others = batch.split_off(batch.len().min(1));
                let written = writer.poll_write(cx, batch);
                batch.append(&mut others);
                written
            }
            Self::Masked(masked) => masked.writer.poll_write(cx, &mut masked.blocks),
        }
    }

    fn stream(&mut self) -> &mut W {
        match self {
            Self::Bare(writer) => writer.stream(),
            Self::Masked(masked) => masked.writer.stream(),
        }
    }

    /// A new key for each frame that is masked.
    fn mask(&self) -> Option<[u8; 4]> {
        matches!(self, Self::Masked(_)).then(rand::random)
    }
}

/// Moves frames from the front of a batch into one block, up to a bound or one frame.
fn masked_block(batch: &mut VecDeque<Frame>) -> Vec<u8> {
    let mut block = Vec::new();
    while let Some(frame) = batch.front() {
        let fits = block.len() + frame.body.len() <= MASKED_BLOCK_BYTES_MAX;
        if !block.is_empty() && !fits {
            break;
        }
        push(&mut block, opcode(frame.kind), &frame.body, Some(rand::random()));
        batch.pop_front();
    }
    block
}

/// Appends one frame.
fn push(block: &mut Vec<u8>, opcode: OpCode, body: &[u8], key: Option<[u8; 4]>) {
    let header = FrameHeader { opcode, mask: key, ..FrameHeader::default() };
    let length = body.len() as u64;
    block.reserve(header.len(length) + body.len());
    // Writing into memory does not fail.
    let _ = header.format(length, block);
    let begin = block.len();
    block.extend_from_slice(body);
    if let Some(key) = key {
        mask(&mut block[begin..], key);
    }
}

fn opcode(kind: FrameKind) -> OpCode {
    OpCode::Data(match kind {
        FrameKind::Binary => Data::Binary,
        FrameKind::Text => Data::Text,
    })
}

/// A server's header: the same for every member of a room.
struct Unmasked;

/// By hand, because it is written for each frame and each member: RFC 6455 §5.2.
impl Header for Unmasked {
    fn bytes(body_bytes: usize) -> usize {
        match body_bytes {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        }
    }

    fn write(frame: &Frame, room: &mut [u8]) -> io::Result<()> {
        let length = frame.body.len();
        let (marks, rest) = room.split_at_mut(2);
        let short = match rest.len() {
            0 => length as u8,
            2 => {
                rest.copy_from_slice(&(length as u16).to_be_bytes());
                126
            }
            _ => {
                rest.copy_from_slice(&(length as u64).to_be_bytes());
                127
            }
        };
        marks.copy_from_slice(&[WHOLE | u8::from(opcode(frame.kind)), short]);
        Ok(())
    }
}

/// Set in the first byte of a frame that is not a fragment.
const WHOLE: u8 = 0x80;

/// No header: it stands in the block already.
struct Nothing;

impl Header for Nothing {
    fn bytes(_: usize) -> usize {
        0
    }

    fn write(_: &Frame, _: &mut [u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Pongs that wait, in bytes, beyond which only the newest ping is answered.
const PONGS_BYTES_MAX: usize = 2 * 1024;

/// How much is masked ahead of its writing.
const MASKED_BLOCK_BYTES_MAX: usize = 64 * 1024;
