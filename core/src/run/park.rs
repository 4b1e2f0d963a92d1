//! Parked events: they arrived before anybody listened.

use super::lane::{Job, Lane};
use crate::handler::Listening;
use crate::protocol::{Credit, Event, Nak};
use crate::room::Counters;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
enum Due {
    Heard(Event),
    Expired(Event),
}

impl Park {
    /// Parks an event for at most `ttl`.
    ///
    /// # Errors
    /// The event comes back when the socket has parked as much as it may.
    pub(super) fn admit(lane: &Arc<Lane>, event: Event, ttl: Duration) -> Result<(), Event> {
        let mut parked = lane.park.lock();
        let place = parked.get_or_insert_default();
        let bytes = place.bytes + event.bytes();
        if place.events.len() >= lane.config.parked_events_max
            || bytes > lane.config.parked_bytes_max
        {
            return Err(event);
        }
        place.bytes = bytes;
        let event = Event { payload: event.payload.detached(), ..event };
        place.events.push_back((Instant::now() + ttl, event));
        if place.keeper.is_none() {
            let changed = lane.mounted.blueprint.emitter.changed();
            place.keeper = Some(tokio::spawn(keep(Arc::clone(lane), changed)).abort_handle());
        }
        lane.socket.session().counters.parked.add(1);
        Ok(())
    }

    /// The socket has ended: nobody will hear them.
    pub(super) fn clear(&self, counters: &Counters) {
        if let Some(parked) = self.lock().take() {
            counters.parked.sub(parked.events.len() as u64);
            counters.cancelled.add(parked.events.len() as u64);
            if let Some(keeper) = parked.keeper {
                keeper.abort();
            }
        }
    }

    /// Takes out what is heard now or has waited long enough; when the next one has.
    fn take_due(&self, hears: impl Fn(&str) -> bool) -> (Vec<Due>, Option<Instant>) {
        let mut parked = self.lock();
        let Some(place) = &mut *parked else { return (Vec::new(), None) };
        let now = Instant::now();
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

/// Looks again whenever a listener is added or an event has waited long enough, until none is
/// left.
async fn keep(lane: Arc<Lane>, mut changed: Listening) {
    loop {
        let emitter = &lane.mounted.blueprint.emitter;
        let (due, next) = lane.park.take_due(|name| emitter.hears(name));
        lane.socket.session().counters.parked.sub(due.len() as u64);
        for due in due {
            match due {
                Due::Heard(event) => lane.push(Job::Event { event, credit: Credit::default() }),
                Due::Expired(event) => {
                    let nothing = Credit::default();
                    lane.answer(event.id, event.wants_ack, Err(Nak::NoHandler), nothing);
                }
            }
        }
        let Some(next) = next else { return };
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}
