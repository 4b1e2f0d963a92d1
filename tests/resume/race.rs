//! Several wires to one server: who attaches, where a session comes back to, and how it goes over
//! to a better wire.

mod lasting;

use super::*;
use emitwire::testing::within;
use emitwire::transport::{
    Capabilities, Connection, HandshakeError, Listener, Peer, ReadHalf, WriteHalf,
};
use emitwire::{
    BindError, Chaos, Connect, ConnectError, Direction, Fallback, Race, Reconnect, Session,
    Transport,
};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{Instant, sleep};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::MapRequestLayer;

/// How a way is at the moment.
#[derive(Clone, Copy)]
enum Way {
    Open,
    Slow(Duration),
    /// Nobody is there.
    Shut,
    /// Nobody answers.
    Silent,
    /// Whoever is there does not want this client.
    Forbidden,
}

/// A wire in memory with a gate in front, which counts who comes.
#[derive(Clone)]
struct Gate {
    wire: Chaos<Memory>,
    way: Arc<Mutex<Way>>,
    tries: Arc<AtomicUsize>,
    is_plain: bool,
}

impl Gate {
    fn to(name: &str, way: Way) -> Self {
        let wire = Chaos::new(Memory::new(name), 7);
        Self { wire, way: Arc::new(Mutex::new(way)), tries: Arc::default(), is_plain: false }
    }

    /// Anybody can read what travels here.
    fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    fn becomes(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    /// How many came since the last time.
    fn tries(&self) -> usize {
        self.tries.swap(0, Ordering::Relaxed)
    }
}

#[emitwire::async_trait]
impl Transport for Gate {
    fn endpoint(&self) -> String {
        self.wire.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.wire.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.endpoint();
        let way = *self.way.lock().unwrap();
        match way {
            Way::Open => {}
            Way::Slow(takes) => sleep(takes).await,
            Way::Silent => pending().await,
            Way::Shut => {
                let source = std::io::ErrorKind::ConnectionRefused.into();
                return Err(ConnectError::Unreachable { endpoint, source });
            }
            Way::Forbidden => {
                let source = HandshakeError::Refused { status: 403, reason: "no".into() };
                return Err(ConnectError::Handshake { endpoint, source });
            }
        }
        let connection = self.wire.connect().await?;
        Ok(if self.is_plain { Box::new(Plain(connection)) } else { connection })
    }
}

struct Plain(Box<dyn Connection>);

impl Connection for Plain {
    fn peer(&self) -> Peer {
        self.0.peer()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.encrypted = false;
        capabilities
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        self.0.split()
    }
}

/// A server with some doors, and a diary of either end.
struct House {
    server: Server,
    here: Diary,
    there: Diary,
    names: Vec<String>,
}

impl House {
    async fn with_doors(doors: usize) -> Self {
        Self::with_config(Config::default(), doors).await
    }

    async fn with_config(config: Config, doors: usize) -> Self {
        let (here, there) = (Diary::default(), Diary::default());
        let server = Server::with_config(config).mount(there.keep("/")).unwrap();
        let mut names = Vec::new();
        for _ in 0..doors {
            let name = fresh_name();
            within(server.listen(Memory::new(&*name))).await.unwrap();
            names.push(name);
        }
        Self { server, here, there, names }
    }

    fn gates<const N: usize>(&self, ways: [Way; N]) -> [Gate; N] {
        std::array::from_fn(|at| Gate::to(&self.names[at], ways[at]))
    }

    fn client(&self, transport: impl Transport) -> Client {
        let tell = self.here.clone();
        let failed = move |error: &ConnectError| tell.note(format!("failed: {error}"));
        // Never so soon that nobody sees that the link was lost.
        let policy = Reconnect::new().seed(7);
        let client = Client::new(transport).reconnect_with(policy);
        client.mount(self.here.keep("/").on_connect_error(failed))
    }

    async fn come_in(&self, transport: impl Transport) -> Session {
        let session = within(self.client(transport).connect()).await.unwrap();
        settle().await;
        assert_eq!((self.here.take(), self.there.take()), (begins(), begins()));
        session
    }

    fn far(&self, session: &Session) -> Socket {
        self.server.socket("/", session.of("/").unwrap().id()).unwrap()
    }
}

fn begins() -> Vec<String> {
    vec!["begins".into()]
}

/// How many came to each since the last time.
fn tries<const N: usize>(gates: &[Gate; N]) -> [usize; N] {
    gates.each_ref().map(Gate::tries)
}

/// Waits until somebody looks whether this is the better wire.
async fn comes_to(gate: &Gate) {
    let come = async {
        while gate.tries() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LOOK * 2, come).await.expect("nobody comes");
}

/// Waits until a session has gone over to this better wire.
async fn goes_over(session: &Session, gate: &Gate) {
    let go = async {
        while !is_on(session, gate) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LOOK * 4, go).await.expect("it stays where it is");
}

/// Whether a session's link goes through this gate.
#[track_caller]
fn is_on(session: &Session, gate: &Gate) -> bool {
    session.is_attached() && session.of("/").unwrap().peer().endpoint() == gate.endpoint()
}

const MINUTE: Duration = Duration::from_secs(60);

/// After so long a better wire was looked for, and no earlier than after a third of it.
const LOOK: Duration = Duration::from_secs(90);

/// A link that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_silent_first_wire_costs_one_head_start_and_only_the_winner_attaches() {
    let house = House::with_doors(3).await;
    let gates = house.gates([Way::Silent, Way::Open, Way::Open]);
    let began = Instant::now();
    let client = house.client(Race::of(gates.clone()));
    let session = within(client.connect()).await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 30);
    assert!(is_on(&session, &gates[1]));
    sleep(Duration::from_secs(30)).await;
    let stats = house.server.stats();
    assert_eq!((stats.sessions, stats.links, stats.handshakes_failed), (1, 1, 0));
    assert_eq!(tries(&gates), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_loser_leaves_no_connection_behind() {
    let house = House::with_doors(2).await;
    let slow = Way::Slow(Duration::from_millis(100));
    let gates = house.gates([slow, Way::Open]);
    let session = house.come_in(Race::of(gates.clone()).no_probe()).await;
    assert!(is_on(&session, &gates[1]));
    sleep(MINUTE).await;
    let stats = house.server.stats();
    assert_eq!((stats.sessions, stats.links, stats.handshakes_failed), (1, 1, 0));
    assert_eq!(tries(&gates), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lost_its_link_races_again_and_begins_with_the_winner() {
    let house = House::with_doors(3).await;
    let gates = house.gates([Way::Shut, Way::Open, Way::Open]);
    let session = house.come_in(Race::of(gates.clone())).await;
    tries(&gates);
    sleep(GOOD).await;
    gates[1].wire.sever();
    becomes(|| session.is_attached(), false).await;
    becomes(|| session.is_attached(), true).await;
    assert!(is_on(&session, &gates[1]));
    assert_eq!(tries(&gates), [0, 1, 0]);

    sleep(GOOD).await;
    gates[1].becomes(Way::Silent);
    gates[1].wire.sever();
    becomes(|| session.is_attached(), false).await;
    becomes(|| session.is_attached(), true).await;
    assert!(is_on(&session, &gates[2]));
    assert_eq!(tries(&gates), [1, 1, 1]);
    assert_eq!((session.outcome(), session.stats().resumed), (Outcome::Resumed, 2));
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_over_to_a_better_wire_in_mid_traffic_and_nothing_is_lost_or_doubled() {
    const EVENTS: u64 = 9_000;
    for falls_back in [false, true] {
        let house = House::with_doors(3).await;
        let gates = house.gates([Way::Silent, Way::Shut, Way::Open]);
        let session = match falls_back {
            false => house.come_in(Race::of(gates.clone())).await,
            true => house.come_in(Fallback::of(gates.clone())).await,
        };
        let (near, far) = (session.of("/").unwrap(), house.far(&session));
        let talk = |socket: Socket| async move {
            for value in 0..EVENTS {
                socket.emit("n", &value).await.unwrap();
                sleep(Duration::from_millis(value % 41)).await;
            }
        };
        let talking = [tokio::spawn(talk(near.clone())), tokio::spawn(talk(far))];
        sleep(LOOK / 3).await;
        assert!(is_on(&session, &gates[2]));
        gates[1].becomes(Way::Open);
        goes_over(&session, &gates[1]).await;
        gates[0].becomes(Way::Open);
        goes_over(&session, &gates[0]).await;
        sleep(GOOD).await;
        tries(&gates);
        gates[0].wire.sever();
        becomes(|| session.is_attached(), false).await;
        becomes(|| is_on(&session, &gates[0]), true).await;
        assert_eq!(tries(&gates), [1, 0, 0], "the new winner is remembered");
        for talked in talking {
            talked.await.unwrap();
        }
        becomes(|| (house.here.count(), house.there.count()), (EVENTS as usize, EVENTS as usize))
            .await;
        for diary in [&house.here, &house.there] {
            assert!(diary.split().0.into_iter().eq(0..EVENTS), "each once, in order");
        }
        assert_eq!((house.server.stats().sessions, session.stats().resumed), (1, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn looking_in_vain_disturbs_nothing_and_becomes_rare() {
    for way in [Way::Shut, Way::Silent, Way::Forbidden] {
        let house = House::with_doors(2).await;
        let gates = house.gates([way, Way::Open]);
        let session = house.come_in(Race::of(gates.clone())).await;
        gates[0].tries();
        let mut tries = Vec::new();
        for _ in 0..120 {
            sleep(MINUTE).await;
            tries.push(gates[0].tries());
        }
        // After about one minute, two, four and eight, and then about every ten.
        assert!((10..=25).contains(&tries.iter().sum::<usize>()), "{tries:?}");
        assert!((1..=2).contains(&tries[..2].iter().sum::<usize>()), "{tries:?}");
        assert!(tries[110..].iter().sum::<usize>() <= 3, "{tries:?}");
        assert!(is_on(&session, &gates[1]));
        let silence: Vec<String> = Vec::new();
        assert_eq!((house.here.take(), house.there.take()), (silence.clone(), silence));
        assert_eq!((session.stats().resumed, house.server.stats().handshakes_failed), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_while_a_better_wire_is_looked_for_comes_back_at_once() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Shut, Way::Open]);
    // Whoever looks has the only place of the layer.
    let client = house.client(Race::of(gates.clone()));
    let client = client.connector(GlobalConcurrencyLimitLayer::new(1));
    let session = within(client.connect()).await.unwrap();
    gates[0].tries();
    gates[0].becomes(Way::Silent);
    comes_to(&gates[0]).await;
    gates[1].wire.sever();
    let lost = Instant::now();
    becomes(|| (session.stats().resumed, session.is_attached()), (1, true)).await;
    assert!(lost.elapsed() < Duration::from_millis(150), "{:?}", lost.elapsed());

    comes_to(&gates[0]).await;
    let asked = Instant::now();
    within(session.move_to(gates[1].clone())).await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(50), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_began_in_secret_does_not_go_over_to_a_plain_wire() {
    let house = House::with_doors(3).await;
    let [plain, better, worse] = house.gates([Way::Shut, Way::Shut, Way::Open]);
    let plain = plain.plain();
    let wires = Race::of([plain.clone(), better.clone(), worse.clone()]);
    let session = house.come_in(wires).await;
    plain.becomes(Way::Open);
    plain.tries();
    sleep(MINUTE * 5).await;
    // It will never do, and it does not hide what is behind it.
    assert!(is_on(&session, &worse) && plain.tries() == 1 && better.tries() > 1);
    better.becomes(Way::Open);
    sleep(MINUTE * 15).await;
    // On another link it is asked again whether it will.
    assert!(plain.tries() <= 1);
    assert!(is_on(&session, &better));
    let moved = |outcome: &str| vec![format!("attached: {outcome}")];
    assert!(house.there.take().ends_with(&moved("Resumed")));
    assert_eq!(session.stats().resumed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_better_wire_that_brings_no_session_costs_a_pause_and_is_left_alone_for_long() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Shut, Way::Open]);
    let session = house.come_in(Race::of(gates.clone())).await;
    let near = session.of("/").unwrap();
    // It connects, and then carries nothing.
    gates[0].tries();
    gates[0].wire.cut(Direction::Both);
    gates[0].becomes(Way::Open);
    comes_to(&gates[0]).await;
    let left = Instant::now();
    let answered = near.emit("n", &3_u64).ack::<u64>();
    assert_eq!(within(answered).await.unwrap(), 6);
    assert_eq!((left.elapsed() + Duration::from_millis(9)).as_secs(), 5);
    assert!(is_on(&session, &gates[1]));
    gates[0].tries();
    sleep(MINUTE * 5).await;
    assert_eq!(gates[0].tries(), 0);
    gates[0].wire.heal(Direction::Both);
    sleep(MINUTE * 10).await;
    assert!(is_on(&session, &gates[0]));
    assert_eq!((near.ended(), house.server.stats().sessions), (None, 1));
    assert_eq!(session.stats().resumed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_better_wire_to_a_server_that_does_not_know_the_session_does_not_end_it() {
    let (house, other) = (House::with_doors(1).await, House::with_doors(1).await);
    let [home] = house.gates([Way::Open]);
    let [elsewhere] = other.gates([Way::Shut]);
    let session = house.come_in(Race::of([elsewhere.clone(), home.clone()])).await;
    let (near, id) = (session.of("/").unwrap(), session.id());
    elsewhere.becomes(Way::Open);
    elsewhere.tries();
    comes_to(&elsewhere).await;
    becomes(|| is_on(&session, &home), true).await;
    assert_eq!(within(near.emit("n", &3_u64).ack::<u64>()).await.unwrap(), 6);
    assert_eq!((session.id(), near.ended()), (id, None));
    becomes(|| other.server.stats().sessions, 0).await;
    assert_eq!(session.stats().resumed, 1);
    assert_eq!(elsewhere.tries(), 0, "it comes back by the wire that it had");
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_for_a_better_wire_when_it_is_the_best_or_not_wished_or_one_of_the_users() {
    let house = House::with_doors(3).await;
    let [first, second, third] = house.gates([Way::Open; 3]);
    let wires = || Race::of([first.clone(), second.clone()]);
    let best = house.come_in(wires()).await;
    first.becomes(Way::Shut);
    let quiet = house.come_in(wires().no_probe()).await;
    let moved = house.come_in(wires()).await;
    within(moved.move_to(third.clone())).await.unwrap();
    first.becomes(Way::Open);
    first.tries();
    sleep(MINUTE * 60).await;
    assert_eq!((first.tries(), third.tries()), (0, 1));
    assert!(is_on(&best, &first) && is_on(&quiet, &second) && is_on(&moved, &third));

    // From there it comes back to a choice.
    second.becomes(Way::Open);
    first.becomes(Way::Shut);
    within(moved.move_to(wires())).await.unwrap();
    assert!(is_on(&moved, &second));
    first.becomes(Way::Open);
    sleep(LOOK).await;
    assert!(is_on(&moved, &first));
}

#[tokio::test(start_paused = true)]
async fn layers_around_connecting_see_each_look_and_may_lead_elsewhere() {
    let house = House::with_doors(3).await;
    let gates = house.gates([Way::Shut, Way::Open, Way::Open]);
    let seen = Diary::default();
    let note = seen.clone();
    let layer = MapRequestLayer::new(move |connect: Connect| {
        let what = if connect.is_look { "look" } else { "come" };
        note.note(format!("{what} {} {}", connect.attempt, connect.transport().endpoint()));
        connect
    });
    let wires = Race::of(gates[..2].to_vec());
    let client = house.client(wires.clone()).connector(layer);
    let session = within(client.connect()).await.unwrap();
    assert_eq!(seen.take(), [format!("come 0 {}", wires.endpoint())]);
    gates[0].becomes(Way::Open);
    sleep(LOOK).await;
    assert_eq!(seen.take(), [format!("look 0 {}", gates[0].endpoint())]);
    assert!(is_on(&session, &gates[0]));

    // A race that a layer brings in: it connects, and where it leads the looking ends.
    gates[0].becomes(Way::Shut);
    let wires = Arc::new(Race::of(gates[..2].to_vec()));
    let lead = MapRequestLayer::new(move |connect: Connect| connect.with_transport(wires.clone()));
    let client = house.client(gates[2].clone()).connector(lead);
    let session = within(client.connect()).await.unwrap();
    assert!(is_on(&session, &gates[1]));
    gates[0].becomes(Way::Open);
    tries(&gates);
    sleep(MINUTE * 30).await;
    assert_eq!(tries(&gates), [0, 1, 0]);
    assert!(is_on(&session, &gates[1]));
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_when_every_wire_has_failed_for_good_and_else_goes_on() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Open, Way::Open]);
    for (second, gives_up) in [(Way::Shut, false), (Way::Forbidden, true)] {
        gates[0].becomes(Way::Open);
        gates[1].becomes(Way::Open);
        let session = within(house.client(Race::of(gates.clone())).connect()).await.unwrap();
        gates[0].becomes(Way::Forbidden);
        gates[1].becomes(second);
        gates[0].wire.sever();
        if gives_up {
            assert_eq!(within(session.ended()).await, DisconnectReason::Refused);
            let told = house.here.take();
            let all = told.iter().find(|note| note.starts_with("failed: ")).unwrap();
            assert!(gates.iter().all(|gate| all.contains(&gate.endpoint())), "{all}");
        } else {
            sleep(Duration::from_secs(10)).await;
            gates[1].becomes(Way::Open);
            becomes(|| is_on(&session, &gates[1]), true).await;
            within(session.close()).await;
            house.here.take();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_connects_and_carries_nothing_goes_last_and_one_with_an_answer_does_not() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Open, Way::Open]);
    let wires = Race::of(gates.clone());
    gates[0].wire.cut(Direction::Both);
    let late = within(house.client(wires.clone()).config(hasty()).connect()).await;
    assert!(matches!(late, Err(ConnectError::Timeout { .. })), "{late:?}");
    let session = within(house.client(wires).connect()).await.unwrap();
    assert!(is_on(&session, &gates[1]));
    assert_eq!(tries(&gates), [1, 1]);

    let mut config = Config::default();
    config.links_max = 0;
    let full = Server::with_config(config).mount(Namespace::new("/")).unwrap();
    let name = fresh_name();
    full.listen(Memory::new(&*name)).await.unwrap();
    let gates = [Gate::to(&name, Way::Open), Gate::to(&name, Way::Open)];
    let wires = Race::of(gates.clone());
    for _ in 0..2 {
        let refused = within(house.client(wires.clone()).connect()).await;
        let Err(ConnectError::Ended { reason }) = refused else { panic!("{refused:?}") };
        assert_eq!(reason, DisconnectReason::Full);
    }
    assert_eq!(tries(&gates), [2, 0]);
}

/// Less than the helpers of tests wait.
fn hasty() -> Config {
    let mut config = Config::default();
    config.connect_timeout = Duration::from_secs(2);
    config
}
