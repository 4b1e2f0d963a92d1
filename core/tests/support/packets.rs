//! Strategies for every packet: whatever the types can say and the protocol allows.

use bytes::Bytes;
use emitwire_core::protocol::{
    Accept, AckPacket, Attach, CLOSE_DETAIL_BYTES_MAX, Close, CloseCode, Connect, Credit, Drain,
    EVENT_NAME_BYTES_MAX, EventName, EventPacket, EventRef, Fragment, Gap, Hello,
    LEAVE_WORDS_BYTES_MAX, Leave, Limits, LossReason, Nak, NakPacket, NamespaceNumber, Native,
    Outcome, Packet, Payload, Position, ProducerId, Refuse, SessionId, Shape, Skip, SocketId,
    Welcome,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

/// Any packet.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        8 => counted(),
        12 => uncounted(),
        1 => (number(), counted()).prop_map(|(number, packet)| Packet::Numbered {
            number,
            packet: Box::new(packet),
        }),
    ]
}

/// Any packet that is numbered and kept.
pub(crate) fn counted() -> impl Strategy<Value = Packet> {
    prop_oneof![
        event().prop_map(Packet::Event),
        (event_ref(), payload())
            .prop_map(|(event, payload)| Packet::Ack(AckPacket { event, payload })),
        (event_ref(), nak()).prop_map(|(event, nak)| Packet::Nak(NakPacket { event, nak })),
        (namespace(), text(EVENT_NAME_BYTES_MAX), payload())
            .prop_map(|(number, path, auth)| Packet::Connect(Connect { number, path, auth })),
        (namespace(), namespace(), any::<u128>()).prop_map(|(client, server, socket)| {
            let socket = SocketId(socket);
            Packet::Accept(Accept { client, server, socket })
        }),
        (namespace(), payload())
            .prop_map(|(client, payload)| Packet::Refuse(Refuse { client, payload })),
        (namespace(), text(LEAVE_WORDS_BYTES_MAX))
            .prop_map(|(client, words)| Packet::Leave(Leave { client, words })),
        (number(), loss()).prop_map(|(count, reason)| Packet::Gap(Gap { count, reason })),
    ]
}

fn uncounted() -> impl Strategy<Value = Packet> {
    prop_oneof![
        hello().prop_map(Packet::Hello),
        welcome().prop_map(Packet::Welcome),
        attach().prop_map(Packet::Attach),
        number().prop_map(Packet::From),
        position().prop_map(Packet::Position),
        number().prop_map(|written| Packet::Heartbeat { written }),
        event().prop_map(Packet::Volatile),
        (range(), credit(), loss()).prop_map(|((from, to), events, reason)| {
            Packet::Skip(Skip { from, to, events, reason })
        }),
        (millis(), millis()).prop_map(|(deadline, delay)| Packet::Drain(Drain { deadline, delay })),
        (close_code(), text(CLOSE_DETAIL_BYTES_MAX))
            .prop_map(|(code, detail)| Packet::Close(Close { code, detail })),
        (number(), number(), any::<bool>(), bytes(64)).prop_map(|(packet, offset, last, bytes)| {
            Packet::Fragment(Fragment { packet, offset, last, bytes })
        }),
    ]
}

/// A payload of any shape. Its bytes need not be MessagePack: no codec looks into them.
pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    let shape = prop_oneof![Just(Shape::Value), Just(Shape::Arguments), Just(Shape::Raw)];
    (bytes(64), shape).prop_map(|(bytes, shape)| Payload::new(bytes, shape))
}

fn event() -> impl Strategy<Value = EventPacket> {
    (namespace(), event_ref(), any::<bool>(), text(EVENT_NAME_BYTES_MAX), payload()).prop_map(
        |(namespace, event, wants_ack, name, payload)| EventPacket {
            namespace,
            event,
            wants_ack,
            name,
            payload,
        },
    )
}

fn event_ref() -> impl Strategy<Value = EventRef> {
    let producer = proptest::option::of(any::<u128>().prop_map(ProducerId));
    (producer, number()).prop_map(|(producer, number)| EventRef { producer, number })
}

fn nak() -> impl Strategy<Value = Nak> {
    prop_oneof![
        Just(Nak::NoHandler),
        millis().prop_map(|retry_after| Nak::Busy { retry_after }),
        payload().prop_map(Nak::Rejected),
        Just(Nak::BadPayload),
        Just(Nak::Failed),
        Just(Nak::Timeout),
        Just(Nak::TooLarge),
        Just(Nak::Closed),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<[bool; 3]>(), any::<u128>(), any::<u128>(), limits()).prop_map(
        |([resumes, resumable, restarted], nonce, producer, limits)| Hello {
            resumes,
            resumable,
            restarted,
            nonce,
            producer: ProducerId(producer),
            limits,
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let ids = (any::<u128>(), any::<u128>());
    let numbers = (number(), number());
    (ids, token(), limits(), millis(), outcome(), numbers).prop_map(
        |((session, producer), token, limits, resume_window, outcome, numbers)| Welcome {
            session: SessionId(session),
            token,
            producer: ProducerId(producer),
            limits,
            resume_window,
            outcome,
            position: numbers.0,
            trimmed: numbers.1,
        },
    )
}

fn attach() -> impl Strategy<Value = Attach> {
    let namespaces = vec((namespace(), payload()), 0..8);
    (any::<u128>(), token(), number(), number(), namespaces).prop_map(
        |(session, token, position, trimmed, namespaces)| Attach {
            session: SessionId(session),
            token,
            position,
            trimmed,
            namespaces,
        },
    )
}

fn position() -> impl Strategy<Value = Position> {
    let runs = vec((1..1000u64, 1..1000u64), 0..8);
    (any::<bool>(), number(), credit(), runs).prop_map(|(asks, received, granted, runs)| Position {
        received,
        granted,
        ranges: ranges(received, &runs),
        asks,
    })
}

/// Ranges beyond `received`, as far as the numbers reach: each run says how many are missing
/// before the range and how many it has.
fn ranges(received: u64, runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut arrived = received;
    let mut ranges = Vec::new();
    for (missing, length) in runs {
        let Some(last) = arrived.checked_add(missing + length) else {
            break;
        };
        ranges.push((arrived + missing + 1, last));
        arrived = last;
    }
    ranges
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<[u32; 3]>(), credit(), millis(), millis()).prop_map(
        |([event_bytes_max, log_packets_max, log_bytes_max], window, interval, horizon)| Limits {
            event_bytes_max,
            window,
            log_packets_max,
            log_bytes_max,
            heartbeat_interval: interval,
            dedup_horizon: horizon,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::New),
        Just(Outcome::Resumed),
        (range(), loss()).prop_map(|((from, to), reason)| Outcome::ResumedWithGap {
            from,
            to,
            reason
        }),
    ]
}

fn loss() -> impl Strategy<Value = LossReason> {
    prop_oneof![
        Just(LossReason::Overflow),
        Just(LossReason::Superseded),
        Just(LossReason::Expired),
        Just(LossReason::Closed),
    ]
}

fn close_code() -> impl Strategy<Value = CloseCode> {
    prop_oneof![
        Just(CloseCode::Normal),
        Just(CloseCode::Protocol),
        Just(CloseCode::Version),
        Just(CloseCode::HandshakeTimeout),
        Just(CloseCode::HeartbeatTimeout),
        Just(CloseCode::Slow),
        Just(CloseCode::Full),
        Just(CloseCode::Replaced),
        Just(CloseCode::Moved),
    ]
}

/// Numbers of every size: a uniform one would almost always take ten bytes.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn namespace() -> impl Strategy<Value = NamespaceNumber> {
    (any::<u32>(), 0..32u32).prop_map(|(number, shift)| NamespaceNumber(number >> shift))
}

fn credit() -> impl Strategy<Value = Credit> {
    (number(), number()).prop_map(|(events, bytes)| Credit { events, bytes })
}

/// Whole milliseconds: what a duration is on the wire.
fn millis() -> impl Strategy<Value = Duration> {
    number().prop_map(Duration::from_millis)
}

/// UTF-8 of one to four bytes a character, up to the limit and often near it.
fn text(bytes_max: usize) -> impl Strategy<Value = EventName> {
    let short = proptest::string::string_regex("[a-z:/]{0,12}").expect("a regular expression");
    let any = vec(any::<char>(), 0..=bytes_max).prop_map(move |chars| {
        let fits = chars.into_iter().scan(0, |bytes, char| {
            *bytes += char.len_utf8();
            (*bytes <= bytes_max).then_some(char)
        });
        fits.collect::<String>()
    });
    prop_oneof![3 => short, 1 => any].prop_map(EventName::from)
}

fn token() -> impl Strategy<Value = Bytes> {
    bytes(Native::TOKEN_BYTES_MAX)
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}
