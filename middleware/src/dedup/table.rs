//! What was handled, and what is being handled.

use super::Key;
use crate::moment_after;
use emitwire_core::protocol::Nak;
use emitwire_core::socket::Ack;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a handler says.
pub(super) type Answer = Result<Ack, Nak>;

/// Where a running handler's answer will be; `None` until then.
pub(super) type Awaited = watch::Receiver<Option<Answer>>;

/// About what an entry costs beside its key and answer.
const ENTRY_BYTES: usize = 128;

/// How long a peer is told to wait when nobody knows when there will be room.
const BUSY: Duration = Duration::from_secs(1);

/// The bounds of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) horizon: Duration,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Table(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Those that are answered, the oldest first.
    answered: VecDeque<(Instant, Key)>,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Running(Awaited),
    Answered(Answer),
}

/// What is known of an event that has come.
pub(super) enum Known {
    /// Nothing: this one is to be handled.
    New(Running),
    /// It is being handled.
    Running(Awaited),
    Answered(Answer),
    /// No more can be remembered.
    Full {
        retry_after: Duration,
    },
}

impl Table {
    pub(super) fn look_up(self: &Arc<Self>, key: Key, bounds: &Bounds) -> Known {
        let now = Instant::now();
        let mut state = self.lock();
        state.forget_old(now);
        match state.entries.get(&key) {
            Some(Entry::Running(awaited)) => return Known::Running(awaited.clone()),
            Some(Entry::Answered(answer)) => return Known::Answered(answer.clone()),
            None => {}
        }
        let bytes = ENTRY_BYTES + key.len();
        if state.entries.len() >= bounds.entries_max || state.bytes + bytes > bounds.bytes_max {
            let oldest = state.answered.front().map(|(until, _)| *until - now);
            return Known::Full { retry_after: oldest.unwrap_or(BUSY) };
        }
        let (answer, awaited) = watch::channel(None);
        state.bytes += bytes;
        state.entries.insert(key.clone(), Entry::Running(awaited));
        Known::New(Running { table: Arc::clone(self), key, answer, horizon: bounds.horizon })
    }

    /// How many are remembered or running, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut state = self.lock();
        state.forget_old(Instant::now());
        (state.entries.len(), state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_old(&mut self, now: Instant) {
        while let Some((until, _)) = self.answered.front() {
            if *until > now {
                return;
            }
            if let Some((_, key)) = self.answered.pop_front() {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + key.len() + entry.bytes());
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Running(_) => 0,
            Self::Answered(answer) => bytes_of(answer),
        }
    }
}

fn bytes_of(answer: &Answer) -> usize {
    match answer {
        Ok(ack) => ack.payload().len(),
        Err(Nak::Rejected(payload)) => payload.len(),
        Err(_) => 0,
    }
}

/// A handler that runs. Dropped without an answer, it was cancelled or has panicked: then nothing
/// is known of the event any more.
pub(super) struct Running {
    table: Arc<Table>,
    key: Key,
    answer: watch::Sender<Option<Answer>>,
    horizon: Duration,
}

impl Running {
    /// Where its answer will be.
    pub(super) fn awaited(&self) -> Awaited {
        self.answer.subscribe()
    }

    /// It has answered. Only what another attempt could not better is remembered.
    pub(super) fn finish(self, answer: Answer) {
        let is_final = answer.as_ref().err().is_none_or(|nak| {
            // Nobody has handled it, and somebody may yet.
            nak.retry_after().is_none() && !matches!(nak, Nak::NoHandler | Nak::Closed)
        });
        if is_final {
            let mut state = self.table.lock();
            if let Some(entry) = state.entries.get_mut(&self.key) {
                *entry = Entry::Answered(answer.clone());
                state.bytes += bytes_of(&answer);
                state.answered.push_back((moment_after(self.horizon), self.key.clone()));
            }
        } else {
            self.table.lock().remove(&self.key);
        }
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.answer.borrow().is_none() {
            self.table.lock().remove(&self.key);
        }
    }
}
