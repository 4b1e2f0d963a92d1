//! The wire in memory with one fault.

use async_trait::async_trait;
use bytes::Bytes;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    BindError, Capabilities, ConnectError, Connection, HandshakeError, Incoming, Listener, Memory,
    Peer, ReadError, ReadHalf, Transport, WriteHalf,
};
use std::collections::VecDeque;
use std::fs::File;
use std::future::{pending, poll_fn};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use tokio::task::yield_now;

/// What is wrong with a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    AcceptLosesPeers,
    AllocatesFirst,
    BindKeeps,
    BindsTwice,
    BlocksTheThread,
    Busy,
    ClosesBoth,
    ConnectKeeps,
    DeclaresLess,
    DeclaresMore,
    DeclaresTwice,
    Doubles,
    DropsBlocked,
    DropsLast,
    EndsSilently,
    EndsWhenIdle,
    FailsToCloseLast,
    FewAtOnce,
    HandshakeKeeps,
    IgnoresLimit,
    KeepsConnections,
    KeepsFirstWaker,
    LeaksDescriptors,
    LeaksMemory,
    LeaksTasks,
    LeavesFrames,
    NamesAnother,
    NeverFrees,
    NeverWaits,
    OneLock,
    OneThread,
    OneWaker,
    OneWay,
    PanicsOnEmpty,
    PendingWithFrames,
    ReadKeepsFirstWaker,
    RefusesSilently,
    Reorders,
    ShakesHandsInAccept,
    TakesOver,
    Truncates,
    TruncatesDatagrams,
    WaitsForNobody,
    WritesToNobody,
}

/// The largest frame of these wires, and of what is asked of them.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many connections live on a wire on which no more than a few can, and how many are few.
static LIVE: AtomicUsize = AtomicUsize::new(0);
const FEW: usize = 20;

/// What a fault keeps that it should have let go. Nobody ever looks into it.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

#[allow(dead_code, reason = "what is kept is kept for nothing")]
enum Kept {
    Connection(Box<dyn Connection>),
    Halves(Box<dyn ReadHalf>, Box<dyn WriteHalf>),
    Listener(Box<dyn Listener>),
    Memory(Vec<u8>),
    Descriptor(File),
}

fn keep(kept: Kept) -> usize {
    let mut all = KEPT.lock().unwrap();
    all.push(kept);
    all.len() - 1
}

/// A wire in memory with a fault.
pub(crate) struct Broken {
    wire: Memory,
    fault: Fault,
}

impl Broken {
    /// One that binds a name of its own.
    pub(crate) fn fresh(fault: Fault) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::at(&format!("mem://broken-{number}"), fault)
    }

    pub(crate) fn at(endpoint: &str, fault: Fault) -> Self {
        let mut wire = Memory::new(endpoint.strip_prefix("mem://").unwrap());
        if fault == Fault::NeverWaits {
            wire = wire.capacity_bytes(usize::MAX);
        }
        Self { wire, fault }
    }
}

#[async_trait]
impl Transport for Broken {
    fn endpoint(&self) -> String {
        self.wire.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        let bound = match self.wire.bind().await {
            Err(BindError::InUse { .. }) if self.fault == Fault::BindsTwice => {
                return Self::fresh(self.fault).bind().await;
            }
            bound => bound?,
        };
        let listener = if self.fault == Fault::BindKeeps {
            let mut kept = KeptWhileWaiting(Some(bound));
            yield_now().await;
            kept.0.take().unwrap()
        } else {
            bound
        };
        Ok(Box::new(BrokenListener { listener: Some(listener), fault: self.fault }))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let connected = match self.wire.connect().await {
            Err(_) if self.fault == Fault::WaitsForNobody => pending().await,
            connected => connected?,
        };
        let connection = match self.fault {
            Fault::ConnectKeeps => kept_meanwhile(connected).await,
            Fault::ShakesHandsInAccept => {
                yield_now().await;
                said_hello(connected).await
            }
            _ => connected,
        };
        Ok(BrokenConnection::boxed(connection, self.fault, true))
    }
}

/// What happens to a listener when the bind that made it is given up: it stays.
struct KeptWhileWaiting(Option<Box<dyn Listener>>);

impl Drop for KeptWhileWaiting {
    fn drop(&mut self) {
        if let Some(listener) = self.0.take() {
            keep(Kept::Listener(listener));
        }
    }
}

/// Lets go of a connection only if nobody gives up meanwhile.
async fn kept_meanwhile(connection: Box<dyn Connection>) -> Box<dyn Connection> {
    let place = keep(Kept::Connection(connection));
    yield_now().await;
    let kept = mem::replace(&mut KEPT.lock().unwrap()[place], Kept::Memory(Vec::new()));
    let Kept::Connection(connection) = kept else { unreachable!("it was put there") };
    connection
}

/// A handshake in which a peer can be silent.
async fn said_hello(connection: Box<dyn Connection>) -> Box<dyn Connection> {
    let whole = Whole::new(connection);
    let Whole { peer, capabilities, reader, mut writer } = whole;
    let mut hello = VecDeque::from([Frame::ordered("hello")]);
    poll_fn(|cx| writer.poll_write(cx, &mut hello)).await.unwrap();
    Box::new(Whole { peer, capabilities, reader, writer })
}

async fn heard_hello(connection: Box<dyn Connection>) -> Box<dyn Connection> {
    let mut whole = Whole::new(connection);
    let mut frames = Vec::new();
    let read = poll_fn(|cx| whole.reader.poll_read(cx, &mut frames)).await;
    // Who went away without a word is found to be gone by whoever reads next.
    assert!(read.is_err() || frames.len() == 1, "nobody says more than hello yet");
    Box::new(whole)
}

/// A connection that was taken apart.
struct Whole {
    peer: Peer,
    capabilities: Capabilities,
    reader: Box<dyn ReadHalf>,
    writer: Box<dyn WriteHalf>,
}

impl Whole {
    fn new(connection: Box<dyn Connection>) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let (reader, writer) = connection.split();
        Self { peer, capabilities, reader, writer }
    }
}

impl Connection for Whole {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (self.reader, self.writer)
    }
}

struct BrokenListener {
    listener: Option<Box<dyn Listener>>,
    fault: Fault,
}

#[async_trait]
impl Listener for BrokenListener {
    fn endpoint(&self) -> String {
        self.listener.as_ref().unwrap().endpoint()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let mut incoming = self.listener.as_mut().unwrap().accept().await?;
        match self.fault {
            Fault::AcceptLosesPeers => yield_now().await,
            Fault::ShakesHandsInAccept => {
                let connection = heard_hello(incoming.handshake().await.unwrap()).await;
                incoming = Box::new(Arrived(connection));
            }
            _ => {}
        }
        Ok(Box::new(BrokenIncoming { incoming, fault: self.fault }))
    }
}

impl Drop for BrokenListener {
    fn drop(&mut self) {
        if self.fault == Fault::NeverFrees {
            keep(Kept::Listener(self.listener.take().unwrap()));
        }
    }
}

struct Arrived(Box<dyn Connection>);

#[async_trait]
impl Incoming for Arrived {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        Ok(self.0)
    }
}

struct BrokenIncoming {
    incoming: Box<dyn Incoming>,
    fault: Fault,
}

#[async_trait]
impl Incoming for BrokenIncoming {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        let mut connection = self.incoming.handshake().await?;
        if self.fault == Fault::HandshakeKeeps {
            connection = kept_meanwhile(connection).await;
        }
        Ok(BrokenConnection::boxed(connection, self.fault, false))
    }
}

struct BrokenConnection {
    connection: Box<dyn Connection>,
    fault: Fault,
    is_client: bool,
}

impl BrokenConnection {
    fn boxed(
        connection: Box<dyn Connection>,
        fault: Fault,
        is_client: bool,
    ) -> Box<dyn Connection> {
        match fault {
            Fault::LeaksMemory => {
                keep(Kept::Memory(vec![1; 1000]));
            }
            Fault::LeaksTasks => {
                tokio::spawn(pending::<()>());
            }
            Fault::FewAtOnce if !is_client => {
                LIVE.fetch_add(1, Ordering::Relaxed);
            }
            Fault::LeaksDescriptors => {
                keep(Kept::Descriptor(File::open("/dev/null").unwrap()));
            }
            _ => {}
        }
        Box::new(Self { connection, fault, is_client })
    }
}

impl Connection for BrokenConnection {
    fn peer(&self) -> Peer {
        match self.fault {
            Fault::NamesAnother => Peer::new("elsewhere://"),
            _ => self.connection.peer(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut declared = self.connection.capabilities();
        declared.frame_bytes_max = FRAME_BYTES_MAX;
        match self.fault {
            Fault::DeclaresLess => declared.ordered = false,
            Fault::DeclaresMore => declared.frame_bytes_max += 1,
            Fault::FailsToCloseLast => declared.half_close = false,
            Fault::DeclaresTwice => declared.encrypted = self.is_client,
            Fault::TruncatesDatagrams => return Capabilities::datagrams(1200),
            _ => {}
        }
        declared
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let fault = self.fault;
        let (mut reader, writer) = self.connection.split();
        reader.set_frame_bytes_max(FRAME_BYTES_MAX);
        let state = Arc::new(State::default());
        let reader = BrokenReader {
            half: Some(reader),
            fault,
            state: Arc::clone(&state),
            is_client: self.is_client,
            home: thread::current().id(),
            waker: None,
        };
        let is_mute = fault == Fault::OneWay && !self.is_client;
        let taken = VecDeque::new();
        let writer = BrokenWriter { half: Some(writer), fault, state, waker: None, taken, is_mute };
        (Box::new(reader), Box::new(writer))
    }
}

/// What the halves of an end know of each other, where a fault makes them.
#[derive(Default)]
struct State {
    writing_is_blocked: AtomicBool,
    writing_is_closed: AtomicBool,
    reading_has_ended: AtomicBool,
    /// The waker of whoever polled last, reading or writing.
    slot: Arc<Slot>,
    /// The half that went first, where neither is to go.
    kept: Mutex<Halves>,
}

/// One waker for both halves.
#[derive(Default)]
struct Slot(Mutex<Option<Waker>>);

impl Slot {
    /// A waker that wakes whoever is in the slot by then.
    fn put(self: &Arc<Self>, cx: &Context<'_>) -> Waker {
        *self.0.lock().unwrap() = Some(cx.waker().clone());
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

type Halves = (Option<Box<dyn ReadHalf>>, Option<Box<dyn WriteHalf>>);

struct BrokenReader {
    half: Option<Box<dyn ReadHalf>>,
    fault: Fault,
    state: Arc<State>,
    is_client: bool,
    /// The thread on which the connection was split.
    home: ThreadId,
    waker: Option<Waker>,
}

impl BrokenReader {
    fn half(&mut self) -> &mut dyn ReadHalf {
        &mut **self.half.as_mut().unwrap()
    }

    /// Polls with the waker that the fault has for it.
    fn poll_half(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let waker = match self.fault {
            Fault::OneWaker => self.state.slot.put(cx),
            Fault::ReadKeepsFirstWaker => self.waker.take().unwrap_or_else(|| cx.waker().clone()),
            _ => cx.waker().clone(),
        };
        let read = self.half().poll_read(&mut Context::from_waker(&waker), frames);
        if read.is_pending() {
            self.waker = Some(waker);
        }
        read
    }

    fn spoil(&mut self, frames: &mut [Frame]) {
        let cut = |frame: &mut Frame, max: usize| frame.body.truncate(max);
        match self.fault {
            Fault::Reorders if frames.len() > 1 => frames.swap(0, 1),
            Fault::Truncates => frames.iter_mut().for_each(|frame| cut(frame, 65_536)),
            Fault::TruncatesDatagrams => frames.iter_mut().for_each(|frame| cut(frame, 100)),
            _ => {}
        }
    }
}

impl ReadHalf for BrokenReader {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        if self.fault != Fault::IgnoresLimit {
            self.half().set_frame_bytes_max(frame_bytes_max);
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match self.fault {
            Fault::OneLock if is(&self.state.writing_is_blocked) => return Poll::Pending,
            Fault::OneThread if thread::current().id() != self.home => return Poll::Pending,
            Fault::FewAtOnce if !self.is_client && LIVE.load(Ordering::Relaxed) > FEW => {
                return Poll::Ready(Ok(0));
            }
            Fault::ClosesBoth if is(&self.state.writing_is_closed) => return Poll::Ready(Ok(0)),
            _ => {}
        }
        let before = frames.len();
        let read = self.poll_half(cx, frames);
        self.spoil(&mut frames[before..]);
        match (self.fault, &read) {
            (Fault::EndsWhenIdle, Poll::Pending) => return Poll::Ready(Ok(0)),
            (Fault::Busy, Poll::Pending) => return Poll::Ready(Ok(1)),
            (Fault::BlocksTheThread, Poll::Pending) => loop {
                thread::park();
            },
            (Fault::PendingWithFrames, Poll::Ready(Ok(1..))) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            (Fault::RefusesSilently, Poll::Ready(Err(ReadError::FrameTooLarge { .. })))
            | (Fault::EndsSilently, Poll::Ready(Err(ReadError::Io { .. }))) => {
                return Poll::Ready(Ok(0));
            }
            (Fault::FailsToCloseLast, Poll::Ready(Ok(0))) => {
                self.state.reading_has_ended.store(true, Ordering::Relaxed);
            }
            (Fault::Doubles, _) if frames.len() > before + 10 => {
                frames.insert(before + 5, frames[before + 5].clone());
            }
            (Fault::DropsLast, Poll::Ready(Ok(1..))) => {
                if let Poll::Ready(Ok(0)) = self.half().poll_read(cx, frames) {
                    frames.pop();
                }
            }
            (Fault::AllocatesFirst, Poll::Ready(Err(ReadError::FrameTooLarge { bytes, .. }))) => {
                drop(Bytes::from(vec![1; *bytes as usize]))
            }
            _ => {}
        }
        read
    }
}

impl Drop for BrokenReader {
    fn drop(&mut self) {
        if self.fault == Fault::FewAtOnce && !self.is_client {
            LIVE.fetch_sub(1, Ordering::Relaxed);
        }
        let mut kept = self.state.kept.lock().unwrap();
        kept.0 = self.half.take();
        keep_both(self.fault, &mut kept);
    }
}

/// Once both halves are gone.
fn keep_both(fault: Fault, kept: &mut Halves) {
    if let (Fault::KeepsConnections, true, true) = (fault, kept.0.is_some(), kept.1.is_some()) {
        keep(Kept::Halves(kept.0.take().unwrap(), kept.1.take().unwrap()));
    }
}

struct BrokenWriter {
    half: Option<Box<dyn WriteHalf>>,
    fault: Fault,
    state: Arc<State>,
    waker: Option<Waker>,
    /// What was taken over and is not written.
    taken: VecDeque<Frame>,
    /// Whether nothing is ever written.
    is_mute: bool,
}

impl BrokenWriter {
    fn half(&mut self) -> &mut dyn WriteHalf {
        &mut **self.half.as_mut().unwrap()
    }
}

impl WriteHalf for BrokenWriter {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let has_empty = batch.iter().any(|frame| frame.body.is_empty());
        assert!(self.fault != Fault::PanicsOnEmpty || !has_empty, "an empty frame");
        if self.fault == Fault::LeavesFrames && batch.len() > 1 {
            let mut first = batch.drain(..1).collect();
            return self.half().poll_write(cx, &mut first);
        }
        if self.is_mute {
            batch.clear();
            return Poll::Ready(Ok(()));
        }
        if self.fault == Fault::TakesOver {
            if batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.taken.append(batch);
            let half = &mut **self.half.as_mut().unwrap();
            return half.poll_write(cx, &mut self.taken);
        }
        if self.fault == Fault::OneWaker {
            let waker = self.state.slot.put(cx);
            return self.half().poll_write(&mut Context::from_waker(&waker), batch);
        }
        let waker = self.waker.take().unwrap_or_else(|| cx.waker().clone());
        let first = self.fault == Fault::KeepsFirstWaker;
        let mut with_first = Context::from_waker(if first { &waker } else { cx.waker() });
        let written = self.half().poll_write(&mut with_first, batch);
        self.state.writing_is_blocked.store(written.is_pending(), Ordering::Relaxed);
        match (self.fault, &written) {
            (Fault::KeepsFirstWaker, Poll::Pending) => self.waker = Some(waker),
            (Fault::DropsBlocked, Poll::Pending) => {
                batch.pop_front();
            }
            (Fault::WritesToNobody, Poll::Ready(Err(_))) => {
                batch.clear();
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        written
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.writing_is_closed.store(true, Ordering::Relaxed);
        let closed = self.half().poll_close(cx);
        if self.state.reading_has_ended.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        closed
    }
}

impl Drop for BrokenWriter {
    fn drop(&mut self) {
        let mut kept = self.state.kept.lock().unwrap();
        kept.1 = self.half.take();
        keep_both(self.fault, &mut kept);
    }
}
