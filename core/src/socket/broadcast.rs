//! Emitting to many sockets.

use super::EmitError;
use super::core::{Scope, pack};
use crate::protocol::{Packet, SocketId, ToPayload};
use crate::room::{Fanout, RoomError, RoomName, Rooms, Selection, Shared};
use std::future::{IntoFuture, Ready, ready};
use std::sync::Arc;
use tokio::task::coop::{Coop, cooperative};

/// A selection of sockets that one can emit to: rooms in, rooms out.
///
/// Rooms add up, and a socket in several of them hears an event once.
#[must_use = "a broadcast reaches nobody until something is emitted to it"]
#[derive(Clone, Debug)]
pub struct Broadcast {
    scope: Result<Arc<Scope>, Nowhere>,
    selection: Selection,
    volatile: bool,
}

#[derive(Clone, Debug)]
enum Nowhere {
    NotMounted(Box<str>),
    NotOnServer,
}

impl Broadcast {
    /// Everyone in a namespace.
    pub(crate) fn everyone(scope: Arc<Scope>) -> Self {
        Self { scope: Ok(scope), selection: Selection::default(), volatile: false }
    }

    /// What is said to a namespace that is not mounted is an error, not silence.
    pub(crate) fn not_mounted(path: &str) -> Self {
        let scope = Err(Nowhere::NotMounted(path.into()));
        Self { scope, selection: Selection::default(), volatile: false }
    }

    /// Rooms live on servers.
    pub(crate) fn not_on_server() -> Self {
        let scope = Err(Nowhere::NotOnServer);
        Self { scope, selection: Selection::default(), volatile: false }
    }

    pub(crate) fn without(mut self, id: SocketId) -> Self {
        self.selection.without = Some(id);
        self
    }

    /// Only these rooms, besides those that were named before. No room at all is nobody.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.selection.rooms.get_or_insert_default().extend(rooms.names());
        self
    }

    /// Also these rooms; the same as [`Broadcast::to`], for those who think "within a room".
    pub fn within(self, rooms: impl Rooms) -> Self {
        self.to(rooms)
    }

    /// But not the members of these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.selection.except.extend(rooms.names());
        self
    }

    /// Events that may be missed.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Says it to all of them. Encoded once; nobody waits for a slow member.
    pub fn emit<'a, T: ToPayload + ?Sized>(
        &'a self,
        name: &'a str,
        value: &'a T,
    ) -> EmitBroadcast<'a, T> {
        EmitBroadcast { broadcast: self, name, value, volatile: self.volatile }
    }

    /// The ids of the selected sockets, each once.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketId> {
        self.scope
            .as_ref()
            .map_or_else(|_| Vec::new(), |scope| scope.adapter.sockets(&self.selection))
    }

    /// All rooms of the namespace with their sizes, whatever is selected.
    #[must_use]
    pub fn rooms(&self) -> Vec<(RoomName, usize)> {
        self.scope.as_ref().map_or_else(|_| Vec::new(), |scope| scope.adapter.rooms())
    }

    fn scope(&self) -> Result<&Scope, EmitError> {
        match &self.scope {
            Ok(scope) => Ok(scope),
            Err(Nowhere::NotMounted(path)) => Err(EmitError::NoNamespace { path: path.clone() }),
            Err(Nowhere::NotOnServer) => Err(RoomError::NotOnServer.into()),
        }
    }
}

/// An emit to many that is not sent yet.
///
/// # Errors
/// [`EmitError`] when it could not be sent to anyone. What became of it at each member is counted
/// in the [`Fanout`].
///
/// # Cancel safety
/// It is done as soon as it is awaited; dropping it then only loses the `Fanout`.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct EmitBroadcast<'a, T: ?Sized> {
    broadcast: &'a Broadcast,
    name: &'a str,
    value: &'a T,
    volatile: bool,
}

impl<T: ?Sized> EmitBroadcast<'_, T> {
    /// Lets the event be missed.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }
}

impl<T: ToPayload + ?Sized> IntoFuture for EmitBroadcast<'_, T> {
    type Output = Result<Fanout, EmitError>;
    // A loop that only broadcasts lets others run now and then.
    type IntoFuture = Coop<Ready<Self::Output>>;

    fn into_future(self) -> Self::IntoFuture {
        cooperative(ready(self.broadcast.scope().and_then(|scope| {
            let id = scope.producer.mint();
            let (number, own) = (scope.number, scope.producer.id);
            let packet = pack(self.name, self.value, number, id, own, scope.event_bytes_max)?;
            let packet =
                if self.volatile { Packet::Volatile(packet) } else { Packet::Event(packet) };
            let mut event = Shared::new(packet);
            Ok(scope.adapter.broadcast(&self.broadcast.selection, &mut event))
        })))
    }
}
