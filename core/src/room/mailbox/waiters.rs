//! Emitters that wait for room, served in the order of asking.

use std::collections::BTreeMap;
use std::task::Waker;

/// A place in the queue.
pub type Ticket = u64;

/// The queue; it has no memory of its own while nobody waits.
#[derive(Default)]
pub(super) struct Waiters {
    queue: BTreeMap<Ticket, Waker>,
    next: Ticket,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the holder of this ticket, or someone without one, may go now.
    pub(super) fn is_next(&self, ticket: Option<Ticket>) -> bool {
        self.queue.first_key_value().is_none_or(|(first, _)| Some(*first) == ticket)
    }

    /// Takes or keeps a place, and remembers whom to wake.
    pub(super) fn wait(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) {
        let place = *ticket.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.queue.insert(place, waker.clone());
    }

    pub(super) fn leave(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.queue.remove(&ticket);
        }
    }

    pub(super) fn wake_next(&self) {
        if let Some((_, waker)) = self.queue.first_key_value() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&self) {
        for waker in self.queue.values() {
            waker.wake_by_ref();
        }
    }
}
