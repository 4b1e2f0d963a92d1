//! Events that somebody awaits: served on arrival, ahead of the lane.

use super::{Job, Lane, Phase};
use crate::handler::{hears, hears_any};
use crate::protocol::{Event, EventName};
use crate::run::answer::Owed;
use crate::socket::Ack;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;

/// What an event is owed that nobody else hears, and until when it is parked.
type Unheard = (Owed, Option<Instant>);

/// What becomes of an event that has come.
pub(super) enum Arrived {
    /// It is in the hands of those who awaited it.
    Served,
    /// It has its turn; who awaited it has it already, or nobody did.
    InTurn { owed: Owed, is_served: bool },
}

impl Lane {
    /// Gives an event that has just come to whoever awaits it, behind older ones of its name.
    pub(super) fn serve_on_arrival(self: &Arc<Self>, event: &Event, owed: Owed) -> Arrived {
        if self.awaits(&event.name) {
            self.take_up_parked();
            self.look_again();
            if self.awaits(&event.name) && !self.park.holds(&event.name) {
                return match self.serve(event, owed, None) {
                    None => Arrived::Served,
                    Some(owed) => Arrived::InTurn { owed, is_served: true },
                };
            }
        }
        Arrived::InTurn { owed, is_served: false }
    }

    /// Gives the event to whoever awaits it. What it is owed comes back when there are listeners
    /// too, or nobody awaits it.
    pub(super) fn serve(
        self: &Arc<Self>,
        event: &Event,
        owed: Owed,
        parked_until: Option<Instant>,
    ) -> Option<Owed> {
        if !self.awaits(&event.name) || self.is_over() {
            return Some(owed);
        }
        if self.hears(&event.name) {
            self.socket.own().serve(event, None);
            return Some(owed);
        }
        self.lock().served += 1;
        let (lane, kept) = (Arc::clone(self), event.detached());
        let done = move |taken| lane.take_back(kept, owed, parked_until, taken);
        self.socket.own().serve(event, Some(Box::new(done)));
        None
    }

    /// Serves what waits in line and somebody has begun to await meanwhile.
    pub(crate) fn look_again(self: &Arc<Self>) {
        while let Some((event, unheard)) = self.find_awaited() {
            match unheard {
                None => self.socket.own().serve(&event, None),
                Some((owed, parked_until)) => {
                    if let Some(owed) = self.serve(&event, owed, parked_until) {
                        // Nobody awaits it any more.
                        self.lock().served += 1;
                        self.take_back(event, owed, parked_until, false);
                    }
                }
            }
        }
    }

    /// Whether somebody awaits an event of this name.
    pub(super) fn awaits(&self, name: &str) -> bool {
        // Who awaits an event has seen to it that there is an emitter: see `Socket::wait_for`.
        self.socket.own_emitter().is_some() && self.socket.own().awaits(name)
    }

    /// The names that somebody awaits.
    pub(super) fn awaited(&self) -> HashSet<EventName> {
        self.socket.own_emitter().map(|_| self.socket.own().awaited()).unwrap_or_default()
    }

    /// Whether events of this name have a listener.
    pub(super) fn hears(&self, name: &str) -> bool {
        hears(&self.mounted.blueprint.emitter, &self.socket, name)
    }

    /// The first event in line that somebody awaits; out of line if nobody else hears it.
    fn find_awaited(&self) -> Option<(Event, Option<Unheard>)> {
        // Once for all in line, so that the oldest of a name is found.
        let awaited = self.awaited();
        if awaited.is_empty() {
            return None;
        }
        let mut state = self.lock();
        let is_awaited = |job: &Job| match job {
            Job::Event { event, is_served: false, .. } => awaited.contains(&event.name),
            _ => false,
        };
        let place = state.jobs.iter().position(is_awaited)?;
        match state.jobs.get_mut(place) {
            Some(Job::Event { event, is_served, .. }) if self.hears(&event.name) => {
                *is_served = true;
                Some((event.clone(), None))
            }
            _ => match state.jobs.remove(place)? {
                Job::Event { event, owed, parked_until, .. } => {
                    Some((event, Some((owed, parked_until))))
                }
                _ => None,
            },
        }
    }

    /// The last who was given an event has let go of it. If somebody has taken it, it is handled;
    /// else it is handled as if nobody had awaited it, ahead of those that came later. Whoever let
    /// go may be anywhere, also outside of the runtime, so that the driver begins what is to do.
    fn take_back(&self, event: Event, owed: Owed, parked_until: Option<Instant>, taken: bool) {
        let id = event.id;
        let job = if taken {
            owed.answer(Ok(Ack::empty()));
            Job::Overheard { event }
        } else {
            Job::Event { event, owed, parked_until, is_served: false }
        };
        let is_heard_by_all =
            || !hears_any(&self.mounted.blueprint.emitter, &self.socket).is_empty();
        let goes_on = !taken || is_heard_by_all();
        let mut state = self.lock();
        state.served = state.served.saturating_sub(1);
        let overheard = || state.jobs.iter().filter(|job| matches!(job, Job::Overheard { .. }));
        let has_room = !taken || overheard().count() < self.config.volatile_inbox_max;
        if state.phase == Phase::Over || !goes_on || !has_room {
            drop(state);
            if goes_on && !has_room {
                tracing::warn!("those who hear everything are too slow for what is awaited");
            }
            // Whoever lets go of an event answers it.
            drop(job);
            return self.socket.session().nudge_if_draining();
        }
        let is_later = |job: &Job| match job {
            Job::Event { event, .. } | Job::Overheard { event } => {
                event.id.producer == id.producer && event.id.number > id.number
            }
            _ => false,
        };
        let place = state.jobs.iter().position(is_later).unwrap_or(state.jobs.len());
        state.jobs.insert(place, job);
        drop(state);
        self.socket.session().call_driver();
    }
}
