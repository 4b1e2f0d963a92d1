//! A wire made worse on purpose: each fault does what it says and only that, the same way for the
//! same seed, on a clock that only moves when nothing else can.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use bytes::Bytes;
use emitwire_core::handler::{Data, Namespace};
use emitwire_core::protocol::{Class, Codec, DisconnectReason, Frame, FrameKind, Native};
use emitwire_core::run::{Client, Config, Server};
use emitwire_core::transport::{
    BindError, Capabilities, Chaos, ChaosStats, ConnectError, Connection, Direction, Faults,
    Listener, Memory, Peer, ReadError, ReadHalf, Transport, WriteHalf,
};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, advance, timeout};

/// Of most tests; those that say more say which.
const SEED: u64 = 42;

/// Longer than any wait of these tests, on a clock that costs nothing.
const DEADLINE: Duration = Duration::from_secs(3600);

const DIRECTIONS: [Direction; 2] = [Direction::Out, Direction::In];

async fn within<T>(future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = timeout(DEADLINE, future).await.expect("in time");
    // The deadline looks once more: what nobody was woken for would seem to be done.
    assert!(began.elapsed() < DEADLINE, "nobody was woken");
    done
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets everything run that can, without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Tasks of this runtime; the test itself is none.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// One end of a connection.
struct End {
    capabilities: Capabilities,
    reader: Box<dyn ReadHalf>,
    writer: Box<dyn WriteHalf>,
}

impl End {
    fn new(connection: Box<dyn Connection>) -> Self {
        let capabilities = connection.capabilities();
        let (reader, writer) = connection.split();
        Self { capabilities, reader, writer }
    }

    async fn write(&mut self, frames: impl IntoIterator<Item = Frame>) -> io::Result<()> {
        let mut batch = frames.into_iter().collect();
        within(poll_fn(|cx| self.writer.poll_write(cx, &mut batch))).await
    }

    /// One try by somebody who does not wait.
    fn try_write(&mut self, batch: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        self.writer.poll_write(&mut Context::from_waker(Waker::noop()), batch)
    }

    /// What is there already.
    fn try_read(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let _ = self.poll_read(&mut frames).map(Result::unwrap);
        frames
    }

    fn poll_read(&mut self, frames: &mut Vec<Frame>) -> Poll<Result<usize, ReadError>> {
        self.reader.poll_read(&mut Context::from_waker(Waker::noop()), frames)
    }

    async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        within(poll_fn(|cx| self.reader.poll_read(cx, frames))).await
    }

    async fn read_frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {frames:?}");
        }
        frames
    }

    /// Everything up to the end of the wire.
    async fn read_to_end(&mut self) -> (Vec<Frame>, Result<(), ReadError>) {
        let mut frames = Vec::new();
        loop {
            match self.read(&mut frames).await {
                Ok(0) => return (frames, Ok(())),
                Ok(_) => {}
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    /// Each frame with the time after which it came.
    async fn read_with_times(&mut self, count: usize) -> Vec<(Duration, Frame)> {
        let began = Instant::now();
        let mut timed = Vec::new();
        while timed.len() < count {
            let mut frames = Vec::new();
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {timed:?}");
            timed.extend(frames.into_iter().map(|frame| (began.elapsed(), frame)));
        }
        timed
    }

    async fn close(&mut self) {
        within(poll_fn(|cx| self.writer.poll_close(cx))).await.unwrap();
    }
}

/// A connection: its wrapped end, and the other.
struct Duo {
    near: End,
    far: End,
}

impl Duo {
    /// Writer and reader of a direction.
    fn way(&mut self, direction: Direction) -> (&mut End, &mut End) {
        match direction {
            Direction::In => (&mut self.far, &mut self.near),
            _ => (&mut self.near, &mut self.far),
        }
    }
}

fn memory(name: &str) -> Memory {
    Memory::new(format!("chaos {name}"))
}

/// As much as wanted may be under way.
fn roomy(name: &str, seed: u64) -> Chaos<Memory> {
    Chaos::new(memory(name).capacity_bytes(1 << 30), seed).capacity_bytes(1 << 30)
}

async fn accept(listener: &mut Box<dyn Listener>) -> End {
    End::new(listener.accept().await.unwrap().handshake().await.unwrap())
}

/// A connection whose server is wrapped.
async fn duo(chaos: &Chaos<Memory>) -> Duo {
    let mut listener = chaos.bind().await.unwrap();
    let name = chaos.endpoint().replace("mem://", "");
    let far = End::new(Memory::new(name).connect().await.unwrap());
    Duo { near: accept(&mut listener).await, far }
}

/// A fresh one for each test and direction.
async fn fresh(name: &str, direction: Direction) -> (Chaos<Memory>, Duo) {
    let chaos = roomy(&format!("{name} {direction:?}"), SEED);
    let duo = duo(&chaos).await;
    (chaos, duo)
}

fn numbered(count: u32) -> impl Iterator<Item = Frame> {
    (0..count).map(|number| Frame::ordered(number.to_be_bytes().to_vec()))
}

fn numbers(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| u32::from_be_bytes(frame.body[..].try_into().unwrap())).collect()
}

fn bytes(size: usize) -> Frame {
    Frame::ordered(vec![7; size])
}

/// What a frame weighs that is under way.
fn cost(body_bytes: usize) -> usize {
    body_bytes + size_of::<Frame>()
}

fn is_reset(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source } if source.kind() == io::ErrorKind::ConnectionReset)
}

/// What arrives of so many numbered frames, one frame a batch.
async fn history(
    chaos: &Chaos<Memory>,
    direction: Direction,
    faults: Faults,
    count: u32,
) -> Vec<u32> {
    let mut duo = duo(chaos).await;
    chaos.set(direction, faults);
    let (writer, reader) = duo.way(direction);
    for frame in numbered(count) {
        writer.write([frame]).await.unwrap();
    }
    writer.close().await;
    let (read, end) = reader.read_to_end().await;
    assert!(end.is_ok(), "{end:?}");
    numbers(&read)
}

/// Lost, doubled, late, corrupted and overflowed.
fn counts(stats: ChaosStats) -> [u64; 5] {
    [
        stats.frames_lost,
        stats.frames_doubled,
        stats.frames_late,
        stats.frames_corrupted,
        stats.frames_overflowed,
    ]
}

/// Says which direction failed, and the seed.
#[track_caller]
fn assert_same<T: PartialEq + Debug>(left: T, right: T, direction: Direction) {
    assert_eq!(left, right, "{direction:?}, seed {SEED}");
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// ---------------------------------------------------------------------------------------------
// Without faults

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

// ---------------------------------------------------------------------------------------------
// Chance

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

// ---------------------------------------------------------------------------------------------
// Time

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

// ---------------------------------------------------------------------------------------------
// Cuts

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
    let waiting = tokio::spawn(async move { (near.write(batch).await, near) });
    settle().await;
    chaos.heal(Direction::In);
    let (written, mut near) = waiting.await.unwrap();
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(is_reset(&near.read_to_end().await.1.unwrap_err()));
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

// ---------------------------------------------------------------------------------------------
// Slow readers

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

// ---------------------------------------------------------------------------------------------
// How connections end

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
async fn what_was_written_before_both_halves_were_dropped_has_ten_seconds_to_arrive() {
    let in_time = [(ms(9_999), true), (ms(10_001), false)];
    for (delay, arrives) in in_time {
        let (chaos, duo) = fresh("ten seconds", Direction::Out).await;
        let Duo { mut near, mut far } = duo;
        chaos.set(Direction::Out, Faults::new().delay(delay));
        near.write(numbered(3)).await.unwrap();
        near.close().await;
        drop(near);
        let (read, end) = far.read_to_end().await;
        assert_eq!((read.len(), end.is_ok()), if arrives { (3, true) } else { (0, false) });
    }
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

/// What a read brings: bytes, and the frames that they complete.
type Read = Result<(usize, Vec<Frame>), ReadError>;

/// A wire that hands out what the test says, whatever the limit.
struct Scripted {
    reads: VecDeque<Read>,
    limits: Arc<Mutex<Vec<usize>>>,
}

/// Another one than that of most wires.
static CODEC: LazyLock<Arc<Native>> = LazyLock::new(|| Arc::new(Native));

impl Connection for Scripted {
    fn peer(&self) -> Peer {
        Peer::new("script://")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(1000)
    }

    fn codec(&self) -> Arc<dyn Codec> {
        Arc::<Native>::clone(&CODEC)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (self, Box::new(Refusing))
    }
}

impl ReadHalf for Scripted {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.limits.lock().unwrap().push(frame_bytes_max);
    }

    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        let Some(read) = self.reads.pop_front() else { return Poll::Pending };
        Poll::Ready(read.map(|(bytes, came)| {
            frames.extend(came);
            bytes
        }))
    }
}

/// A writing half that takes nothing and says why.
struct Refusing;

impl WriteHalf for Refusing {
    fn poll_write(&mut self, _: &mut Context<'_>, _: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connects once, to a script.
struct Script(Mutex<Option<Scripted>>);

#[async_trait::async_trait]
impl Transport for Script {
    fn endpoint(&self) -> String {
        String::from("script://")
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        unreachable!("it only connects")
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(Box::new(self.0.lock().unwrap().take().unwrap()))
    }
}

async fn scripted(
    reads: impl IntoIterator<Item = Read>,
) -> (Chaos<Script>, End, Arc<Mutex<Vec<usize>>>) {
    let limits = Arc::default();
    let script = Scripted { reads: reads.into_iter().collect(), limits: Arc::clone(&limits) };
    let chaos = Chaos::new(Script(Mutex::new(Some(script))), SEED);
    let end = End::new(chaos.connect().await.unwrap());
    (chaos, end, limits)
}

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
    let (_chaos, mut end, _) = scripted([]).await;
    end.write(numbered(1)).await.unwrap();
    settle().await;
    assert_eq!(end.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(end.write(numbered(1)).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(tasks(), 0);
}

// ---------------------------------------------------------------------------------------------
// Tasks

type Trouble = fn(&Chaos<Memory>);

#[tokio::test(start_paused = true)]
async fn no_task_survives_the_wrapped_end() {
    let troubles: [(&str, Trouble); 7] = [
        ("none", |_| {}),
        ("delay", |it| it.set(Direction::Both, Faults::new().delay(ms(3_600_000)))),
        ("rate", |it| it.set(Direction::Both, Faults::new().bytes_per_second(1))),
        ("cut", |it| it.cut(Direction::Both)),
        ("cut out", |it| it.cut(Direction::Out)),
        ("stall", |it| it.stall()),
        ("late", |it| it.set(Direction::Both, Faults::new().reordering(1.0))),
    ];
    for (what, trouble) in troubles {
        for closes in [false, true] {
            for reads in [false, true] {
                let name = format!("tasks {what} {closes} {reads}");
                let chaos = Chaos::new(memory(&name).capacity_bytes(500), SEED);
                let chaos = chaos.capacity_bytes(1000);
                let Duo { mut near, mut far } = duo(&chaos).await;
                trouble(&chaos);
                // More than the other end has room for, who may read nothing.
                let _ = near.try_write(&mut (0..100).map(|_| bytes(100)).collect());
                let _ = far.try_write(&mut (0..100).map(|_| bytes(100)).collect());
                settle().await;
                let _ = near.try_read();
                if closes {
                    near.close().await;
                }
                assert_eq!(tasks(), 1, "{what}");
                drop(near);
                let reading = async {
                    if reads {
                        let _ = timeout(ms(11_000), far.read_to_end()).await;
                    }
                };
                tokio::join!(reading, tokio::time::sleep(ms(11_000)));
                settle().await;
                assert_eq!(tasks(), 0, "{what}, closes: {closes}, reads: {reads}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_its_task_at_once() {
    for closes in [false, true] {
        let (_chaos, duo) = fresh("idle", Direction::Both).await;
        let Duo { mut near, far } = duo;
        if closes {
            near.close().await;
        }
        drop(near);
        settle().await;
        assert_eq!(tasks(), 0);
        drop(far);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_outlives_the_handle_and_its_listener() {
    let (chaos, mut duo) = fresh("outlives", Direction::Both).await;
    chaos.set(Direction::Both, Faults::new().delay(ms(100)));
    drop(chaos);
    for direction in DIRECTIONS {
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(3)).await.unwrap();
        assert_same(numbers(&reader.read_frames(3).await), vec![0, 1, 2], direction);
    }
}

#[test]
fn a_writer_whose_runtime_is_gone_hears_that_nobody_writes_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_chaos, mut duo) = runtime.block_on(fresh("runtime", Direction::Both));
    drop(runtime);
    let mut batch = numbered(1).collect();
    let Poll::Ready(Err(error)) = duo.near.try_write(&mut batch) else { panic!("it was taken") };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_from_another_thread_lose_nothing() {
    let chaos = Chaos::new(memory("threads").capacity_bytes(2000), SEED).capacity_bytes(2000);
    let Duo { mut near, mut far } = duo(&chaos).await;
    let changing = tokio::task::spawn_blocking(move || {
        for round in 0..2000 {
            let direction = DIRECTIONS[round % 2];
            chaos.cut(direction);
            chaos.set(direction, Faults::new().jitter(Duration::from_micros(100)));
            chaos.stall();
            chaos.heal(direction);
            chaos.resume();
        }
    });
    let there = tokio::spawn(async move {
        for number in 0..3000_u32 {
            near.write([Frame::ordered(number.to_be_bytes().to_vec())]).await.unwrap();
        }
        let (read, end) = near.read_to_end().await;
        assert!(end.is_ok());
        (near, read)
    });
    let back = async {
        let read = far.read_frames(3000).await;
        assert_eq!(numbers(&read), (0..3000).collect::<Vec<_>>());
        far.write(read).await.unwrap();
        far.close().await;
        let (_near, read) = there.await.unwrap();
        assert_eq!(numbers(&read), (0..3000).collect::<Vec<_>>());
        changing.await.unwrap();
    };
    // This clock is the real one.
    timeout(ms(60_000), back).await.expect("in time");
}

// ---------------------------------------------------------------------------------------------
// Datagrams

#[tokio::test(start_paused = true)]
async fn a_lossy_wire_declares_datagrams_and_keeps_what_the_inner_one_encrypts() {
    let chaos = Chaos::new(memory("declares"), SEED);
    let mut ends = duo(&chaos.clone().lossy(1200)).await;
    assert_eq!(ends.near.capabilities, Capabilities::datagrams(1200).encrypted());
    ends = duo(&chaos).await;
    assert_eq!(ends.near.capabilities, ends.far.capabilities);
    let script = Scripted { reads: VecDeque::new(), limits: Arc::default() };
    let chaos = Chaos::new(Script(Mutex::new(Some(script))), SEED).lossy(5000);
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

// ---------------------------------------------------------------------------------------------
// The whole

fn mobile() -> Faults {
    Faults::new().delay(ms(80)).jitter(ms(40)).bytes_per_second(20_000)
}

#[tokio::test(start_paused = true)]
async fn a_session_on_a_slow_and_narrow_wire_misses_nothing() {
    let chaos = Chaos::new(memory("mobile"), SEED);
    chaos.set(Direction::Both, mobile());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let namespace = Namespace::new("/").on("count", move |Data(number): Data<u32>| {
        hears.lock().unwrap().push(number);
        async move { number }
    });
    let server = Server::new().mount(namespace).unwrap();
    server.listen(chaos.clone()).await.unwrap();
    let client = Client::new(memory("mobile")).mount(Namespace::new("/"));
    let session = client.connect().await.unwrap();
    let socket = session.of("/").unwrap();
    let began = Instant::now();
    let answer: u32 = socket.emit("count", &0).ack().await.unwrap();
    assert_eq!(answer, 0);
    let round_trip = began.elapsed();
    assert!((ms(160)..ms(300)).contains(&round_trip), "{round_trip:?}, seed {SEED}");
    for number in 1..2000 {
        socket.emit("count", &number).await.unwrap();
    }
    let answer: u32 = socket.emit("count", &2000).ack().await.unwrap();
    assert_eq!(answer, 2000);
    assert_eq!(*heard.lock().unwrap(), (0..=2000).collect::<Vec<_>>(), "seed {SEED}");
    session.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_cut_ends_a_session_at_both_ends_and_the_client_comes_back_when_it_is_healed() {
    let chaos = Chaos::new(memory("long cut"), SEED);
    chaos.set(Direction::Both, mobile());
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let namespace = |who: &'static str| {
        let (ended, began) = (ended.clone(), began.clone());
        Namespace::new("/")
            .on("echo", |Data(number): Data<u32>| async move { number })
            .on_connect(move || {
                began.send(who).unwrap();
                async {}
            })
            .on_disconnect(move |reason: DisconnectReason| {
                ended.send((who, reason)).unwrap();
                async {}
            })
    };
    let server = Server::new().mount(namespace("server")).unwrap();
    server.listen(chaos.clone()).await.unwrap();
    let client = Client::new(memory("long cut")).mount(namespace("client"));
    let session = client.connect().await.unwrap();
    let mut who = [begins.recv().await.unwrap(), begins.recv().await.unwrap()];
    who.sort_unstable();
    assert_eq!(who, ["client", "server"]);

    chaos.cut(Direction::Both);
    let cut_at = Instant::now();
    let mut reasons = [within(ends.recv()).await.unwrap(), within(ends.recv()).await.unwrap()];
    reasons.sort_unstable_by_key(|(who, _)| *who);
    let expected = ["client", "server"].map(|who| (who, DisconnectReason::HeartbeatTimeout));
    assert_eq!(reasons, expected, "seed {SEED}");
    let liveness_timeout = Config::default().liveness_timeout;
    assert!(cut_at.elapsed() > liveness_timeout - ms(5000));
    assert!(cut_at.elapsed() < liveness_timeout + ms(5000));
    assert!(!session.is_connected());
    // A minute of attempts in vain.
    assert!(timeout(ms(60_000), begins.recv()).await.is_err());

    chaos.heal(Direction::Both);
    let mut who = [within(begins.recv()).await.unwrap(), within(begins.recv()).await.unwrap()];
    who.sort_unstable();
    assert_eq!(who, ["client", "server"], "seed {SEED}");
    let socket = session.of("/").unwrap();
    let answer: u32 = within(socket.emit("echo", &7).ack().into_future()).await.unwrap();
    assert_eq!(answer, 7);
    session.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_begin_on_a_lossy_wire_as_long_as_nothing_repairs_it() {
    let chaos = Chaos::new(memory("needs arq"), SEED).lossy(1200);
    let _listener = chaos.bind().await.unwrap();
    let error = Client::new(chaos.clone()).connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::NeedsArq), "{error:?}");
}
