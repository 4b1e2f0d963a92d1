//! Each event ends in one way, and both sides count alike (DESIGN.md, the conservation law).

use super::view::{Accepted, View};
use super::{Breach, breach};
use crate::history::{Fate, Kind, Side, Totals};
use std::collections::BTreeMap;

pub(super) fn once(view: &View<'_>) -> Vec<Breach> {
    let all = view.deliveries.iter();
    // What a process was handling when it was killed may run again in the next.
    let twice = all.filter(|((_, socket), delivery)| {
        let again = if delivery.from == Side::Server { view.killed(*socket) } else { 0 };
        delivery.starts.len() > 1 + again
    });
    twice
        .map(|(of, delivery)| breach(format!("{} times", delivery.starts.len()), Some(*of)))
        .collect()
}

pub(super) fn accepted_first(view: &View<'_>) -> Vec<Breach> {
    let strays = view.strays.iter().map(|of| breach("nobody emitted it to there", Some(*of)));
    let unaccepted = view.reliable().filter(|(_, it)| {
        let first = it.starts.first();
        first.is_some_and(|start| it.accepted.place().is_none_or(|place| place > *start))
    });
    let unaccepted = unaccepted.map(|(of, _)| breach("handled and not accepted", Some(of)));
    let both = view.reliable().filter(|(_, it)| it.declined && it.accepted != Accepted::No);
    let both = both.map(|(of, _)| breach("accepted, and its emitter was told no", Some(of)));
    strays.chain(unaccepted).chain(both).collect()
}

pub(super) fn lost_is_not_handled(view: &View<'_>) -> Vec<Breach> {
    use crate::history::Answer;
    let lost = view.reliable().filter(|(_, it)| {
        let is_lost = it.fates.contains(&Fate::Lost) || it.answers.contains(&Answer::Lost);
        is_lost && !it.starts.is_empty()
    });
    lost.map(|(of, _)| breach("said to be lost, and handled", Some(of))).collect()
}

pub(super) fn one_fate(view: &View<'_>) -> Vec<Breach> {
    let several = view.reliable().filter(|(_, it)| {
        it.fates.len() > 1 || (it.accepted == Accepted::No && !it.fates.is_empty())
    });
    several.map(|(of, it)| breach(format!("told {:?}", it.fates), Some(of))).collect()
}

pub(super) fn accepted_is_counted(view: &View<'_>) -> Vec<Breach> {
    let mut accepted: BTreeMap<Side, u64> = BTreeMap::new();
    accepted.insert(Side::Server, view.accepted_by_many);
    let singles = view.reliable().filter(|(_, it)| !it.to_many && it.accepted != Accepted::No);
    singles.for_each(|(_, it)| *accepted.entry(it.from).or_default() += 1);
    let mut breaches = Vec::new();
    for (side, totals) in &view.totals {
        let (counted, seen) = (totals.events_out, accepted.get(side).copied().unwrap_or_default());
        if counted != seen {
            breaches.push(breach(format!("{side} counts {counted} of {seen}"), None));
        }
    }
    breaches
}

pub(super) fn conservation(view: &View<'_>) -> Vec<Breach> {
    let Some((server, clients)) = view.sides() else { return Vec::new() };
    let mut breaches = flow("up", &clients, &server, false);
    breaches.extend(flow("down", &server, &clients, !view.killed.is_empty()));
    for (side, totals) in &view.totals {
        breaches.extend(confirmed(*side, totals));
    }
    breaches
}

/// What one side sent and the other got.
fn flow(way: &str, from: &Totals, to: &Totals, may_repeat: bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let removed = from.overflowed + from.superseded;
    let sent = from.events_out - (from.lost + removed).min(from.events_out);
    let too_many = to.events_in > sent && !may_repeat;
    if too_many || to.events_in + from.in_doubt < sent {
        let (arrived, doubt) = (to.events_in, from.in_doubt);
        let words = format!("{way}: {sent} were sent, {arrived} arrived, {doubt} are in doubt");
        breaches.push(breach(words, None));
    }
    if to.skipped > from.lost {
        let words = format!("{way}: {} were skipped, {} are lost", to.skipped, from.lost);
        breaches.push(breach(words, None));
    }
    if to.missed > removed + from.broadcast_dropped && !may_repeat {
        let words = format!("{way}: {} reported missing, {removed} were removed", to.missed);
        breaches.push(breach(words, None));
    }
    if to.volatile_in > from.volatile_out {
        let words = format!("{way}: more volatile events arrived than were sent");
        breaches.push(breach(words, None));
    }
    breaches
}

/// Where the engine counts what was confirmed, the law is exact.
fn confirmed(side: Side, totals: &Totals) -> Option<Breach> {
    let received = totals.received?;
    let bad = totals.lost + totals.in_doubt + totals.overflowed + totals.superseded;
    let sum = received + totals.waiting + bad;
    let words = format!("{side}: {} emitted, {sum} accounted for", totals.events_out);
    (sum != totals.events_out).then(|| breach(words, None))
}

pub(super) fn arrived_is_answered(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut finished: BTreeMap<bool, u64> = BTreeMap::new();
    for (_, it) in view.reliable().filter(|(_, it)| it.kind != Kind::Fail) {
        *finished.entry(it.from == Side::Server).or_default() += it.finished as u64;
    }
    let Some((server, clients)) = view.sides() else { return breaches };
    for (side, totals, from_server) in [("the server", server, false), ("clients", clients, true)] {
        let (arrived, answered) = (totals.events_in, totals.handled + totals.refused);
        if arrived != answered {
            breaches.push(breach(format!("{side}: {answered} of {arrived} answered"), None));
        }
        let seen = finished.get(&from_server).copied().unwrap_or_default();
        if totals.handled != seen {
            let counted = totals.handled;
            breaches.push(breach(format!("{side}: {counted} handled, {seen} finished"), None));
        }
    }
    breaches
}

/// Nothing went wrong with these sockets but on the wire, so only what may be removed is missing.
pub(super) fn living_sockets_miss_nothing(view: &View<'_>) -> Vec<Breach> {
    if !view.came_to_rest {
        return Vec::new();
    }
    let living = view.reliable().filter(|((_, socket), _)| !view.ended.contains(socket));
    let missing = living.filter(|(_, it)| {
        let certain = matches!(it.accepted, Accepted::At(_)) && it.fates.is_empty();
        certain && !it.kind.may_go_unheard() && it.starts.is_empty()
    });
    missing.map(|(of, _)| breach("accepted, and never handled", Some(of))).collect()
}

/// Where nobody leaves, sessions outlive whatever happens to their links.
pub(super) fn steady_sessions_live(view: &View<'_>) -> Vec<Breach> {
    let ended = view.ended.iter().filter(|_| view.is_steady && view.came_to_rest);
    ended.map(|socket| breach(format!("#{socket} has ended"), None)).collect()
}

/// What is counted is told, each event once.
pub(super) fn counted_is_told(view: &View<'_>) -> Vec<Breach> {
    let mut told: BTreeMap<(Side, bool), u64> = BTreeMap::new();
    for (_, it) in view.reliable() {
        for fate in it.fates.iter().filter(|fate| **fate != Fate::Refused) {
            *told.entry((it.from, *fate == Fate::Lost)).or_default() += 1;
        }
    }
    let mut breaches = Vec::new();
    for (side, totals) in view.totals.iter().filter(|(_, totals)| totals.received.is_some()) {
        let lost = totals.lost + totals.overflowed + totals.superseded;
        for (is_lost, counted) in [(true, lost), (false, totals.in_doubt)] {
            let told = told.get(&(*side, is_lost)).copied().unwrap_or_default();
            if told != counted {
                let what = if is_lost { "lost" } else { "in doubt" };
                let words = format!("{side}: {counted} {what}, {told} told");
                breaches.push(breach(words, None));
            }
        }
    }
    breaches
}

/// In a world in which no socket ends, both sides know exactly the same.
pub(super) fn without_an_end_nothing_is_lost(view: &View<'_>) -> Vec<Breach> {
    let (true, true) = (view.came_to_rest, view.ended.is_empty()) else { return Vec::new() };
    let Some((server, clients)) = view.sides() else { return Vec::new() };
    let mut breaches = Vec::new();
    for (way, from, to) in [("up", clients, server), ("down", server, clients)] {
        let removed = from.overflowed + from.superseded;
        let counts = [
            ("in doubt", from.in_doubt, 0),
            ("skipped", to.skipped, from.lost),
            ("arrived", to.events_in + removed + from.lost, from.events_out),
            ("reported missing", to.missed, removed + from.broadcast_dropped),
        ];
        for (what, counted, is) in counts.into_iter().filter(|(_, counted, is)| counted != is) {
            breaches.push(breach(format!("{way}: {counted} {what}, not {is}"), None));
        }
    }
    breaches
}
