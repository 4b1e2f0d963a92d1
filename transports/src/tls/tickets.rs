//! Tickets with which clients come back without a whole handshake, until the certificate is
//! renewed: who comes by one is shown no certificate, and so would not notice another.

use super::identity::Identity;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use std::sync::Arc;

/// Those of one server configuration. Servers that share their certificate do not share these: one
/// of them may let in whom another does not.
#[derive(Debug)]
pub(super) struct Tickets {
    identity: Identity,
    all: Arc<ServerSessionMemoryCache>,
}

impl Tickets {
    pub(super) fn of(identity: &Identity) -> Arc<Self> {
        Arc::new(Self {
            identity: identity.clone(),
            all: ServerSessionMemoryCache::new(TICKETS_MAX),
        })
    }

    /// What was given under an earlier certificate is not found any more, and makes way for others.
    fn now(&self, key: &[u8]) -> Vec<u8> {
        [&self.identity.renewals().to_be_bytes(), key].concat()
    }
}

impl StoresServerSessions for Tickets {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.all.put(self.now(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.get(&self.now(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.take(&self.now(key))
    }

    fn can_cache(&self) -> bool {
        self.all.can_cache()
    }
}

/// As many as rustls keeps.
const TICKETS_MAX: usize = 256;
