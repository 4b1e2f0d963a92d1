//! What no property says: edges of varints, sharing, allocation. PROTOCOL.md has vectors of every
//! packet and of malformed bytes, and `core/tests/protocol.rs` the properties.

use super::{Native, varint};
use crate::protocol::{
    AckPacket, Codec, DecodeError, Decoder, EventName, EventPacket, EventRef, Frame,
    NamespaceNumber, Packet, Payload, Position,
};
use bytes::Bytes;

const EVENT: EventRef = EventRef { producer: None, number: 7 };

fn event(payload: Payload) -> Packet {
    Packet::Event(EventPacket {
        namespace: NamespaceNumber(0),
        event: EVENT,
        wants_ack: false,
        name: EventName::from_static("say"),
        payload,
    })
}

fn body(packet: &Packet) -> Bytes {
    Native.encode(packet).frames()[0].body.clone()
}

fn decode(body: impl Into<Bytes>) -> Result<Packet, DecodeError> {
    let packet = Native.decode(Frame::ordered(body))?;
    Ok(packet.expect("a native frame is a whole packet"))
}

#[test]
fn a_varint_takes_as_many_bytes_as_its_bits_need() {
    let edges = [
        (0, 1),
        (0x7f, 1),
        (0x80, 2),
        (0x3fff, 2),
        (0x4000, 3),
        (u64::from(u32::MAX), 5),
        (u64::MAX >> 1, 9),
        (u64::MAX, 10),
    ];
    for (value, size) in edges {
        let mut bytes = Vec::new();
        varint::write(value, &mut bytes);
        assert_eq!(bytes.len(), size, "{value:#x}");
        assert_eq!(varint::size(value), size, "{value:#x}");
        bytes.push(0xff);
        assert_eq!(varint::read(&bytes), Ok((value, size)), "{value:#x}");
        assert_eq!(varint::read(&bytes[..size - 1]), Err(DecodeError::Truncated));
    }
}

#[test]
fn a_varint_beyond_64_bits_or_with_padding_is_refused() {
    let mut widest = [0xff; 10];
    widest[9] = 0x02;
    let endless = [0x80; 64];
    for bytes in [&widest[..], &endless, &[0x80, 0x00], &[0xff, 0x80, 0x00]] {
        assert_eq!(varint::read(bytes), Err(DecodeError::OutOfRange), "{bytes:x?}");
    }
}

#[test]
fn name_and_payload_are_slices_of_the_frame() {
    let frame = body(&event(Payload::raw(vec![1; 100])));
    let Ok(Packet::Event(event)) = decode(frame.clone()) else {
        panic!("an event was encoded");
    };
    let whole = frame.as_ptr_range();
    for part in [event.name.as_bytes(), event.payload.bytes()] {
        assert!(whole.contains(&part.as_ptr()));
    }
}

#[test]
fn an_empty_payload_keeps_no_frame_alive() {
    let frame = body(&Packet::Ack(AckPacket { event: EVENT, payload: Payload::empty() }));
    let packet = decode(frame.clone());
    assert!(frame.is_unique(), "{packet:?}");
}

#[test]
fn an_encoding_fills_its_allocation() {
    let position =
        Position { received: 1 << 40, ranges: vec![(1 << 41, 1 << 42)], ..Position::default() };
    for packet in [event(Payload::raw(vec![1; 1000])), Packet::Position(position)] {
        let body = body(&packet).try_into_mut().expect("nobody else holds it");
        assert_eq!(body.capacity(), body.len(), "{packet:?}");
    }
}

#[test]
fn ranges_that_overlap_are_written_as_something_that_is_refused() {
    for ranges in [vec![(5, 9)], vec![(12, 14), (14, 15)], vec![(13, 12)]] {
        let position = Position { received: 10, ranges, ..Position::default() };
        let body = body(&Packet::Position(position));
        assert_eq!(decode(body), Err(DecodeError::OutOfRange));
    }
}

#[test]
fn a_count_is_no_promise_that_anything_follows() {
    let mut attach = vec![0x03; 17];
    attach.extend([0, 0, 0, 0x80, 0x08]);
    assert_eq!(decode(attach), Err(DecodeError::Truncated));
}
