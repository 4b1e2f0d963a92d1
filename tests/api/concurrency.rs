//! How many handlers of a socket run at once, and for how long.

use super::*;

/// A handler that notes its number when it begins, and waits to be let go.
fn gated(namespace: Namespace) -> (Namespace, Notes, Arc<Semaphore>) {
    let (notes, gate) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let (begun, waits) = (notes.clone(), Arc::clone(&gate));
    let namespace = namespace.on("work", move |Data(number): Data<u8>| {
        let gate = Arc::clone(&waits);
        begun.add(number.to_string());
        async move {
            gate.acquire().await.unwrap().forget();
            number
        }
    });
    (namespace, notes, gate)
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_of_a_socket_run_at_once_as_the_namespace_says_and_begin_in_order() {
    let (namespace, notes, gate) = gated(Namespace::new("/").concurrent(3));
    let (_server, ann, _socket) = one(namespace).await;
    for number in 0..5 {
        within(ann.emit("work", &number)).await.unwrap();
    }
    settle().await;
    assert_eq!(notes.take(), ["0", "1", "2"]);
    gate.add_permits(1);
    settle().await;
    assert_eq!(notes.take(), ["3"]);
    gate.add_permits(4);
    settle().await;
    assert_eq!(notes.take(), ["4"]);
    assert_eq!(ann.stats().queue.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn without_it_they_run_one_after_another() {
    let (namespace, notes, gate) = gated(Namespace::new("/"));
    let (_server, ann, _socket) = one(namespace).await;
    for number in [0, 1] {
        within(ann.emit("work", &number)).await.unwrap();
    }
    settle().await;
    assert_eq!(notes.take(), ["0"]);
    gate.add_permits(2);
    settle().await;
    assert_eq!(notes.take(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn events_that_waited_for_the_connect_hook_run_beside_each_other() {
    let (namespace, notes, gate) = gated(Namespace::new("/").concurrent(4));
    let held = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&held);
    let namespace = namespace.on_connect(move || {
        let held = Arc::clone(&waits);
        async move { held.acquire().await.unwrap().forget() }
    });
    let server = Server::new().mount(namespace).unwrap();
    let ann = testing::connect_early(&server, "/").await;
    for number in 0..3 {
        within(ann.emit("work", &number)).await.unwrap();
    }
    settle().await;
    assert_eq!(notes.take(), [""; 0], "no event before the hook has returned");
    held.add_permits(1);
    settle().await;
    assert_eq!(notes.take(), ["0", "1", "2"]);
    gate.add_permits(3);
}

/// Each end's handler asks the other end back and waits for its answer.
async fn echoes_back(handlers: usize) -> Result<u8, AckError> {
    let back = |socket: Socket| async move { socket.emit("back", &()).ack::<u8>().await };
    let namespace =
        Namespace::new("/").concurrent(handlers).on("go", back).on("last", || async { 7 });
    let (_server, ann, _socket) = one(namespace).await;
    ann.on("back", |socket: Socket| async move { socket.emit("last", &()).ack::<u8>().await })
        .unwrap();
    ask::<u8>(&ann, "go").await
}

#[tokio::test(start_paused = true)]
async fn two_handlers_that_wait_for_each_other_end_by_deadline_and_concurrency_cures_it() {
    assert!(echoes_back(1).await.is_err());
    assert_eq!(echoes_back(2).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_cancelled_and_the_next_event_is_handled() {
    let mut config = Config::default();
    config.handler_timeout = MOMENT;
    let namespace = Namespace::new("/").on("stuck", pending::<()>).on("fine", || async { 1 });
    let (server, ann, _socket) = one_with(config, namespace).await;
    let stuck = ann.emit("stuck", &()).ack::<()>();
    let fine = ann.emit("fine", &()).ack::<u8>();
    let (stuck, fine) = tokio::join!(within(stuck), within(fine));
    assert!(matches!(stuck, Err(AckError::Refused(Nak::Timeout))), "{stuck:?}");
    assert_eq!(fine.unwrap(), 1);
    assert_eq!(server.stats().timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_when_it_is_cancelled_holds_up_nobody() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in drop")
            }
        }
    }
    let ns = Namespace::new("/")
        .on("bad", || async {
            let _b = Bad;
            pending::<()>().await
        })
        .on("ok", || async { 1u8 });
    let (_s, ann, _socket) = one(ns).await;
    let bad = ann.emit("bad", &()).ack::<()>().timeout(Duration::from_secs(100)).await;
    assert!(matches!(bad, Err(AckError::Refused(Nak::Timeout))), "{bad:?}");
    let r = ann.emit("ok", &()).ack::<u8>().timeout(Duration::from_secs(100)).await;
    assert_eq!(r.unwrap(), 1);
}

/// What panics when it is let go.
struct Bad;
impl Drop for Bad {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop")
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_hook_that_panics_when_it_is_cancelled_lets_nobody_in() {
    let ns = Namespace::new("/").on("x", || async { "handled" }).on_connect(|| async {
        let _b = Bad;
        pending::<()>().await
    });
    let server = Server::new().mount(ns).unwrap();
    let ann = testing::connect_early(&server, "/").await;
    let r = ann.emit("x", &()).ack::<String>().timeout(Duration::from_secs(100)).await;
    assert!(r.is_err(), "handled although its hook never returned: {r:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_when_it_is_cancelled_keeps_no_socket() {
    let ns = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("room").await })
        .on_disconnecting(|| async {
            let _b = Bad;
            pending::<()>().await
        });
    let mut config = Config::default();
    config.hook_timeout = MOMENT;
    let (server, ann, _socket) = one_with(config, ns).await;
    let id = ann.id();
    ann.disconnect("");
    until(|| server.socket("/", id).is_none()).await;
    until(|| server.stats().sockets == 0).await;
}
