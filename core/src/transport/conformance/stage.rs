//! What a check has at hand: addresses, connections, options, and words for what it is about.

use super::bodies::Rules;
use super::breach::Breach;
use super::carry::carry;
use super::end::End;
use super::log::Log;
use crate::protocol::Frame;
use crate::transport::{Capabilities, Incoming, Listener, Transport};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Makes a transport that binds an address of its own.
pub(super) type Maker = Arc<dyn Fn() -> Box<dyn Transport> + Send + Sync>;

/// Makes a transport for an endpoint that is bound already.
pub(super) type MakerAt = Arc<dyn Fn(&str) -> Box<dyn Transport> + Send + Sync>;

/// Counts bytes of the process.
pub(super) type Gauge = Arc<dyn Fn() -> usize + Send + Sync>;

/// What the suite was told, with its defaults.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) at_least: Option<Capabilities>,
    pub(super) corrupting: bool,
    pub(super) deadline: Duration,
    pub(super) connections: usize,
    pub(super) short_connections: usize,
    pub(super) buffered_bytes_max: usize,
    pub(super) live_bytes: Option<Gauge>,
    pub(super) peak_bytes: Option<Gauge>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("at_least", &self.at_least)
            .field("corrupting", &self.corrupting)
            .field("deadline", &self.deadline)
            .field("connections", &self.connections)
            .field("short_connections", &self.short_connections)
            .field("buffered_bytes_max", &self.buffered_bytes_max)
            .field("live_bytes", &self.live_bytes.is_some())
            .field("peak_bytes", &self.peak_bytes.is_some())
            .finish()
    }
}

/// What a check has at hand.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) bind: Maker,
    pub(super) connect: MakerAt,
    pub(super) bind_at: MakerAt,
    pub(super) options: Options,
    pub(super) log: Arc<Log>,
}

impl Stage {
    /// Says what the next steps are about, as a participle: `reading what was written`.
    pub(super) fn doing(&self, what: impl Into<String>) {
        self.log.begin(what.into());
    }

    /// Says what was scaled down or left out.
    pub(super) fn note(&self, what: impl Into<String>) {
        self.log.note(what.into());
    }

    /// How long nothing happens before something counts as waiting.
    pub(super) fn still(&self) -> Duration {
        self.options.deadline / 100
    }

    /// After how long a frame that may be lost is written again.
    pub(super) fn again(&self) -> Duration {
        self.options.deadline / 500
    }

    pub(super) fn rules(&self, capabilities: Capabilities) -> Rules {
        Rules::new(capabilities, self.options.corrupting)
    }

    pub(super) async fn listen(&self) -> Result<Box<dyn Listener>, Breach> {
        let bound = (self.bind)().bind().await;
        bound.map_err(|source| Breach::Bind { doing: self.log.doing(), source })
    }

    pub(super) async fn listen_at(&self, endpoint: &str) -> Result<Box<dyn Listener>, Breach> {
        let bound = (self.bind_at)(endpoint).bind().await;
        bound.map_err(|source| Breach::Bind { doing: self.log.doing(), source })
    }

    pub(super) async fn connect(&self, endpoint: &str) -> Result<End, Breach> {
        let connected = (self.connect)(endpoint).connect().await;
        let connection =
            connected.map_err(|source| Breach::Connect { doing: self.log.doing(), source })?;
        Ok(End::new(connection, &self.log, self.still()))
    }

    pub(super) async fn arrival(
        &self,
        listener: &mut Box<dyn Listener>,
    ) -> Result<Box<dyn Incoming>, Breach> {
        let arrived = listener.accept().await;
        arrived.map_err(|source| Breach::Accept { doing: self.log.doing(), source })
    }

    pub(super) async fn welcome(&self, incoming: Box<dyn Incoming>) -> Result<End, Breach> {
        let connection = incoming
            .handshake()
            .await
            .map_err(|source| Breach::Handshake { doing: self.log.doing(), source })?;
        Ok(End::new(connection, &self.log, self.still()))
    }

    pub(super) async fn accept(&self, listener: &mut Box<dyn Listener>) -> Result<End, Breach> {
        let incoming = self.arrival(listener).await?;
        self.welcome(incoming).await
    }

    /// A client and a server end of one new connection.
    pub(super) async fn meet(&self, listener: &mut Box<dyn Listener>) -> Result<Pair, Breach> {
        let endpoint = listener.endpoint();
        let (client, server) = tokio::try_join!(self.connect(&endpoint), self.accept(listener))?;
        Ok(Pair { client, server, again: self.again() })
    }

    /// Polls a future up to so many times, each time that it wakes, and drops it if it is not ready
    /// by then, or not woken for a while.
    pub(super) async fn polled<F: Future>(&self, times: usize, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut polls = 0;
        let polling = poll_fn(|cx| {
            polls += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls >= times => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        timeout(self.still(), polling).await.ok().flatten()
    }

    /// A listener of its own, and one connection to it.
    pub(super) async fn pair(&self) -> Result<(Pair, Box<dyn Listener>), Breach> {
        self.doing("connecting");
        let mut listener = self.listen().await?;
        let pair = self.meet(&mut listener).await?;
        Ok((pair, listener))
    }
}

/// Both ends of a connection.
pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    /// After how long a frame that may be lost is written again.
    pub(super) again: Duration,
}

impl Pair {
    /// The same connection, seen from the other end.
    pub(super) fn turned(self) -> Self {
        Self { client: self.server, server: self.client, again: self.again }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.client.capabilities
    }

    /// A frame from the client to the server, again and again where the wire may lose it.
    pub(super) async fn carry(&mut self, frame: &Frame) -> Result<(), Breach> {
        carry(&mut self.client, &mut self.server, frame, self.again).await
    }

    /// A frame each way, again and again where the wire may lose it.
    pub(super) async fn greet(&mut self, number: usize) -> Result<(), Breach> {
        let size = SMALL_BYTES.min(self.capabilities().frame_bytes_max);
        let frame = super::bodies::frame(number, size);
        self.carry(&frame).await?;
        carry(&mut self.server, &mut self.client, &frame, self.again).await
    }
}

/// Waits until something is so that wakes nobody when it becomes so. The check's deadline ends it.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        sleep(LOOK).await;
    }
}

/// The size of a frame that is only there to arrive.
pub(super) const SMALL_BYTES: usize = 40;

/// How often somebody looks at what wakes nobody.
const LOOK: Duration = Duration::from_millis(2);
