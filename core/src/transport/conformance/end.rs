//! One end of a connection, with both halves side by side, each held to the port's contract.

use super::breach::Breach;
use super::log::Log;
use crate::protocol::Frame;
use crate::transport::{Capabilities, Connection, Peer, ReadError, ReadHalf, WriteHalf};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::coop;
use tokio::time::{sleep, timeout};

/// One end of a connection.
pub(super) struct End {
    pub(super) peer: Peer,
    pub(super) capabilities: Capabilities,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

impl End {
    /// `still` is how long nothing happens before it counts as waiting.
    pub(super) fn new(connection: Box<dyn Connection>, log: &Arc<Log>, still: Duration) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let (reader, writer) = connection.split();
        let reader = Reader { half: reader, log: Arc::clone(log) };
        let writer = Writer { half: writer, log: Arc::clone(log), still };
        Self { peer, capabilities, reader, writer }
    }

    pub(super) async fn write(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
    ) -> Result<(), Breach> {
        self.writer.write(&mut frames.into_iter().collect()).await
    }

    pub(super) async fn read_some(&mut self, frames: &mut Vec<Frame>) -> Result<bool, Breach> {
        self.reader.read_some(frames).await
    }

    pub(super) async fn close(&mut self) -> Result<(), Breach> {
        self.writer.close().await
    }
}

/// The half that reads.
pub(super) struct Reader {
    half: Box<dyn ReadHalf>,
    log: Arc<Log>,
}

impl Reader {
    pub(super) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.half.set_frame_bytes_max(frame_bytes_max);
    }

    /// One read, awaited. It lets others run now and then, or a wire that is always ready would
    /// keep the check's deadline from passing.
    pub(super) async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        coop::consume_budget().await;
        poll_fn(|cx| self.poll(cx, frames)).await
    }

    /// One poll by somebody who does not wait.
    pub(super) fn try_read(&mut self, frames: &mut Vec<Frame>) -> Poll<Result<usize, ReadError>> {
        self.poll(&mut Context::from_waker(Waker::noop()), frames)
    }

    /// One poll, as the wire answers it; who is pending brings nothing.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let before = frames.len();
        let read = self.half.poll_read(cx, frames);
        if read.is_pending() && frames.len() != before {
            let seen = format!("{} frames for {before}", frames.len());
            self.log.accuse(Breach::broken("no other frames by a read that is pending", seen));
        }
        read
    }

    /// One read that must not fail: whether the peer goes on.
    pub(super) async fn read_some(&mut self, frames: &mut Vec<Frame>) -> Result<bool, Breach> {
        let before = frames.len();
        let read = self.read(frames).await;
        let bytes = read.map_err(|source| Breach::Read { doing: self.log.doing(), source })?;
        if bytes == 0 && frames.len() > before {
            let seen = format!("zero bytes and {} frames", frames.len() - before);
            return Err(Breach::broken("a count of bytes with frames that came", seen));
        }
        Ok(bytes > 0)
    }

    /// As many frames, or a few more that came with the last of them.
    pub(super) async fn read_frames(&mut self, count: usize) -> Result<Vec<Frame>, Breach> {
        let mut frames = Vec::new();
        while frames.len() < count {
            if !self.read_some(&mut frames).await? {
                let expected = format!("{count} frames: {}", self.log.doing());
                let seen = format!("the end after {} of them", frames.len());
                return Err(Breach::broken(expected, seen));
            }
        }
        Ok(frames)
    }

    /// Everything up to the end of the wire, and how it ended.
    pub(super) async fn read_to_end(&mut self) -> (Vec<Frame>, Result<(), ReadError>) {
        let mut frames = Vec::new();
        loop {
            match self.read(&mut frames).await {
                Ok(0) => return (frames, Ok(())),
                Ok(_) => {}
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    /// The same, but it stops at more than `count` frames, after which there need be no end.
    /// What came is there too when it is given up.
    pub(super) async fn read_past(
        &mut self,
        count: usize,
        frames: &mut Vec<Frame>,
    ) -> Result<(), ReadError> {
        while frames.len() <= count && self.read(frames).await? > 0 {}
        Ok(())
    }

    /// Everything up to an end in order.
    pub(super) async fn read_to_good_end(&mut self) -> Result<Vec<Frame>, Breach> {
        let (frames, end) = self.read_to_end().await;
        end.map_err(|source| Breach::Read { doing: self.log.doing(), source })?;
        Ok(frames)
    }

    /// Everything up to that frame, and what comes with it.
    pub(super) async fn read_until(&mut self, last: &Frame) -> Result<Vec<Frame>, Breach> {
        let mut frames = Vec::new();
        let mut looked = 0;
        while !frames[looked..].iter().any(|frame: &Frame| frame.body == last.body) {
            looked = frames.len();
            if !self.read_some(&mut frames).await? {
                let expected = "a frame that arrives when it is written again and again";
                return Err(Breach::broken(expected, "the end"));
            }
        }
        Ok(frames)
    }
}

/// The half that writes.
pub(super) struct Writer {
    half: Box<dyn WriteHalf>,
    log: Arc<Log>,
    still: Duration,
}

impl Writer {
    /// One poll by somebody who waits, as the wire answers it.
    fn poll(&mut self, cx: &mut Context<'_>, batch: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        self.half.poll_write(cx, batch)
    }

    /// Writes the batch whole, as the wire answers it.
    pub(super) async fn try_write_all(&mut self, batch: &mut VecDeque<Frame>) -> io::Result<()> {
        coop::consume_budget().await;
        poll_fn(|cx| self.poll(cx, batch)).await
    }

    /// Writes the batch whole.
    pub(super) async fn write(&mut self, batch: &mut VecDeque<Frame>) -> Result<(), Breach> {
        let written = self.try_write_all(batch).await;
        written.map_err(|source| Breach::Write { doing: self.log.doing(), source })?;
        if batch.is_empty() {
            return Ok(());
        }
        let seen = format!("ready with {} frames left", batch.len());
        Err(Breach::broken("a write that is ready when its batch is empty", seen))
    }

    /// One poll by somebody who does not wait: whether the wire took the whole batch.
    pub(super) fn try_write(&mut self, batch: &mut VecDeque<Frame>) -> Result<bool, Breach> {
        match self.poll(&mut Context::from_waker(Waker::noop()), batch) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(source)) => Err(Breach::Write { doing: self.log.doing(), source }),
            Poll::Pending => Ok(false),
        }
    }

    /// Ends this direction in order.
    pub(super) async fn close(&mut self) -> Result<(), Breach> {
        let closed = poll_fn(|cx| self.half.poll_close(cx)).await;
        closed.map_err(|source| Breach::Write { doing: self.log.doing(), source })
    }

    /// Writes that frame again and again, for as long as somebody waits for it.
    pub(super) async fn repeat(&mut self, frame: &Frame, every: Duration) -> Breach {
        loop {
            if let Err(breach) = self.write(&mut VecDeque::from([frame.clone()])).await {
                return breach;
            }
            sleep(every).await;
        }
    }

    /// Writes batches of `many` frames until the wire takes no more, or `bytes_max` of them.
    pub(super) async fn fill(
        &mut self,
        mut frames: impl FnMut(usize) -> Frame,
        many: usize,
        bytes_max: usize,
    ) -> Result<Filled, Breach> {
        let mut filled = Filled { sent: Vec::new(), rest: VecDeque::new(), is_blocked: false };
        let mut bytes = 0;
        while bytes < bytes_max {
            for _ in 0..many {
                let frame = frames(filled.sent.len());
                bytes += frame.body.len() + size_of::<Frame>();
                filled.sent.push(frame.clone());
                filled.rest.push_back(frame);
            }
            match timeout(self.still, self.write(&mut filled.rest)).await {
                Ok(written) => written?,
                Err(_) => {
                    filled.is_blocked = true;
                    break;
                }
            }
        }
        Ok(filled)
    }

    /// The same by somebody who does not wait, a frame at a time.
    pub(super) fn try_fill(
        &mut self,
        mut frames: impl FnMut(usize) -> Frame,
        bytes_max: usize,
    ) -> Result<Filled, Breach> {
        let mut filled = Filled { sent: Vec::new(), rest: VecDeque::new(), is_blocked: false };
        let mut bytes = 0;
        while bytes < bytes_max && !filled.is_blocked {
            let frame = frames(filled.sent.len());
            bytes += frame.body.len() + size_of::<Frame>();
            filled.sent.push(frame.clone());
            filled.rest.push_back(frame);
            filled.is_blocked = !self.try_write(&mut filled.rest)?;
        }
        Ok(filled)
    }
}

/// What was written until the wire took no more.
pub(super) struct Filled {
    /// All frames, those that wait too.
    pub(super) sent: Vec<Frame>,
    /// Those that wait.
    pub(super) rest: VecDeque<Frame>,
    /// Whether the wire takes no more.
    pub(super) is_blocked: bool,
}
