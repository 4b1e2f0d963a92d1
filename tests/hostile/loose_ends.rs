//! What an ended or refused socket must not leave behind, and whose answer is whose.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, event, text};
use super::support::{becomes, sockets, within};
use super::target;
use emitwire::protocol::Packet;
use emitwire::{
    Client, Config, ConnectRequest, DisconnectReason, Endpoint, ListenError, Nak, Namespace,
    Socket, WaitError,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_awaits_an_event_of_its_socket_is_told_at_once_when_that_ends() {
    let (tells, mut told) = mpsc::unbounded_channel();
    let waits = Namespace::new("/waits").on("wait", move |socket: Socket| {
        let tells = tells.clone();
        async move {
            let begun = socket.once("never").into_future();
            tells.send(None).unwrap();
            let ended = begun.await;
            tells.send(Some(ended.map(drop))).unwrap();
        }
    });
    let chat = Chat::with(Config::default(), [waits]).await;
    let mut peer = RawPeer::joined(chat.address, "/waits").await;
    peer.send(&event(1, "wait", text("a"))).await;
    assert_eq!(within(told.recv()).await.unwrap(), None);
    let began = Instant::now();
    peer.kill();
    // The end of the socket waits for its handler: it must not wait for the end of its socket.
    let told = within(told.recv()).await;
    let closed = WaitError::Closed { reason: DisconnectReason::LinkLost };
    assert_eq!(told, Some(Some(Err(closed))));
    assert!(began.elapsed() < Duration::from_secs(4), "only after {:?}", began.elapsed());
    let stats = chat.end().await;
    assert_eq!(stats.cancelled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_refused_hold_no_namespace_of_a_pattern() {
    let guarded = Namespace::new("/org-{id}")
        .authorize(|_: ConnectRequest| async { Err::<(), _>(Nak::Failed) });
    let chat = Chat::with(Config::default(), [guarded]).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    peer.send(&connect(0, "/org-7")).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Refuse(_))));
    // Its session stays, and is in nothing.
    becomes(|| chat.server.namespaces(), vec!["/chat".to_owned()]).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_socket_of_a_session_answers_a_broadcast_to_a_pattern_for_itself() {
    let organisations = Namespace::new("/org-{id}").on("text", || async {});
    let chat = Chat::with(Config::default(), [organisations]).await;
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let first = Namespace::new("/org-1").on("who", move || {
        let opens = Arc::clone(&opens);
        async move {
            opens.acquire().await.unwrap().forget();
            "org-1"
        }
    });
    let second = Namespace::new("/org-2").on("who", || async { "org-2" });
    let client = Client::new(Endpoint::new(&chat.url()).unwrap()).mount(first).mount(second);
    let session = within(client.connect()).await.unwrap();
    let everyone = chat.server.of("/org-{id}");
    let mut answers = within(everyone.emit("who", &()).ack::<String>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, 2);
    // The second answers while the first has not.
    for path in ["/org-2", "/org-1"] {
        let (from, answer) = within(answers.next()).await.unwrap();
        let socket = session.of(path).unwrap();
        assert_eq!((from, format!("/{}", answer.unwrap())), (socket.id(), path.to_owned()));
        gate.add_permits(1);
    }
    within(session.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_has_ended_takes_no_listener() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let peer = RawPeer::joined(chat.address, "/target").await;
    let id = sockets(&chat.server.of("/target"))[0];
    let socket = chat.server.socket("/target", id).unwrap();
    drop(peer);
    becomes(|| chat.stats().sessions, super::support::chat::MEMBERS as u64).await;
    // One that holds its socket would keep it for ever.
    let held = socket.clone();
    let listened = socket.on("text", move || {
        let _ = &held;
        async {}
    });
    assert_eq!(listened, Err(ListenError::Closed));
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_mounted_beside_its_pattern_takes_nobody_elses_place() {
    let chat = Chat::with(Config::default(), [Namespace::new("/org-{id}")]).await;
    let born = chat.guest(Namespace::new("/org-7")).await;
    let id = born.of("/org-7").unwrap().id();
    becomes(|| sockets(&chat.server.of("/org-{id}")), vec![id]).await;
    let _ = chat.server.clone().mount(Namespace::new("/org-7")).unwrap();
    let other = chat.guest(Namespace::new("/org-7")).await;
    becomes(|| sockets(&chat.server.of("/org-7")).len(), 1).await;
    within(other.close()).await;
    becomes(|| sockets(&chat.server.of("/org-7")).len(), 0).await;
    becomes(|| chat.stats().links, super::support::chat::MEMBERS as u64 + 1).await;
    // The first is still in what the pattern has brought about.
    assert_eq!(sockets(&chat.server.of("/org-{id}")), [id]);
    within(born.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_awaited_one_after_the_other_come_in_order() {
    const TICKS: u64 = 200;
    let chat = Chat::with(Config::default(), [Namespace::new("/ticks")]).await;
    let guest = chat.guest(Namespace::new("/ticks")).await;
    let ours = guest.of("/ticks").unwrap();
    let socket = chat.server.socket("/ticks", ours.id()).unwrap();
    let waits = tokio::spawn(async move {
        let mut heard = Vec::new();
        while heard.len() < TICKS as usize {
            let tick = socket.once("tick").await.unwrap();
            heard.push(tick.payload.decode::<u64>().unwrap());
        }
        heard
    });
    for number in 1..=TICKS {
        within(ours.emit("tick", &number)).await.unwrap();
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let heard = within(waits).await.unwrap();
    assert_eq!(heard, (1..=TICKS).collect::<Vec<_>>());
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_begins_to_await_in_the_moment_of_the_end_is_told_of_it() {
    let chat = Chat::with(Config::default(), [target()]).await;
    for _ in 0..300 {
        let peer = RawPeer::joined(chat.address, "/target").await;
        let id = sockets(&chat.server.of("/target"))[0];
        let socket = chat.server.socket("/target", id).unwrap();
        // On a thread of its own, so that it falls between any two lines of the one that ends.
        let waits = std::thread::spawn(move || {
            let mut waiting = Vec::new();
            while socket.ended().is_none() {
                waiting.push(socket.once("tick").timeout(Duration::from_secs(1)).into_future());
                if waiting.len() > 4 {
                    drop(waiting.remove(0));
                }
            }
            waiting
        });
        peer.kill();
        let waiting = within(tokio::task::spawn_blocking(|| waits.join().unwrap())).await.unwrap();
        for wait in waiting {
            let waited = within(wait).await;
            assert!(matches!(waited, Err(WaitError::Closed { .. })), "{waited:?}");
        }
        becomes(|| sockets(&chat.server.of("/target")).len(), 0).await;
    }
    chat.end().await;
}
