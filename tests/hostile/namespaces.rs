//! Storms of namespaces over the pattern of a path.

use super::support::chat::{Chat, MEMBERS};
use super::support::raw::{RawPeer, connect, event, text};
use super::support::{all, becomes, rooms, sockets, within};
use super::target;
use emitwire::protocol::{Leave, NamespaceNumber, Packet};
use emitwire::{
    Client, Config, ConnectRequest, Endpoint, Nak, Namespace, Refusal, Socket, Unhandled,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is there when nobody is in a namespace of a pattern.
const FIXED: [&str; 2] = ["/chat", "/target"];

/// Namespaces whose sockets each hold one of these, and are in three rooms.
fn organisations(alive: &Arc<()>) -> Namespace {
    let alive = Arc::clone(alive);
    Namespace::new("/org-{id}").unhandled(Unhandled::Nak).on("text", || async {}).on_connect(
        move |socket: Socket| {
            socket.set_data(Arc::clone(&alive));
            async move { socket.join(["one", "two", "three"]).await }
        },
    )
}

/// How many sockets hold something.
fn living(alive: &Arc<()>) -> usize {
    // One is the test's, one is the hook's.
    Arc::strong_count(alive) - 2
}

/// What the server says to those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Accepted,
    Refused(String),
    Left,
}

/// The next answer to a connect.
async fn answer(peer: &mut RawPeer) -> Said {
    match peer.next_said().await {
        Some(Packet::Accept(_)) => Said::Accepted,
        Some(Packet::Refuse(refuse)) => Said::Refused(refuse.payload.decode().unwrap_or_default()),
        Some(Packet::Leave(_)) => Said::Left,
        other => panic!("{other:?}"),
    }
}

/// Asks for these, and hears the answer to each.
async fn ask(peer: &mut RawPeer, from: u32, paths: impl IntoIterator<Item = String>) -> Vec<Said> {
    let mut asked = 0;
    for (number, path) in (from..).zip(paths) {
        peer.send(&connect(number, &path)).await;
        asked += 1;
    }
    let mut said = Vec::new();
    for _ in 0..asked {
        said.push(answer(peer).await);
    }
    said
}

async fn greeted(chat: &Chat) -> RawPeer {
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    peer
}

/// Nobody is in a namespace of a pattern any more, and nothing of those who were is left.
async fn is_over(chat: &Chat, alive: &Arc<()>) {
    becomes(|| chat.server.namespaces(), FIXED.map(str::to_owned).to_vec()).await;
    becomes(|| living(alive), 0).await;
    becomes(|| (chat.stats().sockets, chat.stats().rooms), (MEMBERS as u64, 1)).await;
    assert_eq!(sockets(&chat.server.of("/org-{id}")), []);
    assert_eq!(chat.server.namespace_stats("/org-0"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_asks_for_too_many_namespaces_is_refused_and_goes_on() {
    let mut config = Config::default();
    config.namespaces_per_session_max = 8;
    let alive = Arc::new(());
    let chat = Chat::with(config, [organisations(&alive), target()]).await;
    let mut peer = greeted(&chat).await;
    let said = ask(&mut peer, 0, (0..8).map(|id| format!("/org-{id}"))).await;
    assert!(said.iter().all(|said| *said == Said::Accepted), "{said:?}");
    assert_eq!(chat.server.namespaces().len(), FIXED.len() + 8);
    assert_eq!(chat.server.of("/org-{id}").sockets().await.unwrap().len(), 8);
    becomes(|| (living(&alive), chat.stats().rooms), (8, 3 * 8 + 1)).await;
    let words = Said::Refused("too many namespaces in one session".to_owned());
    for number in 8..12 {
        let said = ask(&mut peer, number, [format!("/org-{number}")]).await;
        assert_eq!(said, std::slice::from_ref(&words));
    }
    assert_eq!(chat.server.namespaces().len(), FIXED.len() + 8);
    drop(peer);
    is_over(&chat, &alive).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_make_as_many_namespaces_as_there_may_be_and_in_the_end_there_are_none() {
    const SESSIONS: u32 = 40;
    const EACH: u32 = 32;
    const MOST: usize = 1000;
    let mut config = Config::default();
    config.namespaces_max = MOST;
    let alive = Arc::new(());
    let chat = Chat::with(config, [organisations(&alive), target()]).await;
    let before = chat.wait_p99().await;
    let mut peers = all((0..SESSIONS).map(|_| greeted(&chat))).await;
    let full = Said::Refused("there are too many namespaces".to_owned());
    for round in 0..2 {
        let asks = (0..).zip(&mut peers).map(|(session, peer)| {
            let path = move |id| format!("/org-{}", session * EACH + id);
            ask(peer, round * EACH, (0..EACH).map(path))
        });
        let said: Vec<_> = all(asks).await.into_iter().flatten().collect();
        let count = |wanted: &Said| said.iter().filter(|said| *said == wanted).count();
        let asked = (SESSIONS * EACH) as usize;
        assert_eq!((count(&Said::Accepted), count(&full)), (MOST, asked - MOST));
        assert_eq!(chat.server.namespaces().len(), FIXED.len() + MOST);
        becomes(|| (living(&alive), chat.stats().rooms), (MOST, 3 * MOST as u64 + 1)).await;
        // Whoever is refused goes on as before, and what is there may be entered.
        for peer in &mut peers {
            peer.send(&event(1, "text", text("a"))).await;
            assert!(peer.next_said().await.is_some());
        }
        // In the end one leaves after the other, and in the first round all of them at once.
        if round == 0 {
            drop(std::mem::take(&mut peers));
            is_over(&chat, &alive).await;
            let again = all((0..SESSIONS).map(|_| greeted(&chat))).await;
            peers = again;
            for peer in &mut peers {
                let said = ask(peer, 0, (0..EACH).map(|_| "/nowhere".to_owned())).await;
                assert_eq!(said[0], Said::Refused("no such namespace".to_owned()));
            }
        }
    }
    chat.is_undisturbed(before).await;
    for peer in peers {
        peer.kill();
    }
    is_over(&chat, &alive).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_entered_and_left_all_the_time_stays_for_whoever_stays() {
    const ROUNDS: u32 = 100;
    let alive = Arc::new(());
    let chat = Chat::with(Config::default(), [organisations(&alive), target()]).await;
    let keeper = chat.guest(Namespace::new("/org-7")).await;
    let id = keeper.of("/org-7").unwrap().id();
    let guests = (0..8).map(|_| async {
        let mut peer = greeted(&chat).await;
        for number in 0..ROUNDS {
            assert_eq!(ask(&mut peer, number, ["/org-7".to_owned()]).await, [Said::Accepted]);
            let client = NamespaceNumber(number);
            peer.send(&Packet::Leave(Leave { client, words: "".into() })).await;
            assert!(chat.server.namespaces().contains(&"/org-7".to_owned()));
            assert!(chat.server.socket("/org-7", id).is_some());
            let fanout = within(chat.server.of("/org-7").to(id).emit("hi", &())).await.unwrap();
            assert_eq!(fanout.accepted, 1);
        }
    });
    all(guests).await;
    becomes(|| sockets(&chat.server.of("/org-7")), vec![id]).await;
    becomes(|| rooms(&chat.server.of("/org-7")).len(), 3).await;
    within(keeper.close()).await;
    is_over(&chat, &alive).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_left_by_its_last_while_another_comes_is_never_half_there() {
    let alive = Arc::new(());
    let chat = Chat::with(Config::default(), [organisations(&alive), target()]).await;
    let guests = (0..8).map(|_| async {
        let mut peer = greeted(&chat).await;
        for number in 0..100 {
            assert_eq!(ask(&mut peer, number, ["/org-1".to_owned()]).await, [Said::Accepted]);
            let client = NamespaceNumber(number);
            // Whoever is in is found, and heard under the path that it asked for.
            assert!(chat.server.namespaces().contains(&"/org-1".to_owned()));
            assert!(!sockets(&chat.server.of("/org-1")).is_empty());
            peer.send(&Packet::Leave(Leave { client, words: "".into() })).await;
        }
    });
    all(guests).await;
    is_over(&chat, &alive).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_fail_to_begin_leave_no_namespace_when_their_session_has_ended() {
    let begun = Arc::new(AtomicU64::new(0));
    let begins = Arc::clone(&begun);
    let refuses = Namespace::new("/org-{id}").authorize(|request: ConnectRequest| async move {
        let id: Result<u32, _> = request.path();
        id.map(|_| ()).map_err(|_| Refusal::with(&"no number"))
    });
    let refuses = refuses.on_connect(move || {
        begins.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>(Nak::Failed) }
    });
    let mut config = Config::default();
    config.namespaces_max = 16;
    let chat = Chat::with(config, [refuses, target()]).await;
    for _ in 0..10 {
        let mut peer = greeted(&chat).await;
        let words = ask(&mut peer, 0, (0..5).map(|id| format!("/org-x{id}"))).await;
        assert!(words.iter().all(|said| *said == Said::Refused("no number".into())), "{words:?}");
        peer.send(&connect(5, "/org-5")).await;
        assert_eq!(
            [answer(&mut peer).await, answer(&mut peer).await],
            [Said::Accepted, Said::Left]
        );
    }
    becomes(|| chat.server.namespaces(), FIXED.map(str::to_owned).to_vec()).await;
    assert_eq!(begun.load(Ordering::Relaxed), 10);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_mounts_more_than_there_may_be_is_refused_the_rest() {
    let mut config = Config::default();
    config.namespaces_per_session_max = 4;
    let alive = Arc::new(());
    let chat = Chat::with(config, [organisations(&alive), target()]).await;
    let mut config = Config::default();
    config.connect_timeout = Duration::from_secs(2);
    let mut client = Client::new(Endpoint::new(&chat.url()).unwrap()).config(config);
    for id in 0..5 {
        client = client.mount(Namespace::new(&format!("/org-{id}")));
    }
    let session = within(client.reconnect(false).connect()).await.unwrap();
    let joined = (0..5).filter(|id| session.of(&format!("/org-{id}")).is_ok()).count();
    assert_eq!(joined, 4);
    within(session.close()).await;
    is_over(&chat, &alive).await;
    chat.end().await;
}
