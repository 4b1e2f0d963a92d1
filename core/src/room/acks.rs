//! Who is to answer a broadcast, and who has.

use super::NotAccepted;
use crate::protocol::{EventId, LossReason, Nak, Payload, SocketId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The final word about one event at one socket.
pub type Answer = Result<Payload, NoAnswer>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The peer said no.
    Nak(Nak),
    /// The mailbox did not take the event.
    NotAccepted(NotAccepted),
    /// The event was removed before it was written.
    Lost(LossReason),
    /// The socket or its session ended first.
    Closed,
}

/// The answers to one broadcast: minted with its event, shared by all that carry it.
///
/// Each member is announced before the event is put into its mailbox, so that no answer can be
/// too early. An adapter for many nodes holds the set open until the others have said how many
/// members they have.
pub struct AckSet {
    id: EventId,
    state: Mutex<State>,
}

struct State {
    waiting: HashSet<SocketId>,
    /// Who may announce more members.
    holders: usize,
    /// Goes when nothing more can come.
    answers: Option<mpsc::UnboundedSender<(SocketId, Answer)>>,
}

impl AckSet {
    /// The event that is to be answered.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// A member is to answer.
    pub fn expect(&self, member: SocketId) {
        let mut state = self.lock();
        if state.answers.is_some() {
            state.waiting.insert(member);
        }
    }

    /// A member has answered, or will not. Says whether it was expected to: of several answers
    /// the first one counts.
    pub fn answer(&self, member: SocketId, answer: Answer) -> bool {
        let mut state = self.lock();
        let was_expected = state.waiting.remove(&member);
        if let Some(answers) = state.answers.as_ref().filter(|_| was_expected) {
            // Whoever asked may have lost interest. No more wait here than there are members, and
            // none keeps alive what it was read with.
            let _ = answers.send((member, answer.map(|payload| payload.detached())));
        }
        state.end_if_complete();
        was_expected
    }

    /// Who has not answered yet, in no order: what a node tells the one that waits.
    #[must_use]
    pub fn waiting(&self) -> Vec<SocketId> {
        self.lock().waiting.iter().copied().collect()
    }

    /// Keeps the set open for more members.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.lock().holders += 1;
        Held(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_if_complete(&mut self) {
        if self.holders == 0 && self.waiting.is_empty() {
            self.answers = None;
        }
    }
}

impl std::fmt::Debug for AckSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lock().waiting.len();
        f.debug_struct("AckSet").field("id", &self.id).field("waiting", &waiting).finish()
    }
}

/// Keeps an [`AckSet`] open until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<AckSet>);

impl Held {
    /// The set that is held open.
    #[must_use]
    pub fn set(&self) -> &Arc<AckSet> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.holders -= 1;
        state.end_if_complete();
    }
}

/// The broadcasts of a server that are waited for, by their events. Each is here for as long as
/// somebody holds its [`Gathering`].
#[derive(Default)]
pub struct AckTable(Mutex<HashMap<EventId, Arc<AckSet>>>);

impl AckTable {
    /// Begins to wait for the answers to an event. The set is open until what holds it is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>, id: EventId) -> (Held, Gathering) {
        let (sender, answers) = mpsc::unbounded_channel();
        let state = State { waiting: HashSet::new(), holders: 1, answers: Some(sender) };
        let set = Arc::new(AckSet { id, state: Mutex::new(state) });
        self.lock().insert(id, Arc::clone(&set));
        let table = Arc::clone(self);
        (Held(Arc::clone(&set)), Gathering { set, table, answers })
    }

    /// A member has answered an event; says whether it was expected to.
    pub fn answer(&self, id: EventId, member: SocketId, answer: Answer) -> bool {
        let set = self.lock().get(&id).cloned();
        set.is_some_and(|set| set.answer(member, answer))
    }

    /// A socket has ended, and answers nothing any more.
    pub fn ended(&self, member: SocketId) {
        let mut sets: Vec<_> = self.lock().values().cloned().collect();
        // In the order of the events, so that what follows from it is the same each time.
        sets.sort_unstable_by_key(|set| set.id);
        for set in sets {
            set.answer(member, Err(NoAnswer::Closed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, Arc<AckSet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers to one broadcast, as they come. Dropping it loses interest in the rest.
pub struct Gathering {
    set: Arc<AckSet>,
    table: Arc<AckTable>,
    answers: mpsc::UnboundedReceiver<(SocketId, Answer)>,
}

impl Gathering {
    /// The next answer; `None` when everybody has answered.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketId, Answer)>> {
        self.answers.poll_recv(cx)
    }

    /// The next answer; `None` when everybody has answered.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub async fn next(&mut self) -> Option<(SocketId, Answer)> {
        self.answers.recv().await
    }

    /// Waits no longer: says who has not answered, in the order of the ids. What has come meanwhile
    /// is still there.
    pub fn give_up(&mut self) -> Vec<SocketId> {
        let mut state = self.set.lock();
        state.answers = None;
        let mut waiting: Vec<_> = state.waiting.drain().collect();
        waiting.sort_unstable();
        waiting
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let mut sets = self.table.lock();
        if sets.get(&self.set.id).is_some_and(|set| Arc::ptr_eq(set, &self.set)) {
            sets.remove(&self.set.id);
        }
    }
}
