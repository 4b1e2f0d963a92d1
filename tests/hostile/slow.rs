//! Peers that fall silent or do not read.

use super::support::chat::Chat;
use super::support::raw::{LIMITS, RawPeer, hello};
use super::support::{DEADLINE, becomes, listen, within};
use super::{said, target};
use emitwire::protocol::{CloseCode, Hello, Limits, Packet};
use emitwire::{Config, Namespace, Server, Socket};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_peer_that_falls_silent_is_closed_by_the_heartbeat_deadline() {
    let mut config = Config::default();
    config.liveness_timeout = Duration::from_millis(300);
    config.heartbeat_interval = Duration::from_millis(50);
    let chat = Chat::with(config, [target()]).await;
    let heartbeat_interval = Duration::from_millis(50);
    let hello = Hello { limits: Limits { heartbeat_interval, ..LIMITS }, ..hello() };
    let mut peer = RawPeer::connect(chat.address).await.join(hello, "/target").await;
    // The server shows what it wants to see.
    let mut heartbeats = 0;
    let close = loop {
        match peer.next().await.unwrap() {
            Packet::Heartbeat { written: 1 } => heartbeats += 1,
            Packet::Position(_) => {}
            Packet::Close(close) => break close,
            other => panic!("{other:?}"),
        }
    };
    assert!(heartbeats > 0);
    assert_eq!(said(&close), (CloseCode::HeartbeatTimeout, ""));
    drop(peer);
    becomes(|| chat.stats().silent_peers, 1).await;
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_no_more_than_heartbeats_lives() {
    let mut config = Config::default();
    config.liveness_timeout = Duration::from_millis(300);
    config.heartbeat_interval = Duration::from_millis(50);
    let chat = Chat::with(config, [target()]).await;
    let heartbeat_interval = Duration::from_millis(50);
    let hello = Hello { limits: Limits { heartbeat_interval, ..LIMITS }, ..hello() };
    let mut peer = RawPeer::connect(chat.address).await.join(hello, "/target").await;
    let mut pace = tokio::time::interval(heartbeat_interval);
    for _ in 0..14 {
        pace.tick().await;
        peer.send(&Packet::Heartbeat { written: 1 }).await;
    }
    assert_eq!(chat.stats().silent_peers, 0, "twice the deadline has passed");
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_while_the_room_is_loud_is_closed_as_slow() {
    let mut config = Config::default();
    config.unwritten_bytes_max = 256 * 1024;
    // What the system takes for a peer that does not read is no sign that it does.
    config.log_bytes_max = 64 * 1024 * 1024;
    config.close_timeout = DEADLINE;
    let chat = Chat::with(config, []).await;
    let mut peer = RawPeer::connect_narrow(chat.address).await.join(hello(), "/chat").await;
    let noise = "a".repeat(32 * 1024);
    // The ten hear each of them before the next is said: nobody waits for the one that does not.
    let mut rounds = 0;
    while chat.stats().slow_peers == 0 {
        chat.noise(&noise).await;
        rounds += 1;
        assert!(rounds < 2000, "64 MB, and still nobody is slow");
    }
    assert_eq!(chat.stats().slow_peers, 1);
    // Whoever begins to read now learns why.
    let close = within(peer.close()).await;
    assert_eq!(said(&close), (CloseCode::Slow, ""));
    drop(peer);
    let stats = chat.end().await;
    assert!(stats.lost > 0, "what was never written is accounted for");
    assert!(stats.in_doubt > 0, "and what was never confirmed");
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_reads_and_never_finishes_is_closed_as_slow() {
    let mut config = Config::default();
    config.unwritten_packets_max = 64;
    let chat = Chat::with(config, []).await;
    // It grants a hundred events, and never more.
    let mut limits = LIMITS;
    limits.window.events = 100;
    let raw = RawPeer::connect(chat.address).await;
    let mut peer = raw.join(Hello { limits, ..hello() }, "/chat").await;
    // The talk of the ten is enough.
    let mut events = 0;
    let close = loop {
        match within(peer.next()).await.unwrap() {
            Packet::Event(_) => events += 1,
            Packet::Close(close) => break close,
            _ => {}
        }
    };
    assert_eq!(events, 100);
    assert_eq!(said(&close), (CloseCode::Slow, ""));
    drop(peer);
    becomes(|| chat.stats().slow_peers, 1).await;
    let stats = chat.end().await;
    assert!(stats.lost > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_member_that_takes_no_goodbye_goes_without() {
    let mut config = Config::default();
    config.unwritten_bytes_max = 256 * 1024;
    config.close_timeout = Duration::from_millis(100);
    let chat = Chat::with(config, []).await;
    let peer = RawPeer::connect_narrow(chat.address).await.join(hello(), "/chat").await;
    let noise = "a".repeat(32 * 1024);
    while chat.stats().slow_peers == 0 {
        chat.noise(&noise).await;
    }
    // The peer is still there and reads nothing; the server has let go of it.
    let stats = chat.end().await;
    assert_eq!(stats.slow_peers, 1);
    drop(peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_but_its_heartbeats_go_on_is_still_bounded() {
    let mut config = Config::default();
    config.unwritten_bytes_max = 128 * 1024;
    config.close_timeout = Duration::from_millis(100);
    let chat = Chat::with(config, []).await;
    let mut peer = RawPeer::connect_narrow(chat.address).await.join(hello(), "/chat").await;
    let noise = "a".repeat(32 * 1024);
    while chat.stats().slow_peers == 0 {
        chat.noise(&noise).await;
        peer.send(&Packet::Heartbeat { written: 1 }).await;
    }
    let stats = chat.end().await;
    assert_eq!((stats.slow_peers, stats.silent_peers), (1, 0));
    drop(peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_a_peer_that_does_not_read() {
    let mut config = Config::default();
    config.log_bytes_max = 256 * 1024 * 1024;
    config.drain_timeout = Duration::from_millis(300);
    config.close_timeout = Duration::from_millis(200);
    config.disconnect_grace = Duration::from_millis(200);
    let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        begin.send(socket).unwrap();
        async {}
    });
    let server = Server::with_config(config).mount(namespace).unwrap();
    let tcp = listen(&server, "tcp://127.0.0.1:0").await;
    let address = tcp.endpoint().trim_start_matches("tcp://").parse().unwrap();
    let peer = RawPeer::connect_narrow(address).await.join(hello(), "/").await;
    let socket = within(begun.recv()).await.unwrap();
    let (large, patience) = ("a".repeat(256 * 1024), Duration::from_millis(100));
    while within(socket.emit("news", &large).timeout(patience)).await.is_ok() {}
    let began = Instant::now();
    within(server.run_until(async {})).await;
    becomes(|| server.stats().sessions, 0).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let stats = server.stats();
    assert!(stats.lost > 0, "what was never written has a fate");
    assert_eq!(stats.events_out, stats.lost + stats.in_doubt);
    drop(peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_announces_a_heart_that_never_beats_is_not_believed_for_ever() {
    let mut config = Config::default();
    config.liveness_timeout = Duration::from_millis(300);
    let chat = Chat::with(config, [target()]).await;
    let heartbeat_interval = Duration::from_millis(u64::MAX);
    let hello = Hello { limits: Limits { heartbeat_interval, ..LIMITS }, ..hello() };
    let mut peer = RawPeer::connect(chat.address).await;
    peer.send(&Packet::Hello(hello)).await;
    // Refused at once or given up later; the link does not stay for half a billion years.
    let close = within(async {
        loop {
            match peer.next().await {
                Some(Packet::Close(close)) => break close,
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        }
    });
    let close = close.await;
    let codes = [CloseCode::Protocol, CloseCode::HeartbeatTimeout];
    assert!(codes.contains(&close.code), "{close:?}");
    drop(peer);
    chat.end().await;
}
