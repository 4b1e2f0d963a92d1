//! The reading half: frames of the stream, and a volatile frame for each datagram.

use super::connection::{Link, at};
use super::datagrams::Datagrams;
use super::fault;
use crate::framing::FrameReader;
use bytes::Bytes;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Peer, ReadError, ReadHalf};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

pub(super) struct Reader {
    stream: FrameReader<Stream>,
    datagrams: Datagrams,
    link: Arc<Link>,
    peer: Peer,
    /// Where the peer was when somebody was last told.
    address: SocketAddr,
    /// Where it has been seen since then, and since when.
    seen: Option<(SocketAddr, Instant)>,
    wire_bytes_max: usize,
    frame_bytes_max: usize,
    /// A frame was refused. What still comes is thrown away.
    has_failed: bool,
}

impl Reader {
    pub(super) fn new(
        stream: quinn::RecvStream,
        datagrams: Datagrams,
        link: Arc<Link>,
        peer: Peer,
        frame_bytes_max: usize,
    ) -> Self {
        Self {
            stream: FrameReader::new(Stream(stream), frame_bytes_max),
            datagrams,
            address: link.connection.remote_address(),
            seen: None,
            link,
            peer,
            wire_bytes_max: frame_bytes_max,
            frame_bytes_max,
            has_failed: false,
        }
    }

    /// Takes the datagrams that are there, up to a bound, and says how many bytes they were.
    fn poll_datagrams(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Result<usize, ReadError> {
        let mut bytes = 0;
        for _ in 0..DATAGRAMS_A_READ {
            // Why the connection ended the stream says.
            let Poll::Ready(Some(body)) = self.datagrams.poll_next(cx) else { break };
            let max = self.frame_bytes_max;
            if body.len() > max && !self.has_failed {
                return Err(ReadError::FrameTooLarge { bytes: body.len() as u64, max });
            }
            bytes += DATAGRAM_HEADER_BYTES + body.len();
            // It is a slice of all that came at once, which it would keep in memory.
            frames.push(Frame::volatile(Bytes::copy_from_slice(&body)));
        }
        Ok(bytes)
    }

    /// First the stream: what it brings may be what the datagrams are about.
    fn poll_both(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let read = self.stream.poll_read(cx, frames);
        if let Poll::Ready(Err(error)) = read {
            return Poll::Ready(Err(why(error)));
        }
        match (read, self.poll_datagrams(cx, frames)?) {
            (read, 0) => read,
            (Poll::Ready(Ok(bytes)), more) => Poll::Ready(Ok(bytes + more)),
            (_, more) => Poll::Ready(Ok(more)),
        }
    }
}

impl ReadHalf for Reader {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(self.wire_bytes_max);
        self.stream.set_frame_bytes_max(frame_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let before = frames.len();
        let read = self.poll_both(cx, frames);
        if self.has_failed {
            frames.truncate(before);
        }
        self.has_failed |= matches!(read, Poll::Ready(Err(_)));
        read
    }

    fn moved(&mut self) -> Option<Peer> {
        let address = self.link.connection.remote_address();
        if address == self.address {
            self.seen = None;
            return None;
        }
        let now = Instant::now();
        let since = match self.seen {
            Some((seen, since)) if seen == address => since,
            _ => now,
        };
        self.seen = Some((address, since));
        if now - since < verification(self.link.connection.rtt()) {
            return None;
        }
        (self.address, self.seen) = (address, None);
        self.peer = self.peer.clone().at(at(address));
        Some(self.peer.clone())
    }
}

fn why(error: ReadError) -> ReadError {
    let refused = match &error {
        ReadError::Io { source } => fault::alert_in(source),
        _ => None,
    };
    refused.map_or(error, |source| ReadError::Handshake { source })
}

/// The stream's direction from the peer, with what ended the connection as its errors.
struct Stream(quinn::RecvStream);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read_buf(cx, room).map_err(|error| match error {
            quinn::ReadError::ConnectionLost(error) => error.into(),
            error => error.into(),
        })
    }
}

/// How long an address may be one that the peer is not at. quinn sends there at once whence the
/// newest packet came, which somebody may have sent on under a false address; where nobody answers
/// it goes back after three probe timeouts (RFC 9000 §8.2.4), and says nothing of either. A timeout
/// is as long as three round trips, if these vary as much as is assumed before any is measured
/// (RFC 9002 §5.3), and the peer's delay of its acknowledgements.
fn verification(round_trip: Duration) -> Duration {
    9 * round_trip + 3 * ACK_DELAY_MAX
}

/// How long a peer that was not asked for less delays its acknowledgements (RFC 9000 §18.2), and a
/// little more.
const ACK_DELAY_MAX: Duration = Duration::from_millis(33);

/// How many datagrams one read takes at most.
const DATAGRAMS_A_READ: usize = 64;

/// The type of a DATAGRAM frame (RFC 9221 §4), so that an empty datagram is a sign of life too.
const DATAGRAM_HEADER_BYTES: usize = 1;
