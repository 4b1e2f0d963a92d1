//! `tcp://host:port` and `tls://host:port`: length-delimited frames on a TCP stream, in the clear
//! or encrypted.

use crate::framing::{FrameReader, FrameWriter, Length};
use crate::limits::{BACKLOG, FRAME_BYTES_MAX};
use crate::net::{self, Acceptor, Inside, Security, Stream};
#[cfg(feature = "tls")]
use crate::tls::Tls;
use async_trait::async_trait;
use emitwire_core::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Incoming, Peer, ReadHalf,
    Transport, WriteHalf,
};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Frames on a TCP stream: reliable, ordered, in the clear unless it is given a `Tls`.
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
    security: Security,
}

impl Tcp {
    /// A wire to `host:port`; an IPv6 address stands in brackets, port 0 binds any free one.
    ///
    /// The name is looked up at each bind and at each connect.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            frame_bytes_max: FRAME_BYTES_MAX,
            backlog: BACKLOG,
            security: Security::default(),
        }
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

    /// Encrypts, as `tls://host:port`. A server's has a certificate; see [`Tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.security.tls = Some(tls);
        self
    }

    fn url(&self, address: impl Display) -> String {
        let scheme = if self.security.is_on() { "tls" } else { "tcp" };
        format!("{scheme}://{address}")
    }
}

#[async_trait]
impl Transport for Tcp {
    fn endpoint(&self) -> String {
        self.url(&self.address)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let endpoint = self.endpoint();
        let acceptor = self.security.acceptor(Inside::Frames, &endpoint)?;
        let listener = net::bind(&self.address, self.backlog, &endpoint).await?;
        let address = listener.local_addr().map_err(|source| BindError::Io { endpoint, source })?;
        self.security.announce(&self.url(address));
        Ok(Box::new(Listener { listener, address, acceptor, wire: self.clone() }))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let endpoint = self.endpoint();
        let (stream, address) = net::connect(&self.address, &endpoint).await?;
        let peer = Peer::new(self.url(address));
        let inside = Inside::Frames;
        let secured = self.security.secure(stream, peer, inside, &self.address, &endpoint);
        let (stream, peer) = secured.await?;
        Ok(Box::new(Connection { stream, peer, frame_bytes_max: self.frame_bytes_max }))
    }
}

/// A bound socket.
struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Acceptor,
    wire: Tcp,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        self.wire.url(self.address)
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, _) = self.listener.accept().await?;
        let (acceptor, wire) = (self.acceptor.clone(), self.wire.clone());
        Ok(Box::new(Arrival { stream, acceptor, wire }))
    }
}

/// A peer that arrived. TCP has shaken hands already; a peer that is gone again fails here, not in
/// `accept`, where it would hold up the others.
struct Arrival {
    stream: TcpStream,
    acceptor: Acceptor,
    wire: Tcp,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        let Self { stream, acceptor, wire } = *self;
        let address = net::prepare(&stream).map_err(|source| HandshakeError::Io { source })?;
        let peer = Peer::new(wire.url(address));
        let (stream, peer) = acceptor.secure(stream, peer).await?;
        Ok(Box::new(Connection { stream, peer, frame_bytes_max: wire.frame_bytes_max }))
    }
}

/// A connected stream.
struct Connection {
    stream: Stream,
    peer: Peer,
    frame_bytes_max: usize,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::stream(self.frame_bytes_max);
        if self.stream.is_encrypted() { capabilities.encrypted() } else { capabilities }
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (reader, writer) = self.stream.split();
        (
            Box::new(FrameReader::new(reader, self.frame_bytes_max)),
            Box::new(FrameWriter::<_, Length>::new(writer)),
        )
    }
}
