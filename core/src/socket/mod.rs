//! **What you hold.** Sockets, broadcasts, emitting and its errors.

mod acks;
mod broadcast;
mod core;
mod emit;
mod envelope;
mod error;

pub use broadcast::{Broadcast, EmitBroadcast};
pub(crate) use core::{Producer, Scope, SessionCore};
pub use emit::{Accepting, Answering, Emit, EmitVolatile, EmitWithAck};
pub use envelope::{Ack, Envelope};
pub use error::{AckError, EmitError};

use crate::protocol::{DisconnectReason, NamespaceNumber, SessionId, SocketId, ToPayload};
use crate::room::{RoomError, RoomName, Rooms};
use crate::transport::{Capabilities, Peer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// One session in one namespace: what handlers hold. Cheap to clone; the same on both ends.
///
/// ```no_run
/// # use emitwire_core::socket::{AckError, EmitError, Socket};
/// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
/// socket.emit("say", "hello").await?; // accepted
/// let length: usize = socket.emit("say", "hello").ack().await?; // handled
/// socket.emit("cursor", &(3, 4)).volatile().await?; // may be missed
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: SocketId,
    path: Arc<str>,
    /// This side's number of the namespace, in the events it sends.
    number: NamespaceNumber,
    /// The client's number, which names the socket within its session.
    client: NamespaceNumber,
    session: Arc<SessionCore>,
    /// On servers only.
    scope: Option<Arc<Scope>>,
    ended: OnceLock<DisconnectReason>,
}

impl Socket {
    pub(crate) fn on_server(
        id: SocketId,
        client: NamespaceNumber,
        session: Arc<SessionCore>,
        scope: Arc<Scope>,
    ) -> Self {
        let (path, number) = (Arc::clone(&scope.path), scope.number);
        let ended = OnceLock::new();
        Self(Arc::new(Inner { id, path, number, client, session, scope: Some(scope), ended }))
    }

    pub(crate) fn on_client(
        id: SocketId,
        client: NamespaceNumber,
        session: Arc<SessionCore>,
        path: Arc<str>,
    ) -> Self {
        let ended = OnceLock::new();
        let number = client;
        Self(Arc::new(Inner { id, path, number, client, session, scope: None, ended }))
    }

    /// Its id, the same on both ends; on a server also the name of a room with one member.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.0.id
    }

    /// The session that it belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.session.id
    }

    /// The path of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.path
    }

    /// Who is at the other end of the wire.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.0.session.peer
    }

    /// What the wire promises.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.0.session.capabilities
    }

    /// Why the socket has ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<DisconnectReason> {
        self.0.ended.get().cloned().or_else(|| self.0.session.mailbox.closed())
    }

    /// Says something to the peer: see [`Emit`] for what can be chosen before `.await`.
    pub fn emit<'a, T: ToPayload + ?Sized>(&'a self, name: &'a str, value: &'a T) -> Emit<'a, T> {
        Emit { socket: self, name, value, timeout: None }
    }

    /// Everyone in these rooms but this socket.
    pub fn to(&self, rooms: impl Rooms) -> Broadcast {
        self.within(rooms).without(self.0.id)
    }

    /// Everyone in these rooms, this socket too if it is in one of them.
    pub fn within(&self, rooms: impl Rooms) -> Broadcast {
        self.reach().to(rooms)
    }

    /// Everyone in the namespace but this socket and the members of these rooms.
    pub fn except(&self, rooms: impl Rooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Everyone in the namespace but this socket.
    pub fn broadcast(&self) -> Broadcast {
        self.reach().without(self.0.id)
    }

    /// Joins rooms: all of them or, on an error, none.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`] on a client, [`RoomError::Closed`] when the socket has ended,
    /// [`RoomError::TooManyRooms`].
    ///
    /// # Cancel safety
    /// It is done at its first poll or not at all.
    pub async fn join(&self, rooms: impl Rooms) -> Result<(), RoomError> {
        self.scope()?.adapter.join(self.0.id, &rooms.names())
    }

    /// Leaves rooms; those it is not in do not matter. Ending leaves all of them by itself.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`] on a client.
    ///
    /// # Cancel safety
    /// It is done at its first poll or not at all.
    pub async fn leave(&self, rooms: impl Rooms) -> Result<(), RoomError> {
        self.scope()?.adapter.leave(self.0.id, &rooms.names());
        Ok(())
    }

    /// The rooms it is in, the one of its id not among them.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`] on a client.
    pub fn rooms(&self) -> Result<Vec<RoomName>, RoomError> {
        Ok(self.scope()?.adapter.rooms_of(self.0.id))
    }

    /// Ends this socket; the session and its other sockets go on.
    pub fn disconnect(&self) {
        if self.0.ended.set(DisconnectReason::Closed).is_ok() {
            self.0.session.leave(self.0.client);
        }
    }

    /// Ends the socket for its holders; says whether this call did it.
    pub(crate) fn end(&self, reason: DisconnectReason) -> bool {
        self.0.ended.set(reason).is_ok()
    }

    pub(crate) fn session(&self) -> &Arc<SessionCore> {
        &self.0.session
    }

    pub(crate) fn number(&self) -> NamespaceNumber {
        self.0.number
    }

    pub(crate) fn client(&self) -> NamespaceNumber {
        self.0.client
    }

    pub(crate) fn scope(&self) -> Result<&Arc<Scope>, RoomError> {
        self.0.scope.as_ref().ok_or(RoomError::NotOnServer)
    }

    pub(crate) fn check_open(&self) -> Result<(), EmitError> {
        match self.0.ended.get() {
            Some(reason) => Err(EmitError::Closed { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn reach(&self) -> Broadcast {
        match &self.0.scope {
            Some(scope) => Broadcast::everyone(Arc::clone(scope)),
            None => Broadcast::not_on_server(),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.path)
            .finish_non_exhaustive()
    }
}
