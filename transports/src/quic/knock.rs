//! Finding out at once that nobody listens.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;

/// Waits until the system knows that nobody listens there, if it ever does.
///
/// QUIC cannot tell a closed port from a slow one: its socket is not connected, so the system has
/// nobody to give the answer to (ICMP, port unreachable). A connected one is told; so it sends an
/// empty datagram, which is no packet of QUIC and gets no other answer. That one cannot knock says
/// nothing of who is there.
pub(super) async fn refused(address: SocketAddr) -> io::Error {
    match knock(address).await {
        Err(error) if is_refusal(error.kind()) => error,
        _ => pending().await,
    }
}

/// Windows calls it a reset.
fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

async fn knock(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(wildcard(address)).await?;
    socket.connect(address).await?;
    socket.send(&[]).await?;
    loop {
        // Whoever answers is there.
        socket.recv(&mut [0]).await?;
    }
}

/// Any port of this machine from which that address can be reached.
pub(super) fn wildcard(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
