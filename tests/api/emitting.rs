//! Emitting to one socket: without waiting, only the newest, until it has drained.

use super::*;

/// A server that takes one event at a time, and a guest for whom little may wait.
async fn narrow() -> (Server, Guest, Socket, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let mut config = Config::default();
    (config.window_events, config.unwritten_packets_max) = (1, 2);
    config.emit_wait_max = MOMENT;
    let (server, guest, socket) = one_with(config, Namespace::new("/")).await;
    let waits = Arc::clone(&gate);
    guest
        .on("x", move || {
            let gate = Arc::clone(&waits);
            async move { gate.acquire().await.unwrap().forget() }
        })
        .unwrap();
    (server, guest, socket, gate)
}

/// Emits until nothing more is taken; says how many were.
fn fill(socket: &Socket) -> usize {
    let full = |emitted: &Result<(), EmitError>| matches!(emitted, Err(EmitError::Full { .. }));
    (0..100_000).position(|_| full(&socket.try_emit("x", &()))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_emit_that_must_not_wait_says_full_and_drained_says_when_it_may_go_on() {
    let (_server, _guest, socket, gate) = narrow().await;
    let taken = fill(&socket);
    assert!(taken > 0);
    let late = within(socket.emit("x", &())).await;
    assert!(matches!(late, Err(EmitError::Full { waited: MOMENT })), "{late:?}");
    let (drained, emitted) = tokio::join!(within(socket.drained()), async {
        tokio::task::yield_now().await;
        gate.add_permits(taken);
    });
    assert_eq!((drained.unwrap(), emitted), ((), ()));
    socket.try_emit("x", &()).unwrap();
    assert_eq!(socket.stats().queue.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn drained_ends_with_the_socket_and_a_full_socket_refuses_for_other_reasons_too() {
    let (_server, guest, socket, _gate) = narrow().await;
    assert!(matches!(socket.try_emit("connect", &()), Err(EmitError::Reserved { .. })));
    fill(&socket);
    let drained = tokio::spawn({
        let socket = socket.clone();
        async move { socket.drained().await }
    });
    tokio::task::yield_now().await;
    drop(guest);
    let drained = within(drained).await.unwrap();
    assert!(matches!(drained, Err(EmitError::Closed { .. })), "{drained:?}");
    assert!(matches!(socket.try_emit("x", &()), Err(EmitError::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_of_a_key_arrives_when_the_peer_is_busy() {
    let mut config = Config::default();
    config.window_events = 1;
    let namespace = Namespace::new("/");
    let gate = Arc::new(Semaphore::new(0));
    let (server, guest, socket) = one_with(config.clone(), namespace).await;
    let (positions, seen) = (Notes::default(), Arc::clone(&gate));
    let noted = positions.clone();
    guest
        .on("at", move |Data(at): Data<String>| {
            let gate = Arc::clone(&seen);
            noted.add(at);
            async move { gate.acquire().await.unwrap().forget() }
        })
        .unwrap();
    // More than the guest's window, which is the default one, so that some wait.
    let window = Config::default().window_events;
    for number in 0..window {
        within(socket.emit("at", &format!("fill {number}"))).await.unwrap();
    }
    let lost = socket.emit("at", "x 0").latest("x").ack::<()>().into_future();
    let lost = tokio::spawn(lost);
    tokio::task::yield_now().await;
    for number in 1..=9 {
        within(socket.emit("at", &format!("x {number}")).latest("x")).await.unwrap();
        within(socket.emit("at", &format!("y {number}")).latest("y")).await.unwrap();
    }
    let lost = within(lost).await.unwrap().unwrap_err();
    assert!(matches!(lost, AckError::Lost { reason: LossReason::Superseded }), "{lost:?}");
    assert_eq!(server.stats().superseded, 17);
    gate.add_permits(window + 2);
    let mut all = Vec::new();
    until(|| {
        all.extend(positions.take());
        all.len() >= window + 2
    })
    .await;
    assert_eq!(all[window..], ["x 9", "y 9"]);
    assert_eq!(guest.session().stats().missed, 17, "the peer knows how many it did not get");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_no_clock_can_hold_is_none() {
    let (_server, ann, _socket) = one(Namespace::new("/").on("x", || async { 7 })).await;
    let answer = within(ann.emit("x", &()).ack::<u8>().timeout(Duration::MAX)).await;
    assert_eq!(answer.unwrap(), 7);
    within(ann.emit("x", &()).timeout(Duration::MAX)).await.unwrap();
}
