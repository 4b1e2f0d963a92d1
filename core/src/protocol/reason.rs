//! Why a session, a link or a socket ended. Closing is not an error: it is a value.

use super::ProtocolError;
use std::fmt;

/// Why something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This side asked for it.
    Closed,
    /// The peer asked for it.
    ClosedByPeer,
    /// This side ended the socket, with these words for its peer.
    Dismissed(Box<str>),
    /// The peer ended the socket, with these words.
    DismissedByPeer(Box<str>),
    /// The link broke, or the peer's process went away.
    LinkLost,
    /// Nothing was read for longer than the liveness deadline.
    HeartbeatTimeout,
    /// The peer did not finish its handshake in time.
    HandshakeTimeout,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// The peer says that this side broke the protocol; its words.
    Accused(Box<str>),
    /// The peer speaks another version of the protocol; coming back makes no sense.
    Version,
    /// A slow member: it read too slowly for what its rooms say.
    Slow,
    /// The server has no place for another session.
    Full,
    /// Another link took the session over; a client does not come back by itself.
    Replaced,
    /// The server drains; a client comes back after the delay that it was told.
    Moved,
    /// The namespace refused the socket, or the server will not let this client in any more.
    Refused,
    /// The `on_connect` hook failed.
    HookFailed,
    /// This side tried to come back as often as it may.
    AttemptsExhausted {
        /// How many attempts it has made in a row.
        attempts: u32,
    },
}

impl DisconnectReason {
    /// This side ended a socket.
    pub(crate) fn dismissed(words: &str) -> Self {
        if words.is_empty() { Self::Closed } else { Self::Dismissed(words.into()) }
    }

    /// The peer ended a socket.
    pub(crate) fn dismissed_by_peer(words: &str) -> Self {
        if words.is_empty() { Self::ClosedByPeer } else { Self::DismissedByPeer(words.into()) }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Closed => "closed by this side",
            Self::ClosedByPeer => "closed by the peer",
            Self::Dismissed(words) => return write!(f, "closed by this side: {words}"),
            Self::DismissedByPeer(words) => return write!(f, "closed by the peer: {words}"),
            Self::LinkLost => "the link was lost",
            Self::HeartbeatTimeout => "the peer fell silent",
            Self::HandshakeTimeout => "the handshake took too long",
            Self::Protocol(error) => return write!(f, "protocol error: {error}"),
            Self::Accused(words) => return write!(f, "the peer reports: {words}"),
            Self::Version => "the peer speaks another version of the protocol",
            Self::Slow => "the peer read too slowly",
            Self::Full => "the server is full",
            Self::Replaced => "another link took the session over",
            Self::Moved => "the server is draining",
            Self::Refused => "refused by the server",
            Self::HookFailed => "the connect hook failed",
            Self::AttemptsExhausted { attempts } => {
                return write!(f, "{attempts} attempts to come back were in vain");
            }
        };
        f.write_str(text)
    }
}
