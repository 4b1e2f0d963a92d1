//! Which event of a key is the newest that was accepted, for those that may be tried again: an
//! older one is not to take its place.

use crate::room::LatestKey;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keys of one session whose events are on their way through layers. Bounded by those.
#[derive(Default)]
pub(crate) struct Newest(Mutex<HashMap<LatestKey, Key>>);

#[derive(Default)]
struct Key {
    /// How many of its events are on their way.
    emits: usize,
    /// The number of the newest that was accepted meanwhile.
    newest: u64,
}

impl Newest {
    /// An event of the key begins its way.
    pub(super) fn enter(&self, key: &LatestKey) {
        self.lock().entry(key.clone()).or_default().emits += 1;
    }

    /// It will not be tried again.
    pub(super) fn leave(&self, key: &LatestKey) {
        let mut keys = self.lock();
        let Some(known) = keys.get_mut(key) else { return };
        known.emits -= 1;
        if known.emits == 0 {
            keys.remove(key);
        }
    }

    /// The event of this number is in the mailbox.
    pub(super) fn accepted(&self, key: &LatestKey, number: u64) {
        if let Some(known) = self.lock().get_mut(key) {
            known.newest = known.newest.max(number);
        }
    }

    /// Whether a newer one than this has been accepted.
    pub(super) fn is_older(&self, key: &LatestKey, number: u64) -> bool {
        self.lock().get(key).is_some_and(|known| known.newest > number)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LatestKey, Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NamespaceNumber;

    #[test]
    fn the_newest_is_known_for_as_long_as_an_event_of_its_key_is_on_its_way() {
        let (newest, key) = (Newest::default(), LatestKey::new(NamespaceNumber(1), "price"));
        newest.enter(&key);
        newest.enter(&key);
        newest.accepted(&key, 7);
        newest.leave(&key);
        assert!(newest.is_older(&key, 6));
        assert!(!newest.is_older(&key, 7) && !newest.is_older(&key, 8));
        newest.accepted(&key, 5);
        assert!(newest.is_older(&key, 6), "an older one changes nothing");
        newest.leave(&key);
        assert!(!newest.is_older(&key, 6));
        assert!(newest.lock().is_empty(), "nothing is kept of keys that nobody emits to");
    }
}
