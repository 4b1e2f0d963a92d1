//! The adapter: who is in which room, and how a broadcast finds them.

use super::{Fanout, Mailbox, RoomName, Selection, Shared};
use crate::protocol::SocketId;
use async_trait::async_trait;
use std::sync::Arc;
use thiserror::Error;

/// Why a room verb was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomError {
    /// Rooms live on servers; a client has none.
    #[error("rooms live on servers: emit to the server, and let its handler speak to the room")]
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
    /// The name is longer than names of rooms may be.
    #[error("a room name of {bytes} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit, `Config::room_name_bytes_max`.
        max: usize,
    },
    /// No namespace of this path is mounted.
    #[error("no namespace {path} is mounted")]
    NotMounted {
        /// The path.
        path: Box<str>,
    },
    /// An adapter for many nodes got no answer from some of them in time.
    #[error("{missing} other nodes did not answer")]
    Unanswered {
        /// How many.
        missing: usize,
    },
}

/// Membership and fan-out of one namespace.
///
/// A room holds mailboxes, never sockets. The adapter of one process is [`LocalAdapter`]; one for
/// many nodes keeps its own members in one of those and carries the rest: what is said to a
/// [`Selection`] goes to its local members at once and to the other nodes as an
/// [`Event`](crate::protocol::Event), unless [`Selection::local`] forbids it. See
/// [`LocalAdapter::carry`] and [`LocalAdapter::receive`].
///
/// None of the verbs may wait, but those that are async.
///
/// [`LocalAdapter`]: super::LocalAdapter
/// [`LocalAdapter::carry`]: super::LocalAdapter::carry
/// [`LocalAdapter::receive`]: super::LocalAdapter::receive
#[async_trait]
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
    /// [`RoomError::Closed`] when the socket is not here, [`RoomError::TooManyRooms`],
    /// [`RoomError::NameTooLong`].
    fn join(&self, id: SocketId, rooms: &[RoomName]) -> Result<(), RoomError>;

    /// The socket leaves these rooms; those it is not in do not matter.
    fn leave(&self, id: SocketId, rooms: &[RoomName]);

    /// The rooms of a socket, its own id not among them.
    fn rooms_of(&self, id: SocketId) -> Vec<RoomName>;

    /// Appends the event to the mailbox of each selected socket, each once, and never waits. With
    /// [`Shared::acks`] each is announced there first.
    fn broadcast(&self, selection: &Selection, event: &mut Shared) -> Fanout;

    /// Has each selected socket join these rooms, or none of them where they are too many for it:
    /// that one counts as dropped.
    fn join_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout;

    /// Has each selected socket leave these rooms.
    fn leave_all(&self, selection: &Selection, rooms: &[RoomName]) -> Fanout;

    /// Has each selected socket end, with words for its peer.
    fn disconnect_all(&self, selection: &Selection, words: &str) -> Fanout;

    /// The rooms of the selected sockets, each with how many of them are in it.
    ///
    /// # Errors
    /// [`RoomError::Unanswered`], with an adapter for many nodes.
    async fn rooms(&self, selection: &Selection) -> Result<Vec<(RoomName, usize)>, RoomError>;

    /// The selected sockets, each once.
    ///
    /// # Errors
    /// [`RoomError::Unanswered`], with an adapter for many nodes.
    async fn sockets(&self, selection: &Selection) -> Result<Vec<SocketId>, RoomError>;
}
