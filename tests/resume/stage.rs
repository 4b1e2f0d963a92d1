//! A server and a client whose link can be broken, each with what it has heard.

use emitwire::testing::within;
use emitwire::{
    Chaos, Client, Config, Data, DisconnectReason, Memory, Namespace, Outcome, Server, Session,
    Socket,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happened at one end, in order.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    /// What was noted since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// A namespace that notes all that happens to its sockets. `n` is a number, and answered with
    /// its double.
    pub(crate) fn keep(&self, path: &str) -> Namespace {
        let notes = || self.clone();
        let (number, begin, end) = (notes(), notes(), notes());
        let (attach, detach) = (notes(), notes());
        Namespace::new(path)
            .on("n", move |Data(value): Data<u64>| {
                number.note(format!("{value}"));
                async move { value * 2 }
            })
            .on_connect(move || {
                begin.note("begins");
                async {}
            })
            .on_detach(move |reason: DisconnectReason| {
                detach.note(format!("detached: {reason}"));
                async {}
            })
            .on_attach(move |outcome: Outcome| {
                attach.note(format!("attached: {outcome:?}"));
                async {}
            })
            .on_disconnect(move |reason: DisconnectReason| {
                end.note(format!("ends: {reason}"));
                async {}
            })
    }
}

/// Two ends and the wire between them.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) session: Session,
    pub(crate) wire: Chaos<Memory>,
    pub(crate) here: Diary,
    pub(crate) there: Diary,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    /// The limits hold for both ends.
    pub(crate) async fn with(config: Config) -> Self {
        let (here, there) = (Diary::default(), Diary::default());
        let server = Server::with_config(config.clone()).mount(there.keep("/")).unwrap();
        let name = fresh_name();
        within(server.listen(Memory::new(&*name))).await.unwrap();
        let wire = Chaos::new(Memory::new(&*name), 7);
        let client = Client::new(wire.clone()).config(config).mount(here.keep("/"));
        let session = within(client.connect()).await.unwrap();
        let stage = Self { server, session, wire, here, there };
        settle().await;
        assert_eq!((stage.here.take(), stage.there.take()), (begins(), begins()));
        stage
    }

    /// The client's socket.
    pub(crate) fn near(&self) -> Socket {
        self.session.of("/").unwrap()
    }

    /// The same socket on the server.
    pub(crate) fn far(&self) -> Socket {
        self.server.socket("/", self.near().id()).unwrap()
    }

    /// Waits until the client has a link again.
    pub(crate) async fn attached(&self) {
        for _ in 0..10_000 {
            if self.session.is_attached() {
                return settle().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came back");
    }
}

fn begins() -> Vec<String> {
    vec!["begins".into()]
}

/// A name in memory that no other test of this process has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("resume-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Lets everything happen that can without time passing, and what is a few milliseconds away.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}
