//! What a room is told: events with a number, and the frames that carry them.

use crate::wire::Wire;
use emitwire::protocol::{
    Codec, Credit, EventName, EventPacket, EventRef, NamespaceNumber, Native, Packet, Payload,
};

/// The payload of a tick: its number, and bytes without a meaning.
const TICK_BYTES: usize = 64;

/// What the event `tick` counts against a window: name and payload.
const EVENT_BYTES: u64 = (TICK_NAME.len() + TICK_BYTES) as u64;

pub(crate) const TICK_NAME: &str = "tick";

/// The first byte of an event.
pub(crate) const EVENT: u8 = 0x80;

/// Every tick that has arrived has finished.
pub(crate) fn finished(ticks: u64) -> Credit {
    Credit { events: ticks, bytes: ticks * EVENT_BYTES }
}

/// The event of a tick, in either direction. Ticks count from 0, the numbers of ids from 1.
pub(crate) fn event(name: &'static str, tick: u64) -> Packet {
    let mut payload = [b'.'; TICK_BYTES];
    payload[..8].copy_from_slice(&tick.to_be_bytes());
    Packet::Event(EventPacket {
        namespace: NamespaceNumber(0),
        event: EventRef { producer: None, number: tick + 1 },
        wants_ack: false,
        name: EventName::from_static(name),
        payload: Payload::raw(payload.to_vec()),
    })
}

/// The number in the payload, which ends an event.
pub(crate) fn tick_of(body: &[u8]) -> Option<u64> {
    let number = body.last_chunk::<TICK_BYTES>()?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

/// A packet as a server writes it.
pub(crate) fn frame(wire: Wire, packet: &Packet) -> Vec<u8> {
    let encoded = Native.encode(packet);
    encoded.frames().iter().flat_map(|frame| wire.frame(&frame.body)).collect()
}

/// A packet as a client writes it.
pub(crate) fn client_frame(wire: Wire, packet: &Packet) -> Vec<u8> {
    let encoded = Native.encode(packet);
    encoded.frames().iter().flat_map(|frame| wire.client_frame(&frame.body)).collect()
}
