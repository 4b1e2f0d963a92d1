//! The mailbox: everything a session sends waits, travels and is kept here.
//!
//! Two waiting lanes (control and events) and one log of what was written and is not yet
//! confirmed. Whoever has bytes appends them under a short lock and then tries to take the *write
//! claim*: its holder writes, everyone else just appends. A short write leaves the rest to the
//! driver, which is woken once. No lock is held during a write.

mod batch;
mod entry;
mod lanes;
mod latest;
mod log;
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

use super::detached::Places;
use super::{Counters, Detached, Fate, Loss};
use crate::protocol::{
    Close, Codec, Credit, DisconnectReason, Drain, Encoded, EventRef, LossReason, NamespaceNumber,
    Outbound, Packet, Position, ProtocolError, SocketId,
};
use batch::BATCH_BYTES_MAX;
use entry::{Entry, Weight};
use lanes::Lanes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;
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
    /// The peer asked, and answers that it has not confirmed hold up its window.
    peer_waits: bool,
    /// Nothing has waited at least once since the link was attached.
    drained_once: bool,
    /// Somebody wants to know of each event that is lost.
    reports_losses: bool,
    /// It was detached for slowness more than once, and has not caught up since.
    is_lagging: bool,
    /// It has no link, and had to let go of everything: its place among those that have none.
    evicted: Option<u64>,
    /// What its places take while it has no link.
    places: Places,
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
            evicted: None,
            places: Places::default(),
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
        self.push(packet, Weight::Control, false)
    }

    /// Appends a counted packet that must stay behind the events before it.
    pub fn push_behind_events(&self, packet: &Packet) -> Flush {
        self.push(packet, Weight::Control, true)
    }

    /// Which client process this is for: a new one has nothing of what the one before was told, and
    /// does not wait for its answers.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The peer is a new process: both directions are counted anew. What the old one had not
    /// confirmed waits again, but for what it has answered, for answers to it, and for what was said
    /// of its namespaces.
    pub fn restart(&self, window: Credit, answered: &HashSet<EventRef>) {
        let mut state = self.lock();
        self.epoch.fetch_add(1, Ordering::Relaxed);
        state.outbound = Outbound::new(window);
        let received = state.lanes.restart(answered, &*self.codec);
        self.counters.received.add(received);
        state.freed = Credit::default();
        state.notices.position = (0, self.window);
    }

    /// Appends an ack or nak to somebody of this epoch. The answered event's part of the window is
    /// free again when the peer has confirmed the answer.
    pub fn push_answer(&self, packet: &Packet, credit: Credit, epoch: u32) -> Flush {
        if epoch != self.epoch() {
            return Flush::Pending;
        }
        let weight = match credit.events {
            // The slot was given back before, when the event was parked.
            0 => Weight::Control,
            _ => Weight::Answer { event_bytes: credit.bytes as u32 },
        };
        self.push(packet, weight, false)
    }

    /// An event of this epoch has finished without an answer: its part of the window is free again.
    pub fn finish(&self, credit: Credit, epoch: u32) {
        if epoch != self.epoch() {
            return;
        }
        let mut state = self.lock();
        state.freed = state.freed.plus(credit);
        state.wake_driver();
    }

    /// Wakes the driver: something outside of the mailbox wants its attention.
    pub fn nudge(&self) {
        self.lock().wake_driver();
    }

    /// Has the driver end one socket of this session, with words for its peer.
    pub fn ask_to_leave(&self, socket: SocketId, words: &str) {
        let mut state = self.lock();
        let leaving = &mut state.asides.get_or_insert_default().leaving;
        if !leaving.iter().any(|(known, _)| *known == socket) {
            leaving.push((socket, words.into()));
        }
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

    /// For the driver, at the beginning of its poll: it is awake, nobody need wake it.
    pub fn begin_poll(&self) {
        self.lock().driver = None;
    }

    /// For the driver, when it has read up to counted packet `received`: what happened besides.
    pub fn take_news(&self, received: u64) -> News {
        let mut state = self.lock();
        state.notices.position.0 = received;
        state.news = false;
        let asides = state.asides.as_deref_mut().map(Asides::take_news).unwrap_or_default();
        News {
            leaving: asides.leaving,
            losses: asides.losses,
            freed: std::mem::take(&mut state.freed),
            position_rode: std::mem::take(&mut state.notices.rode),
            is_closed: matches!(state.phase, Phase::Closed(_)),
        }
    }

    /// Stops a position from riding; says whether one did since that was last told.
    pub fn take_rode(&self) -> bool {
        let mut state = self.lock();
        state.notices.may_ride = false;
        std::mem::take(&mut state.notices.rode)
    }

    /// Lets a position go with whatever is written next, by whomever.
    pub fn let_ride(&self, position: &Position) {
        let mut state = self.lock();
        state.notices.position = (position.received, position.granted);
        state.notices.may_ride = true;
    }

    /// For the driver, after it has registered: whether something happened since it looked.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let state = self.lock();
        state.news || state.freed.events > 0
    }

    /// Says a position with whatever goes out next, at the latest with the next flush.
    pub fn post_position(&self, position: &Position) -> Flush {
        let mut state = self.lock();
        state.notices.position = (position.received, position.granted);
        state.notices.position_due = true;
        // It is newer than the one that might have gone with something else.
        state.notices.may_ride = false;
        state.notices.rode = false;
        state.appended(self)
    }

    /// Says a heartbeat.
    pub fn post_heartbeat(&self) -> Flush {
        let mut state = self.lock();
        state.notices.heartbeat = true;
        state.appended(self)
    }

    /// Asks for the peer's position unless that was done since the last one came.
    pub fn post_ask(&self) -> Flush {
        let mut state = self.lock();
        state.ask();
        state.appended(self)
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

    /// Lets go of all events, written or not: sessions without a link keep too much, of which this
    /// is the one at `place`.
    pub(super) fn evict(&self, place: u64) {
        let mut state = self.lock();
        if state.wire.is_attached() {
            // It came back meanwhile.
            return;
        }
        state.evicted = Some(place);
        let mut removed = 0;
        while let Some(trimmed) = state.lanes.trim_oldest(LossReason::Overflow, &*self.codec) {
            if let Some(entry) = trimmed {
                removed += 1;
                self.report(&mut state, entry.loss(Fate::Lost(LossReason::Overflow)));
            }
        }
        state.lanes.shrink();
        self.count_places(&mut state);
        self.counters.overflowed.add(removed);
        self.counters.evicted.add(1);
        tracing::warn!("sessions without a link keep too much: one has let go of its events");
    }

    /// What it keeps without a link counts for all of those who have none.
    fn count_places(&self, state: &mut State) {
        let is_away = !state.wire.is_attached() && self.bounds.is_resumable;
        let bytes = if is_away { state.lanes.places_bytes() } else { 0 };
        self.detached.count(&mut state.places, bytes);
    }

    /// Its peer was too slow again and again: what is said to its rooms makes way for newer until it
    /// has caught up.
    pub fn lag(&self) {
        self.lock().is_lagging = true;
    }

    /// Takes nothing more, because of `reason`, unless it was closed before.
    pub fn shut(&self, reason: &DisconnectReason) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Closed(_)) {
            state.phase = Phase::Closed(reason.clone());
        }
        state.waiters.wake_all();
        state.wake_drain_waiters();
    }

    /// The session is over: whatever was not confirmed is accounted for and let go. The peer has
    /// those that it has `answered`, whatever its last position said. Gives what is lost or in
    /// doubt, as far as somebody wants to know.
    pub fn end(&self, reason: &DisconnectReason, answered: &HashSet<EventRef>) -> Vec<Loss> {
        self.shut(reason);
        let mut state = self.lock();
        self.account_for_waiting(&mut state);
        let mut losses = Vec::new();
        let (in_doubt, received) = state.lanes.end(answered, &*self.codec, &mut losses);
        self.counters.in_doubt.add(in_doubt);
        self.counters.received.add(received);
        self.counters.volatile_dropped.add(state.lanes.drop_volatile());
        self.report(&mut state, losses);
        let losses = state.asides.take().map(|asides| asides.losses).unwrap_or_default();
        let lanes = std::mem::take(&mut state.lanes);
        let wire = std::mem::take(&mut state.wire);
        state.places = Places::default();
        drop(state);
        // Closing a wire is a system call, and bodies may be many: not under the lock.
        drop((lanes, wire));
        losses
    }

    /// The driver is told of all events that are lost from now on, not only of those whose answers
    /// are waited for.
    pub fn report_losses(&self) {
        self.lock().reports_losses = true;
    }

    /// Somebody waits until the peer has this event, which is about to be offered; or until it is
    /// known that it never will.
    #[must_use]
    pub fn expect_receipt(&self, encoded: &Encoded) -> oneshot::Receiver<Fate> {
        self.lock().lanes.receipts.expect(encoded)
    }

    /// Nobody waits for that any more. To be called while the event is still kept.
    pub fn forget_receipt(&self, encoded: &Encoded) {
        self.lock().lanes.receipts.forget(encoded);
    }

    /// Takes the peer's position: trims the log, opens the window.
    ///
    /// # Errors
    /// [`ProtocolError::Position`] when the peer claims what was never written.
    pub fn handle_position(&self, position: &Position) -> Result<Flush, ProtocolError> {
        let mut state = self.lock();
        let confirmed = state.outbound.handle_position(position)?;
        self.confirm(&mut state, confirmed);
        state.asked = false;
        // Whoever was told that this side is stuck says by itself when that changes.
        state.told_stuck &= state.is_stuck(&self.bounds);
        state.peer_waits =
            (state.peer_waits || position.asks) && state.lanes.unconfirmed_answers().events > 0;
        state.after_progress(&self.bounds);
        Ok(state.appended(self))
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

    /// All counted packets of the peer up to here have arrived, as the driver last said.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().notices.position.0
    }

    /// For the driver: all counted packets of the peer up to here have arrived.
    pub fn set_position(&self, received: u64) {
        self.lock().notices.position.0 = received;
    }

    /// The first and the last number behind `position` of which this side has no replay, and why.
    #[must_use]
    pub fn trimmed(&self, position: u64) -> Option<(u64, u64, LossReason)> {
        let state = self.lock();
        let (from, to, reason) = state.lanes.trimmed(state.outbound.confirmed() + 1)?;
        (to > position).then(|| (from.max(position + 1), to, reason))
    }

    /// A namespace was refused or left for good: of its events nothing more is written.
    pub fn close_namespace(&self, namespace: NamespaceNumber) {
        let mut state = self.lock();
        let removed = state.lanes.trim_namespace(namespace, LossReason::Closed, &*self.codec);
        self.counters.lost.add(removed.len() as u64);
        let fate = Fate::Lost(LossReason::Closed);
        self.report(&mut state, removed.iter().filter_map(|entry| entry.loss(fate)));
        state.after_progress(&self.bounds);
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

    fn push(&self, packet: &Packet, weight: Weight, behind_events: bool) -> Flush {
        let entry = Entry { encoded: self.codec.encode(packet), weight };
        let mut state = self.lock();
        if state.is_over() {
            return Flush::Pending;
        }
        let (packets_max, bytes_max) = (self.bounds.log_packets_max, self.bounds.log_bytes_max);
        if state.lanes.unbounded_exceed(packets_max, bytes_max) {
            // A peer that asks and never reads what it is told.
            state.phase = Phase::Closed(DisconnectReason::Slow);
            state.wake_all();
            return Flush::Pending;
        }
        if behind_events {
            state.lanes.push_event(entry);
        } else {
            state.lanes.push_control(entry);
        }
        state.appended(self)
    }

    fn account_for_waiting(&self, state: &mut State) {
        let lost = state.lanes.drop_waiting_events();
        self.counters.lost.add(lost.len() as u64);
        self.report(state, lost);
    }

    /// Has the driver tell who wants to know of events that are lost.
    fn report(&self, state: &mut State, losses: impl IntoIterator<Item = Loss>) {
        let reports_all = state.reports_losses;
        let mut losses = losses.into_iter().filter(|it| it.wants_ack || reports_all).peekable();
        if losses.peek().is_none() {
            return;
        }
        let told = &mut state.asides.get_or_insert_default().losses;
        // Of more than that the driver is not told at once: counters tell the rest.
        let room = (2 * self.bounds.log_packets_max).saturating_sub(told.len());
        told.extend(losses.take(room));
        state.wake_driver();
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
