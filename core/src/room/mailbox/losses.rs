//! What becomes of events that are not delivered, and who is told.

use super::{Loss, Mailbox, State};
use crate::protocol::{
    Credit, DisconnectReason, Encoded, EventRef, LossReason, NamespaceNumber, Outbound,
};
use crate::room::Fate;
use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// So many losses at once are always told, however small the log is.
const REPORTED_MIN: usize = 65_536;

impl Mailbox {
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
        self.count_places(&mut state);
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

    /// Whether this event waits to be written, as long as whoever asks holds it.
    #[must_use]
    pub fn has_unwritten(&self, encoded: &Encoded) -> bool {
        let state = self.lock();
        let mut events = state.lanes.events.iter().rev();
        events.any(|entry| entry.encoded.address() == encoded.address())
    }

    /// Nobody waits for that any more. To be called while the event is still kept.
    pub fn forget_receipt(&self, encoded: &Encoded) {
        self.lock().lanes.receipts.forget(encoded);
    }

    /// Lets go of all events, written or not: sessions without a link keep too much.
    pub(in crate::room) fn evict(&self) {
        let mut state = self.lock();
        if state.wire.is_attached() {
            // It came back meanwhile.
            return;
        }
        let (mut removed, mut any) = (0, false);
        while let Some(trimmed) = state.lanes.trim_oldest(LossReason::Overflow, &*self.codec) {
            any = true;
            if let Some(entry) = trimmed {
                removed += 1;
                self.report(&mut state, entry.loss(Fate::Lost(LossReason::Overflow)));
            }
        }
        state.lanes.shrink();
        self.count_places(&mut state);
        state.after_progress(&self.bounds);
        self.counters.overflowed.add(removed);
        if !any {
            return;
        }
        self.counters.evicted.add(1);
        tracing::warn!("sessions without a link keep too much: one has let go of its events");
    }

    /// What its places take without a link counts for all of those who have none.
    pub(super) fn count_places(&self, state: &mut State) {
        let is_away = !state.wire.is_attached() && self.bounds.is_resumable;
        let bytes = if is_away { state.lanes.places_bytes() } else { 0 };
        self.detached.recount(std::mem::replace(&mut state.places_bytes, bytes), bytes);
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

    pub(super) fn account_for_waiting(&self, state: &mut State) {
        let lost = state.lanes.drop_waiting_events();
        self.counters.lost.add(lost.len() as u64);
        self.report(state, lost);
    }

    /// Has the driver tell who wants to know of events that are lost.
    pub(super) fn report(&self, state: &mut State, losses: impl IntoIterator<Item = Loss>) {
        let reports_all = state.reports_losses;
        let mut losses = losses.into_iter().filter(|it| it.wants_ack || reports_all).peekable();
        if losses.peek().is_none() {
            return;
        }
        let told = &mut state.asides.get_or_insert_default().losses;
        // Of more than that nobody is told who only wants to know: counters tell the rest. Of those
        // whose answers are waited for there are no more than there is who waits.
        let max = self.bounds.log_packets_max.saturating_mul(2).max(REPORTED_MIN);
        for loss in losses {
            if loss.wants_ack || told.len() < max {
                told.push(loss);
            }
        }
        state.wake_driver();
    }

    /// The peer is a new process: both directions are counted anew. What the old one had not
    /// confirmed waits again, but for what it has answered, for answers to it, and for what was
    /// said of its namespaces.
    pub fn restart(&self, window: Credit, answered: &HashSet<EventRef>) {
        let mut state = self.lock();
        self.epoch.fetch_add(1, Ordering::Relaxed);
        state.outbound = Outbound::new(window);
        let mut in_doubt = Vec::new();
        let received = state.lanes.restart(answered, &*self.codec, &mut in_doubt);
        self.counters.received.add(received);
        self.counters.in_doubt.add(in_doubt.len() as u64);
        self.report(&mut state, in_doubt);
        state.freed = Credit::default();
        state.notices.position = (0, self.window);
    }

    /// The first and the last number behind `position` of which this side has no replay, and why.
    #[must_use]
    pub fn trimmed(&self, position: u64) -> Option<(u64, u64, LossReason)> {
        let state = self.lock();
        state.lanes.trimmed(state.outbound.confirmed() + 1, position)
    }
}

/// One that did not end in order keeps nothing either.
impl Drop for Mailbox {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.detached.recount(state.places_bytes, 0);
    }
}
