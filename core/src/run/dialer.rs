//! How a client comes by a link, and by a session.

use super::dock::Dock;
use super::driver::{Birth, Driver, Standing};
use super::link::Link;
use super::reception::Reception;
use super::session::Supervised;
use super::sockets::Role;
use super::{Config, handshake};
use crate::handler::BoxError;
use crate::protocol::{
    Attach, DisconnectReason, Encoded, Hello, Packet, Payload, SessionId, Welcome,
};
use crate::room::{Counters, FRAME_BYTES_MIN};
use crate::socket::Producer;
use crate::transport::{ConnectError, Connection, Transport};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

type Asked = Pin<Box<dyn Future<Output = Result<Payload, BoxError>> + Send>>;
pub(super) type Credentials = Arc<dyn Fn() -> Asked + Send + Sync>;

/// Makes links, and sessions on them.
pub(super) struct Dialer {
    /// Where it comes back to.
    pub(super) transport: Mutex<Arc<dyn Transport>>,
    pub(super) config: Arc<Config>,
    pub(super) counters: Arc<Counters>,
    pub(super) producer: Arc<Producer>,
    pub(super) reception: Arc<Reception>,
    pub(super) credentials: Option<Credentials>,
    pub(super) reconnects: bool,
    /// Repeated until a welcome is heard, so that one that was lost leaves no second session.
    pub(super) nonce: u128,
}

/// A session that has just begun.
pub(super) struct Fresh {
    pub(super) driver: Box<Driver>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) ticket: Option<Ticket>,
}

/// What a client needs to get its session back.
pub(super) struct Ticket {
    session: SessionId,
    token: Bytes,
    /// How long the server keeps it.
    pub(super) window: Duration,
}

/// A link that a server has welcomed.
pub(super) struct Welcomed {
    pub(super) link: Link,
    pub(super) welcome: Welcome,
    auth: Payload,
}

impl Dialer {
    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_transport(&self, transport: Arc<dyn Transport>) {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner) = transport;
    }

    /// A session that has not been before.
    pub(super) async fn dial_fresh(&self) -> Result<Fresh, ConnectError> {
        let auth = self.ask_credentials().await?;
        let connection = self.connect(&*self.transport()).await?;
        let welcomed = self.open(connection, auth, None).await?;
        self.begin(welcomed)
    }

    /// A link for the session of this ticket, or for a new one, if the server says so. `leave` is
    /// called when the wire is there, and returns when nothing more is read on the link before.
    pub(super) async fn dial_again(
        &self,
        transport: &dyn Transport,
        dock: &Dock,
        ticket: &Ticket,
        leave: impl AsyncFnOnce(),
    ) -> Result<Welcomed, ConnectError> {
        let auth = self.ask_credentials().await?;
        let connection = self.connect(transport).await?;
        let wire = connection.capabilities();
        if !dock.may_go_on(wire, &self.config) {
            // The token of a session that began in secret is not to be seen.
            return self.open(connection, auth, None).await;
        }
        leave().await;
        let mailbox = &dock.core().mailbox;
        let asked = self.reception.asked();
        let attach = Attach {
            session: ticket.session,
            token: ticket.token.clone(),
            position: mailbox.position(),
            trimmed: mailbox.trimmed(0).map_or(0, |(_, to, _)| to),
            namespaces: asked.into_iter().map(|number| (number, auth.clone())).collect(),
        };
        self.open(connection, auth, Some(attach)).await
    }

    /// Begins a session on a link that a server has welcomed as new.
    pub(super) fn begin(&self, welcomed: Welcomed) -> Result<Fresh, ConnectError> {
        let Welcomed { link, welcome, auth } = welcomed;
        let mut ours = self.config.limits();
        ours.event_bytes_max = ours.event_bytes_max.min(welcome.limits.event_bytes_max);
        let ticket = Ticket::of(&welcome, &self.config);
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
        );
        let max = driver.core().event_bytes_max;
        if auth.len() > max {
            return Err(ConnectError::AuthTooLarge { bytes: auth.len(), max });
        }
        // A session without a past confirms nothing.
        let begun = driver.begin_with(link);
        begun.map_err(|error| ConnectError::Ended { reason: DisconnectReason::Protocol(error) })?;
        driver.ask_for_namespaces(&auth);
        let standing = driver.standing();
        Ok(Fresh { driver, standing, ticket })
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

    async fn ask_credentials(&self) -> Result<Payload, ConnectError> {
        match &self.credentials {
            Some(ask) => ask().await.map_err(|source| ConnectError::Auth { source }),
            None => Ok(Payload::empty()),
        }
    }

    async fn connect(
        &self,
        transport: &dyn Transport,
    ) -> Result<Box<dyn Connection>, ConnectError> {
        let connection = transport.connect().await?;
        let capabilities = connection.capabilities();
        if !capabilities.keeps_everything() {
            return Err(ConnectError::NeedsArq);
        }
        let frame_bytes_max = capabilities.frame_bytes_max;
        if frame_bytes_max < FRAME_BYTES_MIN {
            let needed = FRAME_BYTES_MIN;
            return Err(ConnectError::FrameTooSmall { frame_bytes_max, needed });
        }
        Ok(connection)
    }

    async fn open(
        &self,
        connection: Box<dyn Connection>,
        auth: Payload,
        attach: Option<Attach>,
    ) -> Result<Welcomed, ConnectError> {
        // Larger than what servers take before a session has begun, and it would never be taken.
        let bytes_max = self.config.handshake_bytes_max;
        let attach = attach.filter(|attach| {
            let packet = Packet::Attach(attach.clone());
            Encoded::len(&connection.codec().encode(&packet)) <= bytes_max
        });
        let hello = Hello {
            resumes: attach.is_some(),
            resumable: self.is_resumable(),
            nonce: self.nonce,
            producer: self.producer.id,
            limits: self.config.limits(),
        };
        let opened = handshake::open(connection, &self.config, hello, attach).await;
        let (link, welcome) = opened.map_err(|reason| ConnectError::Ended { reason })?;
        Ok(Welcomed { link, welcome, auth })
    }
}

impl Ticket {
    /// What a welcome gives; nothing when the session ends with its link.
    fn of(welcome: &Welcome, config: &Config) -> Option<Self> {
        let window = welcome.resume_window.min(config.resume_window());
        let is_one = !welcome.token.is_empty() && !window.is_zero();
        is_one.then(|| Self { session: welcome.session, token: welcome.token.clone(), window })
    }

    /// The session was resumed: from now on this is what to show.
    pub(super) fn renew(&mut self, welcome: &Welcome) {
        self.token = welcome.token.clone();
    }
}
