//! What waits in a mailbox, beside the log of what was written.

use super::batch::Batch;
use super::entry::{Entry, Weight};
use super::latest::{Latest, LatestKey};
use super::log::{Confirmed, Log};
use super::receipts::Receipts;
use super::terms::{Bounds, Queue};
use crate::protocol::{Codec, Credit, Encoded, EventRef, LossReason, Outbound};
use crate::room::{Fate, Loss};
use std::collections::{HashSet, VecDeque};

/// Two lanes that wait, the volatile events beside them, and the log.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) control: VecDeque<Entry>,
    pub(super) events: VecDeque<Entry>,
    volatile: VecDeque<Encoded>,
    pub(super) log: Log,
    waiting_bytes: usize,
    volatile_bytes: usize,
    /// Packets that no window bounds, waiting or in the log, and their bytes.
    unbounded: usize,
    unbounded_bytes: usize,
    /// What the answers in the log hold of this side's window.
    unconfirmed_answers: Credit,
    /// Waiting events of which only the newest matters.
    pub(super) latest: Option<Box<Latest>>,
    /// So many of the first waiting events do not yield.
    firm: usize,
    /// Gaps that wait: they take no place of an event.
    gaps: usize,
    /// Events that wait and yield, and their bytes.
    yielding: usize,
    yielding_bytes: usize,
    /// Who waits until the peer has an event.
    pub(super) receipts: Receipts,
}

impl Lanes {
    pub(super) fn push_control(&mut self, entry: Entry) {
        self.admit(&entry);
        self.control.push_back(entry);
    }

    pub(super) fn push_event(&mut self, entry: Entry) {
        self.admit(&entry);
        self.enter(&entry);
        self.events.push_back(entry);
    }

    pub(super) fn push_volatile(&mut self, encoded: Encoded) {
        self.volatile_bytes += encoded.len();
        self.volatile.push_back(encoded);
    }

    /// Writes what a new link has not been given yet, until the batch is full. Says how many
    /// packets, and adds to `lost` what is skipped for the first time.
    pub(super) fn replay(
        &mut self,
        outbound: &mut Outbound,
        batch: &mut Batch<'_>,
        lost: &mut Vec<Loss>,
    ) -> u64 {
        self.log.replay(outbound, batch, lost)
    }

    /// Moves what may go into `batch`, numbering it on the way, until the batch is full. What is
    /// to be replayed comes first.
    pub(super) fn fill(
        &mut self,
        outbound: &mut Outbound,
        log_packets_max: usize,
        log_bytes_max: usize,
        batch: &mut Batch<'_>,
    ) {
        if self.log.has_replay() {
            return;
        }
        while !batch.is_full() {
            let Some(entry) = self.control.pop_front() else { break };
            outbound.hand_over();
            self.write(entry, batch);
        }
        while !batch.is_full() && self.may_write_event(outbound, log_packets_max, log_bytes_max) {
            let Some(entry) = self.events.pop_front() else { break };
            self.firm = self.firm.saturating_sub(1);
            self.leave(&entry);
            match entry.weight {
                Weight::Event { event_bytes, .. } => {
                    self.forget_latest(&entry.encoded);
                    outbound.hand_over_event(event_bytes as usize)
                }
                _ => outbound.hand_over(),
            };
            self.write(entry, batch);
        }
        while !batch.is_full() {
            let Some(encoded) = self.volatile.pop_front() else { break };
            self.volatile_bytes -= encoded.len();
            batch.extend(&encoded);
        }
    }

    /// Whether the first waiting event may be written: the peer's window is open for it, and the
    /// log has room to keep it.
    pub(super) fn may_write_event(
        &self,
        outbound: &Outbound,
        log_packets_max: usize,
        log_bytes_max: usize,
    ) -> bool {
        let log_has_room = self.log.is_empty()
            || (self.log.len() < log_packets_max && self.log.bytes() < log_bytes_max);
        self.events.front().is_some_and(|entry| match entry.weight {
            Weight::Event { event_bytes, .. } => {
                log_has_room && outbound.admits(event_bytes as usize)
            }
            // Where no event may go a gap waits, so that what is removed behind it joins it.
            Weight::Gap { .. } => log_has_room && outbound.admits(0),
            Weight::Answer { .. } | Weight::Control | Weight::Trimmed(_) => true,
        })
    }

    /// The peer has the oldest `count` packets of the log.
    pub(super) fn confirm(&mut self, count: u64) -> Confirmed {
        let confirmed = self.log.confirm(count, &mut self.receipts);
        self.unbounded -= confirmed.unbounded;
        self.unbounded_bytes -= confirmed.unbounded_bytes;
        self.unconfirmed_answers = self.unconfirmed_answers.minus(confirmed.freed);
        self.release_memory();
        confirmed
    }

    /// A new link has nothing of the log, and is to be given all of it.
    pub(super) fn begin_replay(&mut self) {
        self.log.begin_replay();
    }

    /// See [`Log::trimmed`].
    pub(super) fn trimmed(&self, first: u64, position: u64) -> Option<(u64, u64, LossReason)> {
        self.log.trimmed(first, position)
    }

    /// See [`Log::open_trimmed`].
    pub(super) fn open_trimmed(&self) -> usize {
        self.log.open_trimmed()
    }

    /// Lets go of the oldest event, written or not; says whether there was one. Its entry comes
    /// back if it was not written.
    pub(super) fn trim_oldest(
        &mut self,
        reason: LossReason,
        codec: &dyn Codec,
    ) -> Option<Option<Entry>> {
        if self.log.trim_oldest(reason, &mut self.receipts, codec) {
            return Some(None);
        }
        let place = self.events.iter().position(Entry::is_event)?;
        Some(self.remove_event(place, reason, codec))
    }

    /// Forgets the volatile events; says how many.
    pub(super) fn drop_volatile(&mut self) -> u64 {
        self.volatile_bytes = 0;
        std::mem::take(&mut self.volatile).len() as u64
    }

    /// All broadcasts that wait make way for newer ones from now on.
    pub(super) fn let_broadcasts_yield(&mut self) {
        for entry in &mut self.events {
            let bytes = entry.encoded.len();
            if let Weight::Event { yields, is_broadcast: true, .. } = &mut entry.weight {
                if !std::mem::replace(yields, true) {
                    self.yielding += 1;
                    self.yielding_bytes += bytes;
                }
            }
        }
        self.firm = 0;
    }

    /// Where the oldest event stands that makes way for newer ones, and its bytes. Whoever asks
    /// again does not look again at those before it.
    pub(super) fn oldest_yielding(&mut self) -> Option<(usize, usize)> {
        let yields = |entry: &Entry| matches!(entry.weight, Weight::Event { yields: true, .. });
        let place = self.events.iter().skip(self.firm).position(yields);
        self.firm = place.map_or(self.events.len(), |place| self.firm + place);
        Some((self.firm, self.events.get(self.firm)?.encoded.len()))
    }

    /// The bytes of the event that waits under this key.
    pub(super) fn latest_bytes(&self, key: &LatestKey) -> Option<usize> {
        self.latest.as_ref()?.get(key).map(Encoded::len)
    }

    /// The event waits under this key from now on; says where the older one stands.
    pub(super) fn replace_latest(&mut self, key: &LatestKey, encoded: &Encoded) -> Option<usize> {
        let older = self.latest.get_or_insert_default().insert(key, encoded)?;
        self.events.iter().rposition(|entry| entry.encoded.address() == older.address())
    }

    /// Takes out an event that was not written, and leaves a gap in its place.
    pub(super) fn remove_event(
        &mut self,
        place: usize,
        reason: LossReason,
        codec: &dyn Codec,
    ) -> Option<Entry> {
        let gap = Entry::gap(1, reason, codec);
        let gap_bytes = gap.encoded.len();
        let removed = std::mem::replace(self.events.get_mut(place)?, gap);
        self.gaps += 1;
        self.leave(&removed);
        self.waiting_bytes += gap_bytes;
        self.waiting_bytes -= removed.encoded.len();
        self.forget_latest(&removed.encoded);
        self.receipts.tell(&removed, Fate::Lost(reason));
        self.join_gaps(place, codec);
        Some(removed)
    }

    /// Puts a gap behind everything that waits, or lets the one there grow.
    pub(super) fn push_gap(&mut self, reason: LossReason, codec: &dyn Codec) {
        self.push_event(Entry::gap(1, reason, codec));
        self.join_gaps(self.events.len() - 1, codec);
    }

    /// Joins the gap at `place` with those beside it, so that of each reason there is one in a row.
    fn join_gaps(&mut self, place: usize, codec: &dyn Codec) {
        let is_gap = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.as_gap().is_some());
        let mut first = place;
        while first > 0 && is_gap(self.events.get(first - 1)) {
            first -= 1;
        }
        // The row was in order before, on either side of `place`: it is short.
        let mut kept = first;
        let mut next = first + 1;
        while is_gap(self.events.get(next)) {
            let Some((count, reason)) = self.events[next].as_gap() else { break };
            let same = (first..=kept).find(|known| self.events[*known].is_gap_of(reason));
            match same {
                Some(known) => {
                    let gap = &mut self.events[known];
                    self.waiting_bytes -= gap.encoded.len();
                    gap.grow(count, codec);
                    self.waiting_bytes += gap.encoded.len();
                    let joined = self.events.remove(next).map_or(0, |gap| gap.encoded.len());
                    self.waiting_bytes -= joined;
                    self.gaps -= 1;
                    self.firm = self.firm.min(next);
                }
                None => {
                    kept = next;
                    next += 1;
                }
            }
        }
    }

    fn enter(&mut self, entry: &Entry) {
        match entry.weight {
            Weight::Gap { .. } => self.gaps += 1,
            Weight::Event { yields: true, .. } => {
                self.yielding += 1;
                self.yielding_bytes += entry.encoded.len();
            }
            _ => {}
        }
    }

    fn leave(&mut self, entry: &Entry) {
        match entry.weight {
            Weight::Gap { .. } => self.gaps -= 1,
            Weight::Event { yields: true, .. } => {
                self.yielding -= 1;
                self.yielding_bytes -= entry.encoded.len();
            }
            _ => {}
        }
    }

    fn forget_latest(&mut self, encoded: &Encoded) {
        if let Some(latest) = &mut self.latest {
            latest.remove(encoded);
            if latest.is_empty() {
                self.latest = None;
            }
        }
    }

    pub(super) fn queue(&self) -> Queue {
        Queue {
            waiting: self.control.len() + self.events.len(),
            waiting_bytes: self.waiting_bytes,
            unconfirmed: self.log.len(),
            unconfirmed_bytes: self.log.bytes(),
            volatile: self.volatile.len(),
            is_attached: false,
        }
    }

    /// Forgets the events that were never written; says which.
    pub(super) fn drop_waiting_events(&mut self) -> Vec<Loss> {
        self.latest = None;
        (self.firm, self.yielding, self.yielding_bytes) = (0, 0, 0);
        let fate = Fate::Lost(LossReason::Closed);
        let mut lost = Vec::new();
        for entry in std::mem::take(&mut self.events) {
            if let Some(loss) = entry.loss(fate) {
                self.waiting_bytes -= entry.encoded.len();
                self.receipts.tell(&entry, fate);
                lost.push(loss);
            } else {
                self.events.push_back(entry);
            }
        }
        lost
    }

    /// See [`Log::end`].
    pub(super) fn end(
        &mut self,
        answered: &HashSet<EventRef>,
        codec: &dyn Codec,
        losses: &mut Vec<Loss>,
    ) -> (u64, u64) {
        self.log.end(answered, &mut self.receipts, codec, losses)
    }

    /// Whether somebody waits until the peer has something that was written.
    pub(super) fn await_receipts(&self) -> bool {
        !self.receipts.is_empty() && !self.log.is_empty()
    }

    pub(super) fn unconfirmed_answers(&self) -> Credit {
        self.unconfirmed_answers
    }

    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    pub(super) fn has_replay(&self) -> bool {
        self.log.has_replay()
    }

    pub(super) fn has_volatile(&self) -> bool {
        !self.volatile.is_empty()
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.has_control() || self.has_events()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_waiting() && self.log.is_empty()
    }

    /// What waits, without the gaps, of which there is one in a row for each reason.
    fn waiting_packets(&self) -> usize {
        self.control.len() + self.events.len() - self.gaps
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn volatile_bytes(&self) -> usize {
        self.volatile_bytes
    }

    /// Whether what waits has reached either bound.
    pub(super) fn waiting_exceeds(&self, packets_max: usize, bytes_max: usize) -> bool {
        self.waiting_packets() >= packets_max || self.waiting_bytes >= bytes_max
    }

    /// Whether all that waits or is kept has reached either bound.
    pub(super) fn exceeds(&self, packets_max: usize, bytes_max: usize) -> bool {
        self.waiting_packets() + self.log.len() >= packets_max
            || self.waiting_bytes + self.log.bytes() >= bytes_max
    }

    /// Whether there would be room if all events made way that do.
    pub(super) fn may_make_way(&self, bounds: &Bounds) -> bool {
        let packets = self.waiting_packets() - self.yielding;
        let bytes = self.waiting_bytes - self.yielding_bytes;
        packets < bounds.unwritten_packets_max
            && bytes < bounds.unwritten_bytes_max
            && packets + self.log.len() < bounds.log_packets_max
            && bytes + self.log.bytes() < bounds.log_bytes_max
    }

    /// Whether so many more bytes may wait.
    pub(super) fn has_bytes(&self, more: usize, waiting_max: usize, all_max: usize) -> bool {
        let waiting = self.waiting_bytes + more;
        waiting <= waiting_max && waiting + self.log.bytes() <= all_max
    }

    /// Whether packets that no window bounds have reached either bound.
    pub(super) fn unbounded_exceed(&self, packets_max: usize, bytes_max: usize) -> bool {
        self.unbounded >= packets_max || self.unbounded_bytes >= bytes_max
    }

    fn admit(&mut self, entry: &Entry) {
        self.waiting_bytes += entry.encoded.len();
        if entry.is_unbounded() {
            self.unbounded += 1;
            self.unbounded_bytes += entry.encoded.len();
        }
    }

    fn write(&mut self, entry: Entry, batch: &mut Batch<'_>) {
        self.waiting_bytes -= entry.encoded.len();
        self.unconfirmed_answers = self.unconfirmed_answers.plus(entry.held());
        batch.extend(&entry.encoded);
        self.log.push(entry);
    }

    /// An idle session keeps no queue in memory.
    fn release_memory(&mut self) {
        if self.is_empty() {
            self.control = VecDeque::new();
            self.events = VecDeque::new();
            self.log = Log::default();
        }
        if self.volatile.is_empty() {
            self.volatile = VecDeque::new();
        }
    }
}
