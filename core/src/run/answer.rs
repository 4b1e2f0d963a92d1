//! The answer that an event is owed.

use crate::protocol::{AckPacket, Credit, Event, EventRef, Nak, NakPacket, Packet};
use crate::room::{Counter, Counters};
use crate::socket::{Ack, Socket};

/// What is owed for one reliable event: an answer, and its part of the window.
///
/// Whoever lets go of it without an answer has answered all the same: `Failed` when a handler had
/// begun (its task was cancelled), `Closed` before. No event is forgotten, no window stays shut.
pub(super) struct Owed {
    socket: Socket,
    event: EventRef,
    wants_ack: bool,
    credit: Credit,
    /// Whose event it is: see [`Mailbox::epoch`](crate::room::Mailbox::epoch).
    epoch: u32,
    has_begun: bool,
    is_answered: bool,
}

impl Owed {
    pub(super) fn new(socket: &Socket, event: &Event, named: EventRef) -> Self {
        Self {
            socket: socket.clone(),
            event: named,
            epoch: socket.session().mailbox.epoch(),
            wants_ack: event.wants_ack,
            credit: Credit::one(event.bytes()),
            has_begun: false,
            is_answered: false,
        }
    }

    /// Gives the part of the window back before there is an answer: the event is parked, and the
    /// park has a bound of its own.
    pub(super) fn release_window(&mut self) {
        self.socket.session().mailbox.finish(std::mem::take(&mut self.credit), self.epoch);
    }

    /// A handler is about to run.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
    }

    /// Nobody hears the event yet: no handler has run.
    pub(super) fn unbegin(&mut self) {
        self.has_begun = false;
    }

    /// Sends the answer: a nak always, an ack only when it was asked for.
    pub(super) fn answer(mut self, answer: Result<Ack, Nak>) {
        self.send(answer);
    }

    fn send(&mut self, answer: Result<Ack, Nak>) {
        self.is_answered = true;
        let session = self.socket.session();
        let answer_bytes = match &answer {
            Ok(ack) if self.wants_ack => ack.payload().len(),
            Err(Nak::Rejected(payload)) => payload.len(),
            _ => 0,
        };
        let fits = answer_bytes <= session.event_bytes_max;
        let answer = if fits { answer } else { Err(Nak::TooLarge) };
        match &answer {
            Ok(_) => self.socket.count(|counters| &counters.handled, |tally| &tally.handled),
            Err(nak) => {
                self.socket.count(|counters| &counters.refused, |tally| &tally.refused);
                if let Some(kind) = counter_of(nak) {
                    self.socket.counters().count(1, kind);
                }
            }
        }
        let event = self.event;
        let packet = match answer {
            Ok(ack) if self.wants_ack => {
                Packet::Ack(AckPacket { event, payload: ack.payload().clone() })
            }
            Ok(_) => return session.mailbox.finish(self.credit, self.epoch),
            Err(nak) => Packet::Nak(NakPacket { event, nak }),
        };
        let flush = session.mailbox.push_answer(&packet, self.credit, self.epoch);
        session.mailbox.flush_in_turn(flush);
    }
}

/// Where a refusal is counted besides.
fn counter_of(nak: &Nak) -> Option<fn(&Counters) -> &Counter> {
    match nak {
        Nak::Failed => Some(|counters| &counters.failed),
        Nak::Timeout => Some(|counters| &counters.timed_out),
        Nak::BadPayload => Some(|counters| &counters.undecodable),
        Nak::NoHandler => Some(|counters| &counters.unheard),
        _ => None,
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.is_answered {
            let nak = if self.has_begun { Nak::Failed } else { Nak::Closed };
            self.send(Err(nak));
        }
    }
}
