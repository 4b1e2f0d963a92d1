//! `mem://name`: the transport and its listener.

use super::connection::{Connection, FRAME_BYTES_MAX, Wire, endpoint};
use super::registry::{self, Door};
use crate::transport::{self, BindError, ConnectError, HandshakeError, Incoming, Transport};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// The wire in memory: `mem://name`, for tests, simulations and parts of one process.
///
/// A name belongs to the process, and is free again when its listener is dropped. A connection is
/// two bounded pipes through which frames move without a copy. Reliable and ordered;
/// [`Chaos`](crate::transport::Chaos) makes it worse.
///
/// What the *listener's* `Memory` says of capacity and backlog holds for both ends.
///
/// After a close in order the peer reads everything and then the end; after a writing half was
/// merely dropped it reads everything and then an error (`ConnectionReset`). Writing to a reading
/// half that is gone fails (`BrokenPipe`).
///
/// ```
/// # use emitwire_core::transport::{Connection, Incoming, Listener, Memory, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wire = Memory::new("lobby");
/// let mut listener = wire.bind().await?;
/// let client = wire.connect().await?;
/// let server = listener.accept().await?.handshake().await?;
/// assert_eq!(client.peer().endpoint(), "mem://lobby");
/// assert_eq!(server.peer().endpoint(), "mem://lobby#1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    name: Arc<str>,
    backlog: u16,
    wire: Wire,
}

impl Memory {
    /// A wire between whoever binds `name` and whoever connects to it, in this process.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let wire = Wire { capacity_bytes: CAPACITY_BYTES, frame_bytes_max: FRAME_BYTES_MAX };
        Self { name: name.into(), backlog: BACKLOG, wire }
    }

    /// How much fits into a connection, each way, in bytes. Default: 256 KiB.
    ///
    /// A frame counts with its body and the size of a [`Frame`](crate::protocol::Frame). Whatever
    /// its size, a frame passes when nothing else is there.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.wire.capacity_bytes = bytes;
        self
    }

    /// The largest frame, in bytes of its body; what is larger is refused. Default: 64 MiB. A
    /// session carries larger packets in pieces.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.wire.frame_bytes_max = bytes;
        self
    }

    /// How many connections wait to be accepted, at least one. Default: 128. While they do, further
    /// clients wait in [`connect`](Transport::connect), in the order in which they came.
    #[must_use]
    pub fn backlog(mut self, connections: u16) -> Self {
        self.backlog = connections;
        self
    }

    fn refused(&self) -> ConnectError {
        ConnectError::Unreachable {
            endpoint: self.endpoint(),
            source: io::ErrorKind::ConnectionRefused.into(),
        }
    }
}

#[async_trait]
impl Transport for Memory {
    fn endpoint(&self) -> String {
        endpoint(&self.name)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let (sender, arrivals) = mpsc::channel(usize::from(self.backlog.max(1)));
        let door = Door { wire: self.wire, arrivals: sender, count: Arc::default() };
        if !registry::claim(&self.name, door) {
            return Err(BindError::InUse { endpoint: self.endpoint() });
        }
        Ok(Box::new(Listener { name: Arc::clone(&self.name), arrivals }))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let door = registry::find(&self.name).ok_or_else(|| self.refused())?;
        // The place comes first: a client that gives up while it waits leaves nothing behind.
        let place = door.arrivals.reserve().await.map_err(|_| self.refused())?;
        let number = door.count.fetch_add(1, Ordering::Relaxed) + 1;
        let (client, server) = door.wire.connection(&self.name, number);
        place.send(server);
        Ok(Box::new(client))
    }
}

/// Owns its name.
struct Listener {
    name: Arc<str>,
    arrivals: mpsc::Receiver<Connection>,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        endpoint(&self.name)
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let connection = self.arrivals.recv().await;
        // The registry keeps a sender for as long as this listener lives.
        let connection = connection.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Box::new(Arrival { connection }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        registry::release(&self.name);
    }
}

/// A peer that is known already: this wire has no handshake of its own.
struct Arrival {
    connection: Connection,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        Ok(Box::new(self.connection))
    }
}

/// What fits into one direction of a connection unless its listener says otherwise.
const CAPACITY_BYTES: usize = 256 * 1024;

/// How many connections wait to be accepted unless their listener says otherwise.
const BACKLOG: u16 = 128;
