//! Who is told of each event that goes out.

use super::{ListenError, ListenerId};
use crate::protocol::Event;
use crate::room::shielded;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Somebody who is told of each event that goes out.
pub(crate) type OnOutgoing = Arc<dyn Fn(&Event) + Send + Sync>;

/// Who is told of each event that goes out. Most often nobody, which costs one look.
#[derive(Default)]
pub(crate) struct Outgoing {
    count: AtomicUsize,
    told: RwLock<Told>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Tells all of them, in order.
    pub(crate) fn tell(&self, event: &Event) {
        let told: Vec<_> = self.read().iter().map(|(_, tell)| Arc::clone(tell)).collect();
        told.iter().for_each(|tell| shielded("any outgoing", || tell(event)));
    }

    pub(super) fn add(&self, tell: OnOutgoing, max: usize) -> Result<ListenerId, ListenError> {
        let id = ListenerId::next();
        let mut told = self.write();
        if told.len() >= max {
            return Err(ListenError::TooMany { max });
        }
        told.push((id, tell));
        self.count.store(told.len(), Ordering::Relaxed);
        Ok(id)
    }

    pub(super) fn remove(&self, id: ListenerId) -> bool {
        if self.is_empty() {
            return false;
        }
        let removed = {
            let mut told = self.write();
            let place = told.iter().position(|(known, _)| *known == id);
            let removed = place.map(|place| told.remove(place));
            self.count.store(told.len(), Ordering::Relaxed);
            removed
        };
        removed.is_some()
    }

    pub(super) fn take(&self) -> Told {
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut *self.write())
    }

    fn read(&self) -> RwLockReadGuard<'_, Told> {
        self.told.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Told> {
        self.told.write().unwrap_or_else(PoisonError::into_inner)
    }
}

type Told = Vec<(ListenerId, OnOutgoing)>;
