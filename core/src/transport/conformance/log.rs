//! What a check says of itself while it runs.

use std::sync::{Mutex, PoisonError};

/// Read when the check failed or hangs.
#[derive(Debug, Default)]
pub(super) struct Log {
    doing: Mutex<String>,
    notes: Mutex<Vec<String>>,
}

impl Log {
    pub(super) fn begin(&self, doing: String) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    pub(super) fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// What the check is about.
    pub(super) fn doing(&self) -> String {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
