//! Listening: arrivals, what is done with too many of them, and their handshakes.

use super::connection::{Connection, WRONG_STREAM};
use super::half_open::{HalfOpen, Handshakes};
use super::sockets::Bound;
use super::{Quic, STREAM_BEGIN, config, endpoint, fault};
use crate::address::bind_error;
use async_trait::async_trait;
use emitwire_core::transport::{self, BindError, HandshakeError, Incoming};
use quinn::{ConnectionError, Endpoint, ReadExactError, RecvStream, SendStream, ServerConfig};
use std::io;
use std::mem;
use std::net::SocketAddr;
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
        shared.set_server_config(Some(config.clone()));
        let socket = Socket::Shared(shared.clone());
        return Listener::new(quic, socket, config)
            .map_err(|source| BindError::Io { endpoint, source });
    }
    let addresses = match lookup_host(&*quic.address).await {
        Ok(addresses) => addresses,
        Err(source) => return Err(BindError::NotAvailable { endpoint, source }),
    };
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        let bound = Bound::new(address, config.clone()).await;
        match bound.and_then(|bound| Listener::new(quic, Socket::Own(bound), config.clone())) {
            Ok(listener) => {
                quic.tls.announce(&super::endpoint(listener.address));
                return Ok(listener);
            }
            Err(error) => failure = error,
        }
    }
    Err(bind_error(endpoint, failure))
}

/// A bound endpoint.
pub(super) struct Listener {
    socket: Socket,
    address: SocketAddr,
    frame_bytes_max: usize,
    retry_above: usize,
    half_open_max: usize,
    handshakes: Handshakes,
    /// For another socket, should this one fail.
    config: ServerConfig,
    /// It is on another socket, by which nobody has come yet.
    has_come_back: bool,
}

enum Socket {
    Own(Bound),
    /// Whoever made it keeps it; only listening ends.
    Shared(Endpoint),
    /// Its own has failed, and there is no other yet.
    Failed,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Shared(endpoint) = self {
            endpoint.set_server_config(None);
        }
    }
}

impl Listener {
    fn new(quic: &Quic, socket: Socket, config: ServerConfig) -> io::Result<Self> {
        let (address, handshakes) = match &socket {
            Socket::Own(bound) => (bound.address, bound.handshakes.clone()),
            Socket::Shared(endpoint) => (endpoint.local_addr()?, Handshakes::default()),
            Socket::Failed => return Err(io::ErrorKind::NotConnected.into()),
        };
        let Quic { frame_bytes_max, retry_above, half_open_max, .. } = *quic;
        Ok(Self {
            socket,
            address,
            frame_bytes_max,
            retry_above,
            half_open_max,
            handshakes,
            config,
            has_come_back: false,
        })
    }

    /// Answers a peer without keeping anything of it, when too many are in their handshakes; else
    /// it is let in.
    fn admit(&self, incoming: quinn::Incoming) -> Option<Arrival> {
        let half_open = self.handshakes.count();
        if half_open >= self.half_open_max {
            incoming.ignore();
            return None;
        }
        if half_open >= self.retry_above && !incoming.remote_address_validated() {
            // It comes again with a token, which nobody gets who only pretends to be there.
            let _ = incoming.retry();
            return None;
        }
        let half_open = self.handshakes.begin();
        Some(Arrival { incoming, half_open, frame_bytes_max: self.frame_bytes_max })
    }

    /// quinn gives a socket up at the first error of a read, with all of its connections. What was
    /// wrong may have passed, so another takes its place.
    async fn come_back(&mut self) -> io::Result<()> {
        if let Socket::Own(bound) = &mut self.socket {
            bound.has_failed = true;
        }
        self.socket = Socket::Failed;
        let bound = Bound::new(self.address, self.config.clone()).await?;
        self.handshakes = bound.handshakes.clone();
        self.socket = Socket::Own(bound);
        Ok(())
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
            let incoming = match &self.socket {
                Socket::Own(bound) => bound.endpoint.accept().await,
                Socket::Shared(endpoint) => match endpoint.accept().await {
                    None => return Err(io::ErrorKind::NotConnected.into()),
                    incoming => incoming,
                },
                Socket::Failed => None,
            };
            let has_come_back = mem::take(&mut self.has_come_back);
            match incoming.map(|incoming| self.admit(incoming)) {
                Some(Some(arrival)) => return Ok(Box::new(arrival)),
                Some(None) => {}
                // One socket after another fails: whoever accepts is to rest before the next.
                None if has_come_back => return Err(io::ErrorKind::NotConnected.into()),
                None => {
                    self.come_back().await?;
                    self.has_come_back = true;
                }
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
        let opening = open(&connection);
        let (send, receive, begun) = tokio::select! {
            biased;
            opened = opening => opened.map_err(failed)?,
            error = discard_datagrams(&connection) => return Err(failed(error)),
        };
        match begun {
            Ok(STREAM_BEGIN) => {}
            Ok(_) | Err(ReadExactError::FinishedEarly(_)) => {
                connection.close(u32::from(WRONG_STREAM).into(), b"");
                let source = "its stream does not begin as one of this wire".into();
                return Err(HandshakeError::Malformed { source });
            }
            Err(ReadExactError::ReadError(error)) => {
                return Err(HandshakeError::Io { source: error.into() });
            }
        }
        Ok(Box::new(Connection::new(connection, send, receive, frame_bytes_max)))
    }
}

/// The stream of a client, and the byte that it begins with.
async fn open(
    connection: &quinn::Connection,
) -> Result<(SendStream, RecvStream, Result<u8, ReadExactError>), ConnectionError> {
    let (send, mut receive) = connection.accept_bi().await?;
    let mut begin = [0];
    let begun = receive.read_exact(&mut begin).await.map(|()| begin[0]);
    Ok((send, receive, begun))
}

/// Throws away what comes before the stream has begun: nobody could read it before, and each keeps
/// in memory whatever came at once with it.
async fn discard_datagrams(connection: &quinn::Connection) -> ConnectionError {
    loop {
        if let Err(error) = connection.read_datagram().await {
            return error;
        }
    }
}

#[cfg(all(test, feature = "self-signed"))]
mod tests {
    use super::*;
    use crate::tls::Tls;
    use quinn::udp::{RecvMeta, Transmit};
    use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
    use std::io::IoSliceMut;
    use std::net::UdpSocket;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use transport::{Listener as _, Transport};

    /// A socket of which nothing can be read.
    #[derive(Debug)]
    struct Deaf(Arc<dyn AsyncUdpSocket>);

    impl AsyncUdpSocket for Deaf {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Arc::clone(&self.0).create_io_poller()
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            self.0.try_send(transmit)
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.local_addr()
        }
    }

    #[tokio::test]
    async fn a_listener_whose_sockets_fail_one_after_another_lets_rest_in_between() {
        let quic = Quic::new("127.0.0.1:0").tls(Tls::self_signed().unwrap());
        let config = config::server(&quic).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Arc::new(Deaf(TokioRuntime.wrap_udp_socket(socket).unwrap()));
        let bound = Bound::on_wrapped(socket, address, config.clone()).unwrap();
        let mut listener = Listener::new(&quic, Socket::Own(bound), config).unwrap();
        // As if that was already the socket to which it has come back.
        listener.has_come_back = true;
        let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
        assert!(accepted.expect("it does not go on by itself").is_err());
        assert!(!listener.has_come_back, "the next time it tries again");
    }

    #[tokio::test]
    async fn a_listener_whose_socket_fails_listens_on_another() {
        let tls = Tls::self_signed().unwrap();
        let pinned = Tls::new().pin(tls.fingerprint().unwrap()).unwrap();
        let quic = Quic::new("127.0.0.1:0").tls(tls);
        let config = config::server(&quic).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Arc::new(Deaf(TokioRuntime.wrap_udp_socket(socket).unwrap()));
        let bound = Bound::on_wrapped(socket, address, config.clone()).unwrap();
        let mut listener = Listener::new(&quic, Socket::Own(bound), config).unwrap();
        let client = Quic::to(address).tls(pinned);
        let connecting = async {
            // It knocks, and may find the port closed for a moment.
            loop {
                if let Ok(connected) = client.connect().await {
                    return connected;
                }
            }
        };
        let accepting = async { listener.accept().await.unwrap().handshake().await };
        let (client, server) = tokio::join!(connecting, accepting);
        assert_eq!(client.peer().endpoint(), format!("quic://{address}"));
        assert!(server.is_ok());
    }
}
