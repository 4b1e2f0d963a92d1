//! What the wire inside says, and what it owes.

use crate::support::{End, Wakes, bytes, cost, counts, ms, numbered, settle, tasks};
use crate::wires::{Owing, once, scripted};
use emitwire_core::transport::{ChaosStats, Direction, Faults, ReadError, Transport};
use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_yet_are_a_sign_of_life_as_late_as_frames() {
    let reads = [Ok((10, vec![])), Ok((20, vec![])), Ok((30, vec![bytes(30)])), Ok((5, vec![]))];
    let (chaos, mut end, _) = scripted(reads).await;
    chaos.set(Direction::In, Faults::new().delay(ms(100)));
    let began = Instant::now();
    let mut frames = Vec::new();
    assert_eq!(end.read(&mut frames).await.unwrap(), 30 + cost(30) + 5);
    assert_eq!((frames, began.elapsed()), (vec![bytes(30)], ms(100)));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_wire_is_passed_on_behind_what_came_before() {
    let (chaos, mut end, _) =
        scripted([Ok((30, vec![bytes(30)])), Err(ReadError::Truncated)]).await;
    chaos.set(Direction::In, Faults::new().delay(ms(100)));
    let began = Instant::now();
    let (read, ended) = end.read_to_end().await;
    assert_eq!(read, [bytes(30)]);
    assert!(matches!(ended, Err(ReadError::Truncated)));
    assert_eq!(began.elapsed(), ms(100));
    // Whoever reads on all the same waits like anybody else.
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let again = end.reader.poll_read(&mut Context::from_waker(&waker), &mut Vec::new());
    assert!(again.is_pending());
    assert_eq!(wakes.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limit_reaches_the_inner_wire_before_it_is_read_and_nothing_is_read_unasked() {
    let (_chaos, mut end, limits) = scripted([Ok((101, vec![bytes(101)]))]).await;
    settle().await;
    end.reader.set_frame_bytes_max(100);
    assert_eq!(*limits.lock().unwrap(), [100]);
    let error = end.read(&mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, ReadError::FrameTooLarge { bytes: 101, max: 100 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn why_the_inner_wire_takes_nothing_more_the_next_who_writes_hears() {
    let (chaos, mut end, _) = scripted([]).await;
    end.write(numbered(1)).await.unwrap();
    settle().await;
    assert_eq!(end.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(end.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(tasks(), 0);
    assert_eq!(chaos.stats(Direction::Out).frames_dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_inner_wire_has_taken_over_is_finished_though_nothing_follows_it() {
    let wire = Owing::default();
    let mut near = End::new(once(wire.clone()).connect().await.unwrap());
    near.write(numbered(1)).await.unwrap();
    settle().await;
    assert_eq!(wire.seen(), (1, vec![0], vec![]), "called once, as long as it wakes nobody");
    near.close().await;
    settle().await;
    assert!(!wire.is_closed(), "not before everything is written");
    wire.open();
    settle().await;
    assert_eq!((wire.seen().2, wire.is_closed()), (vec![0], true));
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_inner_wire_has_taken_over_waits_for_the_end_of_a_cut() {
    for is_lossy in [false, true] {
        let wire = Owing::default();
        let chaos = once(wire.clone());
        let chaos = if is_lossy { chaos.lossy(1000) } else { chaos };
        let mut near = End::new(chaos.connect().await.unwrap());
        near.write(numbered(1)).await.unwrap();
        settle().await;
        chaos.cut(Direction::Out);
        let seen = wire.seen();
        wire.open();
        settle().await;
        assert_eq!(wire.seen(), seen, "lossy: {is_lossy}");
        chaos.heal(Direction::Out);
        settle().await;
        assert_eq!(wire.seen().2, [0], "lossy: {is_lossy}");
        assert_eq!(chaos.stats(Direction::Both), ChaosStats::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_a_lossy_wire_spares_only_what_the_inner_one_may_have_begun() {
    let wire = Owing::default();
    let chaos = once(wire.clone()).lossy(1000);
    let mut near = End::new(chaos.connect().await.unwrap());
    near.write(numbered(4)).await.unwrap();
    settle().await;
    assert_eq!(wire.seen().1, [0]);
    chaos.cut(Direction::Out);
    // At once, and not when the task gets to it.
    chaos.heal(Direction::Out);
    assert_eq!(counts(chaos.stats(Direction::Both)), [2, 0, 0, 0, 0]);
    wire.open();
    settle().await;
    assert_eq!(wire.seen().2, [0, 1], "what was in front is passed again as it is");
}

#[tokio::test(start_paused = true)]
async fn an_inner_wire_that_owes_for_ever_is_dropped_ten_seconds_after_the_wrapped_end() {
    let wire = Owing::default();
    let chaos = once(wire.clone());
    let mut near = End::new(chaos.connect().await.unwrap());
    near.write(numbered(3)).await.unwrap();
    near.close().await;
    settle().await;
    drop(near);
    tokio::time::sleep(ms(9_999)).await;
    assert_eq!((tasks(), chaos.stats(Direction::Both)), (1, ChaosStats::default()));
    tokio::time::sleep(ms(2)).await;
    assert_eq!((tasks(), wire.is_closed()), (0, false));
    assert!(wire.is_dropped());
    assert_eq!(chaos.stats(Direction::Out).frames_dropped, 2, "and the one that it owes");
}
