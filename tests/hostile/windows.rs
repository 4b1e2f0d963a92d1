//! More than was granted: windows, sizes, and what a peer agreed to.

use super::support::chat::Chat;
use super::support::raw::{LIMITS, RawPeer, event, event_packet, hello, text};
use super::support::{becomes, within};
use super::{accused, said, target};
use emitwire::protocol::{CloseCode, Credit, Hello, Limits, Packet, Position};
use emitwire::{Client, Config, Endpoint, Event, Namespace, Payload};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A window of four events and 4,000 bytes, events of up to 3,000 bytes, and little patience with
/// handlers that never finish.
fn small() -> Config {
    let mut config = Config::default();
    config.window_events = 4;
    config.window_bytes = 4000;
    config.event_bytes_max = 3000;
    config.disconnect_grace = Duration::from_millis(100);
    config
}

fn bytes(count: usize) -> Payload {
    Payload::raw(vec![0; count])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_more_than_the_window_closes_the_link() {
    let chat = Chat::with(small(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for number in 1..=4 {
        peer.send(&event(number, "stuck", text("a"))).await;
    }
    // Within the window everything is well, whatever else is said.
    peer.send(&Packet::Heartbeat { written: 5 }).await;
    peer.send(&Packet::Volatile(event_packet(5, "echo", text("b")))).await;
    becomes(|| chat.stats().volatile_in, 1).await;
    assert_eq!(chat.stats().protocol_errors, 0);
    peer.send(&event(6, "stuck", text("a"))).await;
    let words = "the window of 4 events and 4000 bytes was overrun";
    accused(&chat, &mut peer, 0, words).await;
    drop(peer);
    becomes(|| chat.stats().cancelled > 0, true).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_more_than_the_window_closes_the_link() {
    let chat = Chat::with(small(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let name = "stuck";
    peer.send(&event(1, name, bytes(2000 - name.len()))).await;
    peer.send(&event(2, name, bytes(2000 - name.len()))).await;
    peer.send(&Packet::Heartbeat { written: 3 }).await;
    peer.send(&event(3, "", bytes(1))).await;
    let words = "the window of 4 events and 4000 bytes was overrun";
    accused(&chat, &mut peer, 0, words).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_events_ends_at_the_window() {
    let chat = Chat::with(small(), [target()]).await;
    let before = chat.stats();
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let flood: Vec<u8> = (1..=10_000)
        .flat_map(|number| {
            let event = event(number, "stuck", text("a"));
            super::support::raw::framed(&super::support::raw::encode(&event))
        })
        .collect();
    peer.send_bytes(&flood).await;
    let close = peer.end().await;
    if let Some(close) = close {
        assert_eq!(close.code, CloseCode::Protocol);
    }
    drop(peer);
    becomes(|| chat.stats().protocol_errors, before.protocol_errors + 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_answer_is_not_confirmed_is_not_free() {
    let chat = Chat::with(small(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for number in 1..=4 {
        peer.send(&event(number, "text", text("a"))).await;
    }
    for _ in 1..=4 {
        assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    }
    // All are answered, none of the answers is confirmed.
    peer.send(&event(5, "text", text("a"))).await;
    let words = "the window of 4 events and 4000 bytes was overrun";
    accused(&chat, &mut peer, 0, words).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_larger_than_agreed_closes_the_link_whoever_was_the_stricter() {
    let chat = Chat::with(small(), [target()]).await;
    let name = "echo";
    let modest = Hello { limits: Limits { event_bytes_max: 100, ..LIMITS }, ..hello() };
    let attacks = [(hello(), 3000), (modest, 100)];
    for (errors, (hello, max)) in attacks.into_iter().enumerate() {
        let raw = RawPeer::connect(chat.address).await;
        let mut peer = raw.join(hello, "/target").await;
        peer.send(&event(1, name, bytes(max - name.len()))).await;
        assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
        peer.send(&event(2, name, bytes(max + 1 - name.len()))).await;
        let words = format!("an event of {} bytes, at most {max} were agreed", max + 1);
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_no_agreed_event_needs_is_not_even_read() {
    let chat = Chat::with(small(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    peer.send_bytes(&(3000u32 + 512 + 1).to_be_bytes()).await;
    let words = "a field of 3513 bytes, at most 3512 are allowed";
    accused(&chat, &mut peer, 0, words).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_outstanding_one_event_may_be_larger_than_the_window() {
    let mut config = small();
    config.window_bytes = 100;
    let chat = Chat::with(config, [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    peer.send(&event(1, "echo", bytes(2000))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_grants_nothing_gets_one_event_at_a_time() {
    let nothing = Credit { events: 0, bytes: 0 };
    let limits = Limits { window: nothing, log_packets_max: 0, log_bytes_max: 0, ..LIMITS };
    let chat = Chat::with(Config::default(), [target()]).await;
    let raw = RawPeer::connect(chat.address).await;
    let mut peer = raw.join(Hello { limits, ..hello() }, "/target").await;
    for _ in 0..3 {
        let said = chat.server.of("/target");
        within(said.emit("hear", "this")).await.unwrap();
    }
    assert!(matches!(peer.next_said().await, Some(Packet::Event(_))));
    peer.send(&event(1, "text", text("a"))).await;
    // Answers overtake what waits for the window.
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    let finished = Credit { events: 1, bytes: 100 };
    let position = emitwire::protocol::Position {
        received: 1,
        granted: Credit { bytes: "hear".len() as u64 + 5, ..finished },
        ..Default::default()
    };
    peer.send(&Packet::Position(position)).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Event(_))));
    drop(peer);
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_spares_a_member_that_agreed_to_less() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut modest = Config::default();
    modest.event_bytes_max = 100;
    let (mouth, mut ear) = mpsc::unbounded_channel();
    let hears = Namespace::new("/target").fallback(move |event: Event| {
        mouth.send(event.name.to_string()).unwrap();
        async {}
    });
    let client = Client::new(Endpoint::new(&chat.url()).unwrap()).config(modest);
    let client = client.mount(hears).reconnect(false);
    let session = within(client.connect()).await.unwrap();
    let everyone = chat.server.of("/target");
    let fanout = within(everyone.emit("large", &"a".repeat(200))).await.unwrap();
    assert_eq!((fanout.accepted, fanout.dropped), (0, 1), "larger than that member takes");
    within(everyone.emit("small", "a")).await.unwrap();
    assert_eq!(within(ear.recv()).await.unwrap(), "small");
    assert!(session.is_connected(), "{:?}", session.stats());
    within(session.close()).await;
    let stats = chat.end().await;
    assert_eq!(stats.broadcast_dropped, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_says_too_large_before_it_sends_more_than_its_peer_takes() {
    let chat = Chat::with(small(), [target()]).await;
    let guest = chat.guest(Namespace::new("/target")).await;
    let socket = guest.of("/target").unwrap();
    match within(socket.emit("text", &"a".repeat(3000))).await {
        Err(emitwire::EmitError::TooLarge { bytes: 3007, max: 3000 }) => {}
        other => panic!("{other:?}"),
    }
    let length: usize = within(socket.emit("text", "short").ack()).await.unwrap();
    assert_eq!(length, 5);
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_of_the_peer_is_no_error() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let goodbye = emitwire::protocol::Close { code: CloseCode::Normal, detail: "bye".into() };
    peer.send(&Packet::Close(goodbye)).await;
    // What follows a close is not read.
    peer.send_bytes(&[0xff; 64]).await;
    assert_eq!(peer.end().await.as_ref().map(said), None);
    drop(peer);
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ask_is_answered_and_none_waits_for_a_heartbeat() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for number in 0..4 {
        let asks = Position { received: 1, granted: LIMITS.window, ranges: Vec::new(), asks: true };
        peer.send(&Packet::Position(asks)).await;
        let began = Instant::now();
        loop {
            match within(peer.next()).await {
                Some(Packet::Position(_)) => break,
                Some(_) => {}
                None => panic!("it ended"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(2), "ask {number}: {:?}", began.elapsed());
    }
    drop(peer);
    chat.end().await;
}
