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
//! | `serve.rs` | who awaits an event, served on its arrival |

mod call;
mod serve;
mod work;

use self::serve::Arrived;
use super::Config;
use super::answer::Owed;
use super::guard::catch_panic;
use super::mounted::Mounted;
use super::mounts::Place;
use super::park::Park;
use crate::handler::Hook;
use crate::protocol::{DisconnectReason, Event, EventId, EventName, EventRef, Payload};
use crate::room::shielded;
use crate::socket::{Envelope, Erased, Moment, ReplyFuture, Socket};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// One socket with what waits for its handlers.
pub(crate) struct Lane {
    pub(crate) socket: Socket,
    pub(crate) mounted: Arc<Mounted>,
    pub(crate) config: Arc<Config>,
    state: Mutex<State>,
    idle: Notify,
    park: Park,
    /// Told when the driver has looked after what is parked.
    looked: Notify,
    /// Keeps a namespace of a pattern there, until the socket is refused or over.
    place: Mutex<Option<Place>>,
    /// Held while one of its hooks runs that is not the first.
    hooks: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Jobs that are being done.
    running: usize,
    /// Events in the hands of those who awaited them.
    served: usize,
    tasks: Vec<AbortHandle>,
    /// Each with whether somebody who awaited it has it already.
    volatile: VecDeque<(Event, bool)>,
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
    /// Has an event handled; one that was parked may be parked again until its time is up. Who
    /// awaits its name has it already, or does not.
    Event { event: Event, owed: Owed, parked_until: Option<Instant>, is_served: bool },
    /// Tells those who hear everything of an event that was taken by somebody who awaited it.
    Overheard { event: Event },
    /// Waits for a handler that was not ready in place.
    Begun { name: EventName, call: ReplyFuture, owed: Owed },
}

impl Lane {
    pub(crate) fn new(
        socket: Socket,
        mounted: Arc<Mounted>,
        config: Arc<Config>,
        place: Option<Place>,
    ) -> Arc<Self> {
        let (state, idle, looked) = (Mutex::default(), Notify::new(), Notify::new());
        let (park, place) = (Park::default(), Mutex::new(place));
        let hooks = tokio::sync::Mutex::default();
        Arc::new(Self { socket, mounted, config, state, idle, park, looked, place, hooks })
    }

    /// Lets the socket begin, or not: `open` says.
    pub(crate) fn open(self: &Arc<Self>, open: impl Future<Output = bool> + Send + 'static) {
        self.push(Job::Open(Box::pin(open)));
    }

    /// Has a reliable event handled after those before it. Its answer is to name it as its packet
    /// did.
    pub(crate) fn handle(self: &Arc<Self>, event: Event, named: EventRef) {
        self.socket.count(|counters| &counters.events_in, |tally| &tally.events_in);
        let owed = Owed::new(&self.socket, &event, named);
        if let Arrived::InTurn { owed, is_served } = self.serve_on_arrival(&event, owed) {
            self.push(Job::Event { event, owed, parked_until: None, is_served });
        }
    }

    /// Has a volatile event handled; drops and counts it when too many wait.
    pub(crate) fn handle_volatile(self: &Arc<Self>, event: Event) {
        self.socket.count(|counters| &counters.volatile_in, |tally| &tally.volatile_in);
        let is_served = self.awaits(&event.name);
        if is_served {
            self.socket.own().serve(&event, None);
        }
        let mut state = self.lock();
        if state.phase != Phase::Open || state.volatile.len() >= self.config.volatile_inbox_max {
            drop(state);
            if !is_served {
                self.miss_volatile(1);
            }
            return;
        }
        let event = if state.volatile_running { event.detached() } else { event };
        state.volatile.push_back((event, is_served));
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
        state.is_done() && state.jobs.is_empty() && state.served == 0
    }

    /// Ends the socket: lets what was received be handled, for a while, then runs the hooks of
    /// its end. Its holders see the end at once, and its rooms are silent for it at once.
    pub(crate) async fn end(self: Arc<Self>, reason: DisconnectReason) {
        self.socket.end(reason.clone());
        if let Ok(served) = self.socket.served() {
            served.adapter.silence(self.socket.id());
            // No broadcast asks it any more, and none that has will be answered.
            served.acks.ended(self.socket.id());
        }
        self.refuse_parked();
        let patience = self.config.disconnect_grace;
        if tokio::time::timeout(patience, self.finished()).await.is_err() {
            tracing::warn!(socket = %self.socket.id(), "a handler outlived its socket");
        }
        let _turn = self.hooks.lock().await;
        let has_begun = self.stop();
        let reason = self.socket.ended().unwrap_or(reason);
        let blueprint = &self.mounted.blueprint;
        if let Some(hook) = blueprint.hook(Hook::Disconnecting).filter(|_| has_begun) {
            // What goes wrong there is logged and counted.
            let moment = Moment::End(reason.clone());
            let _ = self.run_hook(Hook::Disconnecting, hook, Payload::empty(), moment).await;
        }
        self.leave_rooms();
        if has_begun {
            self.socket.counters().uncount(1, |counters| &counters.sockets);
        }
        if let Some(hook) = blueprint.hook(Hook::Disconnect).filter(|_| has_begun) {
            let moment = Moment::End(reason);
            let _ = self.run_hook(Hook::Disconnect, hook, Payload::empty(), moment).await;
        }
        self.let_go();
    }

    /// The socket is over: it keeps nothing, and its namespace not either.
    pub(crate) fn let_go(&self) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
        // What it kept is the application's.
        shielded("data", || self.socket.clear_own());
        self.mounted.layers.end(&self.socket);
    }

    /// Its driver has panicked: nobody will end it in order.
    pub(crate) fn abandon(&self) {
        self.socket.end(DisconnectReason::LinkLost);
        if self.stop() {
            self.socket.counters().uncount(1, |counters| &counters.sockets);
        }
        self.leave_rooms();
        self.let_go();
    }

    /// The socket is in no room any more, and found nowhere.
    pub(crate) fn leave_rooms(&self) {
        if let Ok(served) = self.socket.served() {
            served.adapter.remove(self.socket.id());
            served.remove(self.socket.id());
            served.acks.ended(self.socket.id());
        }
    }

    /// Handles nothing more: cancels what still runs, and lets go of what waits, which answers it.
    /// Says whether the socket had begun.
    fn stop(&self) -> bool {
        let counters = self.socket.counters();
        let (left, has_begun) = {
            let mut state = self.lock();
            let has_begun = std::mem::take(&mut state.begun);
            let left =
                std::mem::replace(&mut *state, State { phase: Phase::Over, ..State::default() });
            (left, has_begun)
        };
        for task in left.tasks.iter().filter(|task| !task.is_finished()) {
            task.abort();
            counters.count(1, |counters| &counters.cancelled);
        }
        self.miss_volatile(left.volatile.len());
        self.refuse_parked();
        has_begun
    }

    /// Nobody will hear what is parked any more: who lets go of it answers it.
    pub(crate) fn refuse_parked(&self) {
        let parked = self.park.clear();
        self.unpark(parked.len());
    }

    /// So many are parked no more.
    fn unpark(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.socket.counters().uncount(count as u64, |counters| &counters.parked);
        self.socket.own().tally.parked.sub(count as u64);
    }

    fn miss_volatile(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.socket.counters().count(count as u64, |counters| &counters.volatile_missed);
        self.socket.own().tally.volatile_missed.add(count as u64);
    }

    /// Waits until nothing is being handled any more.
    async fn finished(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.lock().is_done() {
                return;
            }
            idle.await;
        }
    }

    /// Whether the socket has begun, and not ended in order yet.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().begun
    }

    /// The socket begins, unless it has ended already: its end will have hooks of its own.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Over {
            return false;
        }
        state.begun = true;
        self.socket.counters().count(1, |counters| &counters.sockets);
        true
    }

    /// Runs the hook of a moment to its end, if there is one.
    pub(crate) async fn tell(self: Arc<Self>, which: Hook, moment: Moment) {
        let _turn = self.hooks.lock().await;
        if let Some(hook) = self.mounted.blueprint.hook(which).filter(|_| self.has_begun()) {
            // What goes wrong there is logged and counted.
            let _ = self.run_hook(which, hook, Payload::empty(), moment).await;
        }
    }

    /// Runs a hook to its end.
    ///
    /// # Errors
    /// What its peer is to be told of its failure, if anything.
    pub(crate) async fn run_hook(
        &self,
        which: Hook,
        hook: Erased,
        payload: Payload,
        moment: Moment,
    ) -> Result<(), Option<String>> {
        let name = which.name();
        // No event has this id.
        let id = EventId { producer: self.socket.session().producer.id, number: 0 };
        let event = Event::new(id, EventName::from_static(name), payload);
        let envelope = self.envelope(event).with_moment(moment);
        // What a refusal holds is the application's, too.
        let call = async move {
            hook(envelope).await.map(|_| ()).map_err(|refusal| {
                refusal.log(name);
                refusal.into_payload().text()
            })
        };
        self.within_time(name, call).await.unwrap_or(Err(None))
    }

    /// Runs something of the application's that is no handler; `None` when it panics or takes
    /// longer than a hook may.
    pub(crate) async fn within_time<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let counters = self.socket.counters();
        let mut call = Box::pin(call);
        let limit = self.config.hook_timeout;
        let called = tokio::time::timeout(limit, catch_panic(call.as_mut())).await;
        shielded(what, move || drop(call));
        match called {
            Ok(Some(result)) => return Some(result),
            Ok(None) => counters.count(1, |counters| &counters.panics),
            Err(_) => counters.count(1, |counters| &counters.cancelled),
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
        } else if state.running >= state.running_max(self.mounted.concurrent)
            || !state.jobs.is_empty()
        {
            state.jobs.push_back(job.detached());
        } else {
            state.running += 1;
            drop(state);
            self.run(job);
        }
    }

    fn envelope(&self, event: Event) -> Envelope {
        Envelope::inbound(self.socket.clone(), event, self.mounted.states.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing runs beside the first hook.
    fn running_max(&self, concurrent: usize) -> usize {
        if self.phase == Phase::Opening { 1 } else { concurrent }
    }

    /// No handler runs.
    fn is_done(&self) -> bool {
        self.running == 0 && !self.volatile_running
    }
}

impl Job {
    /// What waits is not to keep alive all that was read with it.
    fn detached(self) -> Self {
        match self {
            Self::Event { event, owed, parked_until, is_served } => {
                Self::Event { event: event.detached(), owed, parked_until, is_served }
            }
            Self::Open(_) | Self::Overheard { .. } | Self::Begun { .. } => self,
        }
    }
}
