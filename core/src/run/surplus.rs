//! Links that came to a server when it had no place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of them, until it is known whether it has a place.
pub(super) struct Surplus(Arc<AtomicUsize>);

impl Surplus {
    /// Counts it here for as long as it lives.
    pub(super) fn of(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Surplus {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
