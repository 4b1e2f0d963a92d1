//! The first packets of a link, before it belongs to a session.

use super::Config;
use super::dock::Arrival;
use super::link::{Link, OpenLink};
use crate::protocol::{
    Attach, Close, CloseCode, DecodeError, DisconnectReason, EventName, Hello, Packet,
    ProtocolError, Welcome,
};
use crate::transport::{Connection, HandshakeError};
use tokio::time::{Instant, timeout, timeout_at};

/// The server's side: waits for a hello, and for what it wants to resume.
///
/// # Errors
/// Why there is no session; the peer was told, if it could be.
pub(crate) async fn hear(
    connection: Box<dyn Connection>,
    config: &Config,
    deadline: Instant,
    open: OpenLink,
) -> Result<Arrival, DisconnectReason> {
    let mut link = Link::new(connection, config);
    let heard = timeout_at(deadline, hear_hello(&mut link)).await;
    match heard.unwrap_or(Err(DisconnectReason::HandshakeTimeout)) {
        Ok((hello, attach)) => Ok(Arrival { link, hello, attach, open }),
        Err(reason) => {
            link.refuse(goodbye(&reason), config.close_timeout).await;
            Err(reason)
        }
    }
}

/// The server has no place: says so instead of listening.
pub(crate) async fn turn_away(connection: Box<dyn Connection>, config: &Config) {
    let close = goodbye(&DisconnectReason::Full);
    Link::new(connection, config).refuse(close, config.close_timeout).await;
}

/// The client's side: says hello, and what it wants to resume, and waits for the welcome.
///
/// # Errors
/// Why there is no session, and what the wire's own handshake failed of, if that was it.
pub(crate) async fn open(
    connection: Box<dyn Connection>,
    config: &Config,
    hello: Hello,
    attach: Option<Attach>,
) -> Result<(Link, Welcome), (DisconnectReason, Option<HandshakeError>)> {
    let mut link = Link::new(connection, config);
    match ask(&mut link, config, hello, attach).await {
        Ok(welcome) => Ok((link, welcome)),
        Err(reason) => {
            let failure = link.reader.take_late_failure();
            link.refuse(goodbye(&reason), config.close_timeout).await;
            Err((reason, failure))
        }
    }
}

async fn ask(
    link: &mut Link,
    config: &Config,
    hello: Hello,
    attach: Option<Attach>,
) -> Result<Welcome, DisconnectReason> {
    link.say(&Packet::Hello(hello), config.handshake_timeout).await?;
    if let Some(attach) = attach {
        link.say(&Packet::Attach(attach), config.handshake_timeout).await?;
    }
    // What is replayed may come with the welcome, in one read.
    let bytes_max = link.codec.frame_bytes_max(config.event_bytes_max);
    link.reader.take_packets_of(bytes_max.max(config.handshake_bytes_max));
    let heard = timeout(config.handshake_timeout, hear_welcome(link)).await;
    heard.unwrap_or(Err(DisconnectReason::HandshakeTimeout))
}

async fn hear_hello(link: &mut Link) -> Result<(Hello, Option<Attach>), DisconnectReason> {
    let hello = match link.hear().await? {
        Packet::Hello(hello) => hello,
        other => return Err(unexpected(&other)),
    };
    if !hello.resumes {
        return Ok((hello, None));
    }
    match link.hear().await? {
        Packet::Attach(attach) => Ok((hello, Some(attach))),
        other => Err(unexpected(&other)),
    }
}

async fn hear_welcome(link: &mut Link) -> Result<Welcome, DisconnectReason> {
    match link.hear().await? {
        Packet::Welcome(welcome) => Ok(welcome),
        Packet::Close(close) => Err(close.into()),
        other => Err(unexpected(&other)),
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
