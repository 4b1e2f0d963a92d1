//! How the jobs of a lane run: in place as long as they are ready, then in a task.

use super::{Job, Lane, Phase};
use crate::handler::Unhandled;
use crate::protocol::{Event, EventName, Nak};
use crate::run::answer::Owed;
use crate::run::guard::{catch_panic, in_turn};
use crate::run::park::{Due, ParkedEvent};
use crate::socket::{Ack, Refusal, moment_after};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::watch;
use tokio::time::Instant;

impl Lane {
    /// Does what can be done in place, and leaves the rest to a task.
    pub(super) fn run(self: &Arc<Self>, first: Job) {
        let mut job = first;
        loop {
            match self.handle_in_place(job) {
                None => {}
                Some(job @ Job::Begun { .. }) => {
                    return self.spawn(Box::pin(in_turn(Arc::clone(self).work(job))));
                }
                Some(job) => return self.start(Arc::clone(self).work(job)),
            }
            match self.next_job() {
                Some(next) => job = next,
                None => return,
            }
        }
    }

    /// Polls once in place; what is not ready then goes on in a task of its own.
    pub(super) fn start(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(in_turn(work));
        let polled = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.spawn(work);
        }
    }

    /// What was polled in place becomes a task, which polls at once: no wake-up given to the no-op
    /// waker is missed.
    fn spawn(&self, work: Pin<Box<impl Future<Output = ()> + Send + 'static>>) {
        let task = tokio::spawn(work).abort_handle();
        let mut state = self.lock();
        if state.phase == Phase::Over && state.running == 0 {
            // The lane was stopped between the poll and the spawn.
            task.abort();
        }
        // Looked through only when there would be no room, so that many at once cost little each.
        if state.tasks.len() == state.tasks.capacity() {
            state.tasks.retain(|task| !task.is_finished());
        }
        state.tasks.push(task);
    }

    async fn work(self: Arc<Self>, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            // Handlers are caught by themselves; this is for whatever else of the application's is
            // called, cloned or dropped.
            if catch_panic(self.do_job(job)).await.is_none() {
                self.socket.counters().count(1, |counters| &counters.panics);
            }
            next = self.next_job();
        }
    }

    async fn do_job(self: &Arc<Self>, job: Job) {
        match job {
            Job::Open(open) => {
                let opened = open.await;
                {
                    let mut state = self.lock();
                    if state.phase == Phase::Opening {
                        state.phase = if opened { Phase::Open } else { Phase::Over };
                    }
                }
                if opened {
                    self.socket.begin();
                }
                self.spread();
            }
            Job::Begun { name, call, owed } => {
                let called = self.limited(call).await;
                self.answer(&name, called, owed);
            }
            Job::Overheard { .. } if self.is_over() => {}
            Job::Overheard { event } => self.hear_any(&event).await,
            Job::Event { owed, .. } if self.is_over() => drop(owed),
            Job::Event { event, owed, parked_until, .. } => {
                self.handle_now(event, owed, parked_until).await;
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        let next = state.jobs.pop_front();
        if next.is_none() {
            // A lane that was stopped meanwhile counts nothing any more.
            state.running = state.running.saturating_sub(1);
            state.jobs = VecDeque::new();
            drop(state);
            self.idle.notify_waiters();
            self.socket.session().nudge_if_draining();
        }
        next
    }

    /// What waits goes on beside each other, as far as it may.
    pub(crate) fn spread(self: &Arc<Self>) {
        loop {
            let job = {
                let mut state = self.lock();
                let max = state.running_max(self.mounted.concurrent);
                if state.running >= max || state.jobs.is_empty() {
                    return;
                }
                state.running += 1;
                state.jobs.pop_front()
            };
            if let Some(job) = job {
                self.run(job);
            }
        }
    }

    pub(super) async fn work_volatile(self: Arc<Self>) {
        loop {
            let event = {
                let mut state = self.lock();
                let event = state.volatile.pop_front();
                if event.is_none() {
                    state.volatile_running = false;
                    state.volatile = VecDeque::new();
                }
                event
            };
            let Some((event, is_served)) = event else {
                self.idle.notify_waiters();
                self.socket.session().nudge_if_draining();
                return;
            };
            self.hear_any(&event).await;
            // What a volatile event's handler says interests nobody.
            if self.call(event).await.is_err() && !is_served {
                self.miss_volatile(1);
            }
        }
    }

    /// Has one reliable event handled and answered, parked, or refused.
    async fn handle_now(
        self: &Arc<Self>,
        event: Event,
        mut owed: Owed,
        parked_until: Option<Instant>,
    ) {
        owed.begin();
        if parked_until.is_none() {
            self.hear_any(&event).await;
        }
        let event = match self.call(event).await {
            Ok(answer) => return owed.answer(answer.map_err(Refusal::into_nak)),
            Err(unheard) => unheard,
        };
        owed.unbegin();
        match self.mounted.blueprint.unhandled() {
            Unhandled::Park { ttl } => {
                let deadline = parked_until.unwrap_or_else(|| moment_after(ttl));
                self.park(ParkedEvent { event: event.detached(), owed, deadline });
            }
            Unhandled::Nak => owed.answer(Err(Nak::NoHandler)),
            Unhandled::Ignore => owed.answer(Ok(Ack::empty())),
        }
    }

    /// Parks an event and sees to it that somebody looks after the parked ones; refuses it when
    /// there is no room.
    fn park(self: &Arc<Self>, mut parked: ParkedEvent) {
        let (events_max, bytes_max) = (self.config.parked_events_max, self.config.parked_bytes_max);
        let name = parked.event.name.clone();
        self.socket.count(|counters| &counters.parked, |tally| &tally.parked);
        parked.owed.release_window();
        if let Some(owed) = self.park.admit(parked, events_max, bytes_max) {
            self.unpark(1);
            return owed.answer(Err(Nak::NoHandler));
        }
        if self.is_over() {
            // The lane was stopped meanwhile, and will not look here again.
            return self.refuse_parked();
        }
        self.park.keep(|| {
            // From here on it misses no listener, also before its task has begun.
            let shared = self.mounted.blueprint.emitter.changed();
            let own = self.socket.emitter().changed();
            let keeper = Arc::clone(self).look_after_parked(shared, own);
            tokio::spawn(in_turn(keeper)).abort_handle()
        });
        if self.hears(&name) || self.awaits(&name) {
            // The listener came between two looks; nobody will tell the keeper again.
            self.socket.session().call_driver();
        }
    }

    /// Has the driver look again whenever a listener is added or an event has waited long enough,
    /// until none is left. Only the driver takes parked events up, so that they stay in order.
    async fn look_after_parked(
        self: Arc<Self>,
        mut shared: watch::Receiver<()>,
        mut own: watch::Receiver<()>,
    ) {
        while let Some(next) = self.park.next_deadline() {
            let (mut shared, mut own) = (pin!(shared.changed()), pin!(own.changed()));
            let changed = poll_fn(|cx| match shared.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => own.as_mut().poll(cx).map(|_| ()),
            });
            let _ = tokio::time::timeout_at(next, changed).await;
            let mut looked = pin!(self.looked.notified());
            looked.as_mut().enable();
            self.socket.session().call_driver();
            looked.await;
        }
    }

    /// Has parked events handled that are heard now, and answers those that have waited long
    /// enough. For the driver alone.
    pub(crate) fn take_up_parked(self: &Arc<Self>) {
        // Of those that are only awaited the oldest is served; who begins to wait meanwhile is
        // looked after next time.
        let mut awaited = self.awaited();
        let is_heard = |name: &EventName| self.hears(name) || awaited.remove(name);
        let due = self.park.take_due(Instant::now(), is_heard);
        self.unpark(due.len());
        for due in due {
            match due {
                Due::Heard(ParkedEvent { event, owed, deadline }) => {
                    let is_served = self.awaits(&event.name);
                    if let Some(owed) = self.serve(&event, owed, Some(deadline)) {
                        let parked_until = Some(deadline);
                        self.push(Job::Event { event, owed, parked_until, is_served });
                    }
                }
                Due::Expired(owed) => owed.answer(Err(Nak::NoHandler)),
            }
        }
        self.looked.notify_waiters();
    }
}
