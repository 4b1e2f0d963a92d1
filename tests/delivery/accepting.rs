//! Acceptance, answers and their deadlines.

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
    let namespace = Namespace::new("/")
        .on("fetch", |Data(bytes): Data<usize>| async move { bytes::Bytes::from(vec![7; bytes]) });
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
    for url in &all_wires() {
        all_at_once(Config::default(), url, 128, 100 * 1024).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_answers_than_the_log_has_places_all_arrive() {
    let mut config = Config::default();
    config.log_packets_max = 64;
    for url in &all_wires() {
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
