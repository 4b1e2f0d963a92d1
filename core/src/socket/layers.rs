//! Layers around events: any tower layer, on their way out and on their way in.

use super::{Ack, Envelope, Socket};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::ServiceExt;
use tower::util::{BoxCloneSyncService, MapErr};
use tower_layer::Layer;
use tower_service::Service;

/// An error of any layer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service of events with all layers around it: what a layer is given. Cheap to clone.
pub type Stack = BoxCloneSyncService<Envelope, Ack, BoxError>;

/// What a layer makes of the services inside it, so that it can stand around events. Nobody
/// implements it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand around events",
    note = "a layer's service is a `tower_service::Service<Envelope, Response = Ack>` whose future \
            is `Send`",
    note = "it is `Clone`, `Send` and `Sync`: a stack of layers is cloned for each event"
)]
pub trait EventService:
    Service<Envelope, Response = Ack, Error: Into<BoxError> + Send, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

#[diagnostic::do_not_recommend]
impl<S> EventService for S
where
    S: Service<Envelope, Response = Ack> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send + 'static,
{
}

/// Layers around the events of a namespace, a server or a client.
///
/// *Inbound* layers stand around the listeners, *outbound* ones around emitting. In each direction
/// the first layer added is the outermost; those of a server or a client stand outside those of
/// its namespaces. A layer is built once for each namespace, and sees what is emitted to single
/// sockets and, once each, broadcasts. One that is built [per session](Self::per_session) sees only
/// what is emitted to sockets.
///
/// Volatile events pass inbound layers and no outbound ones: they wait for nothing.
///
/// What whoever emits has said by `timeout` holds wherever its event is. tower's `Timeout` does not
/// count the wait for a `ConcurrencyLimit` inside it, and its `Buffer` is built, and so mounted, on
/// a runtime.
///
/// ```
/// # use emitwire_core::handler::Namespace;
/// # use emitwire_core::socket::{Layers, Pair};
/// use std::time::Duration;
/// use tower::limit::ConcurrencyLimitLayer;
/// use tower::timeout::TimeoutLayer;
///
/// let layers = Layers::new()
///     .inbound(TimeoutLayer::new(Duration::from_secs(2))) // no handler takes longer
///     .per_session(|_| Pair::inbound(ConcurrencyLimitLayer::new(4))); // for each peer
/// let chat = Namespace::new("/chat").layers(layers);
/// ```
#[derive(Clone, Default)]
pub struct Layers {
    places: Vec<Place>,
    on_begin: Vec<OnSocket>,
    on_end: Vec<OnSocket>,
    dedup_horizon: Option<Duration>,
}

/// One layer, or one of each direction.
#[derive(Clone)]
enum Place {
    Shared(Side, Wrap),
    PerSession(Slot, Build),
}

/// Which way events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Inbound,
    Outbound,
}

type Wrap = Arc<dyn Fn(Stack) -> Stack + Send + Sync>;
type Build = Arc<dyn Fn(&Socket) -> Pair + Send + Sync>;
pub(crate) type OnSocket = Arc<dyn Fn(&Socket) + Send + Sync>;

/// Which of the layers that are built per session: the same in all clones of its [`Layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Layers {
    /// No layers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer around the listeners, inside those added before. It sees every event that has
    /// a listener.
    ///
    /// A layer's error is the peer's nak: a `Nak` as it is, tower's `Elapsed` as `Timeout`,
    /// `Overloaded` as `Busy`, anything else as `Failed`.
    #[must_use]
    pub fn inbound<L>(mut self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.places.push(Place::Shared(Side::Inbound, wrap(layer)));
        self
    }

    /// Adds a layer around emitting, inside those added before. It sees every reliable event of
    /// this side.
    ///
    /// A layer's error is the emitter's: one of this crate's as it is, tower's `Elapsed` as
    /// `Timeout` where an answer was asked for, anything else as
    /// [`EmitError::Layer`](super::EmitError::Layer).
    #[must_use]
    pub fn outbound<L>(mut self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.places.push(Place::Shared(Side::Outbound, wrap(layer)));
        self
    }

    /// Adds layers that are made for each session, inside those added before: `build` is called
    /// when the first socket of a session begins, before its `on_connect`, and its layers then
    /// stand around each socket of that session until it ends. They see no broadcasts. A layer
    /// that is to know whether those inside it are ready, as `LoadShed`, stands in one pair with
    /// them: from outside they always are.
    #[must_use]
    pub fn per_session(mut self, build: impl Fn(&Socket) -> Pair + Send + Sync + 'static) -> Self {
        let slot = Slot(fresh());
        self.places.push(Place::PerSession(slot, Arc::new(build)));
        self
    }

    /// Adds somebody who is told of each socket that begins, before its `on_connect`: for layers
    /// that keep something for a peer that comes back. It is called in place, so it must not wait.
    #[must_use]
    pub fn on_begin(mut self, tell: impl Fn(&Socket) + Send + Sync + 'static) -> Self {
        self.on_begin.push(Arc::new(tell));
        self
    }

    /// Adds somebody who is told of each socket that has ended, behind its `on_disconnect`, so that
    /// nothing of it has to be kept. It is called in place, so it must not wait.
    #[must_use]
    pub fn on_end(mut self, tell: impl Fn(&Socket) + Send + Sync + 'static) -> Self {
        self.on_end.push(Arc::new(tell));
        self
    }

    /// Adds the layers of another set, inside those added before.
    #[must_use]
    pub fn and(mut self, more: impl Into<Self>) -> Self {
        let more = more.into();
        self.places.extend(more.places);
        self.on_begin.extend(more.on_begin);
        self.on_end.extend(more.on_end);
        let horizons = [self.dedup_horizon, more.dedup_horizon];
        self.dedup_horizon = horizons.into_iter().flatten().min();
        self
    }

    /// Has peers be told for how long an event that comes again is known: see
    /// [`Socket::dedup_horizon`]. For whoever writes a layer that deduplicates.
    #[must_use]
    pub fn dedup_horizon(mut self, horizon: Duration) -> Self {
        self.dedup_horizon = Some(self.dedup_horizon.map_or(horizon, |known| known.min(horizon)));
        self
    }

    pub(crate) fn horizon(&self) -> Option<Duration> {
        self.dedup_horizon
    }

    /// Who is told of beginnings, and who of ends.
    pub(crate) fn told(&self) -> (&[OnSocket], &[OnSocket]) {
        (&self.on_begin, &self.on_end)
    }

    /// The layers of one direction around their innermost service; `None` without any. Those that
    /// are built per session are added to `per_session`.
    pub(crate) fn around(
        &self,
        side: Side,
        innermost: impl FnOnce() -> Stack,
        per_session: &mut Vec<PerSession>,
    ) -> Option<Stack> {
        let is_on = |place: &&Place| match place {
            Place::Shared(on, _) => *on == side,
            Place::PerSession(..) => true,
        };
        let mut places = self.places.iter().rev().filter(is_on).peekable();
        places.peek()?;
        Some(places.fold(innermost(), |inner, place| match place {
            Place::Shared(_, wrap) => wrap(inner),
            Place::PerSession(slot, build) => {
                let build = Arc::clone(build);
                let layers = PerSession { slot: *slot, place: fresh(), side, build, inner };
                per_session.push(layers.clone());
                Stack::new(layers)
            }
        }))
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("count", &self.places.len()).finish_non_exhaustive()
    }
}

/// Two layers that belong together, one for each direction; or one of them.
#[derive(Clone, Default)]
pub struct Pair {
    inbound: Option<Wrap>,
    outbound: Option<Wrap>,
}

impl Pair {
    /// A layer for each direction.
    #[must_use]
    pub fn new<I, O>(inbound: I, outbound: O) -> Self
    where
        I: Layer<Stack, Service: EventService> + Send + Sync + 'static,
        O: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        Self { inbound: Some(wrap(inbound)), outbound: Some(wrap(outbound)) }
    }

    /// A layer around the listeners only.
    #[must_use]
    pub fn inbound<L>(layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        Self { inbound: Some(wrap(layer)), outbound: None }
    }

    /// A layer around emitting only.
    #[must_use]
    pub fn outbound<L>(layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        Self { inbound: None, outbound: Some(wrap(layer)) }
    }

    fn side(&self, side: Side) -> Option<&Wrap> {
        match side {
            Side::Inbound => self.inbound.as_ref(),
            Side::Outbound => self.outbound.as_ref(),
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inbound, outbound) = (self.inbound.is_some(), self.outbound.is_some());
        f.debug_struct("Pair").field("inbound", &inbound).field("outbound", &outbound).finish()
    }
}

/// A number that no other slot or place has.
fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

fn wrap<L>(layer: L) -> Wrap
where
    L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
{
    Arc::new(move |inner| boxed(layer.layer(inner)))
}

/// A service of events as a [`Stack`]: for layers that keep what is inside them.
#[must_use]
pub fn boxed(service: impl EventService) -> Stack {
    Stack::new(MapErr::new(service, Into::into))
}

/// The place of layers that are built per session: finds those of each socket.
#[derive(Clone)]
pub(crate) struct PerSession {
    slot: Slot,
    /// Where it stands: the same layers may be in several places of one stack.
    place: u64,
    side: Side,
    build: Build,
    inner: Stack,
}

impl PerSession {
    /// The layers of a socket around what is inside them, built at the first call.
    pub(crate) fn of(&self, socket: &Socket) -> Stack {
        let (own, inner) = (socket.own(), self.inner.clone());
        if let Some(stack) = own.stack(self.place) {
            return stack;
        }
        if own.is_over() {
            // None is made for a socket that has ended: further in it is refused.
            return inner;
        }
        // Nothing of the application's is called under a lock.
        let pair = socket.session().pair(self.slot, || (self.build)(socket));
        let built = match pair.side(self.side) {
            Some(wrap) => wrap(inner),
            None => inner,
        };
        own.keep_stack(self.place, built)
    }
}

impl Service<Envelope> for PerSession {
    type Response = Ack;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

    /// Always ready: whose layers have to be, an envelope says. These are waited for in the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let stack = match envelope.socket() {
            Some(socket) => self.of(socket),
            None => self.inner.clone(),
        };
        Box::pin(stack.oneshot(envelope))
    }
}
