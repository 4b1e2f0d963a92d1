//! Who is told of events that are lost, of either side.

use super::{Joined, Sockets};
use crate::protocol::{Event, EventId, LossReason, Packet};
use crate::room::{Fate, Loss, NoAnswer, Remains, decode};
use crate::run::lane::Lane;
use crate::socket::{Lost, Missed};
use std::sync::Arc;

impl Sockets {
    /// Tells who wants to know of events that are lost, or in doubt.
    pub(crate) fn handle_losses(&self, losses: Vec<Loss>) {
        let own = self.core.producer.id;
        for Loss { what, namespace, wants_ack, fate } in losses {
            let (id, event) = match what {
                Remains::Id(event) => (event.resolve(own), None),
                Remains::Whole(encoded) => match decode(&encoded, &**self.core.mailbox.codec()) {
                    Some(Packet::Event(packet)) => {
                        let event = packet.into_event(own, false);
                        (event.id, Some(event))
                    }
                    // This side has encoded it.
                    _ => continue,
                },
            };
            if let (true, Fate::Lost(reason)) = (wants_ack, fate) {
                self.handle_answer(id, Err(NoAnswer::Lost(reason)));
            }
            let lanes = self.joined.iter().map(|Joined { lane, .. }| lane).chain(&self.forgotten);
            if let Some(lane) = lanes.into_iter().find(|it| it.socket.number() == namespace) {
                lane.mounted.blueprint.tell_lost(|| {
                    let socket = lane.socket.clone();
                    Lost { socket, id, event: event.as_ref().map(Event::detached), fate }
                });
            }
        }
    }

    /// The peer will never send so many events.
    pub(crate) fn tell_gap(&self, count: u64, reason: LossReason) {
        // A newer value takes their place.
        if count == 0 || reason == LossReason::Superseded {
            return;
        }
        for Joined { lane, .. } in &self.joined {
            let missed = || Missed { socket: lane.socket.clone(), count, reason };
            lane.mounted.blueprint.tell_gap(missed);
        }
    }

    /// An event was refused, and nobody waits for its answer.
    pub(super) fn tell_refused(&self, id: EventId) {
        let lanes = self.joined.iter().map(|joined| &joined.lane);
        let hears = |lane: &&Arc<Lane>| lane.mounted.blueprint.hears_losses();
        if let Some(lane) = lanes.into_iter().find(hears) {
            let socket = lane.socket.clone();
            let lost = || Lost { socket, id, event: None, fate: Fate::Refused };
            lane.mounted.blueprint.tell_lost(lost);
        }
    }
}
