//! Connecting as a service: what a layer around it is asked for, and what it ends at. When to try
//! again is not decided here: that is `reconnect.rs`.

use crate::room::FRAME_BYTES_MIN;
use crate::socket::BoxError;
use crate::transport::{ConnectError, Connection, Transport};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

/// One attempt to connect: the request of a connector, whose response is a
/// [`Connection`](crate::transport::Connection).
///
/// A layer that is put around connecting by [`Client::connector`](super::Client::connector) may
/// look at it, send it on to another transport, or make several attempts of its clones.
///
/// ```
/// use emitwire_core::run::Connect;
/// use emitwire_core::transport::Memory;
/// use std::sync::Arc;
///
/// let connect = Connect::new(Arc::new(Memory::new("lobby")));
/// assert_eq!((connect.attempt, connect.transport().endpoint()), (0, "mem://lobby".to_owned()));
/// let elsewhere = connect.with_transport(Arc::new(Memory::new("kitchen")));
/// assert_eq!(elsewhere.transport().endpoint(), "mem://kitchen");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Connect {
    /// Its number. Zero for what is made at once: the first connect of a client, a
    /// [`move_to`](super::Session::move_to), a [look](Self::is_look), the way back from one that
    /// brought no session, and going round to the next wire of a [`Race`](super::Race) or
    /// [`Fallback`](super::Fallback) after one that brought none. Else from 1, in a row that
    /// begins when a link is lost, and again when the session is and there is to be a new one. A
    /// link or session that lived for less than five seconds does not end the row before it.
    pub attempt: u32,
    /// How long ago the row began; zero when `attempt` is.
    pub since_loss: Duration,
    /// No earlier than this from now may it be tried: what a draining server has told its client.
    pub wait_at_least: Duration,
    /// Whether this looks for a better wire, while the session lives on another: see
    /// [`Race`](super::Race). Nobody misses it if it fails.
    pub is_look: bool,
    transport: Arc<dyn Transport>,
    begun: Begun,
}

impl Connect {
    /// An attempt to be made at once.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            attempt: 0,
            since_loss: Duration::ZERO,
            wait_at_least: Duration::ZERO,
            is_look: false,
            transport,
            begun: Begun::default(),
        }
    }

    /// What is to be connected.
    #[must_use]
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The same attempt over another transport. The client itself stays where it was: its next
    /// attempt asks for its own transport again.
    #[must_use]
    pub fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// The same attempt, at once, over another wire of its list.
    pub(super) fn of_another_wire(mut self) -> Self {
        (self.attempt, self.since_loss) = (0, Duration::ZERO);
        self.wait_at_least = Duration::ZERO;
        self
    }

    /// Tells, also of clones, when the waiting is over.
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("endpoint", &self.transport.endpoint())
            .field("attempt", &self.attempt)
            .field("since_loss", &self.since_loss)
            .field("wait_at_least", &self.wait_at_least)
            .field("is_look", &self.is_look)
            .finish_non_exhaustive()
    }
}

/// What a layer makes of the services inside it, so that it can stand around connecting. Nobody
/// implements it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand around connecting",
    note = "a connector is a `tower_service::Service<Connect, Response = Box<dyn Connection>>` \
            whose future is `Send`",
    note = "it is `Clone`, `Send` and `Sync`: a stack of layers is cloned for each attempt"
)]
pub trait ConnectorService:
    Service<
        Connect,
        Response = Box<dyn Connection>,
        Error: Into<BoxError> + Send,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

#[diagnostic::do_not_recommend]
impl<S> ConnectorService for S
where
    S: Service<Connect, Response = Box<dyn Connection>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send + 'static,
{
}

/// Connecting, with all layers around it: what a layer is given. Cheap to clone.
pub type Connector = BoxCloneSyncService<Connect, Box<dyn Connection>, BoxError>;

/// The innermost service: connects the transport. Always ready.
#[derive(Clone)]
pub(super) struct Dial;

impl Service<Connect> for Dial {
    type Response = Box<dyn Connection>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connect: Connect) -> Self::Future {
        Box::pin(async move {
            let connection = connect.transport.connect().await?;
            // Here too, so that a layer can go on to a wire that is fit.
            Ok(fit(connection)?)
        })
    }
}

/// The connection, if a session can live on it.
pub(super) fn fit(connection: Box<dyn Connection>) -> Result<Box<dyn Connection>, ConnectError> {
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

/// What the error of a stack is to its client.
pub(super) fn connect_error(error: BoxError) -> ConnectError {
    match error.downcast::<ConnectError>() {
        Ok(error) => *error,
        Err(source) => ConnectError::Layer { source },
    }
}

/// Whether an attempt has begun, for whoever bounds the waiting before it by one deadline and the
/// attempt by another.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<AtomicBool>);

impl Begun {
    /// The waiting is over.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is. It can only become so while the attempt is polled.
    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives an attempt so long, counted from when it begins and not from when it waits to.
    pub(super) async fn timed<T>(
        &self,
        after: Duration,
        attempt: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let (mut attempt, mut late) = (pin!(attempt), pin!(None));
        poll_fn(|cx| {
            if let Poll::Ready(dialed) = attempt.as_mut().poll(cx) {
                return Poll::Ready(dialed);
            }
            if !self.has_begun() {
                return Poll::Pending;
            }
            if late.is_none() {
                late.set(Some(sleep(after)));
            }
            let late = late.as_mut().as_pin_mut();
            let late = late.map_or(Poll::Pending, |late| late.poll(cx));
            late.map(|()| Err(ConnectError::Timeout { after }))
        })
        .await
    }
}
