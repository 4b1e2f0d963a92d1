//! What each packet does.

use super::{Driver, End};
use crate::protocol::{DisconnectReason, Drain, Packet, Position, ProtocolError};
use crate::room::NoAnswer;
use crate::run::handshake::unexpected;
use std::sync::atomic::Ordering;

impl Driver {
    pub(super) fn handle_packet(&mut self, packet: Packet, frame_bytes: usize) -> Result<(), End> {
        self.hear_first_packet(&packet);
        if packet.is_counted() {
            let event_bytes = match &packet {
                Packet::Event(event) => Some(event.bytes()),
                _ => None,
            };
            let counted = self.inbound.handle_counted(frame_bytes, event_bytes);
            if !counted.map_err(DisconnectReason::Protocol)? {
                self.core.counters.duplicates.add(1);
                return Ok(());
            }
        }
        let counters = &*self.core.counters;
        // No more of them are in the log.
        let answered_max = self.inbound.ours().log_packets_max as usize;
        let handled = match packet {
            Packet::Event(event) => self.sockets.handle_event(event, false),
            Packet::Volatile(event) => {
                self.inbound.check_size(event.bytes()).map_err(DisconnectReason::Protocol)?;
                self.sockets.handle_event(event, true)
            }
            Packet::Ack(ack) => {
                let id = ack.event.resolve(self.core.producer.id);
                self.answered.note(ack.event, answered_max);
                self.sockets.handle_answer(id, Ok(ack.payload));
                Ok(())
            }
            Packet::Nak(nak) => {
                counters.refused_by_peer.add(1);
                let id = nak.event.resolve(self.core.producer.id);
                self.answered.note(nak.event, answered_max);
                self.sockets.handle_answer(id, Err(NoAnswer::Nak(nak.nak)));
                Ok(())
            }
            Packet::Connect(connect) => self.sockets.handle_connect(connect),
            Packet::Accept(accept) => self.sockets.handle_accept(accept),
            Packet::Refuse(refuse) => self.sockets.handle_refuse(refuse),
            Packet::Leave(leave) => self.sockets.handle_leave(leave),
            Packet::Gap(gap) => {
                counters.missed.add(gap.count);
                self.sockets.tell_gap(gap.count, gap.reason);
                Ok(())
            }
            Packet::Skip(skip) => self.inbound.handle_skip(&skip).map(|is_new| {
                if is_new {
                    counters.skipped.add(skip.events.events);
                    self.sockets.tell_gap(skip.events.events, skip.reason);
                }
            }),
            Packet::From(from) => self.inbound.handle_from(from),
            Packet::Position(position) => self.handle_position(&position),
            Packet::Heartbeat { written } => self.inbound.handle_heartbeat(written),
            Packet::Drain(drain) => return self.handle_drain(drain),
            Packet::Close(close) => {
                return Err(End { reason: close.into(), said_goodbye: true });
            }
            other => return Err(unexpected(&other).into()),
        };
        Ok(handled.map_err(DisconnectReason::Protocol)?)
    }

    /// A client is told to finish; a server is told that its client has.
    fn handle_drain(&mut self, drain: Drain) -> Result<(), End> {
        let drains = self.core.draining.load(Ordering::Acquire);
        if self.sockets.are_served() && !drains {
            return Err(unexpected(&Packet::Drain(drain)).into());
        }
        // A client may have answered before it had all that was written for it.
        self.peer_drains = !self.sockets.are_served() || self.core.mailbox.is_settled();
        if !self.sockets.are_served() {
            // A server that says drain and never closes is left.
            let patience = drain.deadline.min(self.config.drain_delay_max);
            let by = self.began.elapsed() + patience + self.config.close_timeout;
            self.drained_by.get_or_insert(by);
            self.told_to_wait = drain.delay.min(self.config.drain_delay_max);
            // Nothing new is taken. The answer is announced when nothing old is left.
            let _ = self.core.mailbox.begin_drain(None);
            self.core.draining.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn handle_position(&mut self, position: &Position) -> Result<(), ProtocolError> {
        if position.asks {
            // A position that went out before answers an older ask, not this one.
            if self.core.mailbox.take_rode() {
                self.inbound.handle_rode();
            }
            self.inbound.handle_ask(self.began.elapsed());
        }
        let (flush, sent) = self.core.mailbox.handle_position(position)?;
        self.answered.handle_position(position.received, sent);
        self.core.mailbox.flush_in_turn(flush);
        Ok(())
    }
}
