//! `quic://host:port`: a stream of frames and datagrams beside it, encrypted.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Quic`] and its options |
//! | `config.rs` | what quinn is told of them |
//! | `listener.rs` | arrivals, what is done with too many, and their handshakes |
//! | `half_open.rs` | how many handshakes are under way |
//! | `sockets.rs` | sockets that outlive their listeners |
//! | `dial.rs` | connecting, address by address |
//! | `knock.rs` | finding out at once that nobody listens |
//! | `tasks.rs` | attempts that were given up leave nothing behind |
//! | `connection.rs` | a live connection, and how it ends |
//! | `reader.rs`, `datagrams.rs` | the reading half |
//! | `writer.rs`, `share.rs` | the writing half, and what datagrams leave to the stream |
//! | `fault.rs` | what went wrong, in the words of the port |

mod config;
mod connection;
mod datagrams;
mod dial;
mod fault;
mod half_open;
mod knock;
mod listener;
mod reader;
mod share;
mod sockets;
mod tasks;
mod writer;

use crate::limits::{BACKLOG, FRAME_BYTES_MAX};
use crate::tls::Tls;
use async_trait::async_trait;
use emitwire_core::transport::{self, BindError, ConnectError, Transport};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Frames on a QUIC connection (RFC 9000): reliable, ordered, encrypted (RFC 9001); volatile ones
/// travel as datagrams (RFC 9221) and wait for nothing that was lost before them.
///
/// A connection is one stream, which carries what `Tcp` carries, and datagrams
/// beside it. A volatile frame that is too large for a datagram takes the stream; one for which
/// there is no room at the moment is dropped and counted, the newest and never the oldest. Where
/// both wait to be sent, datagrams and the stream take turns.
///
/// A connection outlives the address of its client: who comes from elsewhere goes on where it was
/// (RFC 9000 §9), and the server is told of the new address.
///
/// The socket of a listener is also that of the connections that it accepted. When the listener is
/// gone and they are not, whoever else arrives is refused; the same process can bind the address
/// again at once, in the same runtime, and another process when the last of them is gone.
///
/// ```
/// # #[cfg(feature = "self-signed")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use emitwire_core::transport::{Incoming, Listener, Transport};
/// use emitwire_transports::{Quic, Tls};
///
/// let tls = Tls::self_signed()?;
/// let pinned = Tls::new().pin(tls.fingerprint().unwrap_or_default())?;
/// let mut listener = Quic::new("127.0.0.1:0").tls(tls).bind().await?;
/// let bound = listener.endpoint().replace("quic://", "");
/// let client = Quic::new(bound).tls(pinned);
/// let accepting = async {
///     let arrival = listener.accept().await?;
///     Ok::<_, Box<dyn std::error::Error>>(arrival.handshake().await?)
/// };
/// let (client, server) = tokio::join!(client.connect(), accepting);
/// assert_eq!(client?.peer().endpoint(), listener.endpoint());
/// assert_eq!(server?.peer().scheme(), "quic");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "self-signed"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Quic {
    address: String,
    tls: Tls,
    server_config: Option<quinn::ServerConfig>,
    client_config: Option<quinn::ClientConfig>,
    endpoint: Option<quinn::Endpoint>,
    frame_bytes_max: usize,
    window_bytes: usize,
    datagram_buffer_bytes: usize,
    keep_alive: Option<Duration>,
    idle_timeout: Duration,
    connect_timeout: Duration,
    backlog: usize,
    retry_above: usize,
    half_open_max: usize,
}

impl Quic {
    /// A wire to `host:port`; an IPv6 address stands in brackets, port 0 binds any free one.
    ///
    /// The name is looked up at each bind and at each connect; a client tries its addresses one
    /// after another.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            tls: Tls::default(),
            server_config: None,
            client_config: None,
            endpoint: None,
            frame_bytes_max: FRAME_BYTES_MAX,
            window_bytes: WINDOW_BYTES,
            datagram_buffer_bytes: DATAGRAM_BUFFER_BYTES,
            keep_alive: Some(KEEP_ALIVE),
            idle_timeout: IDLE_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            backlog: BACKLOG as usize,
            retry_above: RETRY_ABOVE,
            half_open_max: HALF_OPEN_MAX,
        }
    }

    /// A wire to an address that needs no lookup.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self::new(address.to_string())
    }

    /// Who this side is, and whom it trusts. A listener needs a certificate; a client that is
    /// given none of this trusts the issuers that browsers trust.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How a listener answers, whole: instead of the certificate and of the options that say what
    /// a connection may take, which are then without effect.
    ///
    /// It has to know the protocol `emitwire/1` (ALPN) and to let a client open one stream in both
    /// directions. A peer that is to have datagrams needs a buffer for them.
    #[must_use]
    pub fn server_config(mut self, config: quinn::ServerConfig) -> Self {
        self.server_config = Some(config);
        self
    }

    /// How a client asks, whole: see [`server_config`](Self::server_config).
    #[must_use]
    pub fn client_config(mut self, config: quinn::ClientConfig) -> Self {
        self.client_config = Some(config);
        self
    }

    /// The endpoint to connect from and to listen on, instead of one for each connection and one
    /// for each listener. Many connections of one process then share a socket and its buffers.
    ///
    /// It stays yours: a listener on it that is dropped only stops to listen. One at a time may
    /// listen on it: a second takes the first one's peers, with its own certificate, and the first
    /// that is dropped stops both. A client that connects from it finds out that nobody listens
    /// only by [`connect_timeout`](Self::connect_timeout), for its socket may lead elsewhere than
    /// those of the system.
    #[must_use]
    pub fn endpoint(mut self, endpoint: quinn::Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// The largest frame, in bytes of its body, up to 4 GiB - 1. Default: 16 MiB. A session may
    /// lower it, never raise it.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes.min(u32::MAX as usize);
        self
    }

    /// How many bytes of the stream may be under way in one direction (RFC 9000 §4): read by
    /// nobody at the receiver, or not acknowledged at the sender. Default: 2 MiB, which is enough
    /// for 20 MB/s over 100 ms. At least 64 KiB.
    #[must_use]
    pub fn window(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes.max(WINDOW_BYTES_MIN);
        self
    }

    /// How many bytes of datagrams wait, in each direction. Default: 256 KiB. When they are full a
    /// sender drops the new one, and counts it; a receiver that nobody reads drops the oldest,
    /// which is as if it was lost on its way.
    #[must_use]
    pub fn datagram_buffer(mut self, bytes: usize) -> Self {
        self.datagram_buffer_bytes = bytes;
        self
    }

    /// After how long without a packet one is sent, so that the peer and whatever stands between
    /// do not forget the connection; zero never sends one. Default: 5 s, as the heartbeats of a
    /// session. It is at most a third of this side's own [`idle_timeout`](Self::idle_timeout), and
    /// does not follow from the peer's: where that may be shorter than 15 s, say less here.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = (!interval.is_zero()).then_some(interval);
        self
    }

    /// After how long without a packet of the peer the connection is lost (RFC 9000 §10.1), if the
    /// peer does not want less. Default: 20 s, as the sessions'; at least 1 ms.
    #[must_use]
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle_timeout = after;
        self
    }

    /// How long a client waits for the handshake with each address of the name. Default: 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, after: Duration) -> Self {
        self.connect_timeout = after;
        self
    }

    /// How many peers may wait to be accepted. Default: 1024. What each sends meanwhile is bounded
    /// too, to 16 KiB, and to 1 MiB for all of them.
    #[must_use]
    pub fn backlog(mut self, peers: usize) -> Self {
        self.backlog = peers;
        self
    }

    /// While so many handshakes are neither over nor given up, a peer has to show first that it is
    /// where it says (RFC 9000 §8.1.2), which costs it a round trip and this side no memory.
    /// Default: 64; zero asks everybody.
    #[must_use]
    pub fn retry_above(mut self, handshakes: usize) -> Self {
        self.retry_above = handshakes;
        self
    }

    /// While so many handshakes are neither over nor given up, further peers get no answer; they
    /// ask again by themselves. Default: 1024.
    #[must_use]
    pub fn half_open_max(mut self, handshakes: usize) -> Self {
        self.half_open_max = handshakes;
        self
    }
}

impl fmt::Debug for Quic {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic")
            .field("address", &self.address)
            .field("tls", &self.tls)
            .field("has_server_config", &self.server_config.is_some())
            .field("has_client_config", &self.client_config.is_some())
            .field("has_endpoint", &self.endpoint.is_some())
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("window", &self.window_bytes)
            .field("datagram_buffer", &self.datagram_buffer_bytes)
            .field("keep_alive", &self.keep_alive)
            .field("idle_timeout", &self.idle_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("backlog", &self.backlog)
            .field("retry_above", &self.retry_above)
            .field("half_open_max", &self.half_open_max)
            .finish()
    }
}

#[async_trait]
impl Transport for Quic {
    fn endpoint(&self) -> String {
        endpoint(&self.address)
    }

    async fn bind(&self) -> Result<Box<dyn transport::Listener>, BindError> {
        Ok(Box::new(listener::bind(self).await?))
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        Ok(Box::new(dial::dial(self).await?))
    }
}

fn endpoint(address: impl fmt::Display) -> String {
    format!("quic://{address}")
}

/// The first byte of the stream, by which the server learns of it before its client has anything
/// to say.
const STREAM_BEGIN: u8 = 0x01;

/// The largest volatile frame that is sent as a datagram: what is left of the 1200 bytes that
/// every path carries (RFC 9000 §14) by the packet's header with the longest connection id, its
/// tag (RFC 9001 §5.3), and the datagram's type and length (RFC 9221 §4). Paths that carry more
/// carry no larger ones, so that both ends declare the same every time.
const DATAGRAM_BYTES_MAX: usize = 1200 - (1 + 20 + 4) - 16 - (1 + 8);

/// How much of the stream is under way unless the transport says otherwise.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// The least of the stream that is under way: with none nothing is.
const WINDOW_BYTES_MIN: usize = 64 * 1024;

/// How much waits in datagrams unless the transport says otherwise.
const DATAGRAM_BUFFER_BYTES: usize = 256 * 1024;

/// When a connection sends something unless the transport says otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// When a silent peer is given up unless the transport says otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long connecting takes at most unless the transport says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many handshakes go on before peers have to show where they are.
const RETRY_ABOVE: usize = 64;

/// How many handshakes go on before peers get no answer.
const HALF_OPEN_MAX: usize = 1024;
