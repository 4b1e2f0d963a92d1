//! Delay, jitter and rate, to the millisecond.

use crate::support::{
    DIRECTIONS, End, SEED, Wakes, assert_same, bytes, cost, duo, fresh, history, memory, ms,
    numbered, numbers, roomy, settle,
};
use emitwire_core::transport::{Chaos, Direction, Faults};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::{Instant, advance};

#[tokio::test(start_paused = true)]
async fn a_delay_is_exact_for_frames_and_for_the_end() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("delay", direction).await;
        chaos.set(direction, Faults::new().delay(ms(250)));
        let (writer, reader) = duo.way(direction);
        let began = Instant::now();
        let writing = async {
            for frame in numbered(3) {
                writer.write([frame]).await.unwrap();
                tokio::time::sleep(ms(100)).await;
            }
            writer.close().await;
        };
        let reading = async {
            let times = reader.read_with_times(3).await;
            assert!(reader.read_to_end().await.1.is_ok());
            times.into_iter().map(|(time, _)| time.as_millis()).collect::<Vec<_>>()
        };
        let ((), times) = tokio::join!(writing, reading);
        assert_same(times, vec![250, 350, 450], direction);
        assert_same(began.elapsed(), ms(550), direction);
        // The way back is as short as ever.
        let began = Instant::now();
        reader.write(numbered(1)).await.unwrap();
        assert_eq!(numbers(&writer.read_frames(1).await), [0]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_delay_overtakes_nothing_on_a_wire_that_keeps_order() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("shorter", direction).await;
        let (writer, reader) = duo.way(direction);
        let mut frames = numbered(2);
        for delay in [300, 100] {
            chaos.set(direction, Faults::new().delay(ms(delay)));
            writer.write(frames.next()).await.unwrap();
            let _ = reader.poll_read(&mut Vec::new());
        }
        let times = reader.read_with_times(2).await;
        let times: Vec<_> = times.into_iter().map(|(time, _)| time.as_millis()).collect();
        assert_same(times, vec![300, 300], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_delays_and_keeps_the_order_of_a_wire_that_has_one() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("jitter", direction).await;
        chaos.set(direction, Faults::new().delay(ms(100)).jitter(ms(50)));
        let (writer, reader) = duo.way(direction);
        let mut delays = Vec::new();
        for frame in numbered(100) {
            writer.write([frame]).await.unwrap();
            delays.push(reader.read_with_times(1).await[0].0);
        }
        assert!(delays.iter().all(|delay| (ms(100)..=ms(150)).contains(delay)), "{delays:?}");
        let early = delays.iter().filter(|delay| **delay < ms(125)).count();
        assert!((35..65).contains(&early), "{early}, seed {SEED}");

        writer.write(numbered(1000)).await.unwrap();
        let timed = reader.read_with_times(1000).await;
        let read: Vec<_> = timed.iter().map(|(_, frame)| frame.clone()).collect();
        assert_same(numbers(&read), (0..1000).collect(), direction);
        assert!(timed.last().unwrap().0 <= ms(150));
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_reorders_on_a_lossy_wire() {
    for direction in DIRECTIONS {
        let chaos = roomy(&format!("lossy jitter {direction:?}"), SEED).lossy(1200);
        let read = history(&chaos, direction, Faults::new().jitter(ms(50)), 1000).await;
        assert!(!read.is_sorted());
        let mut sorted = read;
        sorted.sort_unstable();
        assert_same(sorted, (0..1000).collect(), direction);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_takes_the_computed_time() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("rate", direction).await;
        chaos.set(direction, Faults::new().bytes_per_second(10_000));
        let (writer, reader) = duo.way(direction);
        writer.write((0..10).map(|_| bytes(500))).await.unwrap();
        let times = reader.read_with_times(10).await;
        let times: Vec<_> = times.into_iter().map(|(time, _)| time.as_millis()).collect();
        // 1,500 bytes in advance, then 50 ms each.
        assert_same(times, vec![0, 0, 0, 50, 100, 150, 200, 250, 300, 350], direction);

        // After a second of silence it is as at first, with a frame larger than what goes ahead.
        tokio::time::sleep(ms(1000)).await;
        chaos.set(direction, Faults::new().bytes_per_second(10_000).delay(ms(70)));
        writer.write([bytes(2500), bytes(1000)]).await.unwrap();
        let times = reader.read_with_times(2).await;
        let times: Vec<_> = times.into_iter().map(|(time, _)| time.as_millis()).collect();
        assert_same(times, vec![170, 270], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_slows_the_writer_down_once_the_way_is_full() {
    for direction in DIRECTIONS {
        let name = format!("rate full {direction:?}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(cost(1000)), SEED);
        let chaos = chaos.capacity_bytes(4 * cost(1000));
        let mut duo = duo(&chaos).await;
        chaos.set(direction, Faults::new().bytes_per_second(1000));
        let (writer, reader) = duo.way(direction);
        let began = Instant::now();
        let writing = async {
            writer.write((0..100).map(|_| bytes(1000))).await.unwrap();
            began.elapsed()
        };
        let (written, read) = tokio::join!(writing, reader.read_frames(100));
        assert_same(read.len(), 100, direction);
        assert_same(began.elapsed(), ms(98_500), direction);
        assert!(written > Duration::from_secs(90), "{written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_woken_before_there_is_something_to_do() {
    let (chaos, mut duo) = fresh("woken", Direction::In).await;
    chaos.set(Direction::In, Faults::new().delay(Duration::from_secs(60)));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let poll = |end: &mut End| {
        end.reader.poll_read(&mut Context::from_waker(&waker), &mut Vec::new()).is_pending()
    };
    assert!(poll(&mut duo.near));
    duo.far.write(numbered(1)).await.unwrap();
    assert_eq!(wakes.count(), 1, "for the arrival");
    assert!(poll(&mut duo.near));
    advance(Duration::from_secs(59)).await;
    settle().await;
    assert_eq!(wakes.count(), 1);
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(wakes.count(), 2, "for the frame");
    assert!(!poll(&mut duo.near));
}
