//! A token alone lets nobody in: who may be where is decided again at each attach.

use super::support::becomes;
use super::support::chat::Chat;
use super::support::raw::{RawPeer, event, text};
use super::target;
use emitwire::protocol::{Attach, LossReason, NamespaceNumber, Outcome, Packet, Refuse};
use emitwire::{Config, ConnectRequest, Namespace, Payload, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who has the word is let in, unless all are banned.
fn vault(is_banned: &Arc<AtomicBool>) -> Namespace {
    let is_banned = Arc::clone(is_banned);
    Namespace::new("/vault")
        .authorize(move |request: ConnectRequest| {
            let has_word = request.auth::<String>().is_ok_and(|word| word == "please");
            let may = has_word && !is_banned.load(Ordering::Acquire);
            async move { if may { Ok(()) } else { Err(Refusal::with("not you")) } }
        })
        .on("echo", |payload: emitwire::Event| async move { payload.payload })
}

async fn chat() -> (Chat, Arc<AtomicBool>) {
    let is_banned = Arc::new(AtomicBool::new(false));
    let chat = Chat::with(Config::default(), [target(), vault(&is_banned)]).await;
    (chat, is_banned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_token_without_credentials_kicks_nobody_out_and_gets_nothing() {
    let (chat, _) = chat().await;
    let word = text("please");
    let (mut owner, attach) = RawPeer::resumable(chat.address, &["/vault"], &word).await;
    let guesses = [
        vec![],
        vec![(NamespaceNumber(0), Payload::empty())],
        vec![(NamespaceNumber(0), text("open sesame"))],
        vec![(NamespaceNumber(1), word.clone())],
    ];
    for namespaces in guesses {
        let stolen = Attach { namespaces, ..attach.clone() };
        let mut thief = RawPeer::attach(chat.address, &stolen).await;
        let welcome = thief.welcomed().await;
        assert_eq!(welcome.outcome, Outcome::New);
        assert_ne!(welcome.session, attach.session);
        chat.server.of("/vault").emit("secret", "gold").await.unwrap();
        assert_eq!(thief.next().await, Some(Packet::From(1)));
        thief.send(&Packet::From(1)).await;
        thief.send(&super::support::raw::connect(0, "/target")).await;
        thief.accepted().await;
        thief.bye().await;
        match owner.next_said().await {
            Some(Packet::Event(event)) => assert_eq!(event.payload, text("gold")),
            other => panic!("{other:?}"),
        }
    }
    // The owner never noticed, and its token is still good.
    owner.send(&event(1, "echo", text("still here"))).await;
    assert!(matches!(owner.next_said().await, Some(Packet::Ack(_))));
    let back = Attach { position: 6, ..attach };
    let mut again = RawPeer::attach(chat.address, &back).await;
    assert_eq!(again.welcomed().await.outcome, Outcome::Resumed);
    again.bye().await;
    let stats = chat.end().await;
    assert_eq!((stats.attaches, stats.takeovers), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_banned_while_it_was_away_gets_nothing_not_even_what_waited() {
    let (chat, is_banned) = chat().await;
    let word = text("please");
    let (peer, attach) = RawPeer::resumable(chat.address, &["/vault"], &word).await;
    // Of these the first is written, and the second waits.
    chat.server.of("/vault").emit("secret", "gold").await.unwrap();
    peer.kill();
    becomes(|| chat.stats().detached, 1).await;
    chat.server.of("/vault").emit("secret", "silver").await.unwrap();
    is_banned.store(true, Ordering::Release);
    let mut peer = RawPeer::attach(chat.address, &attach).await;
    let welcome = peer.welcomed().await;
    assert_eq!(welcome.outcome, Outcome::New);
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    peer.send(&Packet::From(1)).await;
    let connect = emitwire::protocol::Connect {
        number: NamespaceNumber(0),
        path: "/vault".into(),
        auth: word.clone(),
    };
    peer.send(&Packet::Connect(connect)).await;
    let refuse = Refuse { client: NamespaceNumber(0), payload: text("not you") };
    assert_eq!(peer.next().await, Some(Packet::Refuse(refuse)));
    peer.bye().await;
    // Who is pardoned in time has missed nothing.
    is_banned.store(false, Ordering::Release);
    let mut peer = RawPeer::attach(chat.address, &attach).await;
    assert_eq!(peer.welcomed().await.outcome, Outcome::Resumed);
    assert_eq!(peer.next().await, Some(Packet::From(2)));
    for secret in ["gold", "silver"] {
        match peer.next_said().await {
            Some(Packet::Event(event)) => assert_eq!(event.payload, text(secret)),
            other => panic!("{other:?} instead of {secret}"),
        }
    }
    peer.bye().await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_refuses_its_client_takes_its_events_with_it_and_the_others_resume() {
    let (chat, is_banned) = chat().await;
    let (peer, attach) =
        RawPeer::resumable(chat.address, &["/vault", "/target"], &text("please")).await;
    let say = async |path: &'static str, words: &'static str| {
        let fanout = chat.server.of(path).emit("secret", words).await.unwrap();
        assert_eq!(fanout.accepted, 1);
    };
    say("/vault", "gold").await;
    say("/target", "open").await;
    peer.kill();
    becomes(|| chat.stats().detached, 1).await;
    say("/vault", "silver").await;
    say("/target", "and more").await;
    is_banned.store(true, Ordering::Release);
    let mut peer = RawPeer::attach(chat.address, &attach).await;
    let (from, to, reason) = (3, 3, LossReason::Closed);
    assert_eq!(peer.welcomed().await.outcome, Outcome::ResumedWithGap { from, to, reason });
    assert_eq!(peer.next().await, Some(Packet::From(3)));
    let mut heard = Vec::new();
    let (mut skipped, mut missed, mut refused) = (0, 0, 0);
    while heard.len() < 2 || refused == 0 {
        match peer.next_said().await {
            Some(Packet::Event(event)) => heard.push(event.payload),
            Some(Packet::Skip(skip)) => {
                assert_eq!((skip.from, skip.to, skip.reason), (from, to, reason));
                skipped += skip.events.events;
            }
            Some(Packet::Gap(gap)) => missed += gap.count,
            Some(Packet::Refuse(refuse)) => {
                assert_eq!((refuse.client, refuse.payload), (NamespaceNumber(0), text("not you")));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, [text("open"), text("and more")]);
    assert_eq!((skipped, missed, refused), (1, 1, 1));
    peer.bye().await;
    let stats = chat.end().await;
    // The server itself has missed nothing of its client.
    assert_eq!((stats.resumed, stats.lost, stats.skipped), (1, 2, 0));
}
