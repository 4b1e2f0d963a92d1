//! Bounds, rest, and what is left behind.

use super::view::View;
use super::{Breach, breach};
use crate::history::{Totals, What};

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
