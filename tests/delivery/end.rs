//! Drains, closes and returns: what becomes of what was accepted.

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
    let namespace = Namespace::new("/").on("say", |Data(number): Data<u64>| async move { number });
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
    let namespace = Namespace::new("/").on("say", |Data(number): Data<u64>| async move { number });
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
    let chat =
        || Namespace::new("/chat").on("add", |Data((a, b)): Data<(i32, i32)>| async move { a + b });
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
    // `run_until` has left the port.
    within(server.listen(endpoint(&url))).await.unwrap();
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
    becomes(|| server.stats().sessions, 0).await;
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
    becomes(|| server.stats().sessions, 0).await;
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
    let client =
        Client::new(endpoint(&url)).mount(Namespace::new("/ends")).mount(Namespace::new("/stays"));
    let session = within(client.connect()).await.unwrap();
    becomes(|| session.of("/stays").is_ok(), true).await;
    let (ends, stays) = (session.of("/ends").unwrap(), session.of("/stays").unwrap());
    let asked = (0..4).map(|_| {
        let socket = ends.clone();
        tokio::spawn(async move { socket.emit("stuck", &()).ack::<()>().await })
    });
    let asked: Vec<_> = asked.collect();
    becomes(|| server.stats().events_in, 4).await;
    within(begun.recv()).await.unwrap().disconnect("");
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
        socket.disconnect("");
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
