//! What is told of events that did not arrive.

use super::Socket;
use crate::protocol::{Event, EventId, LossReason};
use crate::room::Fate;

/// An event of this side with a bad end: see `Namespace::on_lost`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lost {
    /// The socket that it was emitted to. Of a refused event whose answer nobody waited for only
    /// the id is known: then it is a socket of the same session.
    pub socket: Socket,
    /// Which event.
    pub id: EventId,
    /// The event, unless its body had to make way before its fate was known.
    pub event: Option<Event>,
    /// `Lost`, `InDoubt`, or `Refused` where no answer was asked for.
    pub fate: Fate,
}

/// Events of the peer that will never arrive: see `Namespace::on_gap`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Missed {
    /// A socket of the session that they were for; which of its sockets, nobody says.
    pub socket: Socket,
    /// How many events.
    pub count: u64,
    /// Why.
    pub reason: LossReason,
}
