//! Awaiting one event of a socket.

use super::*;
use tokio::task::JoinHandle;

/// Asks for an answer to `x` beside the test.
fn spawn_ask<T>(guest: &Guest) -> JoinHandle<Result<T, AckError>>
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    let socket = Socket::clone(guest);
    tokio::spawn(async move { socket.emit("x", &()).ack::<T>().await })
}

#[tokio::test(start_paused = true)]
async fn an_awaited_event_is_served_ahead_of_a_handler_that_is_stuck() {
    let (_server, ann, socket) = one(Namespace::new("/").on("stuck", pending::<()>)).await;
    within(ann.emit("stuck", &())).await.unwrap();
    let answered = ann.emit("ready", &7).ack::<()>();
    let (ready, answered) = tokio::join!(within(socket.once("ready")), within(answered));
    assert_eq!(ready.unwrap().payload.decode::<u8>().unwrap(), 7);
    answered.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_awaited_before_the_connect_hook_has_returned() {
    let namespace = Namespace::new("/").on_connect(|socket: Socket| async move {
        let name = socket.once("name").await?;
        socket.emit("welcome", &name.payload).await?;
        Ok::<_, emitwire::Refusal>(())
    });
    let server = Server::new().mount(namespace).unwrap();
    let mut ann = testing::connect_early(&server, "/").await;
    within(ann.emit("name", "Ann").ack::<()>()).await.unwrap();
    assert_eq!(ann.expect::<String>("welcome").await, "Ann");
}

#[tokio::test(start_paused = true)]
async fn all_who_await_an_event_get_it_and_so_do_its_listeners() {
    let namespace = Namespace::new("/").on("x", || async { "heard" });
    let (_server, ann, socket) = one(namespace).await;
    let (one, other) = (socket.once("x").into_future(), socket.once("x").into_future());
    assert_eq!(ask::<String>(&ann, "x").await.unwrap(), "heard");
    assert_eq!(within(one).await.unwrap().name, "x");
    assert_eq!(within(other).await.unwrap().name, "x");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_after_its_time_is_not_waited_for() {
    let (_server, _ann, socket) = one(Namespace::new("/")).await;
    let error = socket.once("x").timeout(MOMENT).await.unwrap_err();
    assert_eq!(error, WaitError::Timeout { after: MOMENT });
    let error = within(socket.once("x")).await.unwrap_err();
    assert_eq!(error, WaitError::Timeout { after: Config::default().ack_timeout });
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_served_and_not_taken_is_handled_as_if_nobody_had_awaited_it() {
    let (_server, ann, socket) = one(Namespace::new("/")).await;
    let awaited = socket.once("x").into_future();
    let answered = spawn_ask::<String>(&ann);
    // It is here when the server has counted it.
    until(|| socket.stats().events_in > 0).await;
    drop(awaited);
    until(|| socket.stats().parked == 1).await; // nobody listens
    socket.on("x", || async { "handled" }).unwrap();
    assert_eq!(within(answered).await.unwrap().unwrap(), "handled");
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_is_served_to_who_awaits_it() {
    let (server, ann, socket) = one(Namespace::new("/")).await;
    let answered = spawn_ask::<()>(&ann);
    until(|| server.stats().parked > 0).await;
    assert_eq!(within(socket.once("x")).await.unwrap().name, "x");
    within(answered).await.unwrap().unwrap();
    assert_eq!((server.stats().parked, socket.stats().parked), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_volatile_event_may_be_awaited_too() {
    let (server, ann, socket) = one(Namespace::new("/")).await;
    let awaited = socket.once("x").into_future();
    within(ann.emit("x", &()).volatile()).await.unwrap();
    assert!(within(awaited).await.unwrap().volatile);
    assert_eq!(server.stats().volatile_missed, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_awaits_an_event_is_told_when_the_socket_ends() {
    let (_server, ann, socket) = one(Namespace::new("/")).await;
    let awaited = socket.once("x").into_future();
    ann.disconnect("enough");
    let reason = DisconnectReason::DismissedByPeer("enough".into());
    assert_eq!(within(awaited).await.unwrap_err(), WaitError::Closed { reason: reason.clone() });
    assert_eq!(within(socket.once("x")).await.unwrap_err(), WaitError::Closed { reason });
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_parked_for_longer_than_any_clock_runs() {
    let ns = Namespace::new("/").unhandled(Unhandled::Park { ttl: Duration::MAX });
    let (_s, ann, _socket) = one(ns).await;
    let r = ann.emit("x", &()).ack::<()>().await;
    assert!(matches!(r, Err(AckError::Timeout { .. })), "{r:?}");
}
