//! Layers around connecting, and how long a client waits before it tries again.

use super::*;
use emitwire::transport::{Connection, Listener};
use emitwire::{BindError, BoxError, Chaos, Connect, Memory, Reconnect, Session, Transport};
use std::sync::atomic::{AtomicBool, AtomicU32};
use tokio::time::{Instant, sleep};
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::TimeoutLayer;
use tower::util::{BoxCloneSyncService, MapRequestLayer};
use tower::{Layer, ServiceExt, service_fn};

type Connected = Box<dyn Connection>;

/// A link that lives this long is a good one, and one of `SHORT` is not.
const LONG: Duration = Duration::from_secs(6);
const SHORT: Duration = Duration::from_secs(1);

/// Nobody listens, or nobody answers.
struct Nobody {
    answers: bool,
}

#[emitwire::async_trait]
impl Transport for Nobody {
    fn endpoint(&self) -> String {
        "mem://nobody".into()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        unreachable!("nobody listens")
    }

    async fn connect(&self) -> Result<Connected, ConnectError> {
        if !self.answers {
            pending::<()>().await;
        }
        let source = std::io::ErrorKind::ConnectionRefused.into();
        Err(ConnectError::Unreachable { endpoint: self.endpoint(), source })
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("connector-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A server in memory, and its name.
async fn serve(config: Config) -> (Server, String) {
    let server = Server::with_config(config).mount(Namespace::new("/")).unwrap();
    let name = fresh_name();
    within(server.listen(Memory::new(&*name))).await.unwrap();
    (server, name)
}

/// A wire that can be severed, and a switch that sends attempts to `Nobody`.
#[derive(Clone)]
struct Line {
    wire: Chaos<Memory>,
    away: Arc<AtomicBool>,
    /// The number of each attempt.
    attempts: Notes,
}

impl Line {
    fn to(name: &str) -> Self {
        let (away, attempts) = (Arc::default(), Notes::default());
        Self { wire: Chaos::new(Memory::new(name), 7), away, attempts }
    }

    /// A client whose attempts are noted; without an answer while it is cut off, or refused.
    fn client(&self, answers: bool) -> Client {
        let line = self.clone();
        let count = move |connect: Connect| {
            line.attempts.add(connect.attempt.to_string());
            match line.away.load(Ordering::Relaxed) {
                true => connect.with_transport(Arc::new(Nobody { answers })),
                false => connect,
            }
        };
        Client::new(self.wire.clone()).connector(MapRequestLayer::new(count))
    }

    /// Loses the link; no other is to be had.
    fn cut(&self) {
        self.away.store(true, Ordering::Relaxed);
        self.wire.sever();
    }

    fn heal(&self) {
        self.away.store(false, Ordering::Relaxed);
    }
}

/// Waits until the client has lost its link and has it again.
async fn lost_and_found(line: &Line, session: &Session, attempts: usize) {
    line.cut();
    until(|| line.attempts.0.lock().unwrap().len() >= attempts).await;
    assert!(!session.is_attached());
    line.heal();
    until(|| session.is_attached()).await;
}

/// The attempts that were noted, whose numbers begin so and grow.
#[track_caller]
fn grow_from(first: u32, line: &Line) -> u32 {
    let noted: Vec<u32> = line.attempts.take().iter().map(|note| note.parse().unwrap()).collect();
    let after = first + noted.len() as u32;
    assert_eq!(noted, (first..after).collect::<Vec<_>>());
    after
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_each_attempt_in_a_row_that_begins_again_after_a_good_link() {
    let (_server, name) = serve(Config::default()).await;
    let line = Line::to(&name);
    let session = within(line.client(true).mount(Namespace::new("/")).connect()).await.unwrap();
    assert_eq!(line.attempts.take(), ["0"]);
    lost_and_found(&line, &session, 5).await;
    let next = grow_from(1, &line);
    assert!(next > 5);

    sleep(SHORT).await;
    lost_and_found(&line, &session, 3).await;
    grow_from(next, &line);

    sleep(LONG).await;
    lost_and_found(&line, &session, 3).await;
    grow_from(1, &line);
    within(session.move_to(Memory::new(&*name))).await.unwrap();
    assert_eq!(line.attempts.take(), ["0"], "a move is made at once");
}

#[tokio::test(start_paused = true)]
async fn a_row_begins_again_for_a_new_session_and_says_what_the_server_told_to_wait() {
    let mut config = Config::default();
    config.drain_spread = Duration::from_secs(4);
    let (server, name) = serve(config).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let note = MapRequestLayer::new(move |connect: Connect| {
        tell.lock().unwrap().push((connect.attempt, connect.wait_at_least));
        connect
    });
    let client = Client::new(Memory::new(&*name)).mount(Namespace::new("/")).connector(note);
    let session = within(client.connect()).await.unwrap();
    within(server.run_until(async {})).await;
    let drained = Instant::now();
    until(|| told.lock().unwrap().len() > 2).await;
    let told = told.lock().unwrap().clone();
    let waited = told[1].1;
    assert_eq!(told.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(waited > Duration::ZERO && waited <= Duration::from_secs(4), "{told:?}");
    assert!(drained.elapsed() >= waited, "{:?} {told:?}", drained.elapsed());
    assert_eq!(told[2].1, Duration::ZERO, "it is told once");
    within(session.close()).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_bounds_each_attempt_on_a_wire_that_never_answers() {
    let patience = Duration::from_millis(300);
    let timeout = || TimeoutLayer::new(patience);
    let began = Instant::now();
    let client = Client::new(Nobody { answers: false }).connector(timeout());
    let Err(ConnectError::Timeout { after }) = within(client.connect()).await else { panic!() };
    assert_eq!(began.elapsed().as_millis() / 10, 30);
    assert!(after >= patience && after < patience * 2, "{after:?}");

    let (_server, name) = serve(Config::default()).await;
    let (line, errors) = (Line::to(&name), Notes::default());
    let told = errors.clone();
    let tells = Namespace::new("/").on_connect_error(move |error: &ConnectError| {
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
        told.add("late");
    });
    let client = line.client(false).connector(timeout()).mount(tells);
    let session = within(client.connect()).await.unwrap();
    line.cut();
    sleep(Config::default().connect_timeout / 2).await;
    // A ceiling of a second for each, and the timeout.
    assert!(errors.take().len() >= 3);
    line.heal();
    until(|| session.is_attached()).await;
}

#[tokio::test(start_paused = true)]
async fn neither_a_timeout_layer_nor_connect_timeout_bounds_the_waiting() {
    let (_server, name) = serve(Config::default()).await;
    let line = Line::to(&name);
    let mut config = Config::default();
    config.connect_timeout = Duration::from_millis(20);
    let slow = Reconnect::new().first_delay(SHORT * 9).early_delay_max(SHORT * 9, LONG).seed(7);
    let client = line.client(true).reconnect_with(slow).config(config).mount(Namespace::new("/"));
    let client = client.connector(TimeoutLayer::new(Duration::from_millis(10)));
    let session = within(client.connect()).await.unwrap();
    let lost = Instant::now();
    line.wire.sever();
    until(|| !session.is_attached()).await;
    until(|| session.is_attached()).await;
    assert!(lost.elapsed() > SHORT, "{:?}", lost.elapsed());
    assert_eq!(line.attempts.take(), ["0", "1"], "the first attempt succeeded");
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_bounds_an_attempt_to_come_back() {
    let (_server, name) = serve(Config::default()).await;
    let (line, errors) = (Line::to(&name), Notes::default());
    let mut config = Config::default();
    config.connect_timeout = SHORT;
    let told = errors.clone();
    let tells = Namespace::new("/").on_connect_error(move |error: &ConnectError| {
        assert!(matches!(error, ConnectError::Timeout { after: SHORT }), "{error:?}");
        told.add("late");
    });
    let session = within(line.client(false).config(config).mount(tells).connect()).await.unwrap();
    line.cut();
    sleep(Duration::from_secs(10)).await;
    assert!(!session.is_attached());
    assert!((4..=10).contains(&errors.take().len()));
}

#[tokio::test(start_paused = true)]
async fn stock_limits_around_connecting_are_shared_by_clients_and_held_by_none_that_waits() {
    let (_server, name) = serve(Config::default()).await;
    let one = GlobalConcurrencyLimitLayer::new(1);
    let client = |transport: Line, answers| {
        let client = transport.client(answers).connector(LoadShedLayer::new());
        client.connector(one.clone()).mount(Namespace::new("/"))
    };
    let first = Line::to(&name);
    let hour = Reconnect::new().first_delay(SHORT * 3600).early_delay_max(SHORT * 3600, LONG);
    let waits = client(first.clone(), true).reconnect_with(hour.seed(7));
    let waits = within(waits.connect()).await.unwrap();
    first.cut();
    until(|| !waits.is_attached()).await;

    // It waits, and somebody else may connect meanwhile.
    within(client(Line::to(&name), true).connect()).await.unwrap().close().await;

    let stuck = Line::to(&name);
    stuck.away.store(true, Ordering::Relaxed);
    let stuck = tokio::spawn(client(stuck, false).connect());
    tokio::task::yield_now().await;
    let Err(ConnectError::Layer { source }) = within(client(Line::to(&name), true).connect()).await
    else {
        panic!()
    };
    assert!(source.is::<Overloaded>(), "{source:?}");
    stuck.abort();
    assert!(stuck.await.unwrap_err().is_cancelled());
    within(client(Line::to(&name), true).connect()).await.unwrap().close().await;

    let own = Client::new(Memory::new(&*name)).connector(ConcurrencyLimitLayer::new(1));
    within(own.mount(Namespace::new("/")).connect()).await.unwrap().close().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_swaps_the_transport_makes_the_client_come_up_elsewhere() {
    let (here, near) = serve(Config::default()).await;
    let (there, far) = serve(Config::default()).await;
    let outer = Notes::default();
    let noted = outer.clone();
    let swap = move |connect: Connect| connect.with_transport(Arc::new(Memory::new(&*far)));
    let client = Client::new(Memory::new(&*near))
        .connector(MapRequestLayer::new(move |connect: Connect| {
            noted.add(connect.transport().endpoint());
            connect
        }))
        .connector(MapRequestLayer::new(swap))
        .mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    assert_eq!((here.stats().sessions, there.stats().sessions), (0, 1));
    assert_eq!(outer.take(), [format!("mem://{near}")], "the first layer added is the outermost");
    within(session.close()).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_refuses_is_told_as_such_and_asked_again_no_more_often_than_any_wire() {
    let (_server, name) = serve(Config::default()).await;
    let (asked, shut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (counts, closed) = (Arc::clone(&asked), Arc::clone(&shut));
    type Inner = BoxCloneSyncService<Connect, Connected, BoxError>;
    let guard = tower::layer::layer_fn(move |inner: Inner| {
        let (counts, closed) = (Arc::clone(&counts), Arc::clone(&closed));
        service_fn(move |connect: Connect| {
            let before = counts.fetch_add(1, Ordering::Relaxed);
            assert!(before < 100_000, "a busy loop, in which the clock would stand still");
            let (inner, closed) = (inner.clone(), closed.load(Ordering::Relaxed));
            async move {
                match closed {
                    true => Err("not today".into()),
                    false => inner.oneshot(connect).await,
                }
            }
        })
    });
    let wire = Chaos::new(Memory::new(&*name), 7);
    let client = || Client::new(wire.clone()).connector(guard.clone()).mount(Namespace::new("/"));
    let Err(ConnectError::Layer { source }) = within(client().connect()).await else { panic!() };
    assert_eq!(source.to_string(), "not today");

    let hasty = Reconnect::new().first_delay(Duration::ZERO).delay_max(Duration::ZERO);
    let hasty = hasty.early_delay_max(Duration::ZERO, SHORT * 100);
    for (policy, at_most) in [(Reconnect::new(), 100), (hasty, 10_000)] {
        shut.store(false, Ordering::Relaxed);
        let session = within(client().reconnect_with(policy.seed(7)).connect()).await.unwrap();
        shut.store(true, Ordering::Relaxed);
        asked.store(0, Ordering::Relaxed);
        wire.sever();
        sleep(Duration::from_secs(20)).await;
        let asked = asked.load(Ordering::Relaxed);
        assert!((10..at_most).contains(&asked), "{asked} times");
        // A close ends the waiting, however long that is.
        let closing = Instant::now();
        within(session.close()).await;
        assert!(closing.elapsed() < SHORT);
    }
}

/// What the attempts of a policy had waited, each alone.
async fn waited(policy: &Reconnect, attempt: u32, since_loss: Duration, told: Duration) -> f64 {
    let service = policy.layer(service_fn(|_: Connect| ready(Ok::<_, BoxError>(Instant::now()))));
    let mut connect = Connect::new(Arc::new(Memory::new("anywhere")));
    (connect.attempt, connect.since_loss, connect.wait_at_least) = (attempt, since_loss, told);
    let began = Instant::now();
    (service.oneshot(connect).await.unwrap() - began).as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn delays_are_spread_below_ceilings_that_double_and_above_what_was_told() {
    let (zero, told) = (Duration::ZERO, Duration::from_secs(3));
    let long_ago = Duration::from_secs(10);
    // A timer may be a millisecond late.
    let late = 0.002;
    let policy = Reconnect::new().seed(7);
    assert!(waited(&policy, 0, zero, zero).await < late);
    for (attempt, since_loss, ceiling) in [
        (1, zero, 0.1),
        (2, zero, 0.2),
        (3, zero, 0.4),
        (4, zero, 0.8),
        (5, zero, 1.0),
        (90, zero, 1.0),
        (5, long_ago, 1.6),
        (90, long_ago, 20.0),
    ] {
        let (mut short, mut long) = (0, 0);
        for _ in 0..100 {
            let delay = waited(&policy, attempt, since_loss, zero).await;
            assert!(delay < ceiling + late, "{delay} before attempt {attempt}");
            short += u32::from(delay < ceiling / 2.0);
            long += u32::from(delay > ceiling / 2.0);
        }
        assert!(short > 25 && long > 25, "{short} short ones, {long} long ones");
        let delay = waited(&policy, attempt, since_loss, told).await;
        assert!((3.0..3.0 + ceiling + late).contains(&delay), "{delay} before attempt {attempt}");
    }
    let mut rows = Vec::new();
    for seed in [1, 1, 2] {
        let policy = Reconnect::new().seed(seed).first_delay(SHORT).early_delay_max(LONG, LONG);
        let mut row = Vec::new();
        for attempt in 1..6 {
            row.push((waited(&policy, attempt, zero, zero).await * 1000.0).round() as u64);
        }
        rows.push(row);
    }
    assert!(rows[0] == rows[1] && rows[1] != rows[2], "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn after_as_many_attempts_as_it_may_make_a_client_stays_away_and_says_so() {
    // For the lost link, and for a new session when the old one is given up.
    for window in [Duration::from_secs(30), Duration::from_millis(5)] {
        let mut config = Config::default();
        config.resume_window = window;
        let (_server, name) = serve(config.clone()).await;
        let (line, errors, ends) = (Line::to(&name), Notes::default(), Notes::default());
        let (told, ended) = (errors.clone(), ends.clone());
        let last = Arc::new(AtomicU32::new(0));
        let exhausted = Arc::clone(&last);
        let namespace = Namespace::new("/")
            .on_connect_error(move |error: &ConnectError| {
                told.add(error.to_string());
                if let ConnectError::AttemptsExhausted { attempts } = error {
                    exhausted.store(*attempts, Ordering::Relaxed);
                }
            })
            .on_disconnect(move |reason: DisconnectReason| {
                ended.add(reason.to_string());
                ready(())
            });
        let policy = Reconnect::new().attempts_max(3).seed(7);
        let client = line.client(true).reconnect_with(policy).config(config).mount(namespace);
        let session = within(client.connect()).await.unwrap();
        line.cut();
        let reason = within(session.ended()).await;
        assert_eq!(reason, DisconnectReason::AttemptsExhausted { attempts: 3 });
        assert_eq!(last.load(Ordering::Relaxed), 3);
        let (mut told, ends) = (errors.take(), ends.take());
        let words = "3 attempts in a row were in vain, and no more are made";
        assert_eq!(told.pop().unwrap(), words);
        assert!(told.iter().all(|told| told == "cannot reach mem://nobody"), "{told:?}");
        assert!(told.len() >= 3, "{told:?}");
        assert_eq!(ends.len(), 1, "{ends:?}");
        line.heal();
        sleep(LONG).await;
        assert!(!session.is_connected());
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_window_ends_the_waiting_and_not_an_attempt() {
    let window = Duration::from_secs(2);
    let mut config = Config::default();
    config.resume_window = window;
    let (server, name) = serve(config.clone()).await;
    let ends = Notes::default();
    for (policy, answers) in [
        (Reconnect::new().first_delay(SHORT * 3600).early_delay_max(SHORT * 3600, LONG), true),
        (Reconnect::new().first_delay(Duration::ZERO), false),
    ] {
        let (line, ended) = (Line::to(&name), ends.clone());
        let namespace = Namespace::new("/").on_disconnect(move |reason: DisconnectReason| {
            ended.add(reason.to_string());
            ready(())
        });
        let client = line.client(answers).reconnect_with(policy.seed(7)).config(config.clone());
        let session = within(client.mount(namespace).connect()).await.unwrap();
        line.cut();
        until(|| !session.is_attached()).await;
        let lost = Instant::now();
        if answers {
            until(|| !session.is_connected()).await;
            assert_eq!(lost.elapsed().as_millis() / 100, window.as_millis() / 100);
        } else {
            // It has begun in time, and may be answered yet.
            sleep(window * 2).await;
            assert!(session.is_connected());
        }
        within(session.close()).await;
        ends.take();
    }
    until(|| server.stats().sessions == 0).await;
}
