//! The client: one session, kept alive by reconnecting.

use super::connector::{Connect, Connector, ConnectorService, Dial};
use super::dialer::{Credentials, Dialer, OnResumeToken, Reach};
use super::mounted::{Built, Mounted};
use super::reception::Reception;
use super::session::Session;
use super::supervise::supervise;
use super::{Config, Reconnect, ResumeToken, random};
use crate::handler::{MountError, Namespace};
use crate::protocol::{PayloadError, ProducerId, ToPayload};
use crate::room::{Counters, Detached};
use crate::socket::{BoxError, EventService, Layers, Producer, Scope, Stack};
use crate::transport::{ConnectError, Transport};
use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tower::util::{BoxCloneSyncService, MapErr};
use tower_layer::Layer;

type Wrap = Box<dyn FnOnce(Connector) -> Connector + Send + Sync>;

/// A client that is not connected yet.
///
/// ```no_run
/// # use emitwire_core::handler::{Data, Namespace};
/// # use emitwire_core::run::Client;
/// # use emitwire_core::transport::Memory;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let chat = Namespace::new("/chat")
///     .on("said", |Data(text): Data<String>| async move { println!("{text}") });
/// let session = Client::new(Memory::new("lobby")).mount(chat).connect().await?;
/// let length: usize = session.of("/chat")?.emit("say", "hello").ack().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a client does nothing until it connects"]
pub struct Client {
    transport: Arc<dyn Transport>,
    config: Config,
    namespaces: Vec<Namespace>,
    layers: Layers,
    credentials: Option<Credentials>,
    bad_auth: Option<PayloadError>,
    connector: Vec<Wrap>,
    reconnects: bool,
    reconnect: Reconnect,
    resume_with: Option<ResumeToken>,
    on_resume_token: Option<OnResumeToken>,
}

impl Client {
    /// A client of whoever listens there.
    pub fn new(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            config: Config::default(),
            namespaces: Vec::new(),
            layers: Layers::new(),
            credentials: None,
            bad_auth: None,
            connector: Vec::new(),
            reconnects: true,
            reconnect: Reconnect::new(),
            resume_with: None,
            on_resume_token: None,
        }
    }

    /// Joins a namespace when it connects. A bad registration is reported by
    /// [`Client::connect`].
    pub fn mount(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Puts a tower layer around the listeners of all its namespaces: see [`Layers::inbound`].
    pub fn inbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().inbound(layer))
    }

    /// Puts a tower layer around emitting in all its namespaces: see [`Layers::outbound`].
    pub fn outbound<L>(self, layer: L) -> Self
    where
        L: Layer<Stack, Service: EventService> + Send + Sync + 'static,
    {
        self.layers(Layers::new().outbound(layer))
    }

    /// Puts layers around the events of all its namespaces, inside those added before and outside
    /// those of each namespace.
    pub fn layers(mut self, layers: impl Into<Layers>) -> Self {
        self.layers = self.layers.and(layers);
        self
    }

    /// Limits of its own.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What every namespace's `authorize` gets to see, again on each link, also on one to a
    /// [better wire](super::Race): what is good only once is for [`Client::auth_with`]. If it
    /// cannot be encoded, [`Client::connect`] says so.
    pub fn auth<T: ToPayload + ?Sized>(mut self, value: &T) -> Self {
        match value.to_payload() {
            Ok(payload) => {
                self.credentials = Some(Arc::new(move || {
                    let payload = payload.clone();
                    Box::pin(async { Ok(payload) })
                }));
            }
            Err(error) => self.bad_auth = Some(error),
        }
        self
    }

    /// As [`Client::auth`], but asked again at each connect: for tokens that grow old. An error is
    /// [`ConnectError::Auth`], and when reconnecting it is asked again later.
    ///
    /// ```
    /// # use emitwire_core::run::Client;
    /// # use emitwire_core::transport::Memory;
    ///
    /// async fn fetch_token() -> Result<String, std::io::Error> {
    ///     Ok("fresh".into())
    /// }
    ///
    /// let client = Client::new(Memory::new("lobby")).auth_with(fetch_token);
    /// ```
    pub fn auth_with<T, E, F, Fut>(mut self, ask: F) -> Self
    where
        T: ToPayload,
        E: Into<BoxError>,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.credentials = Some(Arc::new(move || {
            let asked = ask();
            Box::pin(async { Ok(asked.await.map_err(Into::into)?.to_payload()?) })
        }));
        self
    }

    /// Whether it comes back by itself when it has lost its link, to its session or to a new one;
    /// it does, by default. Without that a session ends with its link, at both ends.
    pub fn reconnect(mut self, reconnects: bool) -> Self {
        self.reconnects = reconnects;
        self
    }

    /// How long it waits before each attempt to come back, and how many it makes. After
    /// `reconnect(false)` it makes none, whatever this says.
    ///
    /// ```
    /// # use emitwire_core::run::{Client, Reconnect};
    /// # use emitwire_core::transport::Memory;
    /// let nine = Reconnect::new().attempts_max(9);
    /// let client = Client::new(Memory::new("lobby")).reconnect_with(nine);
    /// ```
    pub fn reconnect_with(mut self, policy: Reconnect) -> Self {
        self.reconnect = policy;
        self
    }

    /// Puts a tower layer around connecting: around [`Transport::connect`], for the first connect,
    /// for each attempt to come back, for [`Session::move_to`], and for each
    /// [look for a better wire](Connect::is_look). The first layer added is the outermost; the
    /// client's [`Reconnect`] is outside of all of them, and another one in here would wait as
    /// well. So a layer sees each attempt, and what it takes, but not the waiting in between, which
    /// a timeout here does not cut short. The session's handshake is made on what comes out, and
    /// not seen here; `Config::connect_timeout` is for both together.
    ///
    /// A [`ConnectError`] of a layer is passed on as it is, tower's `Elapsed` as
    /// [`ConnectError::Timeout`], any other error as [`ConnectError::Layer`]. After all of them the
    /// client tries again, but for those after which it does not anyway, such as
    /// [`ConnectError::AttemptsExhausted`].
    ///
    /// ```
    /// # use emitwire_core::run::{Client, Connect};
    /// # use emitwire_core::transport::Memory;
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use tower::timeout::TimeoutLayer;
    /// use tower::util::MapRequestLayer;
    ///
    /// // Every other attempt goes to the spare.
    /// let spare = Arc::new(Memory::new("spare"));
    /// let fallback = move |connect: Connect| match connect.attempt % 2 {
    ///     1 => connect.with_transport(spare.clone()),
    ///     _ => connect,
    /// };
    /// let client = Client::new(Memory::new("lobby"))
    ///     .connector(MapRequestLayer::new(fallback))
    ///     .connector(TimeoutLayer::new(Duration::from_secs(3)));
    /// ```
    ///
    /// # Cancel safety
    /// The future of a layer's service is dropped when its attempt takes too long, and when the
    /// session is closed meanwhile. It then leaves no connection behind.
    pub fn connector<L>(mut self, layer: L) -> Self
    where
        L: Layer<Connector, Service: ConnectorService> + Send + Sync + 'static,
    {
        self.connector.push(Box::new(move |inner| {
            BoxCloneSyncService::new(MapErr::new(layer.layer(inner), Into::into))
        }));
        self
    }

    /// Goes on with the session of an earlier process of this client, if the server still has it:
    /// its sockets there are still in their rooms, and what the earlier process had not confirmed
    /// comes again. What that process had emitted and not got rid of is lost with it, and what it
    /// was handling may run again. If the session cannot be had, or this client has other
    /// namespaces than that had, there is a new one: [`Session::outcome`] says which.
    pub fn resume_with(mut self, token: ResumeToken) -> Self {
        self.resume_with = Some(token);
        self
    }

    /// Sets who keeps what a later process of this client needs to go on with the session. It is
    /// called in place, with each link, because each makes the token before it useless.
    ///
    /// ```
    /// # use emitwire_core::run::{Client, ResumeToken};
    /// # use emitwire_core::transport::Memory;
    /// let save = |token: &ResumeToken| {
    ///     let text = token.to_string();
    ///     // Into a file that nobody else can read.
    ///     # let _ = text;
    /// };
    /// let client = Client::new(Memory::new("lobby")).on_resume_token(save);
    /// ```
    pub fn on_resume_token(mut self, keep: impl Fn(&ResumeToken) + Send + Sync + 'static) -> Self {
        self.on_resume_token = Some(Box::new(keep));
        self
    }

    /// Connects, and waits until every namespace has answered. When the link is lost later, new
    /// attempts follow, with full-jitter backoff, until [`Session::close`]: as long as the server
    /// keeps the session it goes on where it was, with the same sockets, and nothing is missed;
    /// after that there is a new one.
    ///
    /// # Errors
    /// [`ConnectError`] when the first attempt fails, or when every namespace refuses. If only
    /// some refuse, [`Session::of`] says which.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no connection behind.
    pub async fn connect(self) -> Result<Session, ConnectError> {
        let after = self.config.connect_timeout;
        let dialer = self.into_dialer()?;
        let attempt = async {
            let dialed = dialer.dial_fresh(Connect::new(dialer.transport())).await;
            let fresh = dialed.inspect_err(|error| dialer.failed(error))?;
            let (session, moves) = Session::begin(dialer.supervised(&fresh));
            tokio::spawn(supervise(dialer, session.supervised(), fresh, moves));
            session.settled().await?;
            Ok(session)
        };
        match tokio::time::timeout(after, attempt).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Timeout { after }),
        }
    }

    fn into_dialer(self) -> Result<Dialer, ConnectError> {
        if let Some(source) = self.bad_auth {
            return Err(ConnectError::Auth { source: Box::new(source) });
        }
        let counters = Arc::<Counters>::default();
        let (mut mounts, mut dedup_horizon) = (Vec::new(), None);
        let mut paths = HashSet::new();
        for namespace in self.namespaces {
            let blueprint = namespace.blueprint(self.config.listeners_max);
            let (blueprint, pattern) = blueprint.map_err(bad_mount)?;
            let path = Arc::clone(blueprint.path());
            if pattern.is_some() {
                return Err(bad_mount(MountError::PatternOnClient { path: (*path).into() }));
            }
            if !paths.insert(Arc::clone(&path)) {
                return Err(bad_mount(MountError::Duplicate { path: (*path).into() }));
            }
            let layers = Built::new(&blueprint, &self.layers);
            let horizon = blueprint.layers(&self.layers).horizon();
            dedup_horizon = [dedup_horizon, horizon].into_iter().flatten().min();
            let scope = Scope {
                path,
                captures: Box::default(),
                counters: Arc::new(Counters::part_of(Arc::clone(&counters))),
                outgoing: Arc::clone(blueprint.emitter.outgoing()),
                states: blueprint.state_types(),
                outbound: layers.outbound.clone(),
                served: None,
            };
            mounts.push(Arc::new(Mounted::new(blueprint, layers, scope)));
        }
        let innermost = BoxCloneSyncService::new(Dial);
        let connector = self.connector.into_iter().rev().fold(innermost, |inner, wrap| wrap(inner));
        let reach = Reach { credentials: self.credentials, connector };
        Ok(Dialer {
            transport: Mutex::new(self.transport),
            detached: Arc::new(Detached::new(1, self.config.detached_bytes_max)),
            config: Arc::new(self.config),
            dedup_horizon,
            counters,
            producer: Arc::new(Producer::new(ProducerId(random::bits()))),
            reception: Arc::new(Reception::new(mounts)),
            connector: self.reconnect.layer(reach),
            reconnects: self.reconnects,
            nonce: random::bits(),
            resume_with: Mutex::new(self.resume_with),
            on_resume_token: self.on_resume_token,
        })
    }
}

fn bad_mount(error: MountError) -> ConnectError {
    ConnectError::Mount { source: Box::new(error) }
}
