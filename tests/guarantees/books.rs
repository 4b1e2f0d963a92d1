//! What was done, and what was told: both outlive every session and every server.

use emitwire::{EventId, Fate};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// What handlers have done, by the number of the order: as good as a database.
#[derive(Clone, Default)]
pub(crate) struct Effects(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Effects {
    pub(crate) fn have(&self, number: u64) {
        *self.0.lock().unwrap().entry(number).or_default() += 1;
    }

    pub(crate) fn of(&self, number: u64) -> u32 {
        self.0.lock().unwrap().get(&number).copied().unwrap_or(0)
    }
}

/// What the one who emits was told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Which order an event is.
    orders: HashMap<EventId, u64>,
    results: BTreeMap<u64, Result<(), String>>,
    fates: HashMap<EventId, Fate>,
    undelivered: BTreeMap<u64, String>,
}

impl Told {
    pub(crate) fn outgoing(&self, id: EventId, number: u64) {
        self.lock().orders.insert(id, number);
    }

    pub(crate) fn result(&self, number: u64, result: Result<(), String>) {
        self.lock().results.insert(number, result);
    }

    pub(crate) fn lost(&self, id: EventId, fate: Fate) {
        self.lock().fates.insert(id, fate);
    }

    pub(crate) fn undelivered(&self, number: u64, why: String) {
        self.lock().undelivered.insert(number, why);
    }

    /// How many emits have ended.
    pub(crate) fn ended(&self) -> usize {
        self.lock().results.len()
    }

    /// Whether its emit ended well.
    pub(crate) fn is_ok(&self, number: u64) -> bool {
        matches!(self.lock().results.get(&number), Some(Ok(())))
    }

    /// What bad news there was of it, in whatever way.
    pub(crate) fn bad_news(&self, number: u64) -> Vec<String> {
        let told = self.lock();
        let result = told.results.get(&number).and_then(|result| result.clone().err());
        let fates = told.fates.iter().filter(|(id, _)| told.orders.get(*id) == Some(&number));
        let fates = fates.map(|(_, fate)| fate.to_string());
        result.into_iter().chain(fates).chain(told.undelivered.get(&number).cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}
