//! Parked events: they arrived before anybody listened.

use crate::protocol::Event;
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
    events: VecDeque<(Instant, Event)>,
    bytes: usize,
    keeper: Option<AbortHandle>,
}

/// What has to happen to an event that is parked no more.
pub(super) enum Due {
    /// Somebody hears it now.
    Heard(Event),
    /// It has waited long enough.
    Expired(Event),
}

impl Park {
    /// Parks an event until `deadline`, if there is room.
    pub(super) fn admit(
        &self,
        event: Event,
        deadline: Instant,
        events_max: usize,
        bytes_max: usize,
    ) -> bool {
        let mut parked = self.lock();
        let place = parked.get_or_insert_default();
        let bytes = place.bytes + event.bytes();
        if place.events.len() >= events_max || bytes > bytes_max {
            return false;
        }
        place.bytes = bytes;
        // What waits here for long is not to keep alive all that was read with it.
        let (name, payload) = (event.name.detached(), event.payload.detached());
        place.events.push_back((deadline, Event { name, payload, ..event }));
        true
    }

    /// Has somebody look after the events, unless somebody does.
    pub(super) fn keep(&self, spawn: impl FnOnce() -> AbortHandle) {
        if let Some(place) = &mut *self.lock() {
            place.keeper.get_or_insert_with(spawn);
        }
    }

    /// The socket has ended, nobody will hear them; says how many.
    pub(super) fn clear(&self) -> u64 {
        let Some(parked) = self.lock().take() else { return 0 };
        if let Some(keeper) = parked.keeper {
            keeper.abort();
        }
        parked.events.len() as u64
    }

    /// Takes out what is heard now or has waited long enough; says when the next one has. With
    /// the last event its keeper is forgotten.
    pub(super) fn take_due(
        &self,
        now: Instant,
        hears: impl Fn(&str) -> bool,
    ) -> (Vec<Due>, Option<Instant>) {
        let mut parked = self.lock();
        let Some(place) = &mut *parked else { return (Vec::new(), None) };
        let mut due = Vec::new();
        for (deadline, event) in std::mem::take(&mut place.events) {
            if hears(&event.name) {
                due.push(Due::Heard(event));
            } else if deadline <= now {
                due.push(Due::Expired(event));
            } else {
                place.events.push_back((deadline, event));
            }
        }
        place.bytes = place.events.iter().map(|(_, event)| event.bytes()).sum();
        let next = place.events.iter().map(|(deadline, _)| *deadline).min();
        if next.is_none() {
            *parked = None;
        }
        (due, next)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Parked>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
