//! The adapter of one process: rooms as dense vectors.

use super::{
    Adapter, Counters, Fanout, Flush, Mailbox, NotAccepted, RoomError, RoomName, Selection, Shared,
    turn::turn,
};
use crate::protocol::SocketId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Membership of all sockets of one namespace in this process.
///
/// A room is a dense vector of its members' mailboxes, so a broadcast walks linear memory;
/// joining and leaving move one element.
pub struct LocalAdapter {
    members: RwLock<Members>,
    rooms_per_socket_max: usize,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Members {
    sockets: HashMap<SocketId, Joined>,
    everyone: Room,
    rooms: HashMap<RoomName, Room>,
    /// Where sockets were that hear nothing any more.
    silenced: HashMap<SocketId, Vec<RoomName>>,
}

/// Where a socket stands in each of its rooms.
struct Joined {
    mailbox: Arc<Mailbox>,
    in_everyone: usize,
    in_rooms: Vec<(RoomName, usize)>,
}

#[derive(Default)]
struct Room(Vec<(SocketId, Arc<Mailbox>)>);

impl LocalAdapter {
    /// An adapter without members; `rooms_per_socket_max` is `Config`'s.
    #[must_use]
    pub fn new(rooms_per_socket_max: usize, counters: Arc<Counters>) -> Self {
        Self { members: RwLock::default(), rooms_per_socket_max, counters }
    }

    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adapter for LocalAdapter {
    fn add(&self, id: SocketId, mailbox: Arc<Mailbox>) {
        let mut members = self.write();
        let in_everyone = members.everyone.push(id, Arc::clone(&mailbox));
        members.sockets.insert(id, Joined { mailbox, in_everyone, in_rooms: Vec::new() });
    }

    fn silence(&self, id: SocketId) {
        let mut members = self.write();
        let rooms = members.remove(id);
        if !rooms.is_empty() {
            members.silenced.insert(id, rooms);
        }
    }

    fn remove(&self, id: SocketId) {
        let mut members = self.write();
        members.silenced.remove(&id);
        members.remove(id);
    }

    fn join(&self, id: SocketId, rooms: &[RoomName]) -> Result<(), RoomError> {
        let mut members = self.write();
        let Members { sockets, rooms: all, .. } = &mut *members;
        let joined = sockets.get_mut(&id).ok_or(RoomError::Closed)?;
        let mut new: Vec<&RoomName> = rooms.iter().filter(|room| !joined.is_in(room)).collect();
        new.sort_unstable();
        new.dedup();
        if joined.in_rooms.len() + new.len() > self.rooms_per_socket_max {
            return Err(RoomError::TooManyRooms { max: self.rooms_per_socket_max });
        }
        for name in new {
            // All members share one copy of the name.
            let known = all.get_key_value(name).map_or(name, |(known, _)| known).clone();
            let room = all.entry(known.clone()).or_default();
            let place = room.push(id, Arc::clone(&joined.mailbox));
            if joined.in_rooms.is_empty() {
                joined.in_rooms.reserve_exact(1); // as many as most sockets ever join
            }
            joined.in_rooms.push((known, place));
        }
        Ok(())
    }

    fn leave(&self, id: SocketId, rooms: &[RoomName]) {
        let mut members = self.write();
        for name in rooms {
            let Some(joined) = members.sockets.get_mut(&id) else { return };
            let Some(index) = joined.in_rooms.iter().position(|(room, _)| room == name) else {
                continue;
            };
            let (name, place) = joined.in_rooms.swap_remove(index);
            members.take_from_room(&name, place);
        }
    }

    fn rooms_of(&self, id: SocketId) -> Vec<RoomName> {
        let members = self.read();
        match members.sockets.get(&id) {
            Some(joined) => joined.in_rooms.iter().map(|(name, _)| name.clone()).collect(),
            None => members.silenced.get(&id).cloned().unwrap_or_default(),
        }
    }

    fn rooms(&self) -> Vec<(RoomName, usize)> {
        let members = self.read();
        members.rooms.iter().map(|(name, room)| (name.clone(), room.0.len())).collect()
    }

    fn sockets(&self, selection: &Selection) -> Vec<SocketId> {
        let mut sockets = Vec::new();
        self.read().for_each(selection, |id, _| sockets.push(id));
        sockets
    }

    fn broadcast(&self, selection: &Selection, event: &mut Shared) -> Fanout {
        let mut fanout = Fanout::default();
        // The same mailboxes are not written to under the lock on their rooms.
        let mut full_batches = Vec::new();
        turn(|| {
            self.read().for_each(selection, |_, mailbox| match offer(mailbox, event) {
                Ok(flush) => {
                    fanout.accepted += 1;
                    match flush {
                        Flush::Pending => {}
                        Flush::AtTurnEnd => mailbox.flush_in_turn(flush),
                        Flush::Now => full_batches.push(Arc::clone(mailbox)),
                    }
                }
                Err(_) => fanout.dropped += 1,
            });
            for mailbox in full_batches {
                mailbox.flush();
            }
        });
        // Counted once for all members.
        let counters = &self.counters;
        let (taken, dropped) = if event.is_volatile() {
            (&counters.volatile_out, &counters.volatile_dropped)
        } else {
            (&counters.events_out, &counters.broadcast_dropped)
        };
        taken.add(fanout.accepted as u64);
        dropped.add(fanout.dropped as u64);
        fanout
    }
}

/// One member's share.
fn offer(mailbox: &Mailbox, event: &mut Shared) -> Result<Flush, NotAccepted> {
    let (bytes, volatile) = (event.event_bytes(), event.is_volatile());
    let encoded = event.encoded(&**mailbox.codec());
    if volatile { mailbox.offer_volatile(encoded, bytes) } else { mailbox.deliver(encoded, bytes) }
}

impl Members {
    /// Calls `each` once for every selected socket.
    fn for_each(&self, selection: &Selection, mut each: impl FnMut(SocketId, &Arc<Mailbox>)) {
        let mut left_out: HashSet<SocketId> = HashSet::new();
        for members in selection.except.iter().flat_map(|name| self.members_of(name)) {
            left_out.extend(members.iter().map(|(id, _)| *id));
        }
        let rooms: Vec<_> = match &selection.rooms {
            None => vec![&self.everyone.0[..]],
            Some(names) => names.iter().flat_map(|name| self.members_of(name)).collect(),
        };
        // A union reaches each once; one room, or everyone, has nobody twice.
        let mut seen = (rooms.len() > 1).then(HashSet::new);
        for (id, mailbox) in rooms.into_iter().flatten() {
            if selection.without != Some(*id)
                && (left_out.is_empty() || !left_out.contains(id))
                && seen.as_mut().is_none_or(|seen| seen.insert(*id))
            {
                each(*id, mailbox);
            }
        }
    }

    /// The members of a room, and the one socket whose id is its name: nobody takes a socket's
    /// place by joining a room of that name.
    fn members_of(&self, name: &RoomName) -> impl Iterator<Item = &[(SocketId, Arc<Mailbox>)]> {
        let room = self.rooms.get(name).map(|room| &room.0[..]);
        let id = u128::from_str_radix(name.as_str(), 16).ok().map(SocketId);
        let socket = id.and_then(|id| self.sockets.get(&id));
        let socket = socket.map(|joined| &self.everyone.0[joined.in_everyone..=joined.in_everyone]);
        room.into_iter().chain(socket)
    }

    /// Takes a socket out of everything; says where it was.
    fn remove(&mut self, id: SocketId) -> Vec<RoomName> {
        let Some(joined) = self.sockets.remove(&id) else { return Vec::new() };
        for (name, place) in &joined.in_rooms {
            self.take_from_room(name, *place);
        }
        let moved = self.everyone.swap_remove(joined.in_everyone);
        if let Some(moved) = moved.and_then(|id| self.sockets.get_mut(&id)) {
            moved.in_everyone = joined.in_everyone;
        }
        joined.in_rooms.into_iter().map(|(name, _)| name).collect()
    }

    /// Takes one member out of a room, and the room away when it was the last.
    fn take_from_room(&mut self, name: &RoomName, place: usize) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let moved = room.swap_remove(place);
        if room.0.is_empty() {
            self.rooms.remove(name);
        } else if room.0.capacity() > 64 && room.0.len() * 4 < room.0.capacity() {
            room.0.shrink_to(room.0.len() * 2);
        }
        let moved = moved.and_then(|id| self.sockets.get_mut(&id));
        let entry =
            moved.and_then(|joined| joined.in_rooms.iter_mut().find(|(room, _)| room == name));
        if let Some(entry) = entry {
            entry.1 = place;
        }
    }
}

impl Joined {
    fn is_in(&self, room: &RoomName) -> bool {
        self.in_rooms.iter().any(|(name, _)| name == room)
    }
}

impl Room {
    /// Where the new member stands.
    fn push(&mut self, id: SocketId, mailbox: Arc<Mailbox>) -> usize {
        self.0.push((id, mailbox));
        self.0.len() - 1
    }

    /// Fills the hole with the last member and says who that is, if somebody moved.
    fn swap_remove(&mut self, place: usize) -> Option<SocketId> {
        self.0.swap_remove(place);
        self.0.get(place).map(|(id, _)| *id)
    }
}
