//! Frames as the load speaks them: with as little as there can be.

use crate::wire::Wire;
use std::io;

impl Wire {
    /// A frame as a server writes it: its header, then its body.
    pub(crate) fn frame(self, body: &[u8]) -> Vec<u8> {
        [&self.header(body.len(), 0)[..], body].concat()
    }

    /// A frame as a client writes it. The key of its mask is zero, which changes no byte and saves
    /// the server nothing.
    pub(crate) fn client_frame(self, body: &[u8]) -> Vec<u8> {
        let key: &[u8] = if self.is_websocket() { &[0; 4] } else { &[] };
        [&self.header(body.len(), MASKED)[..], key, body].concat()
    }

    fn header(self, length: usize, masked: u8) -> Vec<u8> {
        match (self.is_websocket(), length) {
            (false, _) => (length as u32).to_be_bytes().to_vec(),
            (true, 0..126) => vec![BINARY, masked | length as u8],
            // No frame of a bench is longer than 16 bits can say.
            (true, _) => [&[BINARY, masked | 126][..], &(length as u16).to_be_bytes()].concat(),
        }
    }

    /// The first whole frame of a server, if there is one, and what follows it.
    pub(crate) fn split(self, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = if self.is_websocket() {
            let ([_, length], rest) = bytes.split_first_chunk()?;
            match length {
                126 => {
                    let (length, rest) = rest.split_first_chunk()?;
                    (u16::from_be_bytes(*length).into(), rest)
                }
                length => (usize::from(*length), rest),
            }
        } else {
            let (length, rest) = bytes.split_first_chunk()?;
            (u32::from_be_bytes(*length) as usize, rest)
        };
        rest.split_at_checked(length)
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

/// How a client asks for a WebSocket. The key is that of RFC 6455 §1.3.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: emitwire.1\r\n\r\n";

/// Whether the answer to it lets the client in.
pub(crate) fn check_answer(answer: &[u8]) -> io::Result<()> {
    let is_accepted = answer.starts_with(b"HTTP/1.1 101 ");
    let refused = || io::Error::other(String::from_utf8_lossy(answer).into_owned());
    is_accepted.then_some(()).ok_or_else(refused)
}

/// The first byte of a binary frame that is whole (RFC 6455 §5.2).
const BINARY: u8 = 0x82;

/// Set in the second byte of what a client writes.
const MASKED: u8 = 0x80;
