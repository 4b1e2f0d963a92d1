//! How a client comes by a link, and by a session.

use super::connector::{Connect, Connector, connect_error, fit};
use super::dock::Dock;
use super::driver::{Birth, Driver, Standing};
use super::link::Link;
use super::probe::Trial;
use super::reception::Reception;
use super::reconnect::ReconnectService;
use super::session::Supervised;
use super::sockets::Role;
use super::{Config, ResumeToken, handshake};
use crate::protocol::{
    Attach, DisconnectReason, Hello, NamespaceNumber, Outcome, Packet, Payload, ProtocolError,
    SessionId, Welcome,
};
use crate::room::{Counters, Detached, shielded};
use crate::socket::{BoxError, Producer};
use crate::transport::{Capabilities, Choice, ConnectError, Connection, Transport};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::timeout::error::Elapsed;
use tower_service::Service;

type Asked = Pin<Box<dyn Future<Output = Result<Payload, BoxError>> + Send>>;
pub(super) type Credentials = Arc<dyn Fn() -> Asked + Send + Sync>;

/// Somebody who keeps what a later process of the client needs.
pub(super) type OnResumeToken = Box<dyn Fn(&ResumeToken) + Send + Sync>;

/// Makes links, and sessions on them.
pub(super) struct Dialer {
    /// Where it comes back to.
    pub(super) transport: Mutex<Arc<dyn Transport>>,
    pub(super) config: Arc<Config>,
    /// For how long its layers know an event that comes again.
    pub(super) dedup_horizon: Option<Duration>,
    pub(super) counters: Arc<Counters>,
    pub(super) detached: Arc<Detached>,
    pub(super) producer: Arc<Producer>,
    pub(super) reception: Arc<Reception>,
    /// Waits, and then makes an attempt.
    pub(super) connector: ReconnectService<Reach>,
    pub(super) reconnects: bool,
    /// Repeated until a welcome is heard, so that one that was lost leaves no second session.
    pub(super) nonce: u128,
    /// What an earlier process of this client has left, until a server has seen it.
    pub(super) resume_with: Mutex<Option<ResumeToken>>,
    pub(super) on_resume_token: Option<OnResumeToken>,
}

/// A session that has just begun.
pub(super) struct Fresh {
    pub(super) driver: Box<Driver>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) ticket: Option<Ticket>,
    /// What its wire came of, if it was one of several.
    pub(super) choice: Option<Arc<dyn Choice>>,
}

/// What a client needs to get its session back.
pub(super) struct Ticket {
    session: SessionId,
    token: Bytes,
    began_encrypted: bool,
    /// How long the server keeps it.
    pub(super) window: Duration,
}

/// A link that a server has welcomed.
pub(super) struct Welcomed {
    pub(super) link: Link,
    pub(super) welcome: Welcome,
    pub(super) trial: Trial,
    auth: Payload,
    /// Whether the session's first link was encrypted.
    began_encrypted: bool,
}

impl Dialer {
    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&lock(&self.transport))
    }

    pub(super) fn set_transport(&self, transport: Arc<dyn Transport>) {
        *lock(&self.transport) = transport;
    }

    /// A session that has not been before.
    pub(super) async fn dial_fresh(&self, connect: Connect) -> Result<Fresh, ConnectError> {
        let (auth, connection) = self.reach(connect).await?;
        let bytes_max = self.config.handshake_bytes_max;
        let attach = self.attach_of_old(connection.capabilities(), &auth).filter(|attach| {
            let packet = Packet::Attach(attach.clone());
            connection.codec().encode(&packet).len() <= bytes_max
        });
        let restarted = attach.is_some();
        let welcomed = self.open(connection, auth, attach, restarted).await?;
        // Whatever the server says, it says so once.
        lock(&self.resume_with).take();
        self.begin(welcomed)
    }

    /// A link for the session of this ticket, or for a new one, if the server says so. `leave` is
    /// called when the wire is there, and returns when nothing more is read on the link before.
    pub(super) async fn dial_again(
        &self,
        connect: Connect,
        dock: &Dock,
        ticket: &Ticket,
        leave: impl AsyncFnOnce(),
    ) -> Result<Welcomed, ConnectError> {
        let reached = self.reach(connect).await?;
        self.attach(reached, dock, ticket, leave).await
    }

    /// As `dial_again`, on a wire that is there.
    pub(super) async fn attach(
        &self,
        (auth, connection): Reached,
        dock: &Dock,
        ticket: &Ticket,
        leave: impl AsyncFnOnce(),
    ) -> Result<Welcomed, ConnectError> {
        let wire = connection.capabilities();
        if !dock.may_go_on(wire, &self.config) {
            // The token of a session that began in secret is not to be seen.
            return Err(ConnectError::PlainWire);
        }
        let asked = self.reception.asked();
        let mut attach = Attach {
            session: ticket.session,
            token: ticket.token.clone(),
            position: u64::MAX,
            trimmed: u64::MAX,
            namespaces: asked.into_iter().map(|number| (number, auth.clone())).collect(),
        };
        let bytes = connection.codec().encode(&Packet::Attach(attach.clone())).len();
        let max = self.config.handshake_bytes_max;
        if bytes > max {
            // No server takes more before a session has begun.
            return Err(ConnectError::AuthTooLarge { bytes, max });
        }
        leave().await;
        let mailbox = &dock.core().mailbox;
        attach.position = mailbox.position();
        attach.trimmed = mailbox.trimmed(0).map_or(0, |(_, to, _)| to);
        self.open(connection, auth, Some(attach), false).await
    }

    /// What to say to get the session of an earlier process of this client, if it has left a token
    /// that is good here.
    fn attach_of_old(&self, wire: Capabilities, auth: &Payload) -> Option<Attach> {
        let token = lock(&self.resume_with).clone()?;
        let is_seen = token.began_encrypted && !wire.encrypted && !self.config.resume_on_plain;
        if is_seen || token.namespaces != self.reception.fingerprint() || !self.is_resumable() {
            return None;
        }
        let numbers = 0..self.reception.mounts.len() as u32;
        Some(Attach {
            session: token.session,
            token: token.secret,
            position: 0,
            trimmed: 0,
            namespaces: numbers.map(|number| (NamespaceNumber(number), auth.clone())).collect(),
        })
    }

    /// Tells whoever wants to know what a later process needs to go on with the session.
    pub(super) fn tell_token(&self, ticket: &Ticket) {
        let Some(tell) = &self.on_resume_token else { return };
        let token = ResumeToken {
            session: ticket.session,
            secret: ticket.token.clone(),
            began_encrypted: ticket.began_encrypted,
            namespaces: self.reception.fingerprint(),
        };
        shielded("resume token", || tell(&token));
    }

    /// Begins a session on a link that a server has welcomed as new.
    pub(super) fn begin(&self, welcomed: Welcomed) -> Result<Fresh, ConnectError> {
        let Welcomed { link, welcome, trial, auth, began_encrypted } = welcomed;
        let mut ours = self.config.limits(self.dedup_horizon);
        ours.event_bytes_max = ours.event_bytes_max.min(welcome.limits.event_bytes_max);
        let ticket = Ticket::of(&welcome, began_encrypted, &self.config);
        let birth = Birth {
            id: welcome.session,
            ours,
            theirs: welcome.limits,
            peer_producer: welcome.producer,
            resume_window: ticket.as_ref().map_or(Duration::ZERO, |ticket| ticket.window),
            codec: Arc::clone(&link.codec),
            peer: link.peer.clone(),
            capabilities: link.capabilities,
        };
        let mut driver = Driver::new(
            birth,
            Role::Client(Arc::clone(&self.reception)),
            Arc::clone(&self.config),
            Arc::clone(&self.producer),
            Arc::clone(&self.counters),
            Arc::clone(&self.detached),
        );
        let max = driver.core().event_bytes_max;
        if auth.len() > max {
            return Err(ConnectError::AuthTooLarge { bytes: auth.len(), max });
        }
        // A session without a past confirms nothing.
        let begun = driver.begin_with(link, welcome.outcome);
        begun.map_err(|error| ConnectError::Ended { reason: DisconnectReason::Protocol(error) })?;
        match welcome.outcome {
            Outcome::New => driver.ask_for_namespaces(&auth),
            // An earlier process has asked.
            _ => driver.have_asked_for_namespaces(),
        }
        let standing = driver.standing();
        if let Some(ticket) = &ticket {
            self.tell_token(ticket);
        }
        Ok(Fresh { driver, standing, ticket, choice: trial.proved() })
    }

    /// Tells whoever wants to know that there is no session yet.
    pub(super) fn failed(&self, error: &ConnectError) {
        let endpoint = self.transport().endpoint();
        tracing::debug!(%error, endpoint, "connecting failed");
        self.reception.tell_connect_error(error);
    }

    pub(super) fn supervised(&self, fresh: &Fresh) -> Supervised {
        let (reception, counters) = (Arc::clone(&self.reception), Arc::clone(&self.counters));
        Supervised::new(reception, counters, Arc::clone(fresh.driver.core()))
    }

    /// Whether it comes back when it has lost its link.
    fn is_resumable(&self) -> bool {
        self.reconnects && !self.config.resume_window.is_zero()
    }

    /// What to show, and the wire to show it on.
    pub(super) async fn reach(&self, connect: Connect) -> Result<Reached, ConnectError> {
        // Boxed: for most of its life a client is connected.
        Box::pin(self.connector.clone().oneshot(connect)).await.map_err(connect_error)
    }

    async fn open(
        &self,
        connection: Box<dyn Connection>,
        auth: Payload,
        attach: Option<Attach>,
        restarted: bool,
    ) -> Result<Welcomed, ConnectError> {
        let is_encrypted = connection.capabilities().encrypted;
        let hello = Hello {
            resumes: attach.is_some(),
            resumable: self.is_resumable(),
            restarted,
            nonce: self.nonce,
            producer: self.producer.id,
            limits: self.config.limits(self.dedup_horizon),
        };
        let (may_be_old, trial) = (attach.is_some(), Trial::of(&*connection));
        let peer = connection.peer();
        let (link, welcome) = match handshake::open(connection, &self.config, hello, attach).await {
            Ok(opened) => opened,
            Err((reason, failure)) => {
                if !is_of_wire(&reason) {
                    trial.forgive();
                }
                let endpoint = peer.endpoint().to_owned();
                return Err(match failure {
                    Some(source) => ConnectError::Handshake { endpoint, source },
                    None => ConnectError::Ended { reason },
                });
            }
        };
        if !may_be_old && welcome.outcome != Outcome::New {
            let error = ProtocolError::Unexpected { packet: "welcome" };
            let reason = DisconnectReason::Protocol(error);
            link.refuse(handshake::goodbye(&reason), self.config.close_timeout).await;
            return Err(ConnectError::Ended { reason });
        }
        let is_old = restarted && welcome.outcome != Outcome::New;
        let old = lock(&self.resume_with).as_ref().is_some_and(|token| token.began_encrypted);
        let began_encrypted = if is_old { old } else { is_encrypted };
        Ok(Welcomed { link, welcome, trial, auth, began_encrypted })
    }
}

/// Whether a handshake may have ended so because of the wire, and not by a word of the server.
fn is_of_wire(reason: &DisconnectReason) -> bool {
    use DisconnectReason::{HandshakeTimeout, LinkLost, Protocol};
    matches!(reason, LinkLost | HandshakeTimeout | Protocol(_))
}

/// Credentials, and a wire.
pub(super) type Reached = (Payload, Box<dyn Connection>);

/// What is made when the waiting is over. Credentials are asked for here, because they grow old
/// while it waits, and before there is a wire, because a server waits for them no longer than for
/// any handshake.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) credentials: Option<Credentials>,
    pub(super) connector: Connector,
}

impl Service<Connect> for Reach {
    type Response = Reached;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Reached, ConnectError>> + Send>>;

    /// Always ready: how long the layers inside let it wait is bounded as the attempt is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connect: Connect) -> Self::Future {
        connect.begun().begin();
        let Self { credentials, connector } = self.clone();
        Box::pin(async move {
            let auth = match credentials {
                Some(ask) => ask().await.map_err(|source| ConnectError::Auth { source })?,
                None => Payload::empty(),
            };
            let began = Instant::now();
            let connected = connector.oneshot(connect).await;
            let connection = connected.map_err(|error| match error.is::<Elapsed>() {
                // The layer itself does not say how long it was.
                true => ConnectError::Timeout { after: began.elapsed() },
                false => connect_error(error),
            })?;
            // A layer may have it from elsewhere.
            Ok((auth, fit(connection)?))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    /// What a welcome gives; nothing when the session ends with its link.
    fn of(welcome: &Welcome, began_encrypted: bool, config: &Config) -> Option<Self> {
        let window = welcome.resume_window.min(config.resume_window());
        let is_one = !welcome.token.is_empty() && !window.is_zero();
        is_one.then(|| Self {
            session: welcome.session,
            token: welcome.token.clone(),
            began_encrypted,
            window,
        })
    }

    /// The session was resumed: from now on this is what to show.
    pub(super) fn renew(&mut self, welcome: &Welcome) {
        self.token = welcome.token.clone();
    }
}
