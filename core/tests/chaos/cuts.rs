//! Cables that are cut and healed.

use crate::support::{
    DIRECTIONS, Duo, End, SEED, accept, assert_same, bytes, cost, counts, duo, fresh, is_reset,
    memory, ms, numbered, numbers, roomy, settle, tasks,
};
use emitwire_core::transport::{Chaos, ChaosStats, Direction, Faults, Transport};
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn a_cut_one_way_leaves_the_other_alive_and_what_waits_flows_when_it_is_healed() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("cut", direction).await;
        chaos.cut(direction);
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(100)).await.unwrap();
        reader.write(numbered(3)).await.unwrap();
        assert_eq!(numbers(&writer.read_frames(3).await), [0, 1, 2]);
        let silence = timeout(Duration::from_secs(60), reader.read(&mut Vec::new())).await;
        assert!(silence.is_err(), "{silence:?}");
        chaos.heal(direction);
        let began = Instant::now();
        assert_same(numbers(&reader.read_frames(100).await), (0..100).collect(), direction);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(chaos.stats(Direction::Both), ChaosStats::default());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_frame_or_for_room_is_woken_when_a_cut_is_healed() {
    for direction in DIRECTIONS {
        let name = format!("woken {direction:?}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(1000), SEED).capacity_bytes(1000);
        let Duo { near, far } = duo(&chaos).await;
        let (mut writer, mut reader) = match direction {
            Direction::In => (far, near),
            _ => (near, far),
        };
        chaos.cut(direction);
        // Tasks of their own: whoever is not woken does not look.
        let writing = tokio::spawn(async move { (writer.write(numbered(500)).await, writer) });
        let reading = tokio::spawn(async move { (reader.read_frames(500).await, reader) });
        settle().await;
        let began = Instant::now();
        chaos.heal(direction);
        let (written, _writer) = writing.await.unwrap();
        written.unwrap();
        let (read, _reader) = reading.await.unwrap();
        assert_same(numbers(&read), (0..500).collect(), direction);
        assert_same(began.elapsed(), Duration::ZERO, direction);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_under_way_wait_for_the_end_of_a_cut_too() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("under way", direction).await;
        chaos.set(direction, Faults::new().delay(ms(100)));
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(1)).await.unwrap();
        let _ = reader.poll_read(&mut Vec::new());
        chaos.cut(direction);
        assert!(timeout(ms(500), reader.read(&mut Vec::new())).await.is_err());
        chaos.heal(direction);
        let began = Instant::now();
        assert_eq!(numbers(&reader.read_frames(1).await), [0]);
        assert_same(began.elapsed(), Duration::ZERO, direction);
    }
}

#[tokio::test(start_paused = true)]
async fn during_a_cut_the_writer_of_a_reliable_wire_waits_in_the_end() {
    for direction in DIRECTIONS {
        let name = format!("cut writer {direction:?}");
        let chaos = Chaos::new(memory(&name).capacity_bytes(10_000), SEED).capacity_bytes(10_000);
        let mut duo = duo(&chaos).await;
        chaos.cut(direction);
        let (writer, reader) = duo.way(direction);
        let mut batch = (0..100).map(|_| bytes(1000)).collect();
        assert!(writer.try_write(&mut batch).is_pending());
        assert_same(100 - batch.len(), 10_000 / cost(1000), direction);
        settle().await;
        let left = batch.len();
        assert!(reader.try_read().is_empty());
        assert!(writer.try_write(&mut batch).is_pending());
        assert_eq!(left, batch.len());
        chaos.heal(direction);
        let began = Instant::now();
        let (written, read) = tokio::join!(writer.write(batch), reader.read_frames(100));
        written.unwrap();
        assert_eq!((read.len(), began.elapsed()), (100, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_meet_a_cut_of_a_lossy_wire_are_lost_and_counted() {
    for direction in DIRECTIONS {
        let name = format!("lossy cut {direction:?}");
        let chaos = Chaos::new(memory(&name), SEED).lossy(1200);
        // What is lost leaves its room to others.
        let chaos = chaos.capacity_bytes(4 * cost(4));
        let mut duo = duo(&chaos).await;
        chaos.set(direction, Faults::new().delay(ms(100)));
        let (writer, reader) = duo.way(direction);
        // Three are under way, four come during it, the rest afterwards.
        let mut frames = numbered(9);
        writer.write(frames.by_ref().take(3)).await.unwrap();
        let _ = reader.poll_read(&mut Vec::new());
        chaos.cut(direction);
        assert_same(chaos.stats(direction).frames_lost, 3, direction);
        writer.write(frames.by_ref().take(4)).await.unwrap();
        assert!(timeout(ms(500), reader.read(&mut Vec::new())).await.is_err());
        assert_same(chaos.stats(direction).frames_lost, 7, direction);
        chaos.heal(direction);
        writer.write(frames).await.unwrap();
        assert_same(numbers(&reader.read_frames(2).await), vec![7, 8], direction);
        assert_eq!(counts(chaos.stats(Direction::Both)), [7, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_for_which_the_inner_wire_has_no_room_are_lost_by_a_cut_of_a_lossy_wire_too() {
    let chaos = Chaos::new(memory("full cut").capacity_bytes(cost(4)), SEED).lossy(1200);
    let mut duo = duo(&chaos).await;
    let mut frames = numbered(101);
    duo.near.write(frames.by_ref().take(100)).await.unwrap();
    settle().await;
    chaos.cut(Direction::Out);
    // One is in the wire inside, and one is in front of it.
    assert_eq!(counts(chaos.stats(Direction::Both)), [98, 0, 0, 0, 0]);
    chaos.heal(Direction::Out);
    duo.near.write(frames).await.unwrap();
    duo.near.close().await;
    assert_eq!(numbers(&duo.far.read_to_end().await.0), [0, 1, 100]);
}

#[tokio::test(start_paused = true)]
async fn how_the_other_end_ends_is_not_known_before_a_cut_is_healed() {
    for is_lossy in [false, true] {
        for direction in DIRECTIONS {
            for closes in [false, true] {
                let chaos = roomy(&format!("ends {is_lossy} {direction:?} {closes}"), SEED);
                let chaos = if is_lossy { chaos.lossy(1200) } else { chaos };
                let Duo { near, far } = duo(&chaos).await;
                let (mut writer, mut reader) = match direction {
                    Direction::In => (far, near),
                    _ => (near, far),
                };
                chaos.cut(direction);
                if closes {
                    writer.close().await;
                }
                drop(writer.writer);
                let silence = timeout(ms(60_000), reader.read(&mut Vec::new())).await;
                assert!(silence.is_err(), "{silence:?}");
                chaos.heal(direction);
                let end = reader.read_to_end().await.1;
                assert!(if closes { end.is_ok() } else { is_reset(&end.unwrap_err()) });
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_during_a_cut_is_not_heard_to_before_it_is_healed() {
    let (chaos, duo) = fresh("gives up", Direction::Out).await;
    let Duo { mut near, mut far } = duo;
    chaos.cut(Direction::Both);
    near.write(numbered(3)).await.unwrap();
    drop(near);
    // Longer than anything lingers.
    let silence = timeout(ms(60_000), far.read(&mut Vec::new())).await;
    assert!(silence.is_err(), "{silence:?}");
    far.write(numbered(3)).await.unwrap();
    assert_eq!(tasks(), 0, "nothing runs for it");
    assert_eq!(chaos.stats(Direction::Out).frames_dropped, 3);
    chaos.set(Direction::Both, Faults::new().loss(0.5));
    chaos.heal(Direction::In);
    assert!(far.poll_read(&mut Vec::new()).is_pending());
    far.write(numbered(3)).await.unwrap();
    chaos.heal(Direction::Out);
    let (read, end) = far.read_to_end().await;
    assert!(read.is_empty() && is_reset(&end.unwrap_err()));
    assert_eq!(far.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn the_last_thousand_connections_that_were_given_up_during_a_cut_are_kept() {
    let chaos = Chaos::new(memory("kept").capacity_bytes(100), SEED);
    let mut listener = chaos.bind().await.unwrap();
    chaos.cut(Direction::Out);
    let mut fars = Vec::new();
    for _ in 0..1026 {
        fars.push(End::new(memory("kept").connect().await.unwrap()));
        drop(accept(&mut listener).await);
        // Longer than anything lingers: each is given up whole before the next.
        tokio::time::sleep(ms(11_000)).await;
    }
    for (number, far) in fars.iter_mut().enumerate() {
        let ended = far.poll_read(&mut Vec::new());
        assert_eq!(ended.is_ready(), number < 2, "{number}");
        let written = far.try_write(&mut numbered(1).collect());
        assert_eq!(matches!(written, Poll::Ready(Err(_))), number < 2, "{number}");
    }
    assert_eq!(tasks(), 0);
    chaos.heal(Direction::Out);
    assert!(fars.iter_mut().all(|far| far.poll_read(&mut Vec::new()).is_ready()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_only_does_not_hide_who_gives_up() {
    let (chaos, duo) = fresh("gives up in", Direction::In).await;
    let Duo { near, mut far } = duo;
    chaos.cut(Direction::In);
    drop(near);
    assert!(is_reset(&far.read_to_end().await.1.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_ends_soon_enough_lets_through_what_was_written_before_giving_up() {
    let (chaos, duo) = fresh("soon", Direction::Out).await;
    let Duo { mut near, mut far } = duo;
    chaos.cut(Direction::Out);
    near.write(numbered(3)).await.unwrap();
    near.close().await;
    drop(near);
    tokio::time::sleep(ms(9_000)).await;
    chaos.heal(Direction::Out);
    let (read, end) = far.read_to_end().await;
    assert_eq!(numbers(&read), [0, 1, 2]);
    assert!(end.is_ok());
}

#[tokio::test(start_paused = true)]
async fn that_the_other_end_reads_no_more_is_not_known_while_the_way_back_is_cut() {
    let name = "way back";
    let chaos = Chaos::new(memory(name), SEED).capacity_bytes(1000);
    let Duo { mut near, far } = duo(&chaos).await;
    chaos.cut(Direction::In);
    drop(far);
    near.write(numbered(1)).await.unwrap();
    settle().await;
    near.write(numbered(1)).await.unwrap();
    let mut batch = (0..10).map(|_| bytes(1000)).collect();
    assert!(near.try_write(&mut batch).is_pending(), "in the end it waits");
    let taken = 12 - batch.len() as u64;
    let waiting = tokio::spawn(async move { (near.write(batch).await, near) });
    settle().await;
    chaos.heal(Direction::In);
    let (written, mut near) = waiting.await.unwrap();
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(is_reset(&near.read_to_end().await.1.unwrap_err()));
    drop(near);
    assert_eq!(chaos.stats(Direction::Out).frames_dropped, taken);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_made_during_a_cut_is_silent_until_it_is_healed() {
    let chaos = roomy("made", SEED);
    chaos.cut(Direction::Both);
    let mut duo = duo(&chaos).await;
    for direction in DIRECTIONS {
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(2)).await.unwrap();
        assert!(timeout(ms(1000), reader.read(&mut Vec::new())).await.is_err());
        chaos.heal(direction);
        assert_same(numbers(&reader.read_frames(2).await), vec![0, 1], direction);
    }
}
