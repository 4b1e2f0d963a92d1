//! Payloads and names that are not what they should be: the handler's business, or the codec's.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, event, event_packet, text};
use super::support::{becomes, within};
use super::{accused, target};
use emitwire::protocol::{
    AckPacket, Connect, EventPacket, Nak, NamespaceNumber, Packet, Payload, RESERVED_NAMES, Shape,
};
use emitwire::{Config, ConnectRequest, Namespace, PayloadError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The peer's event is refused with this, and the session goes on.
async fn refused(peer: &mut RawPeer, packet: &Packet, nak: &Nak) {
    peer.send(packet).await;
    match peer.next_said().await {
        Some(Packet::Nak(answer)) => assert_eq!(&answer.nak, nak, "for {packet:?}"),
        other => panic!("{other:?} for {packet:?}"),
    }
    peer.send(&event(1_000_000, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_is_no_value_reaches_no_handler_and_the_session_goes_on() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let value = |bytes: &[u8]| Payload::new(bytes.to_vec().into(), Shape::Value);
    let payloads = [
        ("any", value(&[0x91].repeat(100_000))),
        ("any", value(&[0x81].repeat(100_000))),
        ("any", value(&[[0x91].repeat(129), vec![0xc0]].concat())),
        ("any", value(&[0xc0, 0xc0])),
        ("text", value(&[0xa1, b'a', 0xc0])),
        ("text", value(&[0xa2, b'a'])),
        ("text", value(&[0xa2, 0xc3, 0x28])),
        ("text", value(&[0xc1])),
        ("text", Payload::raw(vec![0xc3, 0x28])),
        ("text", Payload::encode(&7).unwrap()),
        // Four gigabytes, says the header: text, bytes, an array, a map, an extension.
        ("any", value(&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'])),
        ("any", value(&[0xc6, 0xff, 0xff, 0xff, 0xff, b'a'])),
        ("any", value(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0])),
        ("any", value(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0])),
        ("any", value(&[0xc9, 0xff, 0xff, 0xff, 0xff, 1])),
        ("text", value(&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'])),
    ];
    for (number, (name, payload)) in payloads.into_iter().enumerate() {
        let packet = event(number as u64 + 1, name, payload);
        refused(&mut peer, &packet, &Nak::BadPayload).await;
    }
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.protocol_errors, stats.refused), (0, 16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deepest_allowed_payload_is_a_payload() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let deep = [[0x91].repeat(127), vec![0xc0]].concat();
    peer.send(&event(1, "any", Payload::new(deep.into(), Shape::Value))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_one_closes_the_link() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let long = |head: &[u8], length: usize| {
        let varint = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        [head, &varint, &vec![b'a'; length]].concat()
    };
    let attacks: [(Vec<u8>, &str); 6] = [
        (long(&[0x80, 1, 0, 1], 256), "a field of 256 bytes, at most 255 are allowed"),
        (long(&[0x07, 1, 0, 1], 256), "a field of 256 bytes, at most 255 are allowed"),
        (long(&[0x83, 1], 256), "a field of 256 bytes, at most 255 are allowed"),
        (vec![0x80, 1, 0, 1, 2, 0xc3, 0x28], "a name is not UTF-8"),
        (vec![0x07, 1, 0, 1, 2, 0xff, 0xfe], "a name is not UTF-8"),
        (vec![0x83, 1, 2, 0xc3, 0x28, 0], "a name is not UTF-8"),
    ];
    for (errors, (attack, words)) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send_frame(attack).await;
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_every_legal_length_and_script_are_just_names() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for name in ["", "\0", "ünïcödé 💬", &"a".repeat(255)] {
        refused(&mut peer, &event(1, name, text("a")), &Nak::NoHandler).await;
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserved_name_from_a_peer_is_rejected_and_reaches_nobody() {
    let heard = Arc::new(AtomicU64::new(0));
    let (any, rest) = (Arc::clone(&heard), Arc::clone(&heard));
    let greedy = Namespace::new("/greedy")
        .on("text", || async {})
        .on_any(move |event: emitwire::Event| {
            any.fetch_add(u64::from(&*event.name != "text"), Ordering::Relaxed);
            async {}
        })
        .fallback(move || {
            rest.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    let chat = Chat::with(Config::default(), [greedy]).await;
    let mut peer = RawPeer::joined(chat.address, "/greedy").await;
    for (number, name) in RESERVED_NAMES.into_iter().enumerate() {
        for wants_ack in [true, false] {
            let packet = event_packet(number as u64 + 1, name, text("a"));
            peer.send(&Packet::Event(EventPacket { wants_ack, ..packet })).await;
            match peer.next_said().await {
                Some(Packet::Nak(nak)) if matches!(nak.nak, Nak::Rejected(_)) => {}
                other => panic!("{other:?} for {name}"),
            }
        }
        peer.send(&Packet::Volatile(event_packet(99, name, text("a")))).await;
    }
    peer.send(&event(100, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.refused, stats.protocol_errors), (12, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_there_is_refused_and_the_session_goes_on() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    for (number, path) in ["/nowhere", "", "target", "/TARGET", "/target/"].iter().enumerate() {
        peer.send(&connect(number as u32, path)).await;
        match peer.next_said().await {
            Some(Packet::Refuse(refuse)) => assert_eq!(refuse.client.0, number as u32),
            other => panic!("{other:?}"),
        }
    }
    peer.send(&connect(5, "/target")).await;
    peer.accepted().await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_garbage_are_refused_by_whoever_looks_at_them() {
    let guarded = Namespace::new("/guarded").authorize(|request: ConnectRequest| async move {
        request.auth::<serde_json::Value>().map(|_| ())
    });
    let chat = Chat::with(Config::default(), [guarded]).await;
    let (mut peer, _) = RawPeer::greeted(chat.address).await;
    peer.send(&Packet::From(1)).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    let auths = [[0x91].repeat(50_000), vec![0xc0, 0xc0], vec![0xdd, 0xff, 0xff, 0xff, 0xff]];
    for (number, auth) in auths.into_iter().enumerate() {
        let (number, path) = (NamespaceNumber(number as u32), "/guarded".into());
        let auth = Payload::new(auth.into(), Shape::Value);
        peer.send(&Packet::Connect(Connect { number, path, auth })).await;
        assert!(matches!(peer.next_said().await, Some(Packet::Refuse(_))));
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_value_is_an_error_where_it_was_awaited() {
    let asks = Namespace::new("/asks").on("ask me", |socket: emitwire::Socket| async move {
        tokio::spawn(async move {
            let answer: Result<String, _> = socket.emit("ask", "you").ack().await;
            let clear = match answer {
                Err(emitwire::AckError::Payload { source }) => {
                    matches!(source, PayloadError::Decode { .. })
                }
                _ => false,
            };
            socket.emit("clear", &clear).await
        });
    });
    let chat = Chat::with(Config::default(), [asks]).await;
    let mut peer = RawPeer::joined(chat.address, "/asks").await;
    peer.send(&event(1, "ask me", text(""))).await;
    let asked = loop {
        match peer.next_said().await.unwrap() {
            Packet::Event(event) => break event,
            Packet::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let deep = Payload::new([0x91].repeat(100_000).into(), Shape::Value);
    peer.send(&Packet::Ack(AckPacket { event: asked.event, payload: deep })).await;
    match within(peer.next_said()).await {
        Some(Packet::Event(event)) => {
            assert_eq!(&*event.name, "clear");
            assert!(event.payload.decode::<bool>().unwrap());
        }
        other => panic!("{other:?}"),
    }
    becomes(|| chat.stats().protocol_errors, 0).await;
    drop(peer);
    chat.end().await;
}
