//! A TCP stream that is encrypted from its first byte on.

use super::{certificates_of, fault};
use crate::net;
use emitwire_core::transport::{HandshakeError, Peer};
use rustls::{ClientConfig, ServerConfig};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// What a TCP connection is once it is encrypted.
pub(crate) type Encrypted = TlsStream<TcpStream>;

/// The server's side of the handshake; the peer then has the certificates that it has shown.
///
/// # Errors
/// The client speaks no TLS, other terms of it, another protocol inside, or has no certificate that
/// is good. It was told.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    peer: Peer,
) -> Result<(Encrypted, Peer), HandshakeError> {
    let accepted = TlsAcceptor::from(config).accept(stream).into_fallible().await;
    let stream = match accepted {
        Ok(stream) => TlsStream::from(stream),
        Err((error, mut stream)) => {
            // It was told why, unless a reset overtakes that.
            net::hang_up(&mut stream).await;
            return Err(fault::of_io(error));
        }
    };
    let peer = shown(&stream, peer);
    Ok((stream, peer))
}

/// The client's side of the handshake, for a server of this host.
///
/// # Errors
/// The server speaks no TLS, other terms of it, no protocol that is known here, or has no
/// certificate that is good.
pub(crate) async fn connect(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
    peer: Peer,
) -> Result<(Encrypted, Peer), HandshakeError> {
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = TlsStream::from(connected.map_err(fault::of_io)?);
    let peer = shown(&stream, peer);
    Ok((stream, peer))
}

fn shown(stream: &Encrypted, peer: Peer) -> Peer {
    let (_, connection) = stream.get_ref();
    peer.with_certificates(certificates_of(connection.peer_certificates()))
}

/// Gives each direction its owner. Whoever writes never reads, because the handshake is over: what
/// the protocol has to say for itself afterwards goes out with what is written next.
pub(crate) fn split(stream: Encrypted) -> (EncryptedReader, EncryptedWriter) {
    let stream = Arc::new(Mutex::new(stream));
    (EncryptedReader(Arc::clone(&stream)), EncryptedWriter(stream))
}

/// What is read.
pub(crate) struct EncryptedReader(Arc<Mutex<Encrypted>>);

/// What is written. Dropping it ends this direction of the connection, and does not say that it is
/// an end: to the peer it is a cut.
pub(crate) struct EncryptedWriter(Arc<Mutex<Encrypted>>);

fn lock(stream: &Mutex<Encrypted>) -> MutexGuard<'_, Encrypted> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for EncryptedReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_read(cx, room)
    }
}

impl AsyncWrite for EncryptedWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_shutdown(cx)
    }
}

impl Drop for EncryptedWriter {
    fn drop(&mut self) {
        let mut stream = lock(&self.0);
        // A socket is never asked to wait for that.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(stream.get_mut().0).poll_shutdown(&mut cx);
    }
}
