//! Packets that are well formed and have no place where they come.

use super::support::becomes;
use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, event, event_packet, text};
use super::{accused, target};
use emitwire::protocol::{
    AckPacket, Credit, Drain, EventPacket, EventRef, Leave, Nak, NakPacket, NamespaceNumber,
    Packet, Position, Refuse,
};
use emitwire::{Config, Namespace, Payload};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_counts_before_from_and_from_comes_once_and_leaves_nothing_out() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let attacks: [(&[Packet], &str); 9] = [
        (&[connect(0, "/target")], "the link begins at 0, 1 was expected"),
        (&[event(1, "echo", text("a"))], "the link begins at 0, 1 was expected"),
        (&[Packet::Leave(leave(0))], "the link begins at 0, 1 was expected"),
        (&[Packet::From(0)], "the link begins at 0, 1 was expected"),
        (&[Packet::From(2)], "the link begins at 2, 1 was expected"),
        (&[Packet::From(u64::MAX)], "the link begins at 18446744073709551615, 1 was expected"),
        (&[Packet::From(1), Packet::From(1)], "the link begins at 1, 1 was expected"),
        (
            &[Packet::From(1), connect(0, "/target"), Packet::From(1)],
            "the link begins at 1, 2 was expected",
        ),
        (
            &[Packet::From(1), connect(0, "/target"), Packet::From(2)],
            "the link begins at 2, 2 was expected",
        ),
    ];
    for (errors, (packets, words)) in attacks.iter().enumerate() {
        let (mut peer, _) = RawPeer::greeted(chat.address).await;
        for packet in *packets {
            peer.send(packet).await;
        }
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_asked_for_before_it_is_spoken_to() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let other = |namespace: u32| {
        let namespace = NamespaceNumber(namespace);
        Packet::Event(EventPacket { namespace, ..event_packet(1, "echo", text("a")) })
    };
    let attacks: [(&[Packet], &str); 6] = [
        (&[event(1, "echo", text("a"))], "event for a namespace never asked for: 0"),
        (&[connect(0, "/target"), other(1)], "event for a namespace never asked for: 1"),
        (
            &[connect(0, "/target"), other(u32::MAX)],
            "event for a namespace never asked for: 4294967295",
        ),
        // The server's own number of `/target` is not the client's.
        (&[connect(0, "/nowhere"), other(1)], "event for a namespace never asked for: 1"),
        (&[Packet::Leave(leave(0))], "namespace number 0 is not the next one, or unknown"),
        (
            &[connect(0, "/target"), Packet::Leave(leave(1))],
            "namespace number 1 is not the next one, or unknown",
        ),
    ];
    for (errors, (packets, words)) in attacks.iter().enumerate() {
        let (mut peer, _) = RawPeer::greeted(chat.address).await;
        peer.send(&Packet::From(1)).await;
        for packet in *packets {
            peer.send(packet).await;
        }
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_numbered_in_order_and_each_number_is_there_once() {
    let more = ["/one", "/two"].map(Namespace::new);
    let chat = Chat::with(Config::default(), more).await;
    let attacks: [(&[Packet], u32); 4] = [
        (&[connect(1, "/one")], 1),
        (&[connect(u32::MAX, "/one")], u32::MAX),
        (&[connect(0, "/one"), connect(2, "/two")], 2),
        (&[connect(0, "/one"), connect(0, "/two")], 0),
    ];
    for (errors, (packets, number)) in attacks.iter().enumerate() {
        let (mut peer, _) = RawPeer::greeted(chat.address).await;
        peer.send(&Packet::From(1)).await;
        for packet in *packets {
            peer.send(packet).await;
        }
        let words = format!("namespace number {number} is not the next one, or unknown");
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_count_alike_or_part() {
    let chat = Chat::with(Config::default(), [target()]).await;
    // One packet arrived: the connect.
    let wrong = [0, 2, u64::MAX, u64::MAX - 1, 1 << 32];
    for (errors, written) in wrong.into_iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(&Packet::Heartbeat { written: 1 }).await;
        peer.send(&Packet::Heartbeat { written }).await;
        let words = format!("the peer counts {written} packets, 1 arrived");
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::Heartbeat { written: u64::MAX }).await;
    let words = format!("the peer counts {} packets, 0 arrived", u64::MAX);
    accused(&chat, &mut peer, wrong.len() as u64, &words).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_what_was_never_written_or_finished_what_was_never_sent() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let window = super::support::raw::LIMITS.window;
    // The server wrote one packet, its accept, and no event.
    let grant = |events, bytes| Position {
        received: 1,
        granted: Credit { events, bytes },
        ..Position::default()
    };
    let received = |received| Position { received, granted: window, ..Position::default() };
    let attacks = [
        received(2),
        received(u64::MAX),
        grant(window.events + 1, window.bytes),
        grant(window.events, window.bytes + 1),
        grant(u64::MAX, u64::MAX),
    ];
    for (errors, position) in attacks.into_iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(&Packet::Position(received(1))).await;
        peer.send(&Packet::Position(position.clone())).await;
        let words = format!("a position of {}, only 1 were written", position.received);
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_positions_are_old_news() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for received in [1, 0, 1] {
        peer.send(&Packet::Position(Position { received, ..Position::default() })).await;
    }
    peer.send(&event(1, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_server_says_a_server_does_not_hear() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let refuse = Refuse { client: NamespaceNumber(0), payload: Payload::empty() };
    let drain = Drain { deadline: Duration::from_secs(1), delay: Duration::ZERO };
    let attacks = [(Packet::Refuse(refuse), "refuse"), (Packet::Drain(drain), "drain")];
    for (errors, (packet, name)) in attacks.into_iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(&packet).await;
        let words = format!("a {name} packet has no place here");
        accused(&chat, &mut peer, errors as u64, &words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_wires_need_has_no_place_on_one_that_keeps_order() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let packet = Box::new(event(1, "echo", text("a")));
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    peer.send(&Packet::Numbered { number: 2, packet }).await;
    accused(&chat, &mut peer, 0, "a numbered packet has no place here").await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_waits_for_and_volatile_events_for_nobody_are_dropped() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let nobodys = EventRef { producer: None, number: 999 };
    peer.send(&Packet::Ack(AckPacket { event: nobodys, payload: text("what") })).await;
    peer.send(&Packet::Nak(NakPacket { event: nobodys, nak: Nak::Failed })).await;
    let namespace = NamespaceNumber(77);
    let volatile = EventPacket { namespace, ..event_packet(1, "echo", text("a")) };
    peer.send(&Packet::Volatile(volatile)).await;
    becomes(|| chat.stats().volatile_missed, 1).await;
    peer.send(&event(2, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.protocol_errors, stats.refused_by_peer), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_cross_a_refusal_or_a_leave_are_answered_closed() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    let packets = [
        Packet::From(1),
        connect(0, "/nowhere"),
        event(1, "echo", text("a")),
        connect(1, "/target"),
        Packet::Leave(leave(1)),
        Packet::Event(EventPacket {
            namespace: NamespaceNumber(1),
            ..event_packet(2, "echo", text("b"))
        }),
    ];
    for packet in &packets {
        peer.send(packet).await;
    }
    let mut closed = 0;
    while closed < 2 {
        match peer.next_said().await.unwrap() {
            Packet::Nak(nak) if nak.nak == Nak::Closed => closed += 1,
            Packet::From(1) | Packet::Refuse(_) | Packet::Accept(_) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.protocol_errors, stats.refused), (0, 2));
}

fn leave(client: u32) -> Leave {
    Leave { client: NamespaceNumber(client), words: "".into() }
}
