//! Emitters that wait for room, served in the order of asking.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue.
pub type Ticket = u64;

/// The queue; it has no memory of its own until somebody waits.
#[derive(Default)]
pub(super) struct Waiters {
    queue: Option<Box<VecDeque<(Ticket, Waker)>>>,
    next: Ticket,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Whether the holder of this ticket, or someone without one, may go now.
    pub(super) fn is_next(&self, ticket: Option<Ticket>) -> bool {
        match (&self.queue, ticket) {
            (None, _) => true,
            (Some(queue), ticket) => queue.front().map(|(first, _)| *first) == ticket,
        }
    }

    /// Takes or keeps a place, and remembers whom to wake.
    pub(super) fn wait(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) {
        let queue = self.queue.get_or_insert_default();
        if let Some(place) = queue.iter_mut().find(|(place, _)| Some(*place) == *ticket) {
            place.1.clone_from(waker);
            return;
        }
        let place = *ticket.insert(self.next);
        self.next += 1;
        queue.push_back((place, waker.clone()));
    }

    pub(super) fn leave(&mut self, ticket: Option<Ticket>) {
        if let Some(queue) = &mut self.queue {
            queue.retain(|(place, _)| Some(*place) != ticket);
            if queue.is_empty() {
                self.queue = None;
            }
        }
    }

    pub(super) fn wake_next(&self) {
        if let Some((_, waker)) = self.queue.as_ref().and_then(|queue| queue.front()) {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&self) {
        for (_, waker) in self.queue.iter().flat_map(|queue| queue.iter()) {
            waker.wake_by_ref();
        }
    }
}
