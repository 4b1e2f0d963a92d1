//! The writing half, the claim on it, and what its holder does.

use super::batch::Batch;
use super::{Bounds, Mailbox, Notices, Phase, State};
use crate::protocol::{
    CloseCode, DisconnectReason, Encoded, Frame, Packet, Position, ProtocolError,
};
use crate::transport::WriteHalf;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

/// Batches that one claim writes before it leaves the rest to the driver, so that an emitter is
/// not kept at writing what others append.
const BATCHES_PER_CLAIM: usize = 16;

thread_local! {
    /// A batch is short-lived and never crosses threads unless its write falls short, so that
    /// idle mailboxes hold none.
    static SPARE_BATCH: Cell<VecDeque<Frame>> = const { Cell::new(VecDeque::new()) };
}

/// How a mailbox's link stands, for the driver.
#[derive(Debug)]
pub enum WireEnd {
    /// Writing failed.
    Broken(io::Error),
    /// The goodbye is written, nothing follows.
    Closed,
    /// The mailbox was closed without a goodbye to write: a slow member.
    Cut(DisconnectReason),
    /// A slow member is to be detached; its session goes on.
    Slow,
}

/// A link for a mailbox to write on.
pub struct Outlet {
    half: Box<dyn WriteHalf>,
    frame_bytes_max: usize,
    may_drop: bool,
    fragmented: u64,
    first: Option<Encoded>,
}

impl Outlet {
    /// A link whose frames may be of any size.
    #[must_use]
    pub fn new(half: Box<dyn WriteHalf>) -> Self {
        Self { half, frame_bytes_max: usize::MAX, may_drop: false, fragmented: 0, first: None }
    }

    /// Packets larger than this many bytes travel in pieces.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// The wire may drop volatile frames for want of room, and says how many.
    #[must_use]
    pub fn may_drop(mut self, may_drop: bool) -> Self {
        self.may_drop = may_drop;
        self
    }

    /// So many packets have travelled in pieces on it, in its handshake.
    #[must_use]
    pub fn fragmented(mut self, packets: u64) -> Self {
        self.fragmented = packets;
        self
    }

    /// What goes before everything else on it.
    #[must_use]
    pub fn first(mut self, encoded: Encoded) -> Self {
        self.first = Some(encoded);
        self
    }
}

/// The writing half of a link that was given up, with what a short write left on it.
pub struct Parting {
    /// The half.
    pub half: Box<dyn WriteHalf>,
    /// To be written before anything else is.
    pub unsent: VecDeque<Frame>,
}

#[derive(Default)]
enum Claim {
    /// There is no link.
    #[default]
    Detached,
    /// The half is here, whoever wants may write.
    Idle,
    /// Somebody writes.
    Taken,
    /// The wire took less than it was given; the driver goes on when it may.
    Blocked,
    /// Writing failed.
    Broken(io::Error),
}

/// The writing half of the current link.
#[derive(Default)]
pub(super) struct Wire {
    half: Option<Box<dyn WriteHalf>>,
    claim: Claim,
    /// What a short write left.
    unsent: VecDeque<Frame>,
    /// The goodbye was put into a batch: nothing follows it.
    goodbye: bool,
    /// Which link of the session this is: whoever holds a half of an older one keeps it.
    generation: u64,
    frame_bytes_max: usize,
    /// The half is asked how many volatile frames it has dropped.
    may_drop: bool,
    /// Packets that were cut into pieces on this link.
    fragmented: u64,
    /// A slow member is on it, and it is to be given up.
    pub(super) is_slow: bool,
}

/// The writing half in the hands of whoever holds the claim.
struct Claimed {
    half: Box<dyn WriteHalf>,
    batch: VecDeque<Frame>,
    generation: u64,
    may_drop: bool,
}

impl Wire {
    pub(super) fn is_attached(&self) -> bool {
        !matches!(self.claim, Claim::Detached | Claim::Broken(_))
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.claim, Claim::Idle)
    }

    pub(super) fn is_done(&self) -> bool {
        self.goodbye
    }

    fn take(&mut self) -> Option<Claimed> {
        let half = self.half.take()?;
        self.claim = Claim::Taken;
        let mut batch = std::mem::take(&mut self.unsent);
        if batch.is_empty() {
            // A thread that ends has no spare one any more.
            batch = SPARE_BATCH.try_with(Cell::take).unwrap_or_default();
        }
        let Self { generation, may_drop, .. } = *self;
        Some(Claimed { half, batch, generation, may_drop })
    }

    /// The half comes back when its link has ended in the meantime.
    fn put_back(&mut self, claimed: Claimed, claim: Claim) -> Option<Box<dyn WriteHalf>> {
        let Claimed { half, batch, generation, .. } = claimed;
        let is_current = generation == self.generation && matches!(self.claim, Claim::Taken);
        if batch.is_empty() {
            let _ = SPARE_BATCH.try_with(|spare| spare.set(batch));
        } else if is_current {
            self.unsent = batch;
        }
        if !is_current {
            return Some(half);
        }
        self.half = Some(half);
        self.claim = claim;
        None
    }
}

impl Mailbox {
    /// Begins to write on a new link, whose peer has all packets up to `position`: says `From`, and
    /// replays what was written behind it. A link that is still there is given up; see
    /// [`Mailbox::detach`].
    ///
    /// # Errors
    /// [`ProtocolError::Position`] when the peer claims what was never written, or less than it has
    /// confirmed. Then the link is not taken.
    pub fn attach(&self, outlet: Outlet, position: u64) -> Result<(), ProtocolError> {
        let mut state = self.lock();
        let confirmed = state.outbound.handle_attach(position)?;
        self.confirm(&mut state, confirmed);
        let is_first = state.wire.generation == 0;
        let before = self.leave_link(&mut state);
        let Outlet { half, frame_bytes_max, may_drop, fragmented, first } = outlet;
        let generation = state.wire.generation + 1;
        let (half, claim) = (Some(half), Claim::Idle);
        let unsent = VecDeque::new();
        let wire = Wire { half, claim, unsent, generation, ..Wire::default() };
        state.wire = Wire { frame_bytes_max, may_drop, fragmented, ..wire };
        self.count_places(&mut state);
        state.notices.first = first;
        state.notices.from = Some(position + 1);
        // The peer may have missed the last one of this side.
        state.notices.position_due |= !is_first;
        state.lanes.begin_replay();
        state.wake_for_room(&self.bounds);
        state.wake_driver();
        drop(state);
        drop(before);
        Ok(())
    }

    /// Gives the link up: what was written on it is kept for the next one, volatile events are
    /// dropped. Its writing half comes back unless somebody is writing on it right now, who then
    /// lets go of it.
    pub fn detach(&self) -> Option<Parting> {
        let mut state = self.lock();
        let parting = self.leave_link(&mut state);
        state.waiters.wake_all();
        parting
    }

    /// There will be no other link at once: what it keeps counts among those that have none.
    pub fn count_as_detached(&self) {
        let mut state = self.lock();
        state.lanes.for_each(|encoded| self.detached.charge(encoded));
        self.count_places(&mut state);
    }

    fn leave_link(&self, state: &mut State) -> Option<Parting> {
        self.counters.volatile_dropped.add(state.lanes.drop_volatile());
        let generation = state.wire.generation + 1;
        let wire = std::mem::replace(&mut state.wire, Wire { generation, ..Wire::default() });
        let notices = std::mem::take(&mut state.notices);
        // A position tells the state of the session, a goodbye its end: both wait for a link.
        let Notices { position, close, .. } = notices;
        state.notices = Notices { position, close, ..Notices::default() };
        (state.asked, state.told_stuck, state.peer_waits) = (false, false, false);
        (state.drained_once, state.flush_pending) = (false, 0);
        Some(Parting { half: wire.half?, unsent: wire.unsent })
    }

    /// Writes what may go, if nobody else does. Never waits: what the wire does not take is left
    /// to the driver.
    pub fn flush(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        let claimed = {
            let mut state = self.lock();
            state.flush_pending = 0;
            if state.wire.is_idle() && state.has_output(&self.bounds) {
                state.wire.take()
            } else {
                None
            }
        };
        if let Some(claimed) = claimed {
            self.write(&mut cx, claimed, false);
        }
    }

    /// The driver's part: goes on where a short write stopped, and says when the link is done.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<WireEnd> {
        let claimed = {
            let mut state = self.lock();
            state.flush_pending = 0;
            state.driver = Some(cx.waker().clone());
            match &state.wire.claim {
                Claim::Blocked => state.wire.take(),
                Claim::Idle if state.has_output(&self.bounds) => state.wire.take(),
                _ => None,
            }
        };
        if let Some(claimed) = claimed {
            self.write(cx, claimed, true);
        }
        self.lock().wire_end().map_or(Poll::Pending, Poll::Ready)
    }

    /// Ends the writing direction in order.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Some(mut half) = state.wire.half.take() else { return Poll::Ready(()) };
        drop(state);
        if half.poll_close(cx).is_pending() {
            self.lock().wire.half = Some(half);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Writes until nothing is left, the wire takes no more, or it is the driver's turn.
    fn write(&self, cx: &mut Context<'_>, mut claimed: Claimed, by_driver: bool) {
        for round in 1.. {
            if !self.lock().fill(&mut claimed, self) {
                // The link was given up meanwhile, and its half is let go of.
                return;
            }
            let written = claimed.half.poll_write(cx, &mut claimed.batch);
            if claimed.may_drop {
                self.counters.volatile_dropped.add(claimed.half.take_dropped());
            }
            let mut state = self.lock();
            let (claim, drivers_turn) = match written {
                // The driver waits for the goodbye to be written.
                Poll::Ready(Ok(())) if !state.has_output(&self.bounds) => {
                    (Claim::Idle, state.wire.goodbye)
                }
                Poll::Ready(Ok(())) if round < BATCHES_PER_CLAIM => {
                    state.after_progress(&self.bounds);
                    continue;
                }
                Poll::Ready(Ok(())) => (Claim::Blocked, true),
                // Under the driver's own waker the wire itself calls it back.
                Poll::Pending => (Claim::Blocked, !by_driver),
                Poll::Ready(Err(error)) => (Claim::Broken(error), true),
            };
            let stale = state.wire.put_back(claimed, claim);
            state.after_progress(&self.bounds);
            if drivers_turn {
                state.wake_driver();
            }
            drop(state);
            // Closing a wire is a system call: not under the lock.
            drop(stale);
            return;
        }
    }
}

impl State {
    /// Whether there is anything to write for which the wire is not asked in vain.
    fn has_output(&self, bounds: &Bounds) -> bool {
        let notices = &self.notices;
        if self.wire.goodbye {
            return false;
        }
        notices.from.is_some()
            || self.lanes.has_replay()
            || notices.position_due
            || notices.asks
            || notices.heartbeat
            || notices.drain.is_some()
            || notices.close.is_some()
            || self.lanes.has_control()
            || self.lanes.has_volatile()
            || self.lanes.may_write_event(
                &self.outbound,
                bounds.log_packets_max,
                bounds.log_bytes_max,
            )
    }

    /// Puts into the batch what goes next. The order matters: `From` first, then what is replayed,
    /// a heartbeat behind the packets that it counts, the goodbye last. Says whether the link is
    /// still the one to write on.
    fn fill(&mut self, claimed: &mut Claimed, mailbox: &Mailbox) -> bool {
        if claimed.generation != self.wire.generation {
            return false;
        }
        let (codec, bounds) = (&*mailbox.codec, &mailbox.bounds);
        let Wire { frame_bytes_max, fragmented, goodbye, .. } = &mut self.wire;
        let mut fragments = *fragmented;
        let mut batch = Batch::new(&mut claimed.batch, codec, *frame_bytes_max, &mut fragments);
        if batch.is_full() || *goodbye {
            return true;
        }
        if let Some(first) = self.notices.first.take() {
            batch.extend(&first);
        }
        if let Some(from) = self.notices.from.take() {
            batch.packet(&Packet::From(from));
        }
        let (packets_max, bytes_max) = (bounds.log_packets_max, bounds.log_bytes_max);
        if self.lanes.has_replay() {
            self.replay(mailbox, &mut batch);
        }
        self.lanes.fill(&mut self.outbound, packets_max, bytes_max, &mut batch);
        self.ask_if_stuck(mailbox);
        let closing = self.fill_notices(bounds, &mut batch);
        mailbox.counters.bytes_out.add(batch.bytes_added() as u64);
        self.wire.fragmented = fragments;
        if let Some(code) = closing {
            claimed.half.goodbye(code);
        }
        true
    }

    fn replay(&mut self, mailbox: &Mailbox, batch: &mut Batch<'_>) {
        let mut lost = Vec::new();
        let replayed = self.lanes.replay(&mut self.outbound, batch, &mut lost);
        mailbox.counters.replayed.add(replayed);
        if !lost.is_empty() {
            mailbox.counters.lost.add(lost.len() as u64);
            mailbox.report(self, lost);
        }
    }

    /// Asks for the peer's position when its silence holds something up.
    pub(super) fn ask_if_stuck(&mut self, mailbox: &Mailbox) {
        let (packets_max, bytes_max) =
            (mailbox.bounds.log_packets_max, mailbox.bounds.log_bytes_max);
        let stuck = self.is_stuck(&mailbox.bounds);
        let full = self.lanes.exceeds(packets_max / 2, bytes_max / 2);
        let unconfirmed = self.lanes.unconfirmed_answers();
        let answers = unconfirmed.is_quarter_of(mailbox.window)
            || (self.peer_waits && unconfirmed.events > 0)
            || self.lanes.await_receipts();
        // An ask that is under way was made before this side was stuck, and says nothing of it.
        let newly_stuck = stuck && !self.told_stuck && !self.asked;
        self.told_stuck |= newly_stuck;
        if newly_stuck || full || answers {
            self.ask();
        }
    }

    /// Whether events wait for the peer's window or for room in the log.
    pub(super) fn is_stuck(&self, bounds: &Bounds) -> bool {
        let (packets_max, bytes_max) = (bounds.log_packets_max, bounds.log_bytes_max);
        self.lanes.has_events()
            && !self.lanes.may_write_event(&self.outbound, packets_max, bytes_max)
    }

    /// Says with what the link is closed, when its goodbye is among them.
    fn fill_notices(&mut self, bounds: &Bounds, batch: &mut Batch<'_>) -> Option<CloseCode> {
        let notices = &mut self.notices;
        if std::mem::take(&mut notices.heartbeat) {
            let written = self.outbound.sent();
            batch.packet(&Packet::Heartbeat { written });
        }
        let rides = notices.may_ride && !batch.is_empty();
        if std::mem::take(&mut notices.position_due) | notices.asks | rides {
            notices.rode |= std::mem::take(&mut notices.may_ride);
            let (received, granted) = notices.position;
            let asks = std::mem::take(&mut notices.asks);
            let position = Position { received, granted, ranges: Vec::new(), asks };
            batch.packet(&Packet::Position(position));
        }
        if let Some(drain) = notices.drain.take() {
            batch.packet(&Packet::Drain(*drain));
        }
        let nothing_waits = !self.lanes.has_control()
            && !self.lanes.has_replay()
            && !self.lanes.may_write_event(
                &self.outbound,
                bounds.log_packets_max,
                bounds.log_bytes_max,
            );
        let close = notices.close.take_if(|_| nothing_waits)?;
        let code = close.code;
        batch.packet(&Packet::Close(*close));
        self.wire.goodbye = true;
        Some(code)
    }

    fn wire_end(&mut self) -> Option<WireEnd> {
        match &mut self.wire.claim {
            Claim::Broken(error) => {
                let error = std::mem::replace(error, io::ErrorKind::BrokenPipe.into());
                Some(WireEnd::Broken(error))
            }
            Claim::Idle if self.wire.goodbye => Some(WireEnd::Closed),
            _ if self.wire.is_slow => Some(WireEnd::Slow),
            _ => match &self.phase {
                Phase::Closed(reason) if self.notices.close.is_none() && !self.wire.goodbye => {
                    Some(WireEnd::Cut(reason.clone()))
                }
                _ => None,
            },
        }
    }
}
