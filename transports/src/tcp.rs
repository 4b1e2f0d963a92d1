//! `tcp://host:port`: length-delimited frames on a TCP stream, in the clear.

use crate::framing::{FrameReader, FrameWriter, Length};
use crate::limits::{BACKLOG, FRAME_BYTES_MAX};
use crate::net;
use async_trait::async_trait;
use emitwire_core::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Incoming, Peer, ReadHalf,
    Transport, WriteHalf,
};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Frames on a TCP stream: reliable, ordered, in the clear.
///
/// Nagle's algorithm is off (`TCP_NODELAY`): whoever writes has joined what belongs together.
///
/// TCP tells a peer that closed from one that merely went away only inside a frame: then reading
/// fails, otherwise it ends.
///
/// ```
/// # use emitwire_core::transport::{Incoming, Listener, Transport};
/// use emitwire_transports::Tcp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = Tcp::new("127.0.0.1:0").bind().await?;
/// let bound = listener.endpoint().replace("tcp://", "");
/// let client = Tcp::new(bound).connect().await?;
/// let server = listener.accept().await?.handshake().await?;
/// assert_eq!(client.peer().endpoint(), listener.endpoint());
/// # let _ = server;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tcp {
    address: String,
    frame_bytes_max: usize,
    backlog: u32,
}

impl Tcp {
    /// A wire to `host:port`; an IPv6 address stands in brackets, port 0 binds any free one.
    ///
    /// The name is looked up at each bind and at each connect.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), frame_bytes_max: FRAME_BYTES_MAX, backlog: BACKLOG }
    }

    /// A wire to an address that needs no lookup.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self::new(address.to_string())
    }

    /// The largest frame, in bytes of its body, up to 4 GiB - 1. Default: 16 MiB. A session may
    /// lower it, never raise it.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes.min(u32::MAX as usize);
        self
    }

    /// How many connections the system lets wait to be accepted. Default: 1024; the system may
    /// have a lower limit.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }
}

#[async_trait]
impl Transport for Tcp {
    fn endpoint(&self) -> String {
        endpoint(&self.address)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let listener = net::bind(&self.address, self.backlog, &self.endpoint()).await?;
        let address = listener
            .local_addr()
            .map_err(|source| BindError::Io { endpoint: self.endpoint(), source })?;
        Ok(Box::new(Listener { listener, address, frame_bytes_max: self.frame_bytes_max }))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let (stream, peer) = net::connect(&self.address, &self.endpoint()).await?;
        Ok(Box::new(Connection { stream, peer, frame_bytes_max: self.frame_bytes_max }))
    }
}

/// A bound socket.
struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    frame_bytes_max: usize,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        endpoint(self.address)
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Box::new(Arrival { stream, frame_bytes_max: self.frame_bytes_max }))
    }
}

/// A peer that arrived. TCP has shaken hands already; a peer that is gone again fails here, not in
/// `accept`, where it would hold up the others.
struct Arrival {
    stream: TcpStream,
    frame_bytes_max: usize,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        let Self { stream, frame_bytes_max } = *self;
        let peer = net::prepare(&stream).map_err(|source| HandshakeError::Io { source })?;
        Ok(Box::new(Connection { stream, peer, frame_bytes_max }))
    }
}

/// A connected stream.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    frame_bytes_max: usize,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        Peer::new(endpoint(self.peer))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(self.frame_bytes_max)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (reader, writer) = self.stream.into_split();
        (
            Box::new(FrameReader::new(reader, self.frame_bytes_max)),
            Box::new(FrameWriter::<_, Length>::new(writer)),
        )
    }
}

fn endpoint(address: impl std::fmt::Display) -> String {
    format!("tcp://{address}")
}
