//! What sessions without a link keep, all of them together.

use super::Mailbox;
use crate::protocol::{DisconnectReason, Encoded};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The mailboxes without a link of one server or client, and the bytes that they keep. A body that
/// many of them share counts once, the place in which it waits for each of them.
#[derive(Default)]
pub struct Detached {
    count_max: usize,
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
    /// All of them have let go, and it was not enough: from here to there nobody is asked again.
    hopeless_at: AtomicUsize,
    hopeless_below: AtomicUsize,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    /// By their places, which are in the order in which they lost their links.
    seats: BTreeMap<u64, Seat>,
    /// The places of those that are to let go next, by their turns: who has let go is behind the
    /// others, so that nobody is asked again and again for the little that came since.
    turns: BTreeMap<u64, u64>,
    last: u64,
}

struct Seat {
    mailbox: Weak<Mailbox>,
    turn: u64,
}

impl Detached {
    /// There are to be no more than so many of them, and together they are to keep no more than so
    /// many bytes: `Config::detached_max` and `Config::detached_bytes_max`.
    #[must_use]
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { count_max, bytes_max, ..Self::default() }
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

    /// The places of a mailbox took so many bytes, and take so many now.
    pub(super) fn recount(&self, before: usize, now: usize) {
        if now > before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if before > now {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// A mailbox has no link from now on. Says its place, by which it is forgotten. If that is one
    /// too many, the session that has been without a link for longest ends.
    #[must_use]
    pub fn enter(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let mut order = self.lock();
        let is_full = order.seats.len() >= self.count_max;
        let longest = if is_full { order.pop_longest() } else { None };
        let place = order.next();
        order.seats.insert(place, Seat { mailbox: Arc::downgrade(mailbox), turn: place });
        order.turns.insert(place, place);
        drop(order);
        if let Some(longest) = longest.and_then(|mailbox| mailbox.upgrade()) {
            longest.shut(&DisconnectReason::LinkLost);
        }
        place
    }

    /// The mailbox there has a link again, or is over.
    pub fn leave(&self, place: u64) {
        self.lock().remove(place);
    }

    /// Has those that have been without a link for longest let go of their events, until all of
    /// them are within their bound. What others keep too does not go by that: then they are asked
    /// again when there is more.
    pub fn relieve(&self) {
        let mut asked = 0;
        while self.wants_relief() {
            let next = {
                let mut order = self.lock();
                if asked < order.seats.len() { order.take_turn() } else { None }
            };
            let Some(mailbox) = next else {
                let at = self.bytes();
                self.hopeless_at.store(at, Ordering::Relaxed);
                self.hopeless_below.store(at.saturating_add(at / 16 + 1), Ordering::Relaxed);
                return;
            };
            asked += 1;
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.evict();
            }
        }
    }

    /// Whether they keep more than they may, and somebody can do something about it.
    pub(super) fn wants_relief(&self) -> bool {
        let bytes = self.bytes();
        bytes > self.bytes_max
            && (bytes < self.hopeless_at.load(Ordering::Relaxed)
                || bytes >= self.hopeless_below.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn remove(&mut self, place: u64) -> Option<Weak<Mailbox>> {
        let Seat { mailbox, turn } = self.seats.remove(&place)?;
        self.turns.remove(&turn);
        Some(mailbox)
    }

    fn pop_longest(&mut self) -> Option<Weak<Mailbox>> {
        let place = *self.seats.first_key_value()?.0;
        self.remove(place)
    }

    /// Whose turn it is, which comes again after all others.
    fn take_turn(&mut self) -> Option<Weak<Mailbox>> {
        let (_, place) = self.turns.pop_first()?;
        let turn = self.next();
        self.turns.insert(turn, place);
        let seat = self.seats.get_mut(&place)?;
        seat.turn = turn;
        Some(Weak::clone(&seat.mailbox))
    }
}
