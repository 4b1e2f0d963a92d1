//! A second codec on a transport of its own: whatever a session does, it does over JSON too, and
//! members of both codecs meet in one room.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use async_trait::async_trait;
use bytes::Bytes;
use emitwire::protocol::{
    Close, CloseCode, Codec, Connect, Credit, DecodeError, Decoder, Encoded, EventName,
    EventPacket, EventRef, Frame, FrameKind, Hello, Limits, NamespaceNumber, Native, Packet,
    ProducerId, ProtocolError, Shape,
};
use emitwire::transport::{
    BindError, Capabilities, ConnectError, Connection, HandshakeError, Incoming, Listener, Memory,
    Peer, ReadHalf, Transport, WriteHalf,
};
use emitwire::{
    AckError, Args, Client, Config, ConnectRequest, Data, DisconnectReason, EmitError, Event, Nak,
    Namespace, NamespaceError, Payload, Refusal, Server, Session, Socket,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::json_codec::{Json, text_of};
use support::packets;
use tokio::sync::mpsc;

mod support {
    pub(crate) mod json_codec;
    #[path = "../../core/tests/support/packets.rs"]
    pub(crate) mod packets;
}

/// Longer than any wait of these tests, on a clock that costs nothing.
const DEADLINE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Lets everything run that can, until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came about that {what}");
}

// ---------------------------------------------------------------------------------------------
// A transport that speaks another codec

/// The wire in memory, with whatever codec it is given.
#[derive(Clone)]
struct Spoken {
    wire: Memory,
    codec: Arc<dyn Codec>,
}

impl Spoken {
    fn new(name: &str, codec: Arc<dyn Codec>) -> Self {
        Self { wire: Memory::new(name), codec }
    }

    fn json(name: &str) -> Self {
        Self::new(name, Arc::new(Json))
    }

    fn with<T: ?Sized>(&self, inner: Box<T>) -> Box<Speaking<T>> {
        Box::new(Speaking { inner, codec: Arc::clone(&self.codec) })
    }
}

/// A listener, an arrival or a connection of such a wire.
struct Speaking<T: ?Sized> {
    inner: Box<T>,
    codec: Arc<dyn Codec>,
}

#[async_trait]
impl Transport for Spoken {
    fn endpoint(&self) -> String {
        self.wire.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        Ok(self.with(self.wire.bind().await?))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(self.with(self.wire.connect().await?))
    }
}

#[async_trait]
impl Listener for Speaking<dyn Listener> {
    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (inner, codec) = (self.inner.accept().await?, Arc::clone(&self.codec));
        Ok(Box::new(Speaking { inner, codec }))
    }
}

#[async_trait]
impl Incoming for Speaking<dyn Incoming> {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        let Self { inner, codec } = *self;
        Ok(Box::new(Speaking { inner: inner.handshake().await?, codec }))
    }
}

impl Connection for Speaking<dyn Connection> {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn codec(&self) -> Arc<dyn Codec> {
        Arc::clone(&self.codec)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        self.inner.split()
    }
}

/// A codec that counts how often it encodes an event of a name.
struct Counting<C> {
    codec: C,
    event: &'static str,
    count: AtomicUsize,
}

impl<C: Codec> Counting<C> {
    fn new(codec: C, event: &'static str) -> Arc<Self> {
        Arc::new(Self { codec, event, count: AtomicUsize::new(0) })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl<C: Codec> Codec for Counting<C> {
    fn name(&self) -> &'static str {
        self.codec.name()
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        if let Packet::Event(event) | Packet::Volatile(event) = packet {
            let is_it = event.name == self.event;
            self.count.fetch_add(usize::from(is_it), Ordering::Relaxed);
        }
        self.codec.encode(packet)
    }

    fn frame_bytes_max(&self, event_bytes_max: usize) -> usize {
        self.codec.frame_bytes_max(event_bytes_max)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        self.codec.decoder()
    }
}

// ---------------------------------------------------------------------------------------------
// The codec

fn frames(packet: &Packet) -> [Frame; 2] {
    let encoded = Json.encode(packet);
    let [header, body] = encoded.frames() else { panic!("two frames: {encoded:?}") };
    assert_eq!(header.kind, FrameKind::Text);
    [header.clone(), body.clone()]
}

/// The same number of cases everywhere, and no files in the tree: what fails is printed whole.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_packet_round_trips_in_two_frames(several in vec(packets::packet(), 1..4)) {
        let mut decoder = Json.decoder();
        for packet in several {
            let [header, body] = frames(&packet);
            prop_assert_eq!(decoder.decode(header), Ok(None));
            prop_assert_eq!(decoder.decode(body), Ok(Some(packet)));
        }
    }

    #[test]
    fn any_text_decodes_or_errs(texts in vec(".{0,40}", 1..4)) {
        let mut decoder = Json.decoder();
        for text in texts {
            if decoder.decode(Frame::text(text)).is_err() {
                decoder = Json.decoder();
            }
        }
    }

    #[test]
    fn any_two_halves_decode_or_err(one in packets::packet(), other in packets::packet()) {
        let ([header, first], [_, second]) = (frames(&one), frames(&other));
        for halves in [[&header, &second], [&first, &second], [&header, &header]] {
            let mut decoder = Json.decoder();
            if decoder.decode(halves[0].clone()) == Ok(None) {
                let whole = decoder.decode(halves[1].clone());
                prop_assert_ne!(whole, Ok(None), "two frames are a packet or an error");
            }
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Move {
    who: String,
    at: (i32, f64),
    picture: Bytes,
    note: Option<String>,
}

fn a_move() -> Move {
    Move { who: "Ada".into(), at: (-3, 0.5), picture: Bytes::from_static(b"\0\xff"), note: None }
}

#[test]
fn a_payload_is_readable_where_json_can_say_it_and_exact_in_any_case() {
    let text = text_of(&Payload::encode(&a_move()).unwrap()).unwrap();
    let expected = r#"{"who":"Ada","at":[-3,0.5],"picture":{"$bytes":"00ff"},"note":null}"#;
    assert_eq!(text, expected);
    let readable = [
        Payload::encode(&u64::MAX).unwrap(),
        Payload::encode(&i64::MIN).unwrap(),
        Payload::encode(&BTreeMap::from([("b", 1), ("a", 2)])).unwrap(),
        Payload::encode(&json!({ "a": [1, 2.5, "x", null, true, {}] })).unwrap(),
        Payload::new(Payload::encode(&(1, "two")).unwrap().bytes().clone(), Shape::Arguments),
    ];
    for payload in readable {
        assert!(text_of(&payload).is_some(), "{payload:?}");
    }
    let opaque = [
        Payload::empty(),
        Payload::raw("not for codecs"),
        Payload::encode(&f64::NAN).unwrap(),
        // JSON has no short floats: it would come back four bytes longer.
        Payload::encode(&1.5f32).unwrap(),
        Payload::encode(&BTreeMap::from([(1, "a number is no key in JSON")])).unwrap(),
        Payload::encode(&BTreeMap::from([("$bytes", "00")])).unwrap(),
        Payload::new(Bytes::from_static(b"\xc1 is no MessagePack"), Shape::Value),
    ];
    for payload in opaque {
        assert_eq!(text_of(&payload), None, "{payload:?}");
    }
}

// ---------------------------------------------------------------------------------------------
// Sessions over it

fn root() -> Namespace {
    Namespace::new("/")
}

async fn listen(name: &str, config: Config, namespace: Namespace) -> Server {
    let server = Server::with_config(config).mount(namespace).unwrap();
    server.listen(Spoken::json(name)).await.unwrap();
    server
}

async fn connect(transport: Spoken, namespace: Namespace) -> Result<Session, ConnectError> {
    within(Client::new(transport).mount(namespace).reconnect(false).connect()).await
}

async fn ask<R: serde::de::DeserializeOwned>(
    socket: &Socket,
    name: &str,
    value: &(impl emitwire::ToPayload + ?Sized),
) -> Result<R, AckError> {
    within(socket.emit(name, value).ack().into_future()).await
}

#[tokio::test(start_paused = true)]
async fn events_and_acks_go_both_ways() {
    let namespace = root()
        .on("move", |Data(mut it): Data<Move>| async move {
            it.at.0 += 1;
            Data(it)
        })
        .on("sum", |Args((a, b)): Args<(u8, u8)>| async move { a + b })
        .on("raw", |event: Event| async move { event.payload })
        .on("nothing", || async {})
        .on("any", |Data(value): Data<serde_json::Value>| async move { Data(value) })
        .on("back", |socket: Socket| async move {
            let answer: f32 = socket.emit("half", &1.5f32).ack().await?;
            Ok::<_, AckError>(answer)
        });
    let _server = listen("json acks", Config::default(), namespace).await;
    let client = root().on("half", |Data(number): Data<f32>| async move { number / 2.0 });
    let session = connect(Spoken::json("json acks"), client).await.unwrap();
    let socket = session.of("/").unwrap();
    let moved = Move { at: (-2, 0.5), ..a_move() };
    assert_eq!(ask::<Move>(&socket, "move", &a_move()).await.unwrap(), moved);
    assert_eq!(ask::<u8>(&socket, "sum", &Args((2, 3))).await.unwrap(), 5);
    let raw = Bytes::from_static(b"\0\x80\xff");
    assert_eq!(ask::<Bytes>(&socket, "raw", &Payload::raw(raw.clone())).await.unwrap(), raw);
    ask::<()>(&socket, "nothing", &()).await.unwrap();
    let value = json!({ "z": 1, "a": [null, "b", 0.5] });
    assert_eq!(ask::<serde_json::Value>(&socket, "any", &value).await.unwrap(), value);
    assert_eq!(ask::<f32>(&socket, "back", &()).await.unwrap(), 0.75);
}

/// A member of the lobby, and what it hears.
async fn member(transport: Spoken) -> (Session, mpsc::UnboundedReceiver<Move>) {
    let (mouth, ear) = mpsc::unbounded_channel();
    let namespace = root().on("said", move |Data(it): Data<Move>| {
        mouth.send(it).unwrap();
        async {}
    });
    (connect(transport, namespace).await.unwrap(), ear)
}

#[tokio::test(start_paused = true)]
async fn members_of_both_codecs_share_a_room_and_each_codec_encodes_once() {
    let json = Counting::new(Json, "said");
    let native = Counting::new(Native, "said");
    let namespace = root()
        .on_connect(|socket: Socket| async move { socket.join("lobby").await })
        .on("say", |socket: Socket, Data(it): Data<Move>| async move {
            let fanout = socket.to("lobby").emit("said", &it).await?;
            Ok::<_, EmitError>(fanout.accepted)
        });
    let server = Server::new().mount(namespace).unwrap();
    server.listen(Spoken::new("json room", json.clone())).await.unwrap();
    server.listen(Spoken::new("native room", native.clone())).await.unwrap();
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(Spoken::json("json room")).await);
        members.push(member(Spoken::new("native room", Arc::new(Native))).await);
    }
    until("all are in the lobby", || {
        let lobby = server.of("/");
        let rooms = pin!(lobby.rooms()).poll(&mut Context::from_waker(Waker::noop()));
        matches!(rooms, Poll::Ready(Ok(rooms)) if rooms.first().is_some_and(|room| room.1 == 6))
    })
    .await;
    for (number, speaker) in [(1, 0), (2, 1)] {
        let socket = members[speaker].0.of("/").unwrap();
        let said = Move { at: (number, 0.5), ..a_move() };
        assert_eq!(ask::<usize>(&socket, "say", &said).await.unwrap(), 5, "all but itself");
        for (place, (_, ear)) in members.iter_mut().enumerate() {
            if place != speaker {
                assert_eq!(within(ear.recv()).await.as_ref(), Some(&said));
            }
        }
        assert_eq!((json.count(), native.count()), (number as usize, number as usize));
    }
    let fanout = server.of("/").to("lobby").emit("said", &a_move()).volatile().await.unwrap();
    assert_eq!(fanout.accepted, 6);
    for (_, ear) in &mut members {
        assert_eq!(within(ear.recv()).await, Some(a_move()));
    }
    assert_eq!((json.count(), native.count()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn naks_arrive_as_they_are() {
    let busy = Duration::from_millis(1500);
    let namespace = root()
        .on("rejected", || async { Err::<u8, _>(Refusal::with(&a_move())) })
        .on("failed", || async { Err::<u8, _>(io::Error::other("secret")) })
        .on("busy", move || async move { Err::<u8, _>(Refusal::busy(busy)) })
        .on("number", |Data(number): Data<u8>| async move { number })
        .unhandled(emitwire::Unhandled::Nak);
    let _server = listen("json naks", Config::default(), namespace).await;
    let session = connect(Spoken::json("json naks"), root()).await.unwrap();
    let socket = session.of("/").unwrap();
    let expected = [
        ("rejected", Nak::Rejected(Payload::encode(&a_move()).unwrap())),
        ("failed", Nak::Failed),
        ("busy", Nak::Busy { retry_after: busy }),
        ("number", Nak::BadPayload),
        ("unknown", Nak::NoHandler),
    ];
    for (name, nak) in expected {
        let answer = ask::<u8>(&socket, name, "text").await;
        assert!(matches!(&answer, Err(AckError::Refused(it)) if *it == nak), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn volatile_events_arrive_between_the_others() {
    let (mouth, mut ear) = mpsc::unbounded_channel();
    let namespace = root()
        .on("cursor", move |event: Event, Data(at): Data<(i32, i32)>| {
            mouth.send((event.volatile, at)).unwrap();
            async {}
        })
        .on("reliable", || async { 1 });
    let _server = listen("json volatile", Config::default(), namespace).await;
    let session = connect(Spoken::json("json volatile"), root()).await.unwrap();
    let socket = session.of("/").unwrap();
    for number in 0..3 {
        socket.emit("cursor", &(number, -number)).volatile().await.unwrap();
        assert_eq!(ask::<u8>(&socket, "reliable", &()).await.unwrap(), 1);
        assert_eq!(within(ear.recv()).await, Some((true, (number, -number))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_refuses_with_data_and_the_others_go_on() {
    let private = Namespace::new("/private").authorize(|request: ConnectRequest| async move {
        match request.auth::<Move>() {
            Ok(it) if it == a_move() => Err(Refusal::with(&it.picture)),
            _ => Ok(()),
        }
    });
    let server = listen("json refusal", Config::default(), private).await.mount(root()).unwrap();
    let client = Client::new(Spoken::json("json refusal"))
        .auth(&Payload::encode(&a_move()).unwrap())
        .mount(Namespace::new("/private"))
        .mount(Namespace::new("/nowhere"))
        .mount(root());
    let session = within(client.connect()).await.unwrap();
    let NamespaceError::Refused { payload, .. } = session.of("/private").unwrap_err() else {
        panic!("it was to be refused");
    };
    assert_eq!(payload.decode::<Bytes>().unwrap(), a_move().picture);
    assert!(matches!(session.of("/nowhere"), Err(NamespaceError::Refused { .. })));
    assert!(session.of("/").is_ok());
    assert_eq!(server.stats().sockets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_moves_the_clients_and_finishes_what_is_under_way() {
    let namespace = root().on("slow", || async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        "done"
    });
    let server = listen("json drain", Config::default(), namespace).await;
    let session = connect(Spoken::json("json drain"), root()).await.unwrap();
    let socket = session.of("/").unwrap();
    let slow = {
        let socket = socket.clone();
        tokio::spawn(async move { ask::<String>(&socket, "slow", &()).await })
    };
    until("the handler runs", || server.stats().events_in == 1).await;
    within(server.run_until(async {})).await;
    assert_eq!(within(slow).await.unwrap().unwrap(), "done");
    assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
    assert_eq!((server.stats().sessions, server.stats().in_doubt), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn windows_open_again_whatever_the_payloads() {
    let mut config = Config::default();
    (config.window_events, config.window_bytes) = (3, 200);
    (config.log_packets_max, config.log_bytes_max) = (8, 2000);
    let echo = root().on("echo", |event: Event| async move { event.payload });
    let server = listen("json window", config.clone(), echo).await;
    let client = Client::new(Spoken::json("json window")).config(config).mount(root());
    let session = within(client.reconnect(false).connect()).await.unwrap();
    let socket = session.of("/").unwrap();
    let payloads = [
        Payload::encode(&1.5f32).unwrap(),
        Payload::encode(&a_move()).unwrap(),
        Payload::encode(&"\u{1}\"ß\n".repeat(20)).unwrap(),
        Payload::raw("raw"),
        Payload::empty(),
        Payload::encode(&f64::INFINITY).unwrap(),
    ];
    for payload in payloads.iter().cycle().take(60) {
        socket.emit("echo", payload).await.unwrap();
    }
    for payload in &payloads {
        let answer = ask::<serde::de::IgnoredAny>(&socket, "echo", payload).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    // A heartbeat each way finds whatever was miscounted.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!((server.stats().handled, server.stats().protocol_errors), (66, 0));
    assert!(session.is_connected());
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_legal_size_arrives_however_long_its_codec_makes_it() {
    let mut config = Config::default();
    config.event_bytes_max = 10_000;
    let namespace = root()
        .on("say", |Data(text): Data<String>| async move { text.len() })
        .on("count", |Data(list): Data<Vec<Bytes>>| async move { list.len() });
    let _server = listen("json size", config, namespace).await;
    let session = connect(Spoken::json("json size"), root()).await.unwrap();
    let socket = session.of("/").unwrap();
    // Six times as long in JSON.
    let text = "\u{1}".repeat(9990);
    assert_eq!(ask::<usize>(&socket, "say", &text).await.unwrap(), 9990);
    let nothings = vec![Bytes::new(); 4900];
    assert_eq!(ask::<usize>(&socket, "count", &nothings).await.unwrap(), 4900);
}

// ---------------------------------------------------------------------------------------------
// Peers that misbehave

/// What a raw peer says that it keeps of written packets until they are confirmed.
const LOG_BYTES_MAX: u32 = 8000;

/// A peer that writes whatever it likes.
struct Raw {
    read: Box<dyn ReadHalf>,
    write: Box<dyn WriteHalf>,
    decoder: Box<dyn Decoder>,
    packets: VecDeque<Packet>,
}

impl Raw {
    async fn connect(name: &str) -> Self {
        let connection = Spoken::json(name).connect().await.unwrap();
        let decoder = connection.codec().decoder();
        let (read, write) = connection.split();
        Self { read, write, decoder, packets: VecDeque::new() }
    }

    async fn write(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let mut batch = frames.into_iter().collect();
        within(poll_fn(|cx| self.write.poll_write(cx, &mut batch))).await.unwrap();
    }

    async fn say(&mut self, packet: Packet) {
        self.write(frames(&packet)).await;
    }

    /// The next packet; none at the end.
    async fn hear(&mut self) -> Option<Packet> {
        let mut frames = Vec::new();
        while self.packets.is_empty() {
            let read = within(poll_fn(|cx| self.read.poll_read(cx, &mut frames))).await.ok()?;
            for frame in frames.drain(..) {
                self.packets.extend(self.decoder.decode(frame).unwrap());
            }
            if read == 0 {
                break;
            }
        }
        self.packets.pop_front()
    }

    /// Says hello and asks for `/`.
    async fn join(&mut self) {
        let limits = Limits {
            event_bytes_max: 1 << 20,
            window: Credit { events: 100, bytes: 1 << 20 },
            log_packets_max: 1000,
            log_bytes_max: LOG_BYTES_MAX,
            heartbeat_interval: Duration::from_secs(5),
            dedup_horizon: Duration::ZERO,
        };
        let hello = Hello {
            resumes: false,
            resumable: false,
            restarted: false,
            nonce: 1,
            producer: ProducerId(2),
            limits,
        };
        self.say(Packet::Hello(hello)).await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, Some(Packet::Welcome(_))), "{welcome:?}");
        self.say(Packet::From(1)).await;
        let (path, auth) = (EventName::from_static("/"), Payload::empty());
        self.say(Packet::Connect(Connect { number: NamespaceNumber(0), path, auth })).await;
        while !matches!(self.hear().await.unwrap(), Packet::Accept(_)) {}
    }

    /// What it is told at the end, and that this is the end.
    async fn goodbye(&mut self) -> Close {
        loop {
            if let Packet::Close(close) = self.hear().await.expect("a goodbye") {
                assert_eq!(self.hear().await, None, "nothing follows a goodbye");
                return close;
            }
        }
    }
}

/// A namespace that tells why its sockets ended.
fn telling() -> (Namespace, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (mouth, ear) = mpsc::unbounded_channel();
    let namespace = root().on("echo", |event: Event| async move { event.payload });
    let namespace = namespace.on_disconnect(move |reason: DisconnectReason| {
        mouth.send(reason).unwrap();
        async {}
    });
    (namespace, ear)
}

#[tokio::test(start_paused = true)]
async fn garbage_instead_of_a_hello_is_answered_with_a_typed_close() {
    let server = listen("json garbage", Config::default(), root()).await;
    let garbage = [
        Frame::text("GET / HTTP/1.1"),
        Frame::text("{}"),
        Frame::text(""),
        Frame::ordered(Native.encode(&Packet::From(1)).frames()[0].body.clone()),
    ];
    let count = garbage.len() as u64;
    for frame in garbage {
        let mut raw = Raw::connect("json garbage").await;
        raw.write([frame.clone(), Frame::text("null")]).await;
        assert_eq!(raw.goodbye().await.code, CloseCode::Protocol, "{frame:?}");
    }
    let mut raw = Raw::connect("json garbage").await;
    let header = json!({ "packet": "hello", "protocol": "emitwire", "version": 9 });
    raw.write([Frame::text(header.to_string()), Frame::text("null")]).await;
    assert_eq!(raw.goodbye().await.code, CloseCode::Version);
    drop(raw);
    until("all have failed", || server.stats().handshakes_failed == count + 1).await;
    assert!(connect(Spoken::json("json garbage"), root()).await.is_ok(), "others are served");
}

#[tokio::test(start_paused = true)]
async fn garbage_inside_a_session_ends_it_with_a_typed_close_and_a_typed_reason() {
    let (namespace, mut reasons) = telling();
    let server = listen("json nonsense", Config::default(), namespace).await;
    let mut raw = Raw::connect("json nonsense").await;
    raw.join().await;
    raw.write([Frame::text("nonsense")]).await;
    let close = raw.goodbye().await;
    assert_eq!(close.code, CloseCode::Protocol);
    assert_eq!(&*close.detail, "the peer does not speak emitwire");
    let error = ProtocolError::Decode(DecodeError::NotEmitwire);
    drop(raw);
    assert_eq!(within(reasons.recv()).await, Some(DisconnectReason::Protocol(error)));
    assert_eq!(server.stats().protocol_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn half_a_packet_and_then_the_end_is_a_lost_link() {
    let (namespace, mut reasons) = telling();
    let server = listen("json half", Config::default(), namespace).await;
    let [header, _] = frames(&Packet::Heartbeat { written: 1 });
    let mut early = Raw::connect("json half").await;
    early.write([header.clone()]).await;
    within(poll_fn(|cx| early.write.poll_close(cx))).await.unwrap();
    until("the handshake has failed", || server.stats().handshakes_failed == 1).await;

    let mut late = Raw::connect("json half").await;
    late.join().await;
    late.write([header]).await;
    within(poll_fn(|cx| late.write.poll_close(cx))).await.unwrap();
    while late.hear().await.is_some() {}
    assert_eq!(within(reasons.recv()).await, Some(DisconnectReason::LinkLost));
    assert_eq!(server.stats().protocol_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_packet_whose_halves_come_one_by_one_is_whole_when_the_second_is_there() {
    let (namespace, _reasons) = telling();
    let server = listen("json halves", Config::default(), namespace).await;
    let mut raw = Raw::connect("json halves").await;
    raw.join().await;
    let [header, body] = frames(&Packet::Heartbeat { written: 1 });
    for _ in 0..3 {
        raw.write([header.clone()]).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        raw.write([body.clone()]).await;
    }
    assert_eq!((server.stats().sessions, server.stats().protocol_errors), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn both_halves_of_a_packet_count_against_the_log_in_which_its_sender_keeps_them() {
    let (namespace, _reasons) = telling();
    let _server = listen("json log", Config::default(), namespace).await;
    let mut raw = Raw::connect("json log").await;
    raw.join().await;
    // Their payloads are nothing, their headers are not.
    let event = |number| {
        Packet::Event(EventPacket {
            namespace: NamespaceNumber(0),
            event: EventRef { producer: None, number },
            wants_ack: false,
            name: EventName::from_static("echo"),
            payload: Payload::empty(),
        })
    };
    let (mut count, mut bytes) = (0, 0);
    while bytes < LOG_BYTES_MAX as usize / 2 {
        count += 1;
        bytes += Json.encode(&event(count)).len();
        raw.say(event(count)).await;
    }
    let began = tokio::time::Instant::now();
    while !matches!(raw.hear().await.unwrap(), Packet::Position(it) if it.received > count / 2) {}
    assert!(began.elapsed() < Duration::from_secs(1), "not before a heartbeat");
}

// ---------------------------------------------------------------------------------------------
// What only a codec sees

type Hook = Box<dyn FnOnce() + Send>;

/// The native codec; it calls somebody just before a socket is told that it is let in.
#[derive(Default)]
struct Hooked(Mutex<Option<Hook>>);

impl Codec for Hooked {
    fn name(&self) -> &'static str {
        Native.name()
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        let hook = match packet {
            Packet::Accept(_) => self.0.lock().unwrap().take(),
            _ => None,
        };
        if let Some(hook) = hook {
            hook();
        }
        Native.encode(packet)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Native.decoder()
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_meets_a_socket_on_its_way_in_does_not_overtake_its_welcome() {
    let server = Server::new().mount(root().on("ask", || async { 1 })).unwrap();
    let codec = Arc::new(Hooked::default());
    server.listen(Spoken::new("on its way in", codec.clone())).await.unwrap();
    let speaker = server.clone();
    // On another thread: one that is not in the middle of this socket's turn.
    *codec.0.lock().unwrap() = Some(Box::new(move || {
        let speaking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { speaker.of("/").emit("tick", &1).await })
        });
        speaking.join().unwrap().unwrap();
    }));
    let client = root().on("tick", || async {});
    let session = connect(Spoken::new("on its way in", Arc::new(Native)), client).await.unwrap();
    let socket = session.of("/").unwrap();
    assert_eq!(ask::<u8>(&socket, "ask", &()).await.unwrap(), 1);
    assert!(session.is_connected());
}
