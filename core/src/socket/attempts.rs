//! What all attempts to deliver one event share.

use super::layered::Waiting;
use super::{Scope, Served, Socket};
use crate::protocol::{EventId, SocketId};
use crate::room::{AckSet, Fanout, Gathering, Held, LatestKey, Parted, Selection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;
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
    sent: Notify,
}

/// What is left of an attempt that was given up.
struct Left {
    /// Of whom it has been accepted: see `Mailbox::epoch`.
    epoch: u32,
    waiting: Waiting,
}

impl Attempts {
    pub(super) fn new(target: Target, id: EventId, deadline: Option<Instant>) -> Self {
        let [accepted, kept] = [false; 2].map(AtomicBool::new);
        let (began, left, many) = (Instant::now(), Mutex::default(), Many::default());
        Self { target, id, began, deadline, accepted, kept, left, many }
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

    /// Says whether this is the first time.
    pub(super) fn mark_accepted(&self) -> bool {
        !self.accepted.swap(true, Ordering::AcqRel)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
