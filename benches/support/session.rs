//! What the protocol has a peer remember, with the limits of a default client.

use emitwire::Config;
use emitwire::protocol::{
    Codec, Connect, Credit, DecodeError, Decoder, EventName, Frame, Hello, Limits, NamespaceNumber,
    Native, Packet, Payload, Position, ProducerId,
};
use std::io;
use std::time::Duration;

/// So rarely that no bench lasts until the first one is due.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(600);

/// One session of a peer that is as light as it can be.
pub(crate) struct Session {
    decoder: Box<dyn Decoder>,
    window: Credit,
    /// Counted packets of the server after which it wants a position.
    position_every: u64,
    /// Counted packets that have arrived.
    pub(crate) received: u64,
    /// What the last position said of them.
    announced: u64,
    /// The server waits for a position.
    pub(crate) asked: bool,
    /// Counted packets that were sent.
    pub(crate) written: u64,
}

impl Session {
    pub(crate) fn new() -> Self {
        let config = Config::default();
        let window =
            Credit { events: config.window_events as u64, bytes: config.window_bytes as u64 };
        Self {
            decoder: Native.decoder(),
            window,
            position_every: window.events / 4,
            received: 0,
            announced: 0,
            asked: false,
            written: 0,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        let config = Config::default();
        Limits {
            event_bytes_max: config.event_bytes_max as u32,
            window: self.window,
            log_packets_max: config.log_packets_max as u32,
            log_bytes_max: config.log_bytes_max as u32,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            dedup_horizon: Duration::ZERO,
        }
    }

    /// A position is due for a quarter of the own window and for a quarter of the peer's log;
    /// small events reach that in packets long before they do in bytes.
    pub(crate) fn heed(&mut self, theirs: &Limits) {
        self.position_every = self.position_every.min(u64::from(theirs.log_packets_max) / 4);
    }

    pub(crate) fn owes_position(&self) -> bool {
        self.asked || self.received - self.announced >= self.position_every
    }

    /// What has arrived, and what of it has finished.
    pub(crate) fn position(&mut self, finished: Credit) -> Packet {
        self.announced = self.received;
        self.asked = false;
        let (received, granted) = (self.received, self.window.plus(finished));
        Packet::Position(Position { received, granted, ranges: Vec::new(), asks: false })
    }

    pub(crate) fn decode(&mut self, body: &[u8]) -> io::Result<Packet> {
        let packet = self.decoder.decode(Frame::ordered(body.to_vec()));
        packet.and_then(|packet| packet.ok_or(DecodeError::Truncated)).map_err(io::Error::other)
    }
}

/// The first packet of a client.
pub(crate) fn hello(session: &Session) -> Packet {
    let (producer, limits) = (ProducerId(0), session.limits());
    let hello =
        Hello { resumes: false, resumable: true, restarted: false, nonce: 0, producer, limits };
    Packet::Hello(hello)
}

/// Asks for the namespace `/`.
pub(crate) fn connect() -> Packet {
    let (number, path) = (NamespaceNumber(0), EventName::from_static("/"));
    Packet::Connect(Connect { number, path, auth: Payload::empty() })
}

pub(crate) fn unexpected(packet: &Packet) -> io::Error {
    io::Error::other(format!("the server said {packet:?}"))
}
