//! Volatile frames: datagrams where they fit, the stream where they do not, and nothing where
//! there is no room.

use super::end::{numbered, numbers, within};
use super::raw::{self, end_and_raw, framed};
use super::{accept, address, ends, ends_with, server};
use emitwire_core::protocol::{Class, Frame};
use emitwire_core::transport::Transport;
use quinn::TransportConfig;

const DATAGRAM_BYTES_MAX: usize = 1150;

#[tokio::test]
async fn volatile_frames_travel_as_datagrams_and_ordered_ones_on_the_stream() {
    let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
    assert_eq!(end.capabilities.datagram_bytes_max, Some(DATAGRAM_BYTES_MAX));
    let frames = [Frame::ordered("one"), Frame::volatile("two"), Frame::volatile("")];
    end.write(frames).await.unwrap();
    assert_eq!(within(raw.connection.read_datagram()).await.unwrap(), "two");
    assert_eq!(within(raw.connection.read_datagram()).await.unwrap(), "");
    let mut bytes = [0; 7];
    within(raw.receive.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..], framed(b"one"));
}

#[tokio::test]
async fn a_datagram_is_a_volatile_frame_even_an_empty_one() {
    let (mut end, raw) = end_and_raw(TransportConfig::default()).await;
    for body in ["", "tick"] {
        raw.connection.send_datagram(body.into()).unwrap();
        assert_eq!(end.read_frames(1).await, [Frame::volatile(body)]);
    }
}

#[tokio::test]
async fn a_datagram_holds_nothing_in_memory_but_itself() {
    let (mut end, raw) = end_and_raw(TransportConfig::default()).await;
    for body in ["a", "b"] {
        raw.connection.send_datagram(body.into()).unwrap();
    }
    for frame in end.read_frames(2).await {
        assert_eq!(frame.body.try_into_mut().unwrap().capacity(), 1);
    }
}

#[tokio::test]
async fn datagrams_before_the_stream_are_thrown_away() {
    let mut listener = server().bind().await.unwrap();
    let endpoint = raw::client(raw::OURS);
    let there = address(&*listener);
    let connecting = async {
        let connection = raw::connect(&endpoint, &there).await;
        let acks = |connection: &quinn::Connection| connection.stats().frame_rx.acks;
        let before = acks(&connection);
        // As many acknowledgements as take in the first.
        while acks(&connection) < before + 10 {
            connection.send_datagram("early".into()).unwrap();
            tokio::task::yield_now().await;
        }
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[0x01]).await.unwrap();
        send.write_all(&framed(b"first")).await.unwrap();
        (connection, send, receive)
    };
    let (_raw, mut end) = within(async { tokio::join!(connecting, accept(&mut *listener)) }).await;
    let mut frames = Vec::new();
    while frames.iter().all(|frame: &Frame| frame.class == Class::Volatile) {
        assert_ne!(end.read(&mut frames).await.unwrap(), 0);
    }
    let early = frames.len() - 1;
    assert!(early < 10, "{early}");
}

#[tokio::test]
async fn a_burst_after_something_on_the_stream_is_not_held_back() {
    let (mut client, mut server) = ends().await;
    let mut dropped = 0;
    for _ in 0..10 {
        client.write([Frame::ordered("heartbeat")]).await.unwrap();
        server.read_frames(1).await;
        // More than a turn of datagrams, and less than their buffer.
        client.write(vec![Frame::volatile(vec![1; 1000]); 100]).await.unwrap();
        dropped += client.writer.take_dropped();
        server.read_frames(100 - dropped as usize).await;
        assert_eq!(dropped, 0);
    }
}

#[tokio::test]
async fn one_that_is_too_large_takes_the_stream() {
    let (mut client, mut server) = ends().await;
    let body = vec![7; DATAGRAM_BYTES_MAX];
    let larger = vec![7; DATAGRAM_BYTES_MAX + 1];
    client.write([Frame::volatile(body.clone())]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::volatile(body)]);
    client.write([Frame::volatile(larger.clone())]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered(larger)]);
    assert_eq!(client.writer.take_dropped(), 0);
}

#[tokio::test]
async fn to_a_peer_without_datagrams_they_take_the_stream() {
    let mut transport = TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    let (mut end, mut raw) = end_and_raw(transport).await;
    end.write([Frame::volatile("tick")]).await.unwrap();
    let mut bytes = [0; 8];
    within(raw.receive.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..], framed(b"tick"));
}

#[tokio::test]
async fn where_there_is_no_room_the_newest_are_dropped_and_counted() {
    // Only one task runs at a time: nothing leaves the buffer during the write.
    let small = |quic: emitwire_transports::Quic| quic.datagram_buffer(4000);
    let (mut client, mut server) = ends_with(server(), small).await;
    for round in 0..3 {
        let sized = numbered(100).map(|frame| {
            let mut body = frame.body.to_vec();
            body.resize(500, 0);
            Frame::volatile(body)
        });
        client.write(sized).await.unwrap();
        let dropped = client.writer.take_dropped() as usize;
        assert!((90..100).contains(&dropped), "round {round}: {dropped}");
        assert_eq!(client.writer.take_dropped(), 0);
        let read = server.read_frames(100 - dropped).await;
        let heads: Vec<_> =
            read.iter().map(|frame| Frame::volatile(frame.body.slice(..4))).collect();
        assert_eq!(numbers(&heads), (0..(100 - dropped) as u32).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn one_behind_a_frame_that_is_written_in_part_does_not_wait_for_it() {
    let (mut client, mut server) = ends().await;
    let (count, mut batch) = client.fill(&Frame::ordered(vec![1; 300_000])).await;
    batch.push_back(Frame::volatile("now"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(client.writer.poll_write(&mut cx, &mut batch).is_pending());
    assert_eq!(batch.len(), 1, "the ordered one stays in front");
    let writing = tokio::spawn(async move {
        client.write(batch).await.unwrap();
        client
    });
    let read = server.read_frames(count + 1).await;
    let volatile = read.iter().position(|frame| frame.class == Class::Volatile).unwrap();
    assert_eq!(read[volatile].body, "now");
    assert!(volatile < count, "it overtook {} of {count}", count - volatile);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_datagram_over_the_limit_of_the_session_is_refused() {
    let (mut client, mut server) = ends().await;
    server.reader.set_frame_bytes_max(10);
    client.write([Frame::volatile(vec![1; 11])]).await.unwrap();
    let error = server.read(&mut Vec::new()).await.unwrap_err();
    assert!(
        matches!(error, emitwire_core::transport::ReadError::FrameTooLarge { bytes: 11, max: 10 }),
        "{error:?}"
    );
    // What still comes is thrown away.
    client.write([Frame::volatile("a"), Frame::ordered("b")]).await.unwrap();
    client.close().await;
    let (frames, _) = server.read_to_end().await;
    assert_eq!(frames, []);
}
