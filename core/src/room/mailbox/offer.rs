//! What comes in: events of this side's own, shares of broadcasts, volatile events.

use super::entry::{Entry, Weight};
use super::{Bounds, Flush, Mailbox, NotAccepted, Parcel, Phase, SlowPolicy, State, Taken, Ticket};
use crate::protocol::{DisconnectReason, Encoded, LossReason};
use crate::room::Fate;
use std::task::{Context, Poll};

/// Who says something.
#[derive(Clone, Copy)]
enum Origin {
    /// This side, to this peer.
    Own,
    /// Somebody, to a room: whether it makes way for newer ones.
    Broadcast { yields: bool },
}

impl Mailbox {
    /// Appends an event of this side's own. While there is no room it waits, in the order of
    /// asking.
    ///
    /// # Errors
    /// Ready with [`NotAccepted`] other than `Full`.
    ///
    /// # Cancel safety
    /// Nothing is appended before it is ready. Whoever stops polling calls
    /// [`Mailbox::forget_ticket`].
    pub fn poll_offer(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        parcel: &Parcel<'_>,
    ) -> Poll<Result<Taken, NotAccepted>> {
        let mut state = self.lock();
        if let Err(closed) = state.check_open() {
            state.waiters.leave(ticket.take());
            return Poll::Ready(Err(closed));
        }
        if !state.replaces(parcel, &self.bounds)
            && (!state.waiters.is_next(*ticket) || !state.has_room(&self.bounds))
        {
            state.waiters.wait(ticket, cx.waker());
            return Poll::Pending;
        }
        state.waiters.leave(ticket.take());
        let taken = self.take_in(&mut state, parcel, Origin::Own);
        if state.has_room(&self.bounds) {
            state.waiters.wake_next();
        }
        Poll::Ready(Ok(taken))
    }

    /// As [`Mailbox::poll_offer`], without waiting.
    ///
    /// # Errors
    /// [`NotAccepted`]; `Full` also when others wait for room.
    pub fn try_offer(&self, parcel: &Parcel<'_>) -> Result<Taken, NotAccepted> {
        let mut state = self.lock();
        state.check_open()?;
        if !state.replaces(parcel, &self.bounds)
            && (!state.waiters.is_next(None) || !state.has_room(&self.bounds))
        {
            return Err(NotAccepted::Full);
        }
        Ok(self.take_in(&mut state, parcel, Origin::Own))
    }

    /// Gives up the place in the queue.
    pub fn forget_ticket(&self, ticket: &mut Option<Ticket>) {
        if ticket.is_some() {
            let mut state = self.lock();
            state.waiters.leave(ticket.take());
            if state.has_room(&self.bounds) {
                state.waiters.wake_next();
            }
        }
    }

    /// Appends a member's share of a broadcast. It never waits, so that a room never waits for one
    /// of its members: `policy` says what becomes of it at one that reads too slowly.
    ///
    /// # Errors
    /// [`NotAccepted`]. The broadcaster counts what was taken and what was not.
    pub fn deliver(&self, parcel: &Parcel<'_>, policy: SlowPolicy) -> Result<Taken, NotAccepted> {
        self.check_size(parcel.event_bytes)?;
        let mut state = self.lock();
        state.check_open()?;
        let policy = if state.is_lagging && policy == SlowPolicy::Detach {
            SlowPolicy::DropOldest
        } else {
            policy
        };
        let origin = Origin::Broadcast { yields: policy == SlowPolicy::DropOldest };
        if !state.is_slow(self) {
            return Ok(self.take_in(&mut state, parcel, origin));
        }
        match policy {
            SlowPolicy::Detach if !self.bounds.is_resumable => {
                state.phase = Phase::Closed(DisconnectReason::Slow);
                state.wake_all();
                Err(NotAccepted::Closed(DisconnectReason::Slow))
            }
            SlowPolicy::Detach => {
                if state.wire.is_attached() && state.drained_once {
                    state.wire.is_slow = true;
                    state.wake_driver();
                }
                self.trim_for(&mut state, parcel, origin)
            }
            SlowPolicy::DropOldest if state.first_bound_holds() => {
                self.make_way(&mut state, parcel)
            }
            SlowPolicy::DropOldest => self.trim_for(&mut state, parcel, origin),
            SlowPolicy::DropNewest => Err(self.drop_newest(&mut state)),
        }
    }

    /// Lets go of the oldest events, written or not, until all that is kept is within its bounds.
    fn trim_for(
        &self,
        state: &mut State,
        parcel: &Parcel<'_>,
        origin: Origin,
    ) -> Result<Taken, NotAccepted> {
        let (packets_max, bytes_max) = (self.bounds.log_packets_max, self.bounds.log_bytes_max);
        let mut removed = 0;
        while state.lanes.exceeds(packets_max, bytes_max) {
            if state.lanes.open_trimmed() >= packets_max {
                // A peer that reads and reads, and never says what it has.
                state.phase = Phase::Closed(DisconnectReason::Slow);
                state.wake_all();
                return Err(NotAccepted::Closed(DisconnectReason::Slow));
            }
            match state.lanes.trim_oldest(LossReason::Overflow, &*self.codec) {
                // Its fate is open until the peer's next position.
                Some(None) => {}
                Some(Some(entry)) => {
                    removed += 1;
                    self.report(state, entry.loss(Fate::Lost(LossReason::Overflow)));
                }
                // What is kept are answers, whose number the window of this side bounds.
                None => {
                    self.counters.overflowed.add(removed);
                    return Err(self.drop_newest(state));
                }
            }
        }
        let taken = self.take_in(state, parcel, origin);
        Ok(Taken { removed, ..taken })
    }

    /// Removes the oldest events that yield until there is room for this one. Where all of them
    /// would not make room, one goes for one; where even that is none, this is dropped.
    fn make_way(&self, state: &mut State, parcel: &Parcel<'_>) -> Result<Taken, NotAccepted> {
        let one_for_one = !state.lanes.may_make_way(&self.bounds);
        let mut removed = 0;
        while state.is_slow(self) {
            match state.lanes.oldest_yielding() {
                Some((_, bytes)) if one_for_one && parcel.encoded.len() > bytes => {
                    return Err(self.drop_newest(state));
                }
                Some((place, _)) => {
                    self.remove(state, place, LossReason::Overflow);
                    removed += 1;
                }
                None if one_for_one => return Err(self.drop_newest(state)),
                // What the gaps weigh: a few bytes.
                None => break,
            }
            if one_for_one {
                break;
            }
        }
        let taken = self.take_in(state, parcel, Origin::Broadcast { yields: true });
        Ok(Taken { removed, ..taken })
    }

    /// Appends an event that may be missed: never waits, never numbered, dropped without a link
    /// or above its own bound.
    ///
    /// # Errors
    /// [`NotAccepted`]: the event was dropped. The caller counts what was taken and what was not.
    pub fn offer_volatile(
        &self,
        encoded: &Encoded,
        event_bytes: usize,
    ) -> Result<Flush, NotAccepted> {
        self.check_size(event_bytes)?;
        let mut state = self.lock();
        state.check_open()?;
        let bytes = encoded.len();
        if !state.wire.is_attached()
            || state.lanes.volatile_bytes() + bytes > self.bounds.volatile_bytes_max
        {
            return Err(NotAccepted::Full);
        }
        state.lanes.push_volatile(encoded.clone());
        Ok(state.appended(self))
    }

    /// A broadcast may be larger than one of its members takes.
    fn check_size(&self, event_bytes: usize) -> Result<(), NotAccepted> {
        if event_bytes > self.bounds.event_bytes_max {
            return Err(NotAccepted::TooLarge);
        }
        Ok(())
    }

    fn take_in(&self, state: &mut State, parcel: &Parcel<'_>, origin: Origin) -> Taken {
        let older = parcel.latest.and_then(|key| state.lanes.replace_latest(key, parcel.encoded));
        if let Some(place) = older {
            self.remove(state, place, LossReason::Superseded);
        }
        let (namespace, wants_ack) = (parcel.namespace, parcel.wants_ack);
        let event_bytes = parcel.event_bytes as u32;
        let weight = Weight::Event {
            event_bytes,
            namespace,
            wants_ack,
            yields: matches!(origin, Origin::Broadcast { yields: true }),
            is_broadcast: matches!(origin, Origin::Broadcast { .. }),
            was_written: false,
        };
        state.lanes.push_event(Entry { encoded: parcel.encoded.clone(), weight });
        if !state.wire.is_attached() && self.bounds.is_resumable {
            self.detached.charge(parcel.encoded);
            self.count_places(state);
            if self.detached.wants_relief() {
                // The driver sees to it, who holds no lock.
                state.wake_driver();
            }
        }
        Taken { flush: state.appended(self), removed: older.is_some().into() }
    }

    /// The newest is not taken in; its receiver is told that there was one.
    fn drop_newest(&self, state: &mut State) -> NotAccepted {
        state.lanes.push_gap(LossReason::Overflow, &*self.codec);
        NotAccepted::Full
    }

    /// Takes out an event that was not written, and leaves a gap in its place.
    fn remove(&self, state: &mut State, place: usize, reason: LossReason) {
        let removed = state.lanes.remove_event(place, reason, &*self.codec);
        if let Some(entry) = removed {
            self.report(state, entry.loss(Fate::Lost(reason)));
        }
    }
}

impl State {
    /// Whether an older event makes room for this one: it is no smaller, or there is room for the
    /// bytes between them.
    fn replaces(&self, parcel: &Parcel<'_>, bounds: &Bounds) -> bool {
        let older = parcel.latest.and_then(|key| self.lanes.latest_bytes(key));
        older.is_some_and(|bytes| {
            let more = parcel.encoded.len().saturating_sub(bytes);
            more == 0
                || self.lanes.has_bytes(more, bounds.unwritten_bytes_max, bounds.log_bytes_max)
        })
    }

    /// Whether what waits has a bound of its own: at a member that has drained once since its
    /// attach, and at one that has been slow too often.
    fn first_bound_holds(&self) -> bool {
        self.drained_once || (self.is_lagging && self.wire.is_attached())
    }

    /// Whether a broadcast has to make way, or go: what waits has reached its bound.
    fn is_slow(&self, mailbox: &Mailbox) -> bool {
        if self.first_bound_holds() {
            return !self.has_room(&mailbox.bounds);
        }
        // A member that has just come may first take in what its rooms say.
        self.lanes.exceeds(mailbox.bounds.log_packets_max, mailbox.bounds.log_bytes_max)
    }
}
