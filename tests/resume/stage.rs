//! A server and a client whose link can be broken, each with what it has heard.

use emitwire::testing::within;
use emitwire::{
    Chaos, Client, Config, Data, Direction, DisconnectReason, Memory, Namespace, Outcome, Server,
    Session, Socket,
};
use std::fmt::Debug;
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

    /// The numbers that were heard since the last time, and what was noted besides.
    pub(crate) fn split(&self) -> (Vec<u64>, Vec<String>) {
        let (mut numbers, mut others) = (Vec::new(), Vec::new());
        for note in self.take() {
            match note.parse() {
                Ok(number) => numbers.push(number),
                Err(_) => others.push(note),
            }
        }
        (numbers, others)
    }

    /// How many numbers were heard.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|note| note.parse::<u64>().is_ok()).count()
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
    /// What the server listens on in memory.
    pub(crate) name: String,
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
        Self::with_namespaces(config, |namespace| namespace, |namespace| namespace).await
    }

    /// With something added to the namespace of either end, the client's first.
    pub(crate) async fn with_namespaces(
        config: Config,
        near: impl FnOnce(Namespace) -> Namespace,
        far: impl FnOnce(Namespace) -> Namespace,
    ) -> Self {
        let (here, there) = (Diary::default(), Diary::default());
        let server = Server::with_config(config.clone()).mount(far(there.keep("/"))).unwrap();
        let name = fresh_name();
        within(server.listen(Memory::new(&*name))).await.unwrap();
        let wire = Chaos::new(Memory::new(&*name), 7);
        let client = Client::new(wire.clone()).config(config).mount(near(here.keep("/")));
        let session = within(client.connect()).await.unwrap();
        let stage = Self { server, session, name, wire, here, there };
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

    /// Breaks the link, lets none be made, and waits until both ends know.
    pub(crate) async fn cut(&self) {
        self.wire.sever();
        self.wire.cut(Direction::Both);
        becomes(|| self.session.is_attached(), false).await;
        becomes(|| self.server.stats().detached, 1).await;
    }

    /// Lets links be made, and waits until the client has one.
    pub(crate) async fn attached(&self) {
        self.wire.heal(Direction::Both);
        becomes(|| self.session.is_attached(), true).await;
        settle().await;
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

/// Lets everything happen that can without time passing, and what is a few milliseconds away: a
/// position that was asked for takes 25.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

/// Waits until `what` is as wanted, for a minute of its clock.
#[track_caller]
pub(crate) fn becomes<T: PartialEq + Debug>(
    mut what: impl FnMut() -> T,
    wanted: T,
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..60_000 {
            if what() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("still {:?} instead of {wanted:?} at {place}", what());
    }
}
