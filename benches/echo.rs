//! An event and its answer, 64 B each way, over WebSocket: beside an echo by tungstenite.
//!
//! One connection that asks, waits and asks again is emitwire's own client: the time is that of
//! two wake-ups, and what sessions cost at both ends. With many such connections the server is
//! busy, and what counts is its CPU for each answer: there tungstenite asks both servers, with the
//! packets of docs/PROTOCOL.md at ours, so that both have the same load.
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
#[path = "support/session.rs"]
mod session;
#[path = "support/wire.rs"]
mod wire;

use bytes::Bytes;
use emitwire::protocol::{
    Codec, Credit, EventName, EventPacket, EventRef, NamespaceNumber, Native, Packet, Payload,
};
use emitwire::{Client, Config, Endpoint, Namespace};
use figures::Figures;
use futures_util::{SinkExt, StreamExt};
use process::{Cores, EMITWIRE, Process, RAW};
use session::{Session, connect, hello, unexpected};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Unit;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};
use wire::{LOOPBACK, Wire};

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
    let serve = |role: &str, wire: Wire, _| match role {
        EMITWIRE => hub::serve(wire.endpoint(LOOPBACK)?, Config::default()),
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
    let mut raw = Crowd::gather(RAW, many, &cores, &runtime)?;
    let mut emitwire = Crowd::gather(EMITWIRE, many, &cores, &runtime)?;
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
    /// Bodies for bodies.
    Raw(Box<WebSocketStream<TcpStream>>),
    /// Events for answers, packet by packet.
    Packets(Box<WebSocketStream<TcpStream>>, Session),
    Client(emitwire::Session),
}

impl Crowd {
    /// The first asker is what users have, the others are alike at both servers.
    fn gather(role: &str, many: usize, cores: &Cores, runtime: &Runtime) -> io::Result<Self> {
        let server = Process::start(role, Wire::WebSocket, many, cores)?;
        let url = format!("ws://{}", server.address());
        let gathering = async {
            let mut askers = Vec::new();
            if role == EMITWIRE {
                askers.push(Asker::client(&url).await?);
            }
            while askers.len() <= many {
                let stream = TcpStream::connect(server.address()).await?;
                askers.push(Asker::connect(role, &url, stream).await?);
            }
            Ok::<_, io::Error>(askers)
        };
        let askers = runtime.block_on(gathering)?;
        Ok(Self { server, askers })
    }

    /// Microseconds of a round trip with one connection, of the server's CPU with more.
    fn ask(&mut self, connections: usize, window: Duration, runtime: &Runtime) -> io::Result<f64> {
        let before = cpu::nanos(self.server.pid())?;
        let began = Instant::now();
        let (asked, waited) = runtime.block_on(async {
            let mut asking = JoinSet::new();
            let others = if connections == 1 { self.askers.split_off(1) } else { Vec::new() };
            let first = if connections == 1 { None } else { Some(self.askers.remove(0)) };
            for mut asker in self.askers.drain(..) {
                asking.spawn(async move {
                    let mut asked = 0_u64;
                    while began.elapsed() < window {
                        asker.ask().await?;
                        asked += 1;
                    }
                    Ok::<_, io::Error>((asker, asked))
                });
            }
            self.askers = first.into_iter().collect();
            let mut asked = 0;
            while let Some(done) = asking.join_next().await {
                let (asker, more) = done.map_err(io::Error::other)??;
                self.askers.push(asker);
                asked += more;
            }
            self.askers.extend(others);
            Ok::<_, io::Error>((asked, began.elapsed()))
        })?;
        let spent = cpu::nanos(self.server.pid())? - before;
        let nanos = if connections == 1 { waited.as_nanos() as u64 } else { spent };
        Ok(nanos as f64 / 1000.0 / asked as f64)
    }
}

impl Asker {
    async fn client(url: &str) -> io::Result<Self> {
        let endpoint = Endpoint::new(url).map_err(io::Error::other)?;
        let client = Client::new(endpoint).mount(Namespace::new("/"));
        client.connect().await.map(Self::Client).map_err(io::Error::other)
    }

    async fn connect(role: &str, url: &str, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let uri = url.parse().map_err(io::Error::other)?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("emitwire.1");
        let request: Request = match role {
            EMITWIRE => request.into_client_request(),
            _ => url.into_client_request(),
        }
        .map_err(io::Error::other)?;
        let (mut socket, _) = client_async_with_config(request, stream, Some(small_buffers()))
            .await
            .map_err(io::Error::other)?;
        if role != EMITWIRE {
            return Ok(Self::Raw(Box::new(socket)));
        }
        let mut session = Session::new();
        say(&mut socket, &hello(&session)).await?;
        match hear(&mut socket, &mut session).await? {
            Packet::Welcome(welcome) => session.heed(&welcome.limits),
            other => return Err(unexpected(&other)),
        }
        for packet in [Packet::From(1), connect()] {
            say(&mut socket, &packet).await?;
        }
        session.written = 1;
        loop {
            match hear(&mut socket, &mut session).await? {
                Packet::From(1) => {}
                Packet::Accept(_) => session.received = 1,
                other => return Err(unexpected(&other)),
            }
            if session.received == 1 {
                return Ok(Self::Packets(Box::new(socket), session));
            }
        }
    }

    async fn ask(&mut self) -> io::Result<()> {
        let body = Bytes::from_static(&BODY);
        let answer = match self {
            Self::Raw(socket) => {
                socket.send(Unit::Binary(body)).await.map_err(io::Error::other)?;
                heard(socket).await?
            }
            Self::Packets(socket, session) => ask_by_packets(socket, session, body).await?,
            Self::Client(session) => {
                let socket = session.of("/").map_err(io::Error::other)?;
                socket.emit("echo", &body).ack().await.map_err(io::Error::other)?
            }
        };
        let is_whole = *answer == BODY;
        is_whole.then_some(()).ok_or_else(|| io::Error::other("another answer"))
    }
}

async fn ask_by_packets(
    socket: &mut WebSocketStream<TcpStream>,
    session: &mut Session,
    body: Bytes,
) -> io::Result<Bytes> {
    let event = EventPacket {
        namespace: NamespaceNumber(0),
        event: EventRef { producer: None, number: session.written },
        wants_ack: true,
        name: EventName::from_static("echo"),
        payload: Payload::encode(&body).map_err(io::Error::other)?,
    };
    session.written += 1;
    say(socket, &Packet::Event(event)).await?;
    loop {
        match hear(socket, session).await? {
            Packet::Ack(ack) => {
                session.received += 1;
                if session.owes_position() {
                    // The server emits nothing, so nothing of it has finished.
                    let position = session.position(Credit { events: 0, bytes: 0 });
                    say(socket, &position).await?;
                }
                return ack.payload.decode().map_err(io::Error::other);
            }
            Packet::Position(position) => session.asked |= position.asks,
            Packet::Heartbeat { .. } => {}
            other => return Err(unexpected(&other)),
        }
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, packet: &Packet) -> io::Result<()> {
    for frame in Native.encode(packet).frames() {
        let unit = Unit::Binary(frame.body.clone());
        socket.send(unit).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn hear(
    socket: &mut WebSocketStream<TcpStream>,
    session: &mut Session,
) -> io::Result<Packet> {
    let body = heard(socket).await?;
    session.decode(&body)
}

async fn heard(socket: &mut WebSocketStream<TcpStream>) -> io::Result<Bytes> {
    let unit = socket.next().await.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(unit.map_err(io::Error::other)?.into_data())
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
