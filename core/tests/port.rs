//! The port as the wire in memory keeps it: whole and in order.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use bytes::Bytes;
use emitwire_core::protocol::{Class, Frame, FrameKind};
use emitwire_core::transport::{
    BindError, Capabilities, ConnectError, Connection, Listener, Memory, Peer, ReadError, ReadHalf,
    Transport, WriteHalf,
};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// One end of a connection, with the two owners' halves side by side.
struct End {
    peer: Peer,
    capabilities: Capabilities,
    reader: Box<dyn ReadHalf>,
    writer: Box<dyn WriteHalf>,
}

impl End {
    fn new(connection: Box<dyn Connection>) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let (reader, writer) = connection.split();
        Self { peer, capabilities, reader, writer }
    }

    async fn write(&mut self, frames: impl IntoIterator<Item = Frame>) -> io::Result<()> {
        let mut batch = frames.into_iter().collect();
        poll_fn(|cx| self.writer.poll_write(cx, &mut batch)).await
    }

    /// One try by somebody who does not wait.
    fn try_write(&mut self, batch: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        self.writer.poll_write(&mut Context::from_waker(Waker::noop()), batch)
    }

    async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        poll_fn(|cx| self.reader.poll_read(cx, frames)).await
    }

    async fn read_frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {frames:?}");
        }
        frames
    }

    /// Everything up to the end of the wire.
    async fn read_to_end(&mut self) -> (Vec<Frame>, Result<(), ReadError>) {
        let mut frames = Vec::new();
        loop {
            match self.read(&mut frames).await {
                Ok(0) => return (frames, Ok(())),
                Ok(_) => {}
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    async fn close(&mut self) {
        poll_fn(|cx| self.writer.poll_close(cx)).await.unwrap();
    }
}

async fn accept(listener: &mut Box<dyn Listener>) -> End {
    End::new(listener.accept().await.unwrap().handshake().await.unwrap())
}

/// A client and a server end; the listener is gone, its connections stay.
async fn ends(wire: &Memory) -> (End, End) {
    let mut listener = wire.bind().await.unwrap();
    let client = End::new(wire.connect().await.unwrap());
    (client, accept(&mut listener).await)
}

fn numbered(count: u32) -> impl Iterator<Item = Frame> {
    (0..count).map(|number| Frame::ordered(number.to_be_bytes().to_vec()))
}

fn numbers(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| u32::from_be_bytes(frame.body[..].try_into().unwrap())).collect()
}

fn bytes(size: usize) -> Frame {
    Frame::ordered(vec![7; size])
}

fn is_reset(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source } if source.kind() == io::ErrorKind::ConnectionReset)
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn frames_travel_both_ways() {
    let (mut client, mut server) = ends(&Memory::new("both ways")).await;
    client.write([Frame::ordered("there")]).await.unwrap();
    let heard = server.read_frames(1).await;
    server.write(heard).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("there")]);
}

#[tokio::test]
async fn a_frame_keeps_its_kind_and_its_class() {
    let (mut client, mut server) = ends(&Memory::new("kinds")).await;
    client.write([Frame::text("t"), Frame::volatile("v")]).await.unwrap();
    let frames = server.read_frames(2).await;
    assert_eq!((frames[0].kind, frames[0].class), (FrameKind::Text, Class::Ordered));
    assert_eq!((frames[1].kind, frames[1].class), (FrameKind::Binary, Class::Volatile));
}

#[tokio::test]
async fn a_body_is_moved_and_never_copied() {
    let (mut client, mut server) = ends(&Memory::new("moved")).await;
    let body = Bytes::from(vec![1; 5000]);
    client.write([Frame::ordered(body.clone())]).await.unwrap();
    assert_eq!(server.read_frames(1).await[0].body.as_ptr(), body.as_ptr());
}

#[tokio::test]
async fn frames_arrive_in_the_order_of_writing_whatever_the_batches() {
    let (mut client, mut server) = ends(&Memory::new("order")).await;
    let mut frames = numbered(1000);
    for size in (1..).take_while(|size| size * (size - 1) < 2000) {
        client.write(frames.by_ref().take(size)).await.unwrap();
    }
    client.close().await;
    let (read, end) = server.read_to_end().await;
    assert_eq!(numbers(&read), (0..1000).collect::<Vec<_>>());
    assert!(end.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_pipe_between_two_threads_loses_nothing() {
    let (mut client, mut server) = ends(&Memory::new("threads").capacity_bytes(500)).await;
    let writing = tokio::spawn(async move {
        for _ in 0..1000 {
            client.write(numbered(20)).await.unwrap();
        }
        client.close().await;
    });
    let (read, end) = server.read_to_end().await;
    writing.await.unwrap();
    assert!(end.is_ok());
    assert_eq!(read.len(), 20_000);
    assert!(read.chunks(20).all(|batch| batch == numbered(20).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_once_for_a_batch() {
    let (mut client, mut server) = ends(&Memory::new("woken")).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut frames = Vec::new();
    let read = server.reader.poll_read(&mut Context::from_waker(&waker), &mut frames);
    assert!(read.is_pending());
    client.write(numbered(5)).await.unwrap();
    client.write(numbered(5)).await.unwrap();
    assert_eq!(wakes.count(), 1);
}

#[tokio::test]
async fn a_full_pipe_makes_the_writer_wait_until_something_is_read() {
    let capacity_bytes = 10_000;
    let wire = Memory::new("full").capacity_bytes(capacity_bytes);
    let (mut client, mut server) = ends(&wire).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut batch: VecDeque<Frame> = (0..30).map(|_| bytes(1000)).collect();
    assert!(client.writer.poll_write(&mut Context::from_waker(&waker), &mut batch).is_pending());
    let fits = capacity_bytes / (1000 + size_of::<Frame>());
    assert_eq!(30 - batch.len(), fits);

    let mut frames = Vec::new();
    assert!(server.read(&mut frames).await.unwrap() <= capacity_bytes);
    assert_eq!(frames.len(), fits);
    assert_eq!(wakes.count(), 1);
    assert!(client.try_write(&mut batch).is_pending());
    assert_eq!(30 - batch.len(), 2 * fits);
}

#[tokio::test]
async fn a_blocked_write_does_not_stall_a_read() {
    let (mut client, mut server) = ends(&Memory::new("blocked").capacity_bytes(1000)).await;
    let mut batch = VecDeque::from([bytes(900), bytes(900)]);
    assert!(client.try_write(&mut batch).is_pending());
    server.write([Frame::ordered("still here")]).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("still here")]);
    assert_eq!(batch.len(), 1);
}

#[tokio::test]
async fn a_frame_larger_than_the_pipe_passes_when_nothing_else_is_there() {
    let (mut client, mut server) = ends(&Memory::new("large").capacity_bytes(100)).await;
    let mut batch = VecDeque::from([bytes(5000), bytes(5000)]);
    assert!(client.try_write(&mut batch).is_pending());
    assert_eq!(server.read_frames(1).await, [bytes(5000)]);
    assert!(client.try_write(&mut batch).is_ready());
    assert_eq!(server.read_frames(1).await, [bytes(5000)]);
}

#[tokio::test]
async fn empty_frames_are_bounded_and_are_not_the_end() {
    let (mut client, mut server) = ends(&Memory::new("empty").capacity_bytes(1000)).await;
    let mut batch = (0..1000).map(|_| bytes(0)).collect();
    assert!(client.try_write(&mut batch).is_pending());
    let fits = 1000 / size_of::<Frame>();
    assert_eq!(1000 - batch.len(), fits);
    assert_eq!(server.read_frames(1).await, vec![bytes(0); fits]);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_and_those_before_it_are_good() {
    let (mut client, mut server) = ends(&Memory::new("limit")).await;
    server.reader.set_frame_bytes_max(100);
    client.write([bytes(100), bytes(100), bytes(101), bytes(1)]).await.unwrap();
    let mut frames = Vec::new();
    let error = server.read(&mut frames).await.unwrap_err();
    assert!(matches!(error, ReadError::FrameTooLarge { bytes: 101, max: 100 }), "{error:?}");
    assert_eq!(frames, [bytes(100), bytes(100)]);
}

#[tokio::test]
async fn a_session_never_raises_the_limit_of_its_wire() {
    let (mut client, mut server) = ends(&Memory::new("raised")).await;
    let max = server.capabilities.frame_bytes_max;
    server.reader.set_frame_bytes_max(usize::MAX);
    client.write([bytes(max + 1)]).await.unwrap();
    let error = server.read(&mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, ReadError::FrameTooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn after_a_close_in_order_the_peer_reads_everything_and_then_the_end() {
    let (mut client, mut server) = ends(&Memory::new("close")).await;
    client.write(numbered(3)).await.unwrap();
    client.close().await;
    drop(client.writer);
    let (read, end) = server.read_to_end().await;
    assert_eq!(numbers(&read), [0, 1, 2]);
    assert!(end.is_ok());
}

#[tokio::test]
async fn a_closed_direction_leaves_the_other_open() {
    let (mut client, mut server) = ends(&Memory::new("half closed")).await;
    client.close().await;
    assert!(server.read_to_end().await.1.is_ok());
    server.write([bytes(3)]).await.unwrap();
    assert_eq!(client.read_frames(1).await, [bytes(3)]);
    let error = client.write([bytes(3)]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_dropped_writer_is_an_error_after_all_that_it_wrote() {
    let (mut client, mut server) = ends(&Memory::new("dropped writer")).await;
    client.write(numbered(3)).await.unwrap();
    drop(client.writer);
    let (read, end) = server.read_to_end().await;
    assert_eq!(numbers(&read), [0, 1, 2]);
    assert!(is_reset(&end.unwrap_err()));
}

#[tokio::test]
async fn a_dropped_reader_breaks_the_writer_and_wakes_it() {
    let (mut client, server) = ends(&Memory::new("dropped reader").capacity_bytes(100)).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut batch = VecDeque::from([bytes(100), bytes(100)]);
    assert!(client.writer.poll_write(&mut Context::from_waker(&waker), &mut batch).is_pending());
    drop(server.reader);
    assert_eq!(wakes.count(), 1);
    let error = client.write(batch).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_connection_dropped_whole_ends_both_directions() {
    let wire = Memory::new("dropped whole");
    let mut listener = wire.bind().await.unwrap();
    drop(wire.connect().await.unwrap());
    let mut server = accept(&mut listener).await;
    assert!(is_reset(&server.read_to_end().await.1.unwrap_err()));
    assert_eq!(server.write([bytes(1)]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_name_is_bound_once_and_is_free_when_its_listener_is_gone() {
    let wire = Memory::new("taken");
    let listener = wire.bind().await.unwrap();
    assert_eq!(listener.endpoint(), "mem://taken");
    let second = Memory::new("taken").bind().await;
    assert!(matches!(second, Err(BindError::InUse { endpoint }) if endpoint == "mem://taken"));
    drop(listener);
    Memory::new("taken").bind().await.unwrap();
}

#[tokio::test]
async fn connecting_where_nobody_listens_is_refused() {
    let error = Memory::new("nobody").connect().await.err().unwrap();
    let ConnectError::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
    assert_eq!(endpoint, "mem://nobody");
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn every_client_has_an_endpoint_of_its_own() {
    let wire = Memory::new("peers");
    let mut listener = wire.bind().await.unwrap();
    for number in 1..=3 {
        let client = End::new(wire.connect().await.unwrap());
        let server = accept(&mut listener).await;
        assert_eq!(client.peer.endpoint(), "mem://peers");
        assert_eq!(server.peer.endpoint(), format!("mem://peers#{number}"));
        assert_eq!(server.peer.scheme(), "mem");
    }
}

#[tokio::test]
async fn a_client_waits_while_the_backlog_is_full() {
    let wire = Memory::new("backlog").backlog(2);
    let mut listener = wire.bind().await.unwrap();
    let _waiting = [wire.connect().await.unwrap(), wire.connect().await.unwrap()];
    let mut third = pin!(wire.connect());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(third.as_mut().poll(&mut cx).is_pending());
    accept(&mut listener).await;
    assert!(third.as_mut().poll(&mut cx).is_ready());
}

#[tokio::test]
async fn who_gives_up_waiting_in_the_backlog_leaves_nothing_behind() {
    let wire = Memory::new("gives up").backlog(1);
    let mut listener = wire.bind().await.unwrap();
    let _first = wire.connect().await.unwrap();
    {
        let mut second = pin!(wire.connect());
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    accept(&mut listener).await;
    let _third = wire.connect().await.unwrap();
    assert_eq!(accept(&mut listener).await.peer.endpoint(), "mem://gives up#2");
}

#[tokio::test]
async fn a_listener_that_goes_away_ends_those_who_wait_for_it() {
    let wire = Memory::new("goes away").backlog(1);
    let listener = wire.bind().await.unwrap();
    let mut arrived = End::new(wire.connect().await.unwrap());
    let mut waiting = pin!(wire.connect());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(listener);
    assert!(matches!(waiting.await, Err(ConnectError::Unreachable { .. })));
    assert!(is_reset(&arrived.read_to_end().await.1.unwrap_err()));
}

#[tokio::test]
async fn the_wire_promises_what_it_keeps() {
    let (client, server) = ends(&Memory::new("promises")).await;
    assert!(client.capabilities.keeps_everything() && client.capabilities.encrypted);
    assert_eq!(client.capabilities.datagram_bytes_max, None);
    assert_eq!(client.capabilities, server.capabilities);
}
