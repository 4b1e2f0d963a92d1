//! Parked events: they arrived before anybody listened.

use super::answer::Owed;
use crate::protocol::{Event, EventName};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The parked events of one socket; without memory while there are none.
#[derive(Default)]
pub(super) struct Park {
    parked: Mutex<Option<Box<Parked>>>,
}

#[derive(Default)]
struct Parked {
    events: VecDeque<ParkedEvent>,
    bytes: usize,
    keeper: Option<AbortHandle>,
}

/// An event that waits for a listener.
pub(super) struct ParkedEvent {
    pub(super) event: Event,
    pub(super) owed: Owed,
    /// When it has waited long enough.
    pub(super) deadline: Instant,
}

/// What has to happen to an event that is parked no more.
pub(super) enum Due {
    /// Somebody hears it now.
    Heard(ParkedEvent),
    /// It has waited long enough.
    Expired(Owed),
}

impl Park {
    /// Parks an event; what it is owed comes back when there is no room.
    pub(super) fn admit(
        &self,
        parked: ParkedEvent,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<Owed> {
        let mut place = self.lock();
        let place = place.get_or_insert_default();
        let bytes = place.bytes + parked.event.bytes();
        if place.events.len() >= events_max || bytes > bytes_max {
            return Some(parked.owed);
        }
        place.bytes = bytes;
        // One that comes back goes where it was.
        let id = parked.event.id;
        let is_later = |other: &ParkedEvent| {
            other.event.id.producer == id.producer && other.event.id.number > id.number
        };
        let at = place.events.iter().position(is_later).unwrap_or(place.events.len());
        place.events.insert(at, parked);
        None
    }

    /// Has somebody look after the events, unless somebody does.
    pub(super) fn keep(&self, spawn: impl FnOnce() -> AbortHandle) {
        if let Some(place) = &mut *self.lock() {
            place.keeper.get_or_insert_with(spawn);
        }
    }

    /// The socket has ended, nobody will hear them: who lets go of them answers them.
    pub(super) fn clear(&self) -> VecDeque<ParkedEvent> {
        let Some(parked) = self.lock().take() else { return VecDeque::new() };
        if let Some(keeper) = parked.keeper {
            keeper.abort();
        }
        parked.events
    }

    /// Whether an event of this name is parked.
    pub(super) fn holds(&self, name: &str) -> bool {
        let parked = self.lock();
        parked.as_ref().is_some_and(|it| it.events.iter().any(|it| it.event.name == *name))
    }

    /// Takes out what is heard now or has waited long enough.
    pub(super) fn take_due(
        &self,
        now: Instant,
        mut hears: impl FnMut(&EventName) -> bool,
    ) -> Vec<Due> {
        let mut parked = self.lock();
        let Some(place) = &mut *parked else { return Vec::new() };
        let mut due = Vec::new();
        for parked in std::mem::take(&mut place.events) {
            if hears(&parked.event.name) {
                due.push(Due::Heard(parked));
            } else if parked.deadline <= now {
                due.push(Due::Expired(parked.owed));
            } else {
                place.events.push_back(parked);
            }
        }
        place.bytes = place.events.iter().map(|parked| parked.event.bytes()).sum();
        due
    }

    /// When the next event has waited long enough. With the last event its keeper is forgotten, who
    /// asks this.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let mut parked = self.lock();
        let next = parked.as_ref()?.events.iter().map(|parked| parked.deadline).min();
        if next.is_none() {
            *parked = None;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Parked>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
