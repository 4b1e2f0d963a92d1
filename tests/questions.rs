//! Six questions that everybody asks, answered by six tests. `docs/CONCEPTS.md` has the answers in
//! words.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use bytes::Bytes;
use emitwire::{
    AckError, Args, Client, Config, Data, DisconnectReason, EmitError, Event, Nak, Namespace,
    Server, Session, Socket, Unhandled,
};
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use support::{all_wires, endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tower::timeout::TimeoutLayer;

async fn in_time<F: IntoFuture>(future: F) -> F::Output {
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, future.into_future()).await.expect("in time")
}

/// Who is silent for a second is gone: no system tells a QUIC client that its server was killed.
fn alert() -> Config {
    let mut config = Config::default();
    config.heartbeat_interval = Duration::from_millis(200);
    config.liveness_timeout = Duration::from_secs(1);
    config
}

/// A server with one namespace on one wire, and where it is.
async fn serve(wire: &str, config: Config, namespace: Namespace) -> (Server, String) {
    let server = Server::with_config(config).mount(namespace).unwrap();
    let listening = server.listen(endpoint(wire)).await.unwrap();
    (server, listening.endpoint().to_owned())
}

async fn connect(url: &str, namespace: Namespace) -> Session {
    let client = Client::new(endpoint(url)).config(alert()).mount(namespace);
    in_time(client.connect()).await.unwrap()
}

/// What was heard, in order.
fn ear<T: Send + 'static>() -> (impl Fn(T) + Clone + Send + Sync + 'static, Ear<T>) {
    let (mouth, ear) = mpsc::unbounded_channel();
    // A test that has heard enough is gone.
    (move |heard| drop(mouth.send(heard)), Ear(ear))
}

struct Ear<T>(mpsc::UnboundedReceiver<T>);

impl<T> Ear<T> {
    async fn next(&mut self) -> T {
        in_time(self.0.recv()).await.expect("somebody speaks")
    }
}

/// A server that can be killed: it runs in a runtime of its own, which ends without a goodbye.
struct Machine {
    runtime: Runtime,
    url: String,
}

impl Machine {
    async fn start(wire: &str, config: Config, namespace: Namespace) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let wire = wire.to_owned();
        let serving = runtime.spawn(async move { serve(&wire, config, namespace).await });
        let (_, url) = in_time(serving).await.unwrap();
        Self { runtime, url }
    }

    /// Returns when nothing of it is left.
    async fn kill(self) {
        let end = move || self.runtime.shutdown_timeout(Duration::from_secs(10));
        in_time(tokio::task::spawn_blocking(end)).await.unwrap();
    }
}

// Is it bidirectional?

#[tokio::test]
async fn both_ends_emit_and_both_ends_answer_on_one_connection() {
    for wire in all_wires() {
        let greet = |socket: Socket| async move {
            let name: String = socket.emit("name", &()).ack().await?;
            Ok::<_, AckError>(format!("hello {name}"))
        };
        let (server, url) =
            serve(&wire, Config::default(), Namespace::new("/").on("greet", greet)).await;
        let session = connect(&url, Namespace::new("/").on("name", || async { "ann" })).await;

        // The client answers while it waits for an answer itself.
        let socket = session.of("/").unwrap();
        let greeting: String = in_time(socket.emit("greet", &()).ack()).await.unwrap();
        assert_eq!(greeting, "hello ann", "{wire}");
        assert_eq!(server.stats().links, 1, "{wire}");
    }
}

// Does it use HTTP, and when?

/// Passes bytes on and remembers them.
async fn tap(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Vec<u8> {
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        let count = from.read_buf(&mut seen).await.unwrap_or_default();
        if count == 0 || to.write_all(&seen[before..]).await.is_err() {
            // The other side may have gone first.
            drop(to.shutdown().await);
            return seen;
        }
    }
}

/// Both directions of one connection to `address`, and where to connect to.
async fn tapped(address: String) -> (String, impl Future<Output = (Vec<u8>, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let both = tokio::spawn(async move {
        let (from_client, to_client) = listener.accept().await.unwrap().0.into_split();
        let (from_server, to_server) = TcpStream::connect(address).await.unwrap().into_split();
        tokio::join!(tap(from_client, to_server), tap(from_server, to_client))
    });
    (url, async { in_time(both).await.unwrap() })
}

#[tokio::test]
async fn over_tcp_a_session_begins_with_the_hello_and_no_byte_of_it_is_http() {
    let wire = "tcp://127.0.0.1:0".to_owned();
    let chat = Namespace::new("/chat").on("say", |Data(text): Data<String>| async move { text });
    let (_server, url) = serve(&wire, Config::default(), chat).await;
    let (url, bytes) = tapped(url.replace("tcp://", "")).await;
    let session = connect(&url, Namespace::new("/chat")).await;
    let socket = session.of("/chat").unwrap();
    let _: String = in_time(socket.emit("say", "hello").ack()).await.unwrap();
    in_time(session.close()).await;

    let (client, server) = bytes.await;
    let (length, hello) = client.split_first_chunk::<4>().expect("a length");
    assert!((u32::from_be_bytes(*length) as usize) < hello.len(), "the hello is whole");
    assert!(hello.starts_with(b"\x01EMITWIRE\x01"), "{hello:02x?}");
    assert!(server[4..].starts_with(&[0x02, 1]), "a welcome, version 1: {server:02x?}");
    for bytes in [client, server] {
        assert!(!bytes.windows(4).any(|four| four == b"HTTP"), "{bytes:02x?}");
    }
}

#[tokio::test]
async fn over_websocket_a_session_has_one_http_request_and_one_answer() {
    let chat = Namespace::new("/chat").on("say", |Data(text): Data<String>| async move { text });
    let (_server, url) = serve("ws://127.0.0.1:0", Config::default(), chat).await;
    let (tcp, bytes) = tapped(url.replace("ws://", "")).await;
    let session = connect(&tcp.replace("tcp://", "ws://"), Namespace::new("/chat")).await;
    let socket = session.of("/chat").unwrap();
    let _: String = in_time(socket.emit("say", "hello").ack()).await.unwrap();
    in_time(session.close()).await;

    let (client, server) = bytes.await;
    let count = |bytes: &[u8]| bytes.windows(5).filter(|five| *five == b"HTTP/").count();
    assert_eq!((count(&client), count(&server)), (1, 1));
    assert!(client.starts_with(b"GET / HTTP/1.1\r\n"), "{client:02x?}");
    assert!(server.starts_with(b"HTTP/1.1 101 "), "{server:02x?}");
    let answer = server.windows(4).position(|four| four == b"\r\n\r\n").expect("an end") + 4;
    let welcome = &server[answer..];
    assert_eq!((welcome[0], &welcome[2..4]), (0x82, &[0x02, 1][..]), "{welcome:02x?}");
}

// What happens when a client emits?

#[tokio::test]
async fn what_a_client_emits_is_accepted_then_handled_then_answered_and_counted_at_both_ends() {
    for wire in all_wires() {
        let (heard, mut ear) = ear();
        let gate = Arc::new(Semaphore::new(0));
        let door = Arc::clone(&gate);
        let say = move |Data(text): Data<String>| {
            heard(text.clone());
            let door = Arc::clone(&door);
            async move {
                door.acquire().await?.forget();
                Ok::<_, tokio::sync::AcquireError>(text.len())
            }
        };
        let (server, url) =
            serve(&wire, Config::default(), Namespace::new("/").on("say", say)).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();

        // Accepted: it waits for nobody but the mailbox.
        in_time(socket.emit("say", "hello")).await.unwrap();
        assert_eq!(session.stats().events_out, 1, "{wire}");

        // In its handler, which has not finished.
        assert_eq!(ear.next().await, "hello", "{wire}");
        assert_eq!((server.stats().events_in, server.stats().handled), (1, 0), "{wire}");

        // Handled: the answer is what the handler returns. The first event was before it.
        gate.add_permits(2);
        let length: usize = in_time(socket.emit("say", "good day").ack()).await.unwrap();
        assert_eq!(length, 8, "{wire}");
        assert_eq!((server.stats().events_in, server.stats().handled), (2, 2), "{wire}");
        assert_eq!(session.stats().events_out, 2, "{wire}");
    }
}

// What happens when a server emits?

#[tokio::test]
async fn what_a_server_emits_to_rooms_reaches_each_member_once_whatever_its_wire() {
    let join =
        |socket: Socket, Data(rooms): Data<Vec<String>>| async move { socket.join(rooms).await };
    let server = Server::new().mount(Namespace::new("/").on("join", join)).unwrap();
    let mut urls = Vec::new();
    for wire in all_wires() {
        urls.push(server.listen(endpoint(&wire)).await.unwrap().endpoint().to_owned());
    }
    let mut members = Vec::new();
    let rooms: [&[&str]; 4] = [&["red"], &["red", "blue"], &["green"], &["blue"]];
    for (url, rooms) in urls.iter().cycle().zip(rooms) {
        let (heard, ear) = ear();
        let listen = move |event: Event| {
            heard(event.name.to_string());
            async {}
        };
        let session = connect(url, Namespace::new("/").fallback(listen)).await;
        let socket = session.of("/").unwrap();
        in_time(socket.emit("join", rooms).ack::<()>()).await.unwrap();
        members.push((session, ear));
    }

    let fanout = server.of("/").to(["red", "blue"]).emit("said", "hello").await.unwrap();
    assert_eq!((fanout.accepted, fanout.dropped), (3, 0));
    let everyone = server.of("/").emit("end", &()).await.unwrap();
    assert_eq!(everyone.accepted, 4);

    // Events of one socket keep their order, so nothing can come behind the end.
    for (member, (_, ear)) in members.iter_mut().enumerate() {
        let mut heard = vec![ear.next().await];
        while heard.last().is_some_and(|name| name != "end") {
            heard.push(ear.next().await);
        }
        let expected: &[_] = if member == 2 { &["end"] } else { &["said", "end"] };
        assert_eq!(heard, expected, "member {member}");
    }
}

// What happens when an event is missed?

/// Nobody reads: this is the only thread, and it does not wait.
async fn a_volatile_event_without_a_reader_is_dropped_and_counted(wire: &str) {
    let (heard, mut ear) = ear();
    let listen = move |bytes: Bytes| {
        heard(bytes.len());
        async {}
    };
    let namespace = Namespace::new("/").on("cursor", listen);
    let (_server, url) = serve(wire, Config::default(), namespace).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();

    let big = Bytes::from(vec![7; 200 * 1024]);
    let mut emitted = 0;
    while session.stats().volatile_dropped == 0 {
        socket.emit("cursor", &big).volatile().await.unwrap();
        emitted += 1;
        assert!(emitted < 10_000, "{wire}: where does all of it go?");
    }
    let stats = session.stats();
    assert_eq!(stats.volatile_out + stats.volatile_dropped, emitted, "{wire}");
    for _ in 0..stats.volatile_out {
        assert_eq!(ear.next().await, big.len(), "{wire}: what was not dropped arrives");
    }
}

async fn an_event_without_a_listener_is_refused_when_nobody_came_to_listen(wire: &str) {
    let short = Unhandled::Park { ttl: Duration::from_millis(20) };
    let (server, url) = serve(wire, Config::default(), Namespace::new("/").unhandled(short)).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();

    in_time(socket.emit("nobody", "asked no ack")).await.unwrap();
    let answer = in_time(socket.emit("nobody", "asked one").ack::<()>()).await;
    assert!(matches!(answer, Err(AckError::Refused(Nak::NoHandler))), "{wire}: {answer:?}");
    assert_eq!(server.stats().refused, 2, "{wire}");
    assert_eq!(session.stats().refused_by_peer, 2, "{wire}: also the one without an ack");
}

async fn a_handler_that_takes_too_long_is_stopped_by_its_layer_and_its_sender_told(wire: &str) {
    let namespace = Namespace::new("/")
        .on("hold", pending::<()>)
        .on("quick", || async { true })
        .inbound(TimeoutLayer::new(Duration::from_millis(20)));
    let (server, url) = serve(wire, Config::default(), namespace).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();

    let answer = in_time(socket.emit("hold", &()).ack::<()>()).await;
    assert!(matches!(answer, Err(AckError::Refused(Nak::Timeout))), "{wire}: {answer:?}");
    let next: bool = in_time(socket.emit("quick", &()).ack()).await.unwrap();
    assert!(next, "{wire}");
    assert_eq!((server.stats().refused, server.stats().handled), (1, 1), "{wire}");
}

async fn a_lost_session_accounts_for_each_event_that_it_held(wire: &str) {
    let (heard, mut ear) = ear();
    let hold = move || {
        heard(());
        pending::<()>()
    };
    // One event may be written, the others wait; and nobody confirms the one meanwhile.
    let mut config = alert();
    config.window_events = 1;
    config.position_delay = Duration::from_secs(3600);
    let machine = Machine::start(wire, config, Namespace::new("/").on("hold", hold)).await;
    let client = Client::new(endpoint(&machine.url)).config(alert()).mount(Namespace::new("/"));
    let client = client.reconnect(false);
    let session = in_time(client.connect()).await.unwrap();
    let socket = session.of("/").unwrap();

    let asker = socket.clone();
    let asked = tokio::spawn(async move { asker.emit("hold", "asked").ack::<()>().await });
    ear.next().await;
    for text in ["waiting", "waiting too"] {
        in_time(socket.emit("hold", text)).await.unwrap();
    }
    machine.kill().await;

    let answer = in_time(asked).await.unwrap();
    // Its handler was cancelled; who learns that in time says so, else there is no answer.
    let told = matches!(answer, Err(AckError::Closed | AckError::Refused(Nak::Failed)));
    assert!(told, "{wire}: {answer:?}");
    let ended = in_time(session.ended()).await;
    let is_lost = matches!(ended, DisconnectReason::LinkLost | DisconnectReason::HeartbeatTimeout);
    assert!(is_lost, "{wire}: {ended:?}");
    let stats = session.stats();
    assert_eq!(stats.lost, 2, "{wire}: never written");
    let in_doubt = u64::from(matches!(answer, Err(AckError::Closed)));
    assert!(stats.in_doubt >= in_doubt, "{wire}: written, and nothing heard of it");
    let late = socket.emit("hold", "too late").await;
    assert!(matches!(late, Err(EmitError::Closed { .. })), "{wire}: {late:?}");
}

#[tokio::test]
async fn an_event_that_is_missed_is_counted_and_whoever_waits_for_its_answer_is_told() {
    for wire in all_wires() {
        a_volatile_event_without_a_reader_is_dropped_and_counted(&wire).await;
    }
    for wire in all_wires() {
        an_event_without_a_listener_is_refused_when_nobody_came_to_listen(&wire).await;
    }
    for wire in all_wires() {
        a_handler_that_takes_too_long_is_stopped_by_its_layer_and_its_sender_told(&wire).await;
    }
    for wire in all_wires() {
        a_lost_session_accounts_for_each_event_that_it_held(&wire).await;
    }
}

// How is that mitigated?

async fn an_event_that_came_too_early_waits_for_its_listener(wire: &str) {
    let namespace = Namespace::new("/").on("ready", || async {});
    let (server, url) = serve(wire, Config::default(), namespace.clone()).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();

    in_time(socket.emit("early", &Args(("bird", 1)))).await.unwrap();
    in_time(socket.emit("ready", &()).ack::<()>()).await.unwrap();
    assert_eq!(server.stats().parked, 1, "{wire}");

    let (heard, mut ear) = ear();
    let listen = move |Args((what, count)): Args<(String, u32)>| {
        heard((what, count));
        async {}
    };
    let _ = namespace.on("early", listen);
    assert_eq!(ear.next().await, (String::from("bird"), 1), "{wire}");
    assert_eq!(server.stats().parked, 0, "{wire}");
}

async fn a_reliable_emit_waits_for_room_and_nothing_is_dropped(wire: &str) {
    let (heard, mut ear) = ear();
    let gate = Arc::new(Semaphore::new(0));
    let door = Arc::clone(&gate);
    let work = move |Data(number): Data<u32>| {
        let (door, heard) = (Arc::clone(&door), heard.clone());
        async move {
            door.acquire().await?.forget();
            heard(number);
            Ok::<_, tokio::sync::AcquireError>(())
        }
    };
    let mut two_at_once = Config::default();
    two_at_once.window_events = 2;
    let (_server, url) = serve(wire, two_at_once, Namespace::new("/").on("work", work)).await;
    let mut four_wait = Config::default();
    four_wait.unwritten_packets_max = 4;
    let client = Client::new(endpoint(&url)).config(four_wait).mount(Namespace::new("/"));
    let session = in_time(client.connect()).await.unwrap();
    let socket = session.of("/").unwrap();

    for number in 0..6 {
        in_time(socket.emit("work", &number)).await.unwrap();
    }
    let mut seventh = pin!(socket.emit("work", &6).into_future());
    let polled = poll_fn(|cx| Poll::Ready(seventh.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "{wire}: two are out, four wait, there is no room");
    gate.add_permits(7);
    in_time(seventh).await.unwrap();
    for number in 0..7 {
        assert_eq!(ear.next().await, number, "{wire}");
    }
}

async fn a_client_whose_server_was_killed_comes_back_with_a_new_session(wire: &str) {
    let echo = || Namespace::new("/").on("echo", |Data(text): Data<String>| async move { text });
    let machine = Machine::start(wire, alert(), echo()).await;
    let url = machine.url.clone();
    let (begun, mut sockets) = ear();
    let hello = move |socket: Socket| {
        begun(socket);
        async {}
    };
    let session = connect(&url, Namespace::new("/").on_connect(hello)).await;
    let first = sockets.next().await;
    machine.kill().await;

    let machine = Machine::start(&url, alert(), echo()).await;
    let second = sockets.next().await;
    assert_ne!(first.session_id(), second.session_id(), "{wire}");
    assert_eq!(session.id(), second.session_id(), "{wire}");
    assert!(first.ended().is_some() && second.ended().is_none(), "{wire}");
    let text: String = in_time(second.emit("echo", "again").ack()).await.unwrap();
    assert_eq!(text, "again", "{wire}");
    machine.kill().await;
}

#[tokio::test]
async fn events_wait_for_listeners_and_for_room_and_clients_come_back_by_themselves() {
    for wire in all_wires() {
        an_event_that_came_too_early_waits_for_its_listener(&wire).await;
    }
    for wire in all_wires() {
        a_reliable_emit_waits_for_room_and_nothing_is_dropped(&wire).await;
    }
    for wire in all_wires() {
        a_client_whose_server_was_killed_comes_back_with_a_new_session(&wire).await;
    }
}
