//! Every queue has a bound, whoever fills it and with what.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, encode, event, event_packet, framed, text};
use super::support::{becomes, listen, within};
use super::target;
use crate::support::rooms;
use emitwire::protocol::{CloseCode, Leave, Nak, NamespaceNumber, Packet, Position};
use emitwire::{Config, Namespace, Server, Unhandled};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Sends until the server has enough of it, and at most so many frames.
async fn flood(peer: &mut RawPeer, frames: impl IntoIterator<Item = Vec<u8>>) {
    let mut batch = Vec::new();
    for frame in frames {
        batch.extend_from_slice(&frame);
        if batch.len() > 64 * 1024 {
            // A server that no longer reads and does not close would be as good as one that ended.
            let written =
                tokio::time::timeout(Duration::from_secs(2), peer.stream.write_all(&batch));
            if !matches!(written.await, Ok(Ok(()))) {
                return;
            }
            batch.clear();
        }
    }
    peer.send_bytes(&batch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_a_peer_never_confirms_do_not_pile_up_without_end() {
    let mut config = Config::default();
    config.log_packets_max = 256;
    config.close_timeout = Duration::from_millis(200);
    let chat = Chat::with(config, []).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    // Each is answered by a counted packet that the server keeps until it is confirmed.
    let frames = (0..20_000).map(|number| framed(&encode(&connect(number, "/nowhere"))));
    flood(&mut peer, frames).await;
    let close = within(peer.end()).await;
    if let Some(close) = close {
        assert!(matches!(close.code, CloseCode::Protocol | CloseCode::Slow), "{close:?}");
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_end_slowly_count_as_namespaces_of_their_session() {
    let mut config = Config::default();
    config.namespaces_per_session_max = 8;
    config.disconnect_grace = Duration::from_secs(2);
    let hesitant =
        Namespace::new("/hesitant").on_connect(|| async { std::future::pending::<()>().await });
    let chat = Chat::with(config, [hesitant, target()]).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    let frames = (0..2000).flat_map(|number| {
        let leave = Packet::Leave(Leave { client: NamespaceNumber(number), words: "".into() });
        [framed(&encode(&connect(number, "/hesitant"))), framed(&encode(&leave))]
    });
    flood(&mut peer, frames).await;
    peer.send(&connect(2000, "/target")).await;
    // The server has seen all of it when it answers the last, or closes.
    loop {
        match within(peer.next()).await {
            Some(Packet::Accept(accept)) if accept.client.0 == 2000 => break,
            Some(Packet::Refuse(refuse)) if refuse.client.0 == 2000 => break,
            None => break,
            Some(_) => {}
        }
    }
    let sockets = chat.stats().sockets;
    assert!(sockets <= 10 + 8 + 1, "{sockets} sockets of one session at the same time");
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_events_have_a_bound_and_those_above_it_are_refused_at_once() {
    let mut config = Config::default();
    config.parked_events_max = 4;
    config.parked_bytes_max = 1000;
    let patient =
        Namespace::new("/patient").unhandled(Unhandled::Park { ttl: Duration::from_secs(3600) });
    let chat = Chat::with(config, [patient]).await;
    let mut peer = RawPeer::joined(chat.address, "/patient").await;
    for number in 1..=5 {
        peer.send(&event(number, "later", text("a"))).await;
    }
    match peer.next_said().await {
        Some(Packet::Nak(nak)) => assert_eq!((nak.event.number, nak.nak), (5, Nak::NoHandler)),
        other => panic!("{other:?}"),
    }
    assert_eq!(chat.stats().parked, 4);
    let mut peer2 = RawPeer::joined(chat.address, "/patient").await;
    peer2.send(&event(1, "later", text(&"a".repeat(1001)))).await;
    assert!(matches!(peer2.next_said().await, Some(Packet::Nak(_))), "bytes count, too");
    drop((peer, peer2));
    becomes(|| chat.stats().parked, 0).await;
    let stats = chat.end().await;
    assert_eq!(stats.refused, 2 + 4, "what was parked has a fate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volatile_events_that_wait_for_a_handler_have_a_bound() {
    let mut config = Config::default();
    config.volatile_inbox_max = 8;
    config.disconnect_grace = Duration::from_millis(100);
    let chat = Chat::with(config, [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let frames = (0..10_000).map(|number| {
        let event = super::support::raw::event_packet(number, "stuck", text("a"));
        framed(&encode(&Packet::Volatile(event)))
    });
    flood(&mut peer, frames).await;
    becomes(|| chat.stats().volatile_in, 10_000).await;
    // One is at work, eight wait.
    assert_eq!(chat.stats().volatile_missed, 10_000 - 9);
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_questions_is_answered_with_few_positions() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let ask = Position { asks: true, ..Position::default() };
    let frames = (0..20_000).map(|_| framed(&encode(&Packet::Position(ask.clone()))));
    flood(&mut peer, frames).await;
    peer.send(&event(1, "text", text("still here"))).await;
    let mut positions = 0;
    loop {
        match peer.next().await.unwrap() {
            Packet::Position(_) => positions += 1,
            Packet::Ack(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(positions < 2000, "{positions} positions");
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_a_socket_have_a_bound() {
    let mut config = Config::default();
    config.rooms_per_socket_max = 8;
    let joins = Namespace::new("/joins").on(
        "join",
        |socket: emitwire::Socket, emitwire::Data(room): emitwire::Data<String>| async move {
            socket.join(room.as_str()).await.is_ok()
        },
    );
    let chat = Chat::with(config, [joins]).await;
    let guest = chat.guest(Namespace::new("/joins")).await;
    let socket = guest.of("/joins").unwrap();
    for number in 0..20 {
        let joined: bool =
            within(socket.emit("join", &format!("room {number}")).ack()).await.unwrap();
        assert_eq!(joined, number < 8);
    }
    assert_eq!(rooms(&chat.server.of("/joins")).len(), 8);
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test]
async fn events_whose_handlers_are_ready_at_once_leave_other_tasks_their_turn() {
    const EVENTS: u64 = 3000;
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    let namespace = Namespace::new("/ticks").on("tick", move || {
        count.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    let server = Server::new().mount(namespace).unwrap();
    let tcp = listen(&server, "tcp://127.0.0.1:0").await;
    let address = tcp.endpoint().trim_start_matches("tcp://").parse().unwrap();
    let mut peer = RawPeer::joined(address, "/ticks").await;
    let ticks = (0..EVENTS).flat_map(|number| {
        let tick = event_packet(number, "tick", text(""));
        framed(&encode(&Packet::Volatile(tick)))
    });
    // So little that the server may have all of it in one read.
    let ticks: Vec<u8> = ticks.collect();
    assert!(ticks.len() < 64 * 1024);
    peer.send_bytes(&ticks).await;
    let (mut seen, mut longest) = (0, 0);
    while seen < EVENTS {
        within(tokio::task::yield_now()).await;
        let now = handled.load(Ordering::Relaxed);
        (seen, longest) = (now, longest.max(now - seen));
    }
    // Tokio lets a task do 128 things in a row (tokio::task::coop); the driver may have two polls
    // before this task has its next.
    assert!((1..=2 * 128).contains(&longest), "{longest} in a row");
}
