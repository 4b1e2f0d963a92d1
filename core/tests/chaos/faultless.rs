//! A wire without faults is as it was.

use crate::support::{
    DIRECTIONS, Duo, End, SEED, accept, assert_same, duo, memory, numbered, numbers,
};
use bytes::Bytes;
use emitwire_core::protocol::{Class, Frame, FrameKind};
use emitwire_core::transport::{Chaos, ChaosStats, ConnectError, Direction, Faults, Transport};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn without_faults_the_wire_is_as_it_was() {
    let chaos = Chaos::new(memory("as it was"), SEED);
    assert_eq!(chaos.endpoint(), "mem://chaos as it was");
    let mut listener = chaos.bind().await.unwrap();
    assert_eq!(listener.endpoint(), "mem://chaos as it was");
    let client = memory("as it was").connect().await.unwrap();
    let server = listener.accept().await.unwrap().handshake().await.unwrap();
    assert_eq!(server.peer().endpoint(), "mem://chaos as it was#1");
    let mut duo = Duo { near: End::new(server), far: End::new(client) };
    assert_eq!(duo.near.capabilities, duo.far.capabilities);
    let began = Instant::now();
    for direction in DIRECTIONS {
        let (writer, reader) = duo.way(direction);
        let body = Bytes::from(vec![1; 5000]);
        let frames = [Frame::text("t"), Frame::volatile("v"), Frame::ordered(body.clone())];
        writer.write(frames.clone()).await.unwrap();
        let read = reader.read_frames(3).await;
        assert_same(&read[..], &frames[..], direction);
        assert_eq!((read[0].kind, read[0].class), (FrameKind::Text, Class::Ordered));
        assert_eq!(read[2].body.as_ptr(), body.as_ptr(), "moved, not copied");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(chaos.stats(Direction::Both), ChaosStats::default());
}

#[tokio::test(start_paused = true)]
async fn either_end_may_be_the_wrapped_one() {
    let chaos = Chaos::new(memory("connects"), SEED);
    let mut listener = memory("connects").bind().await.unwrap();
    let mut near = End::new(chaos.connect().await.unwrap());
    let mut far = accept(&mut listener).await;
    chaos.set(Direction::Out, Faults::new().loss(1.0));
    near.write(numbered(1)).await.unwrap();
    far.write(numbered(1)).await.unwrap();
    assert_eq!(numbers(&near.read_frames(1).await), [0]);
    near.close().await;
    assert!(far.read_to_end().await.0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_connect_hears_what_the_inner_wire_says() {
    let error = Chaos::new(memory("nobody"), SEED).connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_in_order_through_small_buffers() {
    for direction in DIRECTIONS {
        let name = format!("small {direction:?}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(300), SEED).capacity_bytes(500);
        let Duo { near, far } = duo(&chaos).await;
        let (mut writer, mut reader) = match direction {
            Direction::In => (far, near),
            _ => (near, far),
        };
        let writing = tokio::spawn(async move {
            writer.write(numbered(5000)).await.unwrap();
            writer.close().await;
            writer
        });
        let (read, end) = reader.read_to_end().await;
        assert!(end.is_ok());
        assert_same(numbers(&read), (0..5000).collect(), direction);
        drop(writing.await.unwrap());
    }
}
