//! Events that somebody awaits: served on arrival, ahead of the lane.

use super::{Job, Lane, Phase};
use crate::handler::{Unhandled, hears, hears_any};
use crate::protocol::Event;
use crate::run::answer::Owed;
use crate::socket::Ack;
use std::sync::Arc;
use tokio::time::Instant;

impl Lane {
    /// Gives the event to whoever awaits it. What it is owed comes back when there are listeners
    /// too, or nobody awaits it.
    pub(super) fn serve(self: &Arc<Self>, event: &Event, owed: Owed) -> Option<Owed> {
        if !self.awaits(&event.name) || self.is_over() {
            return Some(owed);
        }
        let own = self.socket.own();
        if self.hears(&event.name) {
            own.serve(event, None);
            return Some(owed);
        }
        self.overhear(event);
        let (lane, untaken) = (Arc::clone(self), event.detached());
        // Who hears everything has heard it already.
        let parked_until = Some(lane.parks_until());
        let done = move |taken| match taken {
            true => owed.answer(Ok(Ack::empty())),
            false => lane.give_back(Job::Event { event: untaken, owed, parked_until }),
        };
        own.serve(event, Some(Box::new(done)));
        None
    }

    /// Tells those who hear everything, if anybody does.
    pub(super) fn overhear(self: &Arc<Self>, event: &Event) {
        if !hears_any(&self.mounted.blueprint.emitter, &self.socket).is_empty() {
            self.push(Job::Overheard { event: event.clone() });
        }
    }

    /// Until when an event that nobody hears now waits for a listener.
    pub(super) fn parks_until(&self) -> Instant {
        match self.mounted.blueprint.unhandled() {
            Unhandled::Park { ttl } => Instant::now() + ttl,
            _ => Instant::now(),
        }
    }

    /// An event that nobody has taken is handled as if nobody had awaited it, ahead of those that
    /// came later. Whoever let go of it may be anywhere, also outside of the runtime, so that its
    /// handler is begun by the driver.
    fn give_back(&self, job: Job) {
        let mut state = self.lock();
        if state.phase == Phase::Over {
            drop(state);
            return drop(job);
        }
        state.jobs.push_front(job);
        drop(state);
        self.socket.session().resume();
    }

    /// Whether somebody awaits an event of this name.
    pub(super) fn awaits(&self, name: &str) -> bool {
        // Who awaits an event has seen to it that there is an emitter: see `Socket::wait_for`.
        self.socket.own_emitter().is_some() && self.socket.own().awaits(name)
    }

    /// Whether events of this name have a listener.
    pub(super) fn hears(&self, name: &str) -> bool {
        hears(&self.mounted.blueprint.emitter, &self.socket, name)
    }
}
