//! The namespace: the blueprint of handlers, hooks and layers under one path.

use super::layers::{Dispatch, Inbound};
use super::{
    BoxError, ConnectRequest, EventService, FromEvent, Handler, IntoReply, MountError, Pattern,
    erase, needs_of,
};
use crate::protocol::{EVENT_NAME_BYTES_MAX, Event, Payload};
use crate::room::{OnRoom, RoomEvent, SlowPolicy, shielded};
use crate::socket::{Ack, Emitter, Envelope, Erased, ListenError, ListenerId, Refusal, States};
use crate::transport::ConnectError;
use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

/// What becomes of an event that nobody hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unhandled {
    /// It waits for a listener, bounded in events and bytes by `Config`, and is answered
    /// `NoHandler` when none has come in time.
    Park {
        /// How long it waits.
        ttl: Duration,
    },
    /// It is answered `NoHandler` at once.
    Nak,
    /// It counts as handled.
    Ignore,
}

impl Default for Unhandled {
    fn default() -> Self {
        // Shorter than the usual deadline of an answer: a name that nobody listens to is to be
        // called so, not late.
        Self::Park { ttl: Duration::from_secs(5) }
    }
}

type Wrap = Box<dyn Fn(Inbound) -> Inbound + Send + Sync>;
type Decision = Pin<Box<dyn Future<Output = Result<(), Payload>> + Send>>;
type Authorize = Arc<dyn Fn(ConnectRequest) -> Decision + Send + Sync>;
type OnConnectError = Arc<dyn Fn(&ConnectError) + Send + Sync>;

/// Handlers, hooks and layers under one path; the same type on servers and on clients.
///
/// A namespace is a handle: its clones share everything. A listener that is added through a clone
/// after mounting takes effect at once, and events that wait parked for it are delivered.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// # use emitwire_core::socket::Socket;
///
/// let chat = Namespace::new("/chat")
///     .on_connect(|socket: Socket| async move { socket.join("lobby").await })
///     .on("say", |Data(text): Data<String>| async move { text.len() });
/// assert_eq!(chat.path(), "/chat");
/// ```
#[derive(Clone)]
pub struct Namespace(Arc<Blueprint>);

/// What a mounted namespace and its sockets share.
pub(crate) struct Blueprint {
    path: Arc<str>,
    pub(crate) emitter: Emitter,
    settings: Mutex<Settings>,
}

struct Settings {
    hooks: [Option<Erased>; 5],
    on_connect_error: Option<OnConnectError>,
    on_room: Option<OnRoom>,
    authorize: Vec<Authorize>,
    unhandled: Unhandled,
    slow_policy: Option<SlowPolicy>,
    concurrent: usize,
    states: States,
    layers: Vec<Wrap>,
    /// The first one.
    mistake: Option<MountError>,
}

/// A moment in the life of a socket.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Connect,
    Detach,
    Attach,
    Disconnecting,
    Disconnect,
}

impl Hook {
    /// Its name in logs, and of the event that it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Detach => "detach",
            Self::Attach => "attach",
            Self::Disconnecting => "disconnecting",
            Self::Disconnect => "disconnect",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hooks: Default::default(),
            on_connect_error: None,
            on_room: None,
            authorize: Vec::new(),
            unhandled: Unhandled::default(),
            slow_policy: None,
            concurrent: 1,
            states: States::default(),
            layers: Vec::new(),
            mistake: None,
        }
    }
}

impl Namespace {
    /// A namespace without listeners. The path begins with `/`; mounting checks it.
    ///
    /// On a server a path may have names in braces: `/org-{id}` stands for `/org-7` and its like.
    /// Each of these is a namespace of its own, with its own rooms, from its first socket to its
    /// last; they share handlers, hooks and state. A path that is mounted as it is goes before
    /// patterns, and these in the order in which they were mounted. See [`Path`](super::Path).
    #[must_use]
    pub fn new(path: &str) -> Self {
        let (emitter, settings) = (Emitter::default(), Mutex::default());
        Self(Arc::new(Blueprint { path: path.into(), emitter, settings }))
    }

    /// Its path, or the pattern of its paths.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The table of its listeners, for whoever adds or removes some while it is in use.
    #[must_use]
    pub fn emitter(&self) -> &Emitter {
        &self.0.emitter
    }

    /// Takes a listener out: see [`Emitter::off`].
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.emitter.off(id)
    }

    /// Adds a listener for `name`, behind those that it has. What cannot be listened to is reported
    /// when the namespace is mounted; of one that is in use [`Emitter::on`] reports it at once.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on<T: FromEvent>(self, name: &str, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.note(self.0.emitter.on(name, handler))
    }

    /// Adds a listener for the first event of that name on any of its sockets.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn once<T: FromEvent>(
        self,
        name: &str,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Self {
        self.note(self.0.emitter.once(name, handler))
    }

    /// Adds a listener that hears every event, before the others; its reply does not matter.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_any<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.note(self.0.emitter.on_any(handler))
    }

    /// Adds somebody who is told of each event that goes out: see [`Emitter::on_any_outgoing`].
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_any_outgoing(self, tell: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.note(self.0.emitter.on_any_outgoing(tell))
    }

    /// Sets who answers whatever no `on` matches.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn fallback<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.note(self.0.emitter.set_fallback(handler))
    }

    /// Sets who is told the event's name when a listener was added to its table.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_listener_added(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.0.emitter.on_listener_added(tell);
        self
    }

    /// Sets who is told the event's name when a listener was removed from its table.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_listener_removed(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.0.emitter.on_listener_removed(tell);
        self
    }

    /// Shares a value with all handlers and hooks that ask for it by
    /// [`State`](super::State). One of the same type takes the place of the other.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn state<S: Clone + Send + Sync + 'static>(self, state: S) -> Self {
        self.0.settings().states.insert(state);
        self
    }

    /// Lets as many handlers of one socket run at once. By default its events are handled one
    /// after another; with more than one they are still *begun* in order.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn concurrent(self, handlers: usize) -> Self {
        self.0.settings().concurrent = handlers.max(1);
        self
    }

    /// Sets what becomes of its broadcasts at a member that reads too slowly, instead of
    /// `Config::slow_policy`.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn slow_policy(self, policy: SlowPolicy) -> Self {
        self.0.settings().slow_policy = Some(policy);
        self
    }

    /// Sets what runs when a socket begins, before any of its events; it takes the place of what
    /// was set before. If it fails, the socket ends with `HookFailed`, and its peer gets the text
    /// of a [`Refusal::with`] as [`DisconnectReason::DismissedByPeer`]. The client may have its
    /// socket by then: whom it is not to let in, `authorize` refuses.
    ///
    /// [`DisconnectReason::DismissedByPeer`]: crate::protocol::DisconnectReason::DismissedByPeer
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_connect<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.hook(Hook::Connect, handler)
    }

    /// On a client: sets who is told why there is no socket of this namespace: it was refused, or a
    /// server could not be reached again. It is called in place, so it must not wait.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_connect_error(self, tell: impl Fn(&ConnectError) + Send + Sync + 'static) -> Self {
        self.0.settings().on_connect_error = Some(Arc::new(tell));
        self
    }

    /// Sets what runs when a socket's link was lost or given up and the socket lives on, with the
    /// `DisconnectReason` as a possible argument; it takes the place of what was set before.
    /// Meanwhile the socket stays in its rooms, what is said to it waits, and its answers are
    /// waited for. Either `on_attach` follows, or its end.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_detach<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.hook(Hook::Detach, handler)
    }

    /// Sets what runs when a socket has a link again, with the [`Outcome`] as a possible argument;
    /// it takes the place of what was set before. The first link of a socket is `on_connect`'s.
    /// Events that were missed may be handled before it.
    ///
    /// ```
    /// # use emitwire_core::handler::Namespace;
    /// # use emitwire_core::protocol::Outcome;
    /// let chat = Namespace::new("/chat").on_attach(|outcome: Outcome| async move {
    ///     if outcome != Outcome::Resumed {
    ///         println!("something was missed: {outcome:?}");
    ///     }
    /// });
    /// ```
    ///
    /// [`Outcome`]: crate::protocol::Outcome
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_attach<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.hook(Hook::Attach, handler)
    }

    /// Sets what runs once when a socket ends, before `on_disconnect`, while its rooms are still
    /// there; it takes the place of what was set before. Nothing can be emitted to the socket
    /// itself any more.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_disconnecting<T: FromEvent>(
        self,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Self {
        self.hook(Hook::Disconnecting, handler)
    }

    /// Sets what runs once when a socket has ended, with the `DisconnectReason` as a possible
    /// argument, also when its `on_connect` failed; it takes the place of what was set before. The
    /// socket has left its rooms by then.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_disconnect<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.hook(Hook::Disconnect, handler)
    }

    /// On a server: sets who is told what happens to its rooms on this node, one thing after
    /// another. It is called in place, so it must not wait; it may join and leave rooms itself.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_room(self, tell: impl Fn(&RoomEvent) + Send + Sync + 'static) -> Self {
        self.0.settings().on_room = Some(Arc::new(tell));
        self
    }

    /// Adds somebody who decides whether a socket may begin, behind those added before: each of
    /// them has to let it in. A refusal made by [`Refusal::with`] is data that the client gets as
    /// `ConnectError::Refused`; of any other error it learns only that it was refused.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn authorize<F, Fut, E>(self, decide: F) -> Self
    where
        F: Fn(ConnectRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Refusal>,
    {
        let decide = Arc::new(decide);
        self.0.settings().authorize.push(Arc::new(move |request| {
            let decide = Arc::clone(&decide);
            Box::pin(
                async move { decide(request).await.map_err(|error| error.into().into_payload()) },
            )
        }));
        self
    }

    /// Sets what becomes of events that nobody hears. By default they are parked for 5 seconds: see
    /// [`Unhandled::Park`].
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn unhandled(self, unhandled: Unhandled) -> Self {
        self.0.settings().unhandled = unhandled;
        self
    }

    /// Puts a tower layer around the listeners, inside those added before: the first is the
    /// outermost. It sees every event that has a listener. Layers are fixed by mounting.
    ///
    /// A layer's error is the peer's nak: a `Nak` as it is, tower's `Elapsed` as `Timeout`,
    /// `Overloaded` as `Busy`, anything else as `Failed`.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Inbound, Service: EventService> + Send + Sync + 'static,
    {
        self.0
            .settings()
            .layers
            .push(Box::new(move |inner| BoxCloneSyncService::new(MapError(layer.layer(inner)))));
        self
    }

    /// The checked blueprint, with the pattern of its path if that is one. `listeners_max` is
    /// `Config`'s.
    pub(crate) fn blueprint(
        &self,
        listeners_max: usize,
    ) -> Result<(Arc<Blueprint>, Option<Pattern>), MountError> {
        let path = self.path();
        if !path.starts_with('/') {
            return Err(MountError::Path { path: path.into() });
        }
        if path.len() > EVENT_NAME_BYTES_MAX {
            let (bytes, max) = (path.len(), EVENT_NAME_BYTES_MAX);
            return Err(MountError::PathTooLong { bytes, max });
        }
        let pattern = Pattern::parse(path)?;
        let settings = self.0.settings();
        if let Some(mistake) = &settings.mistake {
            return Err(mistake.clone());
        }
        self.0.emitter.bind(listeners_max, settings.states.types())?;
        drop(settings);
        Ok((Arc::clone(&self.0), pattern))
    }

    fn hook<T: FromEvent>(self, hook: Hook, handler: impl Handler<T, Output: IntoReply>) -> Self {
        let before = self.0.settings().hooks[hook as usize].replace(erase(handler));
        // What it keeps is the application's, and not let go of under the lock.
        drop(before);
        let mut needs = needs_of::<T>();
        match hook {
            Hook::Connect => needs.are_of_begin(),
            Hook::Attach => needs.are_of_attach(),
            Hook::Detach | Hook::Disconnecting | Hook::Disconnect => needs.are_of_end(),
        }
        self.note(self.0.emitter.need(needs))
    }

    fn note<R>(&self, listened: Result<R, ListenError>) -> Self {
        if let Err(mistake) = listened {
            // Of a namespace that is mounted already nobody else will hear of it.
            tracing::warn!(namespace = self.path(), error = %mistake, "a listener was not added");
            self.0.settings().mistake.get_or_insert(mistake.into());
        }
        self.clone()
    }
}

impl Blueprint {
    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn hook(&self, hook: Hook) -> Option<Erased> {
        self.settings().hooks[hook as usize].clone()
    }

    /// Tells whoever wants to know why there is no socket.
    pub(crate) fn tell_connect_error(&self, error: &ConnectError) {
        let tell = self.settings().on_connect_error.clone();
        if let Some(tell) = tell {
            shielded("connect error", || tell(error));
        }
    }

    pub(crate) fn on_room(&self) -> Option<OnRoom> {
        self.settings().on_room.clone()
    }

    pub(crate) fn slow_policy(&self) -> Option<SlowPolicy> {
        self.settings().slow_policy
    }

    pub(crate) fn concurrent(&self) -> usize {
        self.settings().concurrent
    }

    /// The types of what its handlers share.
    pub(crate) fn state_types(&self) -> Arc<[TypeId]> {
        self.settings().states.types()
    }

    /// What its handlers share, if anything.
    pub(crate) fn states(&self) -> Option<Arc<States>> {
        let states = self.settings().states.clone();
        (!states.is_empty()).then(|| Arc::new(states))
    }

    pub(crate) fn unhandled(&self) -> Unhandled {
        self.settings().unhandled
    }

    /// Whether a socket may begin; the refusal's data if not. `None` when nobody asks.
    pub(crate) fn authorize(
        &self,
        request: ConnectRequest,
    ) -> Option<impl Future<Output = Result<(), Payload>> + Send + use<>> {
        let authorize = self.settings().authorize.clone();
        (!authorize.is_empty()).then_some(async move {
            for decide in authorize {
                decide(request.clone()).await?;
            }
            Ok(())
        })
    }

    /// The listeners with all layers around them; `None` without layers, when the listeners are
    /// called directly.
    pub(crate) fn inbound(&self) -> Option<Inbound> {
        let settings = self.settings();
        if settings.layers.is_empty() {
            return None;
        }
        let innermost = BoxCloneSyncService::new(Dispatch(self.emitter.clone()));
        Some(settings.layers.iter().rev().fold(innermost, |inner, wrap| wrap(inner)))
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service whose error is boxed, so that all layers have one type.
#[derive(Clone)]
struct MapError<S>(S);

impl<S> Service<Envelope> for MapError<S>
where
    S: Service<Envelope, Response = Ack>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Ack;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let answer = self.0.call(envelope);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}
