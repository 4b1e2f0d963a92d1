//! Encrypted streams without emitwire, at both ends.

use crate::frames::{REQUEST, check_answer};
use crate::identity::Identity;
use crate::wire::{LOOPBACK, Wire};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, join};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes in both directions, whatever carries them.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A client's side: its QUIC connections share a socket.
pub(crate) struct Dialer {
    connector: TlsConnector,
    endpoint: quinn::Endpoint,
}

impl Dialer {
    pub(crate) fn new(identity: &Identity) -> io::Result<Self> {
        let config = identity.raw_client()?;
        let connector = TlsConnector::from(Arc::clone(&config));
        let config = QuicClientConfig::try_from(config).map_err(io::Error::other)?;
        let mut endpoint = quinn::Endpoint::client(any_port())?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
        Ok(Self { connector, endpoint })
    }

    /// A stream whose handshakes are over, except for what is spoken inside of a WebSocket.
    pub(crate) async fn dial(
        &self,
        wire: Wire,
        address: SocketAddr,
    ) -> io::Result<Box<dyn Duplex>> {
        if let Wire::Quic = wire {
            let connecting = self.endpoint.connect(address, HOST).map_err(io::Error::other)?;
            let (mut send, receive) = connecting.await?.open_bi().await?;
            send.write_all(&[STREAM_BEGIN]).await?;
            return Ok(Box::new(join(receive, send)));
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut stream = self.connector.connect(name, stream).await?;
        if wire.is_websocket() {
            shake_hands(&mut stream).await?;
        }
        Ok(Box::new(stream))
    }
}

async fn shake_hands(stream: &mut impl Duplex) -> io::Result<()> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    check_answer(&answer)
}

/// A server's side.
pub(crate) enum Acceptor {
    Tls(TcpListener, TlsAcceptor),
    Quic(quinn::Endpoint),
}

impl Acceptor {
    pub(crate) async fn bind(wire: Wire) -> io::Result<Self> {
        let config = Identity::get()?.raw_server()?;
        if let Wire::Quic = wire {
            let config = QuicServerConfig::try_from(config).map_err(io::Error::other)?;
            let config = quinn::ServerConfig::with_crypto(Arc::new(config));
            return quinn::Endpoint::server(config, any_port()).map(Self::Quic);
        }
        Ok(Self::Tls(TcpListener::bind(LOOPBACK).await?, config.into()))
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tls(listener, _) => listener.local_addr(),
            Self::Quic(endpoint) => endpoint.local_addr(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::Tls(listener, acceptor) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(acceptor.accept(stream).await?))
            }
            Self::Quic(endpoint) => {
                let closed = io::ErrorKind::NotConnected;
                let connection = endpoint.accept().await.ok_or(closed)?.await?;
                let (send, mut receive) = connection.accept_bi().await?;
                receive.read_u8().await?;
                Ok(Box::new(join(receive, send)))
            }
        }
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

const HOST: &str = "127.0.0.1";

/// The first byte of a QUIC connection's stream.
const STREAM_BEGIN: u8 = 0x01;
