//! One counted packet on its way through a mailbox.

use super::receipts::{Receipt, Receipts};
use crate::protocol::{
    Codec, Credit, Encoded, EventRef, Gap, LossReason, NamespaceNumber, Packet, Skip,
};
use crate::room::{Fate, Loss, Remains};
use std::collections::{HashSet, VecDeque};

/// What a counted packet weighs in the windows of both directions.
#[derive(Debug)]
pub(super) enum Weight {
    /// Spends the peer's window. One that yields makes way for newer ones of its kind, and all
    /// broadcasts do at a peer that is slow again and again; one that was written an earlier
    /// process of the peer may have had.
    Event {
        event_bytes: u32,
        namespace: NamespaceNumber,
        wants_ack: bool,
        yields: bool,
        is_broadcast: bool,
        was_written: bool,
    },
    /// Stands for events that were removed before they were written.
    Gap { count: u32, reason: LossReason },
    /// Holds its event's slot in this side's own window until it is confirmed.
    Answer { event_bytes: u32 },
    /// Neither.
    Control,
    /// Events that were written, and whose bodies are gone.
    Trimmed(Box<Trimmed>),
}

/// One counted packet, or a run of those of which only the numbers are left.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) encoded: Encoded,
    pub(super) weight: Weight,
}

/// Consecutive events that were written, are not confirmed, and cannot be replayed.
#[derive(Debug)]
pub(super) struct Trimmed {
    /// Those whose fate is open.
    pub(super) events: VecDeque<TrimmedEvent>,
    /// Those that a link was told to skip: its end does not have them, and never will. A run has
    /// either these or those.
    pub(super) lost: Credit,
    pub(super) reason: LossReason,
}

/// What is left of an event without its body.
#[derive(Debug)]
pub(super) struct TrimmedEvent {
    pub(super) event: EventRef,
    pub(super) bytes: u32,
    pub(super) namespace: NamespaceNumber,
    pub(super) wants_ack: bool,
    /// Who waits until the peer has it.
    pub(super) receipt: Option<Receipt>,
}

impl Entry {
    pub(super) fn gap(count: u32, reason: LossReason, codec: &dyn Codec) -> Self {
        let packet = Packet::Gap(Gap { count: count.into(), reason });
        Self { encoded: codec.encode(&packet), weight: Weight::Gap { count, reason } }
    }

    pub(super) fn trimmed(run: Trimmed) -> Self {
        Self { encoded: Encoded::from(Vec::new()), weight: Weight::Trimmed(Box::new(run)) }
    }

    /// Neither the peer's window bounds it nor, as an answer, this side's own.
    pub(super) fn is_unbounded(&self) -> bool {
        matches!(self.weight, Weight::Control)
    }

    pub(super) fn is_event(&self) -> bool {
        matches!(self.weight, Weight::Event { .. })
    }

    pub(super) fn is_event_of(&self, namespace: NamespaceNumber) -> bool {
        matches!(self.weight, Weight::Event { namespace: own, .. } if own == namespace)
    }

    /// Whether it is one of these events. Reading it costs something, so that is asked late.
    pub(super) fn is_event_among(&self, events: &HashSet<EventRef>, codec: &dyn Codec) -> bool {
        !events.is_empty()
            && self.is_event()
            && matches!(
                decode(&self.encoded, codec),
                Some(Packet::Event(packet)) if events.contains(&packet.event)
            )
    }

    /// How many numbers it stands for.
    pub(super) fn numbers(&self) -> u64 {
        self.as_trimmed().map_or(1, Trimmed::count)
    }

    pub(super) fn as_trimmed(&self) -> Option<&Trimmed> {
        match &self.weight {
            Weight::Trimmed(run) => Some(run),
            _ => None,
        }
    }

    pub(super) fn as_gap(&self) -> Option<(u32, LossReason)> {
        match self.weight {
            Weight::Gap { count, reason } => Some((count, reason)),
            _ => None,
        }
    }

    pub(super) fn is_gap_of(&self, reason: LossReason) -> bool {
        self.as_gap().is_some_and(|(_, own)| own == reason)
    }

    /// So many more were removed.
    pub(super) fn grow(&mut self, more: u32, codec: &dyn Codec) {
        if let Some((count, reason)) = self.as_gap() {
            *self = Self::gap(count.saturating_add(more), reason, codec);
        }
    }

    /// What of it is for a peer that knows nothing of it: of what was trimmed there is a gap, its
    /// fate is in doubt unless it was answered, and what is neither event nor gap is void.
    pub(super) fn restart(
        mut self,
        was_written: bool,
        answered: &HashSet<EventRef>,
        codec: &dyn Codec,
        in_doubt: &mut Vec<Loss>,
        received: &mut u64,
    ) -> Option<Self> {
        match &mut self.weight {
            Weight::Event { was_written: had, .. } => {
                *had |= was_written;
                Some(self)
            }
            Weight::Gap { .. } => Some(self),
            Weight::Trimmed(run) => {
                *received += run.end(answered, in_doubt);
                let count = run.count() as u32;
                (count > 0).then(|| Self::gap(count, run.reason, codec))
            }
            Weight::Answer { .. } | Weight::Control => None,
        }
    }

    /// What there is to tell of an event; nothing if it is none.
    pub(super) fn loss(&self, fate: Fate) -> Option<Loss> {
        let Weight::Event { namespace, wants_ack, was_written, .. } = self.weight else {
            return None;
        };
        let fate = if was_written { Fate::InDoubt } else { fate };
        Some(Loss { what: Remains::Whole(self.encoded.clone()), namespace, wants_ack, fate })
    }

    /// Takes in the run of another, if both are runs of one kind whose fate is open.
    pub(super) fn join(&mut self, next: &mut Self) -> bool {
        match (&mut self.weight, &mut next.weight) {
            (Weight::Trimmed(run), Weight::Trimmed(more))
                if run.reason == more.reason && !run.is_lost() && !more.is_lost() =>
            {
                run.events.append(&mut more.events);
                true
            }
            _ => false,
        }
    }

    /// What it holds of this side's own window.
    pub(super) fn held(&self) -> Credit {
        match self.weight {
            Weight::Answer { event_bytes } => Credit::one(event_bytes as usize),
            _ => Credit::default(),
        }
    }
}

impl Trimmed {
    pub(super) fn new(event: TrimmedEvent, reason: LossReason) -> Self {
        Self { events: VecDeque::from([event]), lost: Credit::default(), reason }
    }

    /// How many events it stands for.
    pub(super) fn count(&self) -> u64 {
        self.lost.events + self.events.len() as u64
    }

    /// Whether its events are lost for good.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.events > 0
    }

    /// What a link is told instead of its packets.
    pub(super) fn skip(&self, from: u64) -> Skip {
        let open = self.events.iter().map(|event| Credit::one(event.bytes as usize));
        let events = open.fold(self.lost, Credit::plus);
        Skip { from, to: from + self.count() - 1, events, reason: self.reason }
    }

    /// Its events are lost from now on; adds them to `lost` the first time.
    pub(super) fn lose(&mut self, lost: &mut Vec<Loss>) {
        let fate = Fate::Lost(self.reason);
        for mut event in std::mem::take(&mut self.events) {
            event.tell(fate);
            lost.push(event.loss(fate));
            self.lost = self.lost.plus(Credit::one(event.bytes as usize));
        }
    }

    /// There will be no position for its events: adds those to `in_doubt` that the peer has not
    /// `answered`, and says how many it has. Those are no part of the run any more.
    pub(super) fn end(&mut self, answered: &HashSet<EventRef>, in_doubt: &mut Vec<Loss>) -> u64 {
        let mut received = 0;
        for mut event in std::mem::take(&mut self.events) {
            if answered.contains(&event.event) {
                event.tell(Fate::Received);
                received += 1;
            } else {
                event.tell(Fate::InDoubt);
                in_doubt.push(event.loss(Fate::InDoubt));
                self.lost = self.lost.plus(Credit::one(event.bytes as usize));
            }
        }
        received
    }

    /// The peer has as many as `count` of the first ones; says how many that are, and tells whoever
    /// waits for them.
    pub(super) fn confirm(&mut self, count: u64) -> u64 {
        // A peer that is told to skip them has all of them, or none.
        let lost = self.lost.events.min(count);
        self.lost.events -= lost;
        let part = self.events.len().min((count - lost) as usize);
        for mut event in self.events.drain(..part) {
            event.tell(Fate::Received);
        }
        lost + part as u64
    }
}

impl TrimmedEvent {
    /// What stays of an event; nothing if it is none.
    pub(super) fn of(entry: &Entry, receipts: &mut Receipts, codec: &dyn Codec) -> Option<Self> {
        let Weight::Event { event_bytes, namespace, wants_ack, .. } = entry.weight else {
            return None;
        };
        // This side has encoded it, so it is an event.
        let event = match decode(&entry.encoded, codec) {
            Some(Packet::Event(packet)) => packet.event,
            _ => EventRef { producer: None, number: 0 },
        };
        let receipt = receipts.take(&entry.encoded);
        Some(Self { event, bytes: event_bytes, namespace, wants_ack, receipt })
    }

    /// Its fate is known; there is nothing more to tell.
    pub(super) fn tell(&mut self, fate: Fate) {
        if let Some(receipt) = self.receipt.take() {
            // Whoever waited may have lost interest.
            let _ = receipt.send(fate);
        }
    }

    pub(super) fn loss(&self, fate: Fate) -> Loss {
        let (namespace, wants_ack) = (self.namespace, self.wants_ack);
        Loss { what: Remains::Id(self.event), namespace, wants_ack, fate }
    }
}

/// Reads what this side has written.
pub(crate) fn decode(encoded: &Encoded, codec: &dyn Codec) -> Option<Packet> {
    let mut decoder = codec.decoder();
    let packets = encoded.frames().iter().map(|frame| decoder.decode(frame.clone()));
    packets.last().and_then(Result::ok).flatten()
}
