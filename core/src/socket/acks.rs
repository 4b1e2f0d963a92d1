//! Who waits for which answer.

use crate::protocol::EventId;
use crate::room::Answer;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The waiting emits of one session. Bounded: each holds an accepted event or a place in line.
#[derive(Default)]
pub(crate) struct Acks {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<EventId, oneshot::Sender<Answer>>,
    closed: bool,
}

impl Acks {
    /// Registers before the event is written, so that no answer can be too early.
    pub(crate) fn expect(&self, id: EventId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.answers.insert(id, sender);
        }
        receiver
    }

    /// Nobody is interested any more.
    pub(crate) fn forget(&self, id: EventId) {
        self.lock().answers.remove(&id);
    }

    /// The answer is here; it comes back when nobody waits for it.
    pub(crate) fn resolve(&self, id: EventId, answer: Answer) -> Result<(), Answer> {
        let Some(sender) = self.lock().answers.remove(&id) else { return Err(answer) };
        // The waiter may have gone between the two lines.
        let _ = sender.send(answer);
        Ok(())
    }

    /// No answer will come any more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.answers = HashMap::new();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
