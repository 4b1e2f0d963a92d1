//! The server: namespaces behind any number of listeners.

use super::dock::{Arrival, Call, Dock, Knock, Nonces};
use super::driver::{Birth, Driver};
use super::handshake::Until;
use super::link::OpenLink;
use super::listening::Listening;
use super::mounts::Mounts;
use super::sockets::Role;
use super::surplus::Surplus;
use super::{Config, handshake, random};
use crate::handler::{MountError, Namespace};
use crate::protocol::{
    Close, CloseCode, DisconnectReason, Drain, EventName, ProducerId, SessionId, SocketId,
};
use crate::room::{Adapter, Counters, Detached, FRAME_BYTES_MIN, LocalAdapter, Stats};
use crate::socket::{Broadcast, EventService, Layers, Producer, SessionCore, Socket, Stack};
use crate::transport::{BindError, Connection, HandshakeError, Incoming, Listener, Transport};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tower_layer::Layer;

/// Links above `Config::links_max` that are heard and told so before they are closed; those above
/// these are just closed.
const TURNED_AWAY_MAX: usize = 64;

/// A deadline that is further away is none, and might not fit into a clock.
const HANDSHAKE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a listener rests after the system refused it a connection, such as for want of
/// descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Namespaces behind any number of listeners of any kind; rooms span them all.
///
/// A handle: clones share everything, and dropping the last of them ends nothing. It ends by
/// [`Server::run_until`]; `run_until(std::future::ready(()))` ends it now. Handlers may have it as
/// their [`State`](crate::handler::State).
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// # use emitwire_core::run::Server;
/// # use emitwire_core::transport::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = Namespace::new("/").on("echo", |Data(text): Data<String>| async move { text });
/// let server = Server::new().mount(echo)?;
/// let listening = server.listen(Memory::new("doc-server")).await?;
/// assert_eq!(listening.endpoint(), "mem://doc-server");
/// server.of("/").emit("hello", "everybody").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    config: Arc<Config>,
    counters: Arc<Counters>,
    producer: Arc<Producer>,
    mounts: Arc<Mounts>,
    /// Those without a link among them.
    sessions: Mutex<BTreeMap<SessionId, Arc<Dock>>>,
    nonces: Arc<Nonces>,
    detached: Arc<Detached>,
    listeners: Mutex<Vec<Listening>>,
    draining: AtomicBool,
    /// Links for which there was no place when they came.
    surplus: Arc<AtomicUsize>,
    session_ended: Notify,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    /// A server with limits of its own.
    #[must_use]
    pub fn with_config(config: Config) -> Self {
        let (config, counters) = (Arc::new(config), Arc::<Counters>::default());
        let producer = Arc::new(Producer::new(ProducerId(random::bits())));
        let detached = Arc::new(Detached::new(config.detached_max, config.detached_bytes_max));
        let mounts = (Arc::clone(&config), Arc::clone(&counters), Arc::clone(&producer));
        Self(Arc::new(Shared {
            config,
            counters,
            producer,
            mounts: Arc::new(Mounts::new(mounts.0, mounts.1, mounts.2)),
            sessions: Mutex::default(),
            nonces: Arc::default(),
            detached,
            listeners: Mutex::default(),
            draining: AtomicBool::new(false),
            surplus: Arc::default(),
            session_ended: Notify::new(),
        }))
    }

    /// Serves a namespace from now on, also while it listens: see `server.clone().mount(..)`.
    ///
    /// # Errors
    /// [`MountError`]: a bad path, a path that is taken, a listener under a reserved name, a
    /// handler that asks for state that is not there.
    pub fn mount(self, namespace: Namespace) -> Result<Self, MountError> {
        self.0.mounts.mount(&namespace)?;
        Ok(self)
    }

    /// Puts a tower layer around the listeners of what is mounted from now on: see
    /// [`Layers::inbound`].
    #[must_use]
    pub fn inbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().inbound(layer))
    }

    /// Puts a tower layer around emitting in what is mounted from now on: see
    /// [`Layers::outbound`].
    #[must_use]
    pub fn outbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().outbound(layer))
    }

    /// Puts layers around the events of what is mounted from now on, inside those added before and
    /// outside those of each namespace.
    #[must_use]
    pub fn layers(self, layers: impl Into<Layers>) -> Self {
        self.0.mounts.add_layers(layers.into());
        self
    }

    /// Has what is mounted from now on use adapters for many nodes: `make` gets the path of each
    /// namespace, and the adapter that keeps its members in this process. It must not ask this
    /// server for anything.
    ///
    /// ```
    /// # use emitwire_core::room::{Adapter, LocalAdapter};
    /// # use emitwire_core::run::Server;
    /// use std::sync::Arc;
    ///
    /// fn make(path: &str, local: LocalAdapter) -> Arc<dyn Adapter> {
    ///     println!("{path} is on this node only");
    ///     Arc::new(local)
    /// }
    ///
    /// let server = Server::new().adapter(make);
    /// ```
    #[must_use]
    pub fn adapter(
        self,
        make: impl Fn(&str, LocalAdapter) -> Arc<dyn Adapter> + Send + Sync + 'static,
    ) -> Self {
        self.0.mounts.set_adapter(Arc::new(make));
        self
    }

    /// Listens on one more wire. It goes on until [`Listening::close`] or the end of
    /// [`Server::run_until`].
    ///
    /// # Errors
    /// [`BindError`]: the address is taken or not this machine's.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn listen(&self, transport: impl Transport) -> Result<Listening, BindError> {
        let listener = transport.bind().await?;
        let endpoint = listener.endpoint();
        tracing::info!(%endpoint, "listening");
        let (open, closed) = watch::channel(());
        let task = tokio::spawn(self.clone().accept_all(Door { listener, _open: open }));
        let listening = Listening { endpoint: endpoint.into(), task: task.abort_handle(), closed };
        let mut listeners = lock(&self.0.listeners);
        listeners.retain(|listening| !listening.task.is_finished());
        listeners.push(listening.clone());
        Ok(listening)
    }

    /// Serves a connection that came some other way than through [`Server::listen`], under the same
    /// limits.
    pub fn accept(&self, connection: impl Connection) {
        self.admit(Box::new(Connected(Box::new(connection))));
    }

    /// Everyone in a namespace: to be narrowed down with `to` and `except`, and spoken to from
    /// anywhere. What is said to a namespace that is not mounted is an error when it is said. The
    /// pattern of a path stands for all namespaces that it has brought about.
    pub fn of(&self, path: &str) -> Broadcast {
        self.0.mounts.reach(path)
    }

    /// A socket of this node in a namespace, by its id, if it lives.
    #[must_use]
    pub fn socket(&self, path: &str, id: SocketId) -> Option<Socket> {
        self.0.mounts.socket(path, id)
    }

    /// The paths of its namespaces, in their order; of a pattern those that sockets are in.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.0.mounts.paths()
    }

    /// What was counted so far, and what waits now. It looks at each session.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.counters.snapshot();
        for core in self.sessions() {
            stats.add_queue(&core.mailbox.queue());
        }
        stats
    }

    /// What was counted of one namespace, if there is one of this path. What belongs to no
    /// namespace is zero.
    #[must_use]
    pub fn namespace_stats(&self, path: &str) -> Option<Stats> {
        Some(self.0.mounts.counters(path)?.snapshot())
    }

    /// Serves until `shutdown` is ready, then ends in order: stops listening, tells every client
    /// when to come back, takes no new events, writes what waits, lets handlers finish, and waits
    /// for both sides to know it, for at most `Config::drain_timeout`.
    ///
    /// # Cancel safety
    /// Dropping the future before `shutdown` is ready changes nothing; afterwards the drain goes
    /// on without its deadline.
    pub async fn run_until(&self, shutdown: impl Future) {
        shutdown.await;
        self.drain().await;
    }

    async fn drain(&self) {
        let shared = &self.0;
        shared.draining.store(true, Ordering::Release);
        let listeners = std::mem::take(&mut *lock(&shared.listeners));
        for listening in listeners {
            listening.close().await;
        }
        for core in self.sessions() {
            self.begin_drain(&core);
        }
        let deadline = shared.config.drain_timeout;
        if tokio::time::timeout(deadline, self.all_ended()).await.is_err() {
            for core in self.sessions() {
                let close = Close { code: CloseCode::Moved, detail: EventName::from_static("") };
                let flush = core.mailbox.begin_close(DisconnectReason::Moved, close, false);
                core.mailbox.flush_in_turn(flush);
            }
            let patience = shared.config.close_timeout + shared.config.disconnect_grace;
            // Hooks that run on after that are not waited for.
            let _ = tokio::time::timeout(patience, self.all_ended()).await;
        }
    }

    fn begin_drain(&self, core: &SessionCore) {
        let config = &self.0.config;
        let spread = config.drain_spread.as_millis().max(1);
        let delay = Duration::from_millis((random::bits() % spread) as u64);
        let announce = Drain { deadline: config.drain_timeout, delay };
        // In this order: the answer may come as soon as the announcement is there to be written.
        core.draining.store(true, Ordering::Release);
        let _ = core.mailbox.begin_drain(Some(announce));
        core.mailbox.nudge();
    }

    fn sessions(&self) -> Vec<Arc<SessionCore>> {
        let sessions = lock(&self.0.sessions);
        sessions.values().map(|dock| Arc::clone(dock.core())).collect()
    }

    async fn all_ended(&self) {
        loop {
            let mut ended = pin!(self.0.session_ended.notified());
            ended.as_mut().enable();
            if lock(&self.0.sessions).is_empty() {
                return;
            }
            ended.await;
        }
    }

    async fn accept_all(self, mut door: Door) {
        loop {
            match door.listener.accept().await {
                Ok(incoming) => self.admit(incoming),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Never waits: a silent peer does not delay the next.
    fn admit(&self, incoming: Box<dyn Incoming>) {
        let links = &self.0.counters.links;
        let over = (links.get() as usize).saturating_sub(self.0.config.links_max);
        if over >= TURNED_AWAY_MAX {
            self.0.counters.handshakes_failed.add(1);
            return;
        }
        let full = links.get() as usize >= self.0.config.links_max;
        let full = full.then(|| Surplus::of(&self.0.surplus));
        let (server, open) = (self.clone(), OpenLink::new(&self.0.counters));
        tokio::spawn(async move { server.shake_hands(incoming, full, open).await });
    }

    async fn shake_hands(
        &self,
        incoming: Box<dyn Incoming>,
        full: Option<Surplus>,
        open: OpenLink,
    ) {
        let config = &self.0.config;
        // One for the wire's handshake and the session's.
        let deadline = Instant::now() + config.handshake_timeout.min(HANDSHAKE_MAX);
        let shaken = tokio::time::timeout_at(deadline, incoming.handshake()).await;
        match shaken {
            Ok(Ok(connection)) => self.serve(connection, deadline, full, open).await,
            Ok(Err(error)) => {
                self.0.counters.handshakes_failed.add(1);
                tracing::debug!(%error, "not a peer of this wire");
            }
            Err(_) => self.0.counters.handshakes_failed.add(1),
        }
    }

    /// From hello to a session, an old one or a new one. What follows is a task of its own, so that
    /// a live session does not keep room for the states of its handshake.
    async fn serve(
        &self,
        connection: Box<dyn Connection>,
        deadline: Instant,
        full: Option<Surplus>,
        open: OpenLink,
    ) {
        let shared = &self.0;
        let peer = connection.peer();
        let capabilities = connection.capabilities();
        if !capabilities.keeps_everything() || capabilities.frame_bytes_max < FRAME_BYTES_MIN {
            shared.counters.handshakes_failed.add(1);
            tracing::warn!(peer = peer.endpoint(), "the wire cannot carry a session");
            return;
        }
        let until = match full {
            Some(_) => Until::Full(deadline.min(Instant::now() + shared.config.close_timeout)),
            None => Until::Late(deadline),
        };
        match handshake::hear(connection, &shared.config, until, open).await {
            Ok(arrival) if full.is_some() && !self.has_place(&arrival) => {
                shared.counters.handshakes_failed.add(1);
                handshake::turn_away(arrival, &shared.config).await;
            }
            Ok(arrival) => {
                if let Some(arrival) = self.resume(arrival).await {
                    self.begin(arrival);
                }
            }
            Err(reason) => {
                shared.counters.handshakes_failed.add(1);
                tracing::debug!(peer = peer.endpoint(), %reason, "no session");
            }
        }
    }

    /// Whether there is a place for a client that came when there was none. One that goes from one
    /// link of its session to another has left its own, or is about to.
    fn has_place(&self, arrival: &Arrival) -> bool {
        let links = self.0.counters.links.get() as usize;
        let has_one = || {
            let dock = self.find(arrival).filter(|_| arrival.attach.is_some());
            dock.is_some_and(|dock| dock.core().mailbox.queue().is_attached)
        };
        links.saturating_sub(self.0.surplus.load(Ordering::Relaxed)) < self.0.config.links_max
            || has_one()
    }

    /// Gives the client its session back. It is returned if there is none that it may have.
    async fn resume(&self, arrival: Arrival) -> Option<Arrival> {
        if arrival.attach.is_none() {
            return self.knock(arrival).await;
        }
        let mut arrival = self.knock(arrival).await?;
        // The session that it knows is not there, or not for it; but it may have begun another
        // meanwhile, of which it never heard.
        arrival.attach = None;
        self.knock(arrival).await
    }

    /// Knocks at the door of the session that a client asks for. It is returned if it is not let
    /// in.
    async fn knock(&self, arrival: Arrival) -> Option<Arrival> {
        let Some(dock) = self.find(&arrival) else { return Some(arrival) };
        if !dock.may_go_on(arrival.link.capabilities, &self.0.config) {
            return Some(arrival);
        }
        let (back, turned_away) = oneshot::channel();
        match dock.call(Call::Knock(Box::new(Knock { arrival, back }))) {
            Ok(()) => turned_away.await.ok(),
            Err(Some(Call::Knock(knock))) => Some(knock.arrival),
            Err(_) => None,
        }
    }

    /// The session that a client asks for, if it has shown what it has to.
    fn find(&self, arrival: &Arrival) -> Option<Arc<Dock>> {
        let id = match &arrival.attach {
            Some(attach) => attach.session,
            // A client that never heard its welcome knows nothing else.
            None => self.0.nonces.session(arrival.hello.nonce)?,
        };
        let dock = lock(&self.0.sessions).get(&id).cloned()?;
        dock.knows(arrival).then_some(dock)
    }

    /// Begins a session.
    fn begin(&self, mut arrival: Arrival) {
        let shared = &self.0;
        if arrival.link.is_gone() {
            shared.counters.handshakes_failed.add(1);
            return;
        }
        let config = &shared.config;
        let (link, hello) = (&arrival.link, &arrival.hello);
        let mut ours = config.limits(shared.mounts.dedup_horizon());
        ours.event_bytes_max = ours.event_bytes_max.min(hello.limits.event_bytes_max);
        let birth = Birth {
            id: SessionId(random::bits()),
            ours,
            theirs: hello.limits,
            peer_producer: hello.producer,
            resume_window: if hello.resumable { config.resume_window() } else { Duration::ZERO },
            codec: Arc::clone(&link.codec),
            peer: link.peer.clone(),
            capabilities: link.capabilities,
        };
        let peer = link.peer.clone();
        let mut driver = Driver::new(
            birth,
            Role::Server(Arc::clone(&shared.mounts)),
            Arc::clone(config),
            Arc::clone(&shared.producer),
            Arc::clone(&shared.counters),
            Arc::clone(&shared.detached),
        );
        if driver.begin_on(arrival, &shared.nonces).is_err() {
            // A session without a past confirms nothing.
            return;
        }
        tracing::debug!(session = %driver.core().id, peer = peer.endpoint(), "session begins");
        let registered = self.register(&driver);
        tokio::spawn(async move {
            let ended = driver.run().await;
            tracing::debug!(reason = %ended.reason, "session ended");
            drop(registered);
        });
    }

    fn register(&self, driver: &Driver) -> Registered {
        let shared = &self.0;
        let dock = Arc::clone(driver.dock());
        let id = driver.core().id;
        let mut sessions = lock(&shared.sessions);
        sessions.insert(id, dock);
        shared.counters.sessions.add(1);
        drop(sessions);
        // A drain meets the session in the table, or is met here.
        if shared.draining.load(Ordering::Acquire) {
            self.begin_drain(driver.core());
        }
        Registered { server: self.clone(), id }
    }
}

/// A listener at work. Its fields go in this order: who is told that the door is closed finds the
/// address free.
struct Door {
    listener: Box<dyn Listener>,
    _open: watch::Sender<()>,
}

/// A session in its server's table, for as long as its task lives, however that ends.
struct Registered {
    server: Server,
    id: SessionId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let shared = &self.server.0;
        let ended = {
            let mut sessions = lock(&shared.sessions);
            // Whoever sees that there is none left sees it counted.
            shared.counters.sessions.sub(1);
            sessions.remove(&self.id)
        };
        drop(ended);
        shared.session_ended.notify_waiters();
    }
}

/// A connection whose wire has no handshake to finish.
struct Connected(Box<dyn Connection>);

#[async_trait]
impl Incoming for Connected {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        Ok(self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
