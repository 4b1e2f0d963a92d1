//! What the simulation needs of the engine that not every engine has: one place for each.
//!
//! What is not there yet is not exercised: it answers with nothing.

use super::history::Totals;
use emitwire::{Config, Namespace, Session, Stats, Transport};
use std::time::Duration;

/// Sets for how long a session outlives its link. Without resume it does not.
pub(crate) fn set_resume_window(config: &mut Config, window: Duration) {
    let _ = (config, window);
}

/// Moves a connected session to another wire; says how it went, if it can be done at all.
pub(crate) async fn hop(session: &Session, to: impl Transport) -> Option<String> {
    let _ = (session, to);
    None
}

/// Has whoever is told of bad ends and of links told.
pub(crate) fn listen_to_links(namespace: Namespace) -> Namespace {
    namespace
}

/// What the engine counts, in the words of the laws.
pub(crate) fn totals(stats: &Stats) -> Totals {
    Totals {
        events_out: stats.events_out,
        events_in: stats.events_in,
        handled: stats.handled,
        refused: stats.refused,
        lost: stats.lost,
        in_doubt: stats.in_doubt,
        overflowed: stats.overflowed,
        superseded: stats.superseded,
        missed: stats.missed,
        received: None,
        volatile_out: stats.volatile_out,
        volatile_in: stats.volatile_in,
        broadcast_dropped: stats.broadcast_dropped,
        panics: stats.panics,
        protocol_errors: stats.protocol_errors,
        unasked: stats.unasked,
        waiting: stats.waiting,
        unconfirmed: stats.unconfirmed,
        parked: stats.parked,
        links: stats.links,
        sessions: stats.sessions,
        sockets: stats.sockets,
        rooms: stats.rooms,
    }
}

/// What else was counted, by its name in the coverage.
pub(crate) fn counted(totals: &Totals) -> Vec<(&'static str, u64)> {
    let _ = totals;
    Vec::new()
}
