//! Fan-out of a 64 B event to 1,000 members, over each wire: the server CPU of a delivery.
//!
//! Beside emitwire's server runs the least that can be done: a loop that joins the frames of one
//! read, built once for all, and makes one write per member. Both tell the same bytes to members
//! of the same kind, so the ratio is what sessions, rooms, positions, windows and counters cost.
//! With one broadcast under way at a time that loop is bound by its writes; with sixteen it joins
//! sixteen frames.
//!
//! `EMITWIRE_BENCH_WRAP="perf record -o fanout.data"` runs emitwire's server under a profiler,
//! `EMITWIRE_BENCH_SMOKE=1` makes do with small figures.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/member.rs"]
mod member;
#[path = "support/process.rs"]
mod process;
#[path = "support/session.rs"]
mod session;
#[path = "support/tick.rs"]
mod tick;
#[path = "support/wire.rs"]
mod wire;

use emitwire::Config;
use figures::Figures;
use member::Member;
use process::{Cores, EMITWIRE, Process, RAW};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use tick::TICK_NAME;
use wire::{LOOPBACK, Wire};

/// Broadcasts that are under way at a time.
const DEPTHS: [u64; 2] = [1, 16];

/// As a network card gathers interrupts, so the load naps when it has caught up with the server:
/// one that waited for each delivery would charge the server a wake-up per send.
const NAP: Duration = Duration::from_micros(100);

/// Members in a row without news: the load has caught up.
const MISSES_MAX: usize = 16;

/// How long no delivery may arrive before the bench gives up.
const STALL: Duration = Duration::from_secs(10);

/// Bytes of one read on either side.
const SCRATCH_BYTES: usize = 64 * 1024;

/// How much is measured.
struct Plan {
    members: usize,
    rounds: usize,
    /// How long broadcasts are sent in one measurement.
    window: Duration,
}

fn main() -> ExitCode {
    let serve = |role: &str, wire: Wire, members| match role {
        EMITWIRE => hub::serve(wire.endpoint(LOOPBACK)?, Config::default()),
        _ => serve_raw(wire, members),
    };
    process::main("fanout", serve, measure)
}

fn measure() -> io::Result<()> {
    let mut plan = if process::is_smoke() {
        Plan { members: 200, rounds: 3, window: Duration::from_millis(60) }
    } else {
        Plan { members: 1000, rounds: 11, window: Duration::from_millis(400) }
    };
    // Two crowds with a driver each.
    plan.members = (process::connections(2 * plan.members + 2)? / 2).saturating_sub(1);
    if plan.members == 0 {
        return Err(io::Error::other("the limit of open files is too low"));
    }
    let cores = Cores::split()?;
    println!("fanout: a 64 B event to {} members on loopback", plan.members);
    println!("{}, {} rounds of {:?}", cores.facts(), plan.rounds, plan.window);
    println!("server CPU per delivery, µs: median (least–most) of the rounds");
    println!("{:>4}{:>11}{:>24}{:>24}{:>24}", "wire", "in flight", "raw", "emitwire", "ratio");
    Wire::PLAIN.into_iter().try_for_each(|wire| compare(wire, &plan, &cores))
}

fn compare(wire: Wire, plan: &Plan, cores: &Cores) -> io::Result<()> {
    let mut raw = Crowd::gather(RAW, wire, plan, cores)?;
    let mut emitwire = Crowd::gather(EMITWIRE, wire, plan, cores)?;
    let mut medians = Vec::new();
    for depth in DEPTHS {
        // The first of each is for the caches and for the allocator.
        raw.cost(depth, plan.window)?;
        emitwire.cost(depth, plan.window)?;
        let mut pairs = Vec::new();
        for _ in 0..plan.rounds {
            pairs.push((raw.cost(depth, plan.window)?, emitwire.cost(depth, plan.window)?));
        }
        let theirs = Figures::from_iter(pairs.iter().map(|(raw, _)| *raw));
        let ours = Figures::from_iter(pairs.iter().map(|(_, emitwire)| *emitwire));
        // Neighbours in time are compared: the machine may have another speed a second later.
        let ratio = Figures::from_iter(pairs.iter().map(|(raw, emitwire)| emitwire / raw));
        let wire = wire.scheme();
        println!("{wire:>4}{depth:>11}{theirs:>24.3}{ours:>24.3}{ratio:>24.2}");
        medians.push(ratio.median());
    }
    raw.check()?;
    emitwire.check()?;
    println!("fanout {}: ratio d1 {:.2} d16 {:.2}", wire.scheme(), medians[0], medians[1]);
    Ok(())
}

/// A server, its members, and the one who has it tell them something.
struct Crowd {
    server: Process,
    driver: Member,
    members: Vec<Member>,
    sent: u64,
    scratch: Vec<u8>,
}

impl Crowd {
    fn gather(role: &str, wire: Wire, plan: &Plan, cores: &Cores) -> io::Result<Self> {
        let server = Process::start(role, wire, plan.members, cores)?;
        let connect = if role == EMITWIRE { Member::join } else { Member::bare };
        let driver = connect(wire, server.address())?;
        let members = (0..plan.members).map(|_| connect(wire, server.address()));
        let members = members.collect::<io::Result<_>>()?;
        Ok(Self { server, driver, members, sent: 0, scratch: vec![0; SCRATCH_BYTES] })
    }

    /// What a delivery costs the server, in microseconds of its CPU.
    fn cost(&mut self, depth: u64, window: Duration) -> io::Result<f64> {
        let (spent, sent) = (cpu::nanos(self.server.pid())?, self.sent);
        self.run(depth, window)?;
        let spent = cpu::nanos(self.server.pid())? - spent;
        // As idle clients do, so that the next time begins with empty logs.
        self.members.iter_mut().try_for_each(Member::beat)?;
        let deliveries = (self.sent - sent) * self.members.len() as u64;
        Ok(spent as f64 / 1000.0 / deliveries as f64)
    }

    /// Keeps `depth` broadcasts under way for so long, and waits until all have arrived.
    fn run(&mut self, depth: u64, window: Duration) -> io::Result<()> {
        let began = Instant::now();
        let mut moved = began;
        loop {
            let arrived = self.arrived();
            let is_over = began.elapsed() >= window;
            if is_over && arrived == self.sent {
                return Ok(());
            }
            let next = arrived + depth;
            if !is_over && next > self.sent {
                self.driver.go(self.sent..next)?;
                self.sent = next;
            }
            if self.read()? {
                moved = Instant::now();
            } else if moved.elapsed() > STALL {
                return Err(io::Error::other("deliveries are missing"));
            }
        }
    }

    /// Broadcasts that every member has heard.
    fn arrived(&self) -> u64 {
        self.members.iter().map(Member::ticks).min().unwrap_or(self.sent)
    }

    /// Reads behind the server, which writes to the members in their order; says whether anything
    /// came, and naps when little did.
    fn read(&mut self) -> io::Result<bool> {
        self.driver.read(&mut self.scratch)?;
        let (mut hits, mut misses) = (0, 0);
        for member in self.members.iter_mut().filter(|member| member.ticks() < self.sent) {
            if member.read(&mut self.scratch)? {
                (hits, misses) = (hits + 1, 0);
            } else {
                misses += 1;
            }
            if misses == MISSES_MAX {
                thread::sleep(NAP);
                break;
            }
        }
        Ok(hits > 0)
    }

    /// Nothing came twice: there is no tick behind the last one.
    fn check(&mut self) -> io::Result<()> {
        for member in &mut self.members {
            while member.read(&mut self.scratch)? {}
            if member.ticks() != self.sent {
                let what = format!("{} ticks came, {} were sent", member.ticks(), self.sent);
                return Err(io::Error::other(what));
            }
        }
        Ok(())
    }
}

/// The least that a server can do: what came in one read from the driver, who is the first to
/// connect, is joined and written once to each member.
fn serve_raw(wire: Wire, members: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    process::announce(&listener.local_addr()?.to_string());
    let accept = || -> io::Result<TcpStream> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut driver = accept()?;
    let mut members = (0..members).map(|_| accept()).collect::<io::Result<Vec<_>>>()?;
    members.iter().try_for_each(|member| member.set_nonblocking(true))?;
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        let count = driver.read(&mut scratch)?;
        let mut joined = Vec::new();
        let mut bytes = &scratch[..count];
        // The driver writes less at once than one read takes, so frames arrive whole.
        while let Some((body, rest)) = wire.split(bytes) {
            let tick = tick::tick_of(body).unwrap_or_default();
            joined.extend(tick::frame(wire, &tick::event(TICK_NAME, tick)));
            bytes = rest;
        }
        for member in &mut members {
            member.write_all(&joined)?;
        }
    }
}
