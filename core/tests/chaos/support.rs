//! The ends of a connection, and what tests ask of them.

use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    Capabilities, Chaos, ChaosStats, Connection, Direction, Faults, Listener, Memory, ReadError,
    ReadHalf, Transport, WriteHalf,
};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

/// Of most tests; those that say more say which.
pub(crate) const SEED: u64 = 42;

/// Longer than any wait of these tests, on a clock that costs nothing.
const DEADLINE: Duration = Duration::from_secs(3600);

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Out, Direction::In];

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = timeout(DEADLINE, future).await.expect("in time");
    // The deadline looks once more: what nobody was woken for would seem to be done.
    assert!(began.elapsed() < DEADLINE, "nobody was woken");
    done
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets everything run that can, without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Tasks of this runtime; the test itself is none.
pub(crate) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// One end of a connection.
pub(crate) struct End {
    pub(crate) capabilities: Capabilities,
    pub(crate) reader: Box<dyn ReadHalf>,
    pub(crate) writer: Box<dyn WriteHalf>,
}

impl End {
    pub(crate) fn new(connection: Box<dyn Connection>) -> Self {
        let capabilities = connection.capabilities();
        let (reader, writer) = connection.split();
        Self { capabilities, reader, writer }
    }

    pub(crate) async fn write(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
    ) -> io::Result<()> {
        let mut batch = frames.into_iter().collect();
        within(poll_fn(|cx| self.writer.poll_write(cx, &mut batch))).await
    }

    /// One try by somebody who does not wait.
    pub(crate) fn try_write(&mut self, batch: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        self.writer.poll_write(&mut Context::from_waker(Waker::noop()), batch)
    }

    /// What is there already.
    pub(crate) fn try_read(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let _ = self.poll_read(&mut frames).map(Result::unwrap);
        frames
    }

    pub(crate) fn poll_read(&mut self, frames: &mut Vec<Frame>) -> Poll<Result<usize, ReadError>> {
        self.reader.poll_read(&mut Context::from_waker(Waker::noop()), frames)
    }

    pub(crate) async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        within(poll_fn(|cx| self.reader.poll_read(cx, frames))).await
    }

    pub(crate) async fn read_frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {frames:?}");
        }
        frames
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

    /// Each frame with the time after which it came.
    pub(crate) async fn read_with_times(&mut self, count: usize) -> Vec<(Duration, Frame)> {
        let began = Instant::now();
        let mut timed = Vec::new();
        while timed.len() < count {
            let mut frames = Vec::new();
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {timed:?}");
            timed.extend(frames.into_iter().map(|frame| (began.elapsed(), frame)));
        }
        timed
    }

    pub(crate) async fn close(&mut self) {
        within(poll_fn(|cx| self.writer.poll_close(cx))).await.unwrap();
    }
}

/// A connection: its wrapped end, and the other.
pub(crate) struct Duo {
    pub(crate) near: End,
    pub(crate) far: End,
}

impl Duo {
    /// Writer and reader of a direction.
    pub(crate) fn way(&mut self, direction: Direction) -> (&mut End, &mut End) {
        match direction {
            Direction::In => (&mut self.far, &mut self.near),
            _ => (&mut self.near, &mut self.far),
        }
    }
}

pub(crate) fn memory(name: &str) -> Memory {
    Memory::new(format!("chaos {name}"))
}

/// As much as wanted may be under way.
pub(crate) fn roomy(name: &str, seed: u64) -> Chaos<Memory> {
    Chaos::new(memory(name).capacity_bytes(1 << 30), seed).capacity_bytes(1 << 30)
}

pub(crate) async fn accept(listener: &mut Box<dyn Listener>) -> End {
    End::new(listener.accept().await.unwrap().handshake().await.unwrap())
}

/// A connection whose server is wrapped.
pub(crate) async fn duo<T: Transport>(chaos: &Chaos<T>) -> Duo {
    let mut listener = chaos.bind().await.unwrap();
    let name = chaos.endpoint().replace("mem://", "");
    let far = End::new(Memory::new(name).connect().await.unwrap());
    Duo { near: accept(&mut listener).await, far }
}

/// A fresh one for each test and direction.
pub(crate) async fn fresh(name: &str, direction: Direction) -> (Chaos<Memory>, Duo) {
    let chaos = roomy(&format!("{name} {direction:?}"), SEED);
    let duo = duo(&chaos).await;
    (chaos, duo)
}

pub(crate) fn numbered(count: u32) -> impl Iterator<Item = Frame> {
    (0..count).map(|number| Frame::ordered(number.to_be_bytes().to_vec()))
}

pub(crate) fn numbers(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| u32::from_be_bytes(frame.body[..].try_into().unwrap())).collect()
}

pub(crate) fn bytes(size: usize) -> Frame {
    Frame::ordered(vec![7; size])
}

/// What a frame weighs that is under way.
pub(crate) fn cost(body_bytes: usize) -> usize {
    body_bytes + size_of::<Frame>()
}

pub(crate) fn is_reset(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source } if source.kind() == io::ErrorKind::ConnectionReset)
}

/// What arrives of so many numbered frames, one frame a batch.
pub(crate) async fn history(
    chaos: &Chaos<Memory>,
    direction: Direction,
    faults: Faults,
    count: u32,
) -> Vec<u32> {
    let mut duo = duo(chaos).await;
    chaos.set(direction, faults);
    let (writer, reader) = duo.way(direction);
    for frame in numbered(count) {
        writer.write([frame]).await.unwrap();
    }
    writer.close().await;
    let (read, end) = reader.read_to_end().await;
    assert!(end.is_ok(), "{end:?}");
    numbers(&read)
}

/// Lost, doubled, late, corrupted and overflowed.
pub(crate) fn counts(stats: ChaosStats) -> [u64; 5] {
    [
        stats.frames_lost,
        stats.frames_doubled,
        stats.frames_late,
        stats.frames_corrupted,
        stats.frames_overflowed,
    ]
}

/// Says which direction failed, and the seed.
#[track_caller]
pub(crate) fn assert_same<T: PartialEq + Debug>(left: T, right: T, direction: Direction) {
    assert_eq!(left, right, "{direction:?}, seed {SEED}");
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
