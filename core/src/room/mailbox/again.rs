//! What becomes of the lanes when the peer is another process, or its session is put aside.

use super::entry::{Entry, TrimmedEvent};
use super::lanes::Lanes;
use crate::protocol::{Codec, Encoded, EventRef, LossReason, NamespaceNumber};
use crate::room::{Fate, Loss};
use std::collections::HashSet;

impl Lanes {
    /// Nothing of it was written, for a peer that knows nothing of it: events and gaps wait again,
    /// in their order, and everything else is void. Of events that were written and trimmed nobody
    /// knows any more whether the old peer had them: adds those to `in_doubt`. Says how many events
    /// were answered before.
    pub(super) fn restart(
        &mut self,
        answered: &HashSet<EventRef>,
        codec: &dyn Codec,
        in_doubt: &mut Vec<Loss>,
    ) -> u64 {
        let Self { events: waiting, log, latest, receipts, .. } = std::mem::take(self);
        (self.latest, self.receipts) = (latest, receipts);
        let mut received = 0;
        let log = log.into_entries().map(|entry| (entry, true));
        for (entry, was_written) in log.chain(waiting.into_iter().map(|entry| (entry, false))) {
            if entry.is_event_among(answered, codec) {
                self.receipts.tell(&entry, Fate::Received);
                received += 1;
                continue;
            }
            let again = entry.restart(was_written, answered, codec, in_doubt, &mut received);
            if let Some(entry) = again {
                self.push_event(entry);
            }
        }
        received
    }

    /// Bytes of the places in which entries wait or are kept, beside their bodies.
    pub(super) fn places_bytes(&self) -> usize {
        let places = self.control.capacity() + self.events.capacity() + self.log.capacity();
        places * size_of::<Entry>() + self.log.open_trimmed() * size_of::<TrimmedEvent>()
    }

    /// Gives up places that are empty.
    pub(super) fn shrink(&mut self) {
        self.control.shrink_to_fit();
        self.events.shrink_to_fit();
        self.log.shrink();
    }

    /// Everything that waits or is kept.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Encoded)) {
        let waiting = self.control.iter().chain(&self.events);
        waiting.chain(self.log.entries()).for_each(|entry| each(&entry.encoded));
    }

    /// Lets go of all events of a namespace; those come back that were not written.
    pub(super) fn trim_namespace(
        &mut self,
        namespace: NamespaceNumber,
        reason: LossReason,
        codec: &dyn Codec,
    ) -> Vec<Entry> {
        self.log.trim_namespace(namespace, reason, &mut self.receipts, codec);
        let mut removed = Vec::new();
        let is_of_it = |entry: &Entry| entry.is_event_of(namespace);
        let mut from = 0;
        while let Some(offset) = self.events.iter().skip(from).position(is_of_it) {
            let place = from + offset;
            removed.extend(self.remove_event(place, reason, codec));
            // The gap there may have joined those on both its sides.
            from = place.saturating_sub(2);
        }
        removed
    }
}
