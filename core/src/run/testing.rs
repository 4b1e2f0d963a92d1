//! For tests of applications: clients in one line that note all they hear, and waits that end.
//!
//! A test that waits for what never comes fails after [`DEADLINE`], with a sentence and the line
//! that waited. With the clock of a test paused (`tokio::time::pause`) that costs no time.
//!
//! ```
//! # use emitwire_core::handler::{Data, Namespace};
//! # use emitwire_core::run::{Server, testing};
//! # use emitwire_core::socket::{EmitError, Socket};
//!
//! async fn say(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
//!     socket.broadcast().emit("said", &text).await?;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new().mount(Namespace::new("/chat").on("say", say))?;
//! let mut ada = testing::connect(&server, "/chat").await;
//! let mut bob = testing::connect(&server, "/chat").await;
//!
//! ada.emit("say", "hello").ack::<()>().await?;
//! assert_eq!(bob.expect::<String>("said").await, "hello");
//! assert_eq!(ada.heard().await.len(), 0, "nobody hears the own words");
//! # Ok(())
//! # }
//! ```

#[doc(hidden)] // for the engine's own simulation: an application has no use for known tokens
pub use super::random::{Seeded, seeded};

use super::{Client, Server, Session};
use crate::handler::Namespace;
use crate::protocol::{Event, Nak, ToPayload};
use crate::socket::Socket;
use crate::transport::{ConnectError, Memory};
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture, ready};
use std::ops::Deref;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long any single wait may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What follows all that was said to a guest so far. No application has an event of that name.
const FENCE: &str = "emitwire.testing.fence";

/// Awaits with a deadline.
///
/// # Panics
/// When the deadline passes; it says where.
#[track_caller]
pub fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future.into_future()).await {
            Ok(output) => output,
            Err(_) => panic!("nothing within {DEADLINE:?}, awaited at {place}"),
        }
    }
}

/// Connects a guest to a namespace of this server, in memory, and waits until `on_connect` has
/// returned there.
///
/// # Panics
/// When the namespace refuses, or is not there.
#[track_caller]
pub fn connect(server: &Server, path: &str) -> impl Future<Output = Guest> {
    let place = Location::caller();
    let connecting = try_connect(server, path, &());
    async move {
        match connecting.await {
            Ok(guest) => guest,
            Err(error) => panic!("{error}, connected at {place}"),
        }
    }
}

/// As [`connect`], without waiting for `on_connect`: for one that itself awaits its client.
///
/// # Panics
/// When the namespace refuses, or is not there.
#[track_caller]
pub fn connect_early(server: &Server, path: &str) -> impl Future<Output = Guest> {
    let place = Location::caller();
    let connecting = come_in(server, path, &());
    async move {
        match connecting.await {
            Ok(guest) => guest,
            Err(error) => panic!("{error}, connected at {place}"),
        }
    }
}

/// As [`connect`], with something to show to `authorize`.
///
/// # Errors
/// As [`Client::connect`].
pub async fn try_connect<A: ToPayload + ?Sized>(
    server: &Server,
    path: &str,
    auth: &A,
) -> Result<Guest, ConnectError> {
    let guest = come_in(server, path, auth).await?;
    if let Some(served) = server.socket(path, guest.id()) {
        served.begun().await;
    }
    Ok(guest)
}

fn come_in<A: ToPayload + ?Sized>(
    server: &Server,
    path: &str,
    auth: &A,
) -> impl Future<Output = Result<Guest, ConnectError>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("emitwire.testing.{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (hears, heard) = mpsc::unbounded_channel();
    let (ends, ended) = watch::channel(false);
    let namespace = Namespace::new(path)
        .on_any(move |event: Event| ready(hears.send(event).map_err(|_| Nak::Closed)))
        .fallback(|| async {})
        .on_disconnect(move || {
            ends.send_replace(true);
            ready(())
        });
    let client = Client::new(Memory::new(&*name)).auth(auth).mount(namespace).reconnect(false);
    let (server, path) = (server.clone(), path.to_owned());
    async move {
        let listening = server.listen(Memory::new(&*name)).await.expect("the name is new");
        let connected = client.connect().await;
        listening.close().await;
        let session = connected?;
        let socket = session.of(&path).map_err(|_| ConnectError::Timeout { after: DEADLINE })?;
        Ok(Guest { server, path, session, socket, heard, ended })
    }
}

/// A client for tests: a [`Socket`], and what it has heard, in order. It answers every event with
/// an empty ack, unless a listener that the test adds by [`Socket::on`] does better.
#[must_use = "a guest who is dropped says goodbye"]
#[derive(Debug)]
pub struct Guest {
    server: Server,
    path: String,
    session: Session,
    socket: Socket,
    heard: mpsc::UnboundedReceiver<Event>,
    /// Its last event has been handled.
    ended: watch::Receiver<bool>,
}

impl Guest {
    /// The session that the socket belongs to.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The next event, whatever it is.
    ///
    /// # Panics
    /// When there is none in time, or the socket has ended.
    #[track_caller]
    pub fn next_event(&mut self) -> impl Future<Output = Event> {
        self.hear(Location::caller())
    }

    /// The next event, which has to be of this name and with a `T`.
    ///
    /// # Panics
    /// When there is none in time, or another.
    #[track_caller]
    pub fn expect<T: DeserializeOwned>(&mut self, name: &str) -> impl Future<Output = T> {
        let place = Location::caller();
        async move {
            let event = self.hear(place).await;
            assert!(event.name == *name, "heard `{}` instead of `{name}`, {place}", event.name);
            match event.payload.decode() {
                Ok(value) => value,
                Err(error) => panic!("`{name}` came with something else: {error:?}, {place}"),
            }
        }
    }

    /// The next events have to be of these names, in this order.
    ///
    /// # Panics
    /// When one is not, or does not come in time.
    #[track_caller]
    pub fn expect_in_order(&mut self, names: &[&str]) -> impl Future<Output = Vec<Event>> {
        let place = Location::caller();
        async move {
            let mut events = Vec::new();
            for name in names {
                let event = self.hear(place).await;
                let so_far: Vec<_> = events.iter().map(|event: &Event| &*event.name).collect();
                let is_it = event.name == **name;
                assert!(is_it, "heard `{}` behind {so_far:?}, not `{name}`, {place}", event.name);
                events.push(event);
            }
            events
        }
    }

    /// The next event of this name that has come or will come, passing over others.
    ///
    /// # Panics
    /// When there is none in time.
    #[track_caller]
    pub fn skip_to<T: DeserializeOwned>(&mut self, name: &str) -> impl Future<Output = T> {
        let place = Location::caller();
        async move {
            loop {
                let event = self.hear(place).await;
                if event.name == *name {
                    let value = event.payload.decode();
                    return value.unwrap_or_else(|error| panic!("`{name}`: {error:?}, {place}"));
                }
            }
        }
    }

    /// Everything that its server had said to it before this was called and that was not looked at
    /// yet, in order, also when its socket has ended since; volatile events may come later.
    #[track_caller]
    pub fn heard(&mut self) -> impl Future<Output = Vec<Event>> {
        let place = Location::caller();
        async move {
            let fence = self.server.of(&self.path).to(self.socket.id()).emit(FENCE, &()).await;
            let mut events = Vec::new();
            if !matches!(fence, Ok(fanout) if fanout.accepted == 1) {
                // Its last hook runs behind all that was said to it.
                let _ = within(self.ended.wait_for(|ended| *ended)).await;
                while let Ok(event) = self.heard.try_recv() {
                    events.push(event);
                }
                return events;
            }
            loop {
                match tokio::time::timeout(DEADLINE, self.heard.recv()).await {
                    Ok(Some(event)) if event.name == FENCE => return events,
                    Ok(Some(event)) => events.push(event),
                    _ => panic!("the socket ended meanwhile, {place}"),
                }
            }
        }
    }

    async fn hear(&mut self, place: &Location<'_>) -> Event {
        loop {
            match tokio::time::timeout(DEADLINE, self.heard.recv()).await {
                Ok(Some(event)) if event.name == FENCE => {}
                Ok(Some(event)) => return event,
                Ok(None) => panic!("the socket has ended, awaited at {place}"),
                Err(_) => panic!("heard nothing within {DEADLINE:?}, awaited at {place}"),
            }
        }
    }
}

impl Deref for Guest {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}
