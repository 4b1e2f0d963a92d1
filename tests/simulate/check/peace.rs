//! Bounds, rest, and what is left behind.

use super::view::View;
use super::{Breach, breach};
use crate::history::{Label, Number, Side, Totals, What};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the next one may take where nothing holds it up: far less than a heart takes to beat.
const PROMPT: Duration = Duration::from_millis(150);

/// Where in the history which event at which socket started.
type Start = (usize, (Number, Label));

pub(super) fn at_rest(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for entry in view.history {
        if let What::Overfull { .. } | What::Restless { .. } = entry.what {
            breaches.push(breach(entry.what.to_string(), None));
        }
    }
    breaches
}

pub(super) fn nothing_left(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for entry in view.history {
        if let What::Over { tasks: 1.. } = entry.what {
            breaches.push(breach(entry.what.to_string(), None));
        }
    }
    for (side, totals) in &view.totals {
        let Totals { waiting, unconfirmed, parked, links, sessions, sockets, rooms, .. } = *totals;
        let Totals { panics, protocol_errors, .. } = *totals;
        let left = [
            ("waiting", waiting),
            ("unconfirmed", unconfirmed),
            ("parked", parked),
            ("links", links),
            ("sessions", sessions),
            ("sockets", sockets),
            ("rooms", rooms),
            ("panics", panics),
            ("breaches of the protocol", protocol_errors),
        ];
        for (what, count) in left.into_iter().filter(|(_, count)| *count > 0) {
            breaches.push(breach(format!("{side}: {count} {what}"), None));
        }
    }
    breaches
}

/// Both ends state where they stand when nothing more is read on the link before, so what is
/// replayed is what the peer does not have.
pub(super) fn no_duplicates(view: &View<'_>) -> Vec<Breach> {
    let counts = view.totals.iter().filter(|(_, totals)| totals.duplicates > 0);
    counts
        .map(|(side, totals)| breach(format!("{side}: {} duplicates", totals.duplicates), None))
        .collect()
}

/// What is said when all trouble is over goes on without a rest: windows open when handlers have
/// finished and a position was asked for, not when a heart beats.
pub(super) fn in_calm_all_is_prompt(view: &View<'_>) -> Vec<Breach> {
    let Some(calm) = view.calm else { return Vec::new() };
    // Of each session and direction, in their order.
    let mut starts: BTreeMap<(Side, Side), Vec<Start>> = BTreeMap::new();
    for (of, it) in view.reliable().filter(|(_, it)| view.is_of_calm(it)) {
        for start in &it.starts {
            if let What::Started { at, .. } = view.history[*start].what {
                starts.entry((it.from, at)).or_default().push((*start, of));
            }
        }
    }
    let mut breaches = Vec::new();
    for mut starts in starts.into_values() {
        starts.sort_unstable();
        let mut last = view.history[calm].at;
        for (start, of) in starts {
            let at = view.history[start].at;
            if at > last + PROMPT {
                breaches.push(breach(format!("{:?} behind the one before", at - last), Some(of)));
            }
            last = at;
        }
    }
    breaches
}
