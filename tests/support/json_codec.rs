//! A second codec, for tests: JSON, and two frames for each packet.
//!
//! The first frame is a text: the packet's fields. The second is its payload: a text where JSON
//! can say it exactly, else the bytes as they are. It has to be exact because windows count the
//! payload's bytes, and both ends have to count the same.

use bytes::Bytes;
use emitwire_core::protocol::{
    Accept, AckPacket, Attach, CLOSE_DETAIL_BYTES_MAX, Close, CloseCode, Codec, Connect, Credit,
    DecodeError, Decoder, Drain, EVENT_NAME_BYTES_MAX, Encoded, EventName, EventPacket, EventRef,
    Fragment, Frame, FrameKind, Gap, Hello, LEAVE_WORDS_BYTES_MAX, Leave, Limits, LossReason, Nak,
    NakPacket, NamespaceNumber, Native, Outcome, PROTOCOL_VERSION, Packet, Payload, PayloadError,
    Position, ProducerId, Refuse, SessionId, Shape, Skip, SocketId, Welcome,
};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// The codec. It keeps no state; its decoders do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Json;

impl Codec for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        let (header, body) = write(packet);
        // Volatile packets are in ordered frames too: one half without the other is no packet.
        Encoded::from([Frame::text(header.to_string()), body.into_frame()])
    }

    /// The worst are control characters, six letters each, and empty bytes, seven for one.
    fn frame_bytes_max(&self, event_bytes_max: usize) -> usize {
        event_bytes_max.saturating_mul(8).saturating_add(4096)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(JsonDecoder::default())
    }
}

/// Remembers the first half of a packet until the second is there.
#[derive(Default)]
struct JsonDecoder {
    header: Option<Fields>,
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, frame: Frame) -> Result<Option<Packet>> {
        if let Some(header) = self.header.take() {
            return read(&header, &frame).map(Some);
        }
        match frame.kind {
            FrameKind::Text if frame.body.is_empty() => Err(DecodeError::Empty),
            FrameKind::Text => {
                let header = serde_json::from_slice(&frame.body).map(Fields);
                self.header = Some(header.map_err(|_| DecodeError::NotEmitwire)?);
                Ok(None)
            }
            FrameKind::Binary => Err(DecodeError::FrameKind),
        }
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

// ---------------------------------------------------------------------------------------------
// Writing

/// What the second frame holds.
enum Body<'a> {
    Nothing,
    Payload(&'a Payload),
    Payloads(Vec<&'a Payload>),
    Bytes(&'a Bytes),
}

impl Body<'_> {
    fn into_frame(self) -> Frame {
        match self {
            Self::Nothing => Frame::text("null"),
            Self::Payload(payload) => match text_of(payload) {
                Some(text) => Frame::text(text),
                None => Frame::ordered(payload.bytes().clone()),
            },
            Self::Payloads(payloads) => {
                let payloads: Vec<Value> = payloads.into_iter().map(in_a_list).collect();
                Frame::text(Value::from(payloads).to_string())
            }
            Self::Bytes(bytes) => Frame::ordered(bytes.clone()),
        }
    }
}

/// One of several payloads of a packet: its text inside a text, or its bytes in hex.
fn in_a_list(payload: &Payload) -> Value {
    let shape = word(&SHAPES, payload.shape());
    match text_of(payload) {
        Some(text) => json!({ "shape": shape, "text": text }),
        None => json!({ "shape": shape, "hex": hex(payload.bytes()) }),
    }
}

fn write(packet: &Packet) -> (Value, Body<'_>) {
    let (mut header, body) = match packet {
        Packet::Event(event) | Packet::Volatile(event) => write_event(event),
        Packet::Ack(ack) => with_payload(json!({ "event": event_ref(ack.event) }), &ack.payload),
        Packet::Nak(nak) => write_nak(nak),
        Packet::Connect(connect) => {
            let fields = json!({ "number": connect.number.0, "path": connect.path.as_str() });
            with_payload(fields, &connect.auth)
        }
        Packet::Refuse(refuse) => {
            with_payload(json!({ "client": refuse.client.0 }), &refuse.payload)
        }
        Packet::Attach(attach) => {
            let payloads = attach.namespaces.iter().map(|(_, payload)| payload).collect();
            (write_attach(attach), Body::Payloads(payloads))
        }
        Packet::Fragment(fragment) => {
            let Fragment { packet, offset, last, bytes } = fragment;
            (json!({ "of": packet, "offset": offset, "last": last }), Body::Bytes(bytes))
        }
        Packet::Numbered { number, packet } => {
            let (inner, body) = write(packet);
            (json!({ "number": number, "inner": inner }), body)
        }
        other => (write_plain(other), Body::Nothing),
    };
    header["packet"] = packet.name().into();
    (header, body)
}

fn with_payload(mut header: Value, payload: &Payload) -> (Value, Body<'_>) {
    header["shape"] = word(&SHAPES, payload.shape()).into();
    (header, Body::Payload(payload))
}

fn write_event(event: &EventPacket) -> (Value, Body<'_>) {
    let header = json!({
        "namespace": event.namespace.0,
        "event": event_ref(event.event),
        "wants_ack": event.wants_ack,
        "name": event.name.as_str(),
    });
    with_payload(header, &event.payload)
}

fn write_nak(packet: &NakPacket) -> (Value, Body<'_>) {
    let nak = match &packet.nak {
        Nak::NoHandler => "no handler",
        Nak::Busy { .. } => "busy",
        Nak::Rejected(_) => "rejected",
        Nak::BadPayload => "bad payload",
        Nak::Failed => "failed",
        Nak::Timeout => "timeout",
        Nak::TooLarge => "too large",
        Nak::Closed => "closed",
        // There may be more of them one day, and a codec may not fail.
        _ => "unknown",
    };
    let mut header = json!({ "event": event_ref(packet.event), "nak": nak });
    match &packet.nak {
        Nak::Rejected(payload) => with_payload(header, payload),
        Nak::Busy { retry_after } => {
            header["retry_after"] = millis(*retry_after);
            (header, Body::Nothing)
        }
        _ => (header, Body::Nothing),
    }
}

/// The packets without a payload.
fn write_plain(packet: &Packet) -> Value {
    match packet {
        Packet::Accept(Accept { client, server, socket }) => {
            json!({ "client": client.0, "server": server.0, "socket": id(socket.0) })
        }
        Packet::Leave(Leave { client, words }) => {
            json!({ "client": client.0, "words": words.as_str() })
        }
        Packet::Gap(Gap { count, reason }) => {
            json!({ "count": count, "reason": word(&LOSSES, *reason) })
        }
        Packet::Hello(hello) => json!({
            "protocol": "emitwire",
            "version": PROTOCOL_VERSION,
            "resumes": hello.resumes,
            "resumable": hello.resumable,
            "restarted": hello.restarted,
            "nonce": id(hello.nonce),
            "producer": id(hello.producer.0),
            "limits": write_limits(hello.limits),
        }),
        Packet::Welcome(welcome) => write_welcome(welcome),
        Packet::From(from) => json!({ "from": from }),
        Packet::Position(position) => json!({
            "received": position.received,
            "granted": credit(position.granted),
            "ranges": position.ranges,
            "asks": position.asks,
        }),
        Packet::Heartbeat { written } => json!({ "written": written }),
        Packet::Skip(Skip { from, to, events, reason }) => {
            let reason = word(&LOSSES, *reason);
            json!({ "from": from, "to": to, "events": credit(*events), "reason": reason })
        }
        Packet::Drain(Drain { deadline, delay }) => {
            json!({ "deadline": millis(*deadline), "delay": millis(*delay) })
        }
        Packet::Close(Close { code, detail }) => {
            json!({ "code": word(&CLOSES, *code), "detail": detail.as_str() })
        }
        // There may be more of them one day, and a codec may not fail.
        _ => json!({}),
    }
}

fn write_welcome(welcome: &Welcome) -> Value {
    let outcome = match welcome.outcome {
        Outcome::New => json!("new"),
        Outcome::Resumed => json!("resumed"),
        Outcome::ResumedWithGap { from, to, reason } => {
            json!({ "from": from, "to": to, "reason": word(&LOSSES, reason) })
        }
    };
    json!({
        "version": PROTOCOL_VERSION,
        "session": id(welcome.session.0),
        "token": hex(&welcome.token),
        "producer": id(welcome.producer.0),
        "limits": write_limits(welcome.limits),
        "resume_window": millis(welcome.resume_window),
        "outcome": outcome,
        "position": welcome.position,
        "trimmed": welcome.trimmed,
    })
}

fn write_attach(attach: &Attach) -> Value {
    let numbers: Vec<u32> = attach.namespaces.iter().map(|(number, _)| number.0).collect();
    json!({
        "session": id(attach.session.0),
        "token": hex(&attach.token),
        "position": attach.position,
        "trimmed": attach.trimmed,
        "namespaces": numbers,
    })
}

fn write_limits(limits: Limits) -> Value {
    json!({
        "event_bytes_max": limits.event_bytes_max,
        "window": credit(limits.window),
        "log_packets_max": limits.log_packets_max,
        "log_bytes_max": limits.log_bytes_max,
        "heartbeat_interval": millis(limits.heartbeat_interval),
        "dedup_horizon": millis(limits.dedup_horizon),
    })
}

fn event_ref(event: EventRef) -> Value {
    json!({ "number": event.number, "producer": event.producer.map(|producer| id(producer.0)) })
}

fn credit(credit: Credit) -> Value {
    json!({ "events": credit.events, "bytes": credit.bytes })
}

fn id(id: u128) -> String {
    format!("{id:032x}")
}

fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// ---------------------------------------------------------------------------------------------
// Reading

/// The fields of a packet, or of a part of one.
struct Fields(Map<String, Value>);

impl Fields {
    fn field(&self, key: &str) -> Result<&Value> {
        self.0.get(key).ok_or(DecodeError::Truncated)
    }

    fn fields(&self, key: &str) -> Result<Self> {
        let fields = self.field(key)?.as_object().ok_or(DecodeError::OutOfRange)?;
        Ok(Self(fields.clone()))
    }

    fn list(&self, key: &str, max: usize) -> Result<&[Value]> {
        let list = self.field(key)?.as_array().ok_or(DecodeError::OutOfRange)?;
        if list.len() > max {
            return Err(DecodeError::TooLong { length: list.len() as u64, max: max as u64 });
        }
        Ok(list)
    }

    fn number(&self, key: &str) -> Result<u64> {
        self.field(key)?.as_u64().ok_or(DecodeError::OutOfRange)
    }

    fn small(&self, key: &str) -> Result<u32> {
        self.number(key)?.try_into().map_err(|_| DecodeError::OutOfRange)
    }

    fn namespace(&self, key: &str) -> Result<NamespaceNumber> {
        self.small(key).map(NamespaceNumber)
    }

    fn flag(&self, key: &str) -> Result<bool> {
        self.field(key)?.as_bool().ok_or(DecodeError::OutOfRange)
    }

    fn word(&self, key: &str) -> Result<&str> {
        self.field(key)?.as_str().ok_or(DecodeError::OutOfRange)
    }

    fn text(&self, key: &str, max: usize) -> Result<EventName> {
        match self.word(key)? {
            text if text.len() > max => {
                Err(DecodeError::TooLong { length: text.len() as u64, max: max as u64 })
            }
            text => Ok(EventName::from(text)),
        }
    }

    fn one_of<T: Copy>(&self, key: &str, words: &[(T, &str)]) -> Result<T> {
        let word = self.word(key)?;
        let found = words.iter().find(|(_, known)| *known == word);
        found.map(|(value, _)| *value).ok_or(DecodeError::OutOfRange)
    }

    fn id(&self, key: &str) -> Result<u128> {
        u128::from_str_radix(self.word(key)?, 16).map_err(|_| DecodeError::OutOfRange)
    }

    fn bytes(&self, key: &str, max: usize) -> Result<Bytes> {
        let bytes = unhex(self.word(key)?).ok_or(DecodeError::OutOfRange)?;
        if bytes.len() > max {
            return Err(DecodeError::TooLong { length: bytes.len() as u64, max: max as u64 });
        }
        Ok(bytes.into())
    }

    fn millis(&self, key: &str) -> Result<Duration> {
        self.number(key).map(Duration::from_millis)
    }

    fn credit(&self, key: &str) -> Result<Credit> {
        let fields = self.fields(key)?;
        Ok(Credit { events: fields.number("events")?, bytes: fields.number("bytes")? })
    }

    fn event_ref(&self, key: &str) -> Result<EventRef> {
        let fields = self.fields(key)?;
        let producer = match fields.field("producer")? {
            Value::Null => None,
            _ => Some(ProducerId(fields.id("producer")?)),
        };
        Ok(EventRef { producer, number: fields.number("number")? })
    }

    fn limits(&self, key: &str) -> Result<Limits> {
        let fields = self.fields(key)?;
        Ok(Limits {
            event_bytes_max: fields.small("event_bytes_max")?,
            window: fields.credit("window")?,
            log_packets_max: fields.small("log_packets_max")?,
            log_bytes_max: fields.small("log_bytes_max")?,
            heartbeat_interval: fields.millis("heartbeat_interval")?,
            dedup_horizon: fields.millis("dedup_horizon")?,
        })
    }

    fn version(&self) -> Result<()> {
        match self.number("version")?.try_into() {
            Ok(PROTOCOL_VERSION) => Ok(()),
            Ok(version) => Err(DecodeError::Version { version }),
            Err(_) => Err(DecodeError::OutOfRange),
        }
    }

    fn payload(&self, body: &Frame) -> Result<Payload> {
        let shape = self.one_of("shape", &SHAPES)?;
        match body.kind {
            FrameKind::Binary => Ok(Payload::new(body.body.clone(), shape)),
            FrameKind::Text => payload_of(&body.body, shape).ok_or(DecodeError::OutOfRange),
        }
    }
}

fn read(header: &Fields, body: &Frame) -> Result<Packet> {
    let packet = match header.word("packet").map_err(|_| DecodeError::NotEmitwire)? {
        "event" => Packet::Event(read_event(header, body)?),
        "volatile" => Packet::Volatile(read_event(header, body)?),
        "ack" => Packet::Ack(AckPacket {
            event: header.event_ref("event")?,
            payload: header.payload(body)?,
        }),
        "nak" => Packet::Nak(read_nak(header, body)?),
        "connect" => Packet::Connect(Connect {
            number: header.namespace("number")?,
            path: header.text("path", EVENT_NAME_BYTES_MAX)?,
            auth: header.payload(body)?,
        }),
        "refuse" => Packet::Refuse(Refuse {
            client: header.namespace("client")?,
            payload: header.payload(body)?,
        }),
        "attach" => Packet::Attach(read_attach(header, body)?),
        "fragment" if body.kind == FrameKind::Binary => Packet::Fragment(Fragment {
            packet: header.number("of")?,
            offset: header.number("offset")?,
            last: header.flag("last")?,
            bytes: body.body.clone(),
        }),
        "numbered" => {
            let number = header.number("number")?;
            let inner = header.fields("inner")?;
            if inner.word("packet")? == "numbered" {
                return Err(DecodeError::OutOfRange);
            }
            match read(&inner, body)? {
                packet if packet.is_counted() => {
                    Packet::Numbered { number, packet: Box::new(packet) }
                }
                _ => return Err(DecodeError::OutOfRange),
            }
        }
        plain if body.kind == FrameKind::Text && body.body == "null" => read_plain(plain, header)?,
        _ => return Err(DecodeError::FrameKind),
    };
    Ok(packet)
}

fn read_event(header: &Fields, body: &Frame) -> Result<EventPacket> {
    Ok(EventPacket {
        namespace: header.namespace("namespace")?,
        event: header.event_ref("event")?,
        wants_ack: header.flag("wants_ack")?,
        name: header.text("name", EVENT_NAME_BYTES_MAX)?,
        payload: header.payload(body)?,
    })
}

fn read_nak(header: &Fields, body: &Frame) -> Result<NakPacket> {
    let nak = match header.word("nak")? {
        "no handler" => Nak::NoHandler,
        "busy" => Nak::Busy { retry_after: header.millis("retry_after")? },
        "rejected" => Nak::Rejected(header.payload(body)?),
        "bad payload" => Nak::BadPayload,
        "failed" => Nak::Failed,
        "timeout" => Nak::Timeout,
        "too large" => Nak::TooLarge,
        "closed" => Nak::Closed,
        _ => return Err(DecodeError::OutOfRange),
    };
    Ok(NakPacket { event: header.event_ref("event")?, nak })
}

fn read_plain(packet: &str, header: &Fields) -> Result<Packet> {
    Ok(match packet {
        "accept" => Packet::Accept(Accept {
            client: header.namespace("client")?,
            server: header.namespace("server")?,
            socket: SocketId(header.id("socket")?),
        }),
        "leave" => Packet::Leave(Leave {
            client: header.namespace("client")?,
            words: header.text("words", LEAVE_WORDS_BYTES_MAX)?,
        }),
        "gap" => Packet::Gap(Gap {
            count: header.number("count")?,
            reason: header.one_of("reason", &LOSSES)?,
        }),
        "hello" => Packet::Hello(read_hello(header)?),
        "welcome" => Packet::Welcome(read_welcome(header)?),
        "from" => Packet::From(header.number("from")?),
        "position" => Packet::Position(Position {
            received: header.number("received")?,
            granted: header.credit("granted")?,
            ranges: read_ranges(header)?,
            asks: header.flag("asks")?,
        }),
        "heartbeat" => Packet::Heartbeat { written: header.number("written")? },
        "skip" => Packet::Skip(Skip {
            from: header.number("from")?,
            to: header.number("to")?,
            events: header.credit("events")?,
            reason: header.one_of("reason", &LOSSES)?,
        }),
        "drain" => Packet::Drain(Drain {
            deadline: header.millis("deadline")?,
            delay: header.millis("delay")?,
        }),
        "close" => Packet::Close(Close {
            code: header.one_of("code", &CLOSES)?,
            detail: header.text("detail", CLOSE_DETAIL_BYTES_MAX)?,
        }),
        _ => return Err(DecodeError::OutOfRange),
    })
}

fn read_hello(header: &Fields) -> Result<Hello> {
    if header.word("protocol") != Ok("emitwire") {
        return Err(DecodeError::NotEmitwire);
    }
    header.version()?;
    Ok(Hello {
        resumes: header.flag("resumes")?,
        resumable: header.flag("resumable")?,
        restarted: header.flag("restarted")?,
        nonce: header.id("nonce")?,
        producer: ProducerId(header.id("producer")?),
        limits: header.limits("limits")?,
    })
}

fn read_welcome(header: &Fields) -> Result<Welcome> {
    header.version()?;
    let outcome = match header.field("outcome")? {
        Value::String(word) if word == "new" => Outcome::New,
        Value::String(word) if word == "resumed" => Outcome::Resumed,
        _ => {
            let gap = header.fields("outcome")?;
            let (from, to) = (gap.number("from")?, gap.number("to")?);
            Outcome::ResumedWithGap { from, to, reason: gap.one_of("reason", &LOSSES)? }
        }
    };
    Ok(Welcome {
        session: SessionId(header.id("session")?),
        token: header.bytes("token", Native::TOKEN_BYTES_MAX)?,
        producer: ProducerId(header.id("producer")?),
        limits: header.limits("limits")?,
        resume_window: header.millis("resume_window")?,
        outcome,
        position: header.number("position")?,
        trimmed: header.number("trimmed")?,
    })
}

fn read_attach(header: &Fields, body: &Frame) -> Result<Attach> {
    let payloads: Vec<Map<String, Value>> =
        serde_json::from_slice(&body.body).map_err(|_| DecodeError::OutOfRange)?;
    let numbers = header.list("namespaces", Native::NAMESPACES_MAX)?;
    if payloads.len() != numbers.len() {
        return Err(DecodeError::OutOfRange);
    }
    let mut namespaces = Vec::new();
    for (number, payload) in numbers.iter().zip(payloads) {
        let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
        let payload = Fields(payload);
        let shape = payload.one_of("shape", &SHAPES)?;
        let payload = match payload.word("hex") {
            Ok(hex) => unhex(hex).map(|bytes| Payload::new(bytes.into(), shape)),
            Err(_) => payload_of(payload.word("text")?.as_bytes(), shape),
        };
        let (Some(number), Some(payload)) = (number, payload) else {
            return Err(DecodeError::OutOfRange);
        };
        namespaces.push((NamespaceNumber(number), payload));
    }
    Ok(Attach {
        session: SessionId(header.id("session")?),
        token: header.bytes("token", Native::TOKEN_BYTES_MAX)?,
        position: header.number("position")?,
        trimmed: header.number("trimmed")?,
        namespaces,
    })
}

fn read_ranges(header: &Fields) -> Result<Vec<(u64, u64)>> {
    let ranges = header.list("ranges", Native::RANGES_MAX)?.to_vec();
    serde_json::from_value(ranges.into()).map_err(|_| DecodeError::OutOfRange)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| match pair {
            [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
            _ => None,
        })
        .collect()
}

// ---------------------------------------------------------------------------------------------
// Words

fn word<T: Copy + PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    words.iter().find(|(known, _)| *known == value).map_or("unknown", |(_, word)| word)
}

const SHAPES: [(Shape, &str); 3] =
    [(Shape::Value, "value"), (Shape::Arguments, "arguments"), (Shape::Raw, "raw")];

const LOSSES: [(LossReason, &str); 4] = [
    (LossReason::Overflow, "overflow"),
    (LossReason::Superseded, "superseded"),
    (LossReason::Expired, "expired"),
    (LossReason::Closed, "closed"),
];

const CLOSES: [(CloseCode, &str); 9] = [
    (CloseCode::Normal, "normal"),
    (CloseCode::Protocol, "protocol"),
    (CloseCode::Version, "version"),
    (CloseCode::HandshakeTimeout, "handshake timeout"),
    (CloseCode::HeartbeatTimeout, "heartbeat timeout"),
    (CloseCode::Slow, "slow"),
    (CloseCode::Full, "full"),
    (CloseCode::Replaced, "replaced"),
    (CloseCode::Moved, "moved"),
];

// ---------------------------------------------------------------------------------------------
// Payloads

/// The payload as JSON, if that says exactly the same.
pub(crate) fn text_of(payload: &Payload) -> Option<String> {
    if payload.shape() == Shape::Raw || payload.is_empty() {
        return None;
    }
    let tree: Tree = payload.decode().ok()?;
    let text = serde_json::to_string(&InJson(&tree)).ok()?;
    let back = payload_of(text.as_bytes(), payload.shape())?;
    (back == *payload).then_some(text)
}

fn payload_of(text: &[u8], shape: Shape) -> Option<Payload> {
    let tree: Tree = serde_json::from_slice(text).ok()?;
    let encoded: std::result::Result<Payload, PayloadError> = Payload::encode(&tree.with_bytes());
    Some(Payload::new(encoded.ok()?.bytes().clone(), shape))
}

/// Any value that MessagePack and JSON have in common, and bytes, which JSON has not. Unlike
/// `serde_json::Value` it keeps the order of a map.
#[derive(Debug, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// The only key of a map that stands for bytes.
const BYTES: &str = "$bytes";

impl Tree {
    /// What came as JSON, with bytes again where they were.
    fn with_bytes(self) -> Self {
        match self {
            Self::List(list) => Self::List(list.into_iter().map(Self::with_bytes).collect()),
            Self::Map(map) => match &map[..] {
                [(key, Self::Text(text))] if key == BYTES => match unhex(text) {
                    Some(bytes) => Self::Bytes(bytes),
                    None => Self::Map(map),
                },
                _ => {
                    let entries = map.into_iter().map(|(key, tree)| (key, tree.with_bytes()));
                    Self::Map(entries.collect())
                }
            },
            other => other,
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => serializer.collect_map(map.iter().map(|(key, tree)| (key, tree))),
            other => serialize_leaf(other, serializer),
        }
    }
}

/// The same tree in a format that has no bytes.
struct InJson<'a>(&'a Tree);

impl Serialize for InJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Tree::Bytes(bytes) => serializer.collect_map([(BYTES, hex(bytes))]),
            Tree::List(list) => serializer.collect_seq(list.iter().map(InJson)),
            Tree::Map(map) => {
                serializer.collect_map(map.iter().map(|(key, tree)| (key, InJson(tree))))
            }
            other => serialize_leaf(other, serializer),
        }
    }
}

fn serialize_leaf<S: Serializer>(
    leaf: &Tree,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match leaf {
        Tree::Bool(bool) => serializer.serialize_bool(*bool),
        Tree::Unsigned(number) => serializer.serialize_u64(*number),
        Tree::Signed(number) => serializer.serialize_i64(*number),
        Tree::Float(number) => serializer.serialize_f64(*number),
        Tree::Text(text) => serializer.serialize_str(text),
        _ => serializer.serialize_unit(),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

type Visited<E> = std::result::Result<Tree, E>;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Visited<E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: Error>(self, bool: bool) -> Visited<E> {
        Ok(Tree::Bool(bool))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Visited<E> {
        Ok(Tree::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Visited<E> {
        Ok(Tree::Signed(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Visited<E> {
        Ok(Tree::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Visited<E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Visited<E> {
        Ok(Tree::Bytes(bytes.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Visited<A::Error> {
        let mut list = Vec::new();
        while let Some(tree) = seq.next_element()? {
            list.push(tree);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Visited<A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
