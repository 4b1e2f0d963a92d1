//! One end of a connection, and what the connections of one listener are like.

use super::pipe::{Reader, Writer, pipe};
use crate::transport::{self, Capabilities, Peer, ReadHalf, WriteHalf};

/// One end of a wire.
pub(super) struct Connection {
    peer: Peer,
    reader: Reader,
    writer: Writer,
    frame_bytes_max: usize,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(self.frame_bytes_max).encrypted()
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (Box::new(self.reader), Box::new(self.writer))
    }
}

/// What the connections of one listener are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) capacity_bytes: usize,
    pub(super) frame_bytes_max: usize,
}

impl Wire {
    /// Both ends of connection `number`, the client's first.
    pub(super) fn connection(&self, name: &str, number: u64) -> (Connection, Connection) {
        let Self { capacity_bytes, frame_bytes_max } = *self;
        let (up, server_reader) = pipe(capacity_bytes, frame_bytes_max);
        let (down, client_reader) = pipe(capacity_bytes, frame_bytes_max);
        let client = Connection {
            peer: Peer::new(endpoint(name)),
            reader: client_reader,
            writer: up,
            frame_bytes_max,
        };
        let server = Connection {
            peer: Peer::new(format!("{}#{number}", endpoint(name))),
            reader: server_reader,
            writer: down,
            frame_bytes_max,
        };
        (client, server)
    }
}

pub(super) fn endpoint(name: &str) -> String {
    format!("mem://{name}")
}

/// The largest frame unless the listener says otherwise.
pub(super) const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
