//! What a check says of itself while it runs.

use super::breach::Breach;
use std::sync::{Mutex, PoisonError};

/// Read when the check failed or hangs.
#[derive(Debug, Default)]
pub(super) struct Log {
    doing: Mutex<String>,
    notes: Mutex<Vec<String>>,
    breach: Mutex<Option<Breach>>,
}

impl Log {
    pub(super) fn begin(&self, doing: String) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    pub(super) fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Says what the wire broke, where whoever sees it is about something else.
    pub(super) fn accuse(&self, breach: Breach) {
        self.breach.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(breach);
    }

    /// What the wire broke first beside what the check was about.
    pub(super) fn accusation(&self) -> Result<(), Breach> {
        let breach = self.breach.lock().unwrap_or_else(PoisonError::into_inner).take();
        breach.map_or(Ok(()), Err)
    }

    /// What the check is about.
    pub(super) fn doing(&self) -> String {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
