//! `ws://host:port/path` and `wss://host:port/path`: WebSocket (RFC 6455), one binary frame for
//! each of ours, in the clear or encrypted.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Ws`] with its options, its listener, its connection |
//! | `handshake.rs` | the HTTP request and its answer, at both ends |
//! | `rules.rs` | what RFC 6455 allows in a header, and masking |
//! | `reader.rs` | the reading half: frames whole, fragmented, and of control |
//! | `writer.rs` | the writing half: frames with their headers, pongs and closes between them |
//!
//! The handshake, the headers and the codes are tungstenite's. Its own connection is not used
//! after the handshake: that keeps a buffer for as long as it is idle, copies each body once for
//! each member of a room, and cannot be written by whoever has bytes.

mod handshake;
mod reader;
mod rules;
#[cfg(test)]
mod tests;
mod writer;

use crate::limits::{BACKLOG, FRAME_BYTES_MAX};
use crate::net::{self, Acceptor, Inside, Security};
#[cfg(feature = "tls")]
use crate::tls::Tls;
use async_trait::async_trait;
use emitwire_core::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Incoming, Peer, ReadHalf,
    Transport, WriteHalf,
};
use handshake::Shaken;
use reader::Reader;
use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::Role;
use writer::{Output, Writer};

/// Frames on a WebSocket: reliable, ordered, in the clear unless it is given a `Tls`.
///
/// The sub-protocol is `emitwire.1`; a peer that does not offer it is refused. Pings are answered
/// at once, closes when this side has written what it wants to. Bodies larger than the session's
/// frames are refused by their header alone, fragments by their sum.
///
/// As a server it takes any path unless its URL has one. A browser is let in if its page comes
/// from the host that it connects to, see [`Ws::origin`]. The request's path, query and headers are
/// in the [`Peer`]. As a client it reports a refusal as [`ConnectError::Handshake`].
///
/// ```
/// # use emitwire_core::transport::{Incoming, Listener, Transport};
/// use emitwire_transports::Ws;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = Ws::new("127.0.0.1:0/chat").bind().await?;
/// let bound = listener.endpoint().replace("ws://", "");
/// let client = Ws::new(format!("{bound}?room=7")).header("Cookie", "tasty");
/// let (client, server) = tokio::join!(client.connect(), async {
///     listener.accept().await.unwrap().handshake().await
/// });
/// assert_eq!(server?.peer().query(), "room=7");
/// # let _ = client?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ws(Arc<Options>);

#[derive(Clone)]
struct Options {
    /// Host and perhaps port as they stood in the URL, for the request.
    authority: String,
    /// Path and query, or nothing.
    target: String,
    frame_bytes_max: usize,
    head_bytes_max: usize,
    backlog: u32,
    hosts: Vec<String>,
    origins: Vec<String>,
    any_origin: bool,
    headers: Vec<(String, String)>,
    security: Security,
}

impl fmt::Debug for Ws {
    /// Of headers the names alone: their values let somebody in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Ws")
            .field("authority", &self.0.authority)
            .field("frame_bytes_max", &self.0.frame_bytes_max)
            .field("head_bytes_max", &self.0.head_bytes_max)
            .field("backlog", &self.0.backlog)
            .field("hosts", &self.0.hosts)
            .field("origins", &self.0.origins)
            .field("any_origin", &self.0.any_origin)
            .field("headers", &names)
            .field("security", &self.0.security)
            .finish_non_exhaustive()
    }
}

impl Ws {
    /// A wire to `host:port/path?query`. Without a port it is 80, encrypted 443; an IPv6 address
    /// stands in brackets; port 0 binds any free one; path and query may be missing.
    ///
    /// The name is looked up at each bind and at each connect.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        let mut authority = address.into();
        // A fragment means nothing to a server (RFC 6455 §3).
        authority.truncate(authority.find('#').unwrap_or(authority.len()));
        let target = authority.split_off(authority.find(['/', '?']).unwrap_or(authority.len()));
        let target = if target.starts_with('?') { format!("/{target}") } else { target };
        Self(Arc::new(Options {
            authority,
            target,
            frame_bytes_max: FRAME_BYTES_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            backlog: BACKLOG,
            hosts: Vec::new(),
            origins: Vec::new(),
            any_origin: false,
            headers: Vec::new(),
            security: Security::default(),
        }))
    }

    /// The largest frame, in bytes of its body, up to 4 GiB - 1. Default: 16 MiB. A session may
    /// lower it, never raise it.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.options().frame_bytes_max = bytes.min(u32::MAX as usize);
        self
    }

    /// The largest request or response of a handshake, in bytes. Default: 16 KiB; more than 64
    /// KiB is refused in any case. What it holds besides the handshake's own headers is kept in the
    /// [`Peer`] for as long as the session lives.
    #[must_use]
    pub fn head_bytes_max(mut self, bytes: usize) -> Self {
        self.options().head_bytes_max = bytes;
        self
    }

    /// How many connections the system lets wait to be accepted. Default: 1024; the system may
    /// have a lower limit.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.options().backlog = connections;
        self
    }

    /// Takes requests for this host only, such as `example.com` or `127.0.0.1:7300`; may be given
    /// several times. Others are refused with 421.
    ///
    /// A server that trusts its network wants that: a page of anywhere may have a name that leads
    /// to this machine (DNS rebinding), and then it comes from the host that it connects to.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.options().hosts.push(host.into());
        self
    }

    /// Lets in pages of this origin too, such as `https://example.com` (RFC 6454 §7).
    ///
    /// Browsers tell a server which page opens a connection, and send its user's cookies along;
    /// so without this only pages of the host that they connect to are let in. Other clients send
    /// no origin, and are not asked.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.options().origins.push(origin.into());
        self
    }

    /// Lets in pages of every origin: for servers that know their users by something else than a
    /// cookie.
    #[must_use]
    pub fn any_origin(mut self) -> Self {
        self.options().any_origin = true;
        self
    }

    /// A header of this client's requests. The handshake's own cannot be replaced.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options().headers.push((name.into(), value.into()));
        self
    }

    /// Encrypts, as `wss://host:port/path`. A server's has a certificate; see [`Tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.options().security.tls = Some(tls);
        self
    }

    fn options(&mut self) -> &mut Options {
        Arc::make_mut(&mut self.0)
    }
}

#[async_trait]
impl Transport for Ws {
    fn endpoint(&self) -> String {
        self.0.endpoint(&self.0.authority)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        let (options, endpoint) = (Arc::clone(&self.0), self.endpoint());
        let acceptor = options.security.acceptor(Inside::Http, &endpoint)?;
        let listener = net::bind(&options.address(), options.backlog, &endpoint).await?;
        let address = listener.local_addr().map_err(|source| BindError::Io { endpoint, source })?;
        options.security.announce(&options.endpoint(address));
        Ok(Box::new(Listener { listener, address, acceptor, options }))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let (options, endpoint) = (&*self.0, self.endpoint());
        let host_and_port = options.address();
        let (stream, address) = net::connect(&host_and_port, &endpoint).await?;
        let peer = Peer::new(options.endpoint(address));
        let (security, inside) = (&options.security, Inside::Http);
        let secured = security.secure(stream, peer, inside, &host_and_port, &endpoint);
        let (stream, peer) = secured.await?;
        match handshake::request(stream, peer, options).await {
            Ok(shaken) => Ok(Box::new(Connection::new(shaken, Role::Client, options))),
            Err(source) => Err(ConnectError::Handshake { endpoint, source }),
        }
    }
}

impl Options {
    fn scheme(&self) -> &'static str {
        if self.security.is_on() { "wss" } else { "ws" }
    }

    fn endpoint(&self, authority: impl Display) -> String {
        format!("{}://{authority}{}", self.scheme(), self.target)
    }

    /// `host:port`.
    fn address(&self) -> String {
        let authority = &self.authority;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        match (has_port, self.security.is_on()) {
            (true, _) => authority.clone(),
            (false, true) => format!("{authority}:443"),
            (false, false) => format!("{authority}:80"),
        }
    }
}

/// A bound socket.
struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Acceptor,
    options: Arc<Options>,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        self.options.endpoint(self.address)
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, _) = self.listener.accept().await?;
        let (acceptor, options) = (self.acceptor.clone(), Arc::clone(&self.options));
        Ok(Box::new(Arrival { stream, acceptor, options }))
    }
}

/// A peer that has not asked for a WebSocket yet.
struct Arrival {
    stream: TcpStream,
    acceptor: Acceptor,
    options: Arc<Options>,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        let Self { stream, acceptor, options } = *self;
        let address = net::prepare(&stream).map_err(|source| HandshakeError::Io { source })?;
        let peer = Peer::new(format!("{}://{address}", options.scheme()));
        let (stream, peer) = acceptor.secure(stream, peer).await?;
        let shaken = handshake::answer(stream, peer, &options).await?;
        Ok(Box::new(Connection::new(shaken, Role::Server, &options)))
    }
}

/// A stream on which both sides have agreed to speak WebSocket.
struct Connection {
    shaken: Shaken,
    role: Role,
    frame_bytes_max: usize,
}

impl Connection {
    fn new(shaken: Shaken, role: Role, options: &Options) -> Self {
        Self { shaken, role, frame_bytes_max: options.frame_bytes_max }
    }
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.shaken.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::stream(self.frame_bytes_max);
        // Ours does, but browsers look at nothing behind a close.
        capabilities.half_close = false;
        if self.shaken.stream.is_encrypted() { capabilities.encrypted() } else { capabilities }
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let Self { shaken, role, frame_bytes_max } = *self;
        let (read, write) = shaken.stream.split();
        let output = Arc::new(Output::new(write, role));
        let reader = Reader::new(read, role, shaken.early, frame_bytes_max, Arc::clone(&output));
        (Box::new(reader), Box::new(Writer(output)))
    }
}

/// The largest request or response of a handshake unless the transport says otherwise.
const HEAD_BYTES_MAX: usize = 16 * 1024;
