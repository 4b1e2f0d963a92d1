//! Events that are awaited while others wait in line, are parked, or are never taken.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connect_hook_may_await_one_event_after_another() {
    let ns = Namespace::new("/").on_connect(|socket: Socket| async move {
        let _a = socket.once("a").await?;
        let _b = socket.once("b").await?;
        socket.emit("welcome", &()).await?;
        Ok::<_, emitwire::Refusal>(())
    });
    let server = Server::new().mount(ns).unwrap();
    let mut ann = testing::connect_early(&server, "/").await;
    ann.emit("a", &1).await.unwrap();
    ann.emit("b", &2).await.unwrap();
    ann.expect::<()>("welcome").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_in_line_is_served_to_the_handler_that_awaits_it_next() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let ns = Namespace::new("/").on("login", move |socket: Socket| {
        let tx = tx.clone();
        async move {
            let a = socket.once("a").await;
            let b = socket.once("b").await;
            let _ = tx.send((a.is_ok(), format!("{b:?}")));
        }
    });
    let (_s, ann, _socket) = one(ns).await;
    for name in ["login", "a", "b"] {
        ann.emit(name, &()).await.unwrap();
    }
    let (a, b) = rx.recv().await.unwrap();
    assert!(a && b.starts_with("Ok"), "{a} {b}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_awaits_again_and_again_gets_every_event() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let ns = Namespace::new("/").on("upload", move |socket: Socket| {
        let tx = tx.clone();
        async move {
            let mut n = 0u32;
            while socket.once("chunk").timeout(Duration::from_secs(5)).await.is_ok() {
                n += 1;
            }
            let _ = tx.send(n);
        }
    });
    let (_s, ann, _socket) = one(ns).await;
    ann.emit("upload", &()).await.unwrap();
    for n in 0..100 {
        ann.emit("chunk", &n).await.unwrap();
    }
    assert_eq!(rx.recv().await.unwrap(), 100);
}

#[tokio::test]
async fn events_that_are_awaited_one_after_another_come_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let s2 = seen.clone();
    let (_s, ann, socket) = one(Namespace::new("/")).await;
    let t = tokio::spawn(async move {
        for _ in 0..200 {
            let Ok(e) = socket.once("c").timeout(Duration::from_secs(1)).await else { break };
            s2.lock().unwrap().push(e.payload.decode::<u32>().unwrap());
        }
    });
    tokio::task::yield_now().await;
    for i in 0..200u32 {
        ann.emit("c", &i).await.unwrap();
        if i % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(8), t).await;
    let seen = seen.lock().unwrap().clone();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(seen, sorted);
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn the_oldest_of_its_name_is_served_first() {
    let (server, ann, socket) = one(Namespace::new("/")).await;
    ann.emit("c", &1).await.unwrap();
    until(|| server.stats().parked >= 1).await;
    ann.emit("c", &2).await.unwrap();
    let first = socket.once("c").into_future();
    let first: u32 = first.await.unwrap().payload.decode().unwrap();
    let second: u32 = socket.once("c").await.unwrap().payload.decode().unwrap();
    assert_eq!((first, second), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_first_who_takes_an_event_has_handled_it() {
    let (_s, ann, socket) = one(Namespace::new("/")).await;
    let first = socket.once("x").into_future();
    let _held = socket.once("x").into_future();
    let asked = tokio::spawn(ann.emit("x", &()).ack::<()>().into_future());
    first.await.unwrap();
    asked.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_took_are_handled_in_order() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (server, ann, socket) = one(Namespace::new("/")).await;
    let a = socket.once("a").into_future();
    let b = socket.once("b").into_future();
    ann.emit("a", &()).await.unwrap();
    ann.emit("b", &()).await.unwrap();
    until(|| server.stats().events_in >= 2).await;
    for n in ["a", "b"] {
        let heard = heard.clone();
        socket
            .on(n, move || {
                let heard = heard.clone();
                async move { heard.lock().unwrap().push(n) }
            })
            .unwrap();
    }
    drop((a, b));
    until(|| heard.lock().unwrap().len() == 2).await;
    assert_eq!(*heard.lock().unwrap(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_awaits_an_event_does_not_wait_for_the_grace_of_handlers() {
    let ns = Namespace::new("/").on("stuck", pending::<()>);
    let (server, ann, socket) = one(ns).await;
    ann.emit("stuck", &()).await.unwrap();
    until(|| server.stats().events_in >= 1).await;
    let w = socket.once("x").timeout(Duration::from_secs(100)).into_future();
    let t = tokio::time::Instant::now();
    socket.disconnect("");
    let r = w.await;
    assert!(t.elapsed() < Duration::from_secs(1), "{r:?} after {:?}", t.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_an_event_in_the_hands_of_who_awaited_it() {
    let (server, ann, socket) = one(Namespace::new("/")).await;
    let waiting = socket.once("x").into_future();
    let asked = tokio::spawn(ann.emit("x", &()).ack::<()>().into_future());
    until(|| server.stats().events_in >= 1).await;
    let s = server.clone();
    let drain = tokio::spawn(async move { s.run_until(async {}).await });
    // Time for a drain that does not wait to end the socket; the clock is a paused one.
    tokio::time::sleep(Duration::from_millis(500)).await;
    waiting.await.unwrap();
    let r = asked.await.unwrap();
    drain.await.unwrap();
    r.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_listened_to_is_served_once_while_it_waits_in_line() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let ns = Namespace::new("/").on("c", || async {}).on("login", move |socket: Socket| {
        let tx = tx.clone();
        async move {
            let t = Duration::from_secs(1);
            let mut seen = vec![];
            for _ in 0..4 {
                match socket.once("c").timeout(t).await {
                    Ok(e) => seen.push(e.payload.decode::<u32>().unwrap()),
                    Err(_) => break,
                }
            }
            let _ = tx.send(seen);
        }
    });
    let (_s, ann, _socket) = one(ns).await;
    ann.emit("login", &()).await.unwrap();
    for n in 0..2u32 {
        ann.emit("c", &n).await.unwrap();
    }
    assert_eq!(rx.recv().await.unwrap(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_awaits_beside_a_slow_listener_gets_each_event_once() {
    // a slow listener; somebody else awaits the same events one after another
    let ns = Namespace::new("/").on("c", || tokio::time::sleep(Duration::from_secs(1)));
    let (_s, ann, socket) = one(ns).await;
    let t = tokio::spawn(async move {
        let mut seen = vec![];
        while let Ok(e) = socket.once("c").timeout(Duration::from_secs(20)).await {
            seen.push(e.payload.decode::<u32>().unwrap());
            if seen.len() > 20 {
                break;
            }
        }
        seen
    });
    for n in 0..3u32 {
        ann.emit("c", &n).await.unwrap();
    }
    assert_eq!(t.await.unwrap(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_does_not_serve_the_same_event_again() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let ns = Namespace::new("/").fallback(|| async {}).on_connect(move |socket: Socket| {
        let tx = tx.clone();
        async move {
            let a: u32 = socket.once("c").await.unwrap().payload.decode().unwrap();
            let b: u32 = socket.once("c").await.unwrap().payload.decode().unwrap();
            let _ = tx.send((a, b));
        }
    });
    let server = Server::new().mount(ns).unwrap();
    let ann = testing::connect_early(&server, "/").await;
    ann.emit("c", &1u32).await.unwrap();
    ann.emit("c", &2u32).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), (1, 2));
}

async fn dialog(ns: Namespace) -> Result<(), String> {
    let ns = ns.on("login", |socket: Socket| async move {
        socket.once("a").await?;
        socket.once("b").await?;
        Ok::<_, emitwire::Refusal>(())
    });
    let (_s, ann, _socket) = one(ns).await;
    let login = Socket::clone(&ann);
    let login = tokio::spawn(async move { login.emit("login", &()).ack::<()>().await });
    ann.emit("a", &()).ack::<()>().await.map_err(|e| format!("a {e:?}"))?;
    ann.emit("b", &()).ack::<()>().await.map_err(|e| format!("b {e:?}"))?;
    login.await.unwrap().map_err(|e| format!("login {e:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_dialog_goes_on_whoever_hears_everything() {
    dialog(Namespace::new("/")).await.unwrap();
    dialog(Namespace::new("/").on_any(|| async {})).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_taken_is_not_refused_by_the_end_of_its_socket() {
    let ns = Namespace::new("/").on_any(|| async {}).on("login", |socket: Socket| async move {
        let _ = socket.once("a").await;
        pending::<()>().await
    });
    let mut config = Config::default();
    config.disconnect_grace = MOMENT;
    let (_s, ann, socket) = one_with(config, ns).await;
    ann.emit("login", &()).await.unwrap();
    let a = Socket::clone(&ann);
    let a = tokio::spawn(async move { a.emit("a", &()).ack::<()>().await });
    until(|| socket.stats().events_in >= 2).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    socket.disconnect("");
    let r = a.await.unwrap();
    assert!(!matches!(r, Err(AckError::Refused(Nak::Closed))), "{r:?}");
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_that_nobody_took_goes_back_to_its_place() {
    let (_s, ann, socket) = one(Namespace::new("/")).await;
    for n in 1..=3u32 {
        ann.emit("c", &n).await.unwrap();
    }
    until(|| socket.stats().parked == 3).await;
    let w = socket.once("c").into_future();
    until(|| socket.stats().parked == 2).await;
    drop(w);
    until(|| socket.stats().parked == 3).await;
    let first: u32 = socket.once("c").await.unwrap().payload.decode().unwrap();
    assert_eq!(first, 1);
}

async fn stress(drops: bool) {
    let ns = Namespace::new("/").unhandled(Unhandled::Park { ttl: Duration::from_secs(60) });
    let mut config = Config::default();
    config.parked_events_max = 100_000;
    let (server, ann, socket) = one_with(config, ns).await;
    const N: u32 = 1_500;
    let t = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut k = 0u32;
        while (seen.len() as u32) < N {
            k += 1;
            if drops && k % 3 == 0 {
                let w = socket.once("c").into_future();
                if k % 2 == 0 {
                    tokio::task::yield_now().await;
                }
                drop(w);
            }
            match socket.once("c").timeout(Duration::from_secs(3)).await {
                Ok(e) => seen.push(e.payload.decode::<u32>().unwrap()),
                Err(e) => panic!("after {}: {e:?} {:?}", seen.len(), socket.stats()),
            }
        }
        seen
    });
    for n in 0..N {
        ann.emit("c", &n).await.unwrap();
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let seen = tokio::time::timeout(Duration::from_secs(60), t).await.unwrap().unwrap();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len() as u32, N, "each once");
    let inversions = seen.windows(2).filter(|w| w[0] > w[1]).count();
    if !drops {
        assert_eq!(inversions, 0);
    }
    let stop = tokio::time::Instant::now();
    server.run_until(async {}).await;
    assert!(stop.elapsed() < Duration::from_secs(3), "drain took {:?}", stop.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_events_are_awaited_in_order_and_once_whoever_lets_go() {
    stress(false).await;
    stress(true).await;
}
