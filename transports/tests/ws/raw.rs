//! A peer that writes whatever bytes it likes, and what it hears.

use super::end::{End, accept, address, bind};
use super::within;
use emitwire_core::transport::{Listener, Transport};
use emitwire_transports::Ws;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Which side of a connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Server,
    Client,
}

pub(super) const BOTH: [Ours; 2] = [Ours::Server, Ours::Client];

pub(super) const FINAL: u8 = 0x80;
pub(super) const CONTINUE: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

impl Ours {
    /// A frame as the peer of this side writes it.
    pub(super) fn frame(self, first: u8, body: &[u8]) -> Vec<u8> {
        frame(first, body, (self == Self::Server).then_some([0xde, 0xad, 0xbe, 0xef]))
    }

    /// A header alone, with the length as it is given.
    pub(super) fn header(self, first: u8, length: &[u8]) -> Vec<u8> {
        let mut header = vec![first];
        header.extend_from_slice(length);
        if self == Self::Server {
            header[1] |= 0x80;
            header.extend_from_slice(&[0; 4]);
        }
        header
    }

    pub(super) fn binary(self, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.frame(FINAL | BINARY, body.as_ref())
    }

    pub(super) fn close(self, body: &[u8]) -> Vec<u8> {
        self.frame(FINAL | CLOSE, body)
    }
}

/// A frame with the shortest length there is.
pub(super) fn frame(first: u8, body: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![first];
    let length = body.len();
    match length {
        0..=125 => frame.push(length as u8),
        126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let Some(key) = mask else {
        frame.extend_from_slice(body);
        return frame;
    };
    frame[1] |= 0x80;
    frame.extend_from_slice(&key);
    frame.extend(body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub(super) struct Raw {
    pub(super) stream: TcpStream,
    /// Read and not yet looked at.
    pub(super) read: Vec<u8>,
    ours: Ours,
}

impl Raw {
    pub(super) fn new(stream: TcpStream, ours: Ours) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), ours }
    }

    /// Connected to our server, and not a word yet.
    pub(super) async fn connect(listener: &dyn Listener) -> Self {
        let address = listener.endpoint().replace("ws://", "");
        let address = address.split(['/', '?']).next().unwrap();
        Self::new(within(TcpStream::connect(address)).await.unwrap(), Ours::Server)
    }

    /// Our end may be gone by now; what it says is read elsewhere.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
    }

    /// What the other side says up to an empty line, that included.
    pub(super) async fn head(&mut self) -> String {
        loop {
            let end = self.read.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(head).unwrap();
            }
            assert_ne!(self.more().await, 0, "it ended inside a head");
        }
    }

    /// The next frame: its first byte and its body, without a mask; nothing at the end.
    pub(super) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((frame, bytes)) = parse(&self.read, self.ours) {
                self.read.drain(..bytes);
                return Some(frame);
            }
            if self.more().await == 0 {
                assert_eq!(self.read, [], "it ended inside a frame");
                return None;
            }
        }
    }

    /// The body of the goodbye; only pongs are before it, nothing is behind it.
    pub(super) async fn goodbye(&mut self) -> Vec<u8> {
        loop {
            let (first, body) = self.next().await.expect("a close comes before the end");
            if first == FINAL | CLOSE {
                assert_eq!(self.next().await, None, "nothing comes behind a close");
                return body;
            }
            assert_eq!(first, FINAL | PONG);
        }
    }

    pub(super) async fn goodbye_code(&mut self) -> u16 {
        u16::from_be_bytes(self.goodbye().await.try_into().expect("a code and nothing else"))
    }

    /// Everything up to the end; a reset is none.
    pub(super) async fn rest(mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        self.read
    }

    async fn more(&mut self) -> usize {
        within(self.stream.read_buf(&mut self.read)).await.unwrap()
    }
}

/// A whole frame of ours from the front, as strictly as RFC 6455 has it.
fn parse(bytes: &[u8], ours: Ours) -> Option<((u8, Vec<u8>), usize)> {
    let (&[first, second], mut rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0x70, 0, "a reserved bit");
    assert_eq!(second & 0x80 != 0, ours == Ours::Client, "only clients mask");
    let mut number = |count: usize| {
        let (number, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(number.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let length = match second & 0x7f {
        126 => number(2)?,
        127 => number(8)?,
        length => length.into(),
    };
    let key = if ours == Ours::Client { number(4)? as u32 } else { 0 }.to_be_bytes();
    let header_bytes = bytes.len() - rest.len();
    let body = rest.get(..length)?;
    let body: Vec<u8> = body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let mask = (ours == Ours::Client).then_some(key);
    assert_eq!(header_bytes + length, frame(first, &body, mask).len(), "the shortest length");
    Some(((first, body), header_bytes + length))
}

/// What a well-behaved client asks.
pub(super) fn request(lines: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {lines}\r\n"
    )
}

pub(super) const OURS: &str = "Sec-WebSocket-Protocol: emitwire.1\r\n";

/// What a well-behaved server answers to this request.
pub(super) fn response(request: &str) -> String {
    let key = header(request, "Sec-WebSocket-Key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{OURS}\r\n"
    )
}

pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub(super) async fn raw_and_end(ours: Ours) -> (Raw, End) {
    match ours {
        Ours::Server => {
            let mut listener = bind().await;
            assert!(!address(&*listener).contains('/'));
            let mut raw = Raw::connect(&*listener).await;
            raw.send(request(OURS)).await;
            let end = accept(&mut *listener).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
            (raw, end)
        }
        Ours::Client => {
            let (listener, client) = raw_server().await;
            let (raw, client) = tokio::join!(
                async {
                    let mut raw = arrival(&listener).await;
                    let request = raw.head().await;
                    raw.send(response(&request)).await;
                    raw
                },
                within(client.connect())
            );
            (raw, End::new(client.unwrap()))
        }
    }
}

/// Somebody who listens and is no server of ours, and who connects there.
pub(super) async fn raw_server() -> (TcpListener, Ws) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Ws::new(address.to_string()))
}

pub(super) async fn arrival(listener: &TcpListener) -> Raw {
    Raw::new(within(listener.accept()).await.unwrap().0, Ours::Client)
}
