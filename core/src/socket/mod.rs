//! **What you hold.** Sockets, broadcasts, emitting and its errors.

mod acks;
mod answers;
mod attempts;
mod broadcast;
mod core;
mod emit;
mod emit_ack;
mod emit_received;
mod emitter;
mod envelope;
mod error;
mod layered;
mod layers;
mod lost;
mod newest;
mod once;
mod outgoing;
mod own;
mod refusal;
mod remedy;
mod scope;
mod states;

pub use answers::{Answers, Asked, EmitBroadcastWithAck};
pub use broadcast::{Broadcast, Broadcasting, EmitBroadcast};
pub(crate) use core::{Parts, Producer, SessionCore, moment_after};
pub use emit::{Accepting, Emit, EmitVolatile};
pub use emit_ack::{Answering, EmitWithAck};
pub use emit_received::{EmitReceived, Receiving};
pub use emitter::{Emitter, ListenerId, Reply};
pub(crate) use emitter::{Erased, ReplyFuture, Topic};
pub(crate) use envelope::Moment;
pub use envelope::{Ack, Envelope, Level};
pub use error::{AckError, EmitError, ListenError, ReceiptError, WaitError};
pub(crate) use layered::Post;
use layers::Slot;
pub use layers::{BoxError, EventService, Layers, Pair, Stack, boxed};
pub(crate) use layers::{OnSocket, PerSession, Side};
pub use lost::{Lost, Missed};
pub use once::{Once, Waiting};
pub use own::SocketStats;
pub(crate) use own::{Own, Tally};
pub use refusal::Refusal;
pub use remedy::Remedy;
pub(crate) use scope::{Scope, Served};
pub use states::Needs;
pub(crate) use states::States;

use self::emitter::check_name;
use self::own::Served as ServedEvent;
use crate::protocol::{
    CLOSE_DETAIL_BYTES_MAX, Close, CloseCode, DisconnectReason, Event, EventName, NamespaceNumber,
    Outcome, ProducerId, SessionId, SocketId, ToPayload,
};
use crate::room::{Counter, Counters, Mailbox, RoomError, RoomName, Rooms, Ticket};
use crate::transport::{Capabilities, Peer};
use std::any::{Any, TypeId};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::coop::cooperative;

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

/// A socket that is not kept alive.
#[derive(Clone)]
pub(crate) struct WeakSocket(Weak<Inner>);

struct Inner {
    id: SocketId,
    /// This side's number of the namespace, in the events it sends.
    number: NamespaceNumber,
    /// The client's number, which names the socket within its session.
    client: NamespaceNumber,
    session: Arc<SessionCore>,
    scope: Arc<Scope>,
    /// Its first hook has returned.
    begun: OnceLock<()>,
    ended: OnceLock<DisconnectReason>,
    own: OnceLock<Box<Own>>,
}

impl Socket {
    /// A socket that this side numbers `number` in its events.
    pub(crate) fn new(
        id: SocketId,
        number: NamespaceNumber,
        client: NamespaceNumber,
        session: Arc<SessionCore>,
        scope: Arc<Scope>,
    ) -> Self {
        let (begun, ended, own) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { id, number, client, session, scope, begun, ended, own }))
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

    /// Who emits at this end: in the id of each event of it. A server has one, and so has a client,
    /// for all its sessions.
    #[must_use]
    pub fn producer(&self) -> ProducerId {
        self.0.session.producer.id
    }

    /// The path of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.scope.path
    }

    /// Who is at the other end of the link; without one, who was at that of the last.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.0.session.peer()
    }

    /// What the link promises; without one, what the last did.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.0.session.capabilities()
    }

    /// Whether its link is one on which its session was resumed.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.0.session.outcome() != Outcome::New
    }

    /// Whether this is the server's end of it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.0.scope.served.is_some()
    }

    /// For how long the peer's layers know an event that comes again, and repeat their answer
    /// instead of having it handled twice: counted from that answer. `None` when they do not.
    #[must_use]
    pub fn dedup_horizon(&self) -> Option<Duration> {
        Some(self.0.session.dedup_horizon).filter(|horizon| !horizon.is_zero())
    }

    /// Why the socket has ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<DisconnectReason> {
        self.0.ended.get().cloned().or_else(|| self.0.session.mailbox.closed())
    }

    /// Waits until the socket has ended; says why. Its last hooks may still be running.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> DisconnectReason {
        self.until(|socket| socket.0.ended.get().cloned()).await
    }

    /// Says something to the peer: see [`Emit`] for what can be chosen before `.await`.
    pub fn emit<'a, T: ToPayload + ?Sized>(&'a self, name: &'a str, value: &'a T) -> Emit<'a, T> {
        Emit { socket: self, name, value, timeout: None, latest: None }
    }

    /// As [`Socket::emit`], without waiting for room: for code that cannot await. What layers have
    /// to do behind its acceptance goes on by itself.
    ///
    /// # Errors
    /// [`EmitError::Full`] when there is no room now, or others wait for it: [`Socket::drained`]
    /// says when there is. Also when a layer does not let it by at once, as tower's `Buffer` never
    /// does; then it is withdrawn. Otherwise as `emit`.
    pub fn try_emit<T: ToPayload + ?Sized>(&self, name: &str, value: &T) -> Result<(), EmitError> {
        self.emit(name, value).now()
    }

    /// Waits until everything that its session accepted has been given to the wire.
    ///
    /// # Errors
    /// [`EmitError::Closed`] when the session ends first.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn drained(&self) -> Result<(), EmitError> {
        let mut waits = Drained { mailbox: &self.0.session.mailbox, ticket: None };
        let drained = poll_fn(|cx| waits.mailbox.poll_drained(cx, &mut waits.ticket)).await;
        drained.map_err(|refused| EmitError::of(refused, 0, 0))
    }

    /// The next event of this name, to be awaited, with a deadline. It is served on arrival, ahead
    /// of events that wait for their handlers, and before `on_connect` has returned. Other
    /// listeners of the event hear it too; if there are none its answer is empty.
    ///
    /// ```no_run
    /// # use emitwire_core::socket::Socket;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// let ready = socket.once("ready").await?;
    /// let level: u8 = ready.payload.decode()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn once<'a>(&'a self, name: &'a str) -> Once<'a> {
        Once { socket: self, name, timeout: None }
    }

    /// Takes one of its own listeners out; says whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        self.own_emitter().is_some_and(|emitter| emitter.off(id))
    }

    /// Takes all of its own listeners of an event out; says how many there were.
    pub fn off_all(&self, name: &str) -> usize {
        self.own_emitter().map_or(0, |emitter| emitter.off_all(name))
    }

    /// Takes out those of its own listeners that hear everything; says how many there were.
    pub fn off_any(&self) -> usize {
        self.own_emitter().map_or(0, Emitter::off_any)
    }

    /// Its own listeners, behind those of its namespace. They end with the socket.
    pub fn emitter(&self) -> &Emitter {
        self.own().emitter_or_new(|| {
            let emitter = Emitter::default();
            let bound =
                emitter.bind(self.0.session.listeners_max, Arc::clone(&self.0.scope.states));
            debug_assert!(bound.is_ok(), "it has no listeners yet");
            emitter
        })
    }

    /// Keeps a value of the application's with the socket, one of each type, for its handlers and
    /// hooks. It is let go of when the last hook has run.
    ///
    /// ```no_run
    /// # use emitwire_core::socket::Socket;
    /// # fn example(socket: &Socket) {
    /// struct Nickname(String);
    ///
    /// socket.set_data(Nickname("Ada".into()));
    /// let name = socket.data::<Nickname>().map(|nickname| nickname.0.clone());
    /// # }
    /// ```
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) {
        self.own().set_data(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type that was kept with the socket.
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        downcast(self.0.own.get()?.data(TypeId::of::<T>())?)
    }

    /// Takes the value of this type away from the socket.
    pub fn take_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        downcast(self.0.own.get()?.take_data(TypeId::of::<T>())?)
    }

    /// What was counted of this socket, and what waits in its session.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let stats = self.0.own.get().map(|own| own.tally.snapshot()).unwrap_or_default();
        SocketStats { queue: self.0.session.mailbox.queue(), ..stats }
    }

    /// Whether there is a link now. Without one, events wait.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.0.session.mailbox.queue().is_attached
    }

    /// Everyone in the namespace, this socket too.
    pub fn everyone(&self) -> Broadcast {
        self.reach()
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
    /// It is done when it is ready, or not at all.
    pub async fn join(&self, rooms: impl Rooms) -> Result<(), RoomError> {
        let (served, rooms) = (self.served()?, rooms.names());
        // A loop that only joins lets others run now and then.
        cooperative(async { served.adapter.join(self.0.id, &rooms) }).await
    }

    /// Leaves rooms; those it is not in do not matter. Ending leaves all of them by itself.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`] on a client.
    ///
    /// # Cancel safety
    /// It is done when it is ready, or not at all.
    pub async fn leave(&self, rooms: impl Rooms) -> Result<(), RoomError> {
        let (served, rooms) = (self.served()?, rooms.names());
        cooperative(async { served.adapter.leave(self.0.id, &rooms) }).await;
        Ok(())
    }

    /// The rooms it is in, in the order of their names, the one of its id not among them.
    ///
    /// # Errors
    /// [`RoomError::NotOnServer`] on a client.
    pub fn rooms(&self) -> Result<Vec<RoomName>, RoomError> {
        Ok(self.served()?.adapter.rooms_of(self.0.id))
    }

    /// Ends this socket; the session and its other sockets go on. Its reason is
    /// [`DisconnectReason::Dismissed`] with the words, and at the peer `DismissedByPeer`; without
    /// words `Closed`, and `ClosedByPeer`. A client that wants the namespace again connects anew.
    pub fn disconnect(&self, words: &str) {
        if self.end(DisconnectReason::dismissed(words)) {
            if let Ok(served) = self.served() {
                served.adapter.silence(self.0.id);
            }
            self.0.session.mailbox.ask_to_leave(self.0.id, words);
        }
    }

    /// Ends the session of this socket, with all its sockets, behind what may still be written. A
    /// client that hears of it, because it has a link, does not come back by itself. Its reason is
    /// [`DisconnectReason::DismissedByPeer`], or `ClosedByPeer` without words.
    pub fn close_session(&self, words: &str) {
        let detail = EventName::truncated(words, CLOSE_DETAIL_BYTES_MAX);
        let (mailbox, close) = (&self.0.session.mailbox, Close { code: CloseCode::Normal, detail });
        let flush = mailbox.begin_close(DisconnectReason::dismissed(words), close, false);
        mailbox.flush_in_turn(flush);
    }

    /// Ends the socket for its holders; says whether this call did it.
    pub(crate) fn end(&self, reason: DisconnectReason) -> bool {
        let is_first = self.0.ended.set(reason).is_ok();
        if let Some(own) = self.0.own.get().filter(|_| is_first) {
            own.end_waits();
            own.changed.notify_waiters();
        }
        is_first
    }

    /// Its events are handled from now on.
    pub(crate) fn begin(&self) {
        let _ = self.0.begun.set(());
        if let Some(own) = self.0.own.get() {
            own.changed.notify_waiters();
        }
    }

    /// Waits until its events are handled, or never will be.
    pub(crate) async fn begun(&self) {
        self.until(|socket| {
            let is_over = socket.0.ended.get().is_some();
            socket.0.begun.get().copied().or(is_over.then_some(()))
        })
        .await;
    }

    async fn until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.own().changed.notified());
            changed.as_mut().enable();
            if let Some(seen) = look(self) {
                return seen;
            }
            changed.await;
        }
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

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.0.scope
    }

    pub(crate) fn served(&self) -> Result<&Served, RoomError> {
        self.0.scope.served.as_ref().ok_or(RoomError::NotOnServer)
    }

    /// Its own listeners, if it has ever had one, or waited for an event.
    pub(crate) fn own_emitter(&self) -> Option<&Emitter> {
        self.0.own.get()?.emitter()
    }

    pub(crate) fn own(&self) -> &Own {
        self.0.own.get_or_init(Box::default)
    }

    /// Counts something for the socket, for its namespace and for the whole.
    pub(crate) fn count(
        &self,
        of_all: impl Fn(&Counters) -> &Counter,
        of_one: impl Fn(&Tally) -> &Counter,
    ) {
        self.0.scope.counters.count(1, of_all);
        of_one(&self.own().tally).add(1);
    }

    /// Counts something for its namespace and for the whole.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.0.scope.counters
    }

    pub(crate) fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }

    /// Lets go of what may hold the socket itself: its listeners and its data.
    pub(crate) fn clear_own(&self) {
        self.own().clear();
    }

    fn wait_for(&self, name: &str) -> Result<(u64, oneshot::Receiver<ServedEvent>), WaitError> {
        check_name(name)?;
        if let Some(reason) = self.ended() {
            return Err(WaitError::Closed { reason });
        }
        // Events are looked up there only if there is an emitter.
        let (emitter, own, max) = (self.emitter(), self.own(), self.0.session.listeners_max);
        if own.waiting() >= max {
            return Err(ListenError::TooMany { max }.into());
        }
        let closed =
            || WaitError::Closed { reason: self.ended().unwrap_or(DisconnectReason::Closed) };
        let waiting = own.wait(name).ok_or_else(closed)?;
        if self.0.ended.get().is_some() {
            // Its end may have found nobody who waits, just before.
            own.end_waits();
        }
        // One may be parked, or wait in line.
        emitter.tell_changed();
        self.0.session.call_driver();
        Ok(waiting)
    }

    fn forget_wait(&self, number: u64) {
        self.own().forget(number);
    }

    /// Tells whoever wants to know that the event goes out.
    fn tell_outgoing(&self, event: &Event) {
        self.0.scope.outgoing.tell(event);
        if let Some(emitter) = self.own_emitter() {
            emitter.outgoing().tell(event);
        }
    }

    /// Whether somebody wants to know what goes out.
    fn tells_outgoing(&self) -> bool {
        let own = self.own_emitter().is_some_and(|emitter| !emitter.outgoing().is_empty());
        own || !self.0.scope.outgoing.is_empty()
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), EmitError> {
        match self.0.ended.get() {
            Some(reason) => Err(EmitError::Closed { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn reach(&self) -> Broadcast {
        match &self.0.scope.served {
            Some(_) => Broadcast::everyone(Arc::clone(&self.0.scope)),
            None => Broadcast::not_on_server(),
        }
    }
}

/// A place among those who wait until nothing waits.
struct Drained<'a> {
    mailbox: &'a Mailbox,
    ticket: Option<Ticket>,
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        self.mailbox.forget_drained(&mut self.ticket);
    }
}

impl WeakSocket {
    pub(crate) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

fn downcast<T: Send + Sync + 'static>(value: Arc<dyn Any + Send + Sync>) -> Option<Arc<T>> {
    value.downcast().ok()
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.scope.path)
            .finish_non_exhaustive()
    }
}
