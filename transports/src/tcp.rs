//! `tcp://host:port`: length-delimited frames on a TCP stream, in the clear.

use crate::framing::{FrameReader, FrameWriter, WriteStream};
use async_trait::async_trait;
use emitwire_core::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Incoming, Peer, ReadHalf,
    Transport, WriteHalf,
};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

/// Frames on a TCP stream: reliable, ordered, in the clear.
///
/// Nagle's algorithm is off (`TCP_NODELAY`): whoever writes has joined what belongs together.
///
/// TCP tells a peer that closed from one that merely went away only inside a frame: then reading
/// fails, otherwise it ends.
///
/// ```
/// use emitwire_core::transport::{Incoming, Listener, Transport};
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

    fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if cfg!(unix) {
            // Lets a server start again while connections of its last run are in TIME-WAIT. On
            // Windows the option would let two servers share the address instead.
            socket.set_reuseaddr(true)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(self.backlog)?;
        let address = listener.local_addr()?;
        Ok(Listener { listener, address, frame_bytes_max: self.frame_bytes_max })
    }

    fn bind_error(&self, source: io::Error) -> BindError {
        let endpoint = self.endpoint();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { endpoint },
            io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { endpoint, source },
            _ => BindError::Io { endpoint, source },
        }
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        ConnectError::Unreachable { endpoint: self.endpoint(), source }
    }
}

#[async_trait]
impl Transport for Tcp {
    fn endpoint(&self) -> String {
        endpoint(&self.address)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let addresses = lookup_host(&self.address)
            .await
            .map_err(|source| BindError::NotAvailable { endpoint: self.endpoint(), source })?;
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            match self.listen(address) {
                Ok(listener) => return Ok(Box::new(listener)),
                Err(error) => failure = error,
            }
        }
        Err(self.bind_error(failure))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let stream =
            TcpStream::connect(&self.address).await.map_err(|error| self.unreachable(error))?;
        let connection = Connection::new(stream, self.frame_bytes_max)
            .map_err(|error| self.unreachable(error))?;
        Ok(Box::new(connection))
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
        let connection = Connection::new(self.stream, self.frame_bytes_max)
            .map_err(|source| HandshakeError::Io { source })?;
        Ok(Box::new(connection))
    }
}

/// A connected stream.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    frame_bytes_max: usize,
}

impl Connection {
    fn new(stream: TcpStream, frame_bytes_max: usize) -> io::Result<Self> {
        let peer = stream.peer_addr()?;
        // Connecting to a port of this machine where nobody listens may pick that same port for
        // this side, and the socket meets itself (RFC 9293 §3.5, simultaneous open).
        if peer == stream.local_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(Self { stream, peer, frame_bytes_max })
    }
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
            Box::new(FrameWriter::new(writer)),
        )
    }
}

impl WriteStream for OwnedWriteHalf {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = match slices {
                [one] => self.try_write(one),
                many => self.try_write_vectored(many),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Ready means that there is room again since: another try, no waiting.
                    ready!(self.as_ref().poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }
}

fn endpoint(address: impl std::fmt::Display) -> String {
    format!("tcp://{address}")
}

/// The largest frame unless the transport says otherwise.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many connections wait to be accepted unless the transport says otherwise.
const BACKLOG: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_met_itself_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        // Not every system lets it happen.
        if let Ok(stream) = socket.connect(address).await {
            let error = Connection::new(stream, FRAME_BYTES_MAX).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
