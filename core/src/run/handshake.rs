//! The first packets of a link, before it belongs to a session.

use super::Config;
use super::dock::Arrival;
use super::link::{Link, OpenLink};
use crate::protocol::{
    Attach, Close, CloseCode, DecodeError, DisconnectReason, EventName, Hello, Packet,
    ProtocolError, Welcome,
};
use crate::transport::{Connection, HandshakeError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server waits for the words of a client, and what it says when none have come.
pub(crate) enum Until {
    Late(Instant),
    /// There is no place, unless it has one already.
    Full(Instant),
}

/// The server's side: waits for a hello, and for what it wants to resume.
///
/// # Errors
/// Why there is no session; the peer was told, if it could be.
pub(crate) async fn hear(
    connection: Box<dyn Connection>,
    config: &Config,
    until: Until,
    open: OpenLink,
) -> Result<Arrival, DisconnectReason> {
    let mut link = Link::new(connection, config);
    let (deadline, late) = match until {
        Until::Late(deadline) => (deadline, DisconnectReason::HandshakeTimeout),
        Until::Full(deadline) => (deadline, DisconnectReason::Full),
    };
    let heard = timeout_at(deadline, hear_hello(&mut link)).await;
    match heard.unwrap_or(Err(late)) {
        Ok((hello, attach)) => Ok(Arrival { link, hello, attach, open }),
        Err(reason) => {
            link.refuse(goodbye(&reason), config.close_timeout).await;
            Err(reason)
        }
    }
}

/// The server has no place: says so.
pub(crate) async fn turn_away(Arrival { link, open, .. }: Arrival, config: &Config) {
    link.refuse(goodbye(&DisconnectReason::Full), config.close_timeout).await;
    drop(open);
}

/// The client's side: says hello, and what it wants to resume, and waits so long for the welcome.
///
/// # Errors
/// Why there is no session, and what the wire's own handshake failed of, if that was it.
pub(crate) async fn open(
    connection: Box<dyn Connection>,
    config: &Config,
    patience: Duration,
    hello: Hello,
    attach: Option<Attach>,
) -> Result<(Link, Welcome), (DisconnectReason, Option<HandshakeError>)> {
    let mut link = Link::new(connection, config);
    match ask(&mut link, config, patience, hello, attach).await {
        Ok(welcome) => Ok((link, welcome)),
        Err(reason) => {
            let failure = link.reader.take_late_failure();
            // A session that has left its link for this one does not wait for it.
            tokio::spawn(link.refuse(goodbye(&reason), config.close_timeout));
            Err((reason, failure))
        }
    }
}

async fn ask(
    link: &mut Link,
    config: &Config,
    patience: Duration,
    hello: Hello,
    attach: Option<Attach>,
) -> Result<Welcome, DisconnectReason> {
    link.say(&Packet::Hello(hello), patience).await?;
    if let Some(attach) = attach {
        link.say(&Packet::Attach(attach), patience).await?;
    }
    // What is replayed may come with the welcome, in one read.
    let bytes_max = link.codec.frame_bytes_max(config.event_bytes_max);
    link.reader.take_packets_of(bytes_max.max(config.handshake_bytes_max));
    let heard = timeout(patience, hear_welcome(link)).await;
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
