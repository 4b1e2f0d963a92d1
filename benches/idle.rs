//! What an idle session costs: resident bytes of the server, for session, heartbeat and one room.
//!
//! Beside it stands the least that a tokio server can do: a task per connection that waits until
//! there is something to read. What the kernel holds for a socket is extra, and the same for both.
//!
//! `EMITWIRE_BENCH_WRAP="heaptrack"` runs emitwire's server under a profiler,
//! `EMITWIRE_BENCH_SMOKE=1` makes do with small figures.

#[path = "support/figures.rs"]
mod figures;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/member.rs"]
mod member;
#[path = "support/memory.rs"]
mod memory;
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
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use wire::{LOOPBACK, Wire};

/// What all of an idle session may take, in bytes.
const BUDGET: f64 = 1536.0;

/// Sessions that are there before the first look: they pay for what all share.
const FIRST: usize = 100;

/// So often that every session has a few heartbeats behind it when it is looked at.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(400);

/// Heartbeats and positions have been exchanged, so that nothing is kept that waits for them.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the last event may take to reach everyone.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let serve = |role: &str, wire: Wire, _| match role {
        EMITWIRE => {
            let mut config = Config::default();
            config.heartbeat_interval = HEARTBEAT_INTERVAL;
            hub::serve(wire.endpoint(LOOPBACK)?, config)
        }
        _ => serve_raw(),
    };
    process::main("idle", serve, measure)
}

fn measure() -> io::Result<()> {
    let (wanted, rounds) = if process::is_smoke() { (1000, 1) } else { (5000, 3) };
    let sessions = process::connections(wanted)?;
    if sessions <= FIRST {
        return Err(io::Error::other("the limit of open files is too low"));
    }
    let cores = Cores::split()?;
    println!("idle: {sessions} sessions on loopback, each in one room");
    println!("{}, {rounds} rounds, a heartbeat every {HEARTBEAT_INTERVAL:?}", cores.facts());
    if sessions < wanted {
        println!("{wanted} sessions were wanted, the limit of open files allows no more");
    }
    println!("resident bytes per session: median (least–most) of the rounds");
    // The least is the same for all wires: a socket, and somebody who waits.
    let raw = rounds_of(RAW, Wire::Tcp, rounds, sessions, &cores)?;
    println!("{:>9}{raw:>24.0}", "raw");
    for wire in Wire::PLAIN {
        let emitwire = rounds_of(EMITWIRE, wire, rounds, sessions, &cores)?;
        let (theirs, ours) = (raw.median(), emitwire.median());
        let (ratio, of_budget) = (ours / theirs, ours / BUDGET);
        println!(
            "{:>9}{emitwire:>24.0}  {ratio:.2} of raw, {of_budget:.2} of budget",
            wire.scheme()
        );
        println!("idle {}: {ours:.0} bytes/session, raw {theirs:.0}", wire.scheme());
    }
    Ok(())
}

fn rounds_of(
    role: &str,
    wire: Wire,
    rounds: usize,
    sessions: usize,
    cores: &Cores,
) -> io::Result<Figures> {
    (0..rounds).map(|_| resident(role, wire, sessions, cores)).collect()
}

/// Resident bytes of the server for each session beyond the first ones.
fn resident(role: &str, wire: Wire, sessions: usize, cores: &Cores) -> io::Result<f64> {
    let server = Process::start(role, wire, sessions, cores)?;
    let connect = if role == EMITWIRE { Member::join } else { Member::bare };
    let mut members = Vec::new();
    let mut bytes = [0; 2];
    for (bytes, sessions) in bytes.iter_mut().zip([FIRST, sessions]) {
        while members.len() < sessions {
            members.push(connect(wire, server.address())?);
        }
        settle(&mut members)?;
        *bytes = memory::resident(server.pid())?;
    }
    if role == EMITWIRE {
        check(&mut members)?;
    }
    Ok((bytes[1] as f64 - bytes[0] as f64) / (sessions - FIRST) as f64)
}

/// Everyone says that it lives, and hears the same.
fn settle(members: &mut [Member]) -> io::Result<()> {
    members.iter_mut().try_for_each(Member::beat)?;
    thread::sleep(SETTLE);
    drain(members)
}

/// Reads what is there.
fn drain(members: &mut [Member]) -> io::Result<()> {
    let mut scratch = [0; 1024];
    for member in members {
        while member.read(&mut scratch)? {}
    }
    Ok(())
}

/// Every session lives and is in its room: it hears what the first one says there.
fn check(members: &mut [Member]) -> io::Result<()> {
    members[0].go(0..1)?;
    let began = Instant::now();
    loop {
        drain(members)?;
        match members[1..].iter().filter(|member| member.ticks() != 1).count() {
            0 => return Ok(()),
            deaf if began.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!("{deaf} sessions are not in the room")));
            }
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The least that a tokio server can do: a task per connection that waits for bytes.
fn serve_raw() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        process::announce(&listener.local_addr()?.to_string());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(listen(stream));
        }
    })
}

async fn listen(stream: TcpStream) {
    while stream.readable().await.is_ok() && !has_ended(&stream) {}
}

/// Not part of the task, so that the buffer is nobody's while nothing comes.
fn has_ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 4096]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}
