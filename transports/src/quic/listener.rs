//! Listening: arrivals, what is done with too many of them, and their handshakes.

use super::connection::{Connection, WRONG_STREAM};
use super::sockets::Bound;
use super::{Quic, STREAM_BEGIN, config, endpoint, fault};
use async_trait::async_trait;
use emitwire_core::transport::{self, BindError, HandshakeError, Incoming};
use quinn::Endpoint;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::lookup_host;
use tokio::task::coop::consume_budget;

/// Listens on the first address of `host:port` that can be listened on.
pub(super) async fn bind(quic: &Quic) -> Result<Listener, BindError> {
    let endpoint = endpoint(&quic.address);
    let config = match config::server(quic) {
        Ok(config) => config,
        Err(source) => return Err(BindError::Options { endpoint, source }),
    };
    if let Some(shared) = &quic.endpoint {
        shared.set_server_config(Some(config));
        let socket = Socket::Shared(shared.clone());
        return Listener::new(quic, socket).map_err(|source| BindError::Io { endpoint, source });
    }
    let addresses = match lookup_host(&*quic.address).await {
        Ok(addresses) => addresses,
        Err(source) => return Err(BindError::NotAvailable { endpoint, source }),
    };
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        let bound = Bound::new(address, config.clone()).await;
        match bound.and_then(|bound| Listener::new(quic, Socket::Own(bound))) {
            Ok(listener) => {
                quic.tls.announce(&super::endpoint(listener.address));
                return Ok(listener);
            }
            Err(error) => failure = error,
        }
    }
    Err(match failure.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { endpoint },
        io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { endpoint, source: failure },
        _ => BindError::Io { endpoint, source: failure },
    })
}

/// A bound endpoint.
pub(super) struct Listener {
    socket: Socket,
    address: SocketAddr,
    frame_bytes_max: usize,
    retry_above: usize,
    half_open_max: usize,
    half_open: Arc<AtomicUsize>,
}

enum Socket {
    Own(Bound),
    /// Whoever made it keeps it; only listening ends.
    Shared(Endpoint),
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Shared(endpoint) = self {
            endpoint.set_server_config(None);
        }
    }
}

impl Listener {
    fn new(quic: &Quic, socket: Socket) -> io::Result<Self> {
        let address = match &socket {
            Socket::Own(bound) => bound.address,
            Socket::Shared(endpoint) => endpoint.local_addr()?,
        };
        let Quic { frame_bytes_max, retry_above, half_open_max, .. } = *quic;
        let half_open = Arc::default();
        Ok(Self { socket, address, frame_bytes_max, retry_above, half_open_max, half_open })
    }

    /// Answers a peer without keeping anything of it, when too many are in their handshakes; else
    /// it is let in.
    fn admit(&self, incoming: quinn::Incoming) -> Option<Arrival> {
        let half_open = self.half_open.load(Ordering::Relaxed);
        if half_open >= self.half_open_max {
            incoming.ignore();
            return None;
        }
        if half_open >= self.retry_above && !incoming.remote_address_validated() {
            // It comes again with a token, which nobody gets who only pretends to be there.
            let _ = incoming.retry();
            return None;
        }
        let half_open = HalfOpen::new(&self.half_open);
        Some(Arrival { incoming, half_open, frame_bytes_max: self.frame_bytes_max })
    }
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        endpoint(self.address)
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        loop {
            // Those who are not let in cost no waiting.
            consume_budget().await;
            let endpoint = match &self.socket {
                Socket::Own(bound) => &bound.endpoint,
                Socket::Shared(endpoint) => endpoint,
            };
            let Some(incoming) = endpoint.accept().await else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            if let Some(arrival) = self.admit(incoming) {
                return Ok(Box::new(arrival));
            }
        }
    }
}

/// A peer of which only the first packet is known.
struct Arrival {
    incoming: quinn::Incoming,
    half_open: HalfOpen,
    frame_bytes_max: usize,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        let Self { incoming, half_open: _half_open, frame_bytes_max } = *self;
        let failed = |error| fault::handshake(error, None);
        let connecting = incoming.accept().map_err(failed)?;
        let connection = connecting.await.map_err(failed)?;
        let (send, mut receive) = connection.accept_bi().await.map_err(failed)?;
        let mut begin = [0];
        match receive.read_exact(&mut begin).await {
            Ok(()) if begin == [STREAM_BEGIN] => {}
            Ok(()) | Err(quinn::ReadExactError::FinishedEarly(_)) => {
                connection.close(u32::from(WRONG_STREAM).into(), b"");
                let source = "its stream does not begin as one of this wire".into();
                return Err(HandshakeError::Malformed { source });
            }
            Err(quinn::ReadExactError::ReadError(error)) => {
                return Err(HandshakeError::Io { source: error.into() });
            }
        }
        Ok(Box::new(Connection::new(connection, send, receive, frame_bytes_max)))
    }
}

/// Counts a handshake for as long as it is neither over nor given up.
struct HalfOpen(Arc<AtomicUsize>);

impl HalfOpen {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
