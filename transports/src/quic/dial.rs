//! Connecting: a socket, a handshake, a knock beside it, and the byte that begins the stream.

use super::config::{self, BoxError};
use super::connection::Connection;
use super::knock::{self, wildcard};
use super::tasks::{GivenUp, Tasks};
use super::{Quic, STREAM_BEGIN, endpoint, fault};
use crate::tls::Finding;
use emitwire_core::transport::{ConnectError, HandshakeError};
use quinn::{ClientConfig, Connecting, Endpoint, EndpointConfig, WriteError};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Connects to the first address of `host:port` that answers.
pub(super) async fn dial(quic: &Quic) -> Result<Connection, ConnectError> {
    let endpoint = endpoint(&quic.address);
    let addresses = match lookup_host(&*quic.address).await {
        Ok(addresses) => addresses,
        Err(source) => return Err(ConnectError::Unreachable { endpoint, source }),
    };
    let asked = match Asked::of(quic) {
        Ok(asked) => asked,
        Err(source) => return Err(ConnectError::Options { endpoint, source }),
    };
    let source = io::ErrorKind::AddrNotAvailable.into();
    let mut failure = ConnectError::Unreachable { endpoint, source };
    for address in addresses {
        let attempt = timeout(quic.connect_timeout, attempt(quic, &asked, address)).await;
        match attempt.unwrap_or(Err(ConnectError::Timeout { after: quic.connect_timeout })) {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What is asked of whoever is there.
struct Asked {
    config: ClientConfig,
    server_name: String,
    /// What is wrong with the certificate of whoever is there.
    finding: Finding,
}

impl Asked {
    fn of(quic: &Quic) -> Result<Self, BoxError> {
        let (config, finding) = config::client(quic)?;
        Ok(Self { config, server_name: config::server_name(quic)?, finding })
    }
}

async fn attempt(
    quic: &Quic,
    asked: &Asked,
    address: SocketAddr,
) -> Result<Connection, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { endpoint: endpoint(address), source };
    let (local, given_up) = match &quic.endpoint {
        Some(shared) => (shared.clone(), None),
        None => own(address).map_err(unreachable)?,
    };
    let connecting = local.connect_with(asked.config.clone(), address, &asked.server_name);
    let connecting = connecting.map_err(|error| ConnectError::Options {
        endpoint: endpoint(address),
        source: error.into(),
    })?;
    let mut attempt = Attempt { connecting: Some(connecting), given_up };
    let connection = tokio::select! {
        biased;
        connected = attempt.connect() => connected,
        source = knock::refused(address), if quic.endpoint.is_none() => {
            return Err(unreachable(source));
        }
    };
    let failed = |source| match source {
        HandshakeError::Io { source } => unreachable(source),
        source => ConnectError::Handshake { endpoint: endpoint(address), source },
    };
    let failed = |error| failed(fault::handshake(error, asked.finding.of(&asked.server_name)));
    let connection = connection.map_err(failed)?;
    let (mut send, receive) = connection.open_bi().await.map_err(failed)?;
    match send.write_all(&[STREAM_BEGIN]).await {
        Err(WriteError::ConnectionLost(error)) => Err(failed(error)),
        Err(error) => Err(unreachable(error.into())),
        Ok(()) => Ok(Connection::new(connection, send, receive, quic.frame_bytes_max)),
    }
}

/// An endpoint for one connection: it goes when the connection goes.
fn own(address: SocketAddr) -> io::Result<(Endpoint, Option<Arc<GivenUp>>)> {
    let tasks = Tasks::default();
    let given_up = tasks.given_up();
    let socket = UdpSocket::bind(wildcard(address))?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(tasks))?;
    Ok((endpoint, Some(given_up)))
}

/// A handshake that may be given up.
struct Attempt {
    connecting: Option<Connecting>,
    given_up: Option<Arc<GivenUp>>,
}

impl Attempt {
    async fn connect(&mut self) -> Result<quinn::Connection, quinn::ConnectionError> {
        let Some(connecting) = &mut self.connecting else {
            return Err(quinn::ConnectionError::LocallyClosed);
        };
        let connected = connecting.await;
        self.connecting = None;
        connected
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // First the close, then that it is the last that is said.
        if let (Some(connecting), Some(given_up)) = (self.connecting.take(), &self.given_up) {
            drop(connecting);
            given_up.set();
        }
    }
}
