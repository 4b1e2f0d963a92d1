//! The namespace: the blueprint of handlers, hooks and layers under one path.

use super::emitter::Emitter;
use super::layers::{Dispatch, Inbound};
use super::{BoxError, ConnectRequest, Erased, Handler, Refusal, erase};
use crate::protocol::{EVENT_NAME_BYTES_MAX, EventName, Payload, is_reserved};
use crate::socket::{Ack, Envelope};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
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

/// Why a namespace cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MountError {
    /// A path begins with `/`.
    #[error("the path `{path}` does not begin with `/`")]
    Path {
        /// The path.
        path: Box<str>,
    },
    /// A path is at most as long as an event name.
    #[error("a path of {bytes} bytes, at most {max} are allowed")]
    PathTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The path is mounted already.
    #[error("the path `{path}` is mounted already")]
    Duplicate {
        /// The path.
        path: Box<str>,
    },
    /// A listener was registered under a reserved name.
    #[error("`{name}` is a reserved name")]
    Reserved {
        /// The name.
        name: Box<str>,
    },
    /// A listener was registered under a name that no event can have.
    #[error("an event name of {bytes} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

type Wrap = Box<dyn Fn(Inbound) -> Inbound + Send + Sync>;
type Decision = Pin<Box<dyn Future<Output = Result<(), Payload>> + Send>>;
type Authorize = Arc<dyn Fn(ConnectRequest) -> Decision + Send + Sync>;

/// Handlers, hooks and layers under one path; the same type on servers and on clients.
///
/// A namespace is a handle: its clones share everything. A listener that is added through a clone
/// after mounting takes effect at once, and events that wait parked for it are delivered.
///
/// ```
/// use emitwire_core::handler::{Data, Namespace};
/// use emitwire_core::socket::Socket;
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
    pub(crate) emitter: Arc<Emitter>,
    settings: Mutex<Settings>,
}

#[derive(Default)]
struct Settings {
    on_connect: Option<Erased>,
    on_disconnecting: Option<Erased>,
    on_disconnect: Option<Erased>,
    authorize: Option<Authorize>,
    unhandled: Unhandled,
    layers: Vec<Wrap>,
    mistakes: Vec<MountError>,
}

impl Namespace {
    /// A namespace without listeners. The path begins with `/`; mounting checks it.
    #[must_use]
    pub fn new(path: &str) -> Self {
        let (emitter, settings) = (Arc::default(), Mutex::default());
        Self(Arc::new(Blueprint { path: path.into(), emitter, settings }))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Adds a listener for `name`, behind those that it has. A reserved name is reported when the
    /// namespace is mounted.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on<T>(self, name: &str, handler: impl Handler<T>) -> Self {
        self.listen(name, erase(handler), false)
    }

    /// Adds a listener for the first event of that name on any of its sockets.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn once<T>(self, name: &str, handler: impl Handler<T>) -> Self {
        self.listen(name, erase(handler), true)
    }

    /// Adds a listener that hears every event, before the others; its reply does not matter.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_any<T>(self, handler: impl Handler<T>) -> Self {
        self.0.emitter.on_any(erase(handler));
        self
    }

    /// Sets who answers whatever no `on` matches.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn fallback<T>(self, handler: impl Handler<T>) -> Self {
        self.0.emitter.fallback(erase(handler));
        self
    }

    /// Sets what runs when a socket begins, before any of its events. If it fails, the socket
    /// ends with `HookFailed`.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_connect<T>(self, handler: impl Handler<T>) -> Self {
        self.0.settings().on_connect = Some(erase(handler));
        self
    }

    /// Sets what runs once when a socket ends, before `on_disconnect`, while its rooms are still
    /// there. Nothing can be emitted to the socket itself any more.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_disconnecting<T>(self, handler: impl Handler<T>) -> Self {
        self.0.settings().on_disconnecting = Some(erase(handler));
        self
    }

    /// Sets what runs once when a socket has ended, with the `DisconnectReason` as a possible
    /// argument. The socket has left its rooms by then.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn on_disconnect<T>(self, handler: impl Handler<T>) -> Self {
        self.0.settings().on_disconnect = Some(erase(handler));
        self
    }

    /// Sets who lets sockets in. A refusal made by [`Refusal::with`] is data that the client gets
    /// as `ConnectError::Refused`; of any other error it learns only that it was refused.
    #[must_use = "a namespace does nothing until it is mounted"]
    pub fn authorize<F, Fut, E>(self, decide: F) -> Self
    where
        F: Fn(ConnectRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Refusal>,
    {
        let decide = Arc::new(decide);
        self.0.settings().authorize = Some(Arc::new(move |request| {
            let decide = Arc::clone(&decide);
            Box::pin(
                async move { decide(request).await.map_err(|error| error.into().into_payload()) },
            )
        }));
        self
    }

    /// Sets what becomes of events that nobody hears; [`Unhandled::Park`] by default.
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
        L: Layer<Inbound> + Send + Sync + 'static,
        L::Service: Service<Envelope, Response = Ack> + Clone + Send + Sync + 'static,
        <L::Service as Service<Envelope>>::Error: Into<BoxError>,
        <L::Service as Service<Envelope>>::Future: Send + 'static,
    {
        self.0
            .settings()
            .layers
            .push(Box::new(move |inner| BoxCloneSyncService::new(MapError(layer.layer(inner)))));
        self
    }

    /// The checked blueprint.
    pub(crate) fn blueprint(&self) -> Result<Arc<Blueprint>, MountError> {
        let path = self.path();
        if !path.starts_with('/') {
            return Err(MountError::Path { path: path.into() });
        }
        if path.len() > EVENT_NAME_BYTES_MAX {
            let (bytes, max) = (path.len(), EVENT_NAME_BYTES_MAX);
            return Err(MountError::PathTooLong { bytes, max });
        }
        match self.0.settings().mistakes.first() {
            Some(mistake) => Err(mistake.clone()),
            None => Ok(Arc::clone(&self.0)),
        }
    }

    fn listen(self, name: &str, handler: Erased, once: bool) -> Self {
        let mistake = if is_reserved(name) {
            Some(MountError::Reserved { name: name.into() })
        } else if name.len() > EVENT_NAME_BYTES_MAX {
            Some(MountError::NameTooLong { bytes: name.len(), max: EVENT_NAME_BYTES_MAX })
        } else {
            None
        };
        match mistake {
            Some(mistake) => self.0.settings().mistakes.push(mistake),
            None => self.0.emitter.on(EventName::from(name), handler, once),
        }
        self
    }
}

impl Blueprint {
    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn on_connect(&self) -> Option<Erased> {
        self.settings().on_connect.clone()
    }

    pub(crate) fn on_disconnecting(&self) -> Option<Erased> {
        self.settings().on_disconnecting.clone()
    }

    pub(crate) fn on_disconnect(&self) -> Option<Erased> {
        self.settings().on_disconnect.clone()
    }

    pub(crate) fn unhandled(&self) -> Unhandled {
        self.settings().unhandled
    }

    /// Whether a socket may begin; the refusal's data if not.
    pub(crate) fn authorize(&self, request: ConnectRequest) -> Option<Decision> {
        let authorize = self.settings().authorize.clone();
        authorize.map(|authorize| authorize(request))
    }

    /// The listeners with all layers around them; `None` without layers, when the listeners are
    /// called directly.
    pub(crate) fn inbound(&self) -> Option<Inbound> {
        let settings = self.settings();
        if settings.layers.is_empty() {
            return None;
        }
        let innermost = BoxCloneSyncService::new(Dispatch(Arc::clone(&self.emitter)));
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
