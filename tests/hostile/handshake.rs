//! Before there is a session: wrong versions, wrong first words, silence, and no place.

use super::support::chat::{Chat, MEMBERS};
use super::support::raw::{RawPeer, connect, encode, event, framed, hello, text};
use super::support::{all, becomes, endpoint, within};
use super::{accused, said, target};
use emitwire::protocol::{
    Accept, Attach, Close, CloseCode, Hello, NamespaceNumber, Outcome, Packet, ProducerId,
    SessionId, SocketId, Welcome,
};
use emitwire::{Client, Config, ConnectError, DisconnectReason, Namespace};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

fn welcome() -> Packet {
    Packet::Welcome(Welcome {
        session: SessionId(1),
        token: bytes::Bytes::new(),
        producer: ProducerId(2),
        limits: super::support::raw::LIMITS,
        resume_window: Duration::ZERO,
        outcome: Outcome::New,
        position: 0,
        trimmed: 0,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_version_is_told_so_whatever_follows_it() {
    let chat = Chat::start().await;
    let hellos = [
        b"\x01EMITWIRE\x02".to_vec(),
        b"\x01EMITWIRE\x00".to_vec(),
        b"\x01EMITWIRE\xff and a layout of another age".to_vec(),
    ];
    for (failed, hello) in hellos.iter().enumerate() {
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send_frame(hello).await;
        let words = format!("protocol version {} is not supported", hello[9]);
        assert_eq!(said(&peer.close().await), (CloseCode::Version, &*words));
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed as u64 + 1).await;
    }
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0, "there was no session that could break a rule");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_hello_can_be_first() {
    let chat = Chat::start().await;
    let firsts = [
        (Packet::From(1), "from"),
        (connect(0, "/chat"), "connect"),
        (event(1, "say", text("hello")), "event"),
        (Packet::Heartbeat { written: 0 }, "heartbeat"),
        (Packet::Position(Default::default()), "position"),
        (Packet::Close(Close { code: CloseCode::Normal, detail: "".into() }), "close"),
        (welcome(), "welcome"),
        (Packet::Attach(attach()), "attach"),
    ];
    for (failed, (first, name)) in firsts.iter().enumerate() {
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send(first).await;
        if !matches!(first, Packet::Close(_)) {
            let words = format!("a {name} packet has no place here");
            assert_eq!(said(&peer.close().await), (CloseCode::Protocol, &*words));
        }
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed as u64 + 1).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_resumes_is_followed_by_an_attach_and_nothing_else() {
    let chat = Chat::start().await;
    let mut peer = RawPeer::connect(chat.address).await;
    peer.send(&Packet::Hello(Hello { resumes: true, ..hello() })).await;
    peer.send(&Packet::From(1)).await;
    let close = peer.close().await;
    assert_eq!(said(&close), (CloseCode::Protocol, "a from packet has no place here"));
    drop(peer);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_into_a_handshake_has_no_place_behind_it() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let accept =
        Accept { client: NamespaceNumber(0), server: NamespaceNumber(0), socket: SocketId(1) };
    let late = [
        (Packet::Hello(hello()), "hello"),
        (welcome(), "welcome"),
        (Packet::Attach(attach()), "attach"),
        (Packet::Accept(accept), "accept"),
    ];
    for (errors, (packet, name)) in late.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(packet).await;
        let words = format!("a {name} packet has no place here");
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_are_sent_away_at_the_deadline_while_others_come_and_go() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(300);
    let chat = Chat::with(config, [target()]).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(RawPeer::connect(chat.address).await);
    }
    becomes(|| chat.stats().links, MEMBERS as u64 + 20).await;
    // They hold nobody up.
    let began = Instant::now();
    let guest = chat.guest(Namespace::new("/target")).await;
    let socket = guest.of("/target").unwrap();
    let length: usize = within(socket.emit("text", "hello").ack()).await.unwrap();
    assert_eq!(length, 5);
    if began.elapsed() < Duration::from_millis(250) {
        assert_eq!(chat.stats().handshakes_failed, 0, "the silent are still there");
    }
    for mut peer in silent {
        assert_eq!(said(&peer.close().await), (CloseCode::HandshakeTimeout, ""));
    }
    becomes(|| chat.stats().handshakes_failed, 20).await;
    assert!(guest.is_connected());
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_comes_byte_by_byte_gets_no_more_time_than_any_other() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(300);
    let chat = Chat::with(config, []).await;
    let mut peer = RawPeer::connect(chat.address).await;
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    let whole = framed(&encode(&Packet::Hello(hello())));
    let (read, mut write) = peer.stream.split();
    // At this pace the hello would take more than a second; each byte is a sign of life.
    let dripping = async {
        for byte in whole {
            drip.tick().await;
            let _ = write.write_all(&[byte]).await;
        }
    };
    tokio::select! {
        () = dripping => panic!("the hello was whole before the deadline"),
        _ = read.readable() => {}
    }
    let close = peer.close().await;
    assert_eq!(said(&close), (CloseCode::HandshakeTimeout, ""));
    drop(peer);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_comes_byte_by_byte_is_as_good_as_any() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::connect(chat.address).await;
    let script = [
        Packet::Hello(hello()),
        Packet::From(1),
        connect(0, "/target"),
        event(1, "text", text("slowly")),
    ];
    for packet in &script {
        for byte in framed(&encode(packet)) {
            peer.send_bytes(&[byte]).await;
        }
    }
    let answer = loop {
        match peer.next().await.unwrap() {
            Packet::Ack(ack) => break ack,
            Packet::Close(close) => panic!("{close:?}"),
            _ => {}
        }
    };
    assert_eq!(answer.payload.decode::<usize>().unwrap(), 6);
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_place_says_so_and_has_one_when_somebody_leaves() {
    let mut config = Config::default();
    config.links_max = MEMBERS + 2;
    let chat = Chat::with(config, [target()]).await;
    let first = RawPeer::joined(chat.address, "/target").await;
    let second = RawPeer::joined(chat.address, "/target").await;
    // Told without having said anything.
    let mut third = RawPeer::connect(chat.address).await;
    assert_eq!(said(&third.close().await), (CloseCode::Full, ""));
    drop(third);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    becomes(|| chat.stats().links, MEMBERS as u64 + 2).await;
    let client = Client::new(endpoint(&chat.url())).mount(Namespace::new("/target"));
    match within(client.connect()).await {
        Err(ConnectError::Ended { reason: DisconnectReason::Full }) => {}
        other => panic!("{other:?}"),
    }
    becomes(|| chat.stats().handshakes_failed, 2).await;
    drop(first);
    becomes(|| chat.stats().links, MEMBERS as u64 + 1).await;
    let guest = chat.guest(Namespace::new("/target")).await;
    within(guest.close()).await;
    drop(second);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_in_front_of_a_full_server_costs_it_a_bounded_number_of_links() {
    let mut config = Config::default();
    config.links_max = MEMBERS;
    config.close_timeout = Duration::from_millis(200);
    let chat = Chat::with(config, []).await;
    let peers = all((0..300).map(|_| RawPeer::connect(chat.address))).await;
    let ends = all(peers.into_iter().map(|mut peer| async move { peer.end().await })).await;
    assert!(chat.stats().links <= MEMBERS as u64 + 64 + 1);
    let told = ends.iter().flatten().count();
    assert!(told > 0, "some were told");
    for close in ends.into_iter().flatten() {
        assert_eq!(said(&close), (CloseCode::Full, ""));
    }
    becomes(|| chat.stats().handshakes_failed, 300).await;
    chat.end().await;
}

fn attach() -> Attach {
    Attach {
        session: SessionId(1),
        token: bytes::Bytes::from_static(b"guess"),
        position: 0,
        trimmed: 0,
        namespaces: Vec::new(),
    }
}
