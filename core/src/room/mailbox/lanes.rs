//! What waits in a mailbox, and the log of what was written.

use super::latest::{Latest, LatestKey};
use super::terms::{Bounds, Queue};
use crate::protocol::{Codec, Credit, Encoded, Frame, Gap, LossReason, Outbound, Packet};
use std::collections::VecDeque;

/// What a counted packet weighs in the windows of both directions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weight {
    /// Spends the peer's window. One that yields makes way for newer ones of its kind.
    Event { event_bytes: u32, wants_ack: bool, yields: bool },
    /// Stands for events that were removed.
    Gap { count: u32, reason: LossReason },
    /// Holds its event's slot in this side's own window until it is confirmed.
    Answer { event_bytes: u32 },
    /// Neither.
    Control,
}

/// One counted packet.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) encoded: Encoded,
    pub(super) weight: Weight,
}

/// Two lanes that wait, the volatile events beside them, and the log.
#[derive(Default)]
pub(super) struct Lanes {
    control: VecDeque<Entry>,
    events: VecDeque<Entry>,
    volatile: VecDeque<Encoded>,
    log: VecDeque<Entry>,
    waiting_bytes: usize,
    volatile_bytes: usize,
    log_bytes: usize,
    /// Packets that no window bounds, waiting or in the log, and their bytes.
    unbounded: usize,
    unbounded_bytes: usize,
    /// What the answers in the log hold of this side's window.
    unconfirmed_answers: Credit,
    /// Waiting events of which only the newest matters.
    latest: Option<Box<Latest>>,
    /// So many of the first waiting events do not yield.
    firm: usize,
    /// Gaps that wait: they take no place of an event.
    gaps: usize,
    /// Events that wait and yield, and their bytes.
    yielding: usize,
    yielding_bytes: usize,
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

    /// Moves what may go into `batch`, numbering it on the way, until the batch is full.
    pub(super) fn fill(
        &mut self,
        outbound: &mut Outbound,
        log_packets_max: usize,
        log_bytes_max: usize,
        batch: &mut Batch<'_>,
    ) {
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
            || (self.log.len() < log_packets_max && self.log_bytes < log_bytes_max);
        self.events.front().is_some_and(|entry| match entry.weight {
            Weight::Event { event_bytes, .. } => {
                log_has_room && outbound.admits(event_bytes as usize)
            }
            // Where no event may go a gap waits, so that what is removed behind it joins it.
            Weight::Gap { .. } => log_has_room && outbound.admits(0),
            Weight::Answer { .. } | Weight::Control => true,
        })
    }

    /// The peer has the oldest `count` packets of the log. Says what their answers held.
    pub(super) fn confirm(&mut self, count: u64) -> Credit {
        let mut freed = Credit::default();
        for entry in self.log.drain(..(count as usize).min(self.log.len())) {
            self.log_bytes -= entry.encoded.len();
            if entry.is_unbounded() {
                self.unbounded -= 1;
                self.unbounded_bytes -= entry.encoded.len();
            }
            if let Weight::Answer { event_bytes } = entry.weight {
                freed = freed.plus(Credit::one(event_bytes as usize));
            }
        }
        self.unconfirmed_answers = self.unconfirmed_answers.minus(freed);
        self.release_memory();
        freed
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
            unconfirmed_bytes: self.log_bytes,
            volatile: self.volatile.len(),
            is_attached: false,
        }
    }

    /// Forgets the events that were never written; says how many.
    pub(super) fn drop_waiting_events(&mut self) -> u64 {
        self.latest = None;
        (self.firm, self.yielding, self.yielding_bytes) = (0, 0, 0);
        let waiting = std::mem::take(&mut self.events);
        let events = count_events(&waiting);
        for entry in waiting {
            if entry.is_event() {
                self.waiting_bytes -= entry.encoded.len();
            } else {
                self.events.push_back(entry);
            }
        }
        events
    }

    pub(super) fn events_in_log(&self) -> u64 {
        count_events(&self.log)
    }

    pub(super) fn volatile_events(&self) -> u64 {
        self.volatile.len() as u64
    }

    pub(super) fn unconfirmed_answers(&self) -> Credit {
        self.unconfirmed_answers
    }

    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
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
            || self.waiting_bytes + self.log_bytes >= bytes_max
    }

    /// Whether there would be room if all events made way that do.
    pub(super) fn may_make_way(&self, bounds: &Bounds) -> bool {
        let packets = self.waiting_packets() - self.yielding;
        let bytes = self.waiting_bytes - self.yielding_bytes;
        packets < bounds.unwritten_packets_max
            && bytes < bounds.unwritten_bytes_max
            && packets + self.log.len() < bounds.log_packets_max
            && bytes + self.log_bytes < bounds.log_bytes_max
    }

    /// Whether so many more bytes may wait.
    pub(super) fn has_bytes(&self, more: usize, waiting_max: usize, all_max: usize) -> bool {
        let waiting = self.waiting_bytes + more;
        waiting <= waiting_max && waiting + self.log_bytes <= all_max
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
        let bytes = entry.encoded.len();
        self.waiting_bytes -= bytes;
        self.log_bytes += bytes;
        if let Weight::Answer { event_bytes } = entry.weight {
            let held = Credit::one(event_bytes as usize);
            self.unconfirmed_answers = self.unconfirmed_answers.plus(held);
        }
        batch.extend(&entry.encoded);
        self.log.push_back(entry);
    }

    /// An idle session keeps no queue in memory.
    fn release_memory(&mut self) {
        if self.is_empty() {
            self.control = VecDeque::new();
            self.events = VecDeque::new();
            self.log = VecDeque::new();
        }
        if self.volatile.is_empty() {
            self.volatile = VecDeque::new();
        }
    }
}

fn count_events(entries: &VecDeque<Entry>) -> u64 {
    entries.iter().filter(|entry| entry.is_event()).count() as u64
}

impl Entry {
    /// Neither the peer's window bounds it nor, as an answer, this side's own.
    fn is_unbounded(&self) -> bool {
        matches!(self.weight, Weight::Control)
    }

    fn is_event(&self) -> bool {
        matches!(self.weight, Weight::Event { .. })
    }

    fn gap(count: u32, reason: LossReason, codec: &dyn Codec) -> Self {
        let packet = Packet::Gap(Gap { count: count.into(), reason });
        Self { encoded: codec.encode(&packet), weight: Weight::Gap { count, reason } }
    }

    fn as_gap(&self) -> Option<(u32, LossReason)> {
        match self.weight {
            Weight::Gap { count, reason } => Some((count, reason)),
            _ => None,
        }
    }

    fn is_gap_of(&self, reason: LossReason) -> bool {
        self.as_gap().is_some_and(|(_, own)| own == reason)
    }

    /// So many more were removed.
    fn grow(&mut self, more: u32, codec: &dyn Codec) {
        if let Some((count, reason)) = self.as_gap() {
            *self = Self::gap(count.saturating_add(more), reason, codec);
        }
    }
}

/// The frames of one vectored write, up to a bound.
pub(super) struct Batch<'a> {
    frames: &'a mut VecDeque<Frame>,
    bytes: usize,
    bytes_before: usize,
    frames_max: usize,
    bytes_max: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        frames: &'a mut VecDeque<Frame>,
        frames_max: usize,
        bytes_max: usize,
    ) -> Self {
        let bytes = frames.iter().map(|frame| frame.body.len()).sum();
        Self { frames, bytes, bytes_before: bytes, frames_max, bytes_max }
    }

    pub(super) fn extend(&mut self, encoded: &Encoded) {
        self.bytes += encoded.len();
        self.frames.extend(encoded.frames().iter().cloned());
    }

    pub(super) fn bytes_added(&self) -> usize {
        self.bytes - self.bytes_before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= self.frames_max || self.bytes >= self.bytes_max
    }
}
