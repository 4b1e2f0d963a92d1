//! The port as TCP keeps it: framing, limits, blocked writes, ends and errors.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/end.rs"]
mod end;

use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    BindError, Capabilities, ConnectError, Listener, ReadError, Transport,
};
use emitwire_transports::Tcp;
use end::{End, accept, mixed, numbered, numbers, within};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

fn address(listener: &dyn Listener) -> String {
    listener.endpoint().strip_prefix("tcp://").unwrap().to_owned()
}

async fn ends() -> (End, End) {
    let mut listener = Tcp::new("127.0.0.1:0").bind().await.unwrap();
    let client = End::new(Tcp::new(address(&*listener)).connect().await.unwrap());
    (client, accept(&mut *listener).await)
}

/// A peer that writes whatever bytes it likes, and our end.
async fn raw_and_end() -> (TcpStream, End) {
    let mut listener = Tcp::new("127.0.0.1:0").bind().await.unwrap();
    let raw = TcpStream::connect(address(&*listener)).await.unwrap();
    (raw, accept(&mut *listener).await)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[tokio::test]
async fn frames_travel_both_ways() {
    let (mut client, mut server) = ends().await;
    client.write([Frame::ordered("there")]).await.unwrap();
    let heard = server.read_frames(1).await;
    server.write(heard).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("there")]);
}

#[tokio::test]
async fn on_the_wire_stand_the_length_in_network_order_and_the_body() {
    let (mut raw, mut end) = raw_and_end().await;
    end.write([Frame::ordered("abc"), Frame::ordered(""), Frame::volatile("d")]).await.unwrap();
    end.close().await;
    let mut bytes = Vec::new();
    within(raw.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d");
}

#[tokio::test]
async fn frames_arrive_in_the_order_of_writing_whatever_the_batches() {
    let (mut client, mut server) = ends().await;
    let mut frames = numbered(1000);
    for size in (1..).take_while(|size| size * (size - 1) < 2000) {
        client.write(frames.by_ref().take(size)).await.unwrap();
    }
    client.close().await;
    let (read, end) = server.read_to_end().await;
    assert_eq!(numbers(&read), (0..1000).collect::<Vec<_>>());
    assert!(end.is_ok());
}

#[tokio::test]
async fn many_frames_arrive_in_one_read() {
    let (mut client, mut server) = ends().await;
    client.write(numbered(100)).await.unwrap();
    let mut frames = Vec::new();
    assert_eq!(server.read(&mut frames).await.unwrap(), 100 * 8);
    assert_eq!(numbers(&frames), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_frames_arrive_as_they_were_written() {
    let (mut client, mut server) = ends().await;
    let writing = tokio::spawn(async move {
        let mut number = 0;
        for size in (1..100).cycle() {
            client.write((number..number + size).map(mixed)).await.unwrap();
            number += size;
            if number > 2000 {
                break;
            }
        }
        client.close().await;
        number
    });
    let (read, end) = server.read_to_end().await;
    assert_eq!(read.len(), writing.await.unwrap());
    assert!(end.is_ok());
    for (number, frame) in read.iter().enumerate() {
        assert!(*frame == mixed(number), "frame {number}");
    }
}

#[tokio::test]
async fn a_frame_that_dribbles_in_byte_by_byte_is_whole_at_its_last() {
    let (mut raw, mut end) = raw_and_end().await;
    raw.set_nodelay(true).unwrap();
    let bytes = [framed(b"slowly"), framed(b""), framed(b"but surely")].concat();
    let mut frames = Vec::new();
    for (count, byte) in bytes.iter().enumerate() {
        raw.write_all(&[*byte]).await.unwrap();
        assert_eq!(end.read(&mut frames).await.unwrap(), 1);
        let whole = [10, 14, 28].iter().filter(|whole| **whole <= count + 1).count();
        assert_eq!(frames.len(), whole, "after {} bytes", count + 1);
    }
    let bodies: Vec<&[u8]> = frames.iter().map(|frame| &frame.body[..]).collect();
    assert_eq!(bodies, [&b"slowly"[..], b"", b"but surely"]);
}

#[tokio::test]
async fn a_length_of_four_gibibytes_is_refused_by_its_header_alone() {
    let (mut raw, mut end) = raw_and_end().await;
    raw.write_all(&framed(b"good")).await.unwrap();
    raw.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let (frames, result) = end.read_to_end().await;
    assert_eq!(frames, [Frame::ordered("good")]);
    let Err(ReadError::FrameTooLarge { bytes, max }) = result else { panic!("{result:?}") };
    assert_eq!((bytes, max), (u64::from(u32::MAX), end.capabilities.frame_bytes_max));
}

#[tokio::test]
async fn a_frame_over_the_limit_of_the_session_is_refused() {
    let (mut client, mut server) = ends().await;
    server.reader.set_frame_bytes_max(100);
    client.write([Frame::ordered(vec![1; 100]), Frame::ordered(vec![1; 101])]).await.unwrap();
    let (frames, result) = server.read_to_end().await;
    assert_eq!(frames, [Frame::ordered(vec![1; 100])]);
    assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 101, max: 100 })));
}

#[tokio::test]
async fn what_a_slow_peer_did_not_take_is_written_later_byte_for_byte() {
    let (mut raw, mut end) = raw_and_end().await;
    let body: Vec<u8> = (0..100_003_u32).map(|at| at as u8).collect();
    let (count, mut batch) = end.fill(&Frame::ordered(body.clone())).await;
    batch.push_back(Frame::ordered("and one more"));
    let writing = tokio::spawn(async move {
        within(poll_fn(|cx| end.writer.poll_write(cx, &mut batch))).await.unwrap();
        end.close().await;
        batch.len()
    });
    let mut bytes = Vec::new();
    within(raw.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(writing.await.unwrap(), 0);
    assert!(bytes == [framed(&body).repeat(count), framed(b"and one more")].concat());
}

#[tokio::test]
async fn a_blocked_write_does_not_stall_a_read() {
    let (mut client, mut server) = ends().await;
    let (_, batch) = client.fill(&Frame::ordered(vec![1; 50_000])).await;
    server.write([Frame::ordered("still here")]).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("still here")]);
    assert_eq!(batch.len(), 1);
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_when_the_peer_reads() {
    let (mut client, mut server) = ends().await;
    let (count, mut batch) = client.fill(&Frame::ordered(vec![1; 50_000])).await;
    let writing = tokio::spawn(async move {
        within(poll_fn(|cx| client.writer.poll_write(cx, &mut batch))).await
    });
    assert_eq!(server.read_frames(count).await.len(), count);
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_a_close_the_peer_reads_everything_and_then_the_end() {
    let (mut client, mut server) = ends().await;
    client.write(numbered(3)).await.unwrap();
    client.close().await;
    let (read, end) = server.read_to_end().await;
    assert_eq!(numbers(&read), [0, 1, 2]);
    assert!(end.is_ok());
    server.write([Frame::ordered("the other direction is open")]).await.unwrap();
    assert_eq!(client.read_frames(1).await.len(), 1);
}

#[tokio::test]
async fn a_peer_that_dies_inside_a_frame_truncates_it() {
    for end_at in [2, 4, 7] {
        let (mut raw, mut end) = raw_and_end().await;
        raw.write_all(&framed(b"whole")).await.unwrap();
        raw.write_all(&framed(b"broken")[..end_at]).await.unwrap();
        drop(raw);
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, [Frame::ordered("whole")]);
        assert!(matches!(result, Err(ReadError::Truncated)), "{result:?}");
    }
}

#[tokio::test]
async fn a_reset_is_an_error_for_the_reader_and_for_the_writer() {
    let (raw, mut end) = raw_and_end().await;
    end.write([Frame::ordered("never read")]).await.unwrap();
    // Closing a socket with unread bytes resets the connection (RFC 2525 §2.17).
    raw.readable().await.unwrap();
    drop(raw);
    let (_, result) = end.read_to_end().await;
    assert!(matches!(result, Err(ReadError::Io { .. })), "{result:?}");
    assert!(end.write([Frame::ordered("to nobody")]).await.is_err());
}

#[tokio::test]
async fn a_bound_port_is_in_use() {
    let listener = Tcp::new("127.0.0.1:0").bind().await.unwrap();
    let error = Tcp::new(address(&*listener)).bind().await.err().unwrap();
    assert!(
        matches!(&error, BindError::InUse { endpoint } if *endpoint == listener.endpoint()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_is_free_when_its_listener_is_gone() {
    let mut listener = Tcp::new("127.0.0.1:0").bind().await.unwrap();
    let bound = Tcp::new(address(&*listener));
    let _client = bound.connect().await.unwrap();
    let _server = accept(&mut *listener).await;
    drop(listener);
    bound.bind().await.unwrap();
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_available() {
    // 192.0.2.0/24 belongs to nobody (RFC 5737).
    for address in ["192.0.2.1:0", "no port", "127.0.0.1:99999"] {
        let error = Tcp::new(address).bind().await.err().unwrap();
        assert!(matches!(error, BindError::NotAvailable { .. }), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn connecting_to_a_closed_port_is_unreachable() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let closed = socket.local_addr().unwrap();
    let error = Tcp::to(closed).connect().await.err().unwrap();
    let ConnectError::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
    assert_eq!(endpoint, format!("tcp://{closed}"));
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    let error = Tcp::new("no port").connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_peer_does_not_delay_the_next() {
    let mut listener = Tcp::new("127.0.0.1:0").bind().await.unwrap();
    let _silent = TcpStream::connect(address(&*listener)).await.unwrap();
    let mut client = End::new(Tcp::new(address(&*listener)).connect().await.unwrap());
    let _not_yet = listener.accept().await.unwrap();
    let mut server = accept(&mut *listener).await;
    client.write([Frame::ordered("hello")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("hello")]);
}

#[tokio::test]
async fn each_end_names_the_other() {
    let mut listener = Tcp::to(SocketAddr::from(([127, 0, 0, 1], 0))).bind().await.unwrap();
    let raw = TcpStream::connect(address(&*listener)).await.unwrap();
    let server = accept(&mut *listener).await;
    assert_eq!(server.peer.endpoint(), format!("tcp://{}", raw.local_addr().unwrap()));
    assert_eq!(server.peer.scheme(), "tcp");
    let client = End::new(Tcp::new(address(&*listener)).connect().await.unwrap());
    assert_eq!(client.peer.endpoint(), listener.endpoint());
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let mut listener = Tcp::new("localhost:0").bind().await.unwrap();
    let port = listener.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let mut client = End::new(Tcp::new(format!("localhost:{port}")).connect().await.unwrap());
    client.write([Frame::ordered("by name")]).await.unwrap();
    assert_eq!(accept(&mut *listener).await.read_frames(1).await.len(), 1);
}

#[tokio::test]
async fn an_ipv6_address_stands_in_brackets() {
    if let Err(error) = TcpListener::bind("[::1]:0").await {
        eprintln!("skipped, this machine has no IPv6: {error}");
        return;
    }
    let mut listener = Tcp::new("[::1]:0").bind().await.unwrap();
    assert!(listener.endpoint().starts_with("tcp://[::1]:"), "{}", listener.endpoint());
    let mut client = End::new(Tcp::new(address(&*listener)).connect().await.unwrap());
    client.write([Frame::ordered("six")]).await.unwrap();
    let mut server = accept(&mut *listener).await;
    assert_eq!(server.read_frames(1).await, [Frame::ordered("six")]);
    assert!(server.peer.endpoint().starts_with("tcp://[::1]:"));
}

#[tokio::test]
async fn the_wire_promises_what_it_keeps() {
    let (client, server) = ends().await;
    assert_eq!(client.capabilities, Capabilities::stream(16 * 1024 * 1024));
    assert_eq!(client.capabilities, server.capabilities);
    let mut listener = Tcp::new("127.0.0.1:0").frame_bytes_max(1000).bind().await.unwrap();
    let mut client = End::new(Tcp::new(address(&*listener)).connect().await.unwrap());
    let mut server = accept(&mut *listener).await;
    assert_eq!(server.capabilities.frame_bytes_max, 1000);
    client.write([Frame::ordered(vec![1; 1001])]).await.unwrap();
    let (_, result) = server.read_to_end().await;
    assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 1001, max: 1000 })));
}

#[tokio::test]
async fn reading_is_pending_while_nothing_is_there() {
    let (mut client, mut server) = ends().await;
    client.write([Frame::ordered("one")]).await.unwrap();
    server.read_frames(1).await;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(server.reader.poll_read(&mut cx, &mut Vec::new()), Poll::Pending));
}
