//! Thousands of sessions that are away at the same time while their rooms are spoken to: what is
//! kept for them has a bound, and what was not kept is counted at both ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/mod.rs"]
mod support;

use emitwire::testing::within;
use emitwire::{
    Chaos, Client, Config, Data, Direction, Memory, Missed, Namespace, Server, Session, Socket,
};
use peak_alloc::PeakAlloc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1024 * 1024;

/// What all who are away keep together.
const DETACHED_BYTES_MAX: usize = 16 * MIB;

/// Each of them is in one of so many rooms.
const ROOMS: usize = 10;

/// Small words, of which a session may keep very many, and large ones.
const SMALL: u64 = 1000;
const LARGE: u64 = 40;
const LARGE_BYTES: usize = 50_000;

/// What is no event and no place for one, and what is on its way.
const SLACK: usize = 8 * MIB;

fn sessions() -> usize {
    if std::env::var_os("EMITWIRE_FULL").is_some() {
        return 10_000;
    }
    println!("a fifth of them: EMITWIRE_FULL=1 cargo test --release --test away");
    2000
}

/// Waits until `what` is so, for a minute of a clock that moves only when nothing else can.
async fn until(mut what: impl FnMut() -> bool) {
    for _ in 0..600 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within a minute");
}

/// What all clients have heard together, and missed.
#[derive(Clone, Default)]
struct Ears(Arc<[AtomicU64; 2]>);

impl Ears {
    fn listen(&self) -> Namespace {
        let (heard, missed) = (self.clone(), self.clone());
        Namespace::new("/")
            .on("said", move |Data(_): Data<(u64, String)>| {
                heard.0[0].fetch_add(1, Ordering::Relaxed);
                async {}
            })
            .on_gap(move |gap: &Missed| {
                missed.0[1].fetch_add(gap.count, Ordering::Relaxed);
            })
    }

    fn sums(&self) -> (u64, u64) {
        (self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed))
    }
}

struct Crowd {
    server: Server,
    wire: Chaos<Memory>,
    sessions: Vec<Session>,
    ears: Ears,
}

impl Crowd {
    async fn gather(count: usize) -> Self {
        let mut config = Config::default();
        config.detached_bytes_max = DETACHED_BYTES_MAX;
        let turn = Arc::new(AtomicU64::new(0));
        let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
            let room = turn.fetch_add(1, Ordering::Relaxed) as usize % ROOMS;
            async move { socket.join(room_name(room)).await }
        });
        let server = Server::with_config(config).mount(namespace).unwrap();
        server.listen(Memory::new("away")).await.unwrap();
        let (wire, ears) = (Chaos::new(Memory::new("away"), 7), Ears::default());
        let mut sessions = Vec::new();
        for _ in 0..count {
            let client = Client::new(wire.clone()).mount(ears.listen());
            sessions.push(within(client.connect()).await.unwrap());
        }
        Self { server, wire, sessions, ears }
    }

    /// Says so many things of a size to each of the rooms.
    async fn say(&self, count: u64, bytes: usize) {
        let rooms: Vec<_> =
            (0..ROOMS).map(|room| self.server.of("/").to(room_name(room))).collect();
        let words = "x".repeat(bytes);
        for number in 0..count {
            for room in &rooms {
                room.clone().emit("said", &(number, &words)).await.unwrap();
            }
            // Those who have to let go do so in a task of their own.
            tokio::task::yield_now().await;
        }
    }
}

fn room_name(room: usize) -> String {
    format!("room {room}")
}

#[tokio::test(start_paused = true)]
async fn thousands_who_are_away_keep_no_more_than_their_bound_and_miss_nothing_uncounted() {
    let count = sessions();
    let crowd = Crowd::gather(count).await;
    crowd.wire.sever();
    crowd.wire.cut(Direction::Both);
    until(|| crowd.server.stats().detached as usize == count).await;
    let before = HEAP.current_usage();
    for (words, (events, bytes)) in [("small", (SMALL, 10)), ("large", (LARGE, LARGE_BYTES))] {
        crowd.say(events, bytes).await;
        let grown = HEAP.current_usage().saturating_sub(before);
        let stats = crowd.server.stats();
        println!(
            "{count} away, {events} {words} words to each: {} MiB more, {} evicted, {} wait",
            grown / MIB,
            stats.evicted,
            stats.waiting,
        );
        assert!(grown <= DETACHED_BYTES_MAX + SLACK, "{} MiB", grown / MIB);
    }
    crowd.wire.heal(Direction::Both);
    let stats = || crowd.server.stats();
    until(|| stats().detached == 0 && stats().waiting == 0).await;
    let said = (SMALL + LARGE) * count as u64;
    until(|| crowd.ears.sums().0 + crowd.ears.sums().1 == said).await;
    until(|| stats().received + stats().overflowed + stats().lost == said).await;
    let ((heard, missed), stats) = (crowd.ears.sums(), stats());
    println!("of {said} events {heard} were heard and {missed} missed");
    assert_eq!(stats.events_out, said);
    assert_eq!((stats.received, stats.overflowed + stats.lost), (heard, missed));
    assert_eq!((stats.sessions as usize, stats.resumed as usize), (count, count));
    let told = crowd.sessions.iter().map(|session| session.stats());
    assert_eq!(told.map(|stats| stats.missed + stats.skipped).sum::<u64>(), missed);
}
