//! "On each side, the following events are reserved and should not be used as event names by your
//! application": what is refused, and the hook that takes the place of each.

use crate::stage::{HELLO, Member, Stage, hello, on_each_wire, quiet, quiet_root};
use crate::support::{becomes, endpoint, rooms, within};
use emitwire::{
    AckError, Client, Config, ConnectError, ConnectRequest, DisconnectReason, EmitError,
    ListenError, MountError, Namespace, NamespaceError, Refusal, Server, Socket, WaitError,
};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// Notes of several hooks, in the order in which they were made.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn now(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Neither end can emit it, whatever it is emitted by, and nobody hears anything of it.
async fn nobody_emits(stage: &Stage, [ann, bob]: [&Member; 2], name: &str) {
    #[track_caller]
    fn refused<T: Debug>(name: &str, emitted: Result<T, EmitError>) {
        match emitted {
            Err(EmitError::Reserved { name: refused }) => assert_eq!(&*refused, name),
            other => panic!("{other:?}"),
        }
    }
    for socket in [&ann.here, &ann.there] {
        refused(name, within(socket.emit(name, "world")).await);
        refused(name, within(socket.emit(name, "world").volatile()).await);
        refused(name, socket.try_emit(name, "world"));
        match within(socket.emit(name, "world").ack::<()>()).await {
            Err(AckError::Emit(error)) => refused(name, Err::<(), _>(error)),
            other => panic!("{other:?}"),
        }
    }
    let selections = [stage.everyone(), stage.everyone().to("nobody"), ann.here.broadcast()];
    for selection in selections {
        refused(name, within(selection.emit(name, "world")).await);
        refused(name, within(selection.emit(name, "world").volatile()).await);
        refused(name, within(selection.emit(name, "world").ack::<()>()).await.map(drop));
    }
    for member in [ann, bob] {
        assert_eq!(stage.heard(member).await, [""; 0]);
        assert_eq!(stage.heard_from(member).await, [""; 0]);
    }
}

/// Neither end can listen to it, whatever it is listened to by.
async fn nobody_listens(stage: &Stage, [ann, _]: [&Member; 2], name: &str) {
    let reserved = ListenError::Reserved { name: name.into() };
    for socket in [&ann.here, &ann.there] {
        assert_eq!(socket.on(name, || async {}), Err(reserved.clone()));
        assert_eq!(socket.once(name).then(|| async {}), Err(reserved.clone()));
        match within(socket.once(name)).await {
            Err(WaitError::Listen(error)) => assert_eq!(error, reserved),
            other => panic!("{other:?}"),
        }
        assert_eq!(socket.emitter().event_names(), [""; 0]);
    }
    let namespaces: [fn(&str) -> Namespace; 2] = [
        |name| Namespace::new("/").on(name, || async {}),
        |name| Namespace::new("/").once(name, || async {}),
    ];
    for namespace in namespaces {
        let mounted = Server::new().mount(namespace(name));
        assert_eq!(mounted.unwrap_err(), MountError::Listen(reserved.clone()));
        let client = Client::new(endpoint(&stage.url)).mount(namespace(name));
        match within(client.connect()).await {
            Err(ConnectError::Mount { source }) => {
                let mistake = source.downcast::<MountError>().unwrap();
                assert_eq!(*mistake, MountError::Listen(reserved.clone()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// It is refused everywhere, and the session goes on.
async fn is_reserved(stage: &Stage, members: [&Member; 2], name: &str) {
    nobody_emits(stage, members, name).await;
    nobody_listens(stage, members, name).await;
    assert_eq!(hello(&stage.everyone()).await, 2);
    assert_eq!(stage.hellos(members).await, [1, 1]);
}

/// "`connect`": `on_connect` runs once at each end, before any event of the socket
#[tokio::test]
async fn connect_is_reserved_and_there_is_on_connect() {
    on_each_wire(async |wire| {
        let notes = Notes::default();
        let connects = |side: &'static str| {
            let notes = notes.clone();
            move |socket: Socket| {
                notes.add(format!("{side} {}", socket.id()));
                async move { socket.emit("hello", "world").await }
            }
        };
        let namespace = quiet("/").on_connect(connects("server"));
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let ann = stage.enter_as(quiet("/").on_connect(connects("client"))).await;
        // What is said in the hook is the first that the other side hears.
        assert_eq!(stage.heard(&ann).await, [HELLO]);
        assert_eq!(stage.heard_from(&ann).await, [HELLO]);
        let id = ann.here.id();
        let mut noted = notes.now();
        noted.sort_unstable();
        assert_eq!(noted, [format!("client {id}"), format!("server {id}")]);
        let bob = stage.enter().await;
        assert_eq!(stage.heard(&bob).await, [HELLO]);
        is_reserved(&stage, [&ann, &bob], "connect").await;
        assert_eq!(notes.now().len(), 3);
    })
    .await;
}

/// "`connect_error`": `on_connect_error` says why there is no socket, with the server's data
#[tokio::test]
async fn connect_error_is_reserved_and_there_is_on_connect_error() {
    on_each_wire(async |wire| {
        let notes = Notes::default();
        let begun = notes.clone();
        let authorize = |request: ConnectRequest| async move {
            match request.auth::<String>() {
                Ok(_) => Err(Refusal::with("not you")),
                Err(_) => Ok(()),
            }
        };
        let begins = move || {
            begun.add("begun");
            async {}
        };
        let namespace = quiet("/").authorize(authorize).on_connect(begins.clone());
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let told = notes.clone();
        let tell = move |error: &ConnectError| told.add(error.refusal::<String>().unwrap());
        let refused = quiet("/").on_connect_error(tell).on_connect(begins);
        let client = Client::new(endpoint(&stage.url)).auth("let me in").mount(refused);
        let error = within(client.connect()).await.unwrap_err();
        assert_eq!(error.refusal::<String>().as_deref(), Some("not you"));
        assert_eq!(notes.now(), ["not you"]);
        assert_eq!(stage.server.stats().sockets, 0);
        let [ann, bob] = stage.enter_all(quiet_root).await;
        is_reserved(&stage, [&ann, &bob], "connect_error").await;
        assert_eq!(notes.now(), ["not you", "begun", "begun"]);
    })
    .await;
}

/// What Socket.IO calls "Invalid namespace": it is told of that namespace, and the others connect.
#[tokio::test]
async fn a_namespace_that_is_not_there_is_told_to_on_connect_error() {
    on_each_wire(async |wire| {
        let (stage, [ann]) = Stage::new(wire).await;
        let notes = Notes::default();
        let told = notes.clone();
        let tell = move |error: &ConnectError| told.add(error.refusal::<String>().unwrap());
        let client = Client::new(endpoint(&stage.url)).mount(quiet("/"));
        let client = client.mount(quiet("/nowhere").on_connect_error(tell));
        let session = within(client.connect()).await.unwrap();
        assert_eq!(notes.now(), ["no such namespace"]);
        match session.of("/nowhere") {
            Err(NamespaceError::Refused { path, .. }) => assert_eq!(&*path, "/nowhere"),
            other => panic!("{other:?}"),
        }
        within(session.of("/").unwrap().emit("hello", "world").ack::<()>()).await.unwrap();
        assert_eq!(stage.heard(&ann).await, [""; 0]);
    })
    .await;
}

/// "`disconnect`": `on_disconnect` runs once at each end, with the reason, and without rooms
#[tokio::test]
async fn disconnect_is_reserved_and_there_is_on_disconnect() {
    on_each_wire(async |wire| {
        let notes = Notes::default();
        let ends = |side: &'static str| {
            let notes = notes.clone();
            move |socket: Socket, reason: DisconnectReason| {
                let rooms = socket.rooms().map_or(0, |rooms| rooms.len());
                notes.add(format!("{side}: {reason}, {rooms} rooms"));
                async {}
            }
        };
        let namespace = quiet("/").on_disconnect(ends("server"));
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let ann = stage.enter_as(quiet("/").on_disconnect(ends("client"))).await;
        let bob = stage.enter().await;
        is_reserved(&stage, [&ann, &bob], "disconnect").await;
        within(ann.here.join("room1")).await.unwrap();
        assert_eq!(notes.now(), [""; 0]);
        ann.there.disconnect("bye");
        becomes(|| notes.now().len(), 2).await;
        let mut noted = notes.now();
        noted.sort_unstable();
        let at_client = "client: closed by this side: bye, 0 rooms";
        let at_server = "server: closed by the peer: bye, 0 rooms";
        assert_eq!(noted, [at_client, at_server]);
        // The others stay, and hear nothing of it.
        assert_eq!(stage.heard(&bob).await, [""; 0]);
        assert_eq!(notes.now().len(), 2);
    })
    .await;
}

/// "`disconnecting`": `on_disconnecting` runs once, before `on_disconnect`, with the rooms
#[tokio::test]
async fn disconnecting_is_reserved_and_there_is_on_disconnecting() {
    on_each_wire(async |wire| {
        let notes = Notes::default();
        let ends = |hook: &'static str| {
            let notes = notes.clone();
            move |socket: Socket, reason: DisconnectReason| {
                notes.add(format!("{hook}: {reason}, {:?}", socket.rooms().unwrap()));
                async {}
            }
        };
        let namespace = quiet("/");
        let namespace = namespace.on_disconnecting(ends("first")).on_disconnect(ends("then"));
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        is_reserved(&stage, [&ann, &bob], "disconnecting").await;
        within(ann.here.join("room1")).await.unwrap();
        within(ann.session.close()).await;
        becomes(|| notes.now().len(), 2).await;
        let first = "first: closed by the peer, [RoomName(\"room1\")]";
        assert_eq!(notes.now(), [first, "then: closed by the peer, []"]);
        assert_eq!(rooms(&stage.everyone()), []);
    })
    .await;
}

/// Adds listeners in each way that there is, at one end, and takes them out again.
async fn come_and_go(listening: &Socket, speaking: &Socket) {
    let emitter = listening.emitter();
    let first = listening.on("details", || async {}).unwrap();
    listening.on("details", || async {}).unwrap();
    listening.once("brief").then(|| async {}).unwrap();
    within(speaking.emit("brief", &()).ack::<()>()).await.unwrap();
    assert!(listening.off(first));
    assert!(!listening.off(first));
    assert_eq!(listening.off_all("details"), 1);
    assert_eq!(emitter.event_names(), [""; 0]);
}

/// "`newListener`": `on_listener_added`, of a socket at either end and of a namespace
#[tokio::test]
async fn new_listener_is_reserved_and_there_is_on_listener_added() {
    on_each_wire(async |wire| {
        let shared = Notes::default();
        let told = shared.clone();
        let namespace = quiet("/").on_listener_added(move |name| told.add(name));
        let handle = namespace.clone();
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        for (listening, speaking) in [(&ann.here, &ann.there), (&ann.there, &ann.here)] {
            let own = Notes::default();
            let told = own.clone();
            listening.emitter().on_listener_added(move |name| told.add(name));
            come_and_go(listening, speaking).await;
            assert_eq!(own.now(), ["details", "details", "brief"]);
        }
        handle.emitter().on("all", || async {}).unwrap();
        let own = shared.now();
        assert_eq!(own[own.len() - 1..], ["all"]);
        stage.heard(&ann).await;
        stage.heard_from(&ann).await;
        is_reserved(&stage, [&ann, &bob], "newListener").await;
        assert_eq!(shared.now(), own, "a listener that was refused was not added");
    })
    .await;
}

/// "`removeListener`": `on_listener_removed`, of a socket at either end and of a namespace
#[tokio::test]
async fn remove_listener_is_reserved_and_there_is_on_listener_removed() {
    on_each_wire(async |wire| {
        let shared = Notes::default();
        let told = shared.clone();
        let namespace = quiet("/").on_listener_removed(move |name| told.add(name));
        let handle = namespace.clone();
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        for (listening, speaking) in [(&ann.here, &ann.there), (&ann.there, &ann.here)] {
            let own = Notes::default();
            let told = own.clone();
            listening.emitter().on_listener_removed(move |name| told.add(name));
            come_and_go(listening, speaking).await;
            assert_eq!(own.now(), ["brief", "details", "details"]);
        }
        let all = handle.emitter().on("all", || async {}).unwrap();
        assert_eq!(shared.now(), [""; 0]);
        assert!(handle.off(all));
        assert_eq!(shared.now(), ["all"]);
        stage.heard(&ann).await;
        stage.heard_from(&ann).await;
        is_reserved(&stage, [&ann, &bob], "removeListener").await;
        assert_eq!(shared.now(), ["all"]);
    })
    .await;
}

/// Whether anybody is there makes no difference: a pattern has no namespaces before its sockets.
#[tokio::test]
async fn a_reserved_name_is_refused_also_where_nobody_is_yet() {
    on_each_wire(async |wire| {
        let stage = Stage::with(wire, Config::default(), [quiet("/org-{id}")]).await;
        for path in ["/org-{id}", "/org-7"] {
            match within(stage.server.of(path).emit("connect", "world")).await {
                Err(EmitError::Reserved { name }) => assert_eq!(&*name, "connect"),
                other => panic!("{path}: {other:?}"),
            }
        }
    })
    .await;
}
