//! Events that come before their listener.

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
async fn a_listener_that_comes_in_the_moment_of_parking_is_not_overlooked() {
    let (passes_by, mut passing) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").unhandled(Unhandled::Park { ttl: TTL }).on_any(move || {
        // Who waits for this runs behind the driver, which parks, and ahead of whoever looks after
        // what is parked.
        passes_by.send(()).unwrap();
        std::future::ready(())
    });
    let handle = namespace.clone();
    let (_server, url) = serve(namespace).await;
    let session = connect(&url, Namespace::new("/")).await;
    let listens = tokio::spawn(async move {
        passing.recv().await.unwrap();
        let _ = handle.on("later", || async {});
    });
    let began = tokio::time::Instant::now();
    within(session.of("/").unwrap().emit("later", &()).ack::<()>()).await.unwrap();
    assert!(began.elapsed() < TTL, "it was handled when its time was up");
    listens.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_listener_never_comes_is_refused_when_it_has_waited_long_enough() {
    let (server, url) = serve(Namespace::new("/").unhandled(Unhandled::Park { ttl: TTL })).await;
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
    let namespace =
        Namespace::new("/").unhandled(Unhandled::Park { ttl: TTL }).on("heard", || async { true });
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
    let client =
        Client::new(endpoint(&url)).mount(Namespace::new("/nak")).mount(Namespace::new("/ignore"));
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
