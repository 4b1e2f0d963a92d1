//! An event and its answer, 64 B each way, over WebSocket: beside an echo by tungstenite.
//!
//! With one connection that asks, waits and asks again, the time is that of two wake-ups, and the
//! bytes that a session adds. With many such connections the server is busy, and what counts is
//! its CPU for each answer.
//!
//! `EMITWIRE_BENCH_WRAP="perf record -o echo.data"` runs emitwire's server under a profiler,
//! `EMITWIRE_BENCH_SMOKE=1` makes do with small figures.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/process.rs"]
mod process;
#[path = "support/wire.rs"]
mod wire;

use bytes::Bytes;
use emitwire::{Client, Config, Endpoint, Namespace, Session};
use figures::Figures;
use futures_util::{SinkExt, StreamExt};
use process::{Cores, EMITWIRE, Process, RAW};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Unit;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};
use wire::Wire;

/// What is asked and answered.
const BODY: [u8; 64] = [b'.'; 64];

/// Connections that keep the server busy.
const MANY: usize = 64;

/// How much is measured.
struct Plan {
    rounds: usize,
    window: Duration,
}

fn main() -> ExitCode {
    let serve = |role: &str, wire, _| match role {
        EMITWIRE => hub::serve(wire, Config::default()),
        _ => serve_raw(),
    };
    process::main("echo", serve, measure)
}

fn measure() -> io::Result<()> {
    let plan = if process::is_smoke() {
        Plan { rounds: 3, window: Duration::from_millis(60) }
    } else {
        Plan { rounds: 11, window: Duration::from_millis(400) }
    };
    let many = process::connections(MANY)?;
    let cores = Cores::split()?;
    println!("echo: 64 B and an answer over WebSocket on loopback");
    println!("{}, {} rounds of {:?}", cores.facts(), plan.rounds, plan.window);
    println!("median (least–most) of the rounds");
    println!("{:>32}{:>24}{:>24}{:>24}", "", "tungstenite", "emitwire", "ratio");
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut raw = Crowd::gather(RAW, &cores, &runtime)?;
    let mut emitwire = Crowd::gather(EMITWIRE, &cores, &runtime)?;
    let mut ratios = Vec::new();
    for (what, connections) in
        [("1 connection, round trip, µs", 1), ("many, server CPU each, µs", many)]
    {
        let mut pairs = Vec::new();
        // The first round is for the caches and for the allocator.
        for _ in 0..=plan.rounds {
            let theirs = raw.ask(connections, plan.window, &runtime)?;
            pairs.push((theirs, emitwire.ask(connections, plan.window, &runtime)?));
        }
        let pairs = &pairs[1..];
        let theirs = Figures::from_iter(pairs.iter().map(|(raw, _)| *raw));
        let ours = Figures::from_iter(pairs.iter().map(|(_, emitwire)| *emitwire));
        let ratio = Figures::from_iter(pairs.iter().map(|(raw, emitwire)| emitwire / raw));
        println!("{what:>32}{theirs:>24.2}{ours:>24.2}{ratio:>24.2}");
        ratios.push(ratio.median());
    }
    println!("echo ws: ratio round trip {:.2}, CPU {:.2}", ratios[0], ratios[1]);
    Ok(())
}

/// A server and those who ask it.
struct Crowd {
    server: Process,
    askers: Vec<Asker>,
}

/// One connection.
enum Asker {
    Raw(Box<WebSocketStream<TcpStream>>),
    Emitwire(Session),
}

impl Crowd {
    fn gather(role: &str, cores: &Cores, runtime: &Runtime) -> io::Result<Self> {
        let server = Process::start(role, Wire::WebSocket, MANY, cores)?;
        let url = format!("ws://{}", server.address());
        let connect = async {
            let mut askers = Vec::new();
            for _ in 0..MANY {
                askers.push(Asker::connect(role, &url, &server).await?);
            }
            Ok::<_, io::Error>(askers)
        };
        let askers = runtime.block_on(connect)?;
        Ok(Self { server, askers })
    }

    /// Microseconds of a round trip with one connection, of the server's CPU with more.
    fn ask(&mut self, connections: usize, window: Duration, runtime: &Runtime) -> io::Result<f64> {
        let before = cpu::nanos(self.server.pid())?;
        let began = Instant::now();
        let (asked, waited) = runtime.block_on(async {
            let mut asking = JoinSet::new();
            for mut asker in self.askers.drain(..connections.min(MANY)) {
                asking.spawn(async move {
                    let mut asked = 0_u64;
                    while began.elapsed() < window {
                        asker.ask().await?;
                        asked += 1;
                    }
                    Ok::<_, io::Error>((asker, asked))
                });
            }
            let mut asked = 0;
            while let Some(done) = asking.join_next().await {
                let (asker, more) = done.map_err(io::Error::other)??;
                self.askers.push(asker);
                asked += more;
            }
            Ok::<_, io::Error>((asked, began.elapsed()))
        })?;
        let spent = cpu::nanos(self.server.pid())? - before;
        let nanos = if connections == 1 { waited.as_nanos() as u64 } else { spent };
        Ok(nanos as f64 / 1000.0 / asked as f64)
    }
}

impl Asker {
    async fn connect(role: &str, url: &str, server: &Process) -> io::Result<Self> {
        if role == EMITWIRE {
            let endpoint = Endpoint::new(url).map_err(io::Error::other)?;
            let client = Client::new(endpoint).mount(Namespace::new("/"));
            return client.connect().await.map(Self::Emitwire).map_err(io::Error::other);
        }
        let stream = TcpStream::connect(server.address()).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async_with_config(url, stream, Some(small_buffers()))
            .await
            .map_err(io::Error::other)?;
        Ok(Self::Raw(Box::new(socket)))
    }

    async fn ask(&mut self) -> io::Result<()> {
        let answer = match self {
            Self::Raw(socket) => {
                let body = Bytes::from_static(&BODY);
                socket.send(Unit::Binary(body)).await.map_err(io::Error::other)?;
                let answer = socket.next().await.ok_or(io::ErrorKind::UnexpectedEof)?;
                answer.map_err(io::Error::other)?.into_data()
            }
            Self::Emitwire(session) => {
                let socket = session.of("/").map_err(io::Error::other)?;
                let body = Bytes::from_static(&BODY);
                socket.emit("echo", &body).ack().await.map_err(io::Error::other)?
            }
        };
        let is_whole = *answer == BODY;
        is_whole.then_some(()).ok_or_else(|| io::Error::other("another answer"))
    }
}

/// As small as they are recommended to be: the default reserves 128 KiB a connection.
fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0)
}

/// Tungstenite's echo, a task per connection.
fn serve_raw() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        process::announce(&listener.local_addr()?.to_string());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let config = Some(small_buffers());
                let Ok(mut socket) = accept_async_with_config(stream, config).await else { return };
                while let Some(Ok(unit)) = socket.next().await {
                    if socket.send(unit).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}
