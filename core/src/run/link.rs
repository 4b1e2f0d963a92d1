//! A link before its halves have their owners, and after.

use super::Config;
use crate::protocol::{
    Assembly, Close, Codec, DecodeError, Decoder, DisconnectReason, Frame, Packet, ProtocolError,
};
use crate::room::{Counters, Parting, pieces};
use crate::transport::{
    Capabilities, Connection, HandshakeError, Peer, ReadError, ReadHalf, WriteHalf,
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::task::coop;

/// A connection in its handshake.
pub(crate) struct Link {
    pub(crate) reader: Reader,
    pub(crate) write: Box<dyn WriteHalf>,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    /// Packets that were written in pieces.
    pub(crate) fragmented: u64,
    /// Volatile events that came before what begins the session.
    pub(crate) overtook: u64,
}

impl Link {
    pub(crate) fn new(connection: Box<dyn Connection>, config: &Config) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let codec = connection.codec();
        let (read, write) = connection.split();
        let mut reader = Reader {
            read,
            decoder: codec.decoder(),
            unhandled: Vec::new(),
            packet_bytes: 0,
            ended: None,
            late_failure: None,
            assembly: Assembly::default(),
            packet_bytes_max: 0,
        };
        reader.take_packets_of(config.handshake_bytes_max);
        Self { reader, write, codec, peer, capabilities, fragmented: 0, overtook: 0 }
    }

    /// The next packet.
    pub(crate) async fn hear(&mut self) -> Result<Packet, DisconnectReason> {
        poll_fn(|cx| self.poll_hear(cx)).await
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet, DisconnectReason>> {
        loop {
            while let Some(packet) = self.reader.next_packet() {
                match packet? {
                    Some((packet, _)) if !self.may_have_overtaken(&packet) => {
                        return Poll::Ready(Ok(packet));
                    }
                    Some(_) => self.overtook += 1,
                    None => {}
                }
                // A peer may send any number of those that are passed over.
                ready!(coop::poll_proceed(cx)).made_progress();
            }
            if let Some(ended) = self.reader.take_end() {
                return Poll::Ready(Err(match ended {
                    // A length that cannot be one: the first bytes of another protocol.
                    DisconnectReason::Protocol(ProtocolError::Decode(DecodeError::TooLong {
                        ..
                    })) => DisconnectReason::Protocol(DecodeError::NotEmitwire.into()),
                    ended => ended,
                }));
            }
            if self.reader.poll_fill(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whether it took a faster road than what was written before it.
    fn may_have_overtaken(&self, packet: &Packet) -> bool {
        self.capabilities.datagram_bytes_max.is_some() && matches!(packet, Packet::Volatile(_))
    }

    pub(crate) async fn say(
        &mut self,
        packet: &Packet,
        deadline: Duration,
    ) -> Result<(), DisconnectReason> {
        let encoded = self.codec.encode(packet);
        let mut batch = VecDeque::new();
        let frame_bytes_max = self.capabilities.frame_bytes_max;
        for frame in encoded.frames() {
            if frame.body.len() <= frame_bytes_max {
                batch.push_back(frame.clone());
            } else {
                batch.extend(pieces(frame, self.fragmented, &*self.codec, frame_bytes_max));
                self.fragmented += 1;
            }
        }
        let written = poll_fn(|cx| self.write.poll_write(cx, &mut batch));
        match tokio::time::timeout(deadline, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(DisconnectReason::LinkLost),
            Err(_) => Err(DisconnectReason::HandshakeTimeout),
        }
    }

    /// Whether the peer has left since it said something.
    pub(crate) fn is_gone(&mut self) -> bool {
        // Whoever has it next polls it again.
        let mut cx = Context::from_waker(Waker::noop());
        if self.reader.is_empty() && self.reader.ended.is_none() {
            let _ = self.reader.poll_fill(&mut cx);
        }
        self.reader.is_empty() && self.reader.ended.is_some()
    }

    /// Tells the peer why, as far as it listens.
    pub(crate) async fn refuse(mut self, close: Option<Close>, deadline: Duration) {
        let Some(close) = close else { return };
        self.write.goodbye(close.code);
        let goodbye = async {
            if self.say(&Packet::Close(close), deadline).await.is_ok() {
                let _ = poll_fn(|cx| self.write.poll_close(cx)).await;
                self.reader.linger().await;
            }
        };
        // Whoever does not take it in time goes without.
        let _ = tokio::time::timeout(deadline, goodbye).await;
    }
}

thread_local! {
    /// What is read is handled at once, so that drivers that wait hold no room for it.
    static SPARE_FRAMES: std::cell::Cell<Vec<Frame>> = const { std::cell::Cell::new(Vec::new()) };
}

/// One read brings as many small frames as fit into it; more room than that is not kept.
const SPARE_FRAMES_MAX: usize = 4096;

/// The reading half of a link, with what was read and not handled yet.
pub(crate) struct Reader {
    read: Box<dyn ReadHalf>,
    decoder: Box<dyn Decoder>,
    /// Read, and not handled yet; the next one stands at the end.
    unhandled: Vec<Frame>,
    /// Bytes of the packet whose frames are still coming.
    packet_bytes: usize,
    /// Why nothing more can be read; told when all that came before it is handled.
    ended: Option<DisconnectReason>,
    /// What that was, if it was the wire's own handshake.
    late_failure: Option<Box<HandshakeError>>,
    assembly: Assembly,
    packet_bytes_max: usize,
}

impl Reader {
    /// Takes packets of up to so many bytes from now on.
    pub(crate) fn take_packets_of(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
        self.read.set_frame_bytes_max(packet_bytes_max);
    }

    /// Whether everything that was read is handled.
    pub(crate) fn is_empty(&self) -> bool {
        self.unhandled.is_empty()
    }

    /// Why nothing more can be read, when all that was is handled.
    pub(crate) fn take_end(&mut self) -> Option<DisconnectReason> {
        if self.is_empty() { self.ended.take() } else { None }
    }

    /// Reads once; says how many bytes came.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        debug_assert!(self.is_empty(), "what was read is handled first");
        self.unhandled = SPARE_FRAMES.try_with(std::cell::Cell::take).unwrap_or_default();
        let Poll::Ready(read) = self.read.poll_read(cx, &mut self.unhandled) else {
            self.give_back_spare();
            return Poll::Pending;
        };
        self.unhandled.reverse();
        // What came whole before the end is handled before it.
        Poll::Ready(match read {
            Ok(0) => {
                self.ended = Some(DisconnectReason::LinkLost);
                0
            }
            Ok(bytes) => bytes,
            Err(ReadError::Handshake { source }) => {
                tracing::debug!(error = %source, "the wire's handshake failed after all");
                self.ended = Some(reason_of(&source));
                self.late_failure = Some(Box::new(source));
                0
            }
            Err(error) => {
                self.ended = Some(error.into());
                0
            }
        })
    }

    /// That the wire's own handshake failed, and how, if that is why nothing more can be read.
    pub(crate) fn take_late_failure(&mut self) -> Option<HandshakeError> {
        self.late_failure.take().map(|failure| *failure)
    }

    /// Where the peer is now, if it is elsewhere than before.
    pub(crate) fn moved(&mut self) -> Option<Peer> {
        self.read.moved()
    }

    /// The next of the packets that were read, with its bytes; `Some(Ok(None))` when a frame was
    /// not the last of its packet.
    pub(crate) fn next_packet(
        &mut self,
    ) -> Option<Result<Option<(Packet, usize)>, DisconnectReason>> {
        let frame = self.unhandled.pop()?;
        if self.unhandled.is_empty() {
            self.give_back_spare();
        }
        // What a packet weighs in its sender's log is all of its frames.
        self.packet_bytes += frame.body.len();
        let decoded = self.decode(frame).map_err(DisconnectReason::Protocol);
        Some(decoded.map(|packet| Some((packet?, std::mem::take(&mut self.packet_bytes)))))
    }

    fn decode(&mut self, frame: Frame) -> Result<Option<Packet>, ProtocolError> {
        let fragment = match self.decoder.decode(frame)? {
            Some(Packet::Fragment(fragment)) => fragment,
            packet => return Ok(packet),
        };
        let whole = self.assembly.handle(&fragment, self.packet_bytes_max)?;
        let Some(whole) = whole else { return Ok(None) };
        // The pieces' own headers are no part of it.
        self.packet_bytes = whole.body.len();
        match self.decoder.decode(whole)? {
            Some(Packet::Fragment(_)) => Err(ProtocolError::Unexpected { packet: "fragment" }),
            packet => Ok(packet),
        }
    }

    /// Reads until the peer ends too. The caller gives it a deadline.
    pub(crate) async fn linger(&mut self) {
        let mut bytes = 0;
        let mut frames = Vec::new();
        while bytes < LINGER_BYTES_MAX {
            match poll_fn(|cx| self.read.poll_read(cx, &mut frames)).await {
                Ok(0) | Err(_) => return,
                Ok(more) => bytes += more,
            }
            frames.clear();
        }
    }

    /// Room for frames is for whoever reads next on this thread, if there is no frame in it.
    fn give_back_spare(&mut self) {
        if self.unhandled.capacity() <= SPARE_FRAMES_MAX {
            let _ = SPARE_FRAMES.try_with(|spare| spare.set(std::mem::take(&mut self.unhandled)));
        }
    }
}

/// Bytes of a leaving peer that are read and thrown away, so that its goodbye is not lost to a
/// reset.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Says goodbye on a link that its session has given up, as far as the peer listens.
pub(crate) async fn part(
    mut reader: Reader,
    parting: Parting,
    close: Close,
    codec: Arc<dyn Codec>,
    deadline: Duration,
) {
    let Parting { mut half, unsent: mut batch } = parting;
    half.goodbye(close.code);
    batch.extend(codec.encode(&Packet::Close(close)).frames().iter().cloned());
    let goodbye = async {
        if poll_fn(|cx| half.poll_write(cx, &mut batch)).await.is_ok() {
            let _ = poll_fn(|cx| half.poll_close(cx)).await;
            reader.linger().await;
        }
    };
    let _ = tokio::time::timeout(deadline, goodbye).await;
}

impl From<ReadError> for DisconnectReason {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::FrameTooLarge { bytes, max } => {
                let (length, max) = (bytes, max as u64);
                let error = DecodeError::TooLong { length, max };
                Self::Protocol(error.into())
            }
            ReadError::Malformed { source } => {
                tracing::debug!(rule = %source, "the wire's own rules were broken");
                Self::Protocol(ProtocolError::Wire)
            }
            ReadError::Handshake { source } => reason_of(&source),
            ReadError::Io { .. } | ReadError::Truncated => Self::LinkLost,
        }
    }
}

fn reason_of(failure: &HandshakeError) -> DisconnectReason {
    match failure {
        // The first bytes were those of another protocol.
        HandshakeError::Encrypted => DisconnectReason::Protocol(DecodeError::NotEmitwire.into()),
        _ => DisconnectReason::LinkLost,
    }
}

/// Counts a link for as long as it is open, however it ends.
pub(crate) struct OpenLink(Arc<Counters>);

impl OpenLink {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        counters.links.add(1);
        Self(Arc::clone(counters))
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.0.links.sub(1);
    }
}
