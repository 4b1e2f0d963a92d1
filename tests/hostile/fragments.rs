//! Pieces of packets, and numbers that never come: legal on every wire, and easily got wrong.

use super::support::becomes;
use super::support::chat::Chat;
use super::support::raw::{RawPeer, encode, event, hello, text};
use super::{accused, said, target};
use bytes::Bytes;
use emitwire::Config;
use emitwire::protocol::{CloseCode, Credit, Fragment, LossReason, Packet, Skip};

async fn chat() -> Chat {
    Chat::with(Config::default(), [target()]).await
}

fn piece(packet: u64, offset: u64, last: bool, bytes: &[u8]) -> Packet {
    let bytes = Bytes::copy_from_slice(bytes);
    Packet::Fragment(Fragment { packet, offset, last, bytes })
}

/// A packet in pieces of so many bytes.
fn pieces(number: u64, packet: &Packet, size: usize) -> Vec<Packet> {
    let whole = encode(packet);
    let count = whole.len().div_ceil(size);
    let cut = |(place, bytes): (usize, &[u8])| {
        piece(number, (place * size) as u64, place + 1 == count, bytes)
    };
    whole.chunks(size).enumerate().map(cut).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_in_pieces_is_as_good_as_a_whole_one_whatever_comes_between() {
    let chat = chat().await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for (number, size) in [1, 2, 7, 1000].into_iter().enumerate() {
        let number = number as u64;
        let packet = event(number + 1, "text", text("hello, in pieces"));
        for piece in pieces(number, &packet, size) {
            peer.send(&piece).await;
            peer.send(&Packet::Position(Default::default())).await;
        }
        match peer.next_said().await {
            Some(Packet::Ack(ack)) => assert_eq!(ack.payload.decode::<usize>().unwrap(), 16),
            other => panic!("{other:?}"),
        }
    }
    drop(peer);
    assert_eq!(chat.end().await.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_may_come_in_pieces_too_but_not_in_too_many() {
    let chat = chat().await;
    let mut peer = RawPeer::connect(chat.address).await;
    for piece in pieces(0, &Packet::Hello(hello()), 5) {
        peer.send(&piece).await;
    }
    peer.welcomed().await;
    drop(peer);
    let mut peer = RawPeer::connect(chat.address).await;
    let most = Config::default().handshake_bytes_max as u64;
    let part = vec![1; 32 * 1024];
    for number in 0..3 {
        peer.send(&piece(0, number * part.len() as u64, false, &part)).await;
    }
    let close = peer.close().await;
    assert_eq!(close.code, CloseCode::Protocol);
    drop(peer);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    assert!(most < 3 * part.len() as u64);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_do_not_fit_together_are_violations() {
    let chat = chat().await;
    let whole = encode(&event(1, "echo", text("a")));
    let (head, tail) = whole.split_at(4);
    let within = piece(0, 0, true, &encode(&piece(0, 0, true, &whole)));
    let not_piece = |packet, offset| {
        format!("a piece of a packet that is not piece {offset} of packet {packet}")
    };
    let first = piece(0, 0, false, head);
    let attacks: [(&[Packet], String); 12] = [
        (&[piece(0, 4, true, tail)], not_piece(0, 0)),
        (&[piece(1, 0, false, head)], not_piece(0, 0)),
        (&[piece(u64::MAX, u64::MAX, true, tail)], not_piece(0, 0)),
        (&[first.clone(), first.clone()], not_piece(0, 4)),
        (&[first.clone(), piece(0, 3, true, tail)], not_piece(0, 4)),
        (&[first.clone(), piece(0, 5, true, tail)], not_piece(0, 4)),
        (&[first.clone(), piece(1, 4, true, tail)], not_piece(0, 4)),
        (&[first.clone(), piece(0, 4, true, tail), piece(0, 0, false, head)], not_piece(1, 0)),
        (&[piece(0, 0, false, b"")], not_piece(0, 0)),
        (&[first.clone(), piece(0, 4, true, b"")], not_piece(0, 4)),
        (&[piece(0, 0, true, head)], "truncated packet".into()),
        (&[within], "a fragment packet has no place here".into()),
    ];
    for (errors, (packets, words)) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        for packet in *packets {
            peer.send(packet).await;
        }
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_without_end_are_cut_off_at_the_size_of_the_largest_packet() {
    let chat = chat().await;
    let part = vec![0x80; 64 * 1024];
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for number in 0..17 {
        peer.send(&piece(0, number * part.len() as u64, false, &part)).await;
    }
    let close = peer.close().await;
    let (code, words) = said(&close);
    assert_eq!(code, CloseCode::Protocol);
    assert!(words.starts_with("a field of 1114112 bytes, at most 104"), "{words}");
    becomes(|| chat.stats().protocol_errors, 1).await;
    // Of one byte each they get no further.
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for offset in 0..1000 {
        peer.send(&piece(0, offset, false, b"x")).await;
    }
    drop(peer);
    chat.end().await;
}

fn skip(from: u64, to: u64, events: u64, bytes: u64) -> Packet {
    let (events, reason) = (Credit { events, bytes }, LossReason::Overflow);
    Packet::Skip(Skip { from, to, events, reason })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skip_of_what_comes_next_moves_the_count() {
    let chat = chat().await;
    // Its connect was number 1.
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    peer.send(&skip(2, 4, 3, 30)).await;
    peer.send(&Packet::Heartbeat { written: 4 }).await;
    peer.send(&event(9, "text", text("behind"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    peer.send(&Packet::Heartbeat { written: 5 }).await;
    peer.send(&event(10, "text", text("behind"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.skipped, stats.protocol_errors), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skip_that_is_not_of_the_next_numbers_or_holds_too_much_is_a_violation() {
    let chat = chat().await;
    let window = Config::default().window_events as u64;
    let bytes_max = Config::default().event_bytes_max as u64;
    let attacks = [
        skip(1, 1, 1, 1),
        skip(1, 2, 2, 2),
        skip(3, 3, 1, 1),
        skip(u64::MAX, u64::MAX, 1, 1),
        // More events than numbers, than the window admits, than bytes can be in them.
        skip(2, 2, 2, 2),
        skip(2, 3, u64::MAX, 2),
        skip(2, 2 + window, window + 1, 2),
        skip(2, 2, 1, bytes_max + 1),
        skip(2, 2, 1, u64::MAX),
        skip(2, 3, 0, 1),
    ];
    for (errors, attack) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(attack).await;
        let close = peer.close().await;
        assert_eq!(close.code, CloseCode::Protocol, "{attack:?}");
        becomes(|| chat.stats().protocol_errors, errors as u64 + 1).await;
    }
    chat.end().await;
}

/// Only events are skipped, so a skip of more numbers than events is a lie, and one that reaches to
/// the end of all numbers leaves none for what comes behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skip_of_more_numbers_than_events_is_a_violation() {
    let chat = chat().await;
    let attacks = [skip(2, u64::MAX, 1, 1), skip(2, u64::MAX, 1, 1), skip(2, u64::MAX - 1, 0, 0)];
    for (errors, attack) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(attack).await;
        peer.send(&event(1, "text", text("behind"))).await;
        peer.send(&event(2, "text", text("behind"))).await;
        let close = peer.close().await;
        assert_eq!(close.code, CloseCode::Protocol, "{attack:?}");
        becomes(|| chat.stats().protocol_errors, errors as u64 + 1).await;
    }
    chat.end().await;
}
