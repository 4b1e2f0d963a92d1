//! Where the promises end: what may be doubled, and what is given up and told.

use crate::books::Effects;
use crate::support::{becomes, endpoint, fresh_mem, within};
use emitwire::middleware::{
    Buffer, BufferError, Dedup, Delivery, Next, Overflow, RequireAck, Retry, from_fn,
};
use emitwire::{
    AckError, Chaos, Client, Config, Data, Direction, DisconnectReason, EmitError, Endpoint,
    Envelope, Layers, Nak, Namespace, Server, Session, Socket,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Both ends in memory, with the time of the test.
struct Stage {
    server: Server,
    session: Session,
    socket: Socket,
    wire: Chaos<Endpoint>,
    effects: Effects,
    /// Handlers do not answer before it is opened.
    gate: Arc<Notify>,
    is_open: Arc<AtomicBool>,
}

impl Stage {
    async fn new(near: Layers, far: Layers) -> Self {
        let mut config = Config::default();
        config.resume_window = Duration::from_secs(3);
        config.handler_timeout = Duration::from_secs(600);
        config.disconnect_grace = Duration::from_millis(100);
        let (effects, gate) = (Effects::default(), Arc::new(Notify::new()));
        let is_open = Arc::new(AtomicBool::new(true));
        let (done, open, waits) = (effects.clone(), Arc::clone(&is_open), Arc::clone(&gate));
        let namespace = Namespace::new("/").on("order", move |Data(number): Data<u64>| {
            done.have(number);
            let (open, gate) = (Arc::clone(&open), Arc::clone(&waits));
            async move {
                if !open.load(Ordering::Acquire) {
                    gate.notified().await;
                }
                number
            }
        });
        let server = Server::with_config(config.clone()).layers(far).mount(namespace).unwrap();
        let url = fresh_mem();
        within(server.listen(endpoint(&url))).await.unwrap();
        let wire = Chaos::new(endpoint(&url), 7);
        let client = Client::new(wire.clone()).config(config).layers(near);
        let session = within(client.mount(Namespace::new("/")).connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        Self { server, session, socket, wire, effects, gate, is_open }
    }

    /// The session ends, and there is another.
    async fn end_session(&self) {
        self.wire.sever();
        self.wire.cut(Direction::Both);
        becomes(|| self.server.stats().sessions, 0).await;
        self.wire.heal(Direction::Both);
        becomes(|| self.session.of("/").is_ok(), true).await;
    }

    /// An order that waits for its answer, which is held back: its effect is there.
    async fn held_order(&self, number: u64) -> tokio::task::JoinHandle<Result<u64, AckError>> {
        self.is_open.store(false, Ordering::Release);
        let socket = self.socket.clone();
        let patience = Duration::from_secs(60);
        let waiting =
            tokio::spawn(
                async move { socket.emit("order", &number).ack().timeout(patience).await },
            );
        becomes(|| self.effects.of(number), 1).await;
        waiting
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        self.gate.notify_waiters();
    }
}

fn acked() -> Layers {
    Layers::new().and(Buffer::new()).and(RequireAck::handled(Duration::from_secs(60)))
}

#[tokio::test(start_paused = true)]
async fn what_was_in_a_handler_when_its_session_ended_is_handled_twice_without_dedup() {
    let stage = Stage::new(acked(), Layers::new()).await;
    let waiting = stage.held_order(1).await;
    stage.end_session().await;
    becomes(|| stage.effects.of(1), 2).await;
    stage.open();
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_dedup_it_is_handled_once_and_the_next_session_gets_the_answer_of_the_one_before() {
    let stage = Stage::new(acked(), Dedup::new().into()).await;
    let waiting = stage.held_order(1).await;
    stage.end_session().await;
    becomes(|| stage.server.stats().events_in, 2).await;
    stage.open();
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
    assert_eq!(stage.effects.of(1), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_behind_the_horizon_is_handled_again() {
    let dedup = Dedup::new().horizon(Duration::from_secs(1));
    let stage = Stage::new(acked(), dedup.clone().into()).await;
    let waiting = stage.held_order(1).await;
    // Its answer is given, and lost with its session.
    stage.wire.cut(Direction::Both);
    stage.open();
    becomes(|| dedup.stats().entries, 0).await;
    stage.end_session().await;
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
    assert_eq!(stage.effects.of(1), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_peer_that_does_not_come_back_is_given_up_and_told() {
    let buffer = Buffer::new().ttl(Duration::from_secs(30));
    let stage = Stage::new(buffer.clone().into(), Layers::new()).await;
    stage.wire.sever();
    stage.wire.cut(Direction::Both);
    becomes(|| stage.server.stats().sessions, 0).await;
    let waiting = tokio::time::timeout(
        Duration::from_secs(60),
        stage.socket.emit("order", &1_u64).ack::<u64>(),
    );
    let AckError::Emit(EmitError::Layer { source }) = waiting.await.unwrap().unwrap_err() else {
        panic!("somebody else has answered")
    };
    let after = Duration::from_secs(30);
    assert_eq!(source.downcast_ref(), Some(&BufferError::Expired { after }));
    assert_eq!((stage.effects.of(1), buffer.stats().events), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_emit_that_has_a_deadline_keeps_it_whatever_the_layers_wait_for() {
    let layers = Delivery::at_least_once(Duration::from_secs(60)).into();
    let stage = Stage::new(layers, Layers::new()).await;
    stage.wire.sever();
    stage.wire.cut(Direction::Both);
    becomes(|| stage.server.stats().sessions, 0).await;
    let began = tokio::time::Instant::now();
    let patience = Duration::from_secs(7);
    let result = stage.socket.emit("order", &1_u64).ack::<u64>().timeout(patience).await;
    assert!(matches!(result, Err(AckError::Timeout { .. })), "{result:?}");
    assert_eq!(began.elapsed(), patience);
}

#[tokio::test(start_paused = true)]
async fn without_a_buffer_an_event_ends_with_its_session_and_is_told_so() {
    let layers = Layers::new().and(Retry::new()).and(RequireAck::handled(Duration::from_secs(60)));
    let stage = Stage::new(layers, Dedup::new().into()).await;
    let waiting = stage.held_order(1).await;
    stage.end_session().await;
    let told = within(waiting).await.unwrap();
    assert!(matches!(told, Err(AckError::Closed)), "{told:?}");
    let result = stage.socket.emit("order", &2_u64).await;
    let Err(EmitError::Closed { reason }) = result else { panic!("{result:?}") };
    assert!(!matches!(reason, DisconnectReason::Closed), "{reason}");
    assert_eq!((stage.effects.of(1), stage.effects.of(2)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_keeps_events_for_a_peer_that_it_knows_again() {
    let heard = Effects::default();
    let peers =
        Buffer::new().for_peers(|socket| Some(socket.data::<String>()?.as_bytes().to_vec()));
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(3);
    let namespace = Namespace::new("/").layers(peers.clone()).authorize(|request| async move {
        request.set_data(request.auth::<String>()?);
        Ok::<_, emitwire::Refusal>(())
    });
    let server = Server::with_config(config).mount(namespace).unwrap();
    let url = fresh_mem();
    within(server.listen(endpoint(&url))).await.unwrap();
    let connect = |name: &'static str, heard: Effects| {
        let namespace = Namespace::new("/").on("news", move |Data(number): Data<u64>| {
            heard.have(number);
            async {}
        });
        let client = Client::new(endpoint(&url)).auth(name).reconnect(false).mount(namespace);
        async move { within(client.connect()).await.unwrap() }
    };
    let (ada, bob) = (connect("ada", heard.clone()).await, connect("bob", heard.clone()).await);
    let socket = server.socket("/", ada.of("/").unwrap().id()).unwrap();
    let bobs = server.socket("/", bob.of("/").unwrap().id()).unwrap();
    socket.emit("news", &1_u64).await.unwrap();
    becomes(|| heard.of(1), 1).await;
    within(ada.close()).await;
    for number in 2..5_u64 {
        socket.emit("news", &number).await.unwrap();
    }
    bobs.emit("news", &9_u64).await.unwrap();
    becomes(|| (heard.of(9), peers.stats().events), (1, 3)).await;
    let ada = connect("ada", heard.clone()).await;
    becomes(|| (2..5).map(|number| heard.of(number)).collect(), vec![1, 1, 1]).await;
    assert_eq!(peers.stats().events, 0);
    within(ada.close()).await;
    within(bob.close()).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_waited_for_again_is_seen_when_it_comes_whatever_the_delays_are() {
    let delays = Duration::from_secs(50);
    for delays in [delays, Duration::ZERO, Duration::MAX] {
        let retry = Retry::new().backoff(delays, delays);
        let attempt = RequireAck::handled(Duration::from_secs(1));
        let stage = Stage::new(Layers::new().and(retry).and(attempt), Layers::new()).await;
        let waiting = stage.held_order(1).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        stage.open();
        let began = tokio::time::Instant::now();
        assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(stage.effects.of(1), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_were_given_the_same_layers_keep_their_events_apart() {
    let layers = Layers::from(Buffer::new());
    let one = Stage::new(layers.clone(), Layers::new()).await;
    let other = Stage::new(layers, Layers::new()).await;
    within(one.session.close()).await;
    becomes(|| one.socket.ended().is_some(), true).await;
    one.socket.emit("order", &1_u64).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(other.effects.of(1), 0, "it was for another server");
}

#[tokio::test(start_paused = true)]
async fn both_ends_may_have_been_given_the_same_layers() {
    let layers = Layers::from(Buffer::new());
    let stage = Stage::new(layers.clone(), layers).await;
    let served = stage.server.socket("/", stage.socket.id()).unwrap();
    within(stage.session.close()).await;
    becomes(|| served.ended().is_some(), true).await;
    // The buffer of a server that does not know who is who keeps nothing.
    let result = served.emit("order", &1_u64).await;
    assert!(matches!(result, Err(EmitError::Closed { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_when_its_emit_is_over_is_told() {
    let undelivered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&undelivered);
    let buffer = Buffer::new().on_undelivered(move |undelivered| {
        told.lock()
            .unwrap()
            .push((undelivered.event.name.to_string(), undelivered.error.to_string()));
    });
    let layers = Layers::new().and(buffer).and(RequireAck::handled(Duration::from_secs(5)));
    let stage = Stage::new(layers, Layers::new()).await;
    stage.socket.emit("order", &"no number").await.unwrap();
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(undelivered.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_what_has_made_way_nothing_is_kept_also_when_the_peer_never_answers() {
    let under_way = Arc::new(());
    let count = Arc::clone(&under_way);
    let counted = from_fn(move |envelope, next: Next| {
        let one = Arc::clone(&count);
        async move {
            let answer = next.run(envelope).await;
            drop(one);
            answer
        }
    });
    let buffer = Buffer::new().events_max(2).overflow(Overflow::DropOldest);
    let layers = Layers::new().and(buffer.clone()).outbound(counted);
    let layers = layers.and(RequireAck::handled(Duration::from_secs(60)));
    let stage = Stage::new(layers, Layers::new()).await;
    let before = Arc::strong_count(&under_way);
    stage.is_open.store(false, Ordering::Release);
    for number in 0..10_u64 {
        stage.socket.emit("order", &number).await.unwrap();
        becomes(|| stage.session.stats().events_out, number + 1).await;
    }
    becomes(|| Arc::strong_count(&under_way) - before, 2).await;
    assert_eq!((buffer.stats().events, buffer.stats().undelivered), (2, 8));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_had_in_its_handlers_is_sent_again_to_the_process_that_takes_its_place() {
    let retry = Retry::new().within(Duration::from_secs(600));
    let attempt = RequireAck::handled(Duration::from_secs(60));
    let layers = Layers::new().and(retry.clone()).and(attempt);
    let server = Server::new().layers(layers).mount(Namespace::new("/")).unwrap();
    let url = fresh_mem();
    within(server.listen(endpoint(&url))).await.unwrap();
    let token = Arc::new(std::sync::Mutex::new(None));
    let newest = Arc::clone(&token);
    let stuck = Namespace::new("/").on("ask", std::future::pending::<()>);
    let first = Client::new(endpoint(&url)).mount(stuck);
    let first = first.on_resume_token(move |token| *newest.lock().unwrap() = Some(token.clone()));
    let first = within(first.connect()).await.unwrap();
    let patience = Duration::from_secs(600);
    let served = server.socket("/", first.of("/").unwrap().id()).unwrap();
    let ask = async move { served.emit("ask", &()).ack::<u8>().timeout(patience).await };
    let asked = tokio::spawn(ask);
    becomes(|| first.stats().events_in, 1).await;
    // Long enough for its peer to know that it has come.
    tokio::time::sleep(Duration::from_secs(55)).await;
    let token = token.lock().unwrap().take().unwrap();
    let answers = Namespace::new("/").on("ask", || async { 7_u8 });
    let second = Client::new(endpoint(&url)).mount(answers).resume_with(token);
    let second = within(second.connect()).await.unwrap();
    assert_eq!(second.outcome(), emitwire::Outcome::Resumed);
    assert_eq!(within(asked).await.unwrap().unwrap(), 7);
    assert_eq!(retry.stats().repeated, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_emitted_in_a_runtime_that_has_ended_is_kept_all_the_same() {
    let stage = Stage::new(Buffer::new().into(), Layers::new()).await;
    stage.wire.sever();
    stage.wire.cut(Direction::Both);
    becomes(|| stage.server.stats().sessions, 0).await;
    let socket = stage.socket.clone();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { socket.emit("order", &1_u64).await }).unwrap();
    });
    elsewhere.join().unwrap();
    stage.wire.heal(Direction::Both);
    becomes(|| stage.effects.of(1), 1).await;
}

#[test]
fn what_is_kept_when_nobody_is_left_to_send_it_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let undelivered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&undelivered);
    let buffer = Buffer::new().on_undelivered(move |undelivered| {
        told.lock().unwrap().push(undelivered.event.name.to_string())
    });
    runtime.block_on(async {
        let stage = Stage::new(buffer.into(), Layers::new()).await;
        within(stage.session.close()).await;
        stage.socket.emit("order", &1_u64).await.unwrap();
    });
    drop(runtime);
    assert_eq!(*undelivered.lock().unwrap(), ["order"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_session_took_with_it_goes_out_in_order_whenever_that_was_known() {
    let calls = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let slow_to_fail = from_fn(move |envelope: Envelope, next: Next| {
        let number = envelope.event().payload.decode::<u64>().unwrap();
        seen.lock().unwrap().push(number);
        async move {
            let result = next.run(envelope).await;
            if result.is_err() && number == 1 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            result
        }
    });
    let layers = Layers::new().and(Buffer::new()).outbound(slow_to_fail);
    let stage = Stage::new(layers, Layers::new()).await;
    stage.wire.cut(Direction::Both);
    for number in 1..4_u64 {
        stage.socket.emit("order", &number).await.unwrap();
    }
    becomes(|| calls.lock().unwrap().len(), 3).await;
    stage.end_session().await;
    let old = stage.socket.id();
    becomes(|| stage.session.of("/").is_ok_and(|socket| socket.id() != old), true).await;
    stage.session.of("/").unwrap().emit("order", &4_u64).await.unwrap();
    becomes(|| stage.effects.of(4), 1).await;
    assert_eq!(calls.lock().unwrap()[3..], [1, 2, 3, 4]);
}

#[test]
fn a_runtime_that_ends_leaves_nothing_behind() {
    let kept = Arc::new(());
    let inside = Arc::clone(&kept);
    let buffer = Buffer::new()
        .for_peers(|_| Some(b"everybody".to_vec()))
        .on_undelivered(move |_| drop(Arc::clone(&inside)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(async {
        let stage = Stage::new(buffer.clone().into(), buffer.into()).await;
        stage.socket.emit("order", &1_u64).await.unwrap();
        becomes(|| stage.effects.of(1), 1).await;
        stage
    });
    drop(runtime);
    drop(stage);
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_an_emit_is_not_that_of_its_event_when_that_is_kept() {
    let buffer = Buffer::new();
    let retry = Retry::new();
    let layers = Layers::new().and(buffer.clone()).and(retry.clone());
    let layers = layers.and(RequireAck::handled(Duration::from_secs(10)));
    let stage = Stage::new(layers, Layers::new()).await;
    stage.is_open.store(false, Ordering::Release);
    stage.wire.sever();
    stage.wire.cut(Direction::Both);
    becomes(|| stage.server.stats().sessions, 0).await;
    let patience = Duration::from_secs(1);
    let result = stage.socket.emit("order", &1_u64).ack::<u64>().timeout(patience).await;
    assert!(matches!(result, Err(AckError::Timeout { .. })), "{result:?}");
    stage.wire.heal(Direction::Both);
    becomes(|| stage.effects.of(1), 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.open();
    becomes(|| buffer.stats().events, 0).await;
    assert_eq!((retry.stats().late, stage.effects.of(1)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_for_longer_than_the_peer_remembers() {
    let far = Layers::from(Dedup::new().horizon(Duration::from_secs(3)));
    let fails = Namespace::new("/").on("order", || async { Err::<(), _>(Nak::Failed) });
    let server = Server::new().layers(far).mount(fails).unwrap();
    let url = fresh_mem();
    within(server.listen(endpoint(&url))).await.unwrap();
    let few = Duration::from_millis(500);
    let retry = Retry::new().attempts(1000).budget(1000.0).backoff(few, few);
    let near = Layers::new().and(retry.clone()).and(RequireAck::handled(Duration::from_secs(1)));
    let client = Client::new(endpoint(&url)).layers(near).mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    let began = tokio::time::Instant::now();
    let result = session.of("/").unwrap().emit("order", &()).await;
    assert!(matches!(result, Err(EmitError::Unanswered { .. })), "{result:?}");
    let stats = retry.stats();
    assert_eq!((stats.late, stats.clamped), (1, 1));
    assert!(began.elapsed() <= Duration::from_secs(3) && stats.repeated > 3, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_no_answer_to_a_broadcast_is_named_also_when_a_layer_takes_its_time() {
    let slow = from_fn(|envelope: Envelope, next: Next| async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        next.run(envelope).await
    });
    let layers = Layers::new().and(RequireAck::handled(Duration::from_secs(2))).outbound(slow);
    let server = Server::new().layers(layers).mount(Namespace::new("/")).unwrap();
    let url = fresh_mem();
    within(server.listen(endpoint(&url))).await.unwrap();
    let stuck = Namespace::new("/").on("ask", std::future::pending::<()>);
    let session = within(Client::new(endpoint(&url)).mount(stuck).connect()).await.unwrap();
    let member = session.of("/").unwrap().id();
    let result = server.of("/").emit("ask", &()).await;
    let Err(EmitError::Unanswered { source }) = result else { panic!("{result:?}") };
    let AckError::Missing { members, .. } = *source else { panic!("{source:?}") };
    assert_eq!(*members, [member]);
}

#[tokio::test(start_paused = true)]
async fn of_newest_values_the_last_arrives_on_the_next_session_and_nobody_misses_the_others() {
    let undelivered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&undelivered);
    let buffer = Buffer::new();
    let buffer = buffer.on_undelivered(move |it| told.lock().unwrap().push(it.error.to_string()));
    let stage = Stage::new(buffer.clone().into(), Layers::new()).await;
    stage.wire.sever();
    stage.wire.cut(Direction::Both);
    becomes(|| stage.server.stats().sessions, 0).await;
    for number in 0..20_u64 {
        stage.socket.emit("order", &number).latest("price").await.unwrap();
    }
    stage.socket.emit("order", &20_u64).await.unwrap();
    becomes(|| buffer.stats().events, 2).await;
    stage.wire.heal(Direction::Both);
    becomes(|| (stage.effects.of(19), stage.effects.of(20)), (1, 1)).await;
    becomes(|| buffer.stats().events, 0).await;
    assert_eq!(*undelivered.lock().unwrap(), [""; 0]);
    assert_eq!((0..20).map(|number| stage.effects.of(number)).sum::<u32>(), 1);
}
