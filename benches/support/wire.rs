//! The wires that are measured.

use emitwire::Endpoint;
use std::fmt::Display;
use std::io;

/// What carries the frames.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    Tcp,
    WebSocket,
    Tls,
    WebSocketTls,
    Quic,
}

impl Wire {
    pub(crate) const PLAIN: [Self; 2] = [Self::Tcp, Self::WebSocket];

    pub(crate) const ENCRYPTED: [Self; 3] = [Self::Tls, Self::WebSocketTls, Self::Quic];

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "ws",
            Self::Tls => "tls",
            Self::WebSocketTls => "wss",
            Self::Quic => "quic",
        }
    }

    pub(crate) fn of(scheme: &str) -> Option<Self> {
        let mut wires = Self::PLAIN.into_iter().chain(Self::ENCRYPTED);
        wires.find(|wire| wire.scheme() == scheme)
    }

    pub(crate) fn endpoint(self, address: impl Display) -> io::Result<Endpoint> {
        Endpoint::new(&format!("{}://{address}", self.scheme())).map_err(io::Error::other)
    }
}

/// Any free port of this machine.
pub(crate) const LOOPBACK: &str = "127.0.0.1:0";
