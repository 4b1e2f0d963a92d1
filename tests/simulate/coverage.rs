//! What the seeds of a batch have met: a simulation in which something never happens says nothing
//! about it.

use super::history::{Answer, Entry, Kind, Side, Totals, What};
use std::collections::{BTreeMap, BTreeSet};

/// What has to happen at least once in a batch. What the engine does not have yet is pending: it
/// may be missing, and is named in the report.
#[rustfmt::skip]
const WANTED: &[(&str, Landed)] = &[
    ("sever", Landed::Yes),
    ("silent cut", Landed::Yes),
    ("silence noticed", Landed::Yes),
    ("unnoticed break", Landed::Yes),
    ("away", Landed::Yes),
    ("delay", Landed::Yes),
    ("slow reader", Landed::Yes),
    ("stalled reader", Landed::Yes),
    ("close", Landed::Yes),
    ("dismissal", Landed::Yes),
    ("world without an end", Landed::Yes),
    ("broadcast", Landed::Yes),
    ("reply", Landed::Yes),
    ("refusal", Landed::Yes),
    ("ack too late", Landed::Yes),
    ("ack of a closed socket", Landed::Yes),
    ("ack of a lost event", Landed::Yes),
    ("event not accepted", Landed::Yes),
    ("parked and heard", Landed::Yes),
    ("parked and never heard", Landed::Yes),
    ("lost", Landed::Yes),
    ("in doubt", Landed::Yes),
    ("overflow", Landed::Yes),
    ("superseded", Landed::Yes),
    ("gap", Landed::Yes),
    ("volatile missed", Landed::Yes),
    ("two links of one client", Landed::Yes),
    ("resume", Landed::Pending),
    ("resume with a gap", Landed::Pending),
    ("replay", Landed::Pending),
    ("duplicate dropped", Landed::Pending),
    ("skip", Landed::Pending),
    ("take-over", Landed::Pending),
    ("window over", Landed::Pending),
    ("hop", Landed::Pending),
    ("fate told", Landed::Pending),
];

/// Whether the engine has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Landed {
    Yes,
    Pending,
}

/// How often each thing has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(crate) fn count(&mut self, what: &'static str, times: u64) {
        assert!(WANTED.iter().any(|(known, _)| *known == what), "{what} is in no list");
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    /// What has never happened and should have.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.never(Landed::Yes)
    }

    /// All numbers, a line each.
    pub(crate) fn report(&self) -> String {
        let mut lines = String::new();
        for (what, _) in WANTED {
            if let Some(times) = self.0.get(what).filter(|times| **times > 0) {
                lines += &format!("  {times:>8}  {what}\n");
            }
        }
        lines + &format!("   pending  {}\n", self.never(Landed::Pending).join(", "))
    }

    fn never(&self, which: Landed) -> Vec<&'static str> {
        let happened = |what| self.0.get(what).is_some_and(|times| *times > 0);
        let wanted = WANTED.iter().filter(|(what, landed)| *landed == which && !happened(what));
        wanted.map(|(what, _)| *what).collect()
    }

    /// What a history and its totals show.
    pub(crate) fn read(&mut self, history: &[Entry]) {
        let mut kinds = BTreeMap::new();
        let (mut started, mut ends) = (BTreeSet::new(), 0);
        for Entry { what, .. } in history {
            match what {
                What::Offered { event, kind, .. } => drop(kinds.insert(*event, *kind)),
                What::Fanout { members, .. } => self.count("broadcast", members.len() as u64),
                What::Started { event, .. } => drop(started.insert(*event)),
                What::Declined { .. } => self.count("event not accepted", 1),
                What::Answered { answer, .. } => self.read_answer(answer),
                What::Ended { .. } => ends += 1,
                What::AtRest => self.count("world without an end", u64::from(ends == 0)),
                What::Fated { .. } => self.count("fate told", 1),
                What::Counted { side, totals } => self.read_totals(*side, totals),
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

    fn read_totals(&mut self, _: Side, totals: &Totals) {
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
