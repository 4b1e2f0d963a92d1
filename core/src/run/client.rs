//! The client: one session, kept alive by reconnecting.

use super::driver::{Driver, Ended};
use super::mounted::Mounted;
use super::reception::Reception;
use super::session::{Session, Supervised};
use super::sockets::Role;
use super::{Config, handshake, random};
use crate::handler::{BoxError, MountError, Namespace};
use crate::protocol::{
    Backoff, DecodeError, DisconnectReason, Payload, PayloadError, ProducerId, ProtocolError,
    ToPayload,
};
use crate::room::Counters;
use crate::socket::{Producer, Scope};
use crate::transport::{ConnectError, HandshakeError, Transport};
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

type Asked = Pin<Box<dyn Future<Output = Result<Payload, BoxError>> + Send>>;
type Credentials = Arc<dyn Fn() -> Asked + Send + Sync>;

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
    credentials: Option<Credentials>,
    bad_auth: Option<PayloadError>,
    reconnects: bool,
}

impl Client {
    /// A client of whoever listens there.
    pub fn new(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            config: Config::default(),
            namespaces: Vec::new(),
            credentials: None,
            bad_auth: None,
            reconnects: true,
        }
    }

    /// Joins a namespace when it connects. A bad registration is reported by
    /// [`Client::connect`].
    pub fn mount(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Limits of its own.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What every namespace's `authorize` gets to see. If it cannot be encoded,
    /// [`Client::connect`] says so.
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

    /// Whether a lost session is followed by another; it is, by default.
    pub fn reconnect(mut self, reconnects: bool) -> Self {
        self.reconnects = reconnects;
        self
    }

    /// Connects, and waits until every namespace has answered. Later losses of the session are
    /// followed by new attempts, with full-jitter backoff, until [`Session::close`].
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
            let driver = dialer.dial().await.inspect_err(|error| dialer.failed(error))?;
            let session = Session::begin(dialer.supervised(&driver));
            tokio::spawn(supervise(dialer, session.supervised(), driver));
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
        let mut mounts = Vec::new();
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
            let scope = Scope {
                path,
                captures: Box::default(),
                counters: Arc::new(Counters::part_of(Arc::clone(&counters))),
                outgoing: Arc::clone(blueprint.emitter.outgoing()),
                states: blueprint.state_types(),
                served: None,
            };
            let inbound = blueprint.inbound();
            mounts.push(Arc::new(Mounted::new(blueprint, inbound, scope)));
        }
        Ok(Dialer {
            transport: self.transport,
            config: Arc::new(self.config),
            counters,
            producer: Arc::new(Producer::new(ProducerId(random::bits()))),
            reception: Arc::new(Reception::new(mounts)),
            credentials: self.credentials,
            reconnects: self.reconnects,
        })
    }
}

fn bad_mount(error: MountError) -> ConnectError {
    ConnectError::Mount { source: Box::new(error) }
}

/// Makes one session after another.
struct Dialer {
    transport: Arc<dyn Transport>,
    config: Arc<Config>,
    counters: Arc<Counters>,
    producer: Arc<Producer>,
    reception: Arc<Reception>,
    credentials: Option<Credentials>,
    reconnects: bool,
}

impl Dialer {
    async fn dial(&self) -> Result<Box<Driver>, ConnectError> {
        let auth = match &self.credentials {
            Some(ask) => ask().await.map_err(|source| ConnectError::Auth { source })?,
            None => Payload::empty(),
        };
        let connection = self.transport.connect().await?;
        let capabilities = connection.capabilities();
        if !capabilities.keeps_everything() {
            return Err(ConnectError::NeedsArq);
        }
        let needed = connection.codec().frame_bytes_max(self.config.event_bytes_max);
        if capabilities.frame_bytes_max < needed {
            let frame_bytes_max = capabilities.frame_bytes_max;
            return Err(ConnectError::FrameTooSmall { frame_bytes_max, needed });
        }
        let link = handshake::open(connection, &self.config, self.producer.id)
            .await
            .map_err(|reason| ConnectError::Ended { reason })?;
        let mut driver = Driver::new(
            link,
            Role::Client(Arc::clone(&self.reception)),
            Arc::clone(&self.config),
            Arc::clone(&self.producer),
            Arc::clone(&self.counters),
        );
        let max = driver.core().event_bytes_max;
        if auth.len() > max {
            return Err(ConnectError::AuthTooLarge { bytes: auth.len(), max });
        }
        driver.ask_for_namespaces(&auth);
        Ok(driver)
    }

    /// Tells whoever wants to know that there is no session yet.
    fn failed(&self, error: &ConnectError) {
        let endpoint = self.transport.endpoint();
        tracing::debug!(%error, endpoint, "connecting failed");
        self.reception.tell_connect_error(error);
    }

    fn supervised(&self, driver: &Driver) -> Supervised {
        let (reception, counters) = (Arc::clone(&self.reception), Arc::clone(&self.counters));
        Supervised::new(reception, counters, Arc::clone(driver.core()))
    }
}

/// A session that lived this long was a good one: the next attempt begins with short delays.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// Drives one session after another until it is told to stop, or the peer said so.
async fn supervise(dialer: Dialer, session: Arc<Supervised>, mut driver: Box<Driver>) {
    let mut backoff = Backoff::default();
    let _finish = Finish(Arc::clone(&session));
    loop {
        dialer.counters.sessions.add(1);
        let began = Instant::now();
        let Ended { reason, told_to_wait } = driver.run().await;
        dialer.counters.sessions.sub(1);
        tracing::debug!(%reason, "session ended");
        if began.elapsed() >= GOOD_SESSION {
            backoff.reset();
        }
        let stays_away = !dialer.reconnects || is_final(&reason) || session.is_closing();
        session.lost(reason);
        if stays_away {
            break;
        }
        // Boxed: for most of its life a client is connected.
        let mut again = Box::pin(async {
            tokio::time::sleep(told_to_wait).await;
            redial(&dialer, &mut backoff).await
        });
        let mut closing = pin!(session.closing());
        let redialed = poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => again.as_mut().poll(cx).map(Some),
        });
        match redialed.await {
            Some(Ok(redialed)) => driver = redialed,
            Some(Err(reason)) => {
                session.lost(reason);
                break;
            }
            None => break,
        }
        session.back(Arc::clone(driver.core()));
    }
}

/// Whoever waits for the end of the session is told, also when its task ends in a panic.
struct Finish(Arc<Supervised>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Whether a client does not come back by itself.
fn is_final(reason: &DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::Closed
            | DisconnectReason::ClosedByPeer
            | DisconnectReason::DismissedByPeer(_)
            | DisconnectReason::Replaced
            | DisconnectReason::Version
            | DisconnectReason::Protocol(ProtocolError::Decode(DecodeError::Version { .. }))
    )
}

/// Why a client that could not connect tries no more, if so.
fn final_reason(error: &ConnectError) -> Option<DisconnectReason> {
    match error {
        ConnectError::Ended { reason } => is_final(reason).then(|| reason.clone()),
        ConnectError::Handshake { source, .. } => {
            is_for_good(source).then_some(DisconnectReason::Refused)
        }
        _ => None,
    }
}

/// Whether a server that refuses says that it always will: what HTTP calls an error of the client,
/// but for those that are a matter of time (RFC 9110 §15.5).
fn is_for_good(error: &HandshakeError) -> bool {
    match error {
        HandshakeError::Refused { status: 408 | 425 | 429, .. } => false,
        HandshakeError::Refused { status, .. } => (400..500).contains(status),
        _ => false,
    }
}

/// Tries until it has a session again, or learns that it will never have one.
async fn redial(dialer: &Dialer, backoff: &mut Backoff) -> Result<Box<Driver>, DisconnectReason> {
    let lost_at = Instant::now();
    loop {
        let random = random::bits() as u64;
        tokio::time::sleep(backoff.next_delay(lost_at.elapsed(), random)).await;
        let dialed = tokio::time::timeout(dialer.config.connect_timeout, dialer.dial()).await;
        match dialed {
            Ok(Ok(driver)) => return Ok(driver),
            Ok(Err(error)) => {
                dialer.failed(&error);
                if let Some(reason) = final_reason(&error) {
                    return Err(reason);
                }
            }
            Err(_) => {
                dialer.failed(&ConnectError::Timeout { after: dialer.config.connect_timeout });
            }
        }
    }
}
