//! How a client comes by a link, and by a session.

use super::connector::{Connect, Connector, connect_error, fit};
use super::dock::{Call, Dock};
use super::driver::{Birth, Driver, Standing};
use super::link::Link;
use super::probe::{MOVE_PATIENCE, Trial};
use super::reception::Reception;
use super::reconnect::ReconnectService;
use super::round::{Round, is_of_wire};
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
        let (mut round, mut connect) = (Round::default(), connect);
        loop {
            let reached = self.reach(connect.clone()).await?;
            round.tries(&*reached.1);
            match self.open_fresh(reached, round.may_go_on()).await {
                Err(error) if round.goes_on_after(&error) => connect = connect.of_another_wire(),
                welcomed => return self.begin(welcomed?),
            }
        }
    }

    /// A link for a session that has not been before in this process.
    async fn open_fresh(
        &self,
        (auth, connection): Reached,
        may_be_another: bool,
    ) -> Result<Welcomed, ConnectError> {
        let (trial, wire) = (Trial::of(&*connection), connection.capabilities());
        if may_be_another && self.would_be_seen(wire) {
            trial.blame();
            return Err(ConnectError::PlainWire);
        }
        let bytes_max = self.config.handshake_bytes_max;
        let attach = self.attach_of_old(wire, &auth).filter(|attach| {
            let packet = Packet::Attach(attach.clone());
            connection.codec().encode(&packet).len() <= bytes_max
        });
        let restarted = attach.is_some();
        let welcomed = self.open(connection, trial, auth, attach, restarted).await?;
        if restarted {
            // Whatever the server says, it says so once.
            lock(&self.resume_with).take();
        }
        Ok(welcomed)
    }

    /// A link for the session of this ticket, or for a new one, if the server says so. When the
    /// wire is there the session gives up the link that it has, and nothing more is read on that.
    pub(super) async fn dial_again(
        &self,
        connect: Connect,
        dock: &Dock,
        ticket: &Ticket,
        standing: &watch::Receiver<Standing>,
    ) -> Result<Welcomed, ConnectError> {
        let (mut round, mut connect) = (Round::default(), connect);
        loop {
            let reached = self.reach(connect.clone()).await?;
            round.tries(&*reached.1);
            match self.attach(reached, dock, ticket, standing).await {
                Err(error) if round.goes_on_after(&error) => connect = connect.of_another_wire(),
                welcomed => return welcomed,
            }
        }
    }

    /// As `dial_again`, on a wire that is there.
    pub(super) async fn attach(
        &self,
        (auth, connection): Reached,
        dock: &Dock,
        ticket: &Ticket,
        standing: &watch::Receiver<Standing>,
    ) -> Result<Welcomed, ConnectError> {
        let (trial, mailbox) = (Trial::of(&*connection), &dock.core().mailbox);
        if let Err(error) = self.may_go_on(&*connection, dock) {
            trial.blame();
            return Err(error);
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
            trial.forgive();
            return Err(ConnectError::AuthTooLarge { bytes, max });
        }
        leave(dock, standing.clone()).await;
        attach.position = mailbox.position();
        attach.trimmed = mailbox.trimmed(0).map_or(0, |(_, to, _)| to);
        let welcomed = self.open(connection, trial, auth, Some(attach), false).await?;
        let fits = match welcomed.welcome.outcome {
            Outcome::New => Ok(()),
            _ if welcomed.welcome.session == ticket.session => {
                mailbox.check_attach(welcomed.welcome.position)
            }
            _ => Err(ProtocolError::Unexpected { packet: "welcome" }),
        };
        match fits {
            Err(error) if welcomed.trial.is_of_several() => {
                // The other wires may lead to a server that knows better. Without a word, which
                // would end the session there.
                welcomed.trial.blame();
                Err(ConnectError::Ended { reason: DisconnectReason::Protocol(error) })
            }
            // If it does not fit and there is no other wire, the session ends for it.
            _ => Ok(welcomed),
        }
    }

    /// Whether the session may go on on this connection.
    pub(super) fn may_go_on(
        &self,
        connection: &dyn Connection,
        dock: &Dock,
    ) -> Result<(), ConnectError> {
        if !dock.may_go_on(connection.capabilities(), &self.config) {
            // The token of a session that began in secret is not to be seen.
            return Err(ConnectError::PlainWire);
        }
        let speaks_it = connection.codec().name() == dock.core().mailbox.codec().name();
        // The only wire that there is may bring a new session at least.
        match speaks_it || connection.choice().is_none() {
            true => Ok(()),
            false => Err(ConnectError::NotResumable),
        }
    }

    /// Whether the token of an earlier process, which is to be shown, must not be on this wire.
    fn would_be_seen(&self, wire: Capabilities) -> bool {
        let old = lock(&self.resume_with);
        let is_secret = old.as_ref().is_some_and(|token| token.began_encrypted);
        is_secret && !wire.encrypted && !self.config.resume_on_plain
    }

    /// What to say to get the session of an earlier process of this client, if it has left a token
    /// that is good here.
    fn attach_of_old(&self, wire: Capabilities, auth: &Payload) -> Option<Attach> {
        let token = lock(&self.resume_with).clone()?;
        if self.would_be_seen(wire)
            || token.namespaces != self.reception.fingerprint()
            || !self.is_resumable()
        {
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
            trial.forgive();
            return Err(ConnectError::AuthTooLarge { bytes: auth.len(), max });
        }
        // A session without a past confirms nothing.
        if let Err(error) = driver.begin_with(link, welcome.outcome) {
            trial.blame();
            return Err(ConnectError::Ended { reason: DisconnectReason::Protocol(error) });
        }
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
        trial: Trial,
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
        let (may_be_old, config) = (attach.is_some(), &self.config);
        let patience = match trial.is_of_several() {
            true => config.handshake_timeout.min(MOVE_PATIENCE),
            false => config.handshake_timeout,
        };
        let endpoint = connection.peer();
        let opened = handshake::open(connection, config, patience, hello, attach).await;
        let (link, welcome) = match opened {
            Ok(opened) => opened,
            Err((reason, failure)) => {
                let error = match failure {
                    Some(source) => {
                        let endpoint = endpoint.endpoint().to_owned();
                        ConnectError::Handshake { endpoint, source }
                    }
                    None => ConnectError::Ended { reason },
                };
                match is_of_wire(&error) {
                    true => trial.blame(),
                    false => trial.forgive(),
                }
                return Err(error);
            }
        };
        if !may_be_old && welcome.outcome != Outcome::New {
            let error = ProtocolError::Unexpected { packet: "welcome" };
            let reason = DisconnectReason::Protocol(error);
            trial.blame();
            tokio::spawn(link.refuse(handshake::goodbye(&reason), self.config.close_timeout));
            return Err(ConnectError::Ended { reason });
        }
        let is_old = restarted && welcome.outcome != Outcome::New;
        let old = lock(&self.resume_with).as_ref().is_some_and(|token| token.began_encrypted);
        let began_encrypted = if is_old { old } else { is_encrypted };
        Ok(Welcomed { link, welcome, trial, auth, began_encrypted })
    }
}

/// Gives up the link that there is; returns when nothing more is read on it.
async fn leave(dock: &Dock, mut standing: watch::Receiver<Standing>) {
    if dock.call(Call::Leave).is_ok() {
        // The driver may have ended, and this with it.
        let _ = standing.wait_for(|standing| standing.detached.is_some()).await;
    }
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
