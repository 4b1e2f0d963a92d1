//! Who is to answer a broadcast, and who has.

use super::NotAccepted;
use crate::protocol::{EventId, LossReason, Nak, Payload, SocketId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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

impl NoAnswer {
    /// Whether the same event may fare better at another attempt, and how long that has to wait at
    /// least.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Nak(nak) => nak.retry_after(),
            Self::NotAccepted(NotAccepted::Full) | Self::Lost(LossReason::Overflow) => {
                Some(Duration::ZERO)
            }
            Self::NotAccepted(_) | Self::Lost(_) | Self::Closed => None,
        }
    }
}

/// The answers to one broadcast: minted with its event, shared by all that carry it and by all
/// attempts to deliver it.
///
/// Each member is announced before the event is put into its mailbox, so that no answer can be
/// too early. An adapter for many nodes holds the set open until the others have said how many
/// members they have.
pub struct AckSet {
    id: EventId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who is to answer.
    waiting: HashSet<SocketId>,
    /// Who has answered with something that another attempt may better; only where there may be
    /// one.
    failed: HashMap<SocketId, NoAnswer>,
    /// Whether there may be another attempt.
    is_repeated: bool,
    /// Who may announce more members.
    holders: usize,
    /// Final answers that were not looked at yet.
    answers: VecDeque<(SocketId, Answer)>,
    /// Nobody is interested any more.
    is_over: bool,
    /// Who waits for the next answer, and who for the end of an attempt.
    reader: Option<Waker>,
    attempt: Option<Waker>,
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
        if !state.is_over {
            state.failed.remove(&member);
            state.waiting.insert(member);
        }
    }

    /// A member has answered, or will not. Says whether it was expected to: of several answers
    /// the first one counts.
    pub fn answer(&self, member: SocketId, answer: Answer) -> bool {
        let mut state = self.lock();
        if !state.waiting.remove(&member) {
            return false;
        }
        match answer {
            Err(no) if state.is_repeated && no.retry_after().is_some() => {
                state.failed.insert(member, no);
            }
            // None keeps alive what it was read with.
            answer => {
                state.answers.push_back((member, answer.map(|payload| payload.detached())));
                wake(&mut state.reader);
            }
        }
        state.wake_if_complete();
        true
    }

    /// A member has ended: what it has said last it will not better.
    fn ended(&self, member: SocketId) {
        let mut state = self.lock();
        let has_failed = state.failed.remove(&member).is_some();
        if has_failed || state.waiting.remove(&member) {
            state.answers.push_back((member, Err(NoAnswer::Closed)));
            wake(&mut state.reader);
            state.wake_if_complete();
        }
    }

    /// Whether a member has given no final answer.
    pub(super) fn is_missing(&self, member: SocketId) -> bool {
        let state = self.lock();
        state.waiting.contains(&member) || state.failed.contains_key(&member)
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

    /// There may be several attempts: an answer that another one may better is not final.
    pub(crate) fn repeat(&self) {
        self.lock().is_repeated = true;
    }

    /// Ready when everybody who was announced so far has said something.
    pub(crate) fn poll_attempt(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_complete() {
            return Poll::Ready(());
        }
        state.attempt = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Who has no final answer yet.
    pub(crate) fn part(&self) -> Parted {
        let state = self.lock();
        let waits = state.failed.values().filter_map(NoAnswer::retry_after);
        Parted {
            failed: state.failed.keys().copied().collect(),
            waiting: state.waiting.iter().copied().collect(),
            retry_after: waits.max().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_complete(&self) -> bool {
        self.holders == 0 && self.waiting.is_empty()
    }

    fn wake_if_complete(&mut self) {
        if self.is_complete() {
            wake(&mut self.reader);
            wake(&mut self.attempt);
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl std::fmt::Debug for AckSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lock().waiting.len();
        f.debug_struct("AckSet").field("id", &self.id).field("waiting", &waiting).finish()
    }
}

/// The members of a broadcast that have no final answer yet.
pub(crate) struct Parted {
    /// Who has answered with something that another attempt may better.
    pub(crate) failed: Vec<SocketId>,
    /// Who has said nothing yet.
    pub(crate) waiting: Vec<SocketId>,
    /// How long another attempt has to wait at least.
    pub(crate) retry_after: Duration,
}

impl Parted {
    /// All of them, in the order of their ids.
    pub(crate) fn missing(self) -> Vec<SocketId> {
        let mut missing = self.failed;
        missing.extend(self.waiting);
        missing.sort_unstable();
        missing
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
        state.wake_if_complete();
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
        let state = State { holders: 1, ..State::default() };
        let set = Arc::new(AckSet { id, state: Mutex::new(state) });
        self.lock().insert(id, Arc::clone(&set));
        let table = Arc::clone(self);
        (Held(Arc::clone(&set)), Gathering { set, table })
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
            set.ended(member);
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
}

impl Gathering {
    /// The set in which they meet.
    #[must_use]
    pub fn set(&self) -> &Arc<AckSet> {
        &self.set
    }

    /// The next answer; `None` when everybody has answered.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketId, Answer)>> {
        let mut state = self.set.lock();
        match state.answers.pop_front() {
            Some(answer) => Poll::Ready(Some(answer)),
            None if state.is_over || (state.is_complete() && state.failed.is_empty()) => {
                Poll::Ready(None)
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next answer; `None` when everybody has answered.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub async fn next(&mut self) -> Option<(SocketId, Answer)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits no longer: says who has not answered, in the order of the ids. What has come meanwhile
    /// is still there, and what another attempt might have bettered is final now.
    pub fn give_up(&mut self) -> Vec<SocketId> {
        let mut state = self.set.lock();
        state.is_over = true;
        let mut failed: Vec<_> = state.failed.drain().collect();
        failed.sort_unstable_by_key(|(member, _)| *member);
        state.answers.extend(failed.into_iter().map(|(member, no)| (member, Err(no))));
        let mut waiting: Vec<_> = state.waiting.drain().collect();
        waiting.sort_unstable();
        state.wake_if_complete();
        waiting
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.set.lock().is_over = true;
        let mut sets = self.table.lock();
        if sets.get(&self.set.id).is_some_and(|set| Arc::ptr_eq(set, &self.set)) {
            sets.remove(&self.set.id);
        }
    }
}
