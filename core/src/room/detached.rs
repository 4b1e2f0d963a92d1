//! What sessions without a link keep, all of them together.

use super::Mailbox;
use crate::protocol::{DisconnectReason, Encoded};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The mailboxes without a link of one server or client, and the bytes that they keep. A body that
/// many of them share counts once.
#[derive(Default)]
pub struct Detached {
    count_max: usize,
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
    /// All of them have let go, and it was not enough: below this nobody is asked again.
    hopeless_below: AtomicUsize,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    /// In the order in which they lost their links.
    mailboxes: BTreeMap<u64, Weak<Mailbox>>,
    last: u64,
}

impl Detached {
    /// There are to be no more than so many of them, and together they are to keep no more than so
    /// many bytes: `Config::detached_max` and `Config::detached_bytes_max`.
    #[must_use]
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { count_max, bytes_max, ..Self::default() }
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

    /// A mailbox has no link from now on. Says its place, by which it is forgotten. If that is one
    /// too many, the session that has been without a link for longest ends.
    #[must_use]
    pub fn enter(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let mut order = self.lock();
        order.last += 1;
        let place = order.last;
        let is_full = order.mailboxes.len() >= self.count_max;
        let longest = if is_full { order.mailboxes.pop_first() } else { None };
        order.mailboxes.insert(place, Arc::downgrade(mailbox));
        drop(order);
        if let Some(longest) = longest.and_then(|(_, mailbox)| mailbox.upgrade()) {
            longest.shut(&DisconnectReason::LinkLost);
        }
        place
    }

    /// The mailbox there has a link again, or is over.
    pub fn leave(&self, place: u64) {
        self.lock().mailboxes.remove(&place);
    }

    /// Has those that have been without a link for longest let go of their events, until all of
    /// them are within their bound. What others keep too does not go by that: then they are asked
    /// again when there is more.
    pub fn relieve(&self) {
        if !self.is_over() {
            self.hopeless_below.store(0, Ordering::Relaxed);
            return;
        }
        if self.bytes() < self.hopeless_below.load(Ordering::Relaxed) {
            return;
        }
        let mut place = 0;
        while self.is_over() {
            let next =
                self.lock().mailboxes.range(place..).next().map(|(at, it)| (*at, it.clone()));
            let Some((at, mailbox)) = next else {
                let more = self.bytes() / 16 + 1;
                self.hopeless_below.store(self.bytes().saturating_add(more), Ordering::Relaxed);
                return;
            };
            place = at + 1;
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.evict();
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
