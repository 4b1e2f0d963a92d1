//! The wrapped transport, its listener, and the handle on all its connections.

use super::control::{Control, End};
use super::counters::ChaosStats;
use super::faults::{Direction, Faults, at_least_one};
use super::halves::{Reader, Writer};
use super::link::Link;
use super::pump::Pump;
use super::settings::{Pace, Terms};
use crate::protocol::Codec;
use crate::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Peer, ReadHalf, Transport,
    WriteHalf,
};
use async_trait::async_trait;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Any wire, made worse on purpose: loss, delay, reordering, duplication, corruption, narrow
/// roads, cut cables and slow readers, for tests and simulations.
///
/// It listens and connects as the wire inside does. Its clones are cheap and one: each of them
/// changes what happens on all their connections, present and future, from the next frame on.
/// There are no faults at first.
///
/// # Which end
/// A connection is wrapped at **one** end, the server's or the client's: both directions go wrong
/// there, and with both ends wrapped each frame would pass twice. [`Direction::Out`] is what the
/// wrapped end writes, [`Direction::In`] what it reads.
///
/// # What the wire promises
/// It goes on declaring what the wire inside declares. Delay, jitter, a rate, a cut and a slow
/// reader keep that promise. Loss, duplication, reordering and corruption **break** it, if it is
/// one of reliability: that is how to see whether somebody notices.
///
/// [`lossy`](Self::lossy) makes it a wire of datagrams, which promises nothing. Whether a session
/// repairs its wire each end judges by itself, so then **both** ends are wrapped; a clone of one
/// value at each, with faults in [`Direction::Out`] only, lets each frame pass them once.
///
/// # Time and chance
/// Delays are on tokio's clock, to the millisecond, so tests may pause it. A frame coming in is
/// under way from when its reader waits for it. Chance is drawn from the seed: see [`Faults`].
/// Connections are numbered in the order in which they were accepted, and those that were
/// connected in theirs.
///
/// # How connections end
/// A close in order, a dropped half and an error of the wire inside arrive behind all that was
/// written before. That holds too when the wrapped end has dropped both halves: what it wrote
/// travels as long as it has to. Once it is there, the wire inside has ten seconds to take the
/// next frame; if a cut or the other end keeps it from that, the wire inside is dropped without a
/// close, and the rest is counted in [`frames_dropped`](ChaosStats::frames_dropped). What the
/// other end sees then is what a dropped connection of that wire looks like: mostly an error, but
/// a bare stream of bytes may show an end between two frames as one in order.
///
/// # Panics
/// Splitting a connection does outside of a tokio runtime with timers, because a task writes what
/// is delayed; so does reading while something that came in is delayed.
///
/// ```
/// # use emitwire_core::transport::{Chaos, Direction, Faults, Memory};
/// use std::time::Duration;
///
/// let chaos = Chaos::new(Memory::new("lobby"), 7);
/// chaos.set(Direction::Both, Faults::new().delay(Duration::from_millis(50)));
/// chaos.set(Direction::In, Faults::new().loss(0.1));
/// chaos.cut(Direction::Out);
/// chaos.heal(Direction::Out);
/// assert_eq!(chaos.stats(Direction::In).frames_lost, 0);
/// ```
pub struct Chaos<T> {
    transport: Arc<T>,
    control: Arc<Control>,
    terms: Terms,
}

impl<T> Chaos<T> {
    /// Wraps a transport. The same seed gives the same fates to the same frames.
    #[must_use]
    pub fn new(transport: T, seed: u64) -> Self {
        let terms = Terms { datagram_bytes_max: None, capacity_bytes: CAPACITY_BYTES };
        Self { transport: Arc::new(transport), control: Arc::new(Control::new(seed)), terms }
    }

    /// Makes it a wire of datagrams of up to so many bytes, on connections of this value and of
    /// clones that are made of it.
    ///
    /// They are no larger than the frames of the wire inside. Writing never waits there: what is
    /// too much is dropped and counted. A frame larger than a datagram is an error of the writer
    /// (`InvalidInput`); one that comes from an end that is not wrapped is lost. Jitter reorders.
    /// How the writer ends is never lost.
    #[must_use]
    pub fn lossy(mut self, datagram_bytes_max: usize) -> Self {
        self.terms.datagram_bytes_max = Some(datagram_bytes_max);
        self
    }

    /// How much may be under way on a connection, each way, in bytes. Default: 1 MiB. Beyond it
    /// the writer waits, so a delay of a second makes this the bytes per second.
    ///
    /// A frame counts with its body and the size of a [`Frame`](crate::protocol::Frame), until
    /// the wire inside, or the reader when it comes in, has taken it. What comes in on a wire that
    /// is not [lossy](Self::lossy) may exceed this by one read of the wire inside. Whatever its
    /// size, a frame passes when nothing else is under way. Frames that are
    /// [held back](Faults::reordering) count apart, up to as much again.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.terms.capacity_bytes = bytes;
        self
    }

    /// Replaces the faults of a direction. What is under way already keeps its fate.
    pub fn set(&self, direction: Direction, faults: Faults) {
        self.control.change(|settings| settings.each(direction, |way| way.faults = faults));
    }

    /// Cuts the cable, one way or both: no error, no end, only silence.
    ///
    /// A wire that promises to deliver makes frames wait, those that are under way too, until the
    /// writer has to wait as well; when it is [healed](Self::heal) they flow again, in order. On a
    /// [lossy](Self::lossy) wire they are lost, but for what the wire inside has begun to take
    /// over. Connections that are made during a cut are as
    /// silent. An end that gives up during a cut of its direction out is not heard to do so
    /// before the cable is whole; the last 1,024 such connections are kept until then.
    pub fn cut(&self, direction: Direction) {
        self.control.change(|settings| settings.each(direction, |way| way.is_cut = true));
    }

    /// Joins the cable that was [cut](Self::cut). Faults stay as they are.
    pub fn heal(&self, direction: Direction) {
        self.control.change(|settings| settings.each(direction, |way| way.is_cut = false));
    }

    /// Breaks all present connections at once, as a reset does: the halves of the wrapped end
    /// fail, and what is under way is gone and counted in
    /// [`frames_dropped`](ChaosStats::frames_dropped). The other end sees what a dropped connection
    /// of the wire inside looks like: mostly an error, but a bare stream of bytes may show an end
    /// between two frames as one in order.
    pub fn sever(&self) {
        self.control.sever();
    }

    /// Lets the wrapped end read so many bytes of bodies in a second at most, at least one; 1,500
    /// bytes pass in advance. What it does not read in time makes the writer wait, or overflows on
    /// a [lossy](Self::lossy) wire.
    pub fn slow(&self, bytes_per_second: u64) {
        self.pace(Pace::BytesPerSecond(at_least_one(bytes_per_second)));
    }

    /// Lets the wrapped end read nothing, not even the end, until [`resume`](Self::resume).
    pub fn stall(&self) {
        self.pace(Pace::Stalled);
    }

    /// Lets the wrapped end read as fast as it likes, after [`slow`](Self::slow) or
    /// [`stall`](Self::stall).
    pub fn resume(&self) {
        self.pace(Pace::Free);
    }

    /// What became of frames so far; of [both](Direction::Both) directions the sum.
    #[must_use]
    pub fn stats(&self, direction: Direction) -> ChaosStats {
        self.control.stats(direction)
    }

    fn pace(&self, pace: Pace) {
        self.control.change(|settings| settings.pace = pace);
    }

    fn wrapping(&self) -> Wrapping {
        Wrapping { control: Arc::clone(&self.control), terms: self.terms }
    }
}

impl<T> Clone for Chaos<T> {
    fn clone(&self) -> Self {
        let (transport, control) = (Arc::clone(&self.transport), Arc::clone(&self.control));
        Self { transport, control, terms: self.terms }
    }
}

impl<T: fmt::Debug> fmt::Debug for Chaos<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Chaos");
        debug.field("transport", &self.transport).field("terms", &self.terms);
        debug.finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Transport> Transport for Chaos<T> {
    fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let listener = self.transport.bind().await?;
        Ok(Box::new(Listener { listener, wrapping: self.wrapping() }))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let connection = self.transport.connect().await?;
        let wrapping = self.wrapping();
        let end = wrapping.control.connect();
        Ok(wrapping.wrap(connection, end))
    }
}

/// Wraps what a transport yields.
#[derive(Clone)]
struct Wrapping {
    control: Arc<Control>,
    terms: Terms,
}

impl Wrapping {
    fn wrap(
        self,
        connection: Box<dyn transport::Connection>,
        end: End,
    ) -> Box<dyn transport::Connection> {
        let mut terms = self.terms;
        let inner_max = connection.capabilities().frame_bytes_max;
        terms.datagram_bytes_max = terms.datagram_bytes_max.map(|max| max.min(inner_max));
        let link = self.control.link(end, terms);
        Box::new(Connection { connection, link, control: self.control })
    }
}

struct Listener {
    listener: Box<dyn transport::Listener>,
    wrapping: Wrapping,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        self.listener.endpoint()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn transport::Incoming>> {
        let arrival = self.listener.accept().await?;
        // Numbered here, because handshakes end in any order.
        let end = self.wrapping.control.accept();
        Ok(Box::new(Arrival { arrival, wrapping: self.wrapping.clone(), end }))
    }
}

struct Arrival {
    arrival: Box<dyn transport::Incoming>,
    wrapping: Wrapping,
    end: End,
}

#[async_trait]
impl transport::Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        let connection = self.arrival.handshake().await?;
        Ok(self.wrapping.wrap(connection, self.end))
    }
}

struct Connection {
    connection: Box<dyn transport::Connection>,
    link: Arc<Link>,
    control: Arc<Control>,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.connection.peer()
    }

    fn capabilities(&self) -> Capabilities {
        self.link.terms.capabilities(self.connection.capabilities())
    }

    fn codec(&self) -> Arc<dyn Codec> {
        self.connection.codec()
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let Self { connection, link, control } = *self;
        let (read_half, write_half) = connection.split();
        link.open(read_half, write_half);
        tokio::spawn(Pump::new(Arc::clone(&link), Arc::clone(&control)).run());
        let reader = Reader::new(Arc::clone(&link), control);
        (Box::new(reader), Box::new(Writer::new(link)))
    }
}

/// What may be under way in one direction of a connection unless its transport says otherwise.
const CAPACITY_BYTES: usize = 1024 * 1024;
