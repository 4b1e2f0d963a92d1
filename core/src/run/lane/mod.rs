//! The lane of a socket: its events, first started in order of arrival, one at a time.
//!
//! A handler that is ready at its first poll is answered in place, by the driver; only one that
//! waits costs a task, and an idle socket has none. Volatile events have a lane of their own, so
//! that they never wait for a slow handler of reliable ones.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Lane`]: what comes in, how it begins and ends, its hooks |
//! | `work.rs` | how its jobs run, and what is parked |
//! | `call.rs` | the listeners of one event, called |

mod call;
mod work;

use super::Config;
use super::answer::Owed;
use super::guard::catch_panic;
use super::park::Park;
use crate::handler::{Blueprint, Erased, Inbound, ReplyFuture};
use crate::protocol::{DisconnectReason, Event, EventId, EventName, Payload, ProducerId};
use crate::socket::{Envelope, Scope, Socket};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A mounted namespace: its blueprint, and its layers built around it once.
pub(crate) struct Mounted {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) inbound: Option<Inbound>,
    /// On servers only.
    pub(crate) scope: Option<Arc<Scope>>,
}

/// One socket with what waits for its handlers.
pub(crate) struct Lane {
    pub(crate) socket: Socket,
    pub(crate) mounted: Arc<Mounted>,
    pub(crate) config: Arc<Config>,
    /// Whose events these are when their packets name nobody.
    peer_producer: ProducerId,
    state: Mutex<State>,
    idle: Notify,
    park: Park,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: bool,
    tasks: Vec<AbortHandle>,
    volatile: VecDeque<Event>,
    volatile_running: bool,
    phase: Phase,
    begun: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Not let in yet: events wait behind the first job.
    #[default]
    Opening,
    Open,
    /// Refused or ended: whatever comes is answered `Closed`.
    Over,
}

/// What a lane does, in order.
enum Job {
    /// Decides whether the socket begins, and runs its first hook.
    Open(Pin<Box<dyn Future<Output = bool> + Send>>),
    /// Has an event handled; one that was parked may be parked again until its time is up.
    Event { event: Event, owed: Owed, parked_until: Option<Instant> },
    /// Waits for a handler that was not ready in place.
    Begun { name: EventName, call: ReplyFuture, owed: Owed },
}

impl Lane {
    pub(crate) fn new(
        socket: Socket,
        mounted: Arc<Mounted>,
        config: Arc<Config>,
        peer_producer: ProducerId,
    ) -> Arc<Self> {
        let (state, idle, park) = (Mutex::default(), Notify::new(), Park::default());
        Arc::new(Self { socket, mounted, config, peer_producer, state, idle, park })
    }

    /// Lets the socket begin, or not: `open` says.
    pub(crate) fn open(self: &Arc<Self>, open: impl Future<Output = bool> + Send + 'static) {
        self.push(Job::Open(Box::pin(open)));
    }

    /// Has a reliable event handled after those before it.
    pub(crate) fn handle(self: &Arc<Self>, event: Event) {
        let owed = Owed::new(self.socket.session(), &event, self.peer_producer);
        self.push(Job::Event { event, owed, parked_until: None });
    }

    /// Has a volatile event handled; drops and counts it when too many wait.
    pub(crate) fn handle_volatile(self: &Arc<Self>, event: Event) {
        let mut state = self.lock();
        if state.phase != Phase::Open || state.volatile.len() >= self.config.volatile_inbox_max {
            self.socket.session().counters.volatile_missed.add(1);
            return;
        }
        let event = if state.volatile_running { event.detached() } else { event };
        state.volatile.push_back(event);
        if !std::mem::replace(&mut state.volatile_running, true) {
            drop(state);
            self.start(Arc::clone(self).work_volatile());
        }
    }

    /// Whether the socket was not let in: it never began, and its end has nothing to do.
    pub(crate) fn was_refused(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Over && !state.begun
    }

    /// Whether nothing will be handled here any more.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().phase == Phase::Over
    }

    /// Whether nothing is being handled and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        !state.running && !state.volatile_running
    }

    /// Ends the socket: lets what was received be handled, for a while, then runs the hooks of
    /// its end. Its holders see the end at once, and its rooms are silent for it at once.
    pub(crate) async fn end(self: Arc<Self>, reason: DisconnectReason) {
        self.socket.end(reason.clone());
        let scope = self.mounted.scope.as_deref();
        if let Some(scope) = scope {
            scope.adapter.silence(self.socket.id());
        }
        self.refuse_parked();
        let patience = self.config.disconnect_grace;
        if tokio::time::timeout(patience, self.finished()).await.is_err() {
            tracing::warn!(socket = %self.socket.id(), "a handler outlived its socket");
        }
        let has_begun = self.stop();
        let reason = self.socket.ended().unwrap_or(reason);
        let blueprint = &self.mounted.blueprint;
        if let Some(hook) = blueprint.on_disconnecting().filter(|_| has_begun) {
            self.run_hook("disconnecting", hook, Payload::empty(), Some(reason.clone())).await;
        }
        if let Some(scope) = scope {
            scope.adapter.remove(self.socket.id());
        }
        if has_begun {
            self.socket.session().counters.sockets.sub(1);
        }
        if let Some(hook) = blueprint.on_disconnect().filter(|_| has_begun) {
            self.run_hook("disconnect", hook, Payload::empty(), Some(reason)).await;
        }
    }

    /// Handles nothing more: cancels what still runs, and lets go of what waits, which answers it.
    /// Says whether the socket had begun.
    fn stop(&self) -> bool {
        let counters = &self.socket.session().counters;
        let (left, has_begun) = {
            let mut state = self.lock();
            let has_begun = std::mem::take(&mut state.begun);
            let left =
                std::mem::replace(&mut *state, State { phase: Phase::Over, ..State::default() });
            (left, has_begun)
        };
        for task in left.tasks.iter().filter(|task| !task.is_finished()) {
            task.abort();
            counters.cancelled.add(1);
        }
        counters.volatile_missed.add(left.volatile.len() as u64);
        self.refuse_parked();
        has_begun
    }

    /// Nobody will hear what is parked any more: who lets go of it answers it.
    pub(crate) fn refuse_parked(&self) {
        let parked = self.park.clear();
        self.socket.session().counters.parked.sub(parked.len() as u64);
    }

    /// Waits until nothing is being handled and nothing waits.
    async fn finished(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// The socket begins, unless it has ended already: its end will have hooks of its own.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Over {
            return false;
        }
        state.begun = true;
        self.socket.session().counters.sockets.add(1);
        true
    }

    /// Runs a hook to its end; says whether it went well.
    pub(crate) async fn run_hook(
        &self,
        name: &'static str,
        hook: Erased,
        payload: Payload,
        reason: Option<DisconnectReason>,
    ) -> bool {
        let id = EventId { producer: self.peer_producer, number: 0 };
        let event = Event::new(id, EventName::from_static(name), payload);
        let mut envelope = Envelope::new(self.socket.clone(), event);
        if let Some(reason) = reason {
            envelope = envelope.with_reason(reason);
        }
        let call = self.within_time(name, async { hook(envelope).await });
        match call.await {
            Some(Ok(_)) => true,
            Some(Err(refusal)) => {
                refusal.log(name);
                false
            }
            None => false,
        }
    }

    /// Runs something of the application's that is no handler; `None` when it panics or takes
    /// longer than a hook may.
    pub(crate) async fn within_time<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let counters = &self.socket.session().counters;
        let called = tokio::time::timeout(self.config.hook_timeout, catch_panic(call)).await;
        match called {
            Ok(Some(result)) => return Some(result),
            Ok(None) => counters.panics.add(1),
            Err(_) => counters.cancelled.add(1),
        }
        tracing::error!(hook = what, "a hook panicked or took too long");
        None
    }

    fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        if state.phase == Phase::Over {
            drop(state);
            // Whoever lets go of an event answers it.
            drop(job);
        } else if std::mem::replace(&mut state.running, true) {
            state.jobs.push_back(job.detached());
        } else {
            drop(state);
            self.run(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// What waits is not to keep alive all that was read with it.
    fn detached(self) -> Self {
        match self {
            Self::Event { event, owed, parked_until } => {
                Self::Event { event: event.detached(), owed, parked_until }
            }
            Self::Open(_) | Self::Begun { .. } => self,
        }
    }
}
