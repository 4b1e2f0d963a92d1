//! What all attempts to deliver one event share.

use super::core::moment_after;
use super::layered::Waiting;
use super::{AckError, EmitError, Scope, Served, Socket};
use crate::protocol::{EventId, SocketId};
use crate::room::{AckSet, Fanout, Gathering, Held, LatestKey, Parted, Selection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// What all attempts to deliver one event share: whom it is for, and what is known of it so far.
pub(super) struct Attempts {
    target: Target,
    id: EventId,
    /// When it was emitted.
    began: Instant,
    /// How long whoever emitted waits, and until when.
    patience: Option<(Duration, Instant)>,
    /// The mailbox of this socket has it, or has had it.
    accepted: AtomicBool,
    /// Some mailbox has, also of a socket that it was for before.
    posted: AtomicBool,
    /// A layer sees to it, whatever becomes of the future of the emit.
    kept: AtomicBool,
    /// What an attempt at the one has left, while no other goes on with it.
    left: Mutex<Option<Left>>,
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
    /// Who waits for that.
    waits: Mutex<Option<Waker>>,
}

/// What is left of an attempt that was given up.
struct Left {
    /// Of whom it has been accepted: see `Mailbox::epoch`.
    epoch: u32,
    waiting: Waiting,
}

impl Attempts {
    /// `timeout` is what whoever emits has said, if anything.
    pub(super) fn new(target: Target, id: EventId, timeout: Option<Duration>) -> Self {
        if let Target::One(socket, Some(key)) = &target {
            socket.session().newest.enter(key);
        }
        let patience = timeout.map(|timeout| (timeout, moment_after(timeout)));
        let [accepted, posted, kept] = [false; 3].map(AtomicBool::new);
        let (began, left, many) = (Instant::now(), Mutex::default(), Many::default());
        Self { target, id, began, patience, accepted, posted, kept, left, many }
    }

    /// The same event for another socket.
    pub(super) fn readdressed(&self, socket: &Socket) -> Self {
        let key = match &self.target {
            Target::One(_, Some(key)) => Some(Box::new(key.readdressed(socket.number()))),
            _ => None,
        };
        let mut again = Self::new(Target::One(socket.clone(), key), self.id, None);
        (again.began, again.patience) = (self.began, self.patience);
        again.posted = AtomicBool::new(self.was_posted());
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
        match self.is_kept() {
            true => AckError::Timeout { after },
            false => EmitError::Full { waited: after }.into(),
        }
    }

    /// Whether dropping the future of the emit withdraws nothing.
    pub(super) fn is_kept(&self) -> bool {
        self.is_own() || self.is_accepted()
    }

    /// Whether a layer has made the event its own.
    pub(super) fn is_own(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Acquire)
    }

    pub(super) fn was_posted(&self) -> bool {
        self.posted.load(Ordering::Acquire)
    }

    /// It is in the mailbox, or in those of the members; says whether it is in any for the first
    /// time.
    pub(super) fn post(&self) -> bool {
        if let Target::One(socket, Some(key)) = &self.target {
            socket.session().newest.accepted(key, self.id.number);
        }
        self.accepted.store(true, Ordering::Release);
        !self.posted.swap(true, Ordering::AcqRel)
    }

    /// Whether a newer event of the same key has been accepted since.
    pub(super) fn is_superseded(&self) -> bool {
        match &self.target {
            Target::One(socket, Some(key)) => socket.session().newest.is_older(key, self.id.number),
            _ => false,
        }
    }

    /// An earlier attempt whose event its session has, or is going to have, if no other can do
    /// better: it waits on. A session delivers once what it has accepted, so there is no need of a
    /// second event.
    pub(super) fn resume(&self) -> Option<Waiting> {
        let left = lock(&self.left).take()?;
        self.is_sure(left.epoch).then_some(left.waiting)
    }

    /// An attempt is given up whose event has been accepted, of somebody of this epoch.
    pub(super) fn leave(&self, waiting: Waiting, epoch: u32) {
        let before = lock(&self.left).replace(Left { epoch, waiting });
        drop(before);
    }

    /// Whether another attempt would only wait for what an earlier one has begun.
    pub(super) fn is_under_way(&self) -> bool {
        match &self.target {
            Target::One(..) => {
                lock(&self.left).as_ref().is_some_and(|left| self.is_sure(left.epoch))
            }
            Target::Many(..) => self.many.set.get().is_some_and(|set| {
                let Parted { failed, waiting, .. } = set.part();
                failed.is_empty() && !waiting.is_empty() && self.unsure(&waiting).is_empty()
            }),
        }
    }

    /// Whether the one still is who it was: a process that was started again may have forgotten
    /// what the one before had begun.
    fn is_sure(&self, epoch: u32) -> bool {
        let Target::One(socket, _) = &self.target else { return false };
        socket.session().mailbox.epoch() == epoch && socket.ended().is_none()
    }

    /// Those members of whom that is not known: of other nodes, or started again at some time.
    pub(super) fn unsure(&self, members: &[SocketId]) -> Vec<SocketId> {
        let served = self.scope().served.as_ref();
        let socket = |member| served.and_then(|served| served.socket(member));
        let is_sure = |member: &SocketId| {
            socket(*member).is_some_and(|socket| socket.session().mailbox.epoch() == 0)
        };
        members.iter().filter(|member| !is_sure(member)).copied().collect()
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
        self.many.set.get().map(|set| set.part().missing()).unwrap_or_default()
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
        if let Target::One(socket, Some(key)) = &self.target {
            socket.session().newest.leave(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
