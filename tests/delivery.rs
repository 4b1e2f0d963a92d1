//! What is promised is kept: in order, exactly once, with a fate for everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use emitwire::protocol::{CloseCode, Drain, Packet, Position};
use emitwire::{
    AckError, Client, Config, ConnectError, Data, DisconnectReason, EmitError, Event, Nak,
    Namespace, NamespaceError, RoomError, Server, Session, Socket, SocketId, Unhandled,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::raw::{self, RawPeer};
use support::{all, becomes, connect, endpoint, fresh_mem, listen, poll_once, serve, within};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What one side heard of each peer: the last number, and whatever was out of order.
#[derive(Default)]
struct Tally {
    last: Mutex<HashMap<SocketId, u64>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// The next number of a peer; they begin at one.
    fn hear(&self, peer: SocketId, number: u64) {
        let before = self.last.lock().unwrap().insert(peer, number).unwrap_or(0);
        if number != before + 1 {
            self.faults.lock().unwrap().push(format!("{number} behind {before} of {peer}"));
        }
    }

    #[track_caller]
    fn check(&self, peers: usize, events: u64) {
        assert_eq!(*self.faults.lock().unwrap(), [""; 0]);
        let last = self.last.lock().unwrap();
        assert_eq!(last.len(), peers);
        assert!(last.values().all(|number| *number == events), "{last:?}");
    }
}

/// A gate that handlers wait at.
fn gate() -> (Arc<Semaphore>, impl Fn() -> GateFuture + Clone + Send + Sync + 'static) {
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let pass = move || {
        let gate = Arc::clone(&waits);
        Box::pin(async move { gate.acquire().await.unwrap().forget() }) as GateFuture
    };
    (gate, pass)
}

/// The handler `slow`, which waits at a gate and answers with its number.
fn slow(pass: impl Fn() -> GateFuture + Send + Sync + 'static) -> Namespace {
    Namespace::new("/").on("slow", move |Data(number): Data<u64>| {
        let pass = pass();
        async move {
            pass.await;
            number
        }
    })
}

type GateFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

mod order {
    use super::*;

    /// How many answers one socket waits for at the same time.
    const PIPELINE: u64 = 30;

    /// Emits `events` numbers in order, each with an answer.
    async fn pour(socket: Socket, events: u64) {
        let mut next = 1;
        while next <= events {
            let wave: Vec<u64> = (next..=events).take(PIPELINE as usize).collect();
            next += wave.len() as u64;
            let acks = wave.iter().map(|number| socket.emit("number", number).ack::<u64>());
            let answers = within(all(acks)).await;
            let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
            assert_eq!(answers, wave, "each answer is to its own event");
        }
    }

    fn counts(tally: &Arc<Tally>) -> Namespace {
        let tally = Arc::clone(tally);
        Namespace::new("/load").on("number", move |socket: Socket, Data(number): Data<u64>| {
            tally.hear(socket.id(), number);
            async move {
                // Every other handler waits once, so that both roads are taken.
                if number % 2 == 0 {
                    tokio::task::yield_now().await;
                }
                number
            }
        })
    }

    /// So many sockets on each of the URLs, so many acknowledged events each way.
    async fn both_ways(wires: &[(&str, usize)], events: u64) {
        let peers = wires.iter().map(|(_, sockets)| sockets).sum();
        let (up, down) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
        let (begin, mut begun) = mpsc::unbounded_channel();
        let namespace = counts(&up).on_connect(move |socket: Socket| {
            begin.send(socket).unwrap();
            async {}
        });
        let server = Server::new().mount(namespace).unwrap();
        let mut sessions = Vec::new();
        for (url, sockets) in wires {
            let listening = listen(&server, url).await;
            for _ in 0..*sockets {
                sessions.push(connect(listening.endpoint(), counts(&down)).await);
            }
        }
        let mut pouring = Vec::new();
        for session in &sessions {
            pouring.push(tokio::spawn(pour(session.of("/load").unwrap(), events)));
            let socket = within(begun.recv()).await.unwrap();
            pouring.push(tokio::spawn(pour(socket, events)));
        }
        for poured in pouring {
            poured.await.unwrap();
        }
        up.check(peers, events);
        down.check(peers, events);
        let total = peers as u64 * events;
        let stats = server.stats();
        assert_eq!((stats.events_in, stats.events_out, stats.handled), (total, total, total));
        assert_eq!(
            (stats.refused, stats.refused_by_peer, stats.lost, stats.in_doubt),
            (0, 0, 0, 0)
        );
        within(all(sessions.into_iter().map(Session::close))).await;
        becomes(|| server.stats().links, 0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_over_tcp() {
        both_ways(&[("tcp://127.0.0.1:0", 100)], 300).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_in_memory() {
        both_ways(&[(&fresh_mem(), 100)], 300).await;
    }

    #[test]
    fn every_event_of_a_thousand_sockets_is_handled_once_and_in_order_over_both() {
        if std::env::var_os("EMITWIRE_FULL").is_none() {
            println!("skipped: EMITWIRE_FULL=1 cargo test --release --test delivery thousand");
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(both_ways(&[("tcp://127.0.0.1:0", 400), (&fresh_mem(), 600)], 1000));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn fifty_members_on_both_wires_hear_sixteen_broadcasters_each_in_order_and_whole() {
        const MEMBERS: usize = 50;
        const BROADCASTERS: usize = 16;
        const EVENTS: u64 = 60;
        let namespace = Namespace::new("/room")
            .on_connect(|socket: Socket| async move { socket.join(["all", "again"]).await });
        let server = Server::new().mount(namespace).unwrap();
        let urls = ["tcp://127.0.0.1:0", &fresh_mem()].map(str::to_owned);
        let mut wires = Vec::new();
        for url in &urls {
            wires.push(listen(&server, url).await);
        }
        let faults = Arc::new(Mutex::new(Vec::new()));
        let complete = Arc::new(AtomicUsize::new(0));
        let mut sessions = Vec::new();
        for member in 0..MEMBERS {
            let (faults, complete) = (Arc::clone(&faults), Arc::clone(&complete));
            let last = Mutex::new([0; BROADCASTERS]);
            let namespace = Namespace::new("/room").on(
                "news",
                move |Data((who, number)): Data<(usize, u64)>| {
                    let mut last = last.lock().unwrap();
                    let before = std::mem::replace(&mut last[who], number);
                    if number != before + 1 {
                        let fault = format!("{member} heard {number} of {who} behind {before}");
                        faults.lock().unwrap().push(fault);
                    }
                    if number == EVENTS {
                        complete.fetch_add(1, Ordering::AcqRel);
                    }
                    async {}
                },
            );
            sessions.push(connect(wires[member % 2].endpoint(), namespace).await);
        }
        becomes(|| server.of("/room").to("all").sockets().len(), MEMBERS).await;
        let broadcasters = (0..BROADCASTERS).map(|who| {
            let server = server.clone();
            tokio::spawn(async move {
                // A union of rooms reaches each member once.
                let room = server.of("/room").to("all").to("again");
                for number in 1..=EVENTS {
                    let fanout = room.emit("news", &(who, number)).await.unwrap();
                    assert_eq!((fanout.accepted, fanout.dropped), (MEMBERS, 0));
                    tokio::task::yield_now().await;
                }
            })
        });
        for broadcaster in broadcasters.collect::<Vec<_>>() {
            within(broadcaster).await.unwrap();
        }
        becomes(|| complete.load(Ordering::Acquire), MEMBERS * BROADCASTERS).await;
        assert_eq!(*faults.lock().unwrap(), [""; 0]);
        let total = (MEMBERS * BROADCASTERS) as u64 * EVENTS;
        assert_eq!(server.stats().events_out, total);
        let heard: u64 = sessions.iter().map(|session| session.stats().events_in).sum();
        assert_eq!(heard, total, "none is missing, none is doubled");
    }

    #[tokio::test]
    async fn slow_handlers_keep_the_order_of_their_socket_and_hold_no_other_up() {
        let (gate, pass) = gate();
        let (mouth, mut ear) = mpsc::unbounded_channel();
        let (working, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let most_at_once = Arc::clone(&most);
        let namespace =
            Namespace::new("/").on("slow", move |socket: Socket, Data(number): Data<u64>| {
                let (pass, mouth) = (pass.clone(), mouth.clone());
                let (working, most) = (Arc::clone(&working), Arc::clone(&most));
                async move {
                    most.fetch_max(working.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                    mouth.send((socket.id(), number, "begins")).unwrap();
                    pass().await;
                    mouth.send((socket.id(), number, "ends")).unwrap();
                    working.fetch_sub(1, Ordering::AcqRel);
                }
            });
        let (_server, url) = serve(namespace.on("quick", || async { "done" })).await;
        let slow = connect(&url, Namespace::new("/")).await;
        let other = connect(&url, Namespace::new("/")).await;
        let (slow, other) = (slow.of("/").unwrap(), other.of("/").unwrap());
        for number in 1..=5 {
            within(slow.emit("slow", &number)).await.unwrap();
        }
        within(slow.emit("quick", &())).await.unwrap();
        assert_eq!(within(ear.recv()).await.unwrap(), (slow.id(), 1, "begins"));
        // The other socket is handled while this one waits.
        for _ in 0..20 {
            let done: String = within(other.emit("quick", &()).ack()).await.unwrap();
            assert_eq!(done, "done");
        }
        within(other.emit("slow", &77)).await.unwrap();
        assert_eq!(within(ear.recv()).await.unwrap(), (other.id(), 77, "begins"));
        assert!(ear.try_recv().is_err(), "the second event waits for the first");
        gate.add_permits(6);
        let mut steps = Vec::new();
        while steps.len() < 9 {
            let (socket, number, step) = within(ear.recv()).await.unwrap();
            if socket == slow.id() {
                steps.push((number, step));
            }
        }
        let mut wanted = vec![(1, "ends")];
        for number in 2..=5 {
            wanted.extend([(number, "begins"), (number, "ends")]);
        }
        assert_eq!(steps, wanted);
        assert_eq!(most_at_once.load(Ordering::Acquire), 2, "one at a time on each of two");
    }

    #[tokio::test]
    async fn volatile_events_acks_and_other_namespaces_do_not_wait_for_a_slow_handler() {
        let (_gate, pass) = gate();
        let (mouth, mut ear) = mpsc::unbounded_channel();
        let slow = Namespace::new("/slow").on("slow", pass).on("cursor", move || {
            mouth.send(()).unwrap();
            async {}
        });
        let quick = Namespace::new("/quick").on("quick", || async { true });
        let server = Server::new().mount(slow).unwrap().mount(quick).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url))
            .mount(Namespace::new("/slow").on("ask", || async { 7 }))
            .mount(Namespace::new("/quick"));
        let session = within(client.connect()).await.unwrap();
        let (slow, quick) = (session.of("/slow").unwrap(), session.of("/quick").unwrap());
        within(slow.emit("slow", &())).await.unwrap();
        assert!(within(quick.emit("quick", &()).ack::<bool>()).await.unwrap());
        within(slow.emit("cursor", &(1, 2)).volatile()).await.unwrap();
        within(ear.recv()).await.unwrap();
        let fanout = within(server.of("/slow").emit("ask", &())).await.unwrap();
        assert_eq!(fanout.accepted, 1);
        becomes(|| session.stats().handled, 1).await;
    }
}

mod failure {
    use super::*;

    fn failing() -> Namespace {
        Namespace::new("/")
            .on("panic", || async {
                let armed = std::hint::black_box(true);
                assert!(!armed, "a panic for the test");
            })
            .on("panic later", || async {
                tokio::task::yield_now().await;
                let armed = std::hint::black_box(true);
                assert!(!armed, "a panic for the test");
            })
            .on("fail", || async { "x".parse::<u8>().map(|_| ()) })
            .on("refuse", || async { Err::<(), _>(emitwire::Refusal::with("not today")) })
            .on("busy", || async {
                Err::<(), _>(emitwire::Refusal::busy(Duration::from_millis(1500)))
            })
            .on("number", |Data(number): Data<u8>| async move { number })
    }

    #[tokio::test]
    async fn whatever_a_handler_does_its_event_has_an_answer_and_the_next_is_handled() {
        let (server, url) = serve(failing()).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let payload = emitwire::Payload::encode("not today").unwrap();
        let table = [
            ("panic", Nak::Failed),
            ("panic later", Nak::Failed),
            ("fail", Nak::Failed),
            ("refuse", Nak::Rejected(payload)),
            ("busy", Nak::Busy { retry_after: Duration::from_millis(1500) }),
            ("number", Nak::BadPayload),
        ];
        for (name, wanted) in table {
            // Accepted together, so that the second waits behind the first.
            let asked = async {
                let (first, second) = tokio::join!(
                    socket.emit(name, "no number").ack::<()>().into_future(),
                    socket.emit("number", &7).ack::<u8>().into_future(),
                );
                assert_eq!(second.unwrap(), 7);
                first
            };
            match within(asked).await {
                Err(AckError::Refused(nak)) => assert_eq!(nak, wanted, "{name}"),
                other => panic!("{other:?} for {name}"),
            }
        }
        let stats = server.stats();
        assert_eq!((stats.panics, stats.refused, stats.handled), (2, 6, 6));
        becomes(|| session.stats().refused_by_peer, 6).await;
    }

    #[tokio::test]
    async fn a_nak_comes_also_when_no_answer_was_asked_for() {
        let (server, url) = serve(failing()).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        within(socket.emit("fail", &())).await.unwrap();
        within(socket.emit("number", &7)).await.unwrap();
        becomes(|| session.stats().refused_by_peer, 1).await;
        becomes(|| server.stats().handled, 1).await;
    }

    #[tokio::test]
    async fn all_listeners_of_an_event_run_in_order_and_the_first_reply_answers() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let heard = Arc::clone(&heard);
            move || heard.lock().unwrap().push(what)
        };
        let (first, second, third) = (note("first"), note("second"), note("third"));
        let namespace = Namespace::new("/")
            .on("x", move || {
                first();
                async {}
            })
            .on("x", move || {
                second();
                async { 2 }
            })
            .on("x", move || {
                third();
                async { 3 }
            });
        let (_server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let answer: u8 = within(session.of("/").unwrap().emit("x", &()).ack()).await.unwrap();
        assert_eq!(answer, 2);
        assert_eq!(*heard.lock().unwrap(), ["first", "second", "third"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_layer_turns_a_slow_handler_into_a_nak() {
        let limit = tower::timeout::TimeoutLayer::new(Duration::from_secs(2));
        let namespace = Namespace::new("/")
            .layer(limit)
            .on("slow", || async { std::future::pending::<()>().await })
            .on("quick", || async { true });
        let (server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let began = tokio::time::Instant::now();
        match within(socket.emit("slow", &()).ack::<()>()).await {
            Err(AckError::Refused(Nak::Timeout)) => {}
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() >= Duration::from_secs(2));
        assert!(within(socket.emit("quick", &()).ack::<bool>()).await.unwrap());
        assert_eq!(server.stats().refused, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_a_timeout_and_a_late_one_is_dropped() {
        let (gate, pass) = gate();
        let namespace = Namespace::new("/").on("slow", pass).on("quick", || async { true });
        let (_server, url) = serve(namespace).await;
        let mut config = Config::default();
        config.ack_timeout = Duration::from_secs(3);
        let client = Client::new(endpoint(&url)).config(config).mount(Namespace::new("/"));
        let session = within(client.connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        let began = tokio::time::Instant::now();
        match within(socket.emit("slow", &()).ack::<()>()).await {
            Err(AckError::Timeout { after }) => assert_eq!(after, Duration::from_secs(3)),
            other => panic!("{other:?}"),
        }
        let elapsed = began.elapsed();
        assert!((3000..3100).contains(&elapsed.as_millis()), "{elapsed:?}");
        let one = Duration::from_secs(1);
        match within(socket.emit("slow", &()).ack::<()>().timeout(one)).await {
            Err(AckError::Timeout { after }) => assert_eq!(after, one),
            other => panic!("{other:?}"),
        }
        gate.add_permits(2);
        assert!(within(socket.emit("quick", &()).ack::<bool>()).await.unwrap());
    }
}

mod parking {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn events_that_came_before_their_listener_are_handled_when_it_comes() {
        let namespace = Namespace::new("/").unhandled(Unhandled::Park { ttl: TTL });
        let handle = namespace.clone();
        let (server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let early: Vec<_> = (0..10).map(|_| socket.clone()).collect();
        let early = early.iter().zip(0u64..).map(|(socket, number)| {
            let socket = socket.clone();
            async move { socket.emit("later", &number).ack::<u64>().await }
        });
        let early = tokio::spawn(all(early.map(Box::pin).collect::<Vec<_>>()));
        becomes(|| server.stats().parked, 10).await;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let _ = handle.on("later", move |Data(number): Data<u64>| {
            hears.lock().unwrap().push(number);
            async move { number }
        });
        let answers = within(early).await.unwrap();
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (0..10).collect::<Vec<_>>());
        assert_eq!(*heard.lock().unwrap(), answers, "in the order in which they came");
        assert_eq!(server.stats().parked, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_whose_listener_never_comes_is_refused_when_it_has_waited_long_enough() {
        let (server, url) =
            serve(Namespace::new("/").unhandled(Unhandled::Park { ttl: TTL })).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let began = tokio::time::Instant::now();
        match within(socket.emit("never", &()).ack::<()>()).await {
            Err(AckError::Refused(Nak::NoHandler)) => {}
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() >= TTL && began.elapsed() < TTL * 2);
        let stats = server.stats();
        assert_eq!((stats.parked, stats.refused, stats.handled), (0, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn parked_events_do_not_hold_up_those_that_are_heard_and_free_their_window() {
        let namespace = Namespace::new("/")
            .unhandled(Unhandled::Park { ttl: TTL })
            .on("heard", || async { true });
        let mut config = Config::default();
        config.window_events = 4;
        config.parked_events_max = 64;
        let server = Server::with_config(config).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        for _ in 0..64 {
            within(socket.emit("never", &())).await.unwrap();
        }
        assert!(within(socket.emit("heard", &()).ack::<bool>()).await.unwrap());
        assert_eq!(server.stats().parked, 64);
        // No place is left: the next is refused at once.
        let began = tokio::time::Instant::now();
        match within(socket.emit("never", &()).ack::<()>()).await {
            Err(AckError::Refused(Nak::NoHandler)) => assert!(began.elapsed() < TTL),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_does_not_park_refuses_or_ignores() {
        let nak = Namespace::new("/nak").unhandled(Unhandled::Nak);
        let ignore = Namespace::new("/ignore").unhandled(Unhandled::Ignore);
        let server = Server::new().mount(nak).unwrap().mount(ignore).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url))
            .mount(Namespace::new("/nak"))
            .mount(Namespace::new("/ignore"));
        let session = within(client.connect()).await.unwrap();
        let (nak, ignore) = (session.of("/nak").unwrap(), session.of("/ignore").unwrap());
        match within(nak.emit("what", &()).ack::<()>()).await {
            Err(AckError::Refused(Nak::NoHandler)) => {}
            other => panic!("{other:?}"),
        }
        within(ignore.emit("what", &()).ack::<()>()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_listener_that_comes_at_the_same_moment_as_its_event_hears_it() {
        const EVENTS: usize = 300;
        let hour = Duration::from_secs(3600);
        let namespace = Namespace::new("/").unhandled(Unhandled::Park { ttl: hour });
        let handle = namespace.clone();
        let (server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        // Somebody looks after parked events all the time.
        within(socket.emit("never", &())).await.unwrap();
        becomes(|| server.stats().parked, 1).await;
        for number in 0..EVENTS {
            let name = format!("event {number}");
            let (handle, listened) = (handle.clone(), name.clone());
            let listen = std::thread::spawn(move || {
                let _ = handle.on(&listened, || async { true });
            });
            assert!(within(socket.emit(&name, &()).ack::<bool>()).await.unwrap());
            listen.join().unwrap();
        }
        assert_eq!(server.stats().parked, 1);
    }
}

mod accepting {
    use super::*;

    /// A server whose handler `slow` waits at a gate, with a window of one event, and a client in
    /// whose mailbox four packets may wait.
    async fn narrow() -> (Server, Session, Arc<Semaphore>) {
        let (gate, pass) = gate();
        let namespace = slow(pass).on("quick", || async { true });
        let mut config = Config::default();
        config.window_events = 1;
        let server = Server::with_config(config).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let mut config = Config::default();
        config.unwritten_packets_max = 4;
        let client = Client::new(endpoint(&url)).config(config).mount(Namespace::new("/"));
        (server, within(client.connect()).await.unwrap(), gate)
    }

    /// Fills it: one event is at work, four wait.
    async fn fill(socket: &Socket) {
        for number in 1..=5u64 {
            let waits = Duration::from_millis(1);
            within(socket.emit("slow", &number).timeout(waits)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_emit_waits_for_room_and_then_says_that_there_is_none() {
        let (_server, session, _gate) = narrow().await;
        let socket = session.of("/").unwrap();
        fill(&socket).await;
        let began = tokio::time::Instant::now();
        match within(socket.emit("slow", &6)).await {
            Err(EmitError::Full { waited }) => assert_eq!(waited, Duration::from_secs(5)),
            other => panic!("{other:?}"),
        }
        let elapsed = began.elapsed().as_millis();
        assert!((5000..5100).contains(&elapsed), "{elapsed} ms");
        let half = Duration::from_millis(500);
        match within(socket.emit("slow", &6).timeout(half)).await {
            Err(EmitError::Full { waited }) => assert_eq!(waited, half),
            other => panic!("{other:?}"),
        }
        assert_eq!(session.stats().events_out, 5, "what was not accepted is not sent");
        assert_eq!(session.stats().withdrawn, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn emits_that_wait_are_accepted_in_the_order_in_which_they_came() {
        let (server, session, gate) = narrow().await;
        let socket = session.of("/").unwrap();
        fill(&socket).await;
        let waiting = (6..=12u64).map(|number| {
            let socket = socket.clone();
            Box::pin(async move { socket.emit("slow", &number).ack::<u64>().await })
        });
        let waiting = tokio::spawn(all(waiting.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(session.stats().events_out, 5);
        gate.add_permits(100);
        let answers = within(waiting).await.unwrap();
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (6..=12).collect::<Vec<_>>());
        assert_eq!(server.stats().handled, 12);
    }

    #[tokio::test(start_paused = true)]
    async fn an_emit_that_is_dropped_before_it_was_accepted_is_withdrawn() {
        let (server, session, gate) = narrow().await;
        let socket = session.of("/").unwrap();
        fill(&socket).await;
        let mut emit = socket.emit("slow", &666).into_future();
        assert!(poll_once(&mut emit).is_pending());
        let mut ask = socket.emit("slow", &667).ack::<u64>().into_future();
        assert!(poll_once(&mut ask).is_pending());
        drop((emit, ask));
        assert_eq!(session.stats().withdrawn, 2);
        assert_eq!(session.stats().events_out, 5);
        gate.add_permits(100);
        assert!(within(socket.emit("quick", &()).ack::<bool>()).await.unwrap());
        assert_eq!(server.stats().events_in, 6, "nobody ever heard of them");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ack_that_is_dropped_after_acceptance_loses_the_answer_not_the_event() {
        let (server, session, gate) = narrow().await;
        let socket = session.of("/").unwrap();
        let mut ask = socket.emit("slow", &1).ack::<u64>().into_future();
        assert!(poll_once(&mut ask).is_pending());
        assert_eq!(session.stats().events_out, 1, "it is accepted at the first poll");
        drop(ask);
        gate.add_permits(1);
        becomes(|| server.stats().handled, 1).await;
        assert_eq!(session.stats().withdrawn, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_an_answer_counts_from_the_emit() {
        let (_server, session, gate) = narrow().await;
        let socket = session.of("/").unwrap();
        fill(&socket).await;
        let asks = socket.clone();
        let began = tokio::time::Instant::now();
        let four = Duration::from_secs(4);
        let asked =
            tokio::spawn(async move { asks.emit("slow", &6u64).ack::<u64>().timeout(four).await });
        // Three seconds pass before there is room for it; it is then never answered.
        tokio::time::sleep(Duration::from_secs(3)).await;
        gate.add_permits(1);
        match within(asked).await.unwrap() {
            Err(AckError::Timeout { after }) => assert_eq!(after, four),
            other => panic!("{other:?}"),
        }
        let elapsed = began.elapsed().as_millis();
        assert!((4000..4100).contains(&elapsed), "{elapsed} ms");
    }

    /// Asks for `events` answers of so many bytes at the same time.
    async fn all_at_once(config: Config, url: &str, events: u64, bytes: usize) {
        let namespace = Namespace::new("/").on("fetch", |Data(bytes): Data<usize>| async move {
            bytes::Bytes::from(vec![7; bytes])
        });
        let server = Server::with_config(config).mount(namespace).unwrap();
        let listening = listen(&server, url).await;
        let session = connect(listening.endpoint(), Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let asked = (0..events).map(|_| socket.emit("fetch", &bytes).ack::<bytes::Bytes>());
        for answer in within(all(asked)).await {
            assert_eq!(answer.unwrap().len(), bytes);
        }
        let stats = server.stats();
        assert_eq!((stats.handled, stats.slow_peers, stats.sessions), (events, 0, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn answers_that_together_are_larger_than_the_log_all_arrive() {
        // 12.5 MiB of answers to half a kilobyte of events; the log keeps 4 MiB.
        for url in [&fresh_mem(), "tcp://127.0.0.1:0"] {
            all_at_once(Config::default(), url, 128, 100 * 1024).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_answers_than_the_log_has_places_all_arrive() {
        let mut config = Config::default();
        config.log_packets_max = 64;
        for url in [&fresh_mem(), "tcp://127.0.0.1:0"] {
            all_at_once(config.clone(), url, 1000, 1).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_be_sent_says_so_and_costs_nothing() {
        let (_server, session, _gate) = narrow().await;
        let socket = session.of("/").unwrap();
        for name in emitwire::protocol::RESERVED_NAMES {
            match within(socket.emit(name, &())).await {
                Err(EmitError::Reserved { name: said }) => assert_eq!(&*said, name),
                other => panic!("{other:?}"),
            }
        }
        let long = "a".repeat(256);
        match within(socket.emit(&long, &())).await {
            Err(EmitError::NameTooLong { bytes: 256, max: 255 }) => {}
            other => panic!("{other:?}"),
        }
        match within(socket.emit("large", &"a".repeat(2 << 20)).ack::<()>()).await {
            Err(AckError::Emit(EmitError::TooLarge { .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(session.stats().events_out, 0);
    }
}

mod end {
    use super::*;

    /// A server for draining: quick about it, and clients come back at once.
    fn config() -> Config {
        let mut config = Config::default();
        config.drain_spread = Duration::from_millis(1);
        config
    }

    /// Ten clients on two wires, which count the news, each with twenty events in hand.
    struct Busy {
        server: Server,
        sessions: Vec<Session>,
        answers: Vec<JoinHandle<Result<u64, AckError>>>,
        heard: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
    }

    async fn busy() -> Busy {
        let (gate, pass) = gate();
        let server = Server::with_config(config()).mount(slow(pass)).unwrap();
        let tcp = listen(&server, "tcp://127.0.0.1:0").await;
        let mem = listen(&server, &fresh_mem()).await;
        let heard = Arc::new(AtomicU64::new(0));
        let (mut sessions, mut answers) = (Vec::new(), Vec::new());
        for number in 0..10 {
            let hears = Arc::clone(&heard);
            let namespace = Namespace::new("/").on("news", move || {
                hears.fetch_add(1, Ordering::AcqRel);
                async {}
            });
            let url = if number % 2 == 0 { tcp.endpoint() } else { mem.endpoint() };
            let client = Client::new(endpoint(url)).mount(namespace).reconnect(false);
            let session = within(client.connect()).await.unwrap();
            let socket = session.of("/").unwrap();
            answers.extend((0..20u64).map(|number| {
                let socket = socket.clone();
                tokio::spawn(async move { socket.emit("slow", &number).ack().await })
            }));
            sessions.push(session);
        }
        becomes(|| server.stats().events_in, 200).await;
        Busy { server, sessions, answers, heard, gate }
    }

    fn drain(server: &Server) -> JoinHandle<()> {
        let server = server.clone();
        tokio::spawn(async move { server.run_until(async {}).await })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_drain_delivers_and_answers_all_that_was_accepted_and_then_everyone_moves() {
        let Busy { server, sessions, answers, heard, gate } = busy().await;
        let news = within(server.of("/").emit("news", &1)).await.unwrap();
        assert_eq!(news.accepted, 10);
        let draining = drain(&server);
        gate.add_permits(200);
        within(draining).await.unwrap();
        for (place, answer) in answers.into_iter().enumerate() {
            assert_eq!(within(answer).await.unwrap().unwrap(), place as u64 % 20);
        }
        assert_eq!(heard.load(Ordering::Acquire), 10);
        for session in &sessions {
            assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
            match session.of("/") {
                Err(NamespaceError::NotConnected { path }) => assert_eq!(&*path, "/"),
                other => panic!("{other:?}"),
            }
            let stats = session.stats();
            assert_eq!((stats.events_out, stats.lost, stats.in_doubt), (20, 0, 0));
        }
        let stats = server.stats();
        assert_eq!((stats.sessions, stats.lost, stats.in_doubt), (0, 0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_draining_session_takes_nothing_new_from_either_side() {
        let Busy { server, sessions, answers, heard, gate } = busy().await;
        let draining = drain(&server);
        for session in &sessions {
            let socket = session.of("/").unwrap();
            let refused = async {
                loop {
                    match socket.emit("slow", &666).await {
                        Err(EmitError::Draining) => return,
                        // It has not heard of it yet.
                        Ok(()) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            };
            within(refused).await;
        }
        let news = within(server.of("/").emit("news", &2)).await.unwrap();
        assert_eq!((news.accepted, news.dropped), (0, 10));
        assert_eq!(server.stats().broadcast_dropped, 10);
        gate.add_permits(1_000_000);
        within(draining).await.unwrap();
        for answer in answers {
            assert!(within(answer).await.unwrap().is_ok(), "what ran went on");
        }
        assert_eq!(heard.load(Ordering::Acquire), 0);
        let sent: u64 = sessions.iter().map(|session| session.stats().events_out).sum();
        assert_eq!(server.stats().handled, sent);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_drain_waits_for_what_its_clients_accepted_and_could_not_write_yet() {
        let (gate, pass) = gate();
        let mut config = config();
        config.window_events = 2;
        let server = Server::with_config(config).mount(slow(pass)).unwrap();
        let url = listen(&server, "tcp://127.0.0.1:0").await.endpoint().to_owned();
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let answers: Vec<_> = (0..20u64)
            .map(|number| {
                let socket = socket.clone();
                tokio::spawn(async move { socket.emit("slow", &number).ack::<u64>().await })
            })
            .collect();
        becomes(|| session.stats().events_out, 20).await;
        becomes(|| server.stats().events_in, 2).await;
        let draining = drain(&server);
        gate.add_permits(20);
        within(draining).await.unwrap();
        let mut answered = 0;
        for answer in answers {
            answered += usize::from(within(answer).await.unwrap().is_ok());
        }
        assert_eq!(answered, 20, "all were accepted before");
    }

    #[tokio::test]
    async fn a_drain_waits_for_what_its_clients_have_written_and_it_has_not_read_yet() {
        let namespace =
            Namespace::new("/").on("say", |Data(number): Data<u64>| async move { number });
        let server = Server::with_config(config()).mount(namespace).unwrap();
        let url = listen(&server, "tcp://127.0.0.1:0").await.endpoint().to_owned();
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let mut asked: Vec<_> = (0..50u64)
            .map(|number| {
                let socket = socket.clone();
                Box::pin(async move { socket.emit("say", &number).ack::<u64>().await })
            })
            .collect();
        // Accepted, and written in place; on this one thread nobody has read it.
        assert!(asked.iter_mut().all(|ask| poll_once(ask).is_pending()));
        assert_eq!((session.stats().events_out, server.stats().events_in), (50, 0));
        let both = async { tokio::join!(server.run_until(async {}), all(asked)) };
        let ((), answers) = within(both).await;
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(answered, 50, "all were accepted before");
    }

    #[tokio::test]
    async fn what_a_client_wrote_before_it_heard_of_the_drain_is_still_answered() {
        let namespace =
            Namespace::new("/").on("say", |Data(number): Data<u64>| async move { number });
        let server = Server::with_config(config()).mount(namespace).unwrap();
        let url = listen(&server, "tcp://127.0.0.1:0").await.endpoint().to_owned();
        let address = url.trim_start_matches("tcp://").parse().unwrap();
        let mut peer = RawPeer::joined(address, "/").await;
        // All is confirmed and nothing is at work when the drain begins.
        let settled = Position { received: 1, granted: raw::LIMITS.window, ..Position::default() };
        peer.send(&Packet::Position(settled)).await;
        let quiet = raw::event_packet(1, "quiet", emitwire::Payload::empty());
        peer.send(&Packet::Volatile(quiet)).await;
        becomes(|| server.stats().volatile_in, 1).await;
        let draining = drain(&server);
        // The announcement is on its way to the client when it writes this.
        within(peer.stream.readable()).await.unwrap();
        peer.send(&raw::event(1, "say", emitwire::Payload::encode(&7).unwrap())).await;
        let mut received = 1;
        let mut answered = false;
        loop {
            match within(peer.next()).await {
                Some(Packet::Ack(_)) => {
                    received += 1;
                    answered = true;
                }
                Some(Packet::Close(close)) => break assert_eq!(close.code, CloseCode::Moved),
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
            // Now it knows, and says all that it has.
            let granted = raw::LIMITS.window;
            let position = Position { received, granted, ..Position::default() };
            peer.send(&Packet::Heartbeat { written: 2 }).await;
            peer.send(&Packet::Position(position)).await;
            if answered {
                let done = Drain { deadline: Duration::ZERO, delay: Duration::ZERO };
                peer.send(&Packet::Drain(done)).await;
            }
        }
        assert!(answered);
        drop(peer);
        within(draining).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_as_soon_as_its_last_handler_is() {
        let (gate, pass) = gate();
        let namespace = Namespace::new("/").on("slow", pass);
        let server = Server::with_config(config()).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/")).reconnect(false);
        let session = within(client.connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        let asked = tokio::spawn(async move { socket.emit("slow", &()).ack::<()>().await });
        becomes(|| server.stats().events_in, 1).await;
        let draining = drain(&server);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!draining.is_finished(), "a handler is at work");
        let began = tokio::time::Instant::now();
        gate.add_permits(1);
        within(asked).await.unwrap().unwrap();
        within(draining).await.unwrap();
        // No heartbeat comes this early and helps.
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_as_soon_as_its_last_volatile_handler_is() {
        let (gate, pass) = gate();
        let server = Server::with_config(config()).mount(slow(pass)).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/")).reconnect(false);
        let session = within(client.connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        within(socket.emit("slow", &1).volatile()).await.unwrap();
        becomes(|| server.stats().volatile_in, 1).await;
        let draining = drain(&server);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = tokio::time::Instant::now();
        gate.add_permits(1);
        within(draining).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_answers_to_what_the_server_had_accepted() {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
            begin.send(socket).unwrap();
            async {}
        });
        let server = Server::with_config(config()).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        // The client takes one event at a time, and its time over each.
        let mut narrow = Config::default();
        narrow.window_events = 1;
        let namespace = Namespace::new("/").on("slow", |Data(number): Data<u64>| async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            number
        });
        let client = Client::new(endpoint(&url)).config(narrow).mount(namespace);
        let session = within(client.reconnect(false).connect()).await.unwrap();
        let socket = within(begun.recv()).await.unwrap();
        let mut asked: Vec<_> = (0..5u64)
            .map(|number| {
                let socket = socket.clone();
                Box::pin(async move { socket.emit("slow", &number).ack::<u64>().await })
            })
            .collect();
        assert!(asked.iter_mut().all(|ask| poll_once(ask).is_pending()));
        assert_eq!(server.stats().events_out, 5);
        let both = async { tokio::join!(server.run_until(async {}), all(asked)) };
        let ((), answers) = within(both).await;
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(answered, 5, "{answers:?}");
        assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_a_handler_holds_up_ends_at_its_deadline() {
        let namespace =
            Namespace::new("/").on("stuck", || async { std::future::pending::<()>().await });
        let mut config = config();
        config.drain_timeout = Duration::from_secs(2);
        config.disconnect_grace = Duration::from_secs(1);
        let server = Server::with_config(config).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/")).reconnect(false);
        let session = within(client.connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        within(socket.emit("stuck", &())).await.unwrap();
        becomes(|| server.stats().events_in, 1).await;
        let began = tokio::time::Instant::now();
        within(server.run_until(async {})).await;
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
        assert_eq!((server.stats().sessions, server.stats().cancelled), (0, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_comes_back_when_its_server_is_back_on_the_same_port() {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let (end, mut ended) = mpsc::unbounded_channel();
        let chat = || {
            Namespace::new("/chat").on("add", |Data((a, b)): Data<(i32, i32)>| async move { a + b })
        };
        let server = Server::with_config(config()).mount(chat()).unwrap();
        let url = listen(&server, "tcp://127.0.0.1:0").await.endpoint().to_owned();
        let namespace = Namespace::new("/chat")
            .on_connect(move |socket: Socket| {
                begin.send(socket.id()).unwrap();
                async {}
            })
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                end.send((socket.id(), reason)).unwrap();
                async {}
            });
        let session = connect(&url, namespace).await;
        let first = within(begun.recv()).await.unwrap();
        let old = session.of("/chat").unwrap();
        assert_eq!(old.id(), first);
        within(server.run_until(async {})).await;
        assert_eq!(within(ended.recv()).await.unwrap(), (first, DisconnectReason::Moved));

        let server = Server::with_config(config()).mount(chat()).unwrap();
        let listening = async {
            loop {
                // The port may still be on its way out.
                if let Ok(listening) = server.listen(endpoint(&url)).await {
                    return listening;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(listening).await;
        let second = within(begun.recv()).await.unwrap();
        assert_ne!(first, second);
        becomes(|| session.of("/chat").is_ok(), true).await;
        let socket = session.of("/chat").unwrap();
        assert_eq!(within(socket.emit("add", &(2, 3)).ack::<i32>()).await.unwrap(), 5);
        match within(old.emit("add", &(2, 3))).await {
            Err(EmitError::Closed { reason: DisconnectReason::Moved }) => {}
            other => panic!("{other:?}"),
        }
        assert!(session.is_connected());
        within(session.close()).await;
        becomes(|| server.stats().links, 0).await;
    }

    #[tokio::test]
    async fn the_end_of_a_session_is_seen_once_by_both_ends_and_says_why() {
        let (end, mut ended) = mpsc::unbounded_channel();
        let hook = |who: &'static str| {
            let end = end.clone();
            move |reason: DisconnectReason| {
                end.send((who, reason)).unwrap();
                async {}
            }
        };
        let (server, url) = serve(Namespace::new("/").on_disconnect(hook("server"))).await;
        let session = connect(&url, Namespace::new("/").on_disconnect(hook("client"))).await;
        let socket = session.of("/").unwrap();
        within(session.close()).await;
        let mut ends = [within(ended.recv()).await.unwrap(), within(ended.recv()).await.unwrap()];
        ends.sort_by_key(|(who, _)| *who);
        let (closed, by_peer) = (DisconnectReason::Closed, DisconnectReason::ClosedByPeer);
        assert_eq!(ends, [("client", closed.clone()), ("server", by_peer)]);
        assert_eq!(socket.ended(), Some(closed));
        match within(socket.emit("x", &()).ack::<()>()).await {
            Err(AckError::Emit(EmitError::Closed { reason: DisconnectReason::Closed })) => {}
            other => panic!("{other:?}"),
        }
        becomes(|| server.stats().links, 0).await;
        assert!(ended.try_recv().is_err(), "each hook ran once");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_address_is_free_as_soon_as_run_until_or_close_is_done() {
        // A name in memory, because nobody else can take it in between.
        let url = fresh_mem();
        for round in 0..1000 {
            let server = Server::new();
            let listening = listen(&server, &url).await;
            if round % 2 == 0 {
                within(server.run_until(async {})).await;
            } else {
                within(listening.close()).await;
            }
        }
        // A port that was free may be somebody else's by now, but not each time.
        let mut free = 0;
        for _ in 0..10 {
            let server = Server::new();
            let url = listen(&server, "tcp://127.0.0.1:0").await.endpoint().to_owned();
            within(server.run_until(async {})).await;
            free += u32::from(within(Server::new().listen(endpoint(&url))).await.is_ok());
        }
        assert!(free >= 8, "free {free} times out of 10");
    }

    #[tokio::test]
    async fn events_of_a_socket_that_ends_are_answered_and_give_their_window_back() {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let ends = Namespace::new("/ends")
            .on_connect(move |socket: Socket| {
                begin.send(socket).unwrap();
                async {}
            })
            .on("stuck", || async { std::future::pending::<()>().await });
        let stays = Namespace::new("/stays").on("quick", || async { true });
        let mut config = config();
        config.window_events = 4;
        config.disconnect_grace = Duration::from_millis(50);
        let server = Server::with_config(config).mount(ends).unwrap().mount(stays).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url))
            .mount(Namespace::new("/ends"))
            .mount(Namespace::new("/stays"));
        let session = within(client.connect()).await.unwrap();
        becomes(|| session.of("/stays").is_ok(), true).await;
        let (ends, stays) = (session.of("/ends").unwrap(), session.of("/stays").unwrap());
        let asked = (0..4).map(|_| {
            let socket = ends.clone();
            tokio::spawn(async move { socket.emit("stuck", &()).ack::<()>().await })
        });
        let asked: Vec<_> = asked.collect();
        becomes(|| server.stats().events_in, 4).await;
        within(begun.recv()).await.unwrap().disconnect();
        // The whole window was in their hands.
        assert!(within(stays.emit("quick", &()).ack::<bool>()).await.unwrap());
        let mut cancelled = 0;
        for asked in asked {
            match within(asked).await.unwrap() {
                // One had begun and was cancelled, the others never began.
                Err(AckError::Refused(Nak::Failed)) => cancelled += 1,
                Err(AckError::Refused(Nak::Closed)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(cancelled, 1);
    }

    #[tokio::test]
    async fn an_answer_that_can_no_longer_come_is_not_waited_for() {
        let namespace = Namespace::new("/").on("hang up", |socket: Socket| async move {
            socket.disconnect();
            std::future::pending::<()>().await
        });
        let mut config = config();
        config.disconnect_grace = Duration::from_millis(50);
        let server = Server::with_config(config).mount(namespace).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let asked = tokio::spawn({
            let socket = socket.clone();
            async move { socket.emit("hang up", &()).ack::<()>().await }
        });
        becomes(|| socket.ended(), Some(DisconnectReason::ClosedByPeer)).await;
        within(session.close()).await;
        match within(asked).await.unwrap() {
            Err(AckError::Closed) => {}
            other => panic!("{other:?}"),
        }
    }
}

mod namespaces {
    use super::*;

    fn guarded(path: &str) -> Namespace {
        Namespace::new(path).authorize(|request: emitwire::ConnectRequest| async move {
            match request.auth::<String>() {
                Ok(name) if name == "ann" => Ok(()),
                Ok(_) => Err(emitwire::Refusal::with("who are you?")),
                Err(error) => Err(error.into()),
            }
        })
    }

    #[tokio::test]
    async fn a_namespace_that_refuses_leaves_the_others_to_the_client() {
        let open = Namespace::new("/open").on("ping", || async { "pong" });
        let server = Server::new().mount(open).unwrap().mount(guarded("/guarded")).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let client = Client::new(endpoint(&url))
            .mount(Namespace::new("/guarded"))
            .mount(Namespace::new("/open"))
            .auth(&"bob");
        let session = within(client.connect()).await.unwrap();
        match session.of("/guarded") {
            Err(NamespaceError::Refused { path, payload }) => {
                assert_eq!(&*path, "/guarded");
                assert_eq!(payload.decode::<String>().unwrap(), "who are you?");
            }
            other => panic!("{other:?}"),
        }
        match session.of("/other") {
            Err(NamespaceError::NotMounted { path }) => assert_eq!(&*path, "/other"),
            other => panic!("{other:?}"),
        }
        let open = session.of("/open").unwrap();
        assert_eq!(within(open.emit("ping", &()).ack::<String>()).await.unwrap(), "pong");
        assert_eq!(server.of("/guarded").sockets(), []);
    }

    #[tokio::test]
    async fn a_client_that_is_refused_everywhere_has_no_session() {
        let server = Server::new().mount(guarded("/guarded")).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        for (auth, words) in [(Some("bob"), Some("who are you?")), (None, None)] {
            let client = Client::new(endpoint(&url)).mount(Namespace::new("/guarded"));
            let client = match auth {
                Some(name) => client.auth(&name),
                None => client,
            };
            match within(client.connect()).await {
                Err(ConnectError::Refused { namespace, payload }) => {
                    assert_eq!(namespace, "/guarded");
                    assert_eq!(payload.decode::<String>().ok().as_deref(), words);
                }
                other => panic!("{other:?}"),
            }
        }
        becomes(|| server.stats().links, 0).await;
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/guarded")).auth(&"ann");
        assert!(within(client.connect()).await.unwrap().of("/guarded").is_ok());
    }

    #[tokio::test]
    async fn no_event_reaches_a_handler_before_the_connect_hook_has_returned() {
        let (gate, pass) = gate();
        let ready = Arc::new(AtomicBool::new(false));
        let (readies, looks) = (Arc::clone(&ready), Arc::clone(&ready));
        let namespace = Namespace::new("/")
            .on_connect(move || {
                let (pass, ready) = (pass(), Arc::clone(&readies));
                async move {
                    pass.await;
                    ready.store(true, Ordering::Release);
                }
            })
            .on("ready", move || {
                let ready = looks.load(Ordering::Acquire);
                async move { ready }
            });
        let (server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let asked =
            tokio::spawn(async move { socket.emit("ready", &()).ack::<bool>().await.unwrap() });
        becomes(|| server.stats().events_in, 1).await;
        assert_eq!(server.stats().handled, 0);
        gate.add_permits(1);
        assert!(within(asked).await.unwrap());
    }
}

mod rooms {
    use super::*;

    /// A socket on the server, and what its client hears.
    struct Member {
        socket: Socket,
        _session: Session,
        ear: mpsc::UnboundedReceiver<String>,
    }

    async fn members<const N: usize>() -> (Server, [Member; N]) {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
            begin.send(socket).unwrap();
            async {}
        });
        let (server, url) = serve(namespace).await;
        let mut members = Vec::new();
        for _ in 0..N {
            let (mouth, ear) = mpsc::unbounded_channel();
            let namespace = Namespace::new("/").fallback(move |event: Event| {
                mouth.send(event.name.to_string()).unwrap();
                async {}
            });
            let session = connect(&url, namespace).await;
            let socket = within(begun.recv()).await.unwrap();
            members.push(Member { socket, _session: session, ear });
        }
        let members = members.try_into().unwrap_or_else(|_| unreachable!("there are N"));
        (server, members)
    }

    /// Who heard what since the last time: everyone is told to say so, in order, behind it.
    async fn heard<const N: usize>(server: &Server, members: &mut [Member; N]) -> [Vec<String>; N] {
        within(server.of("/").emit("stop", &())).await.unwrap();
        let mut all = Vec::new();
        for member in members {
            let mut heard = Vec::new();
            loop {
                let name = within(member.ear.recv()).await.unwrap();
                if name == "stop" {
                    break;
                }
                heard.push(name);
            }
            all.push(heard);
        }
        all.try_into().unwrap_or_else(|_| unreachable!("there are N"))
    }

    fn nothing() -> Vec<String> {
        Vec::new()
    }

    #[tokio::test]
    async fn each_verb_reaches_whom_it_names_and_each_of_them_once() {
        let (server, mut members) = members::<4>().await;
        let [ann, bob, cid, dan] = members.each_ref().map(|member| member.socket.clone());
        ann.join(["red", "blue"]).await.unwrap();
        bob.join("red").await.unwrap();
        cid.join(vec!["blue".to_owned()]).await.unwrap();
        let hi = || vec!["hi".to_owned()];
        let everyone = server.of("/");

        // What is selected, how many it reaches, and who of the four hears it.
        let table = [
            (everyone.clone(), [1, 1, 1, 1]),
            (everyone.clone().to("red"), [1, 1, 0, 0]),
            (everyone.clone().to("red").to("blue"), [1, 1, 1, 0]),
            (everyone.clone().to(["red", "blue", "red"]), [1, 1, 1, 0]),
            (everyone.clone().within("red").except("blue"), [0, 1, 0, 0]),
            (everyone.clone().except(["red", "blue"]), [0, 0, 0, 1]),
            (everyone.clone().to("nobody"), [0, 0, 0, 0]),
            (everyone.clone().to(dan.id()), [0, 0, 0, 1]),
            (everyone.clone().to("red").to(dan.id()).to(ann.id()), [1, 1, 0, 1]),
            (everyone.clone().except(ann.id()), [0, 1, 1, 1]),
            (ann.to("red"), [0, 1, 0, 0]),
            (ann.to(["red", "blue"]), [0, 1, 1, 0]),
            (ann.within("red"), [1, 1, 0, 0]),
            (dan.to("red"), [1, 1, 0, 0]),
            (ann.to(ann.id()), [0, 0, 0, 0]),
            (ann.within(ann.id()), [1, 0, 0, 0]),
            (ann.to(bob.id()), [0, 1, 0, 0]),
            (ann.broadcast(), [0, 1, 1, 1]),
            (ann.except("red"), [0, 0, 1, 1]),
            (ann.broadcast().except(["red", "blue"]), [0, 0, 0, 1]),
        ];
        for (number, (selection, reached)) in table.into_iter().enumerate() {
            let fanout = within(selection.emit("hi", &())).await.unwrap();
            let count: usize = reached.iter().sum();
            assert_eq!((fanout.accepted, fanout.dropped), (count, 0), "row {number}");
            assert_eq!(selection.sockets().len(), count, "row {number}");
            let wanted = reached.map(|times| if times == 1 { hi() } else { nothing() });
            assert_eq!(heard(&server, &mut members).await, wanted, "row {number}");
        }
    }

    #[tokio::test]
    async fn rooms_come_with_their_first_member_and_go_with_their_last() {
        let (server, mut members) = members::<2>().await;
        let [ann, bob] = members.each_ref().map(|member| member.socket.clone());
        let rooms = || {
            let mut rooms: Vec<_> = server
                .of("/")
                .rooms()
                .into_iter()
                .map(|(name, size)| (name.to_string(), size))
                .collect();
            rooms.sort();
            rooms
        };
        assert_eq!(rooms(), []);
        ann.join(["red", "blue"]).await.unwrap();
        ann.join("red").await.unwrap();
        bob.join("red").await.unwrap();
        assert_eq!(rooms(), [("blue".to_owned(), 1), ("red".to_owned(), 2)]);
        let mut names: Vec<_> = ann.rooms().unwrap().iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["blue", "red"]);
        ann.leave(["red", "never joined"]).await.unwrap();
        within(server.of("/").to("red").emit("hi", &())).await.unwrap();
        assert_eq!(heard(&server, &mut members).await, [nothing(), vec!["hi".to_owned()]]);
        ann.disconnect();
        becomes(rooms, vec![("red".to_owned(), 1)]).await;
        match ann.join("red").await {
            Err(RoomError::Closed) => {}
            other => panic!("{other:?}"),
        }
        bob.leave("red").await.unwrap();
        assert_eq!(rooms(), []);
    }

    #[tokio::test]
    async fn a_socket_is_reached_by_its_id_whoever_joined_a_room_of_that_name() {
        let (server, mut members) = members::<2>().await;
        let [ann, bob] = members.each_ref().map(|member| member.socket.clone());
        bob.join(ann.id()).await.unwrap();
        within(server.of("/").to(ann.id()).emit("secret", &())).await.unwrap();
        let [of_ann, _] = heard(&server, &mut members).await;
        assert_eq!(of_ann, ["secret"]);
    }

    #[tokio::test]
    async fn rooms_live_on_servers() {
        let (_server, url) = serve(Namespace::new("/")).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        assert_eq!(socket.join("red").await, Err(RoomError::NotOnServer));
        assert_eq!(socket.leave("red").await, Err(RoomError::NotOnServer));
        assert_eq!(socket.rooms(), Err(RoomError::NotOnServer));
        let broadcasts =
            [socket.to("red"), socket.within("red"), socket.except("red"), socket.broadcast()];
        for broadcast in broadcasts {
            match within(broadcast.emit("hi", &())).await {
                Err(EmitError::Room(RoomError::NotOnServer)) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!((broadcast.sockets(), broadcast.rooms()), (vec![], vec![]));
        }
    }

    #[tokio::test]
    async fn a_namespace_that_is_not_mounted_cannot_be_spoken_to() {
        let (server, _url) = serve(Namespace::new("/")).await;
        match within(server.of("/nowhere").to("red").emit("hi", &())).await {
            Err(EmitError::NoNamespace { path }) => assert_eq!(&*path, "/nowhere"),
            other => panic!("{other:?}"),
        }
    }
}

mod listeners {
    use super::*;

    #[tokio::test]
    async fn once_hears_one_event_and_then_no_more() {
        let namespace = Namespace::new("/")
            .unhandled(Unhandled::Nak)
            .once("x", || async { "once" })
            .once("y", || async { "once" })
            .on("y", || async { "always" });
        let (_server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        assert_eq!(within(socket.emit("x", &()).ack::<String>()).await.unwrap(), "once");
        match within(socket.emit("x", &()).ack::<String>()).await {
            Err(AckError::Refused(Nak::NoHandler)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(within(socket.emit("y", &()).ack::<String>()).await.unwrap(), "once");
        assert_eq!(within(socket.emit("y", &()).ack::<String>()).await.unwrap(), "always");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn once_hears_one_event_however_many_come_at_the_same_time() {
        let namespace = Namespace::new("/").unhandled(Unhandled::Nak);
        let handle = namespace.clone();
        let (_server, url) = serve(namespace).await;
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(connect(&url, Namespace::new("/")).await);
        }
        for _ in 0..50 {
            let _ = handle.clone().once("x", || async { true });
            let asked: Vec<_> = sessions
                .iter()
                .map(|session| {
                    let socket = session.of("/").unwrap();
                    tokio::spawn(async move { socket.emit("x", &()).ack::<bool>().await.is_ok() })
                })
                .collect();
            let mut heard = 0;
            for asked in asked {
                heard += u32::from(within(asked).await.unwrap());
            }
            assert_eq!(heard, 1);
        }
    }

    #[tokio::test]
    async fn on_any_hears_everything_first_and_fallback_only_what_nobody_hears() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = |who: &'static str| {
            let heard = Arc::clone(&heard);
            move |event: &Event| heard.lock().unwrap().push(format!("{who} {}", event.name))
        };
        let (any, named, rest) = (note("any"), note("named"), note("rest"));
        let namespace = Namespace::new("/")
            .fallback(move |event: Event| {
                rest(&event);
                async { "from fallback" }
            })
            .on("known", move |event: Event| {
                named(&event);
                async { "from on" }
            })
            .on_any(move |event: Event| {
                any(&event);
                async { "from any" }
            });
        let (_server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        let known: String = within(socket.emit("known", &()).ack()).await.unwrap();
        let unknown: String = within(socket.emit("unknown", &()).ack()).await.unwrap();
        assert_eq!((&*known, &*unknown), ("from on", "from fallback"));
        let wanted = ["any known", "named known", "any unknown", "rest unknown"];
        assert_eq!(*heard.lock().unwrap(), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn on_any_hears_a_parked_event_once() {
        let heard = Arc::new(AtomicU64::new(0));
        let hears = Arc::clone(&heard);
        let namespace = Namespace::new("/").on_any(move || {
            hears.fetch_add(1, Ordering::AcqRel);
            async {}
        });
        let handle = namespace.clone();
        let (server, url) = serve(namespace).await;
        let session = connect(&url, Namespace::new("/")).await;
        let socket = session.of("/").unwrap();
        within(socket.emit("later", &())).await.unwrap();
        becomes(|| server.stats().parked, 1).await;
        let _ = handle.on("later", || async {});
        becomes(|| server.stats().handled, 1).await;
        assert_eq!(heard.load(Ordering::Acquire), 1);
    }
}

mod conservation {
    use super::*;
    use tokio::io::{AsyncWriteExt, copy};
    use tokio::net::{TcpListener, TcpStream};

    /// Everything: handled, failed, refused, unheard, with and without an answer.
    fn mixed() -> Namespace {
        Namespace::new("/")
            .unhandled(Unhandled::Nak)
            .on("fine", || async { tokio::task::yield_now().await })
            .on("fails", || async { Err::<(), _>(Nak::Failed) })
            .on("number", |Data(_): Data<u8>| async {})
    }

    async fn talk(socket: Socket, events: usize) {
        for number in 0..events {
            let name = ["fine", "fails", "number", "unheard"][number % 4];
            if number % 3 == 0 {
                let _ = within(socket.emit(name, "text").ack::<()>()).await;
            } else {
                within(socket.emit(name, "text")).await.unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_one_side_sent_the_other_got_and_every_event_has_one_fate() {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let namespace = mixed().on_connect(move |socket: Socket| {
            begin.send(socket).unwrap();
            async {}
        });
        let server = Server::new().mount(namespace).unwrap();
        let tcp = listen(&server, "tcp://127.0.0.1:0").await;
        let mem = listen(&server, &fresh_mem()).await;
        let mut sessions = Vec::new();
        let mut talking = Vec::new();
        for number in 0..20 {
            let url = if number % 2 == 0 { tcp.endpoint() } else { mem.endpoint() };
            let session = connect(url, mixed()).await;
            talking.push(tokio::spawn(talk(session.of("/").unwrap(), 200)));
            talking.push(tokio::spawn(talk(within(begun.recv()).await.unwrap(), 200)));
            sessions.push(session);
        }
        for talked in talking {
            talked.await.unwrap();
        }
        let clients = || {
            let stats = sessions.iter().map(Session::stats);
            stats.fold([0; 5], |sum, stats| {
                let more = [
                    stats.events_out,
                    stats.events_in,
                    stats.handled,
                    stats.refused,
                    stats.refused_by_peer,
                ];
                std::array::from_fn(|place| sum[place] + more[place])
            })
        };
        let server_side = || {
            let stats = server.stats();
            [stats.events_in, stats.events_out, stats.refused_by_peer, stats.refused, stats.handled]
        };
        // Twenty sockets, two hundred events each way; three of four are refused.
        becomes(clients, [4000, 4000, 1000, 3000, 3000]).await;
        becomes(server_side, [4000, 4000, 3000, 3000, 1000]).await;
        within(all(sessions.into_iter().map(Session::close))).await;
        becomes(|| server.stats().links, 0).await;
        let stats = server.stats();
        assert_eq!((stats.lost, stats.withdrawn, stats.parked, stats.cancelled), (0, 0, 0, 0));
    }

    #[tokio::test]
    async fn an_event_that_was_answered_is_in_no_doubt_when_its_session_ends() {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let namespace = mixed().on_connect(move |socket: Socket| {
            begin.send(socket).unwrap();
            async {}
        });
        let (server, url) = serve(namespace).await;
        let session = connect(&url, mixed()).await;
        let socket = within(begun.recv()).await.unwrap();
        for _ in 0..10 {
            within(socket.emit("fine", &()).ack::<()>()).await.unwrap();
        }
        within(session.close()).await;
        becomes(|| server.stats().links, 0).await;
        let stats = server.stats();
        assert_eq!((stats.events_out, stats.lost), (10, 0));
        assert_eq!(stats.in_doubt, 0, "each event has one fate: these were handled");
    }

    /// Passes bytes on until it is told to cut the wire.
    async fn proxy(listener: TcpListener, upstream: String, mut cut: mpsc::Receiver<()>) {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(upstream).await.unwrap();
        let (mut near_read, mut near_write) = near.split();
        let (mut far_read, mut far_write) = far.split();
        tokio::select! {
            _ = copy(&mut near_read, &mut far_write) => {}
            _ = copy(&mut far_read, &mut near_write) => {}
            _ = cut.recv() => {}
        }
        let _ = far_write.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn when_the_link_is_cut_every_event_is_handled_lost_or_in_doubt() {
        for round in 0..10 {
            let mut config = Config::default();
            config.window_events = 16;
            config.disconnect_grace = Duration::from_millis(200);
            let server = Server::with_config(config).mount(mixed()).unwrap();
            let wire = listen(&server, "tcp://127.0.0.1:0").await;
            let upstream = wire.endpoint().trim_start_matches("tcp://").to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("tcp://{}", listener.local_addr().unwrap());
            let (cut, cuts) = mpsc::channel(1);
            let proxied = tokio::spawn(proxy(listener, upstream, cuts));
            let client = Client::new(endpoint(&url)).mount(Namespace::new("/")).reconnect(false);
            let session = within(client.connect()).await.unwrap();
            let socket = session.of("/").unwrap();
            let emitting = tokio::spawn(async move {
                while socket.emit("fine", &()).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            });
            becomes(|| server.stats().events_in > 50 * round, true).await;
            cut.send(()).await.unwrap();
            within(proxied).await.unwrap();
            within(emitting).await.unwrap();
            assert_eq!(within(session.ended()).await, DisconnectReason::LinkLost);
            becomes(|| server.stats().links, 0).await;
            let (here, there) = (session.stats(), server.stats());
            assert_eq!(there.events_in, there.handled + there.refused + there.cancelled);
            let certain = here.events_out - here.lost - here.in_doubt;
            assert!(there.events_in >= certain, "confirmed, and never arrived: {here:?} {there:?}");
            let possible = here.events_out - here.lost;
            assert!(there.events_in <= possible, "lost, and arrived: {here:?} {there:?}");
        }
    }
}
