//! Events of which only the newest matters: which one waits under which key.

use crate::protocol::{Encoded, NamespaceNumber};
use std::collections::HashMap;
use std::sync::Arc;

/// What an event is the newest of: a key of the application's, within one socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LatestKey {
    namespace: NamespaceNumber,
    key: Arc<str>,
}

impl LatestKey {
    /// The key in the socket that this side numbers so.
    #[must_use]
    pub fn new(namespace: NamespaceNumber, key: &str) -> Self {
        Self { namespace, key: key.into() }
    }

    /// The key, as the application says it.
    pub(crate) fn text(&self) -> &str {
        &self.key
    }

    /// The same key in another socket, which this side numbers so.
    pub(crate) fn readdressed(&self, namespace: NamespaceNumber) -> Self {
        Self { namespace, key: Arc::clone(&self.key) }
    }
}

/// The events that wait under a key, found by the key and by themselves.
#[derive(Default)]
pub(super) struct Latest {
    by_key: HashMap<LatestKey, Encoded>,
    by_address: HashMap<usize, LatestKey>,
}

impl Latest {
    /// The event waits from now on; says which one it makes needless.
    pub(super) fn insert(&mut self, key: &LatestKey, encoded: &Encoded) -> Option<Encoded> {
        let older = self.by_key.insert(key.clone(), encoded.clone());
        if let Some(older) = &older {
            self.by_address.remove(&older.address());
        }
        self.by_address.insert(encoded.address(), key.clone());
        older
    }

    pub(super) fn get(&self, key: &LatestKey) -> Option<&Encoded> {
        self.by_key.get(key)
    }

    /// The event waits no more.
    pub(super) fn remove(&mut self, encoded: &Encoded) {
        if let Some(key) = self.by_address.remove(&encoded.address()) {
            self.by_key.remove(&key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
