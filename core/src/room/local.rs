//! The adapter of one process: rooms as dense vectors.

use super::events::RoomEvents;
use super::members::{Hears, Members};
use super::{
    AckSet, AckTable, Adapter, Counters, Fanout, Flush, Mailbox, NoAnswer, NotAccepted, RoomError,
    RoomName, Selection, Shared, SlowPolicy, Taken, turn::turn,
};
use crate::protocol::{
    Event, EventPacket, EventRef, NamespaceNumber, Packet, ProducerId, SocketId,
};
use async_trait::async_trait;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Membership of all sockets of one namespace in this process.
///
/// A room is a dense vector of its members' mailboxes, so a broadcast walks linear memory;
/// joining and leaving move one element.
pub struct LocalAdapter {
    members: RwLock<Members>,
    rooms_per_socket_max: usize,
    pub(crate) room_name_bytes_max: usize,
    pub(crate) slow_policy: SlowPolicy,
    /// The namespace's number in the packets of this node, and whose events they are.
    pub(crate) number: NamespaceNumber,
    pub(crate) producer: ProducerId,
    pub(crate) acks: Arc<AckTable>,
    pub(crate) events: Option<RoomEvents>,
    counters: Arc<Counters>,
}

/// Names of rooms are as long as names of events may be.
const ROOM_NAME_BYTES_MAX: usize = 255;

impl LocalAdapter {
    /// An adapter without members; `rooms_per_socket_max` is `Config`'s.
    #[must_use]
    pub fn new(rooms_per_socket_max: usize, counters: Arc<Counters>) -> Self {
        Self {
            members: RwLock::default(),
            rooms_per_socket_max,
            room_name_bytes_max: ROOM_NAME_BYTES_MAX,
            slow_policy: SlowPolicy::default(),
            number: NamespaceNumber(0),
            producer: ProducerId(0),
            acks: Arc::default(),
            events: None,
            counters,
        }
    }

    /// The event of a broadcast, as another node can use it.
    #[must_use]
    pub fn carry(&self, event: &Shared) -> Option<Event> {
        match event.packet() {
            Packet::Event(packet) => Some(packet.clone().into_event(self.producer, false)),
            Packet::Volatile(packet) => Some(packet.clone().into_event(self.producer, true)),
            _ => None,
        }
    }

    /// Gives the event of another node's broadcast to the selected sockets of this one. With
    /// `acks`, opened in [`LocalAdapter::acks`], they are to answer there.
    pub fn receive(
        &self,
        selection: &Selection,
        event: Event,
        acks: Option<&Arc<AckSet>>,
    ) -> Fanout {
        let packet = EventPacket {
            namespace: self.number,
            event: EventRef::new(event.id, self.producer),
            wants_ack: event.wants_ack,
            name: event.name,
            payload: event.payload,
        };
        let packet = if event.volatile { Packet::Volatile(packet) } else { Packet::Event(packet) };
        let mut event = Shared::new(packet);
        if let Some(acks) = acks {
            event = event.answered_to(Arc::clone(acks));
        }
        self.broadcast(selection, &mut event)
    }

    /// Where answers to broadcasts are waited for.
    #[must_use]
    pub fn acks(&self) -> &Arc<AckTable> {
        &self.acks
    }

    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the members, and then tells what happened to their rooms.
    fn change<R>(&self, change: impl FnOnce(&mut Members, &mut Hears<'_>) -> R) -> R {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let before = members.room_count() as u64;
        let told = self.events.as_ref().filter(|events| events.keeps_up());
        let result = change(&mut members, &mut |event| {
            if let Some(events) = told {
                events.push(event());
            }
        });
        let after = members.room_count() as u64;
        self.counters.count(after.saturating_sub(before), |counters| &counters.rooms);
        self.counters.uncount(before.saturating_sub(after), |counters| &counters.rooms);
        drop(members);
        if let Some(events) = &self.events {
            events.tell();
        }
        result
    }

    /// One member's share.
    fn offer(
        &self,
        id: SocketId,
        mailbox: &Mailbox,
        event: &mut Shared,
    ) -> Result<Taken, NotAccepted> {
        if let Some(acks) = event.acks() {
            acks.expect(id);
        }
        let codec = &**mailbox.codec();
        let taken = if event.is_volatile() {
            let bytes = event.event_bytes();
            let flush = mailbox.offer_volatile(event.encoded(codec), bytes);
            flush.map(|flush| Taken { flush, removed: 0 })
        } else {
            mailbox.deliver(&event.parcel(codec), self.slow_policy)
        };
        if let (Some(acks), Err(refused)) = (event.acks(), &taken) {
            acks.answer(id, Err(NoAnswer::NotAccepted(refused.clone())));
        }
        taken
    }

    /// Does something to each selected socket, one after another.
    fn change_all(
        &self,
        selection: &Selection,
        mut each: impl FnMut(&mut Members, SocketId, &mut Hears<'_>) -> bool,
    ) -> Fanout {
        let mut fanout = Fanout::default();
        self.change(|members, heard| {
            let mut selected = Vec::new();
            members.for_each(selection, |id, _| selected.push(id));
            for id in selected {
                if each(members, id, heard) {
                    fanout.accepted += 1;
                } else {
                    fanout.dropped += 1;
                }
            }
        });
        fanout
    }

    fn check_names(&self, rooms: &[RoomName]) -> Result<(), RoomError> {
        let max = self.room_name_bytes_max;
        match rooms.iter().map(|room| room.as_str().len()).find(|bytes| *bytes > max) {
            Some(bytes) => Err(RoomError::NameTooLong { bytes, max }),
            None => Ok(()),
        }
    }

    /// Counted once for all members.
    fn count(&self, fanout: Fanout, removed: u64, volatile: bool) {
        let (taken, dropped) = (fanout.accepted as u64, fanout.dropped as u64);
        if volatile {
            self.counters.count(taken, |counters| &counters.volatile_out);
            self.counters.count(dropped, |counters| &counters.volatile_dropped);
        } else {
            self.counters.count(taken, |counters| &counters.events_out);
            self.counters.count(dropped, |counters| &counters.broadcast_dropped);
            self.counters.count(removed, |counters| &counters.overflowed);
        }
    }
}

#[async_trait]
impl Adapter for LocalAdapter {
    fn add(&self, id: SocketId, mailbox: Arc<Mailbox>) {
        self.change(|members, _| members.add(id, mailbox));
    }

    fn silence(&self, id: SocketId) {
        self.change(|members, heard| members.silence(id, heard));
    }

    fn remove(&self, id: SocketId) {
        self.change(|members, heard| members.remove(id, heard));
    }

    fn join(&self, id: SocketId, rooms: &[RoomName]) -> Result<(), RoomError> {
        self.check_names(rooms)?;
        self.change(|members, heard| members.join(id, rooms, self.rooms_per_socket_max, heard))
    }

    fn leave(&self, id: SocketId, rooms: &[RoomName]) {
        self.change(|members, heard| members.leave(id, rooms, heard));
    }

    fn rooms_of(&self, id: SocketId) -> Vec<RoomName> {
        self.read().rooms_of(id)
    }

    fn broadcast(&self, selection: &Selection, event: &mut Shared) -> Fanout {
        let (mut fanout, mut removed) = (Fanout::default(), 0);
        // The same mailboxes are not written to under the lock on their rooms.
        let mut full_batches = Vec::new();
        turn(|| {
            self.read().for_each(selection, |id, mailbox| {
                if !event.is_for(id) {
                    return;
                }
                match self.offer(id, mailbox, event) {
                    Ok(taken) => {
                        fanout.accepted += 1;
                        removed += taken.removed;
                        match taken.flush {
                            Flush::Pending => {}
                            Flush::AtTurnEnd => mailbox.flush_in_turn(taken.flush),
                            Flush::Now => full_batches.push(Arc::clone(mailbox)),
                        }
                    }
                    Err(_) => fanout.dropped += 1,
                }
            });
            for mailbox in full_batches {
                mailbox.flush();
            }
        });
        self.count(fanout, removed, event.is_volatile());
        fanout
    }

    fn join_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        let max = self.rooms_per_socket_max;
        let fit = self.check_names(rooms).is_ok();
        self.change_all(selection, |members, id, heard| {
            fit && members.join(id, rooms, max, heard).is_ok()
        })
    }

    fn leave_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout {
        self.change_all(selection, |members, id, heard| {
            members.leave(id, rooms, heard);
            true
        })
    }

    fn disconnect_all(&self, selection: &Selection, words: &str) -> Fanout {
        let mut selected = Vec::new();
        self.read().for_each(selection, |id, mailbox| selected.push((id, Arc::clone(mailbox))));
        // They hear nothing more at once, whenever their drivers get to it.
        self.change(|members, heard| {
            for (id, _) in &selected {
                members.silence(*id, heard);
            }
        });
        for (id, mailbox) in &selected {
            mailbox.ask_to_leave(*id, words);
        }
        Fanout { accepted: selected.len(), dropped: 0 }
    }

    async fn rooms(&self, selection: &Selection) -> Result<Vec<(RoomName, usize)>, RoomError> {
        Ok(self.read().rooms(selection))
    }

    async fn sockets(&self, selection: &Selection) -> Result<Vec<SocketId>, RoomError> {
        let mut sockets = Vec::new();
        self.read().for_each(selection, |id, _| sockets.push(id));
        Ok(sockets)
    }
}
