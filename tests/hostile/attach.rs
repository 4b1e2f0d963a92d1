//! Who wants a session back with something that is not right: nothing is given away, and its owner
//! can still have it.

use super::support::becomes;
use super::support::chat::{Chat, MEMBERS};
use super::support::raw::{RawPeer, attaching, encode, event, framed, hello, text};
use super::{said, target};
use bytes::Bytes;
use emitwire::protocol::{
    Attach, CloseCode, Hello, NamespaceNumber, Outcome, Packet, Position, SessionId,
};
use emitwire::{Config, Payload};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

async fn chat() -> Chat {
    Chat::with(Config::default(), [target()]).await
}

/// A session without a link, for which `secrets` events wait; and what brings it back.
async fn away(chat: &Chat, secrets: usize) -> Attach {
    let detached = chat.stats().detached;
    let (peer, attach) = RawPeer::resumable(chat.address, &["/target"], &Payload::empty()).await;
    peer.kill();
    becomes(|| chat.stats().detached, detached + 1).await;
    for number in 0..secrets {
        let everyone = chat.server.of("/target");
        everyone.emit("secret", &number).await.unwrap();
    }
    attach
}

/// The server has let it begin anew, and says nothing that is not about that.
async fn begins_anew(mut peer: RawPeer, shown: &Attach) {
    let welcome = peer.welcomed().await;
    assert_eq!((welcome.outcome, welcome.position), (Outcome::New, 0));
    assert_ne!(welcome.session, shown.session);
    assert_ne!(welcome.token, shown.token);
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    // What waited for somebody else would come before this.
    peer.send(&Packet::From(1)).await;
    peer.send(&super::support::raw::connect(0, "/target")).await;
    peer.accepted().await;
    peer.bye().await;
}

/// Comes back with the right thing, gets so many secrets, and ends the session.
async fn comes_back(chat: &Chat, attach: &Attach, secrets: u64) {
    let mut peer = RawPeer::attach(chat.address, attach).await;
    let welcome = peer.welcomed().await;
    assert_eq!((welcome.session, welcome.outcome), (attach.session, Outcome::Resumed));
    gets_secrets(&mut peer, attach.position + 1, secrets).await;
    peer.bye().await;
}

async fn gets_secrets(peer: &mut RawPeer, from: u64, secrets: u64) {
    assert_eq!(peer.next().await, Some(Packet::From(from)));
    for number in 0..secrets {
        match peer.next_said().await {
            Some(Packet::Event(event)) => {
                assert_eq!(event.payload.decode::<u64>().unwrap(), number)
            }
            other => panic!("{other:?} instead of secret {number}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_begins_a_session_of_its_own_and_gets_nothing_of_the_other() {
    let chat = chat().await;
    let attach = away(&chat, 3).await;
    let right = attach.token.to_vec();
    let other = away(&chat, 0).await;
    let mut flipped = vec![right.clone(); 3];
    flipped[0][0] ^= 0x80;
    flipped[1][8] ^= 0x10;
    flipped[2][15] ^= 1;
    let mut wrong = flipped;
    wrong.extend([vec![], vec![0; 16], right[..15].to_vec(), [&right[..], b"!"].concat()]);
    wrong.extend([right.repeat(4), other.token.to_vec()]);
    for token in wrong {
        let shown = Attach { token: Bytes::from(token), ..attach.clone() };
        begins_anew(RawPeer::attach(chat.address, &shown).await, &shown).await;
    }
    // The right token is not right for another session, and not for one that never was.
    for session in [other.session, SessionId(7)] {
        let shown = Attach { session, ..attach.clone() };
        begins_anew(RawPeer::attach(chat.address, &shown).await, &shown).await;
    }
    becomes(|| chat.stats().sessions, MEMBERS as u64 + 2).await;
    assert_eq!((chat.stats().attaches, chat.stats().detached), (0, 2));
    comes_back(&chat, &attach, 3).await;
    comes_back(&chat, &other, 0).await;
    assert_eq!(chat.end().await.takeovers, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_worth_nothing_when_the_window_is_over() {
    let mut config = Config::default();
    config.resume_window = Duration::from_millis(50);
    let chat = Chat::with(config, [target()]).await;
    let attach = away(&chat, 0).await;
    becomes(|| chat.stats().sessions, MEMBERS as u64).await;
    begins_anew(RawPeer::attach(chat.address, &attach).await, &attach).await;
    assert_eq!(chat.end().await.attaches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attach_makes_a_new_token_and_the_old_one_ends_when_the_new_one_was_heard() {
    let chat = chat().await;
    let first = away(&chat, 0).await;
    let mut peer = RawPeer::attach(chat.address, &first).await;
    let second = Attach { token: peer.welcomed().await.token, ..first.clone() };
    assert_ne!(first.token, second.token);
    // It may be that the answer was lost: until it says something it may ask again.
    let mut again = RawPeer::attach(chat.address, &first).await;
    assert_eq!(again.welcomed().await.token, second.token, "the same one");
    assert_eq!(peer.close().await.code, CloseCode::Replaced);
    again.send(&Packet::From(2)).await;
    again.send(&event(1, "echo", text("I heard it"))).await;
    while !matches!(again.next_said().await, Some(Packet::Ack(_))) {}
    again.kill();
    becomes(|| chat.stats().detached, 1).await;
    begins_anew(RawPeer::attach(chat.address, &first).await, &first).await;
    let third = Attach { position: 2, ..second.clone() };
    comes_back(&chat, &third, 0).await;
    begins_anew(RawPeer::attach(chat.address, &second).await, &second).await;
    let stats = chat.end().await;
    assert_eq!((stats.attaches, stats.resumed), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attach_that_is_cut_at_any_byte_changes_nothing() {
    let chat = chat().await;
    let attach = away(&chat, 3).await;
    let whole: Vec<u8> = attaching(&attach).iter().flat_map(|it| framed(&encode(it))).collect();
    for cut in 0..whole.len() {
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send_bytes(&whole[..cut]).await;
        if cut % 2 == 0 {
            peer.kill();
        } else {
            // Its end is in order, and it waits for an answer.
            peer.stream.shutdown().await.unwrap();
            peer.expect_end().await;
        }
        becomes(|| chat.stats().handshakes_failed, cut as u64 + 1).await;
    }
    let stats = chat.stats();
    assert_eq!((stats.attaches, stats.replayed, stats.detached), (0, 0, 1));
    comes_back(&chat, &attach, 3).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_gone_before_the_answer_to_its_attach_comes_back_with_what_it_has() {
    let chat = chat().await;
    let attach = away(&chat, 3).await;
    for times in 1..=5 {
        let peer = RawPeer::attach(chat.address, &attach).await;
        becomes(|| chat.stats().attaches, times).await;
        peer.kill();
        becomes(|| chat.stats().detached, 1).await;
    }
    comes_back(&chat, &attach, 3).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_cannot_be_is_refused_and_the_session_stays() {
    let chat = chat().await;
    let (mut peer, mut attach) =
        RawPeer::resumable(chat.address, &["/target"], &Payload::empty()).await;
    // The accept, number 1, is confirmed; the answer, number 2, is not.
    peer.send(&event(1, "echo", text("a"))).await;
    peer.send(&Packet::Position(Position { received: 1, ..Position::default() })).await;
    peer.send(&event(2, "echo", text("b"))).await;
    let mut answers = 0;
    while answers < 2 {
        answers += u64::from(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    }
    peer.kill();
    becomes(|| chat.stats().detached, 1).await;
    for (failed, position) in [0, 4, 5, u64::MAX].into_iter().enumerate() {
        attach.position = position;
        let mut peer = RawPeer::attach(chat.address, &attach).await;
        let words = format!("a position of {position}, only 3 were written");
        assert_eq!(said(&peer.close().await), (CloseCode::Protocol, &*words));
        becomes(|| chat.stats().handshakes_failed, failed as u64 + 1).await;
        assert_eq!((chat.stats().detached, chat.stats().attaches), (1, 0));
    }
    attach.position = 2;
    let mut peer = RawPeer::attach(chat.address, &attach).await;
    assert_eq!(peer.welcomed().await.position, 3, "connect and two events");
    assert_eq!(peer.next().await, Some(Packet::From(3)));
    match peer.next_said().await {
        Some(Packet::Ack(ack)) => assert_eq!(ack.event.number, 2, "the other one it has"),
        other => panic!("{other:?}"),
    }
    peer.bye().await;
    let stats = chat.end().await;
    assert_eq!((stats.resumed, stats.replayed), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_with_one_token_the_newest_wins_and_the_other_is_told() {
    let chat = chat().await;
    let (mut first, attach) =
        RawPeer::resumable(chat.address, &["/target"], &Payload::empty()).await;
    // The link before is believed alive, and this is one that takes over.
    let mut second = RawPeer::attach(chat.address, &attach).await;
    assert_eq!(second.welcomed().await.outcome, Outcome::Resumed);
    assert_eq!(said(&first.close().await), (CloseCode::Replaced, ""));
    let mut third = RawPeer::attach(chat.address, &attach).await;
    assert_eq!(third.welcomed().await.outcome, Outcome::Resumed);
    assert_eq!(said(&second.close().await), (CloseCode::Replaced, ""));
    // What comes from those who were replaced is not heard any more.
    for late in [&mut first, &mut second] {
        late.send(&event(1, "echo", text("too late"))).await;
    }
    third.send(&Packet::From(2)).await;
    third.send(&event(2, "echo", text("mine"))).await;
    let answer = loop {
        match third.next_said().await {
            Some(Packet::Ack(ack)) => break ack.event.number,
            Some(Packet::From(2)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer, 2);
    third.bye().await;
    let stats = chat.end().await;
    assert_eq!((stats.takeovers, stats.protocol_errors), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_attach_at_once_leave_one_with_the_session() {
    let chat = chat().await;
    let attach = away(&chat, 2).await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(RawPeer::attach(chat.address, &attach).await);
    }
    let mut last = Vec::new();
    for mut peer in peers {
        match peer.next().await {
            Some(Packet::Welcome(welcome)) if welcome.outcome == Outcome::Resumed => {
                last.push(peer);
            }
            // There is a bound to those who are heard at once, and the others may try again.
            None => {}
            // The next was there before it had its welcome.
            Some(Packet::Close(close)) => assert_eq!(close.code, CloseCode::Replaced),
            other => panic!("{other:?}"),
        }
    }
    assert!(!last.is_empty());
    becomes(|| chat.stats().links, MEMBERS as u64 + 1).await;
    let mut alive = 0;
    for mut peer in last {
        gets_secrets(&mut peer, 2, 0).await;
        peer.send(&Packet::From(2)).await;
        peer.send(&event(1, "echo", text("is it me?"))).await;
        let is_me = loop {
            match peer.next_said().await {
                Some(Packet::Ack(_)) => break true,
                Some(Packet::Event(_)) => {}
                Some(Packet::Close(close)) => break close.code != CloseCode::Replaced,
                other => panic!("{other:?}"),
            }
        };
        if is_me {
            alive += 1;
            peer.bye().await;
        }
    }
    assert_eq!(alive, 1);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_that_were_never_asked_for_may_be_shown_and_mean_nothing() {
    let chat = chat().await;
    let mut attach = away(&chat, 1).await;
    for number in [0, 1, 77, u32::MAX] {
        attach.namespaces.push((NamespaceNumber(number), text("whatever")));
    }
    comes_back(&chat, &attach, 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_is_repeated_finds_its_session_until_its_welcome_was_heard() {
    let chat = chat().await;
    let hello = Hello { resumable: true, nonce: 77_777, ..hello() };
    let (silent, first) = RawPeer::connect(chat.address).await.greet(hello).await;
    silent.kill();
    becomes(|| chat.stats().detached, 1).await;
    // Its link is believed alive when the third comes.
    let (mut second, again) = RawPeer::connect(chat.address).await.greet(hello).await;
    let (mut third, once_more) = RawPeer::connect(chat.address).await.greet(hello).await;
    for welcome in [&again, &once_more] {
        assert_eq!((welcome.session, welcome.outcome), (first.session, Outcome::New));
        assert_eq!((&welcome.token, welcome.position), (&first.token, 0));
    }
    assert_eq!(said(&second.close().await), (CloseCode::Replaced, ""));
    assert_eq!(third.next().await, Some(Packet::From(1)));
    third.send(&Packet::From(1)).await;
    third.send(&super::support::raw::connect(0, "/target")).await;
    while !matches!(third.next_said().await, Some(Packet::Accept(_))) {}
    let (fourth, other) = RawPeer::connect(chat.address).await.greet(hello).await;
    assert_ne!(other.session, first.session, "a nonce that was heard is worth nothing");
    third.send(&event(1, "echo", text("still here"))).await;
    assert!(matches!(third.next_said().await, Some(Packet::Ack(_))));
    fourth.bye().await;
    third.bye().await;
    assert_eq!(chat.end().await.attaches, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_claims_to_have_something_is_refused_and_the_session_stays() {
    let chat = chat().await;
    let attach = away(&chat, 2).await;
    for position in [1, 2, u64::MAX] {
        let shown = Attach { position, ..attach.clone() };
        let [first, second] = attaching(&shown);
        let Packet::Hello(hello) = first else { panic!("{first:?}") };
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send(&Packet::Hello(Hello { restarted: true, ..hello })).await;
        peer.send(&second).await;
        assert_eq!(peer.close().await.code, CloseCode::Protocol);
        becomes(|| chat.stats().detached, 1).await;
    }
    comes_back(&chat, &attach, 2).await;
    chat.end().await;
}
