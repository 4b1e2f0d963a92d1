//! What goes over the wire: the same as on TCP.

use crate::directory::Directory;
use crate::end::{End, accept, within};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Capabilities, ReadError, Transport};
use emitwire_transports::Unix;
use std::future::poll_fn;
use std::task::{Context, Waker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

async fn ends(directory: &Directory) -> (End, End) {
    let wire = Unix::new(directory.join("a"));
    let mut listener = wire.bind().await.unwrap();
    let client = End::new(wire.connect().await.unwrap());
    (client, accept(&mut *listener).await)
}

#[tokio::test]
async fn on_the_wire_stand_the_length_in_network_order_and_the_body() {
    let directory = Directory::new();
    let mut listener = Unix::new(directory.join("a")).bind().await.unwrap();
    let mut raw = UnixStream::connect(directory.join("a")).await.unwrap();
    let mut end = accept(&mut *listener).await;
    end.write([Frame::ordered("abc"), Frame::ordered(""), Frame::volatile("d")]).await.unwrap();
    end.close().await;
    let mut bytes = Vec::new();
    within(raw.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d");
    within(raw.write_all(b"\0\0\0\x02hi")).await.unwrap();
    assert_eq!(end.read_frames(1).await, [Frame::ordered("hi")]);
}

#[tokio::test]
async fn the_wire_promises_what_it_keeps() {
    let directory = Directory::new();
    let (client, server) = ends(&directory).await;
    assert_eq!(client.capabilities, Capabilities::stream(16 * 1024 * 1024).encrypted());
    assert_eq!(client.capabilities, server.capabilities);
    let wire = Unix::new(directory.join("b")).frame_bytes_max(1000);
    let mut listener = wire.bind().await.unwrap();
    let mut client = End::new(wire.connect().await.unwrap());
    let mut server = accept(&mut *listener).await;
    assert_eq!(server.capabilities.frame_bytes_max, 1000);
    client.write([Frame::ordered(vec![1; 1001])]).await.unwrap();
    let (_, result) = server.read_to_end().await;
    assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 1001, max: 1000 })));
}

#[tokio::test]
async fn what_a_slow_peer_did_not_take_is_written_later() {
    let directory = Directory::new();
    let (mut client, mut server) = ends(&directory).await;
    let body = Frame::ordered((0..50_003_u32).map(|at| at as u8).collect::<Vec<_>>());
    let (count, mut batch) = client.fill(&body).await;
    let writing = tokio::spawn(async move {
        within(poll_fn(|cx| client.writer.poll_write(cx, &mut batch))).await
    });
    let read = server.read_frames(count).await;
    writing.await.unwrap().unwrap();
    assert!(read.iter().all(|frame| *frame == body));
}

/// Tokio's budget is for those who wait: here nobody does, however much is written in one turn.
#[tokio::test]
async fn writing_a_lot_in_one_turn_costs_no_budget() {
    let directory = Directory::new();
    let (mut client, mut server) = ends(&directory).await;
    client.write([Frame::ordered("first")]).await.unwrap();
    server.read_frames(1).await;
    for _ in 0..WRITES {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(client.writer.poll_write(&mut cx, &mut [Frame::ordered("x")].into()).is_ready());
    }
}

#[tokio::test]
async fn connecting_waits_while_too_many_wait_to_be_accepted() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a")).backlog(1);
    let mut listener = wire.bind().await.unwrap();
    let mut connecting = JoinSet::new();
    for _ in 0..CONNECTING {
        let wire = wire.clone();
        connecting.spawn(async move { wire.connect().await.map(End::new) });
    }
    // Some systems refuse instead.
    if cfg!(target_os = "linux") {
        let mut ends = Vec::new();
        for _ in 0..CONNECTING {
            ends.push(accept(&mut *listener).await);
        }
        for connected in within(connecting.join_all()).await {
            connected.unwrap();
        }
    }
}

/// More than tokio's budget of one turn.
const WRITES: usize = 200;

/// More than the backlog.
const CONNECTING: usize = 10;
