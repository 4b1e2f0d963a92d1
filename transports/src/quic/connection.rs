//! A live connection: one stream, datagrams beside it, and an end that both halves share.

use super::datagrams::Datagrams;
use super::reader::Reader;
use super::writer::{SendStream, Writer};
use super::{DATAGRAM_BYTES_MAX, endpoint};
use crate::tls::certificates_of;
use emitwire_core::transport::{self, Capabilities, Peer, ReadHalf, WriteHalf};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A connection whose stream is open in both directions.
pub(super) struct Connection {
    peer: Peer,
    link: Link,
    send: SendStream,
    receive: quinn::RecvStream,
    frame_bytes_max: usize,
}

impl Connection {
    pub(super) fn new(
        connection: quinn::Connection,
        send: quinn::SendStream,
        receive: quinn::RecvStream,
        frame_bytes_max: usize,
    ) -> Self {
        let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Chain>().ok());
        let shown = certificates_of(shown.as_deref().map(Vec::as_slice));
        let peer = Peer::new(at(connection.remote_address())).with_certificates(shown);
        let link = Link { connection, code: AtomicU8::new(NO_GOODBYE) };
        Self { peer, link, send: SendStream::new(send), receive, frame_bytes_max }
    }
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::stream(self.frame_bytes_max).encrypted();
        capabilities.datagram_bytes_max = Some(datagram_bytes_max(self.frame_bytes_max));
        capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let Self { peer, link, send, receive, frame_bytes_max } = *self;
        let link = Arc::new(link);
        let datagrams = Datagrams::new(link.connection.clone());
        let reader = Reader::new(receive, datagrams, Arc::clone(&link), peer, frame_bytes_max);
        let writer = Writer::new(send, link, datagram_bytes_max(frame_bytes_max));
        (Box::new(reader), Box::new(writer))
    }
}

/// What both halves hold. When both are gone the connection is closed, with the code of the
/// goodbye: not before, because closing throws away whatever is not acknowledged (RFC 9000 §10.2).
pub(super) struct Link {
    pub(super) connection: quinn::Connection,
    code: AtomicU8,
}

impl Link {
    /// The code that the peer is to see at the end.
    pub(super) fn say(&self, code: u8) {
        self.code.store(code, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let code = self.code.load(Ordering::Relaxed);
        self.connection.close(u32::from(code).into(), b"");
    }
}

/// Where a peer is. A socket for both families shows IPv4 peers as IPv6 ones; here they are again
/// what they are.
pub(super) fn at(address: SocketAddr) -> String {
    endpoint(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// What a peer shows, as quinn has it.
type Chain = Vec<CertificateDer<'static>>;

/// No datagram is larger than a frame may be.
fn datagram_bytes_max(frame_bytes_max: usize) -> usize {
    DATAGRAM_BYTES_MAX.min(frame_bytes_max)
}

/// The application error code of a connection whose end was not said, on its stream too.
pub(super) const NO_GOODBYE: u8 = 0;

/// The application error code for a stream that does not begin as it should.
pub(super) const WRONG_STREAM: u8 = 0x80;
