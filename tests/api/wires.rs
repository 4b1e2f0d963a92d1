//! What a wire can tell a session, and be told, besides frames.

use super::*;
use emitwire::protocol::{Class, CloseCode, Frame};
use emitwire::transport::{
    Capabilities, Connection, HandshakeError, Incoming, Listener, Peer, ReadError, ReadHalf,
    WriteHalf,
};
use emitwire::{BindError, Memory, Transport};
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

/// A wire in memory whose server's end drops volatile frames, moves its peer, and notes goodbyes.
#[derive(Clone)]
struct Telling {
    wire: Memory,
    goodbyes: Notes,
    moves: Arc<Mutex<Option<Peer>>>,
}

impl Telling {
    fn new(name: &str) -> Self {
        Self { wire: Memory::new(name), goodbyes: Notes::default(), moves: Arc::default() }
    }
}

struct End {
    inner: Box<dyn Connection>,
    wire: Telling,
}

#[emitwire::async_trait]
impl Transport for Telling {
    fn endpoint(&self) -> String {
        self.wire.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        Ok(Box::new(Door { inner: self.wire.bind().await?, wire: self.clone() }))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.wire.connect().await
    }
}

struct Door {
    inner: Box<dyn Listener>,
    wire: Telling,
}

#[emitwire::async_trait]
impl Listener for Door {
    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let inner = self.inner.accept().await?.handshake().await.map_err(io::Error::other)?;
        Ok(Box::new(End { inner, wire: self.wire.clone() }))
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
        capabilities.datagram_bytes_max = Some(1000);
        capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let Self { inner, wire } = *self;
        let (read, write) = inner.split();
        let moves = Arc::clone(&wire.moves);
        let writer = Dropping { inner: write, goodbyes: wire.goodbyes, dropped: 0 };
        (Box::new(Moving { inner: read, moves }), Box::new(writer))
    }
}

struct Moving {
    inner: Box<dyn ReadHalf>,
    moves: Arc<Mutex<Option<Peer>>>,
}

impl ReadHalf for Moving {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.inner.set_frame_bytes_max(frame_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        self.inner.poll_read(cx, frames)
    }

    fn moved(&mut self) -> Option<Peer> {
        self.moves.lock().unwrap().take()
    }
}

struct Dropping {
    inner: Box<dyn WriteHalf>,
    goodbyes: Notes,
    dropped: u64,
}

impl WriteHalf for Dropping {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let before = batch.len();
        batch.retain(|frame| frame.class != Class::Volatile);
        self.dropped += (before - batch.len()) as u64;
        self.inner.poll_write(cx, batch)
    }

    fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn goodbye(&mut self, code: CloseCode) {
        self.goodbyes.add(format!("{code:?}"));
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

/// A server on such a wire, under `Chaos` which passes on what an inner wire tells, and a guest.
async fn meet(name: &str, namespace: Namespace) -> (Telling, Server, emitwire::Session, Socket) {
    let wire = Telling::new(name);
    let server = Server::new().mount(namespace).unwrap();
    let listens = emitwire::Chaos::new(wire.clone(), 1);
    within(server.listen(listens)).await.unwrap();
    let client = Client::new(wire.wire.clone()).mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    let id = session.of("/").unwrap().id();
    until(|| server.socket("/", id).is_some()).await;
    let socket = server.socket("/", id).unwrap();
    (wire, server, session, socket)
}

#[tokio::test(start_paused = true)]
async fn volatile_events_for_which_the_wire_has_no_room_are_counted() {
    let (_wire, server, session, socket) = meet("drops", Namespace::new("/")).await;
    for _ in 0..3 {
        socket.emit("tick", &()).volatile().await.unwrap();
    }
    within(socket.emit("tock", &()).received()).await.unwrap();
    until(|| server.stats().volatile_dropped == 3).await;
    assert_eq!(server.stats().volatile_out, 3);
    assert_eq!(session.stats().volatile_in, 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_closed_says_why_to_its_wire() {
    for (name, say) in [("normal", "Normal"), ("moved", "Moved")] {
        let (wire, server, _session, socket) = meet(name, Namespace::new("/")).await;
        match say {
            "Normal" => socket.close_session("enough"),
            _ => within(server.run_until(ready(()))).await,
        }
        until(|| wire.goodbyes.take() == [say]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_elsewhere_on_the_same_link_is_told_and_goes_on() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/").on_path_change(move |socket: Socket| {
        noted.add(socket.peer().endpoint());
        ready(())
    });
    let (wire, server, session, socket) = meet("moves", namespace).await;
    *wire.moves.lock().unwrap() = Some(socket.peer().at("mem://elsewhere"));
    let ours = session.of("/").unwrap();
    within(ours.emit("tick", &()).received()).await.unwrap();
    until(|| notes.take() == ["mem://elsewhere"]).await;
    assert_eq!(socket.peer().endpoint(), "mem://elsewhere");
    let stats = server.stats();
    assert_eq!((stats.path_changes, stats.detaches, stats.attaches), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn moves_that_wait_for_a_slow_hook_are_one_and_leave_room_for_the_hooks_of_links() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/").on_path_change(move |socket: Socket| {
        noted.add(socket.peer().endpoint());
        tokio::time::sleep(std::time::Duration::from_secs(4))
    });
    let (wire, server, session, socket) = meet("moves often", namespace).await;
    let ours = session.of("/").unwrap();
    for place in 0..100 {
        *wire.moves.lock().unwrap() = Some(socket.peer().at(&*format!("mem://{place}")));
        within(ours.emit("tick", &()).received()).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_eq!(notes.take(), ["mem://0", "mem://99"]);
    assert_eq!(server.stats().path_changes, 100);
}

#[cfg(all(feature = "tls", feature = "tcp"))]
#[test]
fn an_endpoint_that_encrypts_is_not_moved_to_a_wire_that_does_not() {
    use emitwire::{EndpointError, Tls};
    let there = Endpoint::new("tls://127.0.0.1:1").unwrap();
    assert!(there.at("tcp://127.0.0.1:1").is_ok(), "it was told nothing");
    let there = there.tls(Tls::new()).unwrap();
    assert!(there.at("tls://127.0.0.1:2").is_ok());
    let error = there.at("tcp://127.0.0.1:1").unwrap_err();
    assert_eq!(error, EndpointError::NotAnOption { option: "tls", scheme: "tcp".to_owned() });
}
