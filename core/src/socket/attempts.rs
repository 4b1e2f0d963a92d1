//! What all attempts to deliver one event share.

use super::core::moment_after;
use super::{AckError, EmitError, Scope, Served, Socket};
use crate::protocol::{Encoded, EventId};
use crate::room::{AckSet, Answer, Fanout, Gathering, Held, LatestKey, Selection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What all attempts to deliver one event share: whom it is for, and what is known of it so far.
pub(super) struct Attempts {
    target: Target,
    id: EventId,
    began: Instant,
    /// How long whoever emitted waits, and until when.
    patience: Option<(Duration, Instant)>,
    accepted: AtomicBool,
    /// It has been in a mailbox.
    posted: AtomicBool,
    one: Mutex<One>,
    many: Many,
}

/// Whom an event is for.
#[derive(Clone)]
pub(super) enum Target {
    One(Socket, Option<Box<LatestKey>>),
    Many(Arc<Scope>, Selection),
}

/// What only an event for one has.
#[derive(Default)]
struct One {
    /// Where the answer comes, while no attempt waits for it.
    answer: Option<oneshot::Receiver<Answer>>,
    /// What the last attempt put into the mailbox.
    encoded: Option<Encoded>,
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
    /// Who waits for that.
    waits: Mutex<Option<Waker>>,
}

/// What is known of an answer when an attempt begins.
pub(super) enum Early {
    /// It has come meanwhile, and is final.
    Answer(Answer),
    /// It is waited for here.
    Awaited(oneshot::Receiver<Answer>),
}

impl Attempts {
    /// `timeout` is what whoever emits has said, if anything.
    pub(super) fn new(target: Target, id: EventId, timeout: Option<Duration>) -> Self {
        if let Target::One(socket, Some(key)) = &target {
            socket.session().newest.enter(key);
        }
        let patience = timeout.map(|timeout| (timeout, moment_after(timeout)));
        let (began, accepted, posted) =
            (Instant::now(), AtomicBool::default(), AtomicBool::default());
        let (one, many) = (Mutex::default(), Many::default());
        Self { target, id, began, patience, accepted, posted, one, many }
    }

    /// The same event for another socket.
    pub(super) fn readdressed(&self, socket: &Socket) -> Self {
        let mut again = Self::new(Target::One(socket.clone(), None), self.id, None);
        (again.began, again.patience) = (self.began, self.patience);
        again.accepted.store(self.is_accepted(), Ordering::Release);
        again.posted.store(self.was_posted(), Ordering::Release);
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

    /// How long ago the emit began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long whoever emitted waits, and until when, if it has said so.
    pub(super) fn patience(&self) -> Option<(Duration, Instant)> {
        self.patience
    }

    /// What whoever emitted is told when it waits no longer.
    pub(super) fn too_late(&self) -> AckError {
        let after = self.patience.map_or_else(|| self.elapsed(), |(timeout, _)| timeout);
        match self.is_accepted() {
            true => AckError::Timeout { after },
            false => EmitError::Full { waited: after }.into(),
        }
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Acquire)
    }

    /// From now on it is no withdrawal to give it up.
    pub(super) fn mark_accepted(&self) {
        self.accepted.store(true, Ordering::Release);
    }

    /// It has been in a mailbox.
    pub(super) fn was_posted(&self) -> bool {
        self.posted.load(Ordering::Acquire)
    }

    /// It is in a mailbox, or in those of the members; says whether it is for the first time.
    pub(super) fn post(&self, encoded: Option<&Encoded>) -> bool {
        if let Target::One(socket, Some(key)) = &self.target {
            socket.session().newest.accepted(key, self.id.number);
        }
        lock(&self.one).encoded = encoded.cloned();
        self.mark_accepted();
        !self.posted.swap(true, Ordering::AcqRel)
    }

    /// What an earlier attempt has put into the mailbox of this socket and still waits there.
    pub(super) fn waiting(&self, socket: &Socket) -> Option<Encoded> {
        let encoded = lock(&self.one).encoded.clone()?;
        socket.session().mailbox.has_unwritten(&encoded).then_some(encoded)
    }

    /// Whether a newer event of the same key has been accepted since.
    pub(super) fn is_superseded(&self) -> bool {
        match &self.target {
            Target::One(socket, Some(key)) => socket.session().newest.is_older(key, self.id.number),
            _ => false,
        }
    }

    /// Begins to wait for the answer of the one. An attempt that was given up leaves its place: an
    /// answer to it may have come meanwhile, or come yet.
    pub(super) fn await_answer(&self, socket: &Socket) -> Early {
        let left = lock(&self.one).answer.take();
        match left.map(|mut left| (left.try_recv(), left)) {
            Some((Ok(answer), _)) if is_final(&answer) => Early::Answer(answer),
            Some((Err(oneshot::error::TryRecvError::Empty), left)) => Early::Awaited(left),
            _ => Early::Awaited(socket.session().acks.expect(self.id)),
        }
    }

    /// An attempt waits no longer.
    pub(super) fn leave_answer(&self, answer: oneshot::Receiver<Answer>) {
        lock(&self.one).answer = Some(answer);
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

    /// A broadcast was sent.
    pub(super) fn sent(&self, fanout: Fanout) {
        let _ = self.many.fanout.set(fanout);
        let held = lock(&self.many.held).take();
        drop(held);
        let waits = lock(&self.many.waits).take();
        if let Some(waker) = waits {
            waker.wake();
        }
    }

    /// How many took it at the first attempt; `None` before that.
    pub(super) fn fanout(&self) -> Option<Fanout> {
        self.many.fanout.get().copied()
    }

    /// Ready when a broadcast was sent.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the look, so that it is not missed.
        *lock(&self.many.waits) = Some(cx.waker().clone());
        if self.fanout().is_some() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        let Target::One(socket, key) = &self.target else { return };
        if let Some(key) = key {
            socket.session().newest.leave(key);
        }
        let left = lock(&self.one).answer.take();
        if let Some(left) = left {
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
