//! Emitting to many sockets.

use super::answers::Gathered;
use super::attempts::{Attempts, Target};
use super::core::pack;
use super::layered::Layered;
use super::{EmitBroadcastWithAck, EmitError, Level, Scope, Socket};
use crate::protocol::{
    Event, EventId, NamespaceNumber, Packet, Payload, ProducerId, SocketId, ToPayload,
};
use crate::room::{Adapter, Fanout, Gathering, RoomError, RoomName, Rooms, Selection, Shared};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::future::{Future, IntoFuture, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::coop::{Coop, cooperative};

/// A selection of sockets that one can emit to: rooms in, rooms out.
///
/// Rooms add up, and a socket in several of them hears an event once.
#[must_use = "a broadcast reaches nobody until something is emitted to it"]
#[derive(Clone)]
pub struct Broadcast {
    reach: Reach,
    selection: Selection,
    volatile: bool,
    timeout: Option<Duration>,
}

#[derive(Clone)]
enum Reach {
    One(Arc<Scope>),
    /// What a pattern has brought about, looked up each time: it comes and goes.
    Some(Arc<dyn Fn() -> Vec<Arc<Scope>> + Send + Sync>),
    NotMounted(Box<str>),
    NotOnServer,
}

impl Broadcast {
    /// Everyone in a namespace.
    pub(crate) fn everyone(scope: Arc<Scope>) -> Self {
        Self::over(Reach::One(scope))
    }

    /// Everyone in the namespaces that there are whenever something is said.
    pub(crate) fn everyone_in(find: impl Fn() -> Vec<Arc<Scope>> + Send + Sync + 'static) -> Self {
        Self::over(Reach::Some(Arc::new(find)))
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
        for scope in &*self.scopes()? {
            if let Some(served) = &scope.served {
                sockets.extend(served.adapter.sockets(&self.selection).await?);
            }
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
        for scope in &*self.scopes()? {
            if let Some(served) = &scope.served {
                let ids = served.adapter.sockets(&here).await?;
                sockets.extend(ids.into_iter().filter_map(|id| served.socket(id)));
            }
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
        for scope in &*self.scopes()? {
            if let Some(served) = &scope.served {
                rooms.extend(served.adapter.rooms(&self.selection).await?);
            }
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
        let scopes = self.scopes()?;
        let served = scopes.iter().filter_map(|scope| scope.served.as_ref());
        Ok(served.map(|served| verb(&*served.adapter)).sum())
    }

    fn scopes(&self) -> Result<Cow<'_, [Arc<Scope>]>, RoomError> {
        match &self.reach {
            Reach::One(scope) => Ok(Cow::Borrowed(std::slice::from_ref(scope))),
            Reach::Some(find) => Ok(Cow::Owned(find())),
            Reach::NotMounted(path) => Err(RoomError::NotMounted { path: path.clone() }),
            Reach::NotOnServer => Err(RoomError::NotOnServer),
        }
    }
}

impl std::fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast").field("selection", &self.selection).finish_non_exhaustive()
    }
}

/// An emit to many that is not sent yet.
///
/// # Errors
/// [`EmitError`] when it could not be sent to anyone. What became of it at each member is counted
/// in the [`Fanout`].
///
/// # Cancel safety
/// It is done as soon as it is awaited; dropping it then only loses the `Fanout`. Behind layers it
/// is done when these let it through, and dropped before that it is withdrawn.
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
    fn send(&self) -> Result<Sent, EmitError> {
        let (scopes, payload) = (self.broadcast.scopes()?, self.checked()?);
        let mut sent = Sent::default();
        for scope in &*scopes {
            match scope.outbound.as_ref().filter(|_| !self.volatile) {
                Some(stack) => {
                    let (event, attempts) = self.envelope(scope, &payload)?;
                    sent.layered.push(Layered::new(stack, event, Level::Accepted, attempts));
                }
                None => sent.add(self.send_in(scope, &payload, None)?),
            }
        }
        Ok(sent)
    }

    /// Sends it, and begins to wait for the answers.
    pub(super) fn send_for_answers(&self) -> Result<Gathered, EmitError> {
        let (scopes, payload) = (self.broadcast.scopes()?, self.checked()?);
        let mut gathered = Gathered::new(self.timeout);
        // In each namespace it is an event of its own: a session may be in several of them.
        for scope in &*scopes {
            let Some(served) = &scope.served else { continue };
            match &scope.outbound {
                Some(stack) => {
                    let (event, attempts) = self.envelope(scope, &payload)?;
                    // Before it is sent, so that no answer is too early.
                    let gathering = attempts.gather(served);
                    let layered = Layered::new(stack, event, Level::Handled, attempts);
                    gathered.add_layered(gathering, layered, served.event_bytes_max);
                }
                None => {
                    let mut gathering = None;
                    let fanout = self.send_in(scope, &payload, Some(&mut gathering))?;
                    let after = self.timeout.unwrap_or(served.ack_timeout);
                    gathered.add(gathering, fanout, after, served.event_bytes_max);
                }
            }
        }
        Ok(gathered)
    }

    /// The payload, encoded once for all. What can never be said is an error also where nobody
    /// hears it.
    fn checked(&self) -> Result<Payload, EmitError> {
        let (nowhere, nobody) = (NamespaceNumber(0), ProducerId(0));
        let id = EventId { producer: nobody, number: 0 };
        Ok(pack(self.name, self.value, nowhere, id, nobody, usize::MAX)?.payload)
    }

    /// The event for the members of one namespace, and what all attempts to deliver it share.
    fn envelope(
        &self,
        scope: &Arc<Scope>,
        payload: &Payload,
    ) -> Result<(Event, Attempts), EmitError> {
        let Some(served) = &scope.served else { return Err(RoomError::NotOnServer.into()) };
        let (id, max) = (served.producer.mint(), served.event_bytes_max);
        let packet = pack(self.name, payload, served.number, id, id.producer, max)?;
        let target = Target::Many(Arc::clone(scope), self.broadcast.selection.clone());
        let attempts = Attempts::new(target, id, self.timeout);
        Ok((packet.into_event(id.producer, false), attempts))
    }

    /// Sends it to one namespace. With `gathering` the members are to answer, and the one for their
    /// answers is put there.
    fn send_in(
        &self,
        scope: &Scope,
        payload: &Payload,
        gathering: Option<&mut Option<Gathering>>,
    ) -> Result<Fanout, EmitError> {
        let Some(served) = &scope.served else { return Ok(Fanout::default()) };
        let (number, own, max) = (served.number, served.producer.id, served.event_bytes_max);
        let id = served.producer.mint();
        let mut packet = pack(self.name, payload, number, id, own, max)?;
        packet.wants_ack = gathering.is_some();
        let volatile = self.volatile && gathering.is_none();
        let tells = !scope.outgoing.is_empty();
        let outgoing = tells.then(|| packet.clone().into_event(own, volatile));
        let packet = if volatile { Packet::Volatile(packet) } else { Packet::Event(packet) };
        let mut event = Shared::new(packet);
        // Held open until all members of this node are announced.
        let open = gathering.map(|gathering| {
            let (open, answers) = served.acks.open(id);
            *gathering = Some(answers);
            open
        });
        if let Some(open) = &open {
            event = event.answered_to(Arc::clone(open.set()));
        }
        let fanout = served.adapter.broadcast(&self.broadcast.selection, &mut event);
        drop(open);
        if let Some(event) = outgoing {
            scope.outgoing.tell(&event);
        }
        Ok(fanout)
    }
}

/// A broadcast that was sent, or is on its way through layers.
#[derive(Default)]
struct Sent {
    fanout: Fanout,
    layered: Vec<Layered>,
}

impl Sent {
    fn add(&mut self, fanout: Fanout) {
        self.fanout = [self.fanout, fanout].into_iter().sum();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fanout, EmitError>> {
        let (mut layered, mut failed) = (std::mem::take(&mut self.layered), None);
        layered.retain_mut(|layered| match layered.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(ack)) => {
                self.add(ack.fanout().unwrap_or_default());
                false
            }
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(EmitError::of_layers(error));
                false
            }
        });
        self.layered = layered;
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if self.layered.is_empty() => Poll::Ready(Ok(self.fanout)),
            None => Poll::Pending,
        }
    }
}

impl<T: ToPayload + ?Sized> IntoFuture for EmitBroadcast<'_, T> {
    type Output = Result<Fanout, EmitError>;
    type IntoFuture = Broadcasting;

    fn into_future(self) -> Broadcasting {
        Broadcasting(match self.send() {
            Ok(sent) if !sent.layered.is_empty() => Way::Layered(sent),
            // A loop that only broadcasts lets others run now and then.
            sent => Way::Bare(cooperative(ready(sent.map(|sent| sent.fanout)))),
        })
    }
}

/// The future of an [`EmitBroadcast`].
#[must_use = "futures do nothing unless polled"]
pub struct Broadcasting(Way);

enum Way {
    Bare(Coop<Ready<Result<Fanout, EmitError>>>),
    Layered(Sent),
}

impl Future for Broadcasting {
    type Output = Result<Fanout, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Bare(sent) => Pin::new(sent).poll(cx),
            Way::Layered(sent) => sent.poll(cx),
        }
    }
}
