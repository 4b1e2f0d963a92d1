//! The mailbox: everything a session sends waits, travels and is kept here.
//!
//! Two waiting lanes (control and events) and one log of what was written and is not yet
//! confirmed. Whoever has bytes appends them under a short lock and then tries to take the *write
//! claim*: its holder writes, everyone else just appends. A short write leaves the rest to the
//! driver, which is woken once. No lock is held during a write.

mod again;
mod batch;
mod entry;
mod lanes;
mod latest;
mod log;
mod losses;
mod news;
mod offer;
mod receipts;
mod terms;
mod waiters;
mod wire;

pub(crate) use batch::{FRAME_BYTES_MIN, pieces};
pub(crate) use entry::decode;
pub use latest::LatestKey;
pub use terms::{Bounds, Flush, News, NotAccepted, Parcel, Queue, SlowPolicy, Taken};
pub use waiters::Ticket;
pub use wire::{Outlet, Parting, WireEnd};

use super::{Counters, Detached, Loss};
use crate::protocol::{
    Close, Codec, Credit, DisconnectReason, Drain, Encoded, Outbound, Packet, Position,
    ProtocolError, SocketId,
};
use batch::BATCH_BYTES_MAX;
use entry::{Entry, Weight};
use lanes::Lanes;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use waiters::Waiters;
use wire::Wire;

#[derive(Clone, Debug)]
enum Phase {
    Open,
    Draining,
    Closed(DisconnectReason),
}

/// What the session has to say that is no event and no answer. Each is said once, newest wins.
#[derive(Default)]
struct Notices {
    /// The welcome, on the link of a server.
    first: Option<Encoded>,
    from: Option<u64>,
    position: (u64, Credit),
    position_due: bool,
    /// The position may go with whatever is written next.
    may_ride: bool,
    /// It did.
    rode: bool,
    asks: bool,
    heartbeat: bool,
    drain: Option<Box<Drain>>,
    close: Option<Box<Close>>,
}

struct State {
    phase: Phase,
    outbound: Outbound,
    lanes: Lanes,
    notices: Notices,
    wire: Wire,
    waiters: Waiters,
    driver: Option<Waker>,
    /// Parts of the window that are free again and not yet told to the inbound machine.
    freed: Credit,
    /// The driver was to be woken while it was awake.
    news: bool,
    /// The thread whose turn has taken it on to flush; zero for none.
    flush_pending: u64,
    /// The peer was asked for its position and has not answered.
    asked: bool,
    /// The peer knows that events wait here for its window.
    told_stuck: bool,
    /// The peer asked, and is not content yet: answers that it has not confirmed hold up its
    /// window, those that are not written yet as well.
    peer_waits: bool,
    /// Nothing has waited at least once since the link was attached.
    drained_once: bool,
    /// Somebody wants to know of each event that is lost.
    reports_losses: bool,
    /// It was detached for slowness more than once, and has not caught up since.
    is_lagging: bool,
    /// What its places take without a link, as the others who have none know it.
    places_bytes: usize,
    /// What hardly any session has; without memory until it does.
    asides: Option<Box<Asides>>,
}

/// What happens to a mailbox now and then.
#[derive(Default)]
struct Asides {
    /// Sockets that were asked to end, with the words for their peer.
    leaving: Vec<(SocketId, Box<str>)>,
    /// Events that are lost, as far as somebody wants to know.
    losses: Vec<Loss>,
    /// Who waits until nothing waits.
    drain_waiters: Waiters,
}

/// Where a packet goes that is no event.
#[derive(Clone, Copy, Default)]
struct Place {
    behind_events: bool,
    /// To whom alone it is to be said.
    epoch: Option<u32>,
}

/// The way out of one session.
pub struct Mailbox {
    state: Mutex<State>,
    codec: Arc<dyn Codec>,
    bounds: Bounds,
    /// This side's own window: what unconfirmed answers hold of it makes the mailbox ask.
    window: Credit,
    counters: Arc<Counters>,
    epoch: AtomicU32,
    /// Where what it keeps without a link is counted.
    detached: Arc<Detached>,
}

impl Mailbox {
    /// The empty mailbox of a new session. `window` is this side's own, in which unconfirmed
    /// answers hold their events' slots.
    #[must_use]
    pub fn new(
        codec: Arc<dyn Codec>,
        outbound: Outbound,
        window: Credit,
        bounds: Bounds,
        counters: Arc<Counters>,
        detached: Arc<Detached>,
    ) -> Self {
        let state = State {
            phase: Phase::Open,
            outbound,
            lanes: Lanes::default(),
            notices: Notices { position: (0, window), ..Notices::default() },
            wire: Wire::default(),
            waiters: Waiters::default(),
            driver: None,
            freed: Credit::default(),
            news: false,
            flush_pending: 0,
            asked: false,
            told_stuck: false,
            peer_waits: false,
            drained_once: false,
            reports_losses: false,
            is_lagging: false,
            places_bytes: 0,
            asides: None,
        };
        let (state, epoch) = (Mutex::new(state), AtomicU32::new(0));
        Self { state, codec, bounds, window, counters, epoch, detached }
    }

    /// What the session speaks.
    #[must_use]
    pub fn codec(&self) -> &Arc<dyn Codec> {
        &self.codec
    }

    /// Appends a counted packet that is no event: it overtakes waiting events.
    pub fn push_control(&self, packet: &Packet) -> Flush {
        self.push(packet, Weight::Control, Place::default())
    }

    /// Appends a counted packet that must stay behind the events before it.
    pub fn push_behind_events(&self, packet: &Packet) -> Flush {
        self.push(packet, Weight::Control, Place { behind_events: true, epoch: None })
    }

    /// Which client process this is for: a new one has nothing of what the one before was told, and
    /// does not wait for its answers.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Appends an ack or nak to somebody of this epoch. The answered event's part of the window is
    /// free again when the peer has confirmed the answer.
    pub fn push_answer(&self, packet: &Packet, credit: Credit, epoch: u32) -> Flush {
        let weight = match credit.events {
            // The slot was given back before, when the event was parked.
            0 => Weight::Control,
            _ => Weight::Answer { event_bytes: credit.bytes as u32 },
        };
        self.push(packet, weight, Place { behind_events: false, epoch: Some(epoch) })
    }

    /// An event of this epoch has finished without an answer: its part of the window is free again.
    pub fn finish(&self, credit: Credit, epoch: u32) {
        let mut state = self.lock();
        // Under the lock, under which it changes.
        if epoch != self.epoch() {
            return;
        }
        state.freed = state.freed.plus(credit);
        state.wake_driver();
    }

    /// Ready when nothing waits to be written any more, and the wire has taken all that was.
    ///
    /// # Errors
    /// [`NotAccepted::Closed`] when the session has ended.
    ///
    /// # Cancel safety
    /// Whoever stops polling calls [`Mailbox::forget_drained`].
    pub fn poll_drained(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), NotAccepted>> {
        let mut state = self.lock();
        if let Phase::Closed(reason) = &state.phase {
            return Poll::Ready(Err(NotAccepted::Closed(reason.clone())));
        }
        if state.has_drained() {
            return Poll::Ready(Ok(()));
        }
        state.asides.get_or_insert_default().drain_waiters.wait(ticket, cx.waker());
        Poll::Pending
    }

    /// Waits no longer until nothing waits.
    pub fn forget_drained(&self, ticket: &mut Option<Ticket>) {
        if let Some(asides) = &mut self.lock().asides {
            asides.drain_waiters.leave(ticket.take());
        }
    }

    /// What waits and what is kept, now.
    #[must_use]
    pub fn queue(&self) -> Queue {
        let state = self.lock();
        let is_attached = state.wire.is_attached() && !matches!(state.phase, Phase::Closed(_));
        Queue { is_attached, ..state.lanes.queue() }
    }

    /// Announces a drain and takes no more events.
    pub fn begin_drain(&self, announce: Option<Drain>) -> Flush {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Draining;
            state.waiters.wake_all();
        }
        if announce.is_some() {
            // With a position, so that the peer can tell what was known when this was said.
            state.notices.position_due = true;
            state.notices.drain = announce.map(Box::new);
        }
        state.appended(self)
    }

    /// Takes no more events, and says goodbye behind what may still be written. With `at_once`
    /// waiting events are not written any more.
    pub fn begin_close(&self, reason: DisconnectReason, close: Close, at_once: bool) -> Flush {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Closed(_)) {
            state.phase = Phase::Closed(reason);
        }
        if at_once {
            self.account_for_waiting(&mut state);
        }
        // With its last position the peer knows what arrived.
        state.notices.position_due = true;
        state.notices.close = Some(Box::new(close));
        state.wake_all();
        state.appended(self)
    }

    /// Takes nothing more, because of `reason`, unless it was closed before.
    pub fn shut(&self, reason: &DisconnectReason) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Closed(_)) {
            state.phase = Phase::Closed(reason.clone());
        }
        state.wake_all();
    }

    /// Takes the peer's position: trims the log, opens the window. Says how many packets the link
    /// has been given.
    ///
    /// # Errors
    /// [`ProtocolError::Position`] when the peer claims what was never written.
    pub fn handle_position(&self, position: &Position) -> Result<(Flush, u64), ProtocolError> {
        let mut state = self.lock();
        let confirmed = state.outbound.handle_position(position)?;
        self.confirm(&mut state, confirmed);
        state.asked = false;
        // Whoever was told that this side is stuck says by itself when that changes.
        state.told_stuck &= state.is_stuck(&self.bounds);
        state.peer_waits |= position.asks;
        state.after_progress(&self.bounds);
        let sent = state.outbound.sent();
        Ok((state.appended(self), sent))
    }

    /// The peer has so many packets more.
    fn confirm(&self, state: &mut State, count: u64) {
        if count > 0 {
            let confirmed = state.lanes.confirm(count);
            state.freed = state.freed.plus(confirmed.freed);
            self.counters.received.add(confirmed.events);
        }
    }

    /// Whether a link may begin whose peer has all packets up to `position`.
    ///
    /// # Errors
    /// As [`Mailbox::attach`].
    pub fn check_attach(&self, position: u64) -> Result<(), ProtocolError> {
        self.lock().outbound.check_attach(position)
    }

    /// Why the mailbox takes nothing more, if so.
    #[must_use]
    pub fn closed(&self) -> Option<DisconnectReason> {
        match &self.lock().phase {
            Phase::Closed(reason) => Some(reason.clone()),
            Phase::Open | Phase::Draining => None,
        }
    }

    /// Whether nothing waits and everything written is confirmed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let state = self.lock();
        state.lanes.is_empty() && state.outbound.confirmed() == state.outbound.written()
    }

    fn push(&self, packet: &Packet, weight: Weight, place: Place) -> Flush {
        let entry = Entry { encoded: self.codec.encode(packet), weight };
        let mut state = self.lock();
        let is_stale = place.epoch.is_some_and(|epoch| epoch != self.epoch());
        if is_stale || state.is_over() {
            return Flush::Pending;
        }
        let (packets_max, bytes_max) = (self.bounds.log_packets_max, self.bounds.log_bytes_max);
        if state.lanes.unbounded_exceed(packets_max, bytes_max) {
            // A peer that asks and never reads what it is told.
            state.phase = Phase::Closed(DisconnectReason::Slow);
            state.wake_all();
            return Flush::Pending;
        }
        if place.behind_events {
            state.lanes.push_event(entry);
        } else {
            state.lanes.push_control(entry);
        }
        state.appended(self)
    }

    /// A poisoned lock means that a panic happened between two statements that cannot panic;
    /// the numbers are whole, so the session goes on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_open(&self) -> Result<(), NotAccepted> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Draining => Err(NotAccepted::Draining),
            Phase::Closed(reason) => Err(NotAccepted::Closed(reason.clone())),
        }
    }

    /// Nothing appended now would ever be written.
    fn is_over(&self) -> bool {
        let is_closed = matches!(self.phase, Phase::Closed(_));
        is_closed && (!self.wire.is_attached() || self.wire.is_done())
    }

    /// Room for one more event, of whatever size.
    fn has_room(&self, bounds: &Bounds) -> bool {
        !self.lanes.waiting_exceeds(bounds.unwritten_packets_max, bounds.unwritten_bytes_max)
            && !self.lanes.exceeds(bounds.log_packets_max, bounds.log_bytes_max)
    }

    /// After an append: who flushes?
    fn appended(&mut self, mailbox: &Mailbox) -> Flush {
        if self.lanes.waiting_bytes() >= BATCH_BYTES_MAX && self.wire.is_idle() {
            self.ask_if_stuck(mailbox);
            return Flush::Now;
        }
        let thread = this_thread();
        if std::mem::replace(&mut self.flush_pending, thread) == thread {
            // What has to be asked is asked when that flush comes.
            return Flush::Pending;
        }
        self.ask_if_stuck(mailbox);
        Flush::AtTurnEnd
    }

    fn ask(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            self.notices.asks = true;
        }
    }

    /// After something left the lanes or the log.
    fn after_progress(&mut self, bounds: &Bounds) {
        if self.has_drained() {
            self.drained_once = true;
            self.is_lagging = false;
            self.wake_drain_waiters();
        }
        self.wake_for_room(bounds);
    }

    fn wake_for_room(&mut self, bounds: &Bounds) {
        if !self.waiters.is_empty() && self.has_room(bounds) {
            self.waiters.wake_next();
        }
    }

    fn wake_driver(&mut self) {
        match self.driver.take() {
            Some(driver) => driver.wake(),
            // It is about to look anyway, or has not registered yet.
            None => self.news = true,
        }
    }

    fn wake_all(&mut self) {
        self.waiters.wake_all();
        self.wake_drain_waiters();
        self.wake_driver();
    }

    /// Nothing waits, and the wire has taken everything.
    fn has_drained(&self) -> bool {
        self.wire.is_idle() && !self.lanes.has_waiting() && !self.lanes.has_replay()
    }

    fn wake_drain_waiters(&mut self) {
        if let Some(asides) = &self.asides {
            asides.drain_waiters.wake_all();
        }
    }
}

impl Asides {
    /// What the driver is to know; who waits goes on waiting.
    fn take_news(&mut self) -> Self {
        let leaving = std::mem::take(&mut self.leaving);
        let losses = std::mem::take(&mut self.losses);
        Self { leaving, losses, ..Self::default() }
    }
}

thread_local! {
    static THREAD: u64 = {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    };
}

/// A number of this thread, never zero. A thread has one turn at a time, so it names the turn.
fn this_thread() -> u64 {
    THREAD.with(|thread| *thread)
}
