//! TCP sockets, as every wire on top of them wants them.

mod security;
mod stream;

pub(crate) use security::{Acceptor, Inside, Security};
pub(crate) use stream::Stream;

use crate::address::bind_error;
use emitwire_core::transport::{BindError, ConnectError};
use std::io;
use std::net::SocketAddr;
#[cfg(any(feature = "ws", feature = "tls"))]
use std::time::Duration;
#[cfg(any(feature = "ws", feature = "tls"))]
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

/// Listens on the first address of `host:port` that can be listened on.
pub(crate) async fn bind(
    address: &str,
    backlog: u32,
    endpoint: &str,
) -> Result<TcpListener, BindError> {
    let endpoint = endpoint.to_owned();
    let addresses = match lookup_host(address).await {
        Ok(addresses) => addresses,
        Err(source) => return Err(BindError::NotAvailable { endpoint, source }),
    };
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match listen(address, backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(bind_error(endpoint, failure))
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if cfg!(unix) {
        // Lets a server start again while connections of its last run are in TIME-WAIT. On
        // Windows the option would let two servers share the address instead.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Connects to the first address of `host:port` that answers; also says which it was.
pub(crate) async fn connect(
    address: &str,
    endpoint: &str,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        let peer = prepare(&stream)?;
        Ok((stream, peer))
    };
    let endpoint = endpoint.to_owned();
    connected.await.map_err(|source| ConnectError::Unreachable { endpoint, source })
}

/// What either end does with a fresh stream; says who the peer is.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    let peer = stream.peer_addr()?;
    // Connecting to a port of this machine where nobody listens may pick that same port for
    // this side, and the socket meets itself (RFC 9293 §3.5, simultaneous open).
    if peer == stream.local_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(peer)
}

/// Ends this side, and reads on without a look until the peer has ended too, so that what it was
/// told last is not lost to a reset. The caller has a deadline for all of it.
#[cfg(any(feature = "ws", feature = "tls"))]
pub(crate) async fn hang_up(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let lingering = async {
        let mut bytes = [0; 1024];
        let mut rest = LINGER_BYTES_MAX;
        if stream.shutdown().await.is_ok() {
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                rest = rest.saturating_sub(count);
                if rest == 0 {
                    return;
                }
            }
        }
    };
    // A peer that does not leave does not keep its place for it.
    let _ = tokio::time::timeout(LINGER_TIME, lingering).await;
}

/// How long a refused peer may take to leave.
#[cfg(any(feature = "ws", feature = "tls"))]
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Bytes of a refused peer that are read and thrown away.
#[cfg(any(feature = "ws", feature = "tls"))]
const LINGER_BYTES_MAX: usize = 256 * 1024;

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
            let error = prepare(&stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
