//! What the seeds of a batch have met: a simulation in which something never happens says nothing
//! about it.

use super::history::{Answer, Entry, Kind, Receipt, Side, Totals, What};
use emitwire::DisconnectReason;
use std::collections::{BTreeMap, BTreeSet};

/// What has to happen at least once in a batch.
#[rustfmt::skip]
const WANTED: &[&str] = &[
    "sever",
    "silent cut",
    "silence noticed",
    "unnoticed break",
    "away",
    "delay",
    "slow reader",
    "stalled reader",
    "close",
    "dismissal",
    "world without an end",
    "broadcast",
    "reply",
    "refusal",
    "ack too late",
    "ack of a closed socket",
    "ack of a lost event",
    "event not accepted",
    "parked and heard",
    "parked and never heard",
    "lost",
    "in doubt",
    "overflow",
    "superseded",
    "gap",
    "volatile missed",
    "two links of one client",
    "resume",
    "resume with a gap",
    "replay",
    "skip",
    "take-over",
    "window over",
    "hop",
    "fate told",
    "gap told",
    "receipt",
    "eviction",
    "restart",
    "restart too late",
    "drain",
];

/// How often each thing has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(crate) fn count(&mut self, what: &'static str, times: u64) {
        assert!(WANTED.contains(&what), "{what} is in no list");
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    /// What has never happened and should have.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let happened = |what: &str| self.0.get(what).is_some_and(|times| *times > 0);
        WANTED.iter().copied().filter(|what| !happened(what)).collect()
    }

    /// All numbers, a line each.
    pub(crate) fn report(&self) -> String {
        let times = |what: &str| self.0.get(what).copied().unwrap_or_default();
        WANTED.iter().map(|what| format!("  {:>8}  {what}\n", times(what))).collect()
    }

    /// What a history and its totals show.
    pub(crate) fn read(&mut self, history: &[Entry]) {
        let mut kinds = BTreeMap::new();
        let (mut started, mut ends, mut may_resume) = (BTreeSet::new(), 0, false);
        for Entry { what, .. } in history {
            match what {
                What::Offered { event, kind, .. } => drop(kinds.insert(*event, *kind)),
                What::Fanout { members, .. } => self.count("broadcast", members.len() as u64),
                What::Started { event, .. } => drop(started.insert(*event)),
                What::Declined { .. } => self.count("event not accepted", 1),
                What::Answered { answer, .. } => self.read_answer(answer),
                What::World { resumes, .. } => may_resume = *resumes,
                What::Ended { side, reason, .. } => {
                    ends += 1;
                    let is_over = may_resume && *side == Side::Server && is_of_link(reason);
                    self.count("window over", u64::from(is_over));
                }
                What::AtRest => self.count("world without an end", u64::from(ends == 0)),
                What::Fated { .. } => self.count("fate told", 1),
                What::Missed { .. } => self.count("gap told", 1),
                What::Confirmed { receipt: Receipt::Received, .. } => self.count("receipt", 1),
                What::Counted { totals, .. } => self.read_totals(totals),
                _ => {}
            }
        }
        let of = |wanted: Kind| kinds.iter().filter(move |(_, kind)| **kind == wanted);
        let heard = of(Kind::Late).filter(|(event, _)| started.contains(*event)).count();
        let missed = of(Kind::Blink).filter(|(event, _)| !started.contains(*event)).count();
        self.count("parked and heard", heard as u64);
        self.count("parked and never heard", of(Kind::Never).count() as u64);
        self.count("volatile missed", missed as u64);
    }

    fn read_answer(&mut self, answer: &Answer) {
        let what = match answer {
            Answer::Reply(_) => "reply",
            Answer::Refused(_) => "refusal",
            Answer::Timeout => "ack too late",
            Answer::Closed => "ack of a closed socket",
            Answer::NotAccepted => "event not accepted",
            Answer::Lost => "ack of a lost event",
            Answer::Unreadable => return,
        };
        self.count(what, 1);
    }

    fn read_totals(&mut self, totals: &Totals) {
        self.count("lost", totals.lost);
        self.count("in doubt", totals.in_doubt);
        self.count("overflow", totals.overflowed);
        self.count("superseded", totals.superseded);
        self.count("gap", totals.missed);
        for (what, times) in super::engine::counted(totals) {
            self.count(what, times);
        }
    }
}

/// Whether a session that could have been resumed has ended for want of a link.
fn is_of_link(reason: &str) -> bool {
    use DisconnectReason::{HeartbeatTimeout, LinkLost, Replaced, Slow};
    [HeartbeatTimeout, LinkLost, Replaced, Slow].iter().any(|known| known.to_string() == *reason)
}
