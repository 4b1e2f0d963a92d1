//! Emitting to many sockets.

use super::core::pack;
use super::{Answers, EmitBroadcastWithAck, EmitError, Scope, Served, Socket};
use crate::protocol::{EventId, NamespaceNumber, Packet, ProducerId, SocketId, ToPayload};
use crate::room::{AckSet, Adapter, Fanout, RoomError, RoomName, Rooms, Selection, Shared};
use serde::de::DeserializeOwned;
use std::future::{IntoFuture, Ready, ready};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::{Coop, cooperative};

/// A selection of sockets that one can emit to: rooms in, rooms out.
///
/// Rooms add up, and a socket in several of them hears an event once.
#[must_use = "a broadcast reaches nobody until something is emitted to it"]
#[derive(Clone, Debug)]
pub struct Broadcast {
    reach: Reach,
    selection: Selection,
    volatile: bool,
    timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Reach {
    One(Arc<Scope>),
    /// The namespaces that a pattern has brought about so far.
    Many(Vec<Arc<Scope>>),
    NotMounted(Box<str>),
    NotOnServer,
}

impl Broadcast {
    /// Everyone in a namespace.
    pub(crate) fn everyone(scope: Arc<Scope>) -> Self {
        Self::over(Reach::One(scope))
    }

    /// Everyone in any of these namespaces.
    pub(crate) fn everyone_in(scopes: Vec<Arc<Scope>>) -> Self {
        Self::over(Reach::Many(scopes))
    }

    /// What is said to a namespace that is not mounted is an error, not silence.
    pub(crate) fn not_mounted(path: &str) -> Self {
        Self::over(Reach::NotMounted(path.into()))
    }

    /// Rooms live on servers.
    pub(crate) fn not_on_server() -> Self {
        Self::over(Reach::NotOnServer)
    }

    fn over(reach: Reach) -> Self {
        Self { reach, selection: Selection::default(), volatile: false, timeout: None }
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

    /// Only sockets of this node; without an adapter for many nodes these are all there are.
    pub fn local(mut self) -> Self {
        self.selection.local = true;
        self
    }

    /// Events that may be missed.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Another deadline for answers than `Config::ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says it to all of them. Encoded once; nobody waits for a slow member.
    pub fn emit<'a, T: ToPayload + ?Sized>(
        &'a self,
        name: &'a str,
        value: &'a T,
    ) -> EmitBroadcast<'a, T> {
        let (volatile, timeout) = (self.volatile, self.timeout);
        EmitBroadcast { broadcast: self, name, value, volatile, timeout }
    }

    /// The ids of the selected sockets, each once.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`], [`RoomError::Unanswered`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn sockets(&self) -> Result<Vec<SocketId>, RoomError> {
        let mut sockets = Vec::new();
        for served in self.served()? {
            sockets.extend(served.adapter.sockets(&self.selection).await?);
        }
        Ok(sockets)
    }

    /// The selected sockets of this node, to be held: their data, their peer, their listeners.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn local_sockets(&self) -> Result<Vec<Socket>, RoomError> {
        let here = Selection { local: true, ..self.selection.clone() };
        let mut sockets = Vec::new();
        for served in self.served()? {
            let ids = served.adapter.sockets(&here).await?;
            sockets.extend(ids.into_iter().filter_map(|id| served.socket(id)));
        }
        Ok(sockets)
    }

    /// The rooms that the selected sockets are in, each with how many of them, in the order of
    /// their names.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`], [`RoomError::Unanswered`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn rooms(&self) -> Result<Vec<(RoomName, usize)>, RoomError> {
        let mut rooms = Vec::new();
        for served in self.served()? {
            rooms.extend(served.adapter.rooms(&self.selection).await?);
        }
        rooms.sort_unstable();
        Ok(rooms)
    }

    /// Has each of them join these rooms. `Fanout::dropped` are those for which they are too many.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`].
    ///
    /// # Cancel safety
    /// It is done when it is ready, or not at all.
    pub async fn join_all(&self, rooms: impl Rooms) -> Result<Fanout, RoomError> {
        let rooms = rooms.names();
        cooperative(async { self.all(|adapter| adapter.join_all(&self.selection, &rooms)) }).await
    }

    /// Has each of them leave these rooms.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`].
    ///
    /// # Cancel safety
    /// It is done when it is ready, or not at all.
    pub async fn leave_all(&self, rooms: impl Rooms) -> Result<Fanout, RoomError> {
        let rooms = rooms.names();
        cooperative(async { self.all(|adapter| adapter.leave_all(&self.selection, &rooms)) }).await
    }

    /// Has each of them end, with words for its peer: see [`Socket::disconnect`].
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`], [`RoomError::NotMounted`].
    ///
    /// # Cancel safety
    /// It is done when it is ready, or not at all.
    pub async fn disconnect_all(&self, words: &str) -> Result<Fanout, RoomError> {
        cooperative(async { self.all(|adapter| adapter.disconnect_all(&self.selection, words)) })
            .await
    }

    fn all(&self, verb: impl Fn(&dyn Adapter) -> Fanout) -> Result<Fanout, RoomError> {
        Ok(self.served()?.map(|served| verb(&*served.adapter)).sum())
    }

    fn served(&self) -> Result<impl Iterator<Item = &Served>, RoomError> {
        Ok(self.scopes()?.iter().filter_map(|scope| scope.served.as_ref()))
    }

    fn scopes(&self) -> Result<&[Arc<Scope>], RoomError> {
        match &self.reach {
            Reach::One(scope) => Ok(std::slice::from_ref(scope)),
            Reach::Many(scopes) => Ok(scopes),
            Reach::NotMounted(path) => Err(RoomError::NotMounted { path: path.clone() }),
            Reach::NotOnServer => Err(RoomError::NotOnServer),
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
    timeout: Option<Duration>,
}

impl<'a, T: ?Sized> EmitBroadcast<'a, T> {
    /// Lets the event be missed.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Another deadline for answers than `Config::ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asks each member for its answer; such an event is not volatile.
    pub fn ack<R: DeserializeOwned>(self) -> EmitBroadcastWithAck<'a, T, R> {
        EmitBroadcastWithAck::new(self)
    }
}

impl<T: ToPayload + ?Sized> EmitBroadcast<'_, T> {
    /// What can never be said is an error also where nobody hears it.
    fn check(&self) -> Result<(), EmitError> {
        let (nowhere, nobody) = (NamespaceNumber(0), ProducerId(0));
        let id = EventId { producer: nobody, number: 0 };
        pack(self.name, self.value, nowhere, id, nobody, usize::MAX).map(|_| ())
    }

    fn send(&self) -> Result<Fanout, EmitError> {
        let scopes = self.broadcast.scopes()?;
        let Some(served) = scopes.iter().find_map(|scope| scope.served.as_ref()) else {
            return self.check().map(|()| Fanout::default());
        };
        scopes.iter().map(|scope| self.send_in(scope, served.producer.mint(), None)).sum()
    }

    /// Sends it, and begins to wait for the answers.
    pub(super) fn send_for_answers<R>(&self) -> Result<Answers<R>, EmitError> {
        let scopes = self.broadcast.scopes()?;
        let Some(served) = scopes.iter().find_map(|scope| scope.served.as_ref()) else {
            return self.check().map(|()| Answers::none());
        };
        let after = self.timeout.unwrap_or(served.ack_timeout);
        // In each namespace it is an event of its own: a session may be in several of them.
        let (mut gatherings, mut fanouts) = (Vec::new(), Vec::new());
        for scope in scopes {
            let id = served.producer.mint();
            let (open, gathering) = served.acks.open(id);
            fanouts.push(self.send_in(scope, id, Some(open.set()))?);
            gatherings.push(gathering);
        }
        let fanout = fanouts.into_iter().sum();
        Ok(Answers::new(gatherings, fanout, after, served.event_bytes_max))
    }

    fn send_in(
        &self,
        scope: &Scope,
        id: EventId,
        acks: Option<&Arc<AckSet>>,
    ) -> Result<Fanout, EmitError> {
        let Some(served) = &scope.served else { return Ok(Fanout::default()) };
        let (number, own, max) = (served.number, served.producer.id, served.event_bytes_max);
        let mut packet = pack(self.name, self.value, number, id, own, max)?;
        packet.wants_ack = acks.is_some();
        let volatile = self.volatile && acks.is_none();
        let outgoing =
            (!scope.outgoing.is_empty()).then(|| packet.clone().into_event(own, volatile));
        let packet = if volatile { Packet::Volatile(packet) } else { Packet::Event(packet) };
        let mut event = Shared::new(packet);
        if let Some(acks) = acks {
            event = event.answered_to(Arc::clone(acks));
        }
        let fanout = served.adapter.broadcast(&self.broadcast.selection, &mut event);
        if let Some(event) = outgoing {
            scope.outgoing.tell(&event);
        }
        Ok(fanout)
    }
}

impl<T: ToPayload + ?Sized> IntoFuture for EmitBroadcast<'_, T> {
    type Output = Result<Fanout, EmitError>;
    // A loop that only broadcasts lets others run now and then.
    type IntoFuture = Coop<Ready<Self::Output>>;

    fn into_future(self) -> Self::IntoFuture {
        cooperative(ready(self.send()))
    }
}
