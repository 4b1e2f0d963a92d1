//! Configurations that were made, so that what each remembers of servers is found again.

use super::TlsError;
use rustls::sign::CertifiedKey;
use std::sync::{Arc, Mutex, PoisonError};

/// One for each protocol spoken inside, for as long as this side shows the same certificate: who
/// comes back without a whole handshake shows none, and stays who it was. Clones are the same.
#[derive(Clone)]
pub(super) struct Made<T>(Arc<Mutex<Vec<Entry<T>>>>);

struct Entry<T> {
    protocol: &'static [u8],
    shows: Option<Arc<CertifiedKey>>,
    made: T,
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Made<T> {
    /// What was made before, or what is made now.
    pub(super) fn get(
        &self,
        protocol: &'static [u8],
        shows: Option<Arc<CertifiedKey>>,
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<T, TlsError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |entry: &&Entry<T>| match (&entry.shows, &shows) {
            (Some(former), Some(now)) => Arc::ptr_eq(former, now),
            (former, now) => former.is_none() && now.is_none(),
        };
        let mut of_protocol = entries.iter().filter(|entry| entry.protocol == protocol);
        if let Some(entry) = of_protocol.find(is_same) {
            return Ok(entry.made.clone());
        }
        let made = make()?;
        entries.retain(|entry| entry.protocol != protocol);
        entries.push(Entry { protocol, shows, made: made.clone() });
        Ok(made)
    }
}
