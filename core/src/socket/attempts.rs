//! What all attempts to deliver one event share.

use super::{Scope, Served, Socket};
use crate::protocol::{EventId, SocketId};
use crate::room::{AckSet, Answer, Fanout, Gathering, Held, LatestKey, Selection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// What all attempts to deliver one event share: whom it is for, and what is known of it so far.
pub(super) struct Attempts {
    target: Target,
    id: EventId,
    /// When it was emitted.
    began: Instant,
    /// When whoever emitted gives up.
    deadline: Option<Instant>,
    /// A mailbox has it, or has had it.
    accepted: AtomicBool,
    /// A layer sees to it, whatever becomes of the future of the emit.
    kept: AtomicBool,
    /// The answer of the one, while no attempt waits for it.
    answer: Mutex<Option<oneshot::Receiver<Answer>>>,
    many: Many,
}

/// Whom an event is for.
#[derive(Clone)]
pub(super) enum Target {
    One(Socket, Option<Box<LatestKey>>),
    Many(Arc<Scope>, Selection),
}

/// What only a broadcast has.
#[derive(Default)]
struct Many {
    /// Where the answers meet.
    set: OnceLock<Arc<AckSet>>,
    /// Held open until the first attempt has announced its members.
    held: Mutex<Option<Held>>,
    /// Kept where nobody looks at the answers but a layer that asked for them.
    gathering: Mutex<Option<Gathering>>,
    /// What the first attempt came to.
    fanout: OnceLock<Fanout>,
    sent: Notify,
}

/// What is known of an answer when an attempt begins.
pub(super) enum Early {
    /// It has come meanwhile, and is final.
    Answer(Answer),
    /// It is waited for here.
    Awaited(oneshot::Receiver<Answer>),
}

impl Attempts {
    pub(super) fn new(target: Target, id: EventId, deadline: Option<Instant>) -> Self {
        let [accepted, kept] = [false; 2].map(AtomicBool::new);
        let (began, answer, many) = (Instant::now(), Mutex::default(), Many::default());
        Self { target, id, began, deadline, accepted, kept, answer, many }
    }

    /// The same event for another socket.
    pub(super) fn readdressed(&self, socket: &Socket) -> Self {
        let target = Target::One(socket.clone(), None);
        let mut again = Self::new(target, self.id, self.deadline);
        again.began = self.began;
        again.kept = AtomicBool::new(self.is_kept());
        again
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn scope(&self) -> &Arc<Scope> {
        match &self.target {
            Target::One(socket, _) => socket.scope(),
            Target::Many(scope, _) => scope,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Whether dropping the future of the emit withdraws nothing.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire) || self.is_accepted()
    }

    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Acquire)
    }

    /// Says whether this is the first time.
    pub(super) fn mark_accepted(&self) -> bool {
        !self.accepted.swap(true, Ordering::AcqRel)
    }

    /// Begins to wait for the answer of the one. An attempt that was given up leaves its place: an
    /// answer to it may have come meanwhile, or come yet.
    pub(super) fn await_answer(&self, socket: &Socket) -> Early {
        let left = lock(&self.answer).take();
        match left.map(|mut left| (left.try_recv(), left)) {
            Some((Ok(answer), _)) if is_final(&answer) => Early::Answer(answer),
            Some((Err(oneshot::error::TryRecvError::Empty), left)) => Early::Awaited(left),
            _ => Early::Awaited(socket.session().acks.expect(self.id)),
        }
    }

    /// An attempt waits no longer.
    pub(super) fn leave_answer(&self, answer: oneshot::Receiver<Answer>) {
        *lock(&self.answer) = Some(answer);
    }

    /// Where the answers to a broadcast are looked at, by whoever emits it: before it is sent.
    pub(super) fn gather(&self, served: &Served) -> Gathering {
        let gathering = self.open(served);
        let _ = self.many.set.set(Arc::clone(gathering.set()));
        gathering
    }

    /// Where the answers to a broadcast meet.
    pub(super) fn set(&self, served: &Served) -> &Arc<AckSet> {
        self.many.set.get_or_init(|| {
            // A layer asks for answers that nobody else looks at.
            let gathering = self.open(served);
            let set = Arc::clone(gathering.set());
            *lock(&self.many.gathering) = Some(gathering);
            set
        })
    }

    fn open(&self, served: &Served) -> Gathering {
        let (held, gathering) = served.acks.open(self.id);
        gathering.set().repeat();
        *lock(&self.many.held) = Some(held);
        gathering
    }

    /// Who has not answered a broadcast yet, of those that were asked.
    pub(super) fn missing(&self) -> Vec<SocketId> {
        self.many.set.get().map(|set| set.missing().0).unwrap_or_default()
    }

    /// A broadcast was sent.
    pub(super) fn sent(&self, fanout: Fanout) {
        let _ = self.many.fanout.set(fanout);
        let held = lock(&self.many.held).take();
        drop(held);
        self.many.sent.notify_waiters();
    }

    /// How many took it at the first attempt; `None` before that.
    pub(super) fn fanout(&self) -> Option<Fanout> {
        self.many.fanout.get().copied()
    }

    /// Told when a broadcast was sent.
    pub(super) fn when_sent(&self) -> &Notify {
        &self.many.sent
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        let left = lock(&self.answer).take();
        if let (Target::One(socket, _), Some(left)) = (&self.target, left) {
            drop(left);
            socket.session().acks.forget(self.id);
        }
    }
}

/// Whether no other attempt could better it.
fn is_final(answer: &Answer) -> bool {
    answer.as_ref().err().is_none_or(|no| no.retry_after().is_none())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
