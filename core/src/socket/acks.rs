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

    /// Whoever waited has let go of what this gave out, and is not interested any more.
    pub(crate) fn forget(&self, id: EventId) {
        let mut waiting = self.lock();
        // Another attempt with the same event may wait in its place.
        if waiting.answers.get(&id).is_some_and(oneshot::Sender::is_closed) {
            waiting.answers.remove(&id);
        }
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
        let answers = {
            let mut waiting = self.lock();
            waiting.closed = true;
            std::mem::take(&mut waiting.answers)
        };
        // In the order of the events, so that what follows from it is the same each time.
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.sort_unstable_by_key(|(id, _)| *id);
        answers.into_iter().for_each(drop);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
