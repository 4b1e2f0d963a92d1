//! `Fallback`: one wire after the other.

use super::memory::Memory;
use super::wires::{REMEMBER, Wires};
use crate::transport::{BindError, ConnectError, Connection, Listener, Transport};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

/// For how long a wire may connect before it is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// With less, no wire but one in memory is there in time.
const PATIENCE_MIN: Duration = Duration::from_millis(10);

/// A connect that was dropped earlier says nothing of its wire.
const SILENCE: Duration = Duration::from_secs(1);

/// Several wires to one server, of which the next is tried when the one before fails.
///
/// They are tried in order, one at a time: a wire that has failed, or has not connected within its
/// patience, is given up, and the next one begins. So no second wire is bothered as long as the
/// first works; [`Race`](super::Race) loses less time when it does not. A wire on which no session
/// can live counts as one that failed.
///
/// On which one a session lived is remembered for a while, by the clones too: until then the next
/// connect begins with it, and then goes on from the front. A wire that is given up, or that
/// connects and then brings no session, or one that loses it at once or falls silent, is a suspect:
/// it stands behind the others for five minutes.
///
/// While a session lives on a wire that stands behind another, its client tries the better ones in
/// the background and goes over, as with a [`Race`](super::Race); all that is said there of that,
/// of where it may stand and of security holds here.
///
/// ```
/// use emitwire_core::handler::Namespace;
/// use emitwire_core::run::{Client, Fallback, Server};
/// use emitwire_core::transport::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new().mount(Namespace::new("/"))?;
/// server.listen(Memory::new("fallback-second")).await?;
///
/// let wires = Fallback::of([Memory::new("fallback-first"), Memory::new("fallback-second")]);
/// let session = Client::new(wires).mount(Namespace::new("/")).connect().await?;
/// assert_eq!(session.of("/")?.peer().endpoint(), "mem://fallback-second");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Connecting fails with [`ConnectError::AllFailed`], which has each wire's own error; that of one
/// which was given up is [`ConnectError::Timeout`]. All of it has to happen within
/// `Config::connect_timeout`, so that is to be longer than the patience with all but one of them;
/// so is the deadline of a layer around connecting. If it is not, the last get their turn in the
/// attempts that follow.
/// Binding fails with [`BindError::Several`].
///
/// # Cancel safety
/// Dropping the future of a connect leaves no connection behind.
#[derive(Clone, Debug)]
#[must_use = "a transport does nothing until somebody connects it"]
pub struct Fallback {
    wires: Wires,
    patience: Duration,
    remember: Duration,
}

impl Fallback {
    /// Wires of one type, the one you like best first. Without any, connecting fails.
    pub fn of<T: Transport>(transports: impl IntoIterator<Item = T>) -> Self {
        Self { wires: Wires::of(transports), patience: PATIENCE, remember: REMEMBER }
    }

    /// And another wire behind those, of any type.
    pub fn or(mut self, transport: impl Transport) -> Self {
        self.wires.push(transport);
        self
    }

    /// How long each wire may take to connect before it is given up, at least 10 ms. Default: 3 s.
    ///
    /// ```
    /// # use emitwire_core::{run::Fallback, transport::Memory};
    /// # use std::time::Duration;
    /// let wires = Fallback::of([Memory::new("a"), Memory::new("b")]);
    /// let hasty = wires.patience(Duration::from_secs(1));
    /// ```
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.max(PATIENCE_MIN);
        self
    }

    /// For how long after a session lived on it a wire is the one to begin with; never, if this is
    /// zero. It says nothing of suspects. Default: 5 minutes.
    ///
    /// ```
    /// # use emitwire_core::{run::Fallback, transport::Memory};
    /// # use std::time::Duration;
    /// let wires = Fallback::of([Memory::new("a"), Memory::new("b")]);
    /// let strict = wires.remember(Duration::ZERO);
    /// ```
    pub fn remember(mut self, lasts: Duration) -> Self {
        self.remember = lasts;
        self
    }

    /// How long a session lives on a wire that is not the best before the better ones are tried,
    /// at least 1 s: see [`Race::probe_every`](super::Race::probe_every). Default: 60 s.
    pub fn probe_every(mut self, wait: Duration) -> Self {
        self.wires.probe(Some(wait));
        self
    }

    /// A session stays on its wire for as long as that lives.
    pub fn no_probe(mut self) -> Self {
        self.wires.probe(None);
        self
    }
}

/// Waits for a wire to connect. One that gives no answer is a suspect: if all of them together take
/// more time than there is for a connect, the last of them are still to have their turn in the end.
struct Waiting<'a> {
    memory: &'a Memory,
    wire: usize,
    /// Nothing when it is over.
    since: Option<Instant>,
}

impl Waiting<'_> {
    fn over<T>(
        mut self,
        dialed: Result<Result<T, ConnectError>, Elapsed>,
        after: Duration,
    ) -> Result<T, ConnectError> {
        self.since = None;
        dialed.unwrap_or_else(|_| {
            self.memory.failed(self.wire);
            Err(ConnectError::Timeout { after })
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= SILENCE) {
            self.memory.failed(self.wire);
        }
    }
}

#[async_trait]
impl Transport for Fallback {
    fn endpoint(&self) -> String {
        self.wires.endpoints("fallback")
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.wires.no_bind("fallback")
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let mut failures = Vec::new();
        for wire in self.wires.order(self.remember).wires {
            let after = self.patience;
            let waiting =
                Waiting { memory: self.wires.memory(), wire, since: Some(Instant::now()) };
            let dialed = timeout(after, self.wires.dial(wire)).await;
            match waiting.over(dialed, after) {
                Ok(connection) => return Ok(connection),
                Err(error) => failures.push((wire, error)),
            }
        }
        Err(self.wires.all_failed(failures))
    }
}
