//! One after another: who waits for whom.

use emitwire_core::protocol::SocketId;
use emitwire_core::socket::{Envelope, Socket};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The events that are in nobody's way: those of another socket, or of another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Socket(SocketId),
    Broadcasts(Box<str>),
}

/// One event of each lane at a time, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Order(Mutex<Lanes>);

#[derive(Debug, Default)]
struct Lanes {
    lanes: HashMap<Lane, Weak<Semaphore>>,
    /// Lanes that are not in use any more are looked for when there are more than this.
    sweep_at: usize,
}

impl Order {
    /// Waits until the events before it are done with.
    pub(super) async fn turn(&self, envelope: &Envelope) -> Option<OwnedSemaphorePermit> {
        let lane = match envelope.socket().map(Socket::id) {
            Some(socket) => Lane::Socket(socket),
            None => Lane::Broadcasts(envelope.namespace().into()),
        };
        // It is never closed.
        self.lane(lane).acquire_owned().await.ok()
    }

    fn lane(&self, lane: Lane) -> Arc<Semaphore> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = state.lanes.get(&lane).and_then(Weak::upgrade) {
            return used;
        }
        if state.lanes.len() >= state.sweep_at {
            state.lanes.retain(|_, lane| lane.strong_count() > 0);
            state.sweep_at = 16 + 2 * state.lanes.len();
        }
        let new = Arc::new(Semaphore::new(1));
        state.lanes.insert(lane, Arc::downgrade(&new));
        new
    }
}
