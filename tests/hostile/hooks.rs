//! Handlers and hooks that fail in every way they can, because of a peer or of themselves.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, event, text};
use super::support::{all, becomes, endpoint, within};
use crate::support::sockets;
use emitwire::protocol::{Nak, Packet};
use emitwire::{
    AckError, Client, Config, ConnectError, ConnectRequest, Event, EventName, FromEvent, Namespace,
    Refusal, Socket, Unhandled,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A handler that panics before there is a future to catch it in.
fn panic_at_once() -> impl Future<Output = ()> + Send {
    let armed = std::hint::black_box(true);
    assert!(!armed, "a panic for the test");
    async {}
}

/// Panics of [`Chat::end`]'s own check are expected here.
async fn end(chat: Chat, panics: u64) {
    becomes(|| chat.stats().panics, panics).await;
    chat.end_with(panics).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_panics_before_or_in_its_future_costs_one_event() {
    let namespace = Namespace::new("/panics")
        .on("at once", panic_at_once)
        .on("later", || async {
            tokio::task::yield_now().await;
            panic_at_once().await;
        })
        .on("text", || async {});
    let chat = Chat::with(Config::default(), [namespace]).await;
    let mut peer = RawPeer::joined(chat.address, "/panics").await;
    for (number, name) in ["at once", "later"].into_iter().enumerate() {
        peer.send(&event(number as u64 + 1, name, text("a"))).await;
        match peer.next_said().await {
            Some(Packet::Nak(nak)) => assert_eq!(nak.nak, Nak::Failed),
            other => panic!("{other:?}"),
        }
        peer.send(&event(100, "text", text("still here"))).await;
        assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    }
    drop(peer);
    end(chat, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_everything_that_panics_costs_nobody_anything() {
    let namespace = Namespace::new("/panics").on_any(panic_at_once).on("text", || async {});
    let chat = Chat::with(Config::default(), [namespace]).await;
    let mut peer = RawPeer::joined(chat.address, "/panics").await;
    for number in 1..=2 {
        peer.send(&event(number, "text", text("a"))).await;
        match peer.next_said().await {
            Some(Packet::Ack(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(peer);
    end(chat, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extractor_that_panics_costs_one_event() {
    struct Bomb;
    impl FromEvent for Bomb {
        fn from_event(_: &emitwire::Envelope) -> Result<Self, Refusal> {
            let armed = std::hint::black_box(true);
            assert!(!armed, "a panic for the test");
            Ok(Self)
        }
    }
    let namespace =
        Namespace::new("/panics").on("bomb", |_: Bomb| async {}).on("text", || async {});
    let chat = Chat::with(Config::default(), [namespace]).await;
    let mut peer = RawPeer::joined(chat.address, "/panics").await;
    peer.send(&event(1, "bomb", text("a"))).await;
    match peer.next_said().await {
        Some(Packet::Nak(nak)) => assert_eq!(nak.nak, Nak::Failed),
        other => panic!("{other:?}"),
    }
    peer.send(&event(2, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    end(chat, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_hook_that_fails_or_panics_ends_its_socket_and_nothing_else() {
    let refuses = Namespace::new("/refuses").on_connect(|| async { Err::<(), _>(Nak::Failed) });
    let panics = Namespace::new("/panics").on_connect(panic_at_once);
    let later = Namespace::new("/later").on_connect(|| async {
        tokio::task::yield_now().await;
        panic_at_once().await;
    });
    let chat = Chat::with(Config::default(), [refuses, panics, later]).await;
    for path in ["/refuses", "/panics", "/later"] {
        let mut peer = RawPeer::joined(chat.address, path).await;
        match within(peer.next_said()).await {
            Some(Packet::Leave(leave)) => assert_eq!(leave.client.0, 0),
            other => panic!("{other:?} of {path}"),
        }
        becomes(|| sockets(&chat.server.of(path)).len(), 0).await;
        // The session goes on.
        peer.send(&connect(1, "/chat")).await;
        loop {
            match peer.next_said().await.unwrap() {
                Packet::Accept(accept) => break assert_eq!(accept.client.0, 1),
                Packet::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    end(chat, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_behind_a_connect_hook_that_fails_reach_no_handler() {
    let gate = Arc::new(Semaphore::new(0));
    let handled = Arc::new(AtomicU64::new(0));
    let (opens, handles) = (Arc::clone(&gate), Arc::clone(&handled));
    let namespace = Namespace::new("/guarded")
        .on_connect(move || {
            let opens = Arc::clone(&opens);
            async move {
                opens.acquire().await.unwrap().forget();
                Err::<(), _>(Nak::Failed)
            }
        })
        .on("secret", move || {
            handles.fetch_add(1, Ordering::Relaxed);
            async { "granted" }
        });
    let chat = Chat::with(Config::default(), [namespace]).await;
    let guest = chat.guest(Namespace::new("/guarded")).await;
    let socket = guest.of("/guarded").unwrap();
    let before = chat.stats().events_in;
    let asked = tokio::spawn(async move { socket.emit("secret", "?").ack::<String>().await });
    becomes(|| chat.stats().events_in > before, true).await;
    gate.add_permits(1);
    match within(asked).await.unwrap() {
        Err(AckError::Refused(Nak::Closed)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(handled.load(Ordering::Relaxed), 0);
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorize_that_panics_is_a_refusal() {
    let panics = Namespace::new("/panics").authorize(|_: ConnectRequest| async {
        panic_at_once().await;
        Ok::<(), Refusal>(())
    });
    let chat = Chat::with(Config::default(), [panics]).await;
    let mut config = Config::default();
    config.connect_timeout = Duration::from_secs(2);
    let client = Client::new(endpoint(&chat.url())).config(config);
    match within(client.mount(Namespace::new("/panics")).connect()).await {
        Err(ConnectError::Refused { namespace, .. }) => assert_eq!(namespace, "/panics"),
        other => panic!("{other:?}"),
    }
    end(chat, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_hook_that_fails_or_panics_is_counted_and_holds_nothing_up() {
    let panics = Namespace::new("/panics").on_disconnect(panic_at_once);
    let fails = Namespace::new("/fails").on_disconnect(|| async { Err::<(), _>(Nak::Failed) });
    let chat = Chat::with(Config::default(), [panics, fails]).await;
    let peers = all(["/panics", "/fails"].map(|path| RawPeer::joined(chat.address, path))).await;
    drop(peers);
    end(chat, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_hook_that_never_ends_is_given_a_while_and_then_cancelled() {
    let mut config = Config::default();
    config.hook_timeout = Duration::from_millis(200);
    let stuck =
        Namespace::new("/stuck").on_disconnect(|| async { std::future::pending::<()>().await });
    let chat = Chat::with(config, [stuck]).await;
    drop(RawPeer::joined(chat.address, "/stuck").await);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorize_or_a_connect_hook_that_never_ends_lets_nobody_in() {
    let mut config = Config::default();
    config.hook_timeout = Duration::from_millis(200);
    let authorizes = Namespace::new("/authorizes")
        .authorize(|_: ConnectRequest| async { std::future::pending::<Result<(), Nak>>().await });
    let connects =
        Namespace::new("/connects").on_connect(|| async { std::future::pending::<()>().await });
    let chat = Chat::with(config, [authorizes, connects]).await;
    let client = Client::new(endpoint(&chat.url())).mount(Namespace::new("/authorizes"));
    match within(client.connect()).await {
        Err(ConnectError::Refused { namespace, .. }) => assert_eq!(namespace, "/authorizes"),
        other => panic!("{other:?}"),
    }
    let mut peer = RawPeer::joined(chat.address, "/connects").await;
    assert!(matches!(within(peer.next_said()).await, Some(Packet::Leave(_))));
    drop(peer);
    becomes(|| chat.stats().cancelled, 2).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_outlives_its_socket_is_given_a_while_and_then_cancelled() {
    let mut config = Config::default();
    config.disconnect_grace = Duration::from_millis(100);
    let (dropped, starts) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (drops, started) = (Arc::clone(&dropped), Arc::clone(&starts));
    let stuck = Namespace::new("/stuck").on("stuck", move || {
        started.fetch_add(1, Ordering::Relaxed);
        let guard = OnDrop(Arc::clone(&drops));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    });
    let chat = Chat::with(config, [stuck]).await;
    let mut peer = RawPeer::joined(chat.address, "/stuck").await;
    for number in 1..=10 {
        peer.send(&event(number, "stuck", text("a"))).await;
    }
    becomes(|| starts.load(Ordering::Relaxed), 1).await;
    peer.send(&Packet::Heartbeat { written: 11 }).await;
    peer.kill();
    becomes(|| dropped.load(Ordering::Relaxed), 1).await;
    // All ten have a fate, whether they had begun or not.
    becomes(|| chat.stats().refused, 10).await;
    assert_eq!(chat.stats().cancelled, 1);
    assert_eq!(starts.load(Ordering::Relaxed), 1, "the others never began");
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_may_end_its_own_socket() {
    let leaves = Namespace::new("/leaves").unhandled(Unhandled::Nak).on(
        "bye",
        |socket: Socket| async move {
            socket.disconnect("");
            "done"
        },
    );
    let chat = Chat::with(Config::default(), [leaves]).await;
    let mut peer = RawPeer::joined(chat.address, "/leaves").await;
    peer.send(&event(1, "bye", text(""))).await;
    let mut said = [peer.next_said().await.unwrap(), peer.next_said().await.unwrap()];
    said.sort_by_key(Packet::name);
    assert!(matches!(said, [Packet::Ack(_), Packet::Leave(_)]), "{said:?}");
    peer.send(&event(2, "bye", text(""))).await;
    match peer.next_said().await {
        Some(Packet::Nak(nak)) => assert_eq!(nak.nak, Nak::Closed),
        other => panic!("{other:?}"),
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_answers_itself_for_ever_does_not_starve_the_others() {
    let echo = Namespace::new("/loop").on("again", |socket: Socket, event: Event| async move {
        let name: &EventName = &event.name;
        let _ = socket.within(socket.id()).emit(name, &event.payload).await;
    });
    let chat = Chat::with(Config::default(), [echo]).await;
    let echo = Namespace::new("/loop").on("again", |socket: Socket, event: Event| async move {
        let _ = socket.emit(&event.name, &event.payload).await;
    });
    let guest = chat.guest(echo).await;
    let socket = guest.of("/loop").unwrap();
    for _ in 0..10 {
        within(socket.emit("again", "and")).await.unwrap();
    }
    becomes(|| guest.stats().events_in > 1000, true).await;
    within(guest.close()).await;
    chat.end().await;
}

struct OnDrop(Arc<AtomicU64>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
