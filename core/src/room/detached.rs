//! What sessions without a link keep, all of them together.

use super::Mailbox;
use crate::protocol::Encoded;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The mailboxes without a link of one server or client, and the bytes that they keep. A body that
/// many of them share counts once; the place in which it waits counts for each of them.
#[derive(Default)]
pub struct Detached {
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
    order: Mutex<Order>,
}

/// What the places of one mailbox take, counted for as long as it has no link.
#[derive(Debug, Default)]
pub(super) struct Places {
    bytes: usize,
    gauge: Option<Arc<AtomicUsize>>,
}

#[derive(Default)]
struct Order {
    /// By the places that they were given.
    seats: HashMap<u64, Seat>,
    /// The places of those that keep something, in the order in which they lost their links; who
    /// has let go of everything once is behind all others.
    turns: BTreeMap<u64, u64>,
    last: u64,
}

struct Seat {
    mailbox: Weak<Mailbox>,
    /// Nothing when it has let go of everything and has not been given anything since.
    turn: Option<u64>,
}

impl Detached {
    /// Together they are to keep no more than so many bytes: `Config::detached_bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// What they keep now, in bytes of bodies and of the places in which these wait; and what was
    /// theirs and others have not let go of.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts a body.
    pub(super) fn charge(&self, encoded: &Encoded) {
        encoded.charge_to(&self.bytes);
    }

    /// The places of a mailbox take so many bytes now.
    pub(super) fn count(&self, places: &mut Places, bytes: usize) {
        if places.bytes != bytes {
            let gauge = places.gauge.get_or_insert_with(|| Arc::clone(&self.bytes));
            gauge.fetch_add(bytes, Ordering::Relaxed);
            gauge.fetch_sub(places.bytes, Ordering::Relaxed);
            places.bytes = bytes;
        }
    }

    /// A mailbox has no link from now on. Says its place, by which it is forgotten.
    #[must_use]
    pub fn enter(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let mut order = self.lock();
        let place = order.next();
        let seat = Seat { mailbox: Arc::downgrade(mailbox), turn: Some(place) };
        order.seats.insert(place, seat);
        order.turns.insert(place, place);
        place
    }

    /// The mailbox there has a link again, or is over.
    pub fn leave(&self, place: u64) {
        let mut order = self.lock();
        if let Some(Seat { turn: Some(turn), .. }) = order.seats.remove(&place) {
            order.turns.remove(&turn);
        }
    }

    /// The mailbox there had let go of everything, and keeps something again.
    pub(super) fn refill(&self, place: u64) {
        let mut order = self.lock();
        let turn = order.next();
        if let Some(seat) = order.seats.get_mut(&place).filter(|seat| seat.turn.is_none()) {
            seat.turn = Some(turn);
            order.turns.insert(turn, place);
        }
    }

    /// Has those that have been without a link for longest let go of their events, until all of
    /// them are within their bound.
    pub fn relieve(&self) {
        while self.is_over() {
            let Some((place, mailbox)) = self.lock().pop_longest() else { return };
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.evict(place);
            }
        }
    }

    /// Whether they keep more than they may.
    pub(super) fn is_over(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Order {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The place and the mailbox whose turn it is to let go of everything.
    fn pop_longest(&mut self) -> Option<(u64, Weak<Mailbox>)> {
        let (_, place) = self.turns.pop_first()?;
        let seat = self.seats.get_mut(&place)?;
        seat.turn = None;
        Some((place, Weak::clone(&seat.mailbox)))
    }
}
