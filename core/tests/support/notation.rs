//! Packets in the notation of docs/PROTOCOL.md: `key=value` for fields, a bare word for a flag that
//! is set or a code.

use emitwire_core::protocol::{
    Attach, Credit, EventPacket, EventRef, Limits, Nak, Outcome, Packet, Payload, Position, Shape,
    Welcome,
};
use std::fmt::{Debug, Display};
use std::time::Duration;

/// The name of an enum's variant, as the page spells it: `ResumedWithGap` is `resumed_with_gap`.
pub(crate) fn word(variant: &impl Debug) -> String {
    let mut word = String::new();
    for letter in format!("{variant:?}").chars().take_while(|letter| letter.is_alphanumeric()) {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The whole packet on one line.
pub(crate) fn describe(packet: &Packet) -> String {
    let text = Text(word(packet));
    let text = match packet {
        Packet::Event(event) | Packet::Volatile(event) => text.event(event),
        Packet::Ack(ack) => text.event_ref(ack.event).payload(&ack.payload),
        Packet::Nak(packet) => text.event_ref(packet.event).nak(&packet.nak),
        Packet::Connect(connect) => text
            .field("number", connect.number)
            .field("path", format!("{:?}", connect.path))
            .payload(&connect.auth),
        Packet::Accept(accept) => text
            .field("client", accept.client)
            .field("server", accept.server)
            .field("socket", accept.socket),
        Packet::Refuse(refuse) => text.field("client", refuse.client).payload(&refuse.payload),
        Packet::Leave(leave) => {
            text.field("client", leave.client).field("words", format!("{:?}", leave.words))
        }
        Packet::Gap(gap) => text.field("count", gap.count).word(word(&gap.reason)),
        Packet::Hello(hello) => text
            .flag("resumes", hello.resumes)
            .flag("resumable", hello.resumable)
            .flag("restarted", hello.restarted)
            .field("nonce", format!("{:032x}", hello.nonce))
            .field("producer", hello.producer)
            .limits(&hello.limits),
        Packet::Welcome(welcome) => text.welcome(welcome),
        Packet::Attach(attach) => text.attach(attach),
        Packet::From(number) => text.field("number", number),
        Packet::Position(position) => text.position(position),
        Packet::Heartbeat { written } => text.field("written", written),
        Packet::Skip(skip) => text
            .field("from", skip.from)
            .field("to", skip.to)
            .credit("events", skip.events)
            .word(word(&skip.reason)),
        Packet::Drain(drain) => {
            text.millis("deadline", drain.deadline).millis("delay", drain.delay)
        }
        Packet::Close(close) => {
            text.word(word(&close.code)).field("detail", format!("{:?}", close.detail))
        }
        Packet::Fragment(fragment) => text
            .field("packet", fragment.packet)
            .field("offset", fragment.offset)
            .flag("last", fragment.last)
            .field("bytes", hex(&fragment.bytes)),
        Packet::Numbered { number, packet } => text.field("number", number).word(describe(packet)),
        other => panic!("the page has no notation for {other:?}"),
    };
    text.0
}

struct Text(String);

impl Text {
    fn word(self, word: impl Display) -> Self {
        Self(format!("{} {word}", self.0))
    }

    fn field(self, key: &str, value: impl Display) -> Self {
        self.word(format!("{key}={value}"))
    }

    fn flag(self, name: &str, set: bool) -> Self {
        if set { self.word(name) } else { self }
    }

    fn millis(self, key: &str, value: Duration) -> Self {
        self.field(key, format!("{}ms", value.as_millis()))
    }

    fn credit(self, key: &str, value: Credit) -> Self {
        self.field(key, format!("{}/{}", value.events, value.bytes))
    }

    fn event_ref(self, event: EventRef) -> Self {
        let text = self.field("number", event.number);
        match event.producer {
            Some(producer) => text.field("producer", producer),
            None => text,
        }
    }

    fn event(self, event: &EventPacket) -> Self {
        self.field("namespace", event.namespace)
            .event_ref(event.event)
            .flag("wants_ack", event.wants_ack)
            .field("name", format!("{:?}", event.name))
            .payload(&event.payload)
    }

    fn nak(self, nak: &Nak) -> Self {
        let text = self.word(word(nak));
        match nak {
            Nak::Busy { retry_after } => text.millis("retry_after", *retry_after),
            Nak::Rejected(payload) => text.payload(payload),
            _ => text,
        }
    }

    /// MessagePack as JSON where JSON can say it, other bytes as hex.
    fn payload(self, payload: &Payload) -> Self {
        let key = word(&payload.shape());
        let json = payload.decode::<serde_json::Value>();
        match (payload.shape(), json) {
            (Shape::Value, _) if payload.is_empty() => self.word(key),
            (Shape::Raw, _) => self.field(&key, hex(payload.bytes())),
            (_, Ok(json)) => self.field(&key, json),
            (_, Err(_)) => self.field(&key, format!("0x{}", hex(payload.bytes()))),
        }
    }

    fn limits(self, limits: &Limits) -> Self {
        let log =
            Credit { events: limits.log_packets_max.into(), bytes: limits.log_bytes_max.into() };
        self.field("event_bytes_max", limits.event_bytes_max)
            .credit("window", limits.window)
            .credit("log", log)
            .millis("heartbeat_interval", limits.heartbeat_interval)
            .millis("dedup_horizon", limits.dedup_horizon)
    }

    fn welcome(self, welcome: &Welcome) -> Self {
        let text = self
            .field("session", welcome.session)
            .field("token", hex(&welcome.token))
            .field("producer", welcome.producer)
            .limits(&welcome.limits)
            .millis("resume_window", welcome.resume_window)
            .word(word(&welcome.outcome));
        let text = match welcome.outcome {
            Outcome::ResumedWithGap { from, to, reason } => {
                text.field("from", from).field("to", to).word(word(&reason))
            }
            _ => text,
        };
        text.field("position", welcome.position).field("trimmed", welcome.trimmed)
    }

    fn attach(self, attach: &Attach) -> Self {
        let text = self
            .field("session", attach.session)
            .field("token", hex(&attach.token))
            .field("position", attach.position)
            .field("trimmed", attach.trimmed);
        attach
            .namespaces
            .iter()
            .fold(text, |text, (number, auth)| text.field("namespace", number).payload(auth))
    }

    fn position(self, position: &Position) -> Self {
        let text = self
            .flag("asks", position.asks)
            .field("received", position.received)
            .credit("granted", position.granted);
        let range = |(first, last): &(u64, u64)| format!("{first}-{last}");
        let ranges: Vec<_> = position.ranges.iter().map(range).collect();
        if ranges.is_empty() {
            return text;
        }
        text.field("ranges", ranges.join(","))
    }
}
