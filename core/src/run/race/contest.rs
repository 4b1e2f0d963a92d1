//! `Race`: all wires, each with a head start before the next. The first that is there is taken.

use super::memory::Order;
use super::near::is_near;
use super::wires::{Dialing, REMEMBER, Wires};
use crate::transport::{BindError, ConnectError, Connection, Listener, Transport};
use async_trait::async_trait;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The head start of a wire before the next, as RFC 8305 §5 recommends.
const STAGGER: Duration = Duration::from_millis(250);

/// The same for one whose answer takes no time to travel.
const STAGGER_NEAR: Duration = Duration::from_millis(30);

/// RFC 8305 §5 allows no less.
const STAGGER_MIN: Duration = Duration::from_millis(10);

/// The same before the first suspect. One that swallows what follows may be the fastest to connect,
/// and is not to win for that.
const STAGGER_SUSPECT: Duration = Duration::from_secs(3);

/// Several wires to one server, of which the fastest to be there is taken.
///
/// Connecting begins the first, and each next one when the one before has had its head start, or
/// at once when all that were begun have failed. The first connection that is there wins; the
/// others are dropped. This happens beneath the session, so only the winner is ever attached to
/// it. A wire on which no session can live counts as one that failed.
///
/// The order is that in which you like them. For five minutes after a session lived on a wire the
/// next connect begins with that, also one of a clone. A wire that connects and then brings no
/// session, or one that loses it at once or falls silent, is a suspect: for five minutes it stands
/// behind the others, which have a head start of three seconds before it.
///
/// One attempt of a client goes round the wires: after one that was there and brought no session,
/// not within five seconds either, it takes the next. That a server of one wire breaks the protocol
/// or is of another version is not the last word of all of them.
///
/// While a session lives on a wire that stands behind another, its client looks for the better
/// ones in the background, and when one is there the session goes over to it: of what is reliable
/// nothing is lost, doubled or out of order; what is volatile is dropped in the gap, and
/// `on_detach` and `on_attach` run. A look in vain changes nothing; if a wire connects and the
/// session cannot go on there, it comes back to where it was after at most five seconds, or half
/// of what the server gives it. Each look is an attempt like any other, with
/// [`Connect::is_look`](super::super::Connect::is_look): credentials are asked for and shown, and
/// the layers of [`Client::connector`](super::super::Client::connector) stand around it. One that
/// leads it to another transport ends the looking, and so does one that wraps the connection and
/// does not pass on its [`choice`](Connection::choice). With credentials that are good only once
/// use [`Client::auth_with`](super::super::Client::auth_with), or [`Race::no_probe`].
///
/// It is a transport, so it goes wherever one does: into
/// [`Client::new`](super::super::Client::new), into
/// [`Connect::with_transport`](super::super::Connect::with_transport) of a layer, and into another
/// `Race` or [`Fallback`](super::Fallback). A server listens on each wire by itself.
///
/// ```
/// use emitwire_core::handler::Namespace;
/// use emitwire_core::run::{Client, Race, Server};
/// use emitwire_core::transport::{Chaos, Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new().mount(Namespace::new("/"))?;
/// server.listen(Memory::new("race-slow")).await?;
///
/// // Nobody is behind the first, so the second is begun at once.
/// let wires = Race::of([Memory::new("race-closed"), Memory::new("race-slow")])
///     .or(Chaos::new(Memory::new("race-spare"), 7));
/// let session = Client::new(wires).mount(Namespace::new("/")).connect().await?;
/// assert_eq!(session.of("/")?.peer().endpoint(), "mem://race-slow");
/// # Ok(())
/// # }
/// ```
///
/// # Security
/// Whoever sits on the way and lets nothing through but the weakest of the wires decides that a new
/// session begins on it. So list none in the clear where the others are encrypted, unless that is
/// good enough.
///
/// An encrypted wire is not always one whose end is known. What stays in one machine counts as
/// encrypted, but a Unix socket is whoever made the file, and it is shown the session's token and
/// the credentials. Beside wires whose server has a certificate say which user that has to be
/// (`Unix::only_user`, `Unix::same_user`), unless nobody else can write to the folder of the file.
///
/// # Errors
/// Connecting fails with [`ConnectError::AllFailed`], which has each wire's own error. All of it
/// has to happen within `Config::connect_timeout`. Binding fails with [`BindError::Several`].
///
/// # Cancel safety
/// Dropping the future of a connect drops all that was begun, and leaves no connection behind.
///
/// Source: RFC 8305, *Happy Eyeballs Version 2*, 2017, for wires instead of addresses.
#[derive(Clone, Debug)]
#[must_use = "a transport does nothing until somebody connects it"]
pub struct Race {
    wires: Wires,
    stagger: Option<Duration>,
}

impl Race {
    /// A race of wires of one type, the one you like best first. Without any, connecting fails.
    pub fn of<T: Transport>(transports: impl IntoIterator<Item = T>) -> Self {
        Self { wires: Wires::of(transports), stagger: None }
    }

    /// And another wire behind those, of any type.
    pub fn or(mut self, transport: impl Transport) -> Self {
        self.wires.push(transport);
        self
    }

    /// The head start of each wire before the next, at least 10 ms. Default: 250 ms; 30 ms for one
    /// whose endpoint has no network (`mem`, `unix`), or whose host is `localhost` or an address
    /// that is private, link-local or of the machine itself.
    ///
    /// ```
    /// # use emitwire_core::{run::Race, transport::Memory};
    /// # use std::time::Duration;
    /// let wires = Race::of([Memory::new("a"), Memory::new("b")]);
    /// let patient = wires.stagger(Duration::from_secs(1));
    /// ```
    pub fn stagger(mut self, head_start: Duration) -> Self {
        self.stagger = Some(head_start.max(STAGGER_MIN));
        self
    }

    /// About how long a session lives on a wire that is not the best before the better ones are
    /// looked for, at least 1 s. While that is in vain the wait doubles, up to ten minutes; it is
    /// as long from the start after a better one has not kept the session. Each wait is between
    /// half of that and half as much again, by chance, so that clients do not look all at once.
    /// Default: 60 s.
    ///
    /// ```
    /// # use emitwire_core::{run::Race, transport::Memory};
    /// # use std::time::Duration;
    /// let wires = Race::of([Memory::new("a"), Memory::new("b")]);
    /// let eager = wires.probe_every(Duration::from_secs(10));
    /// ```
    pub fn probe_every(mut self, wait: Duration) -> Self {
        self.wires.probe(Some(wait));
        self
    }

    /// A session stays on its wire for as long as that lives.
    ///
    /// ```
    /// # use emitwire_core::{run::Race, transport::Memory};
    /// let settled = Race::of([Memory::new("a"), Memory::new("b")]).no_probe();
    /// ```
    pub fn no_probe(mut self) -> Self {
        self.wires.probe(None);
        self
    }

    fn head_start(&self, wire: usize) -> Duration {
        self.stagger.unwrap_or_else(|| match is_near(&self.wires.endpoint(wire)) {
            true => STAGGER_NEAR,
            false => STAGGER,
        })
    }
}

/// The wires of one connect.
struct Contest<'a> {
    race: &'a Race,
    waiting: std::vec::IntoIter<usize>,
    /// So many of them, at the end, are suspects.
    suspects: usize,
    running: Vec<(usize, Dialing<'a>)>,
    failures: Vec<(usize, ConnectError)>,
}

impl<'a> Contest<'a> {
    fn of(race: &'a Race) -> Self {
        let Order { wires, suspects } = race.wires.order(REMEMBER);
        let (running, failures) = (Vec::new(), Vec::new());
        Self { race, waiting: wires.into_iter(), suspects, running, failures }
    }

    async fn run(mut self) -> Result<Box<dyn Connection>, ConnectError> {
        let mut head_start = pin!(sleep(Duration::ZERO));
        let won = poll_fn(|cx| {
            loop {
                if let Some(won) = self.poll_running(cx) {
                    return Poll::Ready(Some(won));
                }
                let all_have_failed = self.running.is_empty();
                if self.waiting.as_slice().is_empty() {
                    return if all_have_failed { Poll::Ready(None) } else { Poll::Pending };
                }
                if !all_have_failed && head_start.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if let Some(begun) = self.begin_next() {
                    head_start.as_mut().reset(Instant::now() + begun);
                }
            }
        });
        let won = won.await;
        won.ok_or_else(|| self.race.wires.all_failed(self.failures))
    }

    /// Begins another one; says how long its head start is.
    fn begin_next(&mut self) -> Option<Duration> {
        let wire = self.waiting.next()?;
        self.running.push((wire, self.race.wires.dial(wire)));
        let head_start = self.race.head_start(wire);
        Some(match self.waiting.as_slice().len() == self.suspects {
            true => head_start.max(STAGGER_SUSPECT),
            false => head_start,
        })
    }

    /// The first that is there; notes those that have failed.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<Box<dyn Connection>> {
        let mut at = 0;
        while let Some((_, dialing)) = self.running.get_mut(at) {
            match dialing.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(connection)) => return Some(connection),
                Poll::Ready(Err(error)) => {
                    let (wire, _) = self.running.remove(at);
                    self.failures.push((wire, error));
                }
            }
        }
        None
    }
}

#[async_trait]
impl Transport for Race {
    fn endpoint(&self) -> String {
        self.wires.endpoints("race")
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.wires.no_bind("race")
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(Contest::of(self).run().await?)
    }
}
