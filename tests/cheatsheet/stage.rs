//! A server on one wire, whoever has come, and what each of them hears.

use crate::support::{endpoint, fresh, listen, wires, within};
use emitwire::{
    Broadcast, Client, Config, Event, Namespace, Server, Session, Socket, SocketId, Unhandled,
};
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

/// What follows all that was said before: who has answered it has heard that too.
const FENCE: &str = "fence";

/// Runs a test over one wire after another; one that fails says over which.
pub(crate) async fn on_each_wire(test: impl AsyncFn(Wire)) {
    for wire in wires().into_iter().map(Wire) {
        let _failing = Failing(wire);
        test(wire).await;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Wire(&'static str);

struct Failing(Wire);

impl Drop for Failing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this failed over {}://", self.0.0);
        }
    }
}

/// What one side heard, and which socket brought it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(SocketId, String)>>>);

impl Log {
    /// A listener that notes every event, the text that it says behind its name.
    fn ear(&self) -> impl Fn(Socket, Event) -> Ready<()> + Clone + Send + Sync + 'static {
        let log = self.clone();
        move |socket: Socket, event: Event| {
            if event.name != FENCE {
                let text = event.payload.decode::<String>();
                let noted =
                    text.map_or(event.name.to_string(), |text| format!("{} {text}", event.name));
                log.0.lock().unwrap().push((socket.id(), noted));
            }
            ready(())
        }
    }

    fn take(&self, socket: &Socket) -> Vec<String> {
        let mut log = self.0.lock().unwrap();
        let (taken, left) = log.drain(..).partition(|(id, _)| *id == socket.id());
        *log = left;
        let taken: Vec<(SocketId, String)> = taken;
        taken.into_iter().map(|(_, noted)| noted).collect()
    }
}

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) url: String,
    at_server: Log,
    at_clients: Log,
}

/// Somebody who has come.
pub(crate) struct Member {
    /// The socket as the server holds it.
    pub(crate) here: Socket,
    /// The same as the client holds it.
    pub(crate) there: Socket,
    pub(crate) session: Session,
}

impl Stage {
    /// A server of one namespace, and some members.
    pub(crate) async fn new<const N: usize>(wire: Wire) -> (Self, [Member; N]) {
        let stage = Self::with(wire, Config::default(), [quiet("/")]).await;
        let members = stage.enter_all(quiet_root).await;
        (stage, members)
    }

    pub(crate) async fn with<const N: usize>(
        wire: Wire,
        config: Config,
        namespaces: [Namespace; N],
    ) -> Self {
        Self::on(wire, Server::with_config(config), namespaces).await
    }

    /// The namespaces are told nothing new, but every event is noted and fences are answered.
    pub(crate) async fn on<const N: usize>(
        wire: Wire,
        mut server: Server,
        namespaces: [Namespace; N],
    ) -> Self {
        let (at_server, at_clients) = (Log::default(), Log::default());
        for namespace in namespaces {
            let namespace = namespace.on_any(at_server.ear()).on(FENCE, || async {});
            server = server.mount(namespace).unwrap();
        }
        let url = listen(&server, &fresh(wire.0)).await.endpoint().to_owned();
        Self { server, url, at_server, at_clients }
    }

    /// Somebody comes to the main namespace.
    pub(crate) async fn enter(&self) -> Member {
        self.enter_as(quiet_root()).await
    }

    /// Somebody comes who listens as this namespace does.
    pub(crate) async fn enter_as(&self, namespace: Namespace) -> Member {
        let path = namespace.path().to_owned();
        let namespace = namespace.on_any(self.at_clients.ear()).on(FENCE, || async {});
        let client = Client::new(endpoint(&self.url)).reconnect(false).mount(namespace);
        let session = within(client.connect()).await.unwrap();
        let there = session.of(&path).unwrap();
        let here = self.server.socket(&path, there.id()).unwrap();
        Member { here, there, session }
    }

    pub(crate) async fn enter_all<const N: usize>(
        &self,
        namespace: impl Fn() -> Namespace,
    ) -> [Member; N] {
        let mut members = Vec::new();
        for _ in 0..N {
            members.push(self.enter_as(namespace()).await);
        }
        members.try_into().unwrap_or_else(|_| unreachable!("there are N"))
    }

    /// Everyone in the main namespace.
    pub(crate) fn everyone(&self) -> Broadcast {
        self.server.of("/")
    }

    /// What the server has said to this member since the last look.
    pub(crate) async fn heard(&self, member: &Member) -> Vec<String> {
        within(member.here.emit(FENCE, &()).ack::<()>()).await.unwrap();
        self.at_clients.take(&member.there)
    }

    /// What a member whose socket has ended had heard since the last look.
    pub(crate) fn heard_before_its_end(&self, member: &Member) -> Vec<String> {
        self.at_clients.take(&member.there)
    }

    /// What this member has said to the server since the last look.
    pub(crate) async fn heard_from(&self, member: &Member) -> Vec<String> {
        within(member.there.emit(FENCE, &()).ack::<()>()).await.unwrap();
        self.at_server.take(&member.here)
    }

    /// How often each of them has heard `hello world` since the last look, and nothing else.
    #[track_caller]
    pub(crate) fn hellos<const N: usize>(
        &self,
        members: [&Member; N],
    ) -> impl Future<Output = [usize; N]> {
        let place = std::panic::Location::caller();
        async move {
            let mut counts = [0; N];
            for (count, member) in counts.iter_mut().zip(members) {
                let heard = self.heard(member).await;
                let is_it = heard.iter().all(|noted| noted == HELLO);
                assert!(is_it, "heard {heard:?} at {place}");
                *count = heard.len();
            }
            counts
        }
    }
}

/// How what [`hello`] says is noted.
pub(crate) const HELLO: &str = "hello world";

/// Says it to all of them, and says how many mailboxes took it.
pub(crate) async fn hello(selection: &Broadcast) -> usize {
    let fanout = within(selection.emit("hello", "world")).await.unwrap();
    assert_eq!(fanout.dropped, 0);
    fanout.accepted
}

/// A namespace where what nobody hears counts as handled, and is answered.
pub(crate) fn quiet(path: &str) -> Namespace {
    Namespace::new(path).unhandled(Unhandled::Ignore)
}

pub(crate) fn quiet_root() -> Namespace {
    quiet("/")
}
