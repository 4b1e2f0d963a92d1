//! Handlers that fail, panic, or get what they cannot read.

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
        .on("busy", || async { Err::<(), _>(emitwire::Refusal::busy(Duration::from_millis(1500))) })
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
        .inbound(limit)
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
