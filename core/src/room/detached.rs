//! What sessions without a link keep, all of them together.

use super::Mailbox;
use crate::protocol::Encoded;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The mailboxes without a link of one server or client, and the bytes that they keep. A body that
/// many of them share counts once.
#[derive(Default)]
pub struct Detached {
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    /// In the order in which they lost their links.
    mailboxes: BTreeMap<u64, Weak<Mailbox>>,
    /// Those that have let go of everything and have not been given anything since.
    empty: HashMap<u64, Weak<Mailbox>>,
    last: u64,
}

impl Detached {
    /// Together they are to keep no more than so many bytes: `Config::detached_bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// What they keep now, in bytes of bodies, and what was theirs and others have not let go of.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts a body.
    pub(super) fn charge(&self, encoded: &Encoded) {
        encoded.charge_to(&self.bytes);
    }

    /// A mailbox has no link from now on. Says its place, by which it is forgotten.
    #[must_use]
    pub fn enter(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let mut order = self.lock();
        order.last += 1;
        let place = order.last;
        order.mailboxes.insert(place, Arc::downgrade(mailbox));
        place
    }

    /// The mailbox there has a link again, or is over.
    pub fn leave(&self, place: u64) {
        let mut order = self.lock();
        order.mailboxes.remove(&place);
        order.empty.remove(&place);
    }

    /// The mailbox there had let go of everything, and keeps something again.
    pub(super) fn refill(&self, place: u64) {
        let mut order = self.lock();
        if let Some(mailbox) = order.empty.remove(&place) {
            order.mailboxes.insert(place, mailbox);
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

impl Order {
    /// The one that has been without a link for longest, which is empty from now on.
    fn pop_longest(&mut self) -> Option<(u64, Weak<Mailbox>)> {
        let (place, mailbox) = self.mailboxes.pop_first()?;
        self.empty.insert(place, Weak::clone(&mailbox));
        Some((place, mailbox))
    }
}
