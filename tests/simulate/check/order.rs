//! What is first started when.

use super::view::View;
use super::{Breach, breach};
use crate::history::{Label, Number};
use std::collections::BTreeMap;

/// An event's first start, its acceptance, and the event.
type Start = (usize, usize, Number);

/// Reliable events of one socket in one direction; parked ones are excepted.
pub(super) fn first_starts(view: &View<'_>) -> Vec<Breach> {
    let mut starts: BTreeMap<(Label, bool), Vec<Start>> = BTreeMap::new();
    for ((event, socket), it) in view.reliable().filter(|(_, it)| it.kind.keeps_order()) {
        if let (Some(start), Some(accepted)) = (it.starts.first(), it.accepted.place()) {
            let way = (socket, it.from == crate::history::Side::Server);
            starts.entry(way).or_default().push((*start, accepted, event));
        }
    }
    let mut breaches = Vec::new();
    for ((socket, _), mut starts) in starts {
        starts.sort_unstable();
        for pair in starts.windows(2) {
            let [(_, before, first), (_, after, then)] = [pair[0], pair[1]];
            if after < before {
                let words = format!("{first} was accepted behind it, and started before it");
                breaches.push(breach(words, Some((then, socket))));
            }
        }
    }
    breaches
}
