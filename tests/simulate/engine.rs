//! What the simulation needs of the engine besides emitting: links that come and go, and counters.

use super::history::{Fate, Recorder, Side, Totals, What};
use emitwire::{
    ConnectError, DisconnectReason, Fate as Told, Lost, Missed, Namespace, Outcome, Session,
    Socket, Stats, Transport,
};
use std::sync::Arc;

/// Moves a connected session to another wire; says how it went, and whether the session goes on
/// there.
pub(crate) async fn hop(session: &Session, to: impl Transport) -> (String, bool) {
    match session.move_to(to).await {
        Ok(outcome) => (format!("{outcome:?}"), outcome != Outcome::New),
        // The words of others name the door, whose name is no part of the history.
        Err(ConnectError::Ended { reason }) => (format!("ended: {reason}"), false),
        Err(ConnectError::Timeout { .. }) => ("too late".to_owned(), false),
        Err(ConnectError::NotResumable) => ("not resumable".to_owned(), false),
        Err(_) => ("unreachable".to_owned(), false),
    }
}

/// Has whoever is told of bad ends and of links told.
pub(crate) fn listen_to_links(
    namespace: Namespace,
    recorder: &Arc<Recorder>,
    side: Side,
) -> Namespace {
    let recorder = || Arc::clone(recorder);
    let (detaches, attaches, loses, misses) = (recorder(), recorder(), recorder(), recorder());
    namespace
        .on_detach(move |socket: Socket, reason: DisconnectReason| {
            let (socket, reason) = (detaches.label(socket.id()), reason.to_string());
            detaches.note(What::Detached { side, socket, reason });
            async {}
        })
        .on_attach(move |socket: Socket, outcome: Outcome| {
            let (socket, outcome) = (attaches.label(socket.id()), format!("{outcome:?}"));
            attaches.note(What::Attached { side, socket, outcome });
            async {}
        })
        .on_lost(move |lost: &Lost| {
            let (event, socket) = (loses.number_of(lost.id), loses.label(lost.socket.id()));
            let fate = match lost.fate {
                Told::Lost(_) => Fate::Lost,
                Told::Refused => Fate::Refused,
                _ => Fate::InDoubt,
            };
            loses.note(What::Fated { event, socket, fate });
        })
        .on_gap(move |missed: &Missed| {
            let (socket, count) = (misses.label(missed.socket.id()), missed.count);
            let reason = missed.reason.to_string();
            misses.note(What::Missed { at: side, socket, count, reason });
        })
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
        received: Some(stats.received),
        volatile_out: stats.volatile_out,
        volatile_in: stats.volatile_in,
        volatile_dropped: stats.volatile_dropped,
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
        detaches: stats.detaches,
        resumed: stats.resumed,
        resumed_with_gap: stats.resumed_with_gap,
        takeovers: stats.takeovers,
        replayed: stats.replayed,
        duplicates: stats.duplicates,
        skipped: stats.skipped,
        evicted: stats.evicted,
    }
}

/// What else was counted, by its name in the coverage.
pub(crate) fn counted(totals: &Totals) -> [(&'static str, u64); 6] {
    [
        ("resume", totals.resumed),
        ("resume with a gap", totals.resumed_with_gap),
        ("replay", totals.replayed),
        ("skip", totals.skipped),
        ("take-over", totals.takeovers),
        ("eviction", totals.evicted),
    ]
}
