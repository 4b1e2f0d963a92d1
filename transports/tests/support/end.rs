//! Our end of a connection, with the two owners' halves side by side; nothing waits for ever.

use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    Capabilities, Connection, Listener, Peer, ReadError, ReadHalf, WriteHalf,
};
use std::collections::VecDeque;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::panic::Location;
use std::task::{Context, Waker};
use std::time::Duration;

pub(crate) struct End {
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    pub(crate) reader: Box<dyn ReadHalf>,
    pub(crate) writer: Box<dyn WriteHalf>,
}

impl End {
    pub(crate) fn new(connection: Box<dyn Connection>) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let (reader, writer) = connection.split();
        Self { peer, capabilities, reader, writer }
    }

    pub(crate) async fn write(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
    ) -> io::Result<()> {
        let mut batch = frames.into_iter().collect();
        within(poll_fn(|cx| self.writer.poll_write(cx, &mut batch))).await
    }

    /// Writes until the system's buffers are full; the last try is by somebody who does not wait.
    /// What is left of it is the batch, and perhaps something within the writer.
    pub(crate) async fn fill(&mut self, frame: &Frame) -> (usize, VecDeque<Frame>) {
        // The first write waits until the runtime knows that the socket can be written.
        self.write([frame.clone()]).await.unwrap();
        let mut count = 1;
        loop {
            let mut batch = VecDeque::from([frame.clone()]);
            count += 1;
            let mut cx = Context::from_waker(Waker::noop());
            if self.writer.poll_write(&mut cx, &mut batch).map(Result::unwrap).is_pending() {
                return (count, batch);
            }
        }
    }

    pub(crate) async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        within(poll_fn(|cx| self.reader.poll_read(cx, frames))).await
    }

    pub(crate) async fn read_frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {}", frames.len());
        }
        frames
    }

    /// What comes first, or that nothing does.
    #[allow(dead_code, reason = "one of the suites needs it")]
    pub(crate) async fn read_one_or_end(&mut self) -> (Vec<Frame>, Result<usize, ReadError>) {
        let mut frames = Vec::new();
        let result = self.read(&mut frames).await;
        (frames, result)
    }

    /// Everything up to the end of the wire.
    pub(crate) async fn read_to_end(&mut self) -> (Vec<Frame>, Result<(), ReadError>) {
        let mut frames = Vec::new();
        loop {
            match self.read(&mut frames).await {
                Ok(0) => return (frames, Ok(())),
                Ok(_) => {}
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    pub(crate) async fn close(&mut self) {
        within(poll_fn(|cx| self.writer.poll_close(cx))).await.unwrap();
    }
}

pub(crate) async fn accept(listener: &mut dyn Listener) -> End {
    let incoming = within(listener.accept()).await.unwrap();
    End::new(within(incoming.handshake()).await.unwrap())
}

pub(crate) fn numbered(count: u32) -> impl Iterator<Item = Frame> {
    (0..count).map(|number| Frame::ordered(number.to_be_bytes().to_vec()))
}

pub(crate) fn numbers(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| u32::from_be_bytes(frame.body[..].try_into().unwrap())).collect()
}

/// A body whose size and bytes follow from its number.
pub(crate) fn mixed(number: usize) -> Frame {
    let size = [0, 3, 70_000, 150, 2_048, 2_049, 1, 300_000, 40][number % 9] + number % 7;
    Frame::ordered((0..size).map(|at| (at * 31 + number) as u8).collect::<Vec<_>>())
}

/// Awaits with a deadline, and says where when it passes.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    let future = future.into_future();
    async move {
        let ended = tokio::time::timeout(DEADLINE, future).await;
        ended.unwrap_or_else(|_| panic!("nothing within {DEADLINE:?} at {place}"))
    }
}

const DEADLINE: Duration = Duration::from_secs(20);
