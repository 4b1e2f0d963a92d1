//! Bounds, rest, and what is left behind.

use super::view::View;
use super::{Breach, breach};
use crate::history::{Totals, What};
use std::time::Duration;

/// How long something may take that nothing holds up: far less than a heart takes to beat.
const PROMPT: Duration = Duration::from_millis(400);

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

/// What is said when all trouble is over starts at once: windows open when handlers have finished,
/// not when a heart beats.
pub(super) fn in_calm_all_is_prompt(view: &View<'_>) -> Vec<Breach> {
    let is_calm = |entry: &crate::history::Entry| entry.what == What::Calm;
    let Some(calm) = view.history.iter().position(is_calm) else { return Vec::new() };
    let at = |place: usize| view.history[place].at;
    let mut breaches = Vec::new();
    for (of, it) in view.reliable() {
        let Some(accepted) = it.accepted.place().filter(|place| *place > calm) else { continue };
        if let Some(late) = it.starts.iter().find(|start| at(**start) > at(calm) + PROMPT) {
            let words = format!("accepted at {:?}, started at {:?}", at(accepted), at(*late));
            breaches.push(breach(words, Some(of)));
        }
    }
    breaches
}
