//! A guest: a client that writes into the ledger whatever it hears.

use crate::kitchen::{Card, KITCHEN, Line};
use crate::ledger::Ledger;
use emitwire::{
    BoxError, Client, Config, Data, DisconnectReason, Endpoint, Namespace, NamespaceError, Outcome,
    Session, Socket,
};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// No wait of this program is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The default limits, but for the waits.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.emit_wait_max = PATIENCE;
    config.ack_timeout = PATIENCE;
    config.connect_timeout = PATIENCE;
    config.drain_timeout = PATIENCE;
    config
}

/// Who comes by which wire, and where the server is found on it.
pub(crate) struct Invitation {
    pub(crate) name: &'static str,
    pub(crate) hello: &'static str,
    pub(crate) wire: &'static str,
    pub(crate) door: Endpoint,
}

/// Two ledgers for all guests: of the events that they heard, and of their hooks.
#[derive(Clone, Default)]
pub(crate) struct Books {
    pub(crate) events: Arc<Ledger>,
    pub(crate) hooks: Arc<Ledger>,
}

pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) wire: &'static str,
    pub(crate) session: Session,
    namespace: Namespace,
    books: Books,
}

impl Guest {
    /// Connects, with listeners for these events. The URL is all that tells one wire from another.
    pub(crate) async fn arrive(
        Invitation { name, hello, wire, door }: Invitation,
        events: &[&'static str],
        books: &Books,
    ) -> Result<Self, BoxError> {
        let mut namespace = with_hooks(Namespace::new(KITCHEN), name, books);
        for event in events {
            namespace = with_listener(namespace, name, event, books);
        }
        let session = Client::new(door)
            .config(config())
            .auth(&Card::new(name, "please", hello)) // shown at each connect, also to come back
            .mount(namespace.clone())
            .connect()
            .await?;
        Ok(Self { name, wire, session, namespace, books: books.clone() })
    }

    /// The guest's socket. It stays the same over all links of the session.
    pub(crate) fn socket(&self) -> Result<Socket, NamespaceError> {
        self.session.of(KITCHEN)
    }

    /// Adds a listener while connected: a namespace is a handle, and its clones share everything.
    pub(crate) fn listen(&self, event: &'static str) {
        let _same = with_listener(self.namespace.clone(), self.name, event, &self.books);
    }

    /// Counts events of this name; as long as `eyes` are closed, the first keeps it busy.
    pub(crate) fn count(&self, event: &str, eyes: watch::Receiver<bool>) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let _same = self.namespace.clone().on(event, move |Data(_): Data<usize>| {
            seen.fetch_add(1, Ordering::Relaxed);
            let mut eyes = eyes.clone();
            async move {
                if !*eyes.borrow() {
                    let _ = tokio::time::timeout(PATIENCE, eyes.wait_for(|open| *open)).await;
                }
            }
        });
        count
    }

    pub(crate) fn line(&self, text: impl ToString) -> Line {
        Line { from: self.name.to_owned(), text: text.to_string() }
    }
}

/// Hooks of the client's own: they run when its socket begins, when it has ended, and when its link
/// goes or another one comes in between.
fn with_hooks(namespace: Namespace, name: &'static str, books: &Books) -> Namespace {
    let (connects, disconnects) = (Arc::clone(&books.hooks), Arc::clone(&books.hooks));
    let (attaches, detaches) = (Arc::clone(&books.hooks), Arc::clone(&books.hooks));
    namespace
        .on_detach(move |reason: DisconnectReason| {
            detaches.receive(name, "on_detach", "", &reason.to_string());
            ready(())
        })
        .on_attach(move |outcome: Outcome| {
            attaches.receive(name, "on_attach", "", &format!("{outcome:?}"));
            ready(())
        })
        .on_connect(move || {
            connects.receive(name, "on_connect", "", "");
            ready(())
        })
        .on_disconnect(move |reason: DisconnectReason| {
            disconnects.receive(name, "on_disconnect", "", &reason.to_string());
            ready(())
        })
}

/// A listener is a function whose arguments say what it wants of the event.
fn with_listener(
    namespace: Namespace,
    name: &'static str,
    event: &'static str,
    books: &Books,
) -> Namespace {
    let events = Arc::clone(&books.events);
    namespace.on(event, move |Data(line): Data<Line>| {
        events.receive(name, event, &line.from, &line.text);
        ready(())
    })
}
