//! The books: every stream of both directions, and what has become of it.

use crate::latency::Latency;
use crate::options::Options;
use crate::sequence::Sequence;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// One numbered event.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// Whose stream it is. What everybody hears is nobody's, and zero.
    pub(crate) client: u32,
    /// From 1.
    pub(crate) number: u32,
    /// When it was emitted: microseconds after the books were opened.
    pub(crate) emitted: u64,
}

/// Both directions: what the room hears, and what the clients say.
pub(crate) struct Books {
    opened: Instant,
    pub(crate) down: Direction,
    pub(crate) up: Direction,
    complete: Notify,
}

/// A stream for each client.
pub(crate) struct Direction {
    streams: Vec<Mutex<Sequence>>,
    events: u32,
    emitted: AtomicU64,
    received: AtomicU64,
    pub(crate) latency: Latency,
}

impl Books {
    pub(crate) fn open(options: &Options) -> Self {
        Self {
            opened: Instant::now(),
            down: Direction::new(options),
            up: Direction::new(options),
            complete: Notify::new(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    /// An event to be emitted now.
    pub(crate) fn tick(&self, client: usize, number: u32) -> Tick {
        Tick { client: client as u32, number, emitted: self.elapsed().as_micros() as u64 }
    }

    /// A client has heard this.
    pub(crate) fn heard(&self, client: usize, tick: Tick) {
        self.receive(&self.down, client, tick);
    }

    /// A client has said this, and the server has heard it.
    pub(crate) fn said(&self, tick: Tick) {
        self.receive(&self.up, tick.client as usize, tick);
    }

    fn receive(&self, direction: &Direction, client: usize, tick: Tick) {
        let latency = self.elapsed().saturating_sub(Duration::from_micros(tick.emitted));
        direction.receive(client, tick.number, latency);
        if self.is_complete() {
            self.complete.notify_waiters();
        }
    }

    /// Waits until nothing is missing.
    pub(crate) async fn complete(&self) {
        let complete = self.complete.notified(); // before the look: what comes after it is heard
        if !self.is_complete() {
            complete.await;
        }
    }

    fn is_complete(&self) -> bool {
        self.down.received() == self.down.expected() && self.up.received() == self.up.expected()
    }
}

impl Direction {
    fn new(options: &Options) -> Self {
        let streams = (0..options.clients).map(|_| Mutex::new(Sequence::new(options.events)));
        Self {
            streams: streams.collect(),
            events: options.events,
            emitted: AtomicU64::new(0),
            received: AtomicU64::new(0),
            latency: Latency::new(),
        }
    }

    fn receive(&self, client: usize, number: u32, latency: Duration) {
        let Some(stream) = self.streams.get(client) else { return };
        if lock(stream).receive(number) {
            self.received.fetch_add(1, Ordering::Relaxed);
            self.latency.add(latency);
        }
    }

    /// So many events more have been emitted.
    pub(crate) fn emit(&self, events: u64) {
        self.emitted.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Different events that have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// All that should arrive.
    pub(crate) fn expected(&self) -> u64 {
        self.streams.len() as u64 * u64::from(self.events)
    }

    /// The streams as they are now, by their clients.
    pub(crate) fn streams(&self) -> Vec<Sequence> {
        self.streams.iter().map(|stream| lock(stream).clone()).collect()
    }
}

fn lock(stream: &Mutex<Sequence>) -> MutexGuard<'_, Sequence> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
