//! Packets into bytes: the fields of each packet in the order in which they travel.
//!
//! Nothing is checked here: what the reader refuses is the sender's mistake, and the limits were
//! checked before.

use super::code::{self, ASKS, Flags, LAST, PRODUCER, RESTARTED, RESUMABLE, RESUMES, WANTS_ACK};
use super::sink::Sink;
use super::{MAGIC, PROTOCOL_VERSION, kind};
use crate::protocol::{
    Accept, AckPacket, Attach, Close, Connect, EventPacket, Fragment, Hello, Limits, Nak,
    NakPacket, Outcome, Packet, Position, Refuse, Skip, Welcome,
};

/// Writes one packet, all of it.
pub(super) fn write(packet: &Packet, out: &mut impl Sink) {
    out.byte(kind::of(packet));
    match packet {
        Packet::Event(event) | Packet::Volatile(event) => write_event(event, out),
        Packet::Ack(ack) => write_ack(ack, out),
        Packet::Nak(nak) => write_nak(nak, out),
        Packet::Connect(connect) => write_connect(connect, out),
        Packet::Accept(accept) => write_accept(accept, out),
        Packet::Refuse(refuse) => write_refuse(refuse, out),
        Packet::Leave(leave) => {
            out.namespace(leave.client);
            out.sized(leave.words.as_bytes());
        }
        Packet::Gap(gap) => {
            out.varint(gap.count);
            out.byte(code::of_loss(gap.reason));
        }
        Packet::Hello(hello) => write_hello(hello, out),
        Packet::Welcome(welcome) => write_welcome(welcome, out),
        Packet::Attach(attach) => write_attach(attach, out),
        Packet::From(number) => out.varint(*number),
        Packet::Position(position) => write_position(position, out),
        Packet::Heartbeat { written } => out.varint(*written),
        Packet::Skip(skip) => write_skip(skip, out),
        Packet::Drain(drain) => {
            out.millis(drain.deadline);
            out.millis(drain.delay);
        }
        Packet::Close(close) => write_close(close, out),
        Packet::Fragment(fragment) => write_fragment(fragment, out),
        Packet::Numbered { number, packet } => {
            out.varint(*number);
            write(packet, out);
        }
    }
}

fn write_event(event: &EventPacket, out: &mut impl Sink) {
    let flags = Flags::NONE
        .with(WANTS_ACK, event.wants_ack)
        .with(PRODUCER, event.event.producer.is_some())
        .with_shape(event.payload.shape());
    out.flags(flags);
    out.namespace(event.namespace);
    out.event_ref(event.event);
    out.sized(event.name.as_bytes());
    out.bytes(event.payload.bytes());
}

fn write_ack(ack: &AckPacket, out: &mut impl Sink) {
    let flags =
        Flags::NONE.with(PRODUCER, ack.event.producer.is_some()).with_shape(ack.payload.shape());
    out.flags(flags);
    out.event_ref(ack.event);
    out.bytes(ack.payload.bytes());
}

fn write_nak(packet: &NakPacket, out: &mut impl Sink) {
    let mut flags = Flags::NONE.with(PRODUCER, packet.event.producer.is_some());
    if let Nak::Rejected(payload) = &packet.nak {
        flags = flags.with_shape(payload.shape());
    }
    out.flags(flags);
    out.event_ref(packet.event);
    match &packet.nak {
        Nak::NoHandler => out.byte(code::NAK_NO_HANDLER),
        Nak::Busy { retry_after } => {
            out.byte(code::NAK_BUSY);
            out.millis(*retry_after);
        }
        Nak::Rejected(payload) => {
            out.byte(code::NAK_REJECTED);
            out.bytes(payload.bytes());
        }
        Nak::BadPayload => out.byte(code::NAK_BAD_PAYLOAD),
        Nak::Failed => out.byte(code::NAK_FAILED),
        Nak::Timeout => out.byte(code::NAK_TIMEOUT),
        Nak::TooLarge => out.byte(code::NAK_TOO_LARGE),
        Nak::Closed => out.byte(code::NAK_CLOSED),
    }
}

fn write_connect(connect: &Connect, out: &mut impl Sink) {
    out.namespace(connect.number);
    out.sized(connect.path.as_bytes());
    out.flags(Flags::NONE.with_shape(connect.auth.shape()));
    out.bytes(connect.auth.bytes());
}

fn write_accept(accept: &Accept, out: &mut impl Sink) {
    out.namespace(accept.client);
    out.namespace(accept.server);
    out.id(accept.socket.0);
}

fn write_refuse(refuse: &Refuse, out: &mut impl Sink) {
    out.namespace(refuse.client);
    out.flags(Flags::NONE.with_shape(refuse.payload.shape()));
    out.bytes(refuse.payload.bytes());
}

fn write_hello(hello: &Hello, out: &mut impl Sink) {
    out.bytes(&MAGIC);
    out.byte(PROTOCOL_VERSION);
    let flags = Flags::NONE.with(RESUMES, hello.resumes).with(RESUMABLE, hello.resumable);
    let flags = flags.with(RESTARTED, hello.restarted);
    out.flags(flags);
    out.id(hello.nonce);
    out.id(hello.producer.0);
    write_limits(&hello.limits, out);
}

fn write_welcome(welcome: &Welcome, out: &mut impl Sink) {
    out.byte(PROTOCOL_VERSION);
    out.id(welcome.session.0);
    out.sized(&welcome.token);
    out.id(welcome.producer.0);
    write_limits(&welcome.limits, out);
    out.millis(welcome.resume_window);
    match welcome.outcome {
        Outcome::New => out.byte(code::OUTCOME_NEW),
        Outcome::Resumed => out.byte(code::OUTCOME_RESUMED),
        Outcome::ResumedWithGap { from, to, reason } => {
            out.byte(code::OUTCOME_RESUMED_WITH_GAP);
            out.varint(from);
            out.varint(to);
            out.byte(code::of_loss(reason));
        }
    }
    out.varint(welcome.position);
    out.varint(welcome.trimmed);
}

fn write_limits(limits: &Limits, out: &mut impl Sink) {
    out.varint(limits.event_bytes_max.into());
    out.credit(limits.window);
    out.varint(limits.log_packets_max.into());
    out.varint(limits.log_bytes_max.into());
    out.millis(limits.heartbeat_interval);
    out.millis(limits.dedup_horizon);
}

fn write_attach(attach: &Attach, out: &mut impl Sink) {
    out.id(attach.session.0);
    out.sized(&attach.token);
    out.varint(attach.position);
    out.varint(attach.trimmed);
    out.varint(attach.namespaces.len() as u64);
    for (number, auth) in &attach.namespaces {
        out.namespace(*number);
        out.flags(Flags::NONE.with_shape(auth.shape()));
        out.sized(auth.bytes());
    }
}

/// Ranges travel as the lengths of runs, so many missing, so many arrived, and again: overlapping
/// or unsorted ones have no encoding. They become an empty run, which the reader refuses.
fn write_position(position: &Position, out: &mut impl Sink) {
    out.flags(Flags::NONE.with(ASKS, position.asks));
    out.varint(position.received);
    out.credit(position.granted);
    out.varint(position.ranges.len() as u64);
    let mut arrived = position.received;
    for &(first, last) in &position.ranges {
        out.varint(first.saturating_sub(arrived).saturating_sub(1));
        out.varint(last.checked_sub(first).map_or(0, |more| more.saturating_add(1)));
        arrived = last;
    }
}

fn write_skip(skip: &Skip, out: &mut impl Sink) {
    out.varint(skip.from);
    out.varint(skip.to);
    out.credit(skip.events);
    out.byte(code::of_loss(skip.reason));
}

fn write_close(close: &Close, out: &mut impl Sink) {
    out.byte(close.code.number());
    out.sized(close.detail.as_bytes());
}

fn write_fragment(fragment: &Fragment, out: &mut impl Sink) {
    out.flags(Flags::NONE.with(LAST, fragment.last));
    out.varint(fragment.packet);
    out.varint(fragment.offset);
    out.bytes(&fragment.bytes);
}
