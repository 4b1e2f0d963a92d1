//! The log: what was written and is not confirmed yet, oldest first. It is replayed on a new link.

use super::batch::Batch;
use super::entry::{Entry, Trimmed, TrimmedEvent, Weight};
use super::receipts::Receipts;
use crate::protocol::{Codec, Credit, EventRef, LossReason, NamespaceNumber, Outbound, Packet};
use crate::room::{Fate, Loss};
use std::collections::{HashSet, VecDeque};

/// Written entries. Their numbers are consecutive, and the first one's is the next to be confirmed.
#[derive(Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// So many of the last entries the current link has not been given yet.
    unreplayed: usize,
    /// So many of the first entries are no events that could be trimmed.
    untrimmable: usize,
    /// Events without their bodies whose fate is open.
    trimmed: usize,
}

/// What a position has confirmed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Confirmed {
    /// What answers among it held of this side's window.
    pub(super) freed: Credit,
    /// Events that the peer has.
    pub(super) events: u64,
    /// Packets among it that no window bounds, and their bytes.
    pub(super) unbounded: usize,
    pub(super) unbounded_bytes: usize,
}

impl Log {
    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(self.unreplayed, 0, "what is to be replayed comes first");
        self.bytes += entry.encoded.len();
        self.entries.push_back(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events without their bodies whose fate is open.
    pub(super) fn open_trimmed(&self) -> usize {
        self.trimmed
    }

    /// The peer has the oldest `count` packets.
    pub(super) fn confirm(&mut self, mut count: u64, receipts: &mut Receipts) -> Confirmed {
        let mut confirmed = Confirmed::default();
        while count > 0 {
            let Some(first) = self.entries.front_mut() else { break };
            if let Weight::Trimmed(run) = &mut first.weight {
                let is_lost = run.is_lost();
                let part = run.confirm(count);
                count -= part;
                // Of those that were skipped the receiver has only the number.
                if !is_lost {
                    confirmed.events += part;
                    self.trimmed -= part as usize;
                }
                if run.count() > 0 {
                    break;
                }
            } else {
                count -= 1;
            }
            if let Some(entry) = self.entries.pop_front() {
                receipts.tell(&entry, Fate::Received);
                self.let_go(&entry, &mut confirmed);
            }
        }
        confirmed
    }

    fn let_go(&mut self, entry: &Entry, confirmed: &mut Confirmed) {
        let bytes = entry.encoded.len();
        self.bytes -= bytes;
        self.unreplayed = self.unreplayed.min(self.entries.len());
        self.untrimmable = self.untrimmable.saturating_sub(1);
        match entry.weight {
            Weight::Event { .. } => {
                confirmed.events += 1;
            }
            Weight::Answer { event_bytes } => {
                confirmed.freed = confirmed.freed.plus(Credit::one(event_bytes as usize));
            }
            Weight::Control => {
                confirmed.unbounded += 1;
                confirmed.unbounded_bytes += bytes;
            }
            Weight::Gap { .. } | Weight::Trimmed(_) => {}
        }
    }

    /// A new link has none of it.
    pub(super) fn begin_replay(&mut self) {
        self.unreplayed = self.entries.len();
    }

    pub(super) fn has_replay(&self) -> bool {
        self.unreplayed > 0
    }

    /// Writes what the current link has not been given yet, until the batch is full. Says how many
    /// entries, and adds to `lost` what is skipped for the first time.
    pub(super) fn replay(
        &mut self,
        outbound: &mut Outbound,
        batch: &mut Batch<'_>,
        lost: &mut Vec<Loss>,
    ) -> u64 {
        let mut replayed = 0;
        while self.unreplayed > 0 && !batch.is_full() {
            let place = self.entries.len() - self.unreplayed;
            let entry = &mut self.entries[place];
            if let Weight::Trimmed(run) = &mut entry.weight {
                let from = outbound.replay(run.count());
                batch.packet(&Packet::Skip(run.skip(from)));
                self.trimmed -= run.events.len();
                run.lose(lost);
            } else {
                outbound.replay(1);
                batch.extend(&entry.encoded);
                replayed += 1;
            }
            self.unreplayed -= 1;
        }
        replayed
    }

    /// The first and the last number behind `position` of which there is no replay, and why, if
    /// there are any. `first` is the number of the first entry.
    pub(super) fn trimmed(&self, first: u64, position: u64) -> Option<(u64, u64, LossReason)> {
        let mut number = first;
        let mut trimmed: Option<(u64, u64, LossReason)> = None;
        for entry in &self.entries {
            let numbers = entry.numbers();
            let last = number + numbers - 1;
            if let Some(run) = entry.as_trimmed().filter(|_| last > position) {
                let number = number.max(position + 1);
                let (from, reason) =
                    trimmed.map_or((number, run.reason), |(from, _, why)| (from, why));
                trimmed = Some((from, last, reason));
            }
            number += numbers;
        }
        trimmed
    }

    /// Forgets the body of the oldest event; says whether there was one.
    pub(super) fn trim_oldest(
        &mut self,
        reason: LossReason,
        receipts: &mut Receipts,
        codec: &dyn Codec,
    ) -> bool {
        let is_event = |entry: &Entry| entry.is_event();
        let place = self.entries.iter().skip(self.untrimmable).position(is_event);
        self.untrimmable = place.map_or(self.entries.len(), |place| self.untrimmable + place);
        if place.is_some() {
            self.trim(self.untrimmable, reason, receipts, codec);
        }
        place.is_some()
    }

    /// Forgets the bodies of all events of a namespace.
    pub(super) fn trim_namespace(
        &mut self,
        namespace: NamespaceNumber,
        reason: LossReason,
        receipts: &mut Receipts,
        codec: &dyn Codec,
    ) {
        let first_unreplayed = self.entries.len() - self.unreplayed;
        (self.unreplayed, self.untrimmable) = (0, 0);
        // In one pass: there may be many.
        for (place, mut entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let is_of_it = entry.is_event_of(namespace);
            let trimmed = is_of_it.then(|| TrimmedEvent::of(&entry, receipts, codec)).flatten();
            if let Some(trimmed) = trimmed {
                self.bytes -= entry.encoded.len();
                self.trimmed += 1;
                entry = Entry::trimmed(Trimmed::new(trimmed, reason));
            }
            // A run that the link was told to skip does not grow.
            let before = self.entries.back_mut().filter(|_| place != first_unreplayed);
            if before.is_some_and(|before| before.join(&mut entry)) {
                continue;
            }
            self.unreplayed += usize::from(place >= first_unreplayed);
            self.entries.push_back(entry);
        }
    }

    fn trim(
        &mut self,
        place: usize,
        reason: LossReason,
        receipts: &mut Receipts,
        codec: &dyn Codec,
    ) {
        let entry = &mut self.entries[place];
        let Some(trimmed) = TrimmedEvent::of(entry, receipts, codec) else { return };
        self.bytes -= entry.encoded.len();
        self.trimmed += 1;
        let first_unreplayed = self.entries.len() - self.unreplayed;
        // A run that the link was told to skip does not grow.
        let joins = place > 0 && place != first_unreplayed;
        let before = joins.then(|| &mut self.entries[place - 1].weight);
        match before {
            Some(Weight::Trimmed(run)) if run.reason == reason && !run.is_lost() => {
                run.events.push_back(trimmed);
                self.entries.remove(place);
                self.unreplayed -= usize::from(place >= first_unreplayed);
                self.untrimmable = self.untrimmable.min(place);
            }
            _ => self.entries[place] = Entry::trimmed(Trimmed::new(trimmed, reason)),
        }
    }

    /// The session ends: the fate of what is still here is in doubt. Adds those to `losses` that
    /// are not among the `answered`, and says how many there are of either kind.
    pub(super) fn end(
        &mut self,
        answered: &HashSet<EventRef>,
        receipts: &mut Receipts,
        codec: &dyn Codec,
        losses: &mut Vec<Loss>,
    ) -> (u64, u64) {
        let (mut in_doubt, mut received) = (0, 0);
        for mut entry in self.entries.drain(..) {
            if let Weight::Trimmed(run) = &mut entry.weight {
                let before = losses.len();
                received += run.end(answered, losses);
                in_doubt += (losses.len() - before) as u64;
            }
            let Some(loss) = entry.loss(Fate::InDoubt) else { continue };
            if entry.is_event_among(answered, codec) {
                receipts.tell(&entry, Fate::Received);
                received += 1;
            } else {
                in_doubt += 1;
                losses.push(loss);
            }
        }
        *self = Self::default();
        (in_doubt, received)
    }
}
