//! The server: one namespace with one room, and the stream that everybody hears.

use crate::books::{Books, Tick};
use crate::options::Options;
use crate::resume;
use emitwire::{BoxError, Config, Data, Endpoint, Namespace, Server, Socket};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Everyone is in it.
pub(crate) const ROOM: &str = "all";

/// What the server says to the room, and what a client says to the server.
pub(crate) const DOWN: &str = "down";
pub(crate) const UP: &str = "up";

pub(crate) struct Stage {
    pub(crate) server: Server,
    /// Where it is found, on each of its wires.
    pub(crate) doors: Vec<Endpoint>,
    sessions: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) async fn open(options: &Options, books: &Arc<Books>) -> Result<Self, BoxError> {
        let sessions = Arc::new(AtomicU64::new(0));
        let (begun, heard) = (Arc::clone(&sessions), Arc::clone(books));
        let namespace = Namespace::new("/")
            .on_connect(move |socket: Socket| {
                begun.fetch_add(1, Ordering::Relaxed);
                async move { socket.join(ROOM).await }
            })
            .on(UP, move |Data(tick): Data<Tick>| {
                heard.said(tick);
                ready(())
            });
        let server = Server::with_config(config(options)).mount(namespace)?;
        let mut doors = Vec::new();
        for wire in &options.wires {
            let local = Endpoint::local(wire)?;
            let listening = server.listen(local.clone()).await?;
            doors.push(local.at(listening.endpoint())?);
        }
        Ok(Self { server, doors, sessions })
    }

    /// Sessions that have begun, all told.
    pub(crate) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Says the numbered events to the room, at their times.
    pub(crate) async fn broadcast(
        &self,
        options: &Options,
        books: &Books,
        start: Instant,
    ) -> Result<(), BoxError> {
        for number in 1..=options.events {
            sleep_until(start + options.period() * number).await;
            books.down.emit(1);
            self.server.of("/").to(ROOM).emit(DOWN, &books.tick(0, number)).await?;
        }
        Ok(())
    }
}

/// A handshake with nothing in its way takes no longer, however busy the machine.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);

/// The limits of both ends: the default ones, but for what the time scale is about.
pub(crate) fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.heartbeat_interval = options.heartbeat_interval();
    config.liveness_timeout = options.heartbeat_timeout();
    config.close_timeout = config.close_timeout.mul_f64(options.scale);
    // A cut may fall into a handshake, which no heartbeat watches over.
    config.connect_timeout = options.heartbeat_timeout() + HANDSHAKE_MAX;
    config.handshake_timeout = config.connect_timeout;
    if resume::mixes_wires(options) {
        resume::allow_plain(&mut config);
    }
    config
}
