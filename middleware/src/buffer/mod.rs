//! `Buffer`: keeps events until the peer has them, across sessions.

mod queue;
mod worker;

use self::queue::{Full, Queue};
use crate::Call;
use emitwire_core::protocol::{Event, Nak, ProducerId, SocketId};
use emitwire_core::socket::{
    Ack, AckError, BoxError, Envelope, EventService, Layers, Level, Socket, Stack, boxed,
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Keeps events until the peer's session has them; what a session takes with it goes out on the
/// next one, in order, under the same ids.
///
/// A plain `emit(..).await` is ready when the event is here: from then on it is this layer's, also
/// when the emit is dropped. An emit that waits for more is ready when that has come, over as many
/// sessions as it takes. Events go out as they come, without waiting for each other's receipts, in
/// the order of their emits, those that were kept first. Also a socket that has ended can be
/// emitted to: its events are for the one that comes after it.
///
/// On a client the next session is the client's own. A server does not know that the peer of a new
/// session is one that it has had before: say so by [`for_peers`](Self::for_peers); without that
/// events of a server pass as they are, and so do broadcasts.
///
/// What was written in the session that ended may have been handled there: it is in doubt, and
/// comes again. With a [`Dedup`](crate::Dedup) at the other end it is handled once, if that process
/// still lives and its horizon is no shorter than the [time to live](Self::ttl) here.
///
/// It has to hear of sockets that begin and end: so add it by `layers(buffer)`, not as a layer
/// alone.
///
/// An event that is let go of without having been handled is told: to its emit, if that still
/// waits, and else to [`on_undelivered`](Self::on_undelivered). What the peer has refused it has
/// received: that is not sent again, and is told too.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// use emitwire_middleware::{Buffer, Overflow};
/// use std::time::Duration;
///
/// let buffer = Buffer::new()
///     .events_max(1_000)
///     .overflow(Overflow::DropOldest)
///     .ttl(Duration::from_secs(600))
///     .on_undelivered(|it| println!("{} was not sent: {}", it.event.name, it.error));
/// let sensors = Namespace::new("/sensors").layers(buffer);
/// ```
///
/// # Errors
/// [`BufferError`], and those of what is inside it.
///
/// # Cancel safety
/// An emit that waits for room is withdrawn when it is dropped; one that has it is not.
#[derive(Clone)]
pub struct Buffer {
    terms: Terms,
    peer: Option<PeerOf>,
    shared: Arc<Shared>,
}

/// Names the peer of a socket.
type PeerOf = Arc<dyn Fn(&Socket) -> Option<Box<[u8]>> + Send + Sync>;
type TtlOf = Arc<dyn Fn(&Event) -> Option<Duration> + Send + Sync>;
type OnUndelivered = Arc<dyn Fn(&Undelivered) + Send + Sync>;

/// What it keeps, and for how long.
#[derive(Clone)]
struct Terms {
    events_max: usize,
    bytes_max: usize,
    peers_max: usize,
    overflow: Overflow,
    wait_max: Duration,
    ttl: Duration,
    ttl_of: Option<TtlOf>,
    on_undelivered: Option<OnUndelivered>,
}

/// What becomes of an event for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Its emit waits, for [`Buffer::wait_max`], in the order of asking.
    #[default]
    Block,
    /// Its emit fails at once.
    Reject,
    /// The oldest makes way for it: for what is worth less when it is old.
    DropOldest,
    /// It is dropped, and its plain emit does not fail: it counts, and `on_undelivered` is told.
    DropNewest,
}

/// Why a [`Buffer`] does not send an event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BufferError {
    /// There was no room. Another attempt may find some.
    #[error("the buffer is full; waited for {waited:?}")]
    Full {
        /// How long it waited.
        waited: Duration,
        /// What can be done about it.
        #[source]
        busy: Nak,
    },
    /// It made way for a newer one.
    #[error("it made way for a newer event")]
    Evicted,
    /// It was here for as long as it may be, without having been received.
    #[error("it was not received within {after:?}")]
    Expired {
        /// Its time to live.
        after: Duration,
    },
    /// The runtime that was to send it has ended.
    #[error("there is nobody left to send it")]
    Stopped,
    /// Events for more peers are kept than there may be.
    #[error("events for {max} peers are kept already")]
    TooManyPeers {
        /// The limit, [`Buffer::peers_max`].
        max: usize,
    },
}

impl BufferError {
    fn full(waited: Duration) -> Self {
        Self::Full { waited, busy: Nak::Busy { retry_after: Duration::ZERO } }
    }
}

/// An event that a [`Buffer`] has let go of, and that came to nothing, as far as it knows: the peer
/// has not received it, or has refused it, and no emit waits for it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The event.
    pub event: Event,
    /// Why: a [`BufferError`], or an error of what is inside, the peer's refusal among these.
    pub error: Arc<BoxError>,
}

/// What a [`Buffer`] has done so far, and what it keeps; its clones count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferStats {
    /// Events that are kept now.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Peers for which some are.
    pub peers: usize,
    /// Events that the peer has, refused ones among them.
    pub received: u64,
    /// Events that went out again on another session, or on the same one after a while.
    pub resent: u64,
    /// Events that were let go of without having been received, or that were refused, and whose
    /// emits did not wait for them.
    pub undelivered: u64,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<HashMap<Peer, Weak<Queue>>>,
    peers: Mutex<Peers>,
    received: AtomicU64,
    resent: AtomicU64,
    undelivered: AtomicU64,
}

/// Who is who.
#[derive(Default)]
struct Peers {
    /// The sockets that peers have now, the newest last.
    sockets: HashMap<Peer, Vec<(Socket, Handle)>>,
    /// Where the newest socket of all lives.
    runtime: Option<Handle>,
    /// Whose each socket is, and those of them that have ended: what its peer was known by has
    /// ended with it, and somebody may emit to it yet.
    names: HashMap<Place, Peer>,
    ended: VecDeque<Place>,
}

/// One end of a socket: both may be in one process, and have its id.
type Place = (ProducerId, SocketId);

fn place(socket: &Socket) -> Place {
    (socket.producer(), socket.id())
}

/// Whose events are in one queue.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Peer {
    /// The client or server whose peer it is: the layer may stand around several.
    of: ProducerId,
    namespace: Box<str>,
    name: Box<[u8]>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffer {
    /// Up to 10,000 events and 16 MiB for each peer, for two minutes; then emits wait for room, for
    /// 5 s.
    #[must_use]
    pub fn new() -> Self {
        let terms = Terms {
            events_max: 10_000,
            bytes_max: 16 * 1024 * 1024,
            peers_max: 10_000,
            overflow: Overflow::default(),
            wait_max: Duration::from_secs(5),
            ttl: Duration::from_secs(120),
            ttl_of: None,
            on_undelivered: None,
        };
        Self { terms, peer: None, shared: Arc::default() }
    }

    /// On a server: names the peer of a socket, such as by what `authorize` has kept with it, so
    /// that events for it go on to its next session. Of `None` they pass as they are. Who has
    /// several sockets at a time gets what was for one of them that has ended on the newest.
    ///
    /// ```
    /// # use emitwire_middleware::Buffer;
    /// struct User(u64);
    ///
    /// let buffer = Buffer::new()
    ///     .for_peers(|socket| Some(socket.data::<User>()?.0.to_be_bytes().to_vec()));
    /// ```
    #[must_use]
    pub fn for_peers(
        mut self,
        name: impl Fn(&Socket) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.peer = Some(Arc::new(move |socket| name(socket).map(Into::into)));
        self
    }

    /// Events that are kept for a peer.
    #[must_use]
    pub fn events_max(mut self, events: usize) -> Self {
        self.terms.events_max = events;
        self
    }

    /// Bytes of names and payloads that are kept for a peer. A single event may be larger.
    #[must_use]
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.terms.bytes_max = bytes;
        self
    }

    /// Peers for which events are kept; one that is in several namespaces counts in each of them.
    #[must_use]
    pub fn peers_max(mut self, peers: usize) -> Self {
        self.terms.peers_max = peers;
        self
    }

    /// What becomes of an event for which there is no room.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.terms.overflow = overflow;
        self
    }

    /// How long an emit waits for room with [`Overflow::Block`].
    #[must_use]
    pub fn wait_max(mut self, longest: Duration) -> Self {
        self.terms.wait_max = longest;
        self
    }

    /// How long after its emit an event is given up that was not received.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// The time to live of each event; of `None` it is [`Buffer::ttl`].
    #[must_use]
    pub fn ttl_of(
        mut self,
        ttl: impl Fn(&Event) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.terms.ttl_of = Some(Arc::new(ttl));
        self
    }

    /// Sets who is told of events that came to nothing: see [`Undelivered`]. Without it they are
    /// logged. It is called in place, so it must not wait.
    #[must_use]
    pub fn on_undelivered(mut self, tell: impl Fn(&Undelivered) + Send + Sync + 'static) -> Self {
        self.terms.on_undelivered = Some(Arc::new(tell));
        self
    }

    /// What it has done so far, and what it keeps.
    #[must_use]
    pub fn stats(&self) -> BufferStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { received, resent, undelivered, .. } = &*self.shared;
        let (received, resent, undelivered) = (count(received), count(resent), count(undelivered));
        let mut stats = BufferStats { received, resent, undelivered, ..BufferStats::default() };
        let queues: Vec<_> = self.shared.queues().values().filter_map(Weak::upgrade).collect();
        for queue in queues {
            let (events, bytes) = queue.size();
            (stats.events, stats.bytes) = (stats.events + events, stats.bytes + bytes);
            stats.peers += usize::from(events > 0);
        }
        stats
    }

    /// Whose queue the events of a socket are in, if they are kept.
    fn peer_of(&self, socket: &Socket) -> Option<Peer> {
        if let Some(known) = self.shared.peers().names.get(&place(socket)) {
            return Some(known.clone());
        }
        let name = match (&self.peer, socket.is_served()) {
            (Some(peer), _) => peer(socket)?,
            (None, true) => return None,
            (None, false) => Box::default(),
        };
        let (of, namespace) = (socket.producer(), socket.namespace().into());
        Some(Peer { of, namespace, name })
    }

    /// A socket has begun: what is kept for its peer goes out there.
    fn begin(&self, socket: &Socket) {
        let Some(peer) = self.peer_of(socket) else { return };
        let runtime = Handle::current();
        let mut peers = self.shared.peers();
        peers.names.insert(place(socket), peer.clone());
        peers.runtime = Some(runtime.clone());
        peers.sockets.entry(peer.clone()).or_default().push((socket.clone(), runtime));
        drop(peers);
        let queue = self.shared.queues().get(&peer).and_then(Weak::upgrade);
        if let Some(queue) = queue {
            queue.begin();
        }
    }

    /// A socket has ended.
    fn end(&self, socket: &Socket) {
        let Some(peer) = self.peer_of(socket) else { return };
        let mut peers = self.shared.peers();
        if let Some(known) = peers.sockets.get_mut(&peer) {
            known.retain(|(it, _)| it.id() != socket.id());
            if known.is_empty() {
                peers.sockets.remove(&peer);
            }
        }
        if peers.names.contains_key(&place(socket)) {
            peers.ended.push_back(place(socket));
        }
        if peers.ended.len() > self.terms.peers_max {
            if let Some(oldest) = peers.ended.pop_front() {
                peers.names.remove(&oldest);
            }
        }
    }

    /// The queue of a peer, made if there is none.
    fn queue(&self, peer: Peer) -> Result<Arc<Queue>, BufferError> {
        let mut queues = self.shared.queues();
        if let Some(queue) = queues.get(&peer).and_then(Weak::upgrade) {
            return Ok(queue);
        }
        let max = self.terms.peers_max;
        if queues.len() >= max {
            queues.retain(|_, queue| queue.strong_count() > 0);
        }
        if queues.len() >= max {
            return Err(BufferError::TooManyPeers { max });
        }
        let (terms, shared) = (self.terms.clone(), Arc::clone(&self.shared));
        let queue = Arc::new(Queue::new(peer.clone(), terms, shared));
        queues.insert(peer, Arc::downgrade(&queue));
        Ok(queue)
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<Peer, Weak<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest socket of a peer, if it has one.
    fn newest(&self, peer: &Peer) -> Option<Socket> {
        let peers = self.peers();
        let live = |(socket, _): &&(Socket, _)| socket.ended().is_none();
        peers.sockets.get(peer)?.iter().rev().find(live).map(|(socket, _)| socket.clone())
    }

    /// Where to work for a peer: where its sockets live, for whoever emits may do so from anywhere.
    fn runtime(&self, peer: &Peer) -> Option<Handle> {
        let peers = self.peers();
        let own = peers.sockets.get(peer).and_then(|sockets| sockets.last());
        own.map(|(_, runtime)| runtime).or(peers.runtime.as_ref()).cloned()
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Around emitting, and told of sockets that begin and end.
impl From<Buffer> for Layers {
    fn from(layer: Buffer) -> Self {
        let (begins, ends) = (layer.clone(), layer.clone());
        Self::new()
            .outbound(layer)
            .on_begin(move |socket| begins.begin(socket))
            .on_end(move |socket| ends.end(socket))
    }
}

impl<S: EventService> Layer<S> for Buffer {
    type Service = BufferService;

    fn layer(&self, inner: S) -> Self::Service {
        BufferService { inner: boxed(inner), buffer: self.clone() }
    }
}

/// The service of [`Buffer`].
#[derive(Clone)]
pub struct BufferService {
    inner: Stack,
    buffer: Buffer,
}

impl Service<Envelope> for BufferService {
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    /// Always ready: it is what waits for what is inside.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        let socket = envelope.socket().filter(|_| envelope.is_outbound());
        let peer = socket.and_then(|socket| self.buffer.peer_of(socket));
        let inner = self.inner.clone();
        let Some(peer) = peer else {
            return Box::pin(tower::ServiceExt::oneshot(inner, envelope));
        };
        let buffer = self.buffer.clone();
        Box::pin(async move {
            let queue = buffer.queue(peer)?;
            keep(queue, inner, envelope).await
        })
    }
}

/// Puts an event into the queue, and waits for as much as its emit does.
async fn keep(queue: Arc<Queue>, inner: Stack, mut envelope: Envelope) -> Result<Ack, BoxError> {
    let (level, began) = (envelope.level(), Instant::now());
    // An event that was only accepted might still be lost with its session.
    envelope.raise_level(Level::Received);
    let entered = match queue.enter(inner, envelope.clone(), level > Level::Accepted).await {
        Ok(entered) => entered,
        Err(Full::Dropped) => return Ok(Ack::empty()),
        Err(Full::Rejected) => return Err(BufferError::full(began.elapsed()).into()),
    };
    queue.work();
    match entered {
        None => Ok(Ack::empty()),
        // It is answered as long as somebody works; a runtime that ends does not.
        Some(answer) => answer.await.unwrap_or_else(|_| Err(AckError::Closed.into())),
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BufferService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferService").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}
