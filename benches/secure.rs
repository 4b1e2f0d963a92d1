//! What the encrypted wires add to their libraries: `tls` and `wss` beside tokio-rustls, `quic`
//! beside quinn.
//!
//! An event of 64 B and its answer stand beside an echo of 64 B over the same kind of stream
//! (tungstenite's for `wss`), and a 64 B event to a room beside a loop that writes the same frames
//! once to each member. Cryptography and system calls are the same on both sides, so the ratio is
//! what sessions and rooms cost, and what the wires do clumsily.
//!
//! A session that says nothing stands beside a stream that does not: each holds a connection of its
//! library, which is most of it.
//!
//! One connection that asks and waits is emitwire's own client. Where the server's CPU counts, the
//! load is the same for both: peers that are as light as they can be.
//!
//! `EMITWIRE_BENCH_WRAP="perf record -o secure.data"` runs emitwire's server under a profiler,
//! `EMITWIRE_BENCH_SMOKE=1` makes do with small figures, `EMITWIRE_BENCH_WIRE=quic` with one wire.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/dialer.rs"]
mod dialer;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/identity.rs"]
mod identity;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/process.rs"]
mod process;
#[path = "support/raw.rs"]
mod raw;
#[path = "support/session.rs"]
mod session;
#[path = "support/tick.rs"]
mod tick;
#[path = "support/wire.rs"]
mod wire;

use bytes::Bytes;
use dialer::Dialer;
use emitwire::{Client, Config, Namespace};
use figures::Figures;
use identity::Identity;
use peer::{BODY, Peer};
use process::{Cores, EMITWIRE, Process, RAW};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wire::{LOOPBACK, Wire};

/// Connections that keep the server busy with questions.
const MANY: usize = 32;

/// Those who are told what one says.
const MEMBERS: usize = 200;

/// Members that are there before the first look at the memory: they pay for what all share.
const FIRST: usize = 50;

/// What a handshake leaves behind has been thrown away.
const SETTLE: Duration = Duration::from_millis(300);

/// How long no answer may come before the bench gives up.
const STALL: Duration = Duration::from_secs(10);

/// The scheme of the only wire to measure.
const ONLY: &str = "EMITWIRE_BENCH_WIRE";

/// How much is measured.
struct Plan {
    rounds: usize,
    window: Duration,
    cores: Cores,
    identity: Identity,
    dialer: Dialer,
}

fn main() -> ExitCode {
    let serve = |role: &str, wire: Wire, members| match role {
        EMITWIRE => {
            let endpoint = wire.endpoint(LOOPBACK)?.tls(Identity::get()?.shown()?);
            hub::serve(endpoint.map_err(io::Error::other)?, Config::default())
        }
        _ => raw::serve(wire, members),
    };
    process::main("secure", serve, || {
        // Both crowds live on it side by side.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure())
    })
}

async fn measure() -> io::Result<()> {
    let (rounds, window) = if process::is_smoke() {
        (3, Duration::from_millis(50))
    } else {
        (11, Duration::from_millis(300))
    };
    // Two crowds of members with a driver each, and room for what else there is.
    let wanted = 2 * (MEMBERS + 1);
    if process::connections(wanted)? < wanted {
        return Err(io::Error::other("the limit of open files is too low"));
    }
    let (cores, identity) = (Cores::split()?, Identity::get()?);
    let dialer = Dialer::new(&identity)?;
    let plan = Plan { rounds, window, cores, identity, dialer };
    println!("secure: 64 B and an answer, and 64 B to {MEMBERS} members, encrypted on loopback");
    println!("{}, {rounds} rounds of {window:?}", plan.cores.facts());
    println!("median (least–most) of the rounds; CPU and memory are the server's, for each");
    println!("{:>4}{:>30}{:>24}{:>24}{:>24}", "wire", "", "raw", "emitwire", "ratio");
    let only = std::env::var(ONLY).ok();
    for wire in Wire::ENCRYPTED {
        if only.as_deref().is_none_or(|only| only == wire.scheme()) {
            compare(wire, &plan).await?;
        }
    }
    Ok(())
}

async fn compare(wire: Wire, plan: &Plan) -> io::Result<()> {
    let mut raw = Askers::gather(RAW, wire, plan).await?;
    let mut emitwire = Askers::gather(EMITWIRE, wire, plan).await?;
    let mut ratios = Vec::new();
    for (what, connections) in [("answer, round trip, µs", 1), ("answer of many, CPU, µs", MANY)]
    {
        let mut pairs = Vec::new();
        // The first round is for the caches and for the allocator.
        for _ in 0..=plan.rounds {
            let theirs = raw.ask(connections, plan.window).await?;
            pairs.push((theirs, emitwire.ask(connections, plan.window).await?));
        }
        ratios.push(row(wire, what, &pairs[1..]));
    }
    drop((raw, emitwire));
    compare_rooms(wire, plan, &mut ratios).await?;
    let ratios: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("secure {}: ratios {}", wire.scheme(), ratios.join(" "));
    Ok(())
}

async fn compare_rooms(wire: Wire, plan: &Plan, ratios: &mut Vec<f64>) -> io::Result<()> {
    let mut raw = Room::gather(RAW, wire, plan).await?;
    let mut emitwire = Room::gather(EMITWIRE, wire, plan).await?;
    for (what, depth) in [("delivery, CPU, µs", 1), ("delivery of 16, CPU, µs", 16)] {
        let mut pairs = Vec::new();
        for _ in 0..=plan.rounds {
            let theirs = raw.tell(depth, plan.window).await?;
            pairs.push((theirs, emitwire.tell(depth, plan.window).await?));
        }
        ratios.push(row(wire, what, &pairs[1..]));
    }
    let idle = (raw.idle_bytes / 1024.0, emitwire.idle_bytes / 1024.0);
    ratios.push(row(wire, "idle, KiB resident", &[idle]));
    Ok(())
}

/// Prints what rounds say together; gives back the ratio.
fn row(wire: Wire, what: &str, pairs: &[(f64, f64)]) -> f64 {
    let theirs = Figures::from_iter(pairs.iter().map(|(raw, _)| *raw));
    let ours = Figures::from_iter(pairs.iter().map(|(_, emitwire)| *emitwire));
    // Neighbours in time are compared: the machine may have another speed a second later.
    let ratio = Figures::from_iter(pairs.iter().map(|(raw, emitwire)| emitwire / raw));
    println!("{:>4}{what:>30}{theirs:>24.2}{ours:>24.2}{ratio:>24.2}", wire.scheme());
    ratio.median()
}

/// A server and those who ask it.
struct Askers {
    server: Process,
    askers: Vec<Asker>,
}

enum Asker {
    Peer(Peer),
    Client(emitwire::Session),
}

impl Askers {
    /// The first asker is what users have, the others are alike at both servers.
    async fn gather(role: &str, wire: Wire, plan: &Plan) -> io::Result<Self> {
        // Without members the raw server echoes.
        let server = Process::start(role, wire, 0, &plan.cores)?;
        let (dialer, address) = (&plan.dialer, server.address());
        let mut askers = Vec::new();
        if role == EMITWIRE {
            let endpoint = wire.endpoint(address)?.tls(plan.identity.trusted()?);
            let client = Client::new(endpoint.map_err(io::Error::other)?);
            let session = client.mount(Namespace::new("/")).connect().await;
            askers.push(Asker::Client(session.map_err(io::Error::other)?));
        }
        while askers.len() <= MANY {
            askers.push(Asker::Peer(match role {
                EMITWIRE => Peer::join(dialer, wire, address).await?,
                _ => Peer::bare(dialer, wire, address).await?,
            }));
        }
        Ok(Self { server, askers })
    }

    /// Microseconds of a round trip with one connection, of the server's CPU with more.
    async fn ask(&mut self, connections: usize, window: Duration) -> io::Result<f64> {
        let chosen = if connections == 1 { 0..1 } else { 1..self.askers.len() };
        let (spent, began) = (cpu::nanos(self.server.pid())?, Instant::now());
        let mut asking = JoinSet::new();
        for mut asker in self.askers.drain(chosen) {
            asking.spawn(async move {
                let mut asked = 0_u64;
                while began.elapsed() < window {
                    timeout(STALL, asker.ask()).await??;
                    asked += 1;
                }
                Ok::<_, io::Error>((asker, asked))
            });
        }
        let (mut asked, mut back) = (0, Vec::new());
        while let Some(done) = asking.join_next().await {
            let (asker, more) = done.map_err(io::Error::other)??;
            back.push(asker);
            asked += more;
        }
        let (waited, spent) = (began.elapsed(), cpu::nanos(self.server.pid())? - spent);
        let at = if connections == 1 { 0 } else { self.askers.len() };
        self.askers.splice(at..at, back);
        let nanos = if connections == 1 { waited.as_nanos() as u64 } else { spent };
        Ok(nanos as f64 / 1000.0 / asked as f64)
    }
}

impl Asker {
    async fn ask(&mut self) -> io::Result<()> {
        match self {
            Self::Peer(peer) => peer.ask().await,
            Self::Client(session) => {
                let socket = session.of("/").map_err(io::Error::other)?;
                let body = Bytes::from_static(&BODY);
                let answer: Bytes =
                    socket.emit("echo", &body).ack().await.map_err(io::Error::other)?;
                let is_whole = *answer == BODY;
                is_whole.then_some(()).ok_or_else(|| io::Error::other("another answer"))
            }
        }
    }
}

/// A server, its members, and the one who has it tell them something.
struct Room {
    server: Process,
    driver: Peer,
    /// Dropped with the room.
    _members: JoinSet<()>,
    progress: Arc<Progress>,
    sent: u64,
    /// What the server holds for a member that was told nothing yet.
    idle_bytes: f64,
}

/// What all members have heard together.
#[derive(Default)]
struct Progress {
    heard: AtomicU64,
    goal: AtomicU64,
    reached: Notify,
}

impl Room {
    async fn gather(role: &str, wire: Wire, plan: &Plan) -> io::Result<Self> {
        let server = Process::start(role, wire, MEMBERS, &plan.cores)?;
        let connect = async || match role {
            EMITWIRE => Peer::join(&plan.dialer, wire, server.address()).await,
            _ => Peer::bare(&plan.dialer, wire, server.address()).await,
        };
        let driver = connect().await?;
        let progress = Arc::new(Progress::default());
        let (mut members, mut first) = (JoinSet::new(), 0);
        for number in 0..MEMBERS {
            if number == FIRST {
                sleep(SETTLE).await;
                first = memory::resident(server.pid())?;
            }
            let (mut member, progress) = (connect().await?, Arc::clone(&progress));
            member.beat().await?;
            members.spawn(async move {
                if let Err(error) = progress.follow(member).await {
                    eprintln!("secure: a member of {} is gone: {error}", wire.scheme());
                }
            });
        }
        sleep(SETTLE).await;
        let more = memory::resident(server.pid())?.saturating_sub(first);
        let idle_bytes = more as f64 / (MEMBERS - FIRST) as f64;
        Ok(Self { server, driver, _members: members, progress, sent: 0, idle_bytes })
    }

    /// What a delivery costs the server, in microseconds of its CPU, when so many are sent at once.
    async fn tell(&mut self, depth: u64, window: Duration) -> io::Result<f64> {
        let (spent, sent) = (cpu::nanos(self.server.pid())?, self.sent);
        let began = Instant::now();
        while began.elapsed() < window {
            let next = self.sent + depth;
            self.progress.goal.store(next * MEMBERS as u64, Ordering::Relaxed);
            self.driver.go(self.sent..next).await?;
            self.sent = next;
            timeout(STALL, self.arrival()).await??;
        }
        let spent = cpu::nanos(self.server.pid())? - spent;
        Ok(spent as f64 / 1000.0 / ((self.sent - sent) * MEMBERS as u64) as f64)
    }

    /// Waits until all have heard everything.
    async fn arrival(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                () = self.progress.reached.notified() => return Ok(()),
                news = self.driver.listen() => news?,
            }
        }
    }
}

impl Progress {
    async fn follow(&self, mut member: Peer) -> io::Result<()> {
        loop {
            let before = member.ticks();
            member.listen().await?;
            let more = member.ticks() - before;
            let heard = self.heard.fetch_add(more, Ordering::Relaxed) + more;
            if more > 0 && heard == self.goal.load(Ordering::Relaxed) {
                self.reached.notify_one();
            }
        }
    }
}
