//! The answer that an event is owed.

use crate::protocol::{AckPacket, Credit, Event, EventRef, Nak, NakPacket, Packet, ProducerId};
use crate::socket::{Ack, SessionCore};
use std::sync::Arc;

/// What is owed for one reliable event: an answer, and its part of the window.
///
/// Whoever lets go of it without an answer has answered all the same: `Failed` when a handler had
/// begun (its task was cancelled), `Closed` before. No event is forgotten, no window stays shut.
pub(super) struct Owed {
    session: Arc<SessionCore>,
    event: EventRef,
    wants_ack: bool,
    credit: Credit,
    has_begun: bool,
    is_answered: bool,
}

impl Owed {
    pub(super) fn new(session: &Arc<SessionCore>, event: &Event, peer: ProducerId) -> Self {
        Self {
            session: Arc::clone(session),
            event: EventRef::new(event.id, peer),
            wants_ack: event.wants_ack,
            credit: Credit::one(event.bytes()),
            has_begun: false,
            is_answered: false,
        }
    }

    /// Gives the part of the window back before there is an answer: the event is parked, and the
    /// park has a bound of its own.
    pub(super) fn release_window(&mut self) {
        self.session.mailbox.finish(std::mem::take(&mut self.credit));
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
        let session = &self.session;
        let answer_bytes = match &answer {
            Ok(ack) if self.wants_ack => ack.payload().len(),
            Err(Nak::Rejected(payload)) => payload.len(),
            _ => 0,
        };
        let fits = answer_bytes <= session.event_bytes_max;
        let answer = if fits { answer } else { Err(Nak::TooLarge) };
        let counters = &session.counters;
        let counter = if answer.is_ok() { &counters.handled } else { &counters.refused };
        counter.add(1);
        let event = self.event;
        let packet = match answer {
            Ok(ack) if self.wants_ack => {
                Packet::Ack(AckPacket { event, payload: ack.payload().clone() })
            }
            Ok(_) => return session.mailbox.finish(self.credit),
            Err(nak) => Packet::Nak(NakPacket { event, nak }),
        };
        let flush = session.mailbox.push_answer(&packet, self.credit);
        session.mailbox.flush_in_turn(flush);
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
