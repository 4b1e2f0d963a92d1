//! Properties of the native codec and of payloads, over the public face of `protocol`.

use bytes::Bytes;
use emitwire_core::protocol::{
    Args, Class, Codec, DecodeError, Frame, FrameKind, Nak, Native, PAYLOAD_DEPTH_MAX, Packet,
    Payload, PayloadError, Shape, ToPayload,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use support::packets;

mod support {
    pub(crate) mod packets;
}

fn frame(packet: &Packet) -> Frame {
    let encoded = Native.encode(packet);
    let [frame] = encoded.frames() else { panic!("a native packet is one frame: {encoded:?}") };
    frame.clone()
}

fn decode(body: impl Into<Bytes>) -> Result<Packet, DecodeError> {
    let packet = Native.decoder().decode(Frame::ordered(body))?;
    Ok(packet.expect("a native frame is a whole packet"))
}

/// Bytes at the packet's end that have no length of their own: any number of them is a packet.
fn open_bytes(packet: &Packet) -> Option<usize> {
    match packet {
        Packet::Event(event) | Packet::Volatile(event) => Some(event.payload.len()),
        Packet::Ack(ack) => Some(ack.payload.len()),
        Packet::Nak(packet) => match &packet.nak {
            Nak::Rejected(payload) => Some(payload.len()),
            _ => None,
        },
        Packet::Connect(connect) => Some(connect.auth.len()),
        Packet::Refuse(refuse) => Some(refuse.payload.len()),
        Packet::Fragment(fragment) => Some(fragment.bytes.len()),
        Packet::Numbered { packet, .. } => open_bytes(packet),
        _ => None,
    }
}

/// Decodes what may be anything: an error, or a packet that encodes to the very same bytes.
fn decodes_or_errs(body: Vec<u8>) -> Result<(), TestCaseError> {
    if let Ok(packet) = decode(body.clone()) {
        prop_assert_eq!(&frame(&packet).body[..], &body[..], "{:?} has two encodings", packet);
    }
    Ok(())
}

/// One careless change of valid bytes.
#[derive(Clone, Copy, Debug)]
enum Change {
    Replace(u8),
    Insert(u8),
    Remove,
    Flip(u8),
}

impl Change {
    fn any() -> impl Strategy<Value = (Index, Self)> {
        let change = prop_oneof![
            any::<u8>().prop_map(Self::Replace),
            any::<u8>().prop_map(Self::Insert),
            Just(Self::Remove),
            (0..8u8).prop_map(Self::Flip),
        ];
        (any::<Index>(), change)
    }

    fn apply(self, at: Index, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match self {
            Self::Replace(byte) => bytes[at] = byte,
            Self::Insert(byte) => bytes.insert(at, byte),
            Self::Remove => drop(bytes.remove(at)),
            Self::Flip(bit) => bytes[at] ^= 1 << bit,
        }
    }
}

/// Enough cases for every packet, and no files in the tree: what fails is printed whole.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_packet_round_trips(packet in packets::packet()) {
        prop_assert_eq!(decode(frame(&packet).body), Ok(packet));
    }

    #[test]
    fn the_first_byte_says_which_packet_it_is_and_whether_it_counts(packet in packets::packet()) {
        let first = frame(&packet).body[0];
        prop_assert_eq!(first, Native::kind(&packet));
        prop_assert_eq!(first & 0x80 != 0, packet.is_counted());
    }

    #[test]
    fn only_volatile_events_are_in_volatile_frames(packet in packets::packet()) {
        let frame = frame(&packet);
        let is_volatile = matches!(packet, Packet::Volatile(_));
        prop_assert_eq!(frame.class == Class::Volatile, is_volatile);
        prop_assert_eq!(frame.kind, FrameKind::Binary);
    }

    #[test]
    fn any_byte_string_decodes_or_errs(body in vec(any::<u8>(), 0..200)) {
        decodes_or_errs(body)?;
    }

    #[test]
    fn any_body_behind_a_known_first_byte_decodes_or_errs(
        packet in packets::packet(),
        body in vec(prop_oneof![0..4u8, any::<u8>()], 0..40),
    ) {
        decodes_or_errs([&[Native::kind(&packet)], &body[..]].concat())?;
    }

    #[test]
    fn a_mutated_packet_decodes_or_errs(
        packet in packets::packet(),
        changes in vec(Change::any(), 1..4),
    ) {
        let mut body = frame(&packet).body.to_vec();
        for (at, change) in changes {
            change.apply(at, &mut body);
        }
        decodes_or_errs(body)?;
    }

    #[test]
    fn a_truncated_packet_errs(packet in packets::packet()) {
        let body = frame(&packet).body;
        let closed = body.len() - open_bytes(&packet).unwrap_or(0);
        prop_assert_eq!(decode(Bytes::new()), Err(DecodeError::Empty));
        for cut in 1..closed {
            prop_assert_eq!(decode(body.slice(..cut)), Err(DecodeError::Truncated), "at {}", cut);
        }
    }

    #[test]
    fn bytes_behind_a_packet_are_refused_unless_they_are_its_payload(
        packet in packets::packet(),
        extra in vec(any::<u8>(), 1..9),
    ) {
        let body = [&frame(&packet).body[..], &extra].concat();
        let decoded = decode(body);
        match open_bytes(&packet) {
            None => prop_assert_eq!(
                decoded,
                Err(DecodeError::TrailingBytes { count: extra.len() })
            ),
            Some(open) => prop_assert_eq!(
                decoded.as_ref().ok().and_then(open_bytes),
                Some(open + extra.len())
            ),
        }
    }

    #[test]
    fn any_value_survives_its_payload(value in value()) {
        let payload = Payload::encode(&value)?;
        prop_assert_eq!(payload.shape(), Shape::Value);
        prop_assert_eq!(payload.decode::<Value>()?, value);
    }

    #[test]
    fn arguments_are_told_from_one_value_by_their_shape_alone(pair in any::<(u64, String)>()) {
        let arguments = Args(&pair).to_payload()?;
        prop_assert_eq!(arguments.shape(), Shape::Arguments);
        let one_value = Payload::encode(&pair)?;
        prop_assert_eq!(arguments.bytes(), one_value.bytes());
        prop_assert_eq!(arguments.decode::<(u64, String)>()?, pair);
    }

    #[test]
    fn raw_bytes_stay_as_they_are(bytes in vec(any::<u8>(), 0..200)) {
        let payload = Payload::raw(bytes.clone());
        prop_assert_eq!(payload.shape(), Shape::Raw);
        prop_assert_eq!(&payload.bytes()[..], &bytes[..]);
        prop_assert_eq!(payload.decode::<Bytes>()?, bytes);
    }

    #[test]
    fn any_payload_decodes_or_errs(payload in packets::payload()) {
        let _ = payload.decode::<Value>();
        let _ = payload.decode::<serde_json::Value>();
        let _ = payload.decode::<serde::de::IgnoredAny>();
    }

    #[test]
    fn what_follows_a_value_is_refused(value in value(), extra in vec(any::<u8>(), 1..9)) {
        let bytes = [&Payload::encode(&value)?.bytes()[..], &extra].concat();
        let error = Payload::new(bytes.into(), Shape::Value).decode::<Value>().err();
        prop_assert!(
            matches!(error, Some(PayloadError::TrailingBytes { count }) if count == extra.len()),
            "{error:?}"
        );
    }
}

/// Every kind of value that serde knows by another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Value {
    flag: bool,
    small: i8,
    large: i64,
    huge: u64,
    real: f64,
    letter: char,
    text: String,
    bytes: Bytes,
    address: IpAddr,
    option: Option<Box<str>>,
    list: Vec<(u8, String)>,
    map: BTreeMap<String, i32>,
    choice: Choice,
    nothing: (),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u32),
    Named { x: f32, y: f32 },
}

fn value() -> impl Strategy<Value = Value> {
    let choice = prop_oneof![
        Just(Choice::Nothing),
        any::<u32>().prop_map(Choice::One),
        (-1e9..1e9f32, -1e9..1e9f32).prop_map(|(x, y)| Choice::Named { x, y }),
    ];
    let texts = (any::<char>(), any::<String>(), vec(any::<u8>(), 0..40), any::<IpAddr>());
    let lists = (
        vec(any::<(u8, String)>(), 0..4),
        proptest::collection::btree_map(any::<String>(), any::<i32>(), 0..4),
        proptest::option::of(any::<String>().prop_map(String::into_boxed_str)),
    );
    (any::<(bool, i8, i64, u64)>(), -1e300..1e300, texts, lists, choice).prop_map(
        |((flag, small, large, huge), real, texts, (list, map, option), choice)| Value {
            flag,
            small,
            large,
            huge,
            real,
            letter: texts.0,
            text: texts.1,
            bytes: texts.2.into(),
            address: texts.3,
            option,
            list,
            map,
            choice,
            nothing: (),
        },
    )
}

#[test]
fn a_text_frame_is_of_the_wrong_kind() {
    assert_eq!(Native.decoder().decode(Frame::text("{}")), Err(DecodeError::FrameKind));
}

#[test]
fn an_empty_payload_is_nothing() {
    let empty = Payload::empty();
    empty.decode::<()>().unwrap();
    assert_eq!(empty.decode::<Option<u8>>().unwrap(), None);
    assert!(empty.decode::<u8>().is_err());
}

#[test]
fn payloads_are_messagepack_with_named_fields_and_readable_forms() {
    #[derive(Serialize)]
    struct Point {
        x: u8,
        from: IpAddr,
        bytes: Bytes,
    }
    let point = Point { x: 3, from: [10, 0, 0, 1].into(), bytes: Bytes::from_static(b"\x01\x02") };
    let point = Payload::encode(&point).unwrap();
    let expected = b"\x83\xa1x\x03\xa4from\xa810.0.0.1\xa5bytes\xc4\x02\x01\x02";
    assert_eq!(&point.bytes()[..], expected);

    let (x, y) = (1.0, 2.0);
    let choices = [Choice::Nothing, Choice::One(5), Choice::Named { x, y }];
    let expected = [
        &b"\xa7Nothing"[..],
        b"\x81\xa3One\x05",
        b"\x81\xa5Named\x82\xa1x\xca\x3f\x80\x00\x00\xa1y\xca\x40\x00\x00\x00",
    ];
    for (choice, expected) in choices.iter().zip(expected) {
        assert_eq!(&Payload::encode(choice).unwrap().bytes()[..], expected);
    }
    let plain: [(Payload, &[u8]); 3] = [
        (Payload::encode(&Some(7)).unwrap(), b"\x07"),
        (Payload::encode(&None::<u8>).unwrap(), b"\xc0"),
        (Payload::encode(&vec![1u8, 2]).unwrap(), b"\x92\x01\x02"),
    ];
    for (payload, expected) in plain {
        assert_eq!(&payload.bytes()[..], expected);
    }
}

#[test]
fn a_payload_may_be_nested_only_so_deep() {
    let nested = |depth: usize| {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xc0);
        Payload::new(bytes.into(), Shape::Value)
    };
    let decode = |depth| nested(depth).decode::<serde_json::Value>();
    assert!(decode(PAYLOAD_DEPTH_MAX - 1).is_ok());
    for depth in [PAYLOAD_DEPTH_MAX + 1, 1_000_000] {
        assert!(matches!(decode(depth), Err(PayloadError::Decode { .. })), "{depth}");
        assert!(nested(depth).decode::<serde::de::IgnoredAny>().is_err(), "{depth}");
    }
}

#[test]
fn a_payload_that_promises_more_than_it_has_is_refused_at_once() {
    for promise in [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
    {
        let payload = Payload::new(Bytes::from_static(promise), Shape::Value);
        assert!(payload.decode::<Vec<u64>>().is_err());
        assert!(payload.decode::<BTreeMap<String, u64>>().is_err());
        assert!(payload.decode::<Bytes>().is_err());
    }
}
