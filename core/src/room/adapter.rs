//! The adapter: who is in which room, and how a broadcast finds them.

use super::{Fanout, Mailbox, RoomName, Selection, Shared};
use crate::protocol::SocketId;
use std::sync::Arc;
use thiserror::Error;

/// Why a room verb was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomError {
    /// Rooms live on servers; a client has none.
    #[error("rooms live on servers")]
    NotOnServer,
    /// The socket has ended.
    #[error("the socket has ended")]
    Closed,
    /// The socket is in as many rooms as one may be.
    #[error("a socket may be in {max} rooms at most")]
    TooManyRooms {
        /// The limit, `Config::rooms_per_socket_max`.
        max: usize,
    },
}

/// Membership and fan-out of one namespace.
///
/// A room holds mailboxes, never sockets. The adapter of one process is [`LocalAdapter`]; one for
/// many nodes keeps its own members the same way and carries the rest.
///
/// [`LocalAdapter`]: super::LocalAdapter
pub trait Adapter: Send + Sync + 'static {
    /// A socket begins; it is addressable as a room by its id.
    fn add(&self, id: SocketId, mailbox: Arc<Mailbox>);

    /// A socket that is about to end hears nothing any more; its rooms are remembered until it is
    /// removed.
    fn silence(&self, id: SocketId);

    /// A socket ends and leaves all its rooms.
    fn remove(&self, id: SocketId);

    /// The socket joins all of these rooms, or none of them.
    ///
    /// # Errors
    /// [`RoomError::Closed`] when the socket is not here, [`RoomError::TooManyRooms`].
    fn join(&self, id: SocketId, rooms: &[RoomName]) -> Result<(), RoomError>;

    /// The socket leaves these rooms; those it is not in do not matter.
    fn leave(&self, id: SocketId, rooms: &[RoomName]);

    /// The rooms of a socket, its own id not among them.
    fn rooms_of(&self, id: SocketId) -> Vec<RoomName>;

    /// All rooms with their sizes.
    fn rooms(&self) -> Vec<(RoomName, usize)>;

    /// The sockets of a selection, each once.
    fn sockets(&self, selection: &Selection) -> Vec<SocketId>;

    /// Appends the event to the mailbox of each selected socket, each once, and never waits.
    fn broadcast(&self, selection: &Selection, event: &mut Shared) -> Fanout;
}
