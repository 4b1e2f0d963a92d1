//! Wires that are made lossy.

use crate::support::{
    DIRECTIONS, Duo, End, SEED, accept, assert_same, bytes, cost, counts, duo, history, is_reset,
    memory, ms, numbered, numbers, roomy, settle,
};
use crate::wires::{CODEC, Scripted, once};
use emitwire_core::protocol::{Codec, Native};
use emitwire_core::transport::{Capabilities, Chaos, Direction, Faults, Transport};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_lossy_wire_declares_datagrams_and_keeps_what_the_inner_one_encrypts() {
    let chaos = Chaos::new(memory("declares"), SEED);
    let mut ends = duo(&chaos.clone().lossy(1200)).await;
    assert_eq!(ends.near.capabilities, Capabilities::datagrams(1200).encrypted());
    ends = duo(&chaos).await;
    assert_eq!(ends.near.capabilities, ends.far.capabilities);
    let script = Scripted { reads: VecDeque::new(), limits: Arc::default() };
    let chaos = once(script).lossy(5000);
    let connection = chaos.connect().await.unwrap();
    let capabilities = connection.capabilities();
    assert_eq!(capabilities, Capabilities::datagrams(1000), "no more than the inner one takes");
    let codec: Arc<dyn Codec> = Arc::<Native>::clone(&CODEC);
    assert!(Arc::ptr_eq(&connection.codec(), &codec));
}

#[tokio::test(start_paused = true)]
async fn a_lossy_wire_without_faults_delivers_everything_in_order() {
    for direction in DIRECTIONS {
        let chaos = roomy(&format!("faultless {direction:?}"), SEED).lossy(1200);
        let read = history(&chaos, direction, Faults::new(), 1000).await;
        assert_same(read, (0..1000).collect(), direction);
    }
}

#[tokio::test(start_paused = true)]
async fn datagrams_are_no_larger_than_the_frames_of_the_wire_inside() {
    let narrow = Chaos::new(memory("narrow inside"), SEED).lossy(100);
    let mut duo = duo(&Chaos::new(narrow, SEED).lossy(5000)).await;
    assert_eq!(duo.near.capabilities.frame_bytes_max, 100);
    let error = duo.near.write([bytes(101)]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    // The frame was refused, not the wire.
    duo.near.write([bytes(100)]).await.unwrap();
    assert_eq!(duo.far.read_frames(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_frame_larger_than_a_datagram_is_refused_by_the_writer() {
    let chaos = Chaos::new(memory("datagram"), SEED).lossy(100);
    let mut duo = duo(&chaos).await;
    let error = duo.near.write([bytes(100), bytes(101)]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(duo.far.read_frames(1).await, [bytes(100)]);
    // An end that is not wrapped does not know.
    duo.far.write([bytes(101), bytes(100)]).await.unwrap();
    assert_eq!(duo.near.read_frames(1).await, [bytes(100)]);
    assert_eq!(counts(chaos.stats(Direction::Both)), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_full_lossy_wire_drops_what_is_new_and_counts_it() {
    for direction in DIRECTIONS {
        let name = format!("overflow {direction:?}");
        let chaos = Chaos::new(memory(&name), SEED).capacity_bytes(1000).lossy(1200);
        let mut duo = duo(&chaos).await;
        // Nothing leaves for a while.
        chaos.set(direction, Faults::new().delay(ms(100)));
        let (writer, reader) = duo.way(direction);
        let mut batch = numbered(100).collect();
        assert!(matches!(writer.try_write(&mut batch), Poll::Ready(Ok(()))));
        let read = reader.read_frames(1).await;
        let fits = 1000 / cost(4);
        assert_same(numbers(&read), (0..fits as u32).collect(), direction);
        let overflowed = (100 - fits) as u64;
        assert_same(counts(chaos.stats(Direction::Both)), [0, 0, 0, 0, overflowed], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_overflows_a_lossy_wire() {
    let chaos = Chaos::new(memory("stalled lossy"), SEED).capacity_bytes(1000).lossy(1200);
    let mut duo = duo(&chaos).await;
    chaos.stall();
    duo.far.write(numbered(100)).await.unwrap();
    assert!(timeout(ms(100), duo.near.read(&mut Vec::new())).await.is_err());
    let fits = 1000 / cost(4);
    assert_eq!(chaos.stats(Direction::In).frames_overflowed, (100 - fits) as u64);
    chaos.resume();
    assert_eq!(duo.near.read_frames(1).await.len(), fits);
}

#[tokio::test(start_paused = true)]
async fn writing_on_a_lossy_wire_never_waits_however_stuck_it_is() {
    let chaos = Chaos::new(memory("stuck").capacity_bytes(100), SEED);
    let chaos = chaos.capacity_bytes(1000).lossy(1200);
    let mut duo = duo(&chaos).await;
    for _ in 0..100 {
        let mut batch = numbered(100).collect();
        assert!(matches!(duo.near.try_write(&mut batch), Poll::Ready(Ok(()))));
        settle().await;
    }
    let overflowed = chaos.stats(Direction::Out).frames_overflowed;
    assert!(overflowed > 9_800, "{overflowed}");
}

#[tokio::test(start_paused = true)]
async fn how_a_lossy_wire_ends_is_never_lost() {
    let chaos = Chaos::new(memory("lossy end"), SEED).lossy(1200);
    let Duo { mut near, mut far } = duo(&chaos).await;
    chaos.set(Direction::Both, Faults::new().loss(1.0));
    far.write(numbered(3)).await.unwrap();
    far.close().await;
    let (read, end) = near.read_to_end().await;
    assert!(read.is_empty() && end.is_ok());
    near.write(numbered(3)).await.unwrap();
    drop(near.writer);
    let (read, end) = far.read_to_end().await;
    assert!(read.is_empty() && is_reset(&end.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn with_a_clone_at_each_end_faults_of_what_goes_out_are_passed_once() {
    let chaos = roomy("each end", SEED).lossy(1200);
    let mut listener = chaos.bind().await.unwrap();
    let far = End::new(chaos.connect().await.unwrap());
    let mut duo = Duo { near: accept(&mut listener).await, far };
    assert_eq!(duo.near.capabilities, duo.far.capabilities);
    chaos.set(Direction::Out, Faults::new().delay(ms(100)).duplication(1.0));
    for direction in DIRECTIONS {
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(1)).await.unwrap();
        let timed = reader.read_with_times(2).await;
        assert_same((timed.len(), timed[0].0), (2, ms(100)), direction);
    }
}
