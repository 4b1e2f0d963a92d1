//! The first packets of a link: hello and welcome, before there is a session.

use super::{Config, random};
use crate::protocol::{
    Close, CloseCode, Codec, DecodeError, Decoder, DisconnectReason, EventName, Frame, Hello,
    Limits, Outcome, Packet, ProducerId, ProtocolError, SessionId, Welcome,
};
use crate::transport::{Capabilities, Connection, Peer, ReadError, ReadHalf, WriteHalf};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A link on which both sides have introduced themselves.
pub(crate) struct Link {
    pub(crate) read: Box<dyn ReadHalf>,
    pub(crate) write: Box<dyn WriteHalf>,
    pub(crate) decoder: Box<dyn Decoder>,
    pub(crate) codec: Arc<dyn Codec>,
    /// Read together with the last packet of the handshake.
    pub(crate) early: Vec<Frame>,
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
    pub(crate) session: SessionId,
    pub(crate) ours: Limits,
    pub(crate) theirs: Limits,
    pub(crate) peer_producer: ProducerId,
}

/// The server's side: waits for a hello and answers it.
///
/// # Errors
/// Why there is no session; the peer was told, if it could be.
pub(crate) async fn accept(
    connection: Box<dyn Connection>,
    config: &Config,
    deadline: Instant,
    producer: ProducerId,
) -> Result<Link, DisconnectReason> {
    let mut half = Half::new(connection, config);
    let heard = tokio::time::timeout_at(deadline, hear_hello(&mut half)).await;
    let hello = match heard.unwrap_or(Err(DisconnectReason::HandshakeTimeout)) {
        Ok(hello) => hello,
        Err(reason) => {
            half.refuse(&reason, config.close_timeout).await;
            return Err(reason);
        }
    };
    let mut ours = config.limits();
    ours.event_bytes_max = ours.event_bytes_max.min(hello.limits.event_bytes_max);
    let session = SessionId(random::bits());
    let welcome = Welcome {
        session,
        // No session outlives its link yet, so there is nothing to prove later.
        token: Bytes::new(),
        producer,
        limits: ours,
        resume_window: Duration::ZERO,
        outcome: Outcome::New,
        position: 0,
        trimmed: 0,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    half.say(&Packet::Welcome(welcome), left).await?;
    Ok(half.into_link(session, ours, hello.limits, hello.producer))
}

/// The server has no place: says so instead of listening.
pub(crate) async fn turn_away(connection: Box<dyn Connection>, config: &Config) {
    let mut half = Half::new(connection, config);
    half.refuse(&DisconnectReason::Full, config.close_timeout).await;
}

/// The client's side: says hello and waits for the welcome.
///
/// # Errors
/// Why there is no session.
pub(crate) async fn open(
    connection: Box<dyn Connection>,
    config: &Config,
    producer: ProducerId,
) -> Result<Link, DisconnectReason> {
    let mut half = Half::new(connection, config);
    let mut ours = config.limits();
    let hello = Hello { resumes: false, nonce: random::bits(), producer, limits: ours };
    half.say(&Packet::Hello(hello), config.handshake_timeout).await?;
    let heard = tokio::time::timeout(config.handshake_timeout, hear_welcome(&mut half)).await;
    let welcome = match heard.unwrap_or(Err(DisconnectReason::HandshakeTimeout)) {
        Ok(welcome) => welcome,
        Err(reason) => {
            half.refuse(&reason, config.close_timeout).await;
            return Err(reason);
        }
    };
    ours.event_bytes_max = ours.event_bytes_max.min(welcome.limits.event_bytes_max);
    Ok(half.into_link(welcome.session, ours, welcome.limits, welcome.producer))
}

async fn hear_hello(half: &mut Half) -> Result<Hello, DisconnectReason> {
    let hello = match half.hear().await? {
        Packet::Hello(hello) => hello,
        other => return Err(unexpected(&other)),
    };
    if hello.resumes {
        match half.hear().await? {
            // Every session has ended with its link: the answer is a new one.
            Packet::Attach(_) => {}
            other => return Err(unexpected(&other)),
        }
    }
    Ok(hello)
}

async fn hear_welcome(half: &mut Half) -> Result<Welcome, DisconnectReason> {
    match half.hear().await? {
        Packet::Welcome(welcome) => Ok(welcome),
        Packet::Close(close) => Err(close.into()),
        other => Err(unexpected(&other)),
    }
}

/// A connection before its halves have their owners.
struct Half {
    read: Box<dyn ReadHalf>,
    write: Box<dyn WriteHalf>,
    decoder: Box<dyn Decoder>,
    codec: Arc<dyn Codec>,
    early: VecDeque<Frame>,
    peer: Peer,
    capabilities: Capabilities,
}

impl Half {
    fn new(connection: Box<dyn Connection>, config: &Config) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let codec = connection.codec();
        let (mut read, write) = connection.split();
        read.set_frame_bytes_max(config.handshake_bytes_max);
        let decoder = codec.decoder();
        Self { read, write, decoder, codec, early: VecDeque::new(), peer, capabilities }
    }

    /// The next packet.
    async fn hear(&mut self) -> Result<Packet, DisconnectReason> {
        loop {
            while let Some(frame) = self.early.pop_front() {
                match self.decoder.decode(frame) {
                    Ok(Some(packet)) => return Ok(packet),
                    Ok(None) => {}
                    Err(error) => return Err(DisconnectReason::Protocol(error.into())),
                }
            }
            let mut frames = Vec::new();
            let read = poll_fn(|cx| self.read.poll_read(cx, &mut frames)).await;
            self.early.extend(frames);
            match read {
                Ok(0) => return Err(DisconnectReason::LinkLost),
                Ok(_) => {}
                // What came whole is looked at before the error is.
                Err(_) if !self.early.is_empty() => {}
                // A length that cannot be one: the first bytes of another protocol.
                Err(ReadError::FrameTooLarge { .. }) => {
                    return Err(DisconnectReason::Protocol(DecodeError::NotEmitwire.into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn say(&mut self, packet: &Packet, deadline: Duration) -> Result<(), DisconnectReason> {
        let encoded = self.codec.encode(packet);
        let mut batch: VecDeque<Frame> = encoded.frames().iter().cloned().collect();
        let written = poll_fn(|cx| self.write.poll_write(cx, &mut batch));
        match tokio::time::timeout(deadline, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(DisconnectReason::LinkLost),
            Err(_) => Err(DisconnectReason::HandshakeTimeout),
        }
    }

    /// Tells the peer why, as far as it listens.
    async fn refuse(&mut self, reason: &DisconnectReason, deadline: Duration) {
        let Some(close) = goodbye(reason) else { return };
        let goodbye = async {
            if self.say(&Packet::Close(close), deadline).await.is_ok() {
                let _ = poll_fn(|cx| self.write.poll_close(cx)).await;
                linger(&mut *self.read).await;
            }
        };
        // Whoever does not take it in time goes without.
        let _ = tokio::time::timeout(deadline, goodbye).await;
    }

    fn into_link(
        mut self,
        session: SessionId,
        ours: Limits,
        theirs: Limits,
        peer_producer: ProducerId,
    ) -> Link {
        let event_bytes_max = ours.event_bytes_max as usize;
        self.read.set_frame_bytes_max(self.codec.frame_bytes_max(event_bytes_max));
        Link {
            read: self.read,
            write: self.write,
            decoder: self.decoder,
            codec: self.codec,
            early: self.early.into(),
            peer: self.peer,
            capabilities: self.capabilities,
            session,
            ours,
            theirs,
            peer_producer,
        }
    }
}

/// Bytes of a leaving peer that are read and thrown away, so that its goodbye is not lost to a
/// reset.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Reads until the peer ends too. The caller gives it a deadline.
pub(crate) async fn linger(read: &mut dyn ReadHalf) {
    let mut bytes = 0;
    let mut frames = Vec::new();
    while bytes < LINGER_BYTES_MAX {
        match poll_fn(|cx| read.poll_read(cx, &mut frames)).await {
            Ok(0) | Err(_) => return,
            Ok(more) => bytes += more,
        }
        frames.clear();
    }
}

pub(crate) fn unexpected(packet: &Packet) -> DisconnectReason {
    DisconnectReason::Protocol(ProtocolError::Unexpected { packet: packet.name() })
}

/// What the peer is told; `None` when the link is beyond that, or the peer ended it itself.
pub(crate) fn goodbye(reason: &DisconnectReason) -> Option<Close> {
    let code = match reason {
        DisconnectReason::Closed | DisconnectReason::Dismissed(_) => CloseCode::Normal,
        DisconnectReason::HeartbeatTimeout => CloseCode::HeartbeatTimeout,
        DisconnectReason::HandshakeTimeout => CloseCode::HandshakeTimeout,
        DisconnectReason::Protocol(ProtocolError::Decode(DecodeError::Version { .. })) => {
            CloseCode::Version
        }
        DisconnectReason::Protocol(_) => CloseCode::Protocol,
        DisconnectReason::Slow => CloseCode::Slow,
        DisconnectReason::Full => CloseCode::Full,
        DisconnectReason::Replaced => CloseCode::Replaced,
        DisconnectReason::Moved => CloseCode::Moved,
        _ => return None,
    };
    let detail = match reason {
        DisconnectReason::Protocol(error) => EventName::from(error.to_string()),
        _ => EventName::from_static(""),
    };
    Some(Close { code, detail })
}

impl From<Close> for DisconnectReason {
    fn from(close: Close) -> Self {
        match close.code {
            CloseCode::Normal => Self::dismissed_by_peer(&close.detail),
            CloseCode::Protocol => Self::Accused(close.detail.as_str().into()),
            CloseCode::Version => Self::Version,
            CloseCode::HandshakeTimeout => Self::HandshakeTimeout,
            CloseCode::HeartbeatTimeout => Self::HeartbeatTimeout,
            CloseCode::Slow => Self::Slow,
            CloseCode::Full => Self::Full,
            CloseCode::Replaced => Self::Replaced,
            CloseCode::Moved => Self::Moved,
        }
    }
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
            ReadError::Io { .. } | ReadError::Truncated => Self::LinkLost,
        }
    }
}
