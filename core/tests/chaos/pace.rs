//! Slow readers, and how much may be under way.

use crate::support::{
    DIRECTIONS, Duo, SEED, bytes, cost, duo, fresh, memory, ms, numbered, numbers, settle,
};
use bytes::Bytes;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Chaos, Direction};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn a_frame_larger_than_what_may_be_under_way_passes_when_nothing_else_is() {
    for is_lossy in [false, true] {
        for direction in DIRECTIONS {
            let name = format!("large {is_lossy} {direction:?}");
            let chaos = Chaos::new(memory(&name), SEED).capacity_bytes(100);
            let chaos = if is_lossy { chaos.lossy(10_000) } else { chaos };
            let mut duo = duo(&chaos).await;
            let (writer, reader) = duo.way(direction);
            for _ in 0..2 {
                writer.write([bytes(5000)]).await.unwrap();
                assert_eq!(reader.read_frames(1).await, [bytes(5000)]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_said_however_large_frames_and_however_stuck_the_inner_wire() {
    const MIB: usize = 1024 * 1024;
    let body = Bytes::from(vec![7; MIB]);
    for (capacity_bytes, fits) in [(1000, 1), (cost(MIB), 1), (3 * cost(MIB), 3)] {
        let name = format!("stuck mebibytes {capacity_bytes}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(1000), SEED);
        let mut duo = duo(&chaos.capacity_bytes(capacity_bytes)).await;
        let mut batch: VecDeque<_> = (0..100).map(|_| Frame::ordered(body.clone())).collect();
        for _ in 0..100 {
            assert!(duo.near.try_write(&mut batch).is_pending());
            settle().await;
        }
        // The wire inside holds one too.
        assert_eq!(100 - batch.len(), fits + 1);
        let (written, read) = tokio::join!(duo.near.write(batch), duo.far.read_frames(100));
        written.unwrap();
        assert_eq!(read.len(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_makes_the_other_end_wait_until_it_resumes() {
    let chaos = Chaos::new(memory("stall").capacity_bytes(10_000), SEED);
    let chaos = chaos.capacity_bytes(10_000);
    let Duo { mut near, mut far } = duo(&chaos).await;
    chaos.stall();
    let mut batch: VecDeque<_> = (0..100).map(|_| bytes(1000)).collect();
    let mut nothing = Vec::new();
    let stalled = timeout(ms(60_000), near.read(&mut nothing));
    let (stalled, blocked) = tokio::join!(stalled, async {
        timeout(ms(50_000), poll_fn(|cx| far.writer.poll_write(cx, &mut batch))).await
    });
    assert!(stalled.is_err() && blocked.is_err());
    // The wire inside is full, and what is under way too, by one read more at most.
    assert_eq!(100 - batch.len(), 3 * (10_000 / cost(1000)));
    // What the stalled end writes gets through.
    near.write(numbered(1)).await.unwrap();
    assert_eq!(numbers(&far.read_frames(1).await), [0]);
    chaos.resume();
    let began = Instant::now();
    let (written, read) = tokio::join!(far.write(batch), near.read_frames(100));
    written.unwrap();
    assert_eq!((read.len(), began.elapsed()), (100, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_does_not_see_the_end_and_a_waiting_one_is_woken_by_the_resume() {
    let (chaos, mut duo) = fresh("stalled end", Direction::In).await;
    chaos.stall();
    duo.far.write(numbered(1)).await.unwrap();
    duo.far.close().await;
    let resuming = async {
        tokio::time::sleep(ms(100)).await;
        chaos.resume();
    };
    let ((read, end), ()) = tokio::join!(duo.near.read_to_end(), resuming);
    assert_eq!(numbers(&read), [0]);
    assert!(end.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_takes_so_many_bytes_in_a_second_and_slows_the_other_end_down() {
    let chaos = Chaos::new(memory("slow").capacity_bytes(cost(500)), SEED);
    let chaos = chaos.capacity_bytes(2 * cost(500));
    let Duo { mut near, mut far } = duo(&chaos).await;
    chaos.slow(10_000);
    let began = Instant::now();
    let writing = async {
        far.write((0..10).map(|_| bytes(500))).await.unwrap();
        began.elapsed()
    };
    let (written, times) = tokio::join!(writing, near.read_with_times(10));
    let times: Vec<_> = times.into_iter().map(|(time, _)| time.as_millis()).collect();
    assert_eq!(times, [0, 0, 0, 50, 100, 150, 200, 250, 300, 350]);
    assert!(written >= ms(200), "{written:?}");

    // What waits for a slow reader does not when it is fast again.
    chaos.slow(1);
    let writing = far.write([bytes(1500), bytes(500)]);
    let (written, read) = tokio::join!(writing, near.read_frames(1));
    written.unwrap();
    assert_eq!(read, [bytes(1500)]);
    assert!(timeout(ms(1000), near.read(&mut Vec::new())).await.is_err());
    chaos.resume();
    let began = Instant::now();
    assert_eq!(near.read_frames(1).await, [bytes(500)]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn another_pace_holds_for_what_waits_too_and_owes_nothing_to_the_one_before() {
    let (chaos, mut duo) = fresh("another pace", Direction::In).await;
    chaos.slow(1);
    duo.far.write((0..3).map(|_| bytes(1500))).await.unwrap();
    assert_eq!(duo.near.read_frames(1).await.len(), 1);
    assert!(timeout(ms(1000), duo.near.read(&mut Vec::new())).await.is_err());
    chaos.slow(10_000);
    let times = duo.near.read_with_times(2).await;
    let times: Vec<_> = times.into_iter().map(|(time, _)| time.as_millis()).collect();
    assert_eq!(times, [0, 150]);
}
