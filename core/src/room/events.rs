//! What happens to rooms, told to whoever wants to know.

use super::{RoomName, shielded};
use crate::protocol::SocketId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that happened to a room: see `Namespace::on_room`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The room came to be: its first member is about to join.
    Created(RoomName),
    /// A socket joined a room.
    Joined(SocketId, RoomName),
    /// A socket left a room, or ended in it.
    Left(SocketId, RoomName),
    /// The room has ceased: its last member has left.
    Deleted(RoomName),
}

/// Somebody who is told of them.
pub(crate) type OnRoom = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// Tells what happens to the rooms of one namespace, one thing after another, in the order in
/// which it happened, and under no lock.
pub(crate) struct RoomEvents {
    tell: OnRoom,
    waiting_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<RoomEvent>,
    /// Somebody tells, and will tell the rest too.
    telling: bool,
}

impl RoomEvents {
    pub(crate) fn new(tell: OnRoom, waiting_max: usize) -> Self {
        Self { tell, waiting_max, state: Mutex::default() }
    }

    /// Whether the hook keeps up, so that what happens now may wait for it.
    pub(super) fn keeps_up(&self) -> bool {
        let keeps_up = self.lock().waiting.len() < self.waiting_max;
        if !keeps_up {
            tracing::warn!("the hook of rooms is too slow: it misses something");
        }
        keeps_up
    }

    /// Puts one more behind the others. Whoever holds the lock on the rooms calls this, and
    /// [`RoomEvents::tell`] when it does not hold it any more.
    pub(super) fn push(&self, event: RoomEvent) {
        self.lock().waiting.push_back(event);
    }

    /// Tells what waits, unless somebody does.
    pub(super) fn tell(&self) {
        if std::mem::replace(&mut self.lock().telling, true) {
            return;
        }
        loop {
            let event = {
                let mut state = self.lock();
                let event = state.waiting.pop_front();
                state.telling = event.is_some();
                event
            };
            let Some(event) = event else { return };
            shielded("room", || (self.tell)(&event));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
