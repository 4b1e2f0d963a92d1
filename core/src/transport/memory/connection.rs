//! One end of a connection, and what the connections of one listener are like.

use super::faults::Faults;
use super::lossy::{Drops, LossyWriter};
use super::pipe::{Reader, Writer, pipe};
use crate::transport::{self, Capabilities, Peer, ReadHalf, WriteHalf};
use std::sync::Arc;

/// One end of a wire.
pub(super) struct Connection {
    peer: Peer,
    capabilities: Capabilities,
    reader: Reader,
    writer: Box<dyn WriteHalf>,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (Box::new(self.reader), self.writer)
    }
}

/// What the connections of one listener are like.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) capacity_bytes: usize,
    pub(super) faults: Option<Faults>,
    pub(super) drops: Arc<Drops>,
}

impl Wire {
    /// Both ends of connection `number`, the client's first.
    pub(super) fn connection(&self, name: &str, number: u64) -> (Connection, Connection) {
        let (up, server_reader) = pipe(self.capacity_bytes, FRAME_BYTES_MAX);
        let (down, client_reader) = pipe(self.capacity_bytes, FRAME_BYTES_MAX);
        let client = Connection {
            peer: Peer::new(endpoint(name)),
            capabilities: self.capabilities(),
            reader: client_reader,
            writer: self.writer(up, 2 * number),
        };
        let server = Connection {
            peer: Peer::new(format!("{}#{number}", endpoint(name))),
            capabilities: self.capabilities(),
            reader: server_reader,
            writer: self.writer(down, 2 * number + 1),
        };
        (client, server)
    }

    fn capabilities(&self) -> Capabilities {
        match self.faults {
            None => Capabilities::stream(FRAME_BYTES_MAX).encrypted(),
            Some(faults) => Capabilities::datagrams(faults.datagram_bytes_max).encrypted(),
        }
    }

    fn writer(&self, writer: Writer, stream: u64) -> Box<dyn WriteHalf> {
        match self.faults {
            None => Box::new(writer),
            Some(faults) => {
                Box::new(LossyWriter::new(writer, faults, stream, Arc::clone(&self.drops)))
            }
        }
    }
}

pub(super) fn endpoint(name: &str) -> String {
    format!("mem://{name}")
}

/// The largest frame of a wire that loses nothing.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
