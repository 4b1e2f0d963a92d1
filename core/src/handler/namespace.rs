//! The namespace: the blueprint of handlers, hooks and layers under one path.

use super::blueprint::{Blueprint, Hook};
use super::{
    ConnectRequest, FromEvent, Handler, IntoReply, MountError, Pattern, Unhandled, erase, needs_of,
};
use crate::protocol::{EVENT_NAME_BYTES_MAX, Event};
use crate::room::{RoomEvent, SlowPolicy};
use crate::socket::{
    Emitter, EventService, Layers, ListenError, ListenerId, Lost, Missed, Refusal, Stack,
};
use crate::transport::ConnectError;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tower_layer::Layer;

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

    /// Sets what runs when a socket's peer is found at another address while its link lives on, as
    /// on wires whose connections outlive an address: `socket.peer()` says where. Moves that
    /// happen while it waits for its turn are one. It takes the place of what was set before.
    ///
    /// It runs once the address has stayed for longer than one would that does not answer, at the
    /// next packet after that. Whoever stands between may still be who answers there, so an
    /// address is no proof of who it is.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_path_change<T: FromEvent>(self, handler: impl Handler<T, Output: IntoReply>) -> Self {
        self.hook(Hook::PathChange, handler)
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

    /// Sets who is told of each event of this side that is lost or in doubt, and of those that were
    /// refused without anybody waiting for the answer. It is called in place, so it must not wait.
    /// Of more than 65,536 at once, or twice `Config::log_packets_max`, the counters alone tell.
    ///
    /// ```
    /// # use emitwire_core::handler::Namespace;
    /// # use emitwire_core::socket::Lost;
    /// let chat = Namespace::new("/chat").on_lost(|lost: &Lost| {
    ///     let name = lost.event.as_ref().map(|event| event.name.to_string());
    ///     println!("{name:?} was not delivered: {}", lost.fate);
    /// });
    /// ```
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_lost(self, tell: impl Fn(&Lost) + Send + Sync + 'static) -> Self {
        self.0.settings().on_lost = Some(Arc::new(tell));
        self
    }

    /// Sets who is told of events of the peer that will never arrive: as soon as that is known, so
    /// ahead of events that wait for their handlers, and once for each run of them, which may be
    /// one. It is called in place, so it must not wait. Events that made way for a newer one of
    /// their key (see `Emit::latest`) are no gap.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_gap(self, tell: impl Fn(&Missed) + Send + Sync + 'static) -> Self {
        self.0.settings().on_gap = Some(Arc::new(tell));
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

    /// Puts a tower layer around the listeners: see [`Layers::inbound`]. Layers are fixed by
    /// mounting.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn inbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().inbound(layer))
    }

    /// Puts a tower layer around emitting: see [`Layers::outbound`]. Layers are fixed by mounting.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn outbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().outbound(layer))
    }

    /// Puts layers around its events, inside those added before. They are fixed by mounting.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn layers(self, layers: impl Into<Layers>) -> Self {
        let mut settings = self.0.settings();
        settings.layers = std::mem::take(&mut settings.layers).and(layers);
        drop(settings);
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
            Hook::PathChange => {}
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
