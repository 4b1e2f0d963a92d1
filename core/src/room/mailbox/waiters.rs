//! Emitters that wait for room, served in the order of asking.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue.
pub type Ticket = u64;

/// The queue; it has no memory of its own until somebody waits.
#[derive(Default)]
pub(super) struct Waiters {
    queue: VecDeque<(Ticket, Waker)>,
    next: Ticket,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the holder of this ticket, or someone without one, may go now.
    pub(super) fn is_next(&self, ticket: Option<Ticket>) -> bool {
        self.queue.front().is_none_or(|(first, _)| Some(*first) == ticket)
    }

    /// Takes or keeps a place, and remembers whom to wake.
    pub(super) fn wait(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) {
        if let Some(place) = self.queue.iter_mut().find(|(place, _)| Some(*place) == *ticket) {
            place.1.clone_from(waker);
            return;
        }
        let place = *ticket.insert(self.next);
        self.next += 1;
        self.queue.push_back((place, waker.clone()));
    }

    pub(super) fn leave(&mut self, ticket: Option<Ticket>) {
        self.queue.retain(|(place, _)| Some(*place) != ticket);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    pub(super) fn wake_next(&self) {
        if let Some((_, waker)) = self.queue.front() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&self) {
        for (_, waker) in &self.queue {
            waker.wake_by_ref();
        }
    }
}
