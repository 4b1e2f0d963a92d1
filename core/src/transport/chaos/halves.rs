//! What the wrapped end holds: it reads through a line, and writes into one.

use super::control::Control;
use super::line::Item;
use super::link::{Link, State, Writing, register, wake};
use super::outlet::Outlet;
use super::pump::Timer;
use super::settings::Pace;
use crate::protocol::{CloseCode, Frame};
use crate::transport::memory::cost_bytes;
use crate::transport::{Peer, ReadError, ReadHalf, WriteHalf};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::time::Instant;

/// The reading half. It polls the inner one itself, and only while somebody waits for frames.
pub(super) struct Reader {
    link: Arc<Link>,
    control: Arc<Control>,
    frame_bytes_max: usize,
    timer: Timer,
}

/// What a look at the incoming line shows.
enum Arrived {
    /// Frames of that many bytes, or a sign of life.
    Bytes(usize),
    End(Result<(), ReadError>),
    /// Nothing; what is under way arrives then.
    Nothing(Option<Instant>),
}

impl ReadHalf for Reader {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
        let mut state = self.link.lock();
        if let Some(half) = &mut state.read_half {
            half.set_frame_bytes_max(frame_bytes_max);
        }
        // What was too large may be none any more: the inner half is asked again.
        if let Some(Err(ReadError::FrameTooLarge { .. })) = state.incoming_end {
            state.incoming_end = None;
            state.incoming.reopen();
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        for _ in 0..READS_PER_POLL {
            let mut state = self.link.lock();
            if state.is_severed {
                let source = io::ErrorKind::ConnectionReset.into();
                return Poll::Ready(Err(ReadError::Io { source }));
            }
            let until = match state.arrive(Instant::now(), self.frame_bytes_max, frames) {
                Arrived::Bytes(bytes) => return Poll::Ready(Ok(bytes)),
                Arrived::End(end) => return Poll::Ready(end.map(|()| 0)),
                Arrived::Nothing(until) => until,
            };
            register(&mut state.reader, cx);
            let half = if state.wants_more(&self.link) { state.read_half.take() } else { None };
            drop(state);
            let came = half.is_some_and(|half| self.take_in(cx, half));
            if !came {
                ready!(self.timer.poll(cx, until));
            }
        }
        // A writer on another thread may never stop; the reader's task yields all the same.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn moved(&mut self) -> Option<Peer> {
        self.link.lock().moved.take()
    }
}

impl Reader {
    pub(super) fn new(link: Arc<Link>, control: Arc<Control>) -> Self {
        Self { link, control, frame_bytes_max: usize::MAX, timer: Timer::default() }
    }

    /// Reads once from the inner wire, and says whether anything came.
    fn take_in(&self, cx: &mut Context<'_>, mut half: Box<dyn ReadHalf>) -> bool {
        let mut frames = Vec::new();
        let read = half.poll_read(cx, &mut frames);
        let moved = half.moved();
        self.link.put_back_reader(half);
        let Poll::Ready(read) = read else { return false };
        let mut state = self.link.lock();
        let state = &mut *state;
        state.moved = moved.or(state.moved.take());
        let (line, moment) = self.link.incoming(state);
        let came_whole = !frames.is_empty();
        for frame in frames {
            line.enter(frame, &moment);
        }
        let end = match read {
            Ok(0) => Ok(()),
            Ok(bytes) => {
                if !came_whole {
                    line.enter_life(bytes, &moment);
                }
                return true;
            }
            Err(error) => Err(error),
        };
        line.end(&moment);
        state.incoming_end = Some(end);
        true
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.reader_is_gone = true;
        self.link.drop_incoming(&mut state);
        let pump = state.pump.take();
        drop(state);
        self.control.let_go(&self.link);
        wake(pump);
    }
}

impl State {
    /// Whether the inner wire is to be read. A cable that is cut brings nothing, so that the other
    /// end's frames wait with it; on a lossy wire they come and are lost.
    fn wants_more(&self, link: &Link) -> bool {
        let is_lossy = link.terms.is_lossy();
        let waits = self.settings.incoming.is_cut || !self.incoming.has_room(1, &link.terms);
        self.incoming_end.is_none() && (is_lossy || !waits)
    }

    /// Hands over what has arrived by now, as far as the reader is fast enough.
    fn arrive(&mut self, now: Instant, frame_bytes_max: usize, frames: &mut Vec<Frame>) -> Arrived {
        if self.settings.incoming.is_cut || self.is_stalled() {
            return Arrived::Nothing(None);
        }
        let mut arrived_bytes = 0;
        let next = loop {
            let Some((due, item)) = self.incoming.first() else {
                break self.incoming.next_due();
            };
            if due > now {
                break Some(due);
            }
            if let Item::Frame(frame) = item {
                let bytes = frame.body.len();
                // It may have come under a limit that holds no more.
                if bytes > frame_bytes_max && arrived_bytes == 0 {
                    let (bytes, max) = (bytes as u64, frame_bytes_max);
                    return Arrived::End(Err(ReadError::FrameTooLarge { bytes, max }));
                } else if bytes > frame_bytes_max {
                    break None;
                }
                let read_by = self.read_by(now, bytes);
                if read_by > now {
                    break Some(read_by);
                }
            }
            self.read_by = None;
            match self.incoming.pop() {
                Some(Item::Frame(frame)) => {
                    arrived_bytes += cost_bytes(&frame);
                    frames.push(frame);
                }
                Some(Item::Life(bytes)) => arrived_bytes += bytes,
                None => {}
            }
        };
        if arrived_bytes > 0 {
            return Arrived::Bytes(arrived_bytes);
        }
        if self.incoming.has_ended(now) {
            if let Some(end) = self.incoming_end.take() {
                // Whoever reads on asks the inner half, which knows.
                self.incoming.reopen();
                return Arrived::End(end);
            }
        }
        Arrived::Nothing(next)
    }

    /// When a reader of this pace will have read the frame in front.
    fn read_by(&mut self, now: Instant, bytes: usize) -> Instant {
        let Pace::BytesPerSecond(rate) = self.settings.pace else { return now };
        let read = &mut self.read;
        *self.read_by.get_or_insert_with(|| read.take(now, bytes, rate))
    }
}

/// The writing half: what it takes is under way, and the pump's.
pub(super) struct Writer {
    link: Arc<Link>,
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
        let mut guard = self.link.lock();
        let state = &mut *guard;
        state.check_writable()?;
        let due_before = state.outgoing.next_due();
        let mut outcome = Poll::Ready(Ok(()));
        while let Some(frame) = batch.pop_front() {
            let (line, moment) = self.link.outgoing(state);
            let terms = moment.terms;
            if !terms.takes(&frame) {
                batch.push_front(frame);
                outcome = Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
                break;
            }
            if !terms.is_lossy() && !line.has_room(cost_bytes(&frame), terms) {
                batch.push_front(frame);
                register(&mut state.writer, cx);
                outcome = Poll::Pending;
                break;
            }
            line.enter(frame, &moment);
        }
        // The pump knows when to look again, unless something comes before that.
        let is_news = state.outgoing.next_due() != due_before;
        let pump = if is_news { state.pump.take() } else { None };
        drop(guard);
        wake(pump);
        outcome
    }

    fn take_dropped(&mut self) -> u64 {
        self.link.lock().outlet.as_mut().map_or(0, Outlet::take_dropped)
    }

    fn goodbye(&mut self, code: CloseCode) {
        self.link.lock().goodbye = Some(code);
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.link.lock();
        if state.is_severed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let pump = self.end(&mut state, Writing::Closed);
        drop(state);
        wake(pump);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.writer_is_gone = true;
        let pump = self.end(&mut state, Writing::Broken);
        // Written behind a failure that a cut hid.
        if state.pump_is_gone {
            self.link.drop_outgoing(&mut state);
        }
        drop(state);
        wake(pump);
    }
}

impl Writer {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Ends the direction, and says whom to wake for it.
    fn end(&self, state: &mut State, how: Writing) -> Option<Waker> {
        if state.writing == Writing::Open {
            state.writing = how;
            let (line, moment) = self.link.outgoing(state);
            line.end(&moment);
        }
        state.pump.take()
    }
}

impl State {
    fn check_writable(&mut self) -> io::Result<()> {
        if self.is_severed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.writing != Writing::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match &mut self.failed {
            // Nobody could have said so: the way back is cut.
            Some(_) if self.settings.incoming.is_cut => Ok(()),
            Some(error) => Err(mem::replace(error, io::ErrorKind::BrokenPipe.into())),
            None => Ok(()),
        }
    }
}

/// Reads of the inner wire in a row before the task has to yield.
const READS_PER_POLL: usize = 16;
