//! What chance does to frames: as often as said, only that, and the same way for a seed.

use crate::support::{
    DIRECTIONS, Duo, End, SEED, accept, assert_same, bytes, cost, counts, duo, fresh, history,
    memory, ms, numbered, numbers, roomy, settle,
};
use bytes::Bytes;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Chaos, Direction, Faults, Transport};
use std::collections::{BTreeMap, VecDeque};
use tokio::time::advance;

#[tokio::test(start_paused = true)]
async fn frames_are_lost_as_often_as_said_and_nothing_else_happens() {
    for (direction, lost) in DIRECTIONS.into_iter().zip([984, 1040]) {
        let chaos = roomy(&format!("loss {direction:?}"), SEED);
        let read = history(&chaos, direction, Faults::new().loss(0.1), 10_000).await;
        assert_same(10_000 - read.len() as u64, lost, direction);
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "in order and once");
        assert_same(counts(chaos.stats(direction)), [lost, 0, 0, 0, 0], direction);
        // The other direction lost nothing.
        assert_eq!(chaos.stats(Direction::Both), chaos.stats(direction));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_doubled_as_often_as_said_and_nothing_else_happens() {
    for (direction, doubled) in DIRECTIONS.into_iter().zip([517, 493]) {
        let chaos = roomy(&format!("doubled {direction:?}"), SEED);
        let mut read = history(&chaos, direction, Faults::new().duplication(0.05), 10_000).await;
        assert_same(read.len() as u64 - 10_000, doubled, direction);
        assert!(read.is_sorted());
        read.dedup();
        assert_eq!(read, (0..10_000).collect::<Vec<_>>());
        assert_same(counts(chaos.stats(Direction::Both)), [0, doubled, 0, 0, 0], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_overtaken_as_often_as_said_by_a_few_and_nothing_else_happens() {
    for (direction, late) in DIRECTIONS.into_iter().zip([1067, 1027]) {
        let chaos = roomy(&format!("late {direction:?}"), SEED);
        let read = history(&chaos, direction, Faults::new().reordering(0.1), 10_000).await;
        let mut overtaken = BTreeMap::<u32, usize>::new();
        for (place, number) in read.iter().enumerate() {
            let before = read[..place].iter().rev().take(50);
            let by = before.filter(|earlier| *earlier > number).count();
            if by > 0 {
                overtaken.insert(*number, by);
            }
        }
        assert_same(counts(chaos.stats(Direction::Both)), [0, 0, late, 0, 0], direction);
        // Two that are late side by side may keep their order.
        let seen = overtaken.len() as u64;
        assert!(seen <= late && seen > late * 9 / 10, "{seen}, seed {SEED}");
        // Up to four that are not late, and now and then one that was late for a shorter time.
        assert!(overtaken.values().all(|by| *by <= 8), "{overtaken:?}, seed {SEED}");
        let mut sorted = read;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10_000).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_frame_arrives_at_the_close_at_the_latest() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("late close", direction).await;
        chaos.set(direction, Faults::new().reordering(1.0));
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(3)).await.unwrap();
        settle().await;
        assert!(reader.try_read().is_empty());
        writer.close().await;
        let mut read = numbers(&reader.read_to_end().await.0);
        read.sort_unstable();
        assert_same(read, vec![0, 1, 2], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_few_frames_are_held_back_at_once() {
    for direction in DIRECTIONS {
        let (chaos, mut duo) = fresh("held back", direction).await;
        chaos.set(direction, Faults::new().reordering(1.0));
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(17)).await.unwrap();
        // The seventeenth keeps its place, and so sets those free that wait for one frame.
        assert_eq!(numbers(&reader.read_frames(1).await)[0], 16);
        assert_same(counts(chaos.stats(direction)), [0, 0, 16, 0, 0], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn one_to_three_bits_of_a_frame_are_flipped_as_often_as_said() {
    for (direction, corrupted) in DIRECTIONS.into_iter().zip([1000, 947]) {
        let (chaos, mut duo) = fresh("corrupted", direction).await;
        chaos.set(direction, Faults::new().corruption(0.1));
        let (writer, reader) = duo.way(direction);
        let shared = Bytes::from(vec![0_u8; 100]);
        writer.write((0..10_000).map(|_| Frame::ordered(shared.clone()))).await.unwrap();
        writer.close().await;
        let (read, _) = reader.read_to_end().await;
        assert!(shared.iter().all(|byte| *byte == 0), "shared bytes stay as they are");
        assert_same(read.len(), 10_000, direction);
        assert!(read.iter().all(|frame| frame.body.len() == 100));
        let flipped = |frame: &Frame| frame.body.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let mut by_bits = [0_u64; 4];
        read.iter().for_each(|frame| by_bits[flipped(frame) as usize] += 1);
        assert!(by_bits[1..].iter().all(|count| *count > 250), "{by_bits:?}, seed {SEED}");
        assert_same(10_000 - by_bits[0], corrupted, direction);
        assert_same(counts(chaos.stats(Direction::Both)), [0, 0, 0, corrupted, 0], direction);
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_body_is_never_flipped_back_and_an_empty_one_has_no_bit_to_flip() {
    let (chaos, mut duo) = fresh("small bodies", Direction::Out).await;
    chaos.set(Direction::Out, Faults::new().corruption(1.0));
    duo.near.write((0..1000).flat_map(|_| [bytes(1), bytes(0)])).await.unwrap();
    for pair in duo.far.read_frames(2000).await.chunks(2) {
        assert_ne!(pair[0], bytes(1));
        assert_eq!(pair[1], bytes(0));
    }
    assert_eq!(counts(chaos.stats(Direction::Out)), [0, 0, 0, 1000, 0]);
}

#[tokio::test(start_paused = true)]
async fn frames_are_held_back_for_ever_on_a_wire_that_holds_little_but_none_that_is_too_large() {
    for direction in DIRECTIONS {
        let name = format!("held little {direction:?}");
        let chaos = Chaos::new(memory(&name), SEED).capacity_bytes(16 * cost(4));
        let mut duo = duo(&chaos).await;
        chaos.set(direction, Faults::new().reordering(0.1));
        let (writer, reader) = duo.way(direction);
        let (written, read) =
            tokio::join!(writer.write(numbered(10_000)), reader.read_frames(9_950));
        written.unwrap();
        assert!(!numbers(&read).is_sorted());
        let late = chaos.stats(direction).frames_late;
        assert!((900..1100).contains(&late), "{late}, seed {SEED}");
    }
    let chaos = Chaos::new(memory("too large"), SEED).capacity_bytes(100);
    let mut duo = duo(&chaos).await;
    chaos.set(Direction::Out, Faults::new().reordering(1.0));
    duo.near.write([bytes(5000)]).await.unwrap();
    assert_eq!(duo.far.read_frames(1).await, [bytes(5000)]);
    assert_eq!(chaos.stats(Direction::Out).frames_late, 0);
}

fn all_faults() -> Faults {
    Faults::new().loss(0.1).duplication(0.05).reordering(0.1)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    for direction in DIRECTIONS {
        let name = format!("seed {direction:?}");
        let first = history(&roomy(&name, SEED), direction, all_faults(), 2000).await;
        let again = history(&roomy(&name, SEED), direction, all_faults(), 2000).await;
        let other = history(&roomy(&name, SEED + 1), direction, all_faults(), 2000).await;
        assert_same(&first, &again, direction);
        assert_ne!(first, other);
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_does_not_depend_on_batches_time_or_who_reads_when() {
    for direction in DIRECTIONS {
        let name = format!("batches {direction:?}");
        let at_once = history(&roomy(&name, SEED), direction, all_faults(), 500).await;
        let (chaos, mut duo) = fresh("batches", direction).await;
        let slow = all_faults().delay(ms(70)).jitter(ms(50)).bytes_per_second(1000);
        chaos.set(direction, slow);
        let (writer, reader) = duo.way(direction);
        let (mut frames, mut batch) = (Vec::new(), numbered(500).collect::<VecDeque<_>>());
        while !batch.is_empty() {
            writer.write(batch.drain(..batch.len().min(7))).await.unwrap();
            frames.extend(reader.try_read());
            advance(ms(batch.len() as u64 % 11)).await;
        }
        writer.close().await;
        frames.extend(reader.read_to_end().await.0);
        assert_same(numbers(&frames), at_once, direction);
    }
}

#[tokio::test(start_paused = true)]
async fn one_fault_does_not_move_the_fates_that_another_deals_out() {
    for direction in DIRECTIONS {
        let name = format!("unmoved {direction:?}");
        let loss = Faults::new().loss(0.2);
        let alone = history(&roomy(&name, SEED), direction, loss, 1000).await;
        let more = loss.duplication(0.3).reordering(0.3).jitter(ms(20)).delay(ms(5));
        let mut among_others = history(&roomy(&name, SEED), direction, more, 1000).await;
        among_others.sort_unstable();
        among_others.dedup();
        assert_same(among_others, alone, direction);
    }
}

#[tokio::test(start_paused = true)]
async fn directions_ends_and_connections_have_fates_of_their_own() {
    let faults = Faults::new().loss(0.5);
    let mut histories = Vec::new();
    let chaos = roomy("fates", SEED);
    let mut listener = chaos.bind().await.unwrap();
    chaos.set(Direction::Both, faults);
    for _ in 0..2 {
        let far = End::new(memory("fates").connect().await.unwrap());
        histories.extend(both_histories(Duo { near: accept(&mut listener).await, far }).await);
    }
    drop(listener);
    let mut listener = memory("fates").bind().await.unwrap();
    for _ in 0..2 {
        let near = End::new(chaos.connect().await.unwrap());
        histories.extend(both_histories(Duo { near, far: accept(&mut listener).await }).await);
    }
    assert_eq!(histories.len(), 8);
    histories.sort();
    histories.dedup();
    assert_eq!(histories.len(), 8, "seed {SEED}");
}

async fn both_histories(mut duo: Duo) -> [Vec<u32>; 2] {
    for end in [&mut duo.near, &mut duo.far] {
        end.write(numbered(100)).await.unwrap();
        end.close().await;
    }
    let near = numbers(&duo.near.read_to_end().await.0);
    [near, numbers(&duo.far.read_to_end().await.0)]
}

#[tokio::test(start_paused = true)]
async fn a_change_holds_from_the_next_frame_on_for_present_and_future_connections() {
    for direction in DIRECTIONS {
        let (chaos, mut first) = fresh("change", direction).await;
        // Any clone is the handle.
        let handle = chaos.clone();
        let (writer, reader) = first.way(direction);
        for (frame, loss) in numbered(6).zip([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]) {
            handle.set(direction, Faults::new().loss(loss));
            writer.write([frame]).await.unwrap();
            // What comes in is dealt with when it is read.
            if direction == Direction::In {
                let _ = reader.poll_read(&mut Vec::new());
            }
        }
        if direction == Direction::Out {
            assert_eq!(numbers(&reader.read_frames(3).await), [0, 2, 5]);
        }
        assert_same(chaos.stats(direction).frames_lost, 3, direction);
        handle.set(direction, Faults::new().loss(1.0));
        drop(first);
        let mut second = duo(&chaos).await;
        let (writer, reader) = second.way(direction);
        writer.write(numbered(4)).await.unwrap();
        writer.close().await;
        assert!(reader.read_to_end().await.0.is_empty());
    }
}
