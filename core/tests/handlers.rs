//! Handlers over the wire in memory, with a clock that only moves when nothing else can: what
//! they take, what they answer, who lets them run and when.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use bytes::Bytes;
use emitwire_core::handler::{ConnectRequest, Data, FromEvent, MountError, Namespace, Unhandled};
use emitwire_core::protocol::{
    Args, DisconnectReason, EVENT_NAME_BYTES_MAX, Event, Nak, Payload, RESERVED_NAMES, Shape,
    ToPayload,
};
use emitwire_core::room::{RoomError, RoomName};
use emitwire_core::run::{Client, Config, NamespaceError, Server, Session};
use emitwire_core::socket::{Ack, AckError, EmitError, Envelope, ListenError, Refusal, Socket};
use emitwire_core::transport::{ConnectError, Memory, Peer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tower::layer::layer_fn;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower_service::Service;

/// Longer than any wait of these tests, on a clock that costs nothing.
const DEADLINE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
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

/// A server and a client of it, with the namespace `/` between them.
struct Duo {
    server: Server,
    session: Session,
    socket: Socket,
}

async fn listen(name: &str, config: Config, namespace: Namespace) -> Server {
    let server = Server::with_config(config).mount(namespace).unwrap();
    server.listen(Memory::new(name)).await.unwrap();
    server
}

async fn connect(name: &str, namespace: Namespace) -> Result<Session, ConnectError> {
    within(Client::new(Memory::new(name)).mount(namespace).reconnect(false).connect()).await
}

/// The wire's name is the test's: they share a process.
async fn duo(name: &str, namespace: Namespace) -> Duo {
    duo_with(name, Config::default(), namespace, root()).await
}

async fn duo_with(name: &str, config: Config, server: Namespace, client: Namespace) -> Duo {
    let server = listen(name, config, server).await;
    let session = connect(name, client).await.unwrap();
    let socket = session.of("/").unwrap();
    Duo { server, session, socket }
}

impl Duo {
    async fn ask<R: DeserializeOwned>(
        &self,
        name: &str,
        value: &(impl ToPayload + ?Sized),
    ) -> Result<R, AckError> {
        within(self.socket.emit(name, value).ack().into_future()).await
    }

    async fn get<R: DeserializeOwned>(&self, name: &str) -> R {
        self.ask(name, &()).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The answer that says no.
    async fn nak(&self, name: &str, value: &(impl ToPayload + ?Sized)) -> Nak {
        match self.ask::<Option<String>>(name, value).await {
            Err(AckError::Refused(nak)) => nak,
            other => panic!("{name} was to be refused: {other:?}"),
        }
    }
}

fn root() -> Namespace {
    Namespace::new("/")
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Panics without a word on the terminal.
fn fall() {
    resume_unwind(Box::new("on purpose"))
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, thiserror::Error)]
#[error("the secret reason")]
struct Secret;

// ---------------------------------------------------------------------------------------------
// Replies

#[tokio::test(start_paused = true)]
async fn every_number_and_text_that_a_handler_returns_is_the_ack() {
    let namespace = root()
        .on("bool", || async { true })
        .on("u8", || async { u8::MAX })
        .on("u16", || async { u16::MAX })
        .on("u32", || async { u32::MAX })
        .on("u64", || async { u64::MAX })
        .on("usize", || async { usize::MAX })
        .on("i8", || async { i8::MIN })
        .on("i16", || async { i16::MIN })
        .on("i32", || async { i32::MIN })
        .on("i64", || async { i64::MIN })
        .on("isize", || async { isize::MIN })
        .on("f32", || async { 1.5f32 })
        .on("f64", || async { f64::MIN_POSITIVE })
        .on("char", || async { 'ß' })
        .on("String", || async { String::from("text") })
        .on("str", || async { "text" });
    let duo = duo("plain replies", namespace).await;
    assert!(duo.get::<bool>("bool").await);
    assert_eq!(duo.get::<u8>("u8").await, u8::MAX);
    assert_eq!(duo.get::<u16>("u16").await, u16::MAX);
    assert_eq!(duo.get::<u32>("u32").await, u32::MAX);
    assert_eq!(duo.get::<u64>("u64").await, u64::MAX);
    assert_eq!(duo.get::<usize>("usize").await, usize::MAX);
    assert_eq!(duo.get::<i8>("i8").await, i8::MIN);
    assert_eq!(duo.get::<i16>("i16").await, i16::MIN);
    assert_eq!(duo.get::<i32>("i32").await, i32::MIN);
    assert_eq!(duo.get::<i64>("i64").await, i64::MIN);
    assert_eq!(duo.get::<isize>("isize").await, isize::MIN);
    assert_eq!(duo.get::<f32>("f32").await, 1.5);
    assert_eq!(duo.get::<f64>("f64").await, f64::MIN_POSITIVE);
    assert_eq!(duo.get::<char>("char").await, 'ß');
    assert_eq!(duo.get::<String>("String").await, "text");
    assert_eq!(duo.get::<String>("str").await, "text");
    assert_eq!(duo.server.stats().handled, 16);
}

#[tokio::test(start_paused = true)]
async fn every_compound_that_a_handler_returns_is_the_ack() {
    let point = Point { x: 1, y: -1 };
    let reply = point.clone();
    let namespace = root()
        .on("unit", || async {})
        .on("Bytes", || async { Bytes::from_static(b"\0\xff") })
        .on("Vec", || async { vec![1u8, 2] })
        .on("Some", || async { Some(1u8) })
        .on("None", || async { None::<u8> })
        .on("one", || async { (1u8,) })
        .on("two", || async { (1u8, "b") })
        .on("three", || async { (1u8, "b", true) })
        .on("four", || async { (1u8, "b", true, 4.0) })
        .on("Data", move || {
            let reply = reply.clone();
            async move { Data(reply) }
        })
        .on("Args", || async { Args((1u8, "b")) })
        .on("Payload", || async { Payload::raw("as it is") })
        .on("Ok", || async { Ok::<_, Nak>(7u8) })
        .on("Ok unit", || async { Ok::<_, Secret>(()) });
    let duo = duo("compound replies", namespace).await;
    duo.get::<()>("unit").await;
    assert_eq!(duo.get::<Bytes>("Bytes").await[..], *b"\0\xff");
    assert_eq!(duo.get::<Vec<u8>>("Vec").await, [1, 2]);
    assert_eq!(duo.get::<Option<u8>>("Some").await, Some(1));
    assert_eq!(duo.get::<Option<u8>>("None").await, None);
    assert_eq!(duo.get::<(u8,)>("one").await, (1,));
    assert_eq!(duo.get::<(u8, String)>("two").await, (1, "b".into()));
    assert_eq!(duo.get::<(u8, String, bool)>("three").await, (1, "b".into(), true));
    assert_eq!(duo.get::<(u8, String, bool, f64)>("four").await, (1, "b".into(), true, 4.0));
    assert_eq!(duo.get::<Point>("Data").await, point);
    assert_eq!(duo.get::<(u8, String)>("Args").await, (1, "b".into()));
    assert_eq!(duo.get::<Bytes>("Payload").await, "as it is");
    assert_eq!(duo.get::<u8>("Ok").await, 7);
    duo.get::<()>("Ok unit").await;
}

#[tokio::test(start_paused = true)]
async fn an_ack_of_another_type_than_wanted_is_an_error_of_its_own() {
    let duo = duo("wrong ack", root().on("text", || async { "text" })).await;
    let answer = duo.ask::<u8>("text", &()).await;
    assert!(matches!(answer, Err(AckError::Payload { .. })), "{answer:?}");
}

// ---------------------------------------------------------------------------------------------
// Arguments

#[tokio::test(start_paused = true)]
async fn a_handler_gets_the_payload_as_the_type_it_asks_for() {
    let namespace = root()
        .on("data", |Data(point): Data<Point>| async move { point.x + point.y })
        .on("args", |Args((a, b)): Args<(i32, String)>| async move { format!("{a}{b}") })
        .on("only", |Args((a,)): Args<(i32,)>| async move { a })
        .on("bytes", |bytes: Bytes| async move { bytes.len() })
        .on("nothing", |Data(()): Data<()>| async { "nothing" })
        .on("maybe", |Data(maybe): Data<Option<u8>>| async move { maybe.is_some() });
    let duo = duo("payload extractors", namespace).await;
    assert_eq!(duo.ask::<i32>("data", &Point { x: 5, y: -2 }).await.unwrap(), 3);
    assert_eq!(duo.ask::<String>("args", &Args((1, "b"))).await.unwrap(), "1b");
    assert_eq!(duo.ask::<String>("args", &(1, "b")).await.unwrap(), "1b");
    assert_eq!(duo.ask::<i32>("only", &Args((1,))).await.unwrap(), 1);
    assert_eq!(duo.ask::<i32>("only", &1).await.unwrap(), 1, "one value is the only argument");
    assert_eq!(duo.ask::<usize>("bytes", &Bytes::from_static(b"123")).await.unwrap(), 3);
    assert_eq!(duo.ask::<usize>("bytes", &Payload::raw("1234")).await.unwrap(), 4);
    assert_eq!(duo.ask::<String>("nothing", &()).await.unwrap(), "nothing");
    assert_eq!(duo.ask::<String>("nothing", &Payload::empty()).await.unwrap(), "nothing");
    assert!(duo.ask::<bool>("maybe", &7).await.unwrap());
    assert!(!duo.ask::<bool>("maybe", &()).await.unwrap());
}

struct NameLength(usize);

impl FromEvent for NameLength {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        match envelope.event().name.len() {
            length if length > 5 => Err(Refusal::with("too long")),
            length => Ok(Self(length)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_gets_socket_event_envelope_peer_and_what_one_defines_oneself() {
    async fn six(
        socket: Socket,
        Data(text): Data<String>,
        event: Event,
        envelope: Envelope,
        peer: Peer,
        NameLength(length): NameLength,
    ) -> (String, usize) {
        assert_eq!(socket.namespace(), "/");
        assert_eq!(envelope.socket().unwrap().id(), socket.id());
        assert_eq!(envelope.event().id, event.id);
        assert_eq!(envelope.reason(), None);
        assert_eq!((&*event.name, event.wants_ack, event.volatile), ("six", true, false));
        assert_eq!(event.payload.shape(), Shape::Value);
        assert_eq!(event.payload.decode::<String>().unwrap(), text);
        assert_eq!(peer, socket.peer());
        assert!(peer.endpoint().starts_with("mem://other extractors#"), "{peer:?}");
        (socket.id().to_string(), length)
    }
    let namespace =
        root().on("six", six).on("seventh", |NameLength(length): NameLength| async move { length });
    let duo = duo("other extractors", namespace).await;
    let (id, length): (String, usize) = duo.ask("six", "text").await.unwrap();
    assert_eq!((id, length), (duo.socket.id().to_string(), 3), "both ends know one id");
    let expected = Nak::Rejected(Payload::encode("too long").unwrap());
    assert_eq!(duo.nak("seventh", &()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_decode_never_reaches_the_handler() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let namespace = root()
        .on("number", move |Data(_): Data<u8>| {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        })
        .on("args", |Args(_): Args<(u8, u8)>| async {});
    let duo = duo("bad payload", namespace).await;
    assert_eq!(duo.nak("number", "text").await, Nak::BadPayload);
    assert_eq!(duo.nak("number", &256).await, Nak::BadPayload);
    assert_eq!(duo.nak("number", &()).await, Nak::BadPayload);
    assert_eq!(duo.nak("number", &Payload::raw("1")).await, Nak::BadPayload);
    let garbage = Payload::new(Bytes::from_static(&[0x01, 0x02]), Shape::Value);
    assert_eq!(duo.nak("number", &garbage).await, Nak::BadPayload, "two values are none");
    assert_eq!(duo.nak("args", &Args((1,))).await, Nak::BadPayload);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    duo.ask::<()>("number", &255).await.unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1, "the socket goes on");
}

// ---------------------------------------------------------------------------------------------
// Refusals

#[tokio::test(start_paused = true)]
async fn what_a_handler_refuses_with_is_what_the_peer_sees_and_no_more() {
    let busy = Duration::from_millis(1500);
    let namespace = root()
        .on("error", || async { Err::<(), _>(Secret) })
        .on("parsed", |Data(text): Data<String>| async move {
            let number: u8 = text.parse()?;
            Ok::<_, Refusal>(number)
        })
        .on("with", || async { Err::<u8, _>(Refusal::with(&Point { x: 1, y: 2 })) })
        .on("raw", || async { Err::<u8, _>(Refusal::with(&Payload::raw("raw"))) })
        .on("nak", || async { Err::<u8, _>(Nak::TooLarge) })
        .on("busy", move || async move { Err::<u8, _>(Refusal::busy(busy)) });
    let duo = duo("refusals", namespace).await;
    assert_eq!(duo.nak("error", &()).await, Nak::Failed);
    assert_eq!(duo.ask::<u8>("parsed", "12").await.unwrap(), 12);
    assert_eq!(duo.nak("parsed", "twelve").await, Nak::Failed);
    let Nak::Rejected(payload) = duo.nak("with", &()).await else { panic!("with data") };
    assert_eq!(payload.decode::<Point>().unwrap(), Point { x: 1, y: 2 });
    assert_eq!(duo.nak("raw", &()).await, Nak::Rejected(Payload::raw("raw")));
    assert_eq!(duo.nak("nak", &()).await, Nak::TooLarge);
    assert_eq!(duo.nak("busy", &()).await, Nak::Busy { retry_after: busy });
    let (ours, theirs) = (duo.server.stats(), duo.session.stats());
    assert_eq!((ours.handled, ours.refused, theirs.refused_by_peer), (1, 6, 6));
}

#[tokio::test(start_paused = true)]
async fn a_nak_goes_back_also_when_no_ack_was_asked_for() {
    let namespace = root().on("no", || async { Err::<(), _>(Secret) }).on("yes", || async {});
    let duo = duo("unasked nak", namespace).await;
    duo.socket.emit("no", &()).await.unwrap();
    duo.get::<()>("yes").await;
    assert_eq!(duo.session.stats().refused_by_peer, 1);
    assert_eq!(duo.server.stats().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_answered_and_the_next_event_is_handled() {
    let namespace = root()
        .on("falls", || async { fall() })
        .on("falls late", || async {
            tokio::task::yield_now().await;
            fall();
        })
        .on("falls at once", || {
            fall();
            async {}
        })
        .on("stands", || async { 1 });
    let duo = duo("panics", namespace).await;
    for name in ["falls", "falls late", "falls at once"] {
        assert_eq!(duo.nak(name, &()).await, Nak::Failed, "{name}");
    }
    assert_eq!(duo.get::<u8>("stands").await, 1);
    assert_eq!((duo.server.stats().panics, duo.server.stats().sessions), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_listener_to_everything_that_panics_costs_only_itself() {
    let namespace = root()
        .on_any(|| async { fall() })
        .on_any(|| {
            fall();
            async {}
        })
        .on("stands", || async { 1 });
    let duo = duo("any panics", namespace).await;
    assert_eq!(duo.get::<u8>("stands").await, 1);
    assert_eq!((duo.server.stats().panics, duo.server.stats().sessions), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_an_event_may_be_is_refused_and_the_session_goes_on() {
    let mut config = Config::default();
    config.event_bytes_max = 1000;
    let namespace = root()
        .on("large", || async { "x".repeat(1001) })
        .on("large no", || async { Err::<u8, _>(Refusal::with(&"x".repeat(1001))) })
        .on("small", || async { 1 });
    let duo = duo_with("large answers", config, namespace, root()).await;
    assert_eq!(duo.nak("large", &()).await, Nak::TooLarge);
    assert_eq!(duo.nak("large no", &()).await, Nak::TooLarge);
    assert_eq!(duo.get::<u8>("small").await, 1);
    let error = duo.socket.emit("small", &"x".repeat(1000)).await.unwrap_err();
    assert!(matches!(error, EmitError::TooLarge { max: 1000, .. }), "{error:?}");
}

// ---------------------------------------------------------------------------------------------
// Listeners

#[tokio::test(start_paused = true)]
async fn listeners_run_in_order_and_the_first_reply_that_says_something_is_the_ack() {
    let diary = Diary::default();
    let note = |line: &'static str| {
        let diary = diary.clone();
        move || {
            let diary = diary.clone();
            async move { diary.note(line) }
        }
    };
    let (second, third) = (diary.clone(), diary.clone());
    let namespace = root()
        .on("x", note("first"))
        .on("x", move || {
            let diary = second.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                diary.note("second");
                2
            }
        })
        .on("x", move || {
            third.note("third");
            async { 3 }
        })
        .on("x", note("fourth"))
        .on_any(note("any"));
    let duo = duo("several listeners", namespace).await;
    assert_eq!(duo.get::<u8>("x").await, 2);
    assert_eq!(diary.lines(), ["any", "first", "second", "third", "fourth"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_any_listener_is_the_answer() {
    let namespace = root()
        .on("x", || async { 1 })
        .on("x", || async { Err::<u8, _>(Nak::Closed) })
        .on("x", || async { 3 });
    let duo = duo("one of several refuses", namespace).await;
    assert_eq!(duo.nak("x", &()).await, Nak::Closed);
}

#[tokio::test(start_paused = true)]
async fn who_listens_once_hears_one_event_of_all_sockets() {
    let namespace = root()
        .unhandled(Unhandled::Nak)
        .once("x", || async { "once" })
        .on("y", || async { "always" })
        .once("y", || async { "once" });
    let duo = duo("once", namespace).await;
    assert_eq!(duo.get::<String>("x").await, "once");
    assert_eq!(duo.nak("x", &()).await, Nak::NoHandler);
    let second = connect("once", root()).await.unwrap();
    let answer = within(second.of("/").unwrap().emit("x", &()).ack::<String>().into_future()).await;
    assert!(matches!(answer, Err(AckError::Refused(Nak::NoHandler))), "{answer:?}");
    for _ in 0..2 {
        assert_eq!(duo.get::<String>("y").await, "always");
    }
}

#[tokio::test(start_paused = true)]
async fn who_hears_everything_answers_nothing_and_the_fallback_answers_the_rest() {
    let (mouth, mut ear) = mpsc::unbounded_channel();
    let namespace = root()
        .on_any(move |event: Event| {
            mouth.send(event.name.to_string()).unwrap();
            async { Err::<&'static str, _>(Nak::Busy { retry_after: Duration::ZERO }) }
        })
        .fallback(|event: Event| async move { format!("no {}", event.name) })
        .on("known", || async { "known" });
    let duo = duo("any and fallback", namespace).await;
    assert_eq!(duo.get::<String>("known").await, "known");
    assert_eq!(duo.get::<String>("unknown").await, "no unknown");
    assert_eq!(within(ear.recv()).await.unwrap(), "known");
    assert_eq!(within(ear.recv()).await.unwrap(), "unknown");
    assert_eq!(duo.server.stats().refused, 0, "what they reply does not matter");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_hears_is_refused_or_ignored_as_the_namespace_says() {
    let duo_nak = duo("unhandled nak", root().unhandled(Unhandled::Nak)).await;
    assert_eq!(duo_nak.nak("x", &()).await, Nak::NoHandler);
    let duo_ignore = duo("unhandled ignore", root().unhandled(Unhandled::Ignore)).await;
    duo_ignore.get::<()>("x").await;
    assert_eq!(duo_ignore.server.stats().handled, 1);
    for duo in [&duo_nak, &duo_ignore] {
        duo.socket.emit("x", &()).volatile().await.unwrap();
        let dropped = || duo.server.stats().volatile_missed == 1;
        until("the volatile one is dropped and counted", dropped).await;
    }
}

// ---------------------------------------------------------------------------------------------
// Parking

#[tokio::test(start_paused = true)]
async fn a_parked_event_is_delivered_when_a_listener_comes_in_the_order_of_arrival() {
    let namespace = root();
    let Duo { server, session, socket } = duo("parked", namespace.clone()).await;
    for number in 1..=3 {
        socket.emit("late", &number).await.unwrap();
    }
    let asking = socket.clone();
    let asked = tokio::spawn(async move { asking.emit("late", &4).ack::<u8>().await });
    until("all are parked", || server.stats().parked == 4).await;
    assert_eq!(server.stats().handled, 0);

    let (mouth, mut ear) = mpsc::unbounded_channel();
    let _ = namespace.on("late", move |Data(number): Data<u8>| {
        mouth.send(number).unwrap();
        async move { number * 10 }
    });
    assert_eq!(within(asked).await.unwrap().unwrap(), 40);
    for number in 1..=4 {
        assert_eq!(within(ear.recv()).await, Some(number));
    }
    assert_eq!((server.stats().parked, server.stats().handled), (0, 4));
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_that_nobody_ever_hears_is_refused_when_its_time_is_over() {
    let ttl = Duration::from_secs(2);
    let duo = duo("parked for nothing", root().unhandled(Unhandled::Park { ttl })).await;
    let began = Instant::now();
    assert_eq!(duo.nak("x", &()).await, Nak::NoHandler);
    let waited = began.elapsed();
    assert!((ttl..ttl * 2).contains(&waited), "{waited:?}");
    assert_eq!(duo.server.stats().parked, 0);

    // Each has its own time.
    duo.socket.emit("x", &()).await.unwrap();
    until("it is parked", || duo.server.stats().parked == 1).await;
    sleep(ttl / 2).await;
    duo.socket.emit("x", &()).await.unwrap();
    until("both are parked", || duo.server.stats().parked == 2).await;
    sleep(ttl / 2 + ttl / 4).await;
    assert_eq!((duo.server.stats().parked, duo.server.stats().refused), (1, 2));
    sleep(ttl / 2).await;
    assert_eq!((duo.server.stats().parked, duo.server.stats().refused), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_the_park_is_refused_at_once() {
    let mut config = Config::default();
    config.parked_events_max = 2;
    let few = duo_with("full park", config.clone(), root(), root()).await;
    few.socket.emit("x", &1).await.unwrap();
    few.socket.emit("x", &2).await.unwrap();
    let began = Instant::now();
    assert_eq!(few.nak("x", &3).await, Nak::NoHandler);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(few.server.stats().parked, 2);

    config.parked_bytes_max = 10;
    let small = duo_with("small park", config, root(), root()).await;
    let payload = Payload::raw("123456789");
    small.socket.emit("x", &payload).await.unwrap();
    assert_eq!(small.nak("x", &Payload::empty()).await, Nak::NoHandler, "the name counts too");
    assert_eq!(small.server.stats().parked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_gives_its_place_in_the_window_back() {
    let mut config = Config::default();
    config.window_events = 2;
    let namespace = root().on("known", || async { 1 });
    let duo = duo_with("parked window", config, namespace, root()).await;
    for number in 0..20 {
        duo.socket.emit("unknown", &number).await.unwrap();
    }
    assert_eq!(duo.get::<u8>("known").await, 1);
    assert_eq!(duo.server.stats().parked, 20);
}

#[tokio::test(start_paused = true)]
async fn parked_events_end_with_their_socket() {
    let Duo { server, session, socket } = duo("parked to the end", root()).await;
    socket.emit("x", &()).await.unwrap();
    until("it is parked", || server.stats().parked == 1).await;
    within(session.close()).await;
    until("the session is gone", || server.stats().sessions == 0).await;
    assert_eq!((server.stats().parked, server.stats().refused), (0, 1));
}

// ---------------------------------------------------------------------------------------------
// Order

#[tokio::test(start_paused = true)]
async fn events_of_one_socket_are_handled_one_at_a_time_and_in_order_though_handlers_wait() {
    let diary = Diary::default();
    let noted = diary.clone();
    let namespace = root().on("step", move |Data(number): Data<u64>| {
        let diary = noted.clone();
        async move {
            diary.note(format!("begin {number}"));
            // The later, the quicker: those that could overtake would.
            sleep(Duration::from_millis(100 - 10 * number)).await;
            diary.note(format!("end {number}"));
        }
    });
    let duo = duo("one at a time", namespace).await;
    for number in 0..8 {
        duo.socket.emit("step", &number).await.unwrap();
    }
    duo.ask::<()>("step", &8).await.unwrap();
    let expected: Vec<String> =
        (0..=8).flat_map(|number| [format!("begin {number}"), format!("end {number}")]).collect();
    assert_eq!(diary.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn different_sockets_are_handled_in_parallel() {
    let barrier = Arc::new(Barrier::new(3));
    let namespace = root().on("meet", move || {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
        }
    });
    let server = listen("in parallel", Config::default(), namespace).await;
    let mut sessions = Vec::new();
    let mut met = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let session = connect("in parallel", root()).await.unwrap();
        let socket = session.of("/").unwrap();
        sessions.push(session);
        met.spawn(async move { socket.emit("meet", &()).ack::<()>().await });
    }
    while let Some(answer) = within(met.join_next()).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(server.stats().handled, 3);
}

#[tokio::test(start_paused = true)]
async fn volatile_events_do_not_wait_for_a_slow_handler_of_reliable_ones() {
    let (gate, seen) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (waits, counts) = (Arc::clone(&gate), Arc::clone(&seen));
    let namespace = root()
        .on("slow", move || {
            let gate = Arc::clone(&waits);
            async move { gate.notified().await }
        })
        .on("cursor", move |event: Event| {
            assert!(event.volatile && !event.wants_ack);
            counts.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    let Duo { server, session, socket } = duo("volatile lane", namespace).await;
    let asking = socket.clone();
    let slow = tokio::spawn(async move { asking.emit("slow", &()).ack::<()>().await });
    until("the handler runs", || server.stats().events_in == 1).await;
    for number in 0..3 {
        socket.emit("cursor", &number).volatile().await.unwrap();
    }
    until("all three are handled", || seen.load(Ordering::Relaxed) == 3).await;
    assert!(!slow.is_finished());
    gate.notify_one();
    within(slow).await.unwrap().unwrap();
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn acks_pass_a_handler_that_waits_for_one_itself() {
    let namespace = root().on("ask back", |socket: Socket| async move {
        let answer: u8 = socket.emit("really?", &()).ack().await?;
        Ok::<_, AckError>(answer + 1)
    });
    let client = root().on("really?", || async { 41 });
    let duo = duo_with("ask back", Config::default(), namespace, client).await;
    assert_eq!(duo.get::<u8>("ask back").await, 42);
}

// ---------------------------------------------------------------------------------------------
// Hooks

#[tokio::test(start_paused = true)]
async fn a_socket_is_authorized_greeted_served_and_seen_off_in_this_order() {
    let diary = Diary::default();
    let [asked, begun, served, ending, ended] = [(); 5].map(|()| diary.clone());
    let namespace = root()
        .authorize(move |request: ConnectRequest| {
            let name: String = request.auth().unwrap();
            asked.note(format!("authorize {name} for {}", request.namespace()));
            assert!(request.peer().endpoint().starts_with("mem://hooks#"));
            async { Ok::<_, Refusal>(()) }
        })
        .on_connect(move |socket: Socket, Data(name): Data<String>| {
            begun.note(format!("connect {name}"));
            async move { socket.join("lobby").await }
        })
        .on("event", move || {
            served.note("event");
            async {}
        })
        .on_disconnecting(move |socket: Socket, reason: DisconnectReason| {
            let rooms = socket.rooms().unwrap();
            ending.note(format!("disconnecting: {reason}, {}", rooms.len()));
            async {}
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let rooms = socket.rooms().unwrap();
            ended.note(format!("disconnect: {reason}, {}", rooms.len()));
            async {}
        });
    let server = listen("hooks", Config::default(), namespace).await;
    let client = Client::new(Memory::new("hooks")).auth(&String::from("Ada")).mount(root());
    let session = within(client.connect()).await.unwrap();
    let socket = session.of("/").unwrap();
    within(socket.emit("event", &()).ack::<()>().into_future()).await.unwrap();
    assert_eq!(server.of("/").rooms().await.unwrap(), [(RoomName::from("lobby"), 1)]);
    within(session.close()).await;
    until("the socket is gone", || diary.lines().len() == 5).await;
    let expected = [
        "authorize Ada for /",
        "connect Ada",
        "event",
        "disconnecting: closed by the peer, 1",
        "disconnect: closed by the peer, 0",
    ];
    assert_eq!(diary.lines(), expected);
    assert_eq!(server.of("/").rooms().await.unwrap(), []);
    assert_eq!(server.stats().sockets, 0);
}

#[tokio::test(start_paused = true)]
async fn events_wait_until_the_first_hook_has_returned() {
    let diary = Diary::default();
    let [hook, event] = [(); 2].map(|()| diary.clone());
    let namespace = root()
        .on_connect(move || {
            let diary = hook.clone();
            async move {
                sleep(Duration::from_secs(3)).await;
                diary.note("connected");
            }
        })
        .on("event", move |Data(number): Data<u8>| {
            event.note(format!("event {number}"));
            async {}
        });
    let duo = duo("slow hook", namespace).await;
    let began = Instant::now();
    duo.socket.emit("event", &1).await.unwrap();
    duo.socket.emit("event", &0).volatile().await.unwrap();
    duo.ask::<()>("event", &2).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(diary.lines(), ["connected", "event 1", "event 2"]);
    assert_eq!(duo.server.stats().volatile_missed, 1, "a volatile one waits for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_socket_whose_first_hook_fails_ends_and_its_events_reach_no_handler() {
    let diary = Diary::default();
    let [event, ended] = [(); 2].map(|()| diary.clone());
    let namespace = root()
        .on_connect(|| async {
            sleep(Duration::from_secs(1)).await;
            Err::<(), _>(Secret)
        })
        .on("event", move || {
            event.note("event");
            async {}
        })
        .on_disconnect(move |reason: DisconnectReason| {
            ended.note(reason.to_string());
            async {}
        });
    let duo = duo("failing hook", namespace).await;
    let answer = duo.ask::<()>("event", &()).await;
    let is_closed = matches!(answer, Err(AckError::Refused(Nak::Closed) | AckError::Closed));
    until("the socket is gone", || duo.server.stats().sockets == 0).await;
    assert_eq!(diary.lines(), ["the connect hook failed"]);
    assert!(is_closed, "{answer:?}");
    let words = DisconnectReason::HookFailed.to_string();
    let by_peer = Some(DisconnectReason::DismissedByPeer(words.into()));
    let ended = || duo.socket.ended() == by_peer;
    until("the client knows", ended).await;
    assert_eq!(duo.server.stats().sessions, 1, "the session goes on");
}

async fn assert_hook_fails(name: &str, namespace: Namespace) {
    let diary = Diary::default();
    let ended = diary.clone();
    let namespace = namespace.on_disconnect(move |reason: DisconnectReason| {
        ended.note(reason.to_string());
        async {}
    });
    let server = listen(name, Config::default(), namespace).await;
    let session = connect(name, root()).await;
    until("the socket is seen off", || diary.lines().len() == 1).await;
    assert_eq!(diary.lines(), ["the connect hook failed"]);
    assert_eq!((server.stats().panics, server.stats().sockets), (1, 0));
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_is_a_hook_that_fails() {
    assert_hook_fails("falling hook", root().on_connect(|| async { fall() })).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_before_its_first_poll_is_a_hook_that_fails() {
    let namespace = root().on_connect(|| {
        fall();
        async {}
    });
    assert_hook_fails("hook that falls at once", namespace).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_takes_too_long_is_a_hook_that_fails() {
    let mut config = Config::default();
    config.hook_timeout = Duration::from_secs(2);
    let diary = Diary::default();
    let ended = diary.clone();
    let namespace = root().on_connect(std::future::pending::<()>).on_disconnect(
        move |reason: DisconnectReason| {
            ended.note(reason.to_string());
            std::future::pending::<()>()
        },
    );
    let duo = duo_with("endless hooks", config, namespace, root()).await;
    assert_eq!(diary.lines(), [""; 0]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(diary.lines(), ["the connect hook failed"]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!((duo.server.stats().cancelled, duo.server.stats().sockets), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_its_socket_is_cancelled_and_counted_before_the_last_hook() {
    let diary = Diary::default();
    let ended = diary.clone();
    let namespace = root().on("endless", std::future::pending::<()>).on_disconnect(move || {
        ended.note("disconnect");
        async {}
    });
    let Duo { server, session, socket } = duo("endless handler", namespace).await;
    socket.emit("endless", &()).await.unwrap();
    until("the handler runs", || server.stats().events_in == 1).await;
    drop(session);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((diary.lines().len(), server.stats().cancelled), (0, 0), "it has some time left");
    sleep(Config::default().disconnect_grace).await;
    assert_eq!((diary.lines().len(), server.stats().cancelled), (1, 1));
    assert_eq!((server.stats().sessions, server.stats().sockets), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_only_socket_ends_as_it_begins_waits_for_no_deadline() {
    let failing = root().on_connect(|| async { Err::<(), _>(Secret) });
    let _server = listen("ended at once", Config::default(), failing).await;
    let began = Instant::now();
    // It may have been connected for a moment, or never.
    let session = connect("ended at once", root()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{session:?} after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_own_hook_fails_is_told_so() {
    let _server = listen("failing client", Config::default(), root()).await;
    let failing = root().on_connect(|| async { Err::<(), _>(Secret) });
    let error = connect("failing client", failing).await.unwrap_err();
    let ConnectError::Ended { reason } = error else { panic!("{error:?}") };
    assert_eq!(reason, DisconnectReason::HookFailed);
}

#[tokio::test(start_paused = true)]
async fn the_hooks_of_a_client_are_the_same() {
    let diary = Diary::default();
    let [begun, served, ended] = [(); 3].map(|()| diary.clone());
    let client = root()
        .on_connect(move || {
            let diary = begun.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                diary.note("connect");
            }
        })
        .on("event", move || {
            served.note("event");
            async { 1 }
        })
        .on_disconnect(move |reason: DisconnectReason| {
            ended.note(reason.to_string());
            async {}
        });
    let server = root().on_connect(|socket: Socket| async move {
        let answer: u8 = socket.emit("event", &()).ack().await?;
        assert_eq!(answer, 1);
        Ok::<_, AckError>(())
    });
    let duo = duo_with("client hooks", Config::default(), server, client).await;
    assert_eq!(diary.lines()[0], "connect", "`connect` waits for it too");
    until("the event is there", || diary.lines().len() == 2).await;
    within(duo.session.close()).await;
    assert_eq!(diary.lines(), ["connect", "event", "closed by this side"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_meets_an_answer_is_still_a_close() {
    let (gate, diary) = (Arc::new(Notify::new()), Diary::default());
    let (waits, ended) = (Arc::clone(&gate), diary.clone());
    let client = root()
        .on("slow", move || {
            let gate = Arc::clone(&waits);
            async move {
                gate.notified().await;
                Err::<(), _>(Nak::TooLarge)
            }
        })
        .on_disconnect(move |reason: DisconnectReason| {
            ended.note(reason.to_string());
            async {}
        });
    let duo = duo_with("answered while closing", Config::default(), root(), client).await;
    duo.server.of("/").emit("slow", &()).await.unwrap();
    until("the handler runs", || duo.session.stats().events_in == 1).await;
    // The handler's turn comes before the driver's, which does not know of the close yet.
    gate.notify_one();
    within(duo.session.close()).await;
    assert_eq!(diary.lines(), ["closed by this side"]);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_disconnected_ends_alone() {
    let diary = Diary::default();
    let ended = diary.clone();
    let namespace = root()
        .on("go", |socket: Socket| async move { socket.disconnect("") })
        .on_disconnect(move |reason: DisconnectReason| {
            ended.note(reason.to_string());
            async {}
        });
    let duo = duo("disconnected", namespace).await;
    duo.get::<()>("go").await;
    until("the hook has run", || diary.lines().len() == 1).await;
    assert_eq!(diary.lines(), ["closed by this side"]);
    until("the client knows", || duo.socket.ended().is_some()).await;
    let error = duo.socket.emit("go", &()).await.unwrap_err();
    assert!(matches!(error, EmitError::Closed { .. }), "{error:?}");
    assert!(duo.session.is_connected());
}

// ---------------------------------------------------------------------------------------------
// Namespaces

#[tokio::test(start_paused = true)]
async fn whom_a_namespace_refuses_learns_what_it_is_meant_to_learn() {
    let told = root().authorize(|_| async { Err::<(), _>(Refusal::with("members only")) });
    let _server = listen("told", Config::default(), told).await;
    let error = connect("told", root()).await.unwrap_err();
    let ConnectError::Refused { namespace, payload } = error else { panic!("{error:?}") };
    assert_eq!((&*namespace, &*payload.decode::<String>().unwrap()), ("/", "members only"));

    let silent = root().authorize(|_| async { Err::<(), _>(Secret) });
    let server = listen("silent", Config::default(), silent).await;
    let error = connect("silent", root()).await.unwrap_err();
    let ConnectError::Refused { payload, .. } = error else { panic!("{error:?}") };
    assert_eq!(payload, Payload::empty(), "the reason stays on its side");
    assert_eq!(server.stats().sockets, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_authorized_is_served_by_no_hook_and_no_handler() {
    let diary = Diary::default();
    let [begun, any, ended] = [(); 3].map(|()| diary.clone());
    let namespace = Namespace::new("/no")
        .authorize(|request: ConnectRequest| async move { request.auth::<String>().map(|_| ()) })
        .on_connect(move || {
            begun.note("connect");
            async {}
        })
        .on_any(move || {
            any.note("event");
            async {}
        })
        .on_disconnect(move || {
            ended.note("disconnect");
            async {}
        });
    let server = listen("partly", Config::default(), namespace).await.mount(root()).unwrap();
    let client = Client::new(Memory::new("partly")).mount(Namespace::new("/no")).mount(root());
    let session = within(client.connect()).await.unwrap();
    let refused = session.of("/no").unwrap_err();
    assert!(matches!(refused, NamespaceError::Refused { .. }), "{refused:?}");
    assert!(session.of("/").is_ok(), "the others go on");
    let unknown = session.of("/unknown").unwrap_err();
    assert_eq!(unknown, NamespaceError::NotMounted { path: "/unknown".into() });
    server.of("/no").emit("event", &()).await.unwrap();
    within(session.close()).await;
    until("the session is gone", || server.stats().sessions == 0).await;
    assert_eq!(diary.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_authorization_that_panics_refuses_and_is_counted() {
    let namespaces = [
        root().authorize(|_| async {
            fall();
            Ok::<_, Secret>(())
        }),
        root().authorize(|_| {
            fall();
            async { Ok::<_, Secret>(()) }
        }),
    ];
    for (number, namespace) in namespaces.into_iter().enumerate() {
        let name = format!("falling authorization {number}");
        let server = listen(&name, Config::default(), namespace).await;
        let began = Instant::now();
        let error = connect(&name, root()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for a deadline");
        assert_eq!((server.stats().panics, server.stats().sockets), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_authorization_that_takes_too_long_refuses() {
    let mut config = Config::default();
    config.hook_timeout = Duration::from_secs(2);
    let namespace = root().authorize(|_| std::future::pending::<Result<(), Secret>>());
    let server = listen("endless authorization", config, namespace).await;
    let error = connect("endless authorization", root()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert_eq!(server.stats().cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn namespaces_of_one_session_keep_to_themselves() {
    let other = Namespace::new("/other").on("who", |socket: Socket| async move {
        (socket.namespace().to_owned(), socket.id().to_string())
    });
    let namespace = root().on("who", |socket: Socket| async move {
        (socket.namespace().to_owned(), socket.id().to_string())
    });
    let server = listen("two", Config::default(), namespace).await.mount(other).unwrap();
    let client = Client::new(Memory::new("two")).mount(Namespace::new("/other")).mount(root());
    let session = within(client.connect()).await.unwrap();
    let mut ids = Vec::new();
    for path in ["/", "/other"] {
        let socket = session.of(path).unwrap();
        let asked = socket.emit("who", &()).ack::<(String, String)>();
        let (namespace, id) = within(asked.into_future()).await.unwrap();
        assert_eq!((&*namespace, &id), (path, &socket.id().to_string()));
        assert_eq!(server.of(path).sockets().await.unwrap(), [socket.id()]);
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_mounted_is_refused_and_cannot_be_spoken_to() {
    let server = listen("unmounted", Config::default(), root()).await;
    let error = connect("unmounted", Namespace::new("/other")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    let error = server.of("/other").emit("x", &()).await.unwrap_err();
    assert!(matches!(error, EmitError::Room(RoomError::NotMounted { .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_registration_is_reported_when_it_is_mounted() {
    let long = "x".repeat(EVENT_NAME_BYTES_MAX + 1);
    let too_long = EVENT_NAME_BYTES_MAX + 1;
    let path = format!("/{}", &long[1..]);
    let (bytes, max) = (too_long, EVENT_NAME_BYTES_MAX);
    let too_long_name = MountError::from(ListenError::NameTooLong { bytes, max });
    let mut cases = vec![
        (Namespace::new("chat"), MountError::Path { path: "chat".into() }),
        (Namespace::new(""), MountError::Path { path: "".into() }),
        (Namespace::new(&path), MountError::PathTooLong { bytes, max }),
        (root().on(&long, || async {}), too_long_name.clone()),
        (root().once(&long, || async {}), too_long_name.clone()),
    ];
    for name in RESERVED_NAMES {
        let error = MountError::from(ListenError::Reserved { name: name.into() });
        cases.push((root().on(name, || async {}), error.clone()));
        cases.push((root().on("fine", || async {}).once(name, || async {}), error));
    }
    for (namespace, expected) in cases {
        assert_eq!(Server::new().mount(namespace.clone()).unwrap_err(), expected);
        let error = connect("nobody listens here", namespace).await.unwrap_err();
        let ConnectError::Mount { source } = error else { panic!("{error:?}") };
        assert_eq!(source.downcast_ref::<MountError>(), Some(&expected));
    }
    let server = Server::new().mount(root()).unwrap();
    let duplicate = MountError::Duplicate { path: "/".into() };
    assert_eq!(server.mount(root()).unwrap_err(), duplicate);
    let twice = Client::new(Memory::new("nobody")).mount(root()).mount(root());
    assert!(matches!(twice.connect().await, Err(ConnectError::Mount { .. })));
    let longest = format!("/{}", &long[2..]);
    assert!(Server::new().mount(Namespace::new(&longest)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_the_lifecycle_is_refused_where_it_is_emitted() {
    let duo = duo("reserved", root()).await;
    for name in RESERVED_NAMES {
        let error = duo.socket.emit(name, &()).await.unwrap_err();
        assert!(matches!(error, EmitError::Reserved { .. }), "{error:?}");
        let error = duo.socket.emit(name, &()).volatile().await.unwrap_err();
        assert!(matches!(error, EmitError::Reserved { .. }), "{error:?}");
        let error = duo.server.of("/").emit(name, &()).await.unwrap_err();
        assert!(matches!(error, EmitError::Reserved { .. }), "{error:?}");
    }
    let long = "x".repeat(EVENT_NAME_BYTES_MAX + 1);
    let error = duo.socket.emit(&long, &()).await.unwrap_err();
    assert!(matches!(error, EmitError::NameTooLong { .. }), "{error:?}");
    assert_eq!(duo.server.stats().events_in, 0);
}

// ---------------------------------------------------------------------------------------------
// Layers

/// Notes what passes, on the way in and on the way out.
#[derive(Clone)]
struct Noting<S> {
    name: &'static str,
    diary: Diary,
    inner: S,
}

impl<S> Service<Envelope> for Noting<S>
where
    S: Service<Envelope, Response = Ack>,
    S::Future: Send + 'static,
{
    type Response = Ack;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Ack, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let (name, diary) = (self.name, self.diary.clone());
        diary.note(format!("{name}: {}", envelope.event().name));
        let answer = self.inner.call(envelope);
        Box::pin(async move {
            let answer = answer.await;
            diary.note(format!("{name}: {}", if answer.is_ok() { "yes" } else { "no" }));
            answer
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_layer_is_the_outermost_and_all_see_every_event_that_has_a_listener() {
    let diary = Diary::default();
    let [outer, inner, handler] = [(); 3].map(|()| diary.clone());
    let namespace = root()
        .unhandled(Unhandled::Nak)
        .inbound(layer_fn(move |inner| Noting { name: "outer", diary: outer.clone(), inner }))
        .inbound(layer_fn(move |service| {
            let diary = inner.clone();
            Noting { name: "inner", diary, inner: service }
        }))
        .on("yes", move || {
            handler.note("handler");
            async { 1 }
        })
        .on("no", || async { Err::<u8, _>(Nak::TooLarge) });
    let duo = duo("layers", namespace).await;
    assert_eq!(duo.get::<u8>("yes").await, 1);
    let expected = ["outer: yes", "inner: yes", "handler", "inner: yes", "outer: yes"];
    assert_eq!(diary.lines(), expected);
    assert_eq!(duo.nak("no", &()).await, Nak::TooLarge, "layers pass on what a handler says");
    assert_eq!(diary.lines()[5..], ["outer: no", "inner: no", "inner: no", "outer: no"]);
    assert_eq!(duo.nak("unheard", &()).await, Nak::NoHandler);
    assert_eq!(diary.lines().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlasts_towers_timeout_is_answered_with_timeout() {
    let namespace = root()
        .inbound(TimeoutLayer::new(Duration::from_secs(2)))
        .on("slow", || sleep(Duration::from_secs(3)))
        .on("quick", || sleep(Duration::from_secs(1)))
        .on("no", || async { Err::<(), _>(Refusal::with("no")) });
    let duo = duo("tower timeout", namespace).await;
    let began = Instant::now();
    assert_eq!(duo.nak("slow", &()).await, Nak::Timeout);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    duo.get::<()>("quick").await;
    let expected = Nak::Rejected(Payload::encode("no").unwrap());
    assert_eq!(duo.nak("no", &()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_above_towers_limit_is_shed_and_answered_with_busy() {
    let gate = Arc::new(Notify::new());
    let waits = Arc::clone(&gate);
    let namespace = root().inbound(LoadShedLayer::new()).inbound(ConcurrencyLimitLayer::new(1)).on(
        "slow",
        move || {
            let gate = Arc::clone(&waits);
            async move { gate.notified().await }
        },
    );
    let first = duo("tower limit", namespace).await;
    let second = connect("tower limit", root()).await.unwrap();
    let socket = first.socket.clone();
    let slow = tokio::spawn(async move { socket.emit("slow", &()).ack::<()>().await });
    until("the first is being handled", || first.server.stats().events_in == 1).await;
    let other = second.of("/").unwrap();
    let answer = within(other.emit("slow", &()).ack::<()>().into_future()).await;
    let is_busy = matches!(answer, Err(AckError::Refused(Nak::Busy { .. })));
    assert!(is_busy, "the limit is that of the namespace: {answer:?}");
    gate.notify_one();
    within(slow).await.unwrap().unwrap();
    gate.notify_one();
    within(other.emit("slow", &()).ack::<()>().into_future()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_shedding_an_event_above_the_limit_waits_for_its_turn() {
    let namespace =
        root().inbound(ConcurrencyLimitLayer::new(1)).on("slow", || sleep(Duration::from_secs(1)));
    let first = duo("tower queue", namespace).await;
    let second = connect("tower queue", root()).await.unwrap();
    let other = second.of("/").unwrap();
    let began = Instant::now();
    let slow = first.socket.emit("slow", &()).ack::<()>().into_future();
    let slower = other.emit("slow", &()).ack::<()>().into_future();
    let (slow, slower) = within(async { tokio::join!(slow, slower) }).await;
    assert!(slow.is_ok() && slower.is_ok(), "{slow:?} {slower:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Answers by itself, with an error of its own kind.
#[derive(Clone)]
struct Guard<S>(S);

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct NotANak;

impl<S: Service<Envelope>> Service<Envelope> for Guard<S> {
    type Response = Ack;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = std::future::Ready<Result<Ack, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        std::future::ready(match &*envelope.event().name {
            "nak" => Err(Nak::Closed.into()),
            "error" => Err(NotANak.into()),
            "panic" => {
                fall();
                Ok(Ack::empty())
            }
            _ => Ok(Ack::new(Payload::encode("from the layer").unwrap_or_default())),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_answer_by_itself_and_its_error_is_the_nak() {
    let namespace = ["nak", "error", "panic", "other"]
        .into_iter()
        .fold(root().inbound(layer_fn(Guard)), |namespace, name| {
            namespace.on(name, || async { "from the handler" })
        });
    let duo = duo("guard", namespace).await;
    assert_eq!(duo.nak("nak", &()).await, Nak::Closed);
    assert_eq!(duo.nak("error", &()).await, Nak::Failed);
    assert_eq!(duo.nak("panic", &()).await, Nak::Failed);
    assert_eq!(duo.get::<String>("other").await, "from the layer");
    assert_eq!(duo.server.stats().panics, 1);
}
