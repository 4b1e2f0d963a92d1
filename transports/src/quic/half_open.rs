//! How many handshakes a socket has that are neither over nor given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The handshakes of a socket. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Handshakes(Arc<State>);

#[derive(Default)]
struct State {
    count: AtomicUsize,
    none: Notify,
}

impl Handshakes {
    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// One more, until what is returned is dropped.
    pub(super) fn begin(&self) -> HalfOpen {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        HalfOpen(self.clone())
    }

    /// Waits until there is none.
    pub(super) async fn none(&self) {
        loop {
            // Before the look, so that none is missed that ends meanwhile.
            let none = self.0.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Counts a handshake.
pub(super) struct HalfOpen(Handshakes);

impl Drop for HalfOpen {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.none.notify_waiters();
        }
    }
}
