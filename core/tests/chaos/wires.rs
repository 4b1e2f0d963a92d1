//! Inner wires that do what a test says.

use crate::support::{End, SEED, numbers};
use emitwire_core::protocol::{Codec, Frame, Native};
use emitwire_core::transport::{
    BindError, Capabilities, Chaos, ConnectError, Connection, Listener, Peer, ReadError, ReadHalf,
    Transport, WriteHalf,
};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

/// What a read brings: bytes, and the frames that they complete.
pub(crate) type Read = Result<(usize, Vec<Frame>), ReadError>;

/// A wire that hands out what the test says, whatever the limit.
pub(crate) struct Scripted {
    pub(crate) reads: VecDeque<Read>,
    pub(crate) limits: Arc<Mutex<Vec<usize>>>,
}

/// Another one than that of most wires.
pub(crate) static CODEC: LazyLock<Arc<Native>> = LazyLock::new(|| Arc::new(Native));

impl Connection for Scripted {
    fn peer(&self) -> Peer {
        Peer::new("script://")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(1000)
    }

    fn codec(&self) -> Arc<dyn Codec> {
        Arc::<Native>::clone(&CODEC)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (self, Box::new(Refusing))
    }
}

impl ReadHalf for Scripted {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.limits.lock().unwrap().push(frame_bytes_max);
    }

    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let Some(read) = self.reads.pop_front() else { return Poll::Pending };
        Poll::Ready(read.map(|(bytes, came)| {
            frames.extend(came);
            bytes
        }))
    }
}

/// A writing half that takes nothing and says why.
struct Refusing;

impl WriteHalf for Refusing {
    fn poll_write(&mut self, _: &mut Context<'_>, _: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connects once.
pub(crate) struct Once(Mutex<Option<Box<dyn Connection>>>);

#[async_trait::async_trait]
impl Transport for Once {
    fn endpoint(&self) -> String {
        String::from("script://")
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        unreachable!("it only connects")
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(self.0.lock().unwrap().take().unwrap())
    }
}

pub(crate) fn once(connection: impl Connection) -> Chaos<Once> {
    Chaos::new(Once(Mutex::new(Some(Box::new(connection)))), SEED)
}

pub(crate) async fn scripted(
    reads: impl IntoIterator<Item = Read>,
) -> (Chaos<Once>, End, Arc<Mutex<Vec<usize>>>) {
    let limits = Arc::default();
    let chaos = once(Scripted { reads: reads.into_iter().collect(), limits: Arc::clone(&limits) });
    let end = End::new(chaos.connect().await.unwrap());
    (chaos, end, limits)
}

/// A wire that takes one frame over, and is pending until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Owing(Arc<Mutex<Owed>>);

#[derive(Default)]
struct Owed {
    is_open: bool,
    is_closed: bool,
    calls: usize,
    taken: Vec<Frame>,
    written: Vec<Frame>,
    waker: Option<Waker>,
}

impl Owing {
    /// How often it was called, what it has taken over, and what it has written.
    pub(crate) fn seen(&self) -> (usize, Vec<u32>, Vec<u32>) {
        let owed = self.0.lock().unwrap();
        (owed.calls, numbers(&owed.taken), numbers(&owed.written))
    }

    pub(crate) fn open(&self) {
        let mut owed = self.0.lock().unwrap();
        owed.is_open = true;
        owed.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Whether no connection holds it any more.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap().is_closed
    }
}

impl Connection for Owing {
    fn peer(&self) -> Peer {
        Peer::new("owing://")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(1000)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (Box::new(Scripted { reads: VecDeque::new(), limits: Arc::default() }), self)
    }
}

impl WriteHalf for Owing {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let mut owed = self.0.lock().unwrap();
        let owed = &mut *owed;
        owed.calls += 1;
        if !owed.is_open {
            // As a wire does that has a copy of the frame with which it is busy.
            owed.taken.extend(if owed.taken.is_empty() { batch.pop_front() } else { None });
            owed.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        owed.written.append(&mut owed.taken);
        owed.written.extend(batch.drain(..));
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut owed = self.0.lock().unwrap();
        assert!(owed.taken.is_empty(), "closed while it still owes");
        owed.is_closed = true;
        Poll::Ready(Ok(()))
    }
}
