//! The table of members: who is in which room.

use super::{Mailbox, RoomError, RoomEvent, RoomName, Selection};
use crate::protocol::SocketId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Somebody who may want to know what happens to rooms; it is put into words only then.
pub(super) type Hears<'a> = dyn FnMut(&dyn Fn() -> RoomEvent) + 'a;

/// The sockets of one namespace and their rooms.
#[derive(Default)]
pub(super) struct Members {
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

impl Members {
    pub(super) fn add(&mut self, id: SocketId, mailbox: Arc<Mailbox>) {
        let in_everyone = self.everyone.push(id, Arc::clone(&mailbox));
        self.sockets.insert(id, Joined { mailbox, in_everyone, in_rooms: Vec::new() });
    }

    pub(super) fn silence(&mut self, id: SocketId, heard: &mut Hears<'_>) {
        let rooms = self.take(id, heard);
        if !rooms.is_empty() {
            self.silenced.insert(id, rooms);
        }
    }

    pub(super) fn remove(&mut self, id: SocketId, heard: &mut Hears<'_>) {
        self.silenced.remove(&id);
        self.take(id, heard);
    }

    /// Joins all of these rooms, or none of them if that makes more than `rooms_max`.
    pub(super) fn join(
        &mut self,
        id: SocketId,
        rooms: &[RoomName],
        rooms_max: usize,
        heard: &mut Hears<'_>,
    ) -> Result<(), RoomError> {
        let joined = self.sockets.get_mut(&id).ok_or(RoomError::Closed)?;
        let mut new: Vec<&RoomName> = rooms.iter().filter(|room| !joined.is_in(room)).collect();
        new.sort_unstable();
        new.dedup();
        if joined.in_rooms.len() + new.len() > rooms_max {
            return Err(RoomError::TooManyRooms { max: rooms_max });
        }
        for name in new {
            // All members share one copy of the name.
            let known = self.rooms.get_key_value(name).map(|(known, _)| known.clone());
            if known.is_none() {
                heard(&|| RoomEvent::Created(name.clone()));
            }
            let known = known.unwrap_or_else(|| name.clone());
            let room = self.rooms.entry(known.clone()).or_default();
            let place = room.push(id, Arc::clone(&joined.mailbox));
            if joined.in_rooms.is_empty() {
                joined.in_rooms.reserve_exact(1); // as many as most sockets ever join
            }
            heard(&|| RoomEvent::Joined(id, known.clone()));
            joined.in_rooms.push((known, place));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, id: SocketId, rooms: &[RoomName], heard: &mut Hears<'_>) {
        for name in rooms {
            let Some(joined) = self.sockets.get_mut(&id) else { return };
            let Some(index) = joined.in_rooms.iter().position(|(room, _)| room == name) else {
                continue;
            };
            let (name, place) = joined.in_rooms.swap_remove(index);
            self.take_from_room(id, &name, place, heard);
        }
    }

    /// The rooms of a socket, also of one that is silenced, in the order of their names.
    pub(super) fn rooms_of(&self, id: SocketId) -> Vec<RoomName> {
        let mut rooms: Vec<_> = match self.sockets.get(&id) {
            Some(joined) => joined.in_rooms.iter().map(|(name, _)| name.clone()).collect(),
            None => self.silenced.get(&id).cloned().unwrap_or_default(),
        };
        rooms.sort_unstable();
        rooms
    }

    /// The rooms of the selected sockets, each with how many of them are in it, in the order of
    /// their names.
    pub(super) fn rooms(&self, selection: &Selection) -> Vec<(RoomName, usize)> {
        let is_everyone =
            selection.rooms.is_none() && selection.except.is_empty() && selection.without.is_none();
        let mut rooms: Vec<_> = if is_everyone {
            self.rooms.iter().map(|(name, room)| (name.clone(), room.0.len())).collect()
        } else {
            let mut sizes: HashMap<&RoomName, usize> = HashMap::new();
            self.for_each(selection, |id, _| {
                for (name, _) in self.sockets.get(&id).iter().flat_map(|joined| &joined.in_rooms) {
                    *sizes.entry(name).or_default() += 1;
                }
            });
            sizes.into_iter().map(|(name, size)| (name.clone(), size)).collect()
        };
        rooms.sort_unstable();
        rooms
    }

    /// How many rooms there are.
    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Calls `each` once for every selected socket.
    pub(super) fn for_each(
        &self,
        selection: &Selection,
        mut each: impl FnMut(SocketId, &Arc<Mailbox>),
    ) {
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
    fn take(&mut self, id: SocketId, heard: &mut Hears<'_>) -> Vec<RoomName> {
        let Some(joined) = self.sockets.remove(&id) else { return Vec::new() };
        for (name, place) in &joined.in_rooms {
            self.take_from_room(id, name, *place, heard);
        }
        let moved = self.everyone.swap_remove(joined.in_everyone);
        if let Some(moved) = moved.and_then(|id| self.sockets.get_mut(&id)) {
            moved.in_everyone = joined.in_everyone;
        }
        joined.in_rooms.into_iter().map(|(name, _)| name).collect()
    }

    /// Takes one member out of a room, and the room away when it was the last.
    fn take_from_room(
        &mut self,
        id: SocketId,
        name: &RoomName,
        place: usize,
        heard: &mut Hears<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let moved = room.swap_remove(place);
        heard(&|| RoomEvent::Left(id, name.clone()));
        if room.0.is_empty() {
            self.rooms.remove(name);
            heard(&|| RoomEvent::Deleted(name.clone()));
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
