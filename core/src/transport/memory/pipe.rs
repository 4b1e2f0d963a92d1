//! One direction of a wire in memory: a bounded queue of frames with a half at each end.

use crate::protocol::Frame;
use crate::transport::{ReadError, ReadHalf, WriteHalf};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::task::coop;

/// A pipe that holds `capacity_bytes`, as its two halves.
pub(super) fn pipe(capacity_bytes: usize, wire_bytes_max: usize) -> (Writer, Reader) {
    let pipe = Arc::new(Pipe { capacity_bytes, state: Mutex::default() });
    let reader =
        Reader { pipe: Arc::clone(&pipe), wire_bytes_max, frame_bytes_max: wire_bytes_max };
    (Writer { pipe }, reader)
}

/// What a frame takes in a pipe. An empty one takes something too, or their number would have no
/// bound, and a read of nothing but empty frames would look like the end.
pub(in crate::transport) const fn cost_bytes(frame: &Frame) -> usize {
    frame.body.len() + size_of::<Frame>()
}

/// The writing half: waits while the pipe is full.
pub(super) struct Writer {
    pipe: Arc<Pipe>,
}

impl Writer {
    fn end(&self, how: Writing) {
        let mut state = self.pipe.lock();
        if state.writing == Writing::Open {
            state.writing = how;
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

impl WriteHalf for Writer {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        if batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.pipe.lock();
        state.check_writable()?;
        while let Some(frame) = batch.pop_front() {
            if !state.has_room(&frame, self.pipe.capacity_bytes) {
                batch.push_front(frame);
                register(&mut state.writer, cx);
                break;
            }
            state.push(frame);
        }
        let reader = state.reader_to_wake();
        drop(state);
        wake(reader);
        if batch.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end(Writing::Closed);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Writing::Broken);
    }
}

/// The reading half: takes all there is at once.
pub(super) struct Reader {
    pipe: Arc<Pipe>,
    /// What the wire allows, whatever the session says.
    wire_bytes_max: usize,
    frame_bytes_max: usize,
}

impl ReadHalf for Reader {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(self.wire_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        // A writer on another thread may keep the pipe full for ever; the reader's task yields
        // now and then all the same, as it does on a socket.
        let budget = ready!(coop::poll_proceed(cx));
        let mut state = self.pipe.lock();
        if state.frames.is_empty() {
            return match state.writing {
                Writing::Open => {
                    register(&mut state.reader, cx);
                    Poll::Pending
                }
                Writing::Closed => Poll::Ready(Ok(0)),
                Writing::Broken => {
                    let source = io::ErrorKind::ConnectionReset.into();
                    Poll::Ready(Err(ReadError::Io { source }))
                }
            };
        }
        budget.made_progress();
        let outcome = state.drain(self.frame_bytes_max, frames);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(outcome)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.reader_is_gone = true;
        let unread = mem::take(&mut state.frames);
        let writer = state.writer.take();
        drop(state);
        drop(unread);
        wake(writer);
    }
}

struct Pipe {
    capacity_bytes: usize,
    state: Mutex<State>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    cost_bytes: usize,
    writing: Writing,
    reader_is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    fn check_writable(&self) -> io::Result<()> {
        if self.reader_is_gone || self.writing != Writing::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// An empty pipe takes any frame: one larger than the pipe must pass too.
    fn has_room(&self, frame: &Frame, capacity_bytes: usize) -> bool {
        self.frames.is_empty() || self.cost_bytes + cost_bytes(frame) <= capacity_bytes
    }

    fn push(&mut self, frame: Frame) {
        self.cost_bytes += cost_bytes(&frame);
        self.frames.push_back(frame);
    }

    /// The reader waits only while there is nothing, so it is woken once for all that came.
    fn reader_to_wake(&mut self) -> Option<Waker> {
        if self.frames.is_empty() { None } else { self.reader.take() }
    }

    /// Moves all frames out, up to the first that is larger than allowed.
    fn drain(
        &mut self,
        frame_bytes_max: usize,
        frames: &mut Vec<Frame>,
    ) -> Result<usize, ReadError> {
        let before_bytes = self.cost_bytes;
        while let Some(frame) = self.frames.pop_front() {
            let bytes = frame.body.len();
            if bytes > frame_bytes_max {
                self.frames.push_front(frame);
                return Err(ReadError::FrameTooLarge { bytes: bytes as u64, max: frame_bytes_max });
            }
            self.cost_bytes -= cost_bytes(&frame);
            frames.push(frame);
        }
        self.frames.shrink_to(IDLE_FRAMES_MAX);
        Ok(before_bytes)
    }
}

/// How far the writing half is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writing {
    #[default]
    Open,
    /// It said that it is done.
    Closed,
    /// It went away without a word.
    Broken,
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// Called without the lock: a waker may run whatever it likes.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// How many empty places an idle pipe keeps.
const IDLE_FRAMES_MAX: usize = 4;
