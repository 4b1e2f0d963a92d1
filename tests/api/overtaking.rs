//! A wire on which volatile frames overtake all others.

use super::*;
use emitwire::protocol::Frame;
use emitwire::transport::{
    Capabilities, Connection, HandshakeError, Incoming, Listener, Peer, ReadError, ReadHalf,
    WriteHalf,
};
use emitwire::{BindError, Memory, Transport};
use std::io;
use std::task::{Context, Poll};

/// A wire in memory, at either end of which each read brings a volatile event first.
#[derive(Clone)]
struct Overtaking {
    wire: Memory,
    /// What both ends declare.
    datagram_bytes_max: Option<usize>,
}

struct End {
    inner: Box<dyn Connection>,
    datagram_bytes_max: Option<usize>,
}

#[emitwire::async_trait]
impl Transport for Overtaking {
    fn endpoint(&self) -> String {
        self.wire.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        let datagram_bytes_max = self.datagram_bytes_max;
        Ok(Box::new(Door { inner: self.wire.bind().await?, datagram_bytes_max }))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let datagram_bytes_max = self.datagram_bytes_max;
        Ok(Box::new(End { inner: self.wire.connect().await?, datagram_bytes_max }))
    }
}

struct Door {
    inner: Box<dyn Listener>,
    datagram_bytes_max: Option<usize>,
}

#[emitwire::async_trait]
impl Listener for Door {
    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let inner = self.inner.accept().await?.handshake().await.map_err(io::Error::other)?;
        Ok(Box::new(End { inner, datagram_bytes_max: self.datagram_bytes_max }))
    }
}

#[emitwire::async_trait]
impl Incoming for End {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        Ok(self)
    }
}

impl Connection for End {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.datagram_bytes_max = self.datagram_bytes_max;
        capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (read, write) = self.inner.split();
        (Box::new(Overtaken(read)), write)
    }
}

struct Overtaken(Box<dyn ReadHalf>);

impl ReadHalf for Overtaken {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.0.set_frame_bytes_max(frame_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let before = frames.len();
        let read = self.0.poll_read(cx, frames);
        if frames.len() > before {
            frames.insert(before, Frame::volatile(TICK));
        }
        read
    }
}

/// A volatile event `tick` for namespace 0, of which nobody here knows yet: docs/PROTOCOL.md.
const TICK: &[u8] = b"\x07\x00\x00\x00\x04tick\x90";

#[tokio::test(start_paused = true)]
async fn volatile_events_that_overtake_the_beginning_are_dropped_and_counted() {
    let wire = Overtaking { wire: Memory::new("overtaking"), datagram_bytes_max: Some(1000) };
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    within(server.listen(wire.clone())).await.unwrap();
    let client = Client::new(wire).mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    // The one before the welcome, and the one before the accept.
    assert!(session.stats().volatile_missed >= 2, "{:?}", session.stats());
    assert_eq!(session.stats().volatile_missed, session.stats().volatile_in);
    let socket = session.of("/").unwrap();
    within(socket.emit("tock", &()).received()).await.unwrap();
    let stats = server.stats();
    assert!(stats.volatile_missed >= 2, "{stats:?}");
    assert_eq!((stats.handshakes_failed, stats.sessions), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_overtake_a_session_begins_with_its_first_packet() {
    let wire = Overtaking { wire: Memory::new("in order"), datagram_bytes_max: None };
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    within(server.listen(wire.clone())).await.unwrap();
    let client = Client::new(wire).mount(Namespace::new("/"));
    assert!(matches!(within(client.connect()).await, Err(ConnectError::Ended { .. })));
    until(|| server.stats().handshakes_failed == 1).await;
}
