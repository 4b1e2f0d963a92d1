//! Once, any and fallback.

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
