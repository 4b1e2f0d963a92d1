//! How connections end, in order and otherwise, and what becomes of what was under way.

use crate::support::{
    DIRECTIONS, Duo, End, SEED, assert_same, bytes, cost, duo, fresh, is_reset, memory, ms,
    numbered, numbers, roomy, settle, tasks, within,
};
use emitwire_core::transport::{Chaos, ChaosStats, Direction, Faults, ReadError, Transport};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_close_in_order_arrives_behind_everything_and_leaves_the_other_direction_open() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("close", direction).await;
        chaos.set(direction, Faults::new().delay(ms(100)).jitter(ms(100)));
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(50)).await.unwrap();
        writer.close().await;
        let error = writer.write(numbered(1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let (read, end) = reader.read_to_end().await;
        assert_same(numbers(&read), (0..50).collect(), direction);
        assert!(end.is_ok());
        assert!(reader.read_to_end().await.1.is_ok(), "and stays the end");
        reader.write(numbered(1)).await.unwrap();
        assert_eq!(numbers(&writer.read_frames(1).await), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_writer_is_an_error_behind_all_that_it_wrote() {
    for direction in DIRECTIONS {
        let (chaos, duo) = fresh("dropped writer", direction).await;
        chaos.set(direction, Faults::new().delay(ms(100)));
        let (mut writer, mut reader) = match direction {
            Direction::In => (duo.far, duo.near),
            _ => (duo.near, duo.far),
        };
        writer.write(numbered(3)).await.unwrap();
        drop(writer.writer);
        let (read, end) = reader.read_to_end().await;
        assert_same(numbers(&read), vec![0, 1, 2], direction);
        assert!(is_reset(&end.unwrap_err()));
        assert!(is_reset(&reader.read_to_end().await.1.unwrap_err()), "and stays one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reader_breaks_the_writer_and_wakes_it() {
    for direction in DIRECTIONS {
        let name = format!("dropped reader {direction:?}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(100), SEED).capacity_bytes(100);
        let Duo { near, far } = duo(&chaos).await;
        let (mut writer, reader) = match direction {
            Direction::In => (far, near),
            _ => (near, far),
        };
        let End { reader, writer: _kept, .. } = reader;
        let writing = tokio::spawn(async move { (writer.write(numbered(1000)).await, writer) });
        settle().await;
        drop(reader);
        let (written, mut writer) = within(writing).await.unwrap();
        assert_same(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe, direction);
        let again = writer.write(numbered(1)).await.unwrap_err();
        assert_same(again.kind(), io::ErrorKind::BrokenPipe, direction);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_both_halves_were_dropped_travels_as_long_as_it_has_to() {
    let slow = Faults::new().bytes_per_second(100);
    let troubles = [
        (Faults::new().delay(ms(9_999)), 9_999),
        (Faults::new().delay(ms(15_000)), 15_000),
        (Faults::new().delay(ms(1_000_000)), 1_000_000),
        (slow, 35_000),
        (slow.delay(ms(7_000)), 42_000),
    ];
    for (faults, millis) in troubles {
        let (chaos, duo) = fresh("as long", Direction::Out).await;
        let Duo { mut near, mut far } = duo;
        chaos.set(Direction::Out, faults);
        let began = Instant::now();
        near.write((0..5).map(|_| bytes(1000))).await.unwrap();
        near.close().await;
        drop(near);
        let (read, end) = far.read_to_end().await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!((read.len(), began.elapsed()), (5, ms(millis)));
        assert_eq!(chaos.stats(Direction::Both), ChaosStats::default());
        settle().await;
        assert_eq!(tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_for_ten_seconds_is_dropped_counted_and_no_end_in_order() {
    for delay in [0, 15_000] {
        for (pause, arrives) in [(ms(9_000), true), (ms(11_000), false)] {
            let name = format!("nobody takes {delay} {arrives}");
            let chaos = Chaos::new(memory(&name).capacity_bytes(cost(1000)), SEED);
            let Duo { mut near, mut far } = duo(&chaos).await;
            chaos.set(Direction::Out, Faults::new().delay(ms(delay)));
            near.write((0..5).map(|_| bytes(1000))).await.unwrap();
            near.close().await;
            drop(near);
            tokio::time::sleep(ms(delay)).await;
            let mut read = 0;
            let end = loop {
                // Slower than all of it together, but not than one frame.
                tokio::time::sleep(pause).await;
                let mut frames = Vec::new();
                match far.read(&mut frames).await {
                    Ok(0) => break Ok(()),
                    Ok(_) => read += frames.len() as u64,
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(end.is_ok(), arrives, "{end:?}");
            assert_eq!(read, if arrives { 5 } else { 1 });
            assert_eq!(chaos.stats(Direction::Out).frames_dropped, 5 - read);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_in_for_a_reader_that_is_gone_is_counted() {
    let (chaos, mut duo) = fresh("reader gone", Direction::In).await;
    chaos.set(Direction::In, Faults::new().delay(ms(100)));
    duo.far.write(numbered(3)).await.unwrap();
    assert!(duo.near.try_read().is_empty());
    drop(duo.near.reader);
    assert_eq!(chaos.stats(Direction::In).frames_dropped, 3);
    assert_eq!(chaos.stats(Direction::Out), ChaosStats::default());
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_is_refused_behind_those_before_it() {
    for delay in [0, 100] {
        let (chaos, mut duo) = fresh("limit", Direction::In).await;
        chaos.set(Direction::In, Faults::new().delay(ms(delay)));
        duo.near.reader.set_frame_bytes_max(100);
        duo.far.write([bytes(100), bytes(100), bytes(101), bytes(1)]).await.unwrap();
        let (read, end) = duo.near.read_to_end().await;
        assert_eq!(read, [bytes(100), bytes(100)]);
        let error = end.unwrap_err();
        assert!(matches!(error, ReadError::FrameTooLarge { bytes: 101, max: 100 }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_for_what_was_read_before_it_was_set() {
    let (chaos, mut duo) = fresh("lower limit", Direction::In).await;
    chaos.set(Direction::In, Faults::new().delay(ms(100)));
    duo.far.write([bytes(100), bytes(101)]).await.unwrap();
    assert!(duo.near.try_read().is_empty());
    duo.near.reader.set_frame_bytes_max(100);
    let (read, end) = duo.near.read_to_end().await;
    assert_eq!(read, [bytes(100)]);
    let error = end.unwrap_err();
    assert!(matches!(error, ReadError::FrameTooLarge { bytes: 101, max: 100 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_pass_what_was_too_large_when_it_came() {
    let (chaos, mut duo) = fresh("higher limit", Direction::In).await;
    chaos.set(Direction::In, Faults::new().delay(ms(100)));
    duo.near.reader.set_frame_bytes_max(4);
    duo.far.write(numbered(1).chain([bytes(101)])).await.unwrap();
    // Both have been looked at when the first is handed over.
    assert_eq!(numbers(&duo.near.read_frames(1).await), [0]);
    duo.near.reader.set_frame_bytes_max(101);
    assert_eq!(duo.near.read_frames(1).await, [bytes(101)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_severed_fails_at_both_ends_at_once_and_the_next_connection_is_whole() {
    for cut in [None, Some(Direction::Both)] {
        let (chaos, mut first) = fresh("sever", Direction::Both).await;
        chaos.set(Direction::Both, Faults::new().delay(ms(100)));
        for direction in DIRECTIONS {
            let (writer, reader) = first.way(direction);
            writer.write(numbered(3)).await.unwrap();
            let _ = reader.poll_read(&mut Vec::new());
        }
        cut.into_iter().for_each(|cut| chaos.cut(cut));
        let tasks_before = tasks();
        chaos.sever();
        for direction in DIRECTIONS {
            assert_same(chaos.stats(direction).frames_dropped, 3, direction);
        }
        let began = Instant::now();
        let (read, end) = first.near.read_to_end().await;
        assert!(read.is_empty() && is_reset(&end.unwrap_err()));
        let error = first.near.write(numbered(1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = poll_fn(|cx| first.near.writer.poll_close(cx)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = first.far.write(numbered(1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let (read, end) = first.far.read_to_end().await;
        assert!(read.is_empty() && is_reset(&end.unwrap_err()));
        assert_eq!(began.elapsed(), Duration::ZERO);
        settle().await;
        assert_eq!(tasks(), tasks_before - 1);

        cut.into_iter().for_each(|cut| chaos.heal(cut));
        let mut second = duo(&chaos).await;
        for direction in DIRECTIONS {
            let (writer, reader) = second.way(direction);
            writer.write(numbered(3)).await.unwrap();
            assert_same(numbers(&reader.read_frames(3).await), vec![0, 1, 2], direction);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_of_a_reset() {
    let chaos = Chaos::new(memory("reset").capacity_bytes(100), SEED).capacity_bytes(100);
    let Duo { near, far } = duo(&chaos).await;
    let End { mut reader, mut writer, .. } = near;
    let mut batch: VecDeque<_> = numbered(100).collect();
    let writing = tokio::spawn(poll_fn(move |cx| writer.poll_write(cx, &mut batch)));
    let reading = tokio::spawn(poll_fn(move |cx| reader.poll_read(cx, &mut Vec::new())));
    settle().await;
    chaos.sever();
    let written = within(writing).await.unwrap();
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(is_reset(&within(reading).await.unwrap().unwrap_err()));
    drop(far);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_holds_in_halves_yet_is_severed_too() {
    let chaos = roomy("whole", SEED);
    let mut listener = chaos.bind().await.unwrap();
    let mut far = End::new(memory("whole").connect().await.unwrap());
    let near = listener.accept().await.unwrap().handshake().await.unwrap();
    chaos.sever();
    let mut near = End::new(near);
    assert!(is_reset(&near.read_to_end().await.1.unwrap_err()));
    assert!(near.write(numbered(1)).await.is_err());
    assert!(is_reset(&far.read_to_end().await.1.unwrap_err()));
    assert_eq!(far.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
