//! What one socket has of its own: listeners, data, counters. Without memory until it is used.

use super::{Emitter, Stack};
use crate::protocol::{Event, EventName};
use crate::room::{Counter, Queue};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, oneshot};

#[derive(Default)]
pub(crate) struct Own {
    emitter: OnceLock<Emitter>,
    waiters: Mutex<Waiters>,
    data: Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>,
    /// The layers that were built for it, by their places.
    stacks: Mutex<Vec<(u64, Stack)>>,
    pub(crate) tally: Tally,
    /// Nothing is kept any more.
    is_over: AtomicBool,
    /// Told when the socket has begun, and when it has ended.
    pub(super) changed: Notify,
}

type Waiting = BTreeMap<u64, (EventName, oneshot::Sender<Served>)>;

/// Those who await an event, in the order in which they began to.
#[derive(Default)]
struct Waiters {
    waiting: Waiting,
    last: u64,
    /// The socket has ended.
    is_over: bool,
}

/// An event in the hands of somebody who awaited it.
pub(crate) struct Served {
    event: Event,
    claim: Option<Arc<Claim>>,
}

/// Tells, once, that an event was taken by any of those it was given to, or that all of them have
/// let go of it.
pub(crate) struct Claim(Mutex<Option<Done>>);

type Done = Box<dyn FnOnce(bool) + Send>;

impl Own {
    /// Its listeners, if it has ever had one.
    pub(crate) fn emitter(&self) -> Option<&Emitter> {
        self.emitter.get()
    }

    pub(super) fn emitter_or_new(&self, new: impl FnOnce() -> Emitter) -> &Emitter {
        let emitter = self.emitter.get_or_init(new);
        if self.is_over() {
            emitter.close();
        }
        emitter
    }

    /// Waits for the next event of this name, unless it is over.
    pub(super) fn wait(&self, name: &str) -> Option<(u64, oneshot::Receiver<Served>)> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = lock(&self.waiters);
        if waiters.is_over {
            return None;
        }
        waiters.last += 1;
        let number = waiters.last;
        waiters.waiting.insert(number, (EventName::from(name), sender));
        Some((number, receiver))
    }

    /// Waits no more.
    pub(super) fn forget(&self, number: u64) {
        let waiter = lock(&self.waiters).waiting.remove(&number);
        // What it was served with is not let go of under the lock.
        drop(waiter);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiters).waiting.len()
    }

    /// The socket has ended: whoever waits is told so.
    pub(super) fn end_waits(&self) {
        let waiting = {
            let mut waiters = lock(&self.waiters);
            waiters.is_over = true;
            std::mem::take(&mut waiters.waiting)
        };
        drop(waiting);
    }

    /// Whether somebody awaits an event of this name.
    pub(crate) fn awaits(&self, name: &str) -> bool {
        lock(&self.waiters).waiting.values().any(|(awaited, _)| *awaited == *name)
    }

    /// The names that are awaited now.
    pub(crate) fn awaited(&self) -> HashSet<EventName> {
        lock(&self.waiters).waiting.values().map(|(awaited, _)| awaited.clone()).collect()
    }

    /// Gives an event to all who await it. With `done` it is theirs alone: that is told whether any
    /// of them has taken it.
    pub(crate) fn serve(&self, event: &Event, done: Option<Done>) {
        let served: Waiting = {
            let waiting = &mut lock(&self.waiters).waiting;
            let (served, others) =
                std::mem::take(waiting).into_iter().partition(|(_, (name, _))| *name == event.name);
            *waiting = others;
            served
        };
        let claim = done.map(|done| Arc::new(Claim(Mutex::new(Some(done)))));
        for (_, sender) in served.into_values() {
            // Who has lost interest lets go of it at once.
            let _ = sender.send(Served { event: event.detached(), claim: claim.clone() });
        }
    }

    pub(super) fn set_data(&self, id: TypeId, value: Arc<dyn Any + Send + Sync>) {
        let mut data = lock(&self.data);
        if self.is_over() {
            return;
        }
        let old = data.iter().position(|(known, _)| *known == id);
        let old = old.map(|place| data.swap_remove(place));
        data.push((id, value));
        // What an application keeps is not dropped under the lock.
        drop(data);
        drop(old);
    }

    pub(super) fn data(&self, id: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        let data = lock(&self.data);
        data.iter().find(|(known, _)| *known == id).map(|(_, value)| Arc::clone(value))
    }

    /// The layers that were built for it in this place.
    pub(super) fn stack(&self, place: u64) -> Option<Stack> {
        let stacks = lock(&self.stacks);
        stacks.iter().find(|(at, _)| *at == place).map(|(_, stack)| stack.clone())
    }

    /// Keeps layers that were built for it, unless it is over, or somebody was faster: then those
    /// come back.
    pub(super) fn keep_stack(&self, place: u64, built: Stack) -> Stack {
        let mut stacks = lock(&self.stacks);
        if let Some((_, known)) = stacks.iter().find(|(at, _)| *at == place) {
            return known.clone();
        }
        if !self.is_over() {
            stacks.push((place, built.clone()));
        }
        built
    }

    pub(super) fn take_data(&self, id: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        let mut data = lock(&self.data);
        let place = data.iter().position(|(known, _)| *known == id)?;
        Some(data.swap_remove(place).1)
    }

    /// Lets go of all that may hold its socket, for good.
    pub(crate) fn clear(&self) {
        // Whoever locks behind this sees it, and what came before is taken.
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(emitter) = self.emitter() {
            emitter.close();
        }
        self.end_waits();
        let data = std::mem::take(&mut *lock(&self.data));
        drop(data);
        let stacks = std::mem::take(&mut *lock(&self.stacks));
        drop(stacks);
    }

    /// Whether nothing is kept any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

impl Served {
    /// Takes the event: it is handled.
    pub(super) fn take(self) -> Event {
        if let Some(claim) = &self.claim {
            claim.tell(true);
        }
        self.event
    }
}

impl Claim {
    fn tell(&self, taken: bool) {
        // What is told takes locks of its own.
        let done = lock(&self.0).take();
        if let Some(done) = done {
            done(taken);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.tell(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters of one socket.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Counter,)*
        }

        /// What was counted of one socket, and what waits in its session now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct SocketStats {
            $($(#[$doc])* pub $name: u64,)*
            /// What waits to be written, of all sockets of its session, and what is not confirmed.
            pub queue: Queue,
        }

        impl Tally {
            pub(super) fn snapshot(&self) -> SocketStats {
                SocketStats { $($name: self.$name.get(),)* queue: Queue::default() }
            }
        }
    };
}

tally! {
    /// Reliable events that arrived.
    events_in,
    /// Reliable events that were accepted from it, broadcasts not among them.
    events_out,
    /// Volatile events that arrived.
    volatile_in,
    /// Volatile events that were accepted from it.
    volatile_out,
    /// Volatile events of this side that were dropped.
    volatile_dropped,
    /// Volatile events that arrived and were not handled.
    volatile_missed,
    /// Reliable events answered with an ack, or handled without one being asked for.
    handled,
    /// Reliable events answered with a nak, by this side.
    refused,
    /// Events that wait for a listener now.
    parked,
}
