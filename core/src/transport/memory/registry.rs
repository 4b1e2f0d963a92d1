//! Which names are bound in this process, and the door behind each.

use super::connection::{Connection, Wire};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What a client finds behind a name.
#[derive(Clone)]
pub(super) struct Door {
    /// What the listener says that its connections are.
    pub(super) wire: Wire,
    /// Connections that wait for `accept`.
    pub(super) arrivals: mpsc::Sender<Connection>,
    /// Connections that arrived so far: their numbers.
    pub(super) count: Arc<AtomicU64>,
}

/// Takes the name, unless somebody has it.
pub(super) fn claim(name: &Arc<str>, door: Door) -> bool {
    let mut doors = lock();
    let is_free = !doors.contains_key(name);
    if is_free {
        doors.insert(Arc::clone(name), door);
    }
    is_free
}

/// The door behind a name.
pub(super) fn find(name: &str) -> Option<Door> {
    lock().get(name).cloned()
}

/// Gives the name back. Only who claimed it may.
pub(super) fn release(name: &str) {
    let door = lock().remove(name);
    // The last sender takes the connections that nobody accepted along; not under the lock.
    drop(door);
}

fn lock() -> MutexGuard<'static, BTreeMap<Arc<str>, Door>> {
    DOORS.lock().unwrap_or_else(PoisonError::into_inner)
}

static DOORS: Mutex<BTreeMap<Arc<str>, Door>> = Mutex::new(BTreeMap::new());
