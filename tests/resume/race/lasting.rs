//! What may happen to a session between several wires, and does not end it.

use super::*;
use emitwire::ResumeToken;
use emitwire::protocol::{
    Close, CloseCode, Codec, DecodeError, Decoder, Encoded, EventName, Frame, Native, Packet,
};

/// A way on which the client hears something else than was said, or another language.
#[derive(Clone)]
struct Strange(Gate, Tongue);

#[derive(Clone, Copy)]
struct Tongue {
    name: &'static str,
    hears: fn(Packet) -> Packet,
}

#[emitwire::async_trait]
impl Transport for Strange {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.0.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(Box::new(Spoken(self.0.connect().await?, self.1)))
    }
}

struct Spoken(Box<dyn Connection>, Tongue);

impl Connection for Spoken {
    fn peer(&self) -> Peer {
        self.0.peer()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn codec(&self) -> Arc<dyn Codec> {
        Arc::new(self.1)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        self.0.split()
    }
}

impl Codec for Tongue {
    fn name(&self) -> &'static str {
        self.name
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        Native.encode(packet)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Hearing(Native.decoder(), self.hears))
    }
}

struct Hearing(Box<dyn Decoder>, fn(Packet) -> Packet);

impl Decoder for Hearing {
    fn decode(&mut self, frame: Frame) -> Result<Option<Packet>, DecodeError> {
        Ok(self.0.decode(frame)?.map(self.1))
    }
}

impl Strange {
    /// Whoever is there ends each session, instead of welcoming it.
    fn ends(gate: &Gate, code: CloseCode) -> Self {
        let hears = match code {
            CloseCode::Version => |packet| instead_of_welcome(packet, CloseCode::Version),
            _ => |packet| instead_of_welcome(packet, CloseCode::Protocol),
        };
        Self(gate.clone(), Tongue { name: Native.name(), hears })
    }
}

fn instead_of_welcome(packet: Packet, code: CloseCode) -> Packet {
    match packet {
        Packet::Welcome(_) => Packet::Close(Close { code, detail: EventName::from_static("no") }),
        packet => packet,
    }
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_dies_after_the_welcome_does_not_keep_the_session() {
    for dies_at_once in [true, false] {
        let house = House::with_doors(2).await;
        let gates = house.gates([Way::Shut, Way::Open]);
        let session = house.come_in(Race::of(gates.clone())).await;
        gates[0].becomes(Way::Open);
        let id = session.id();
        goes_over(&session, &gates[0]).await;
        if dies_at_once {
            gates[0].wire.sever();
        } else {
            sleep(GOOD).await;
            gates[0].wire.cut(Direction::Both);
        }
        becomes(|| is_on(&session, &gates[1]), true).await;
        gates[0].wire.heal(Direction::Both);
        gates[0].tries();
        sleep(MINUTE * 4).await;
        assert_eq!((gates[0].tries(), session.id()), (0, id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_was_good_for_long_is_where_a_session_comes_back_to() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Shut, Way::Open]);
    let session = house.come_in(Fallback::of(gates.clone()).no_probe()).await;
    sleep(MINUTE * 60).await;
    tries(&gates);
    gates[0].becomes(Way::Silent);
    gates[1].wire.sever();
    becomes(|| session.is_attached(), false).await;
    becomes(|| is_on(&session, &gates[1]), true).await;
    assert_eq!(tries(&gates), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_first_connect_goes_round_wires_that_connect_and_carry_nothing() {
    let house = House::with_doors(3).await;
    let gates = house.gates([Way::Open; 3]);
    gates[0].wire.cut(Direction::Both);
    let began = Instant::now();
    let session = within(house.client(Race::of(gates.clone())).connect()).await.unwrap();
    assert!(is_on(&session, &gates[1]));
    assert_eq!((began.elapsed().as_secs(), tries(&gates)), (5, [1, 1, 0]));
    assert!(house.here.take().iter().all(|note| !note.starts_with("failed")));
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_dropped_soon_does_not_put_its_wire_behind_the_others() {
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Open; 2]);
    let wires = Race::of(gates.clone());
    gates[0].wire.cut(Direction::Both);
    let connecting = house.client(wires.clone()).connect();
    let dropped = tokio::time::timeout(Duration::from_millis(900), connecting).await;
    assert!(dropped.is_err());
    gates[0].wire.heal(Direction::Both);
    let session = within(house.client(wires).connect()).await.unwrap();
    assert!(is_on(&session, &gates[0]));
}

#[tokio::test(start_paused = true)]
async fn a_plain_wire_that_keeps_winning_does_not_cost_a_session_that_began_in_secret() {
    let house = House::with_doors(2).await;
    let [plain, secret] = house.gates([Way::Shut, Way::Open]);
    let plain = plain.plain();
    let wires = Fallback::of([plain.clone(), secret.clone()]).no_probe();
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let keep = move |token: &ResumeToken| *keep.lock().unwrap() = Some(token.clone());
    let client = house.client(wires).on_resume_token(keep);
    let session = within(client.connect()).await.unwrap();
    let id = session.id();
    plain.becomes(Way::Open);
    secret.wire.sever();
    becomes(|| session.is_attached(), false).await;
    becomes(|| session.is_attached(), true).await;
    assert!(is_on(&session, &secret) && session.id() == id);

    // Nor one of an earlier process: its token is good, and is not thrown away.
    let token = kept.lock().unwrap().clone().unwrap();
    secret.becomes(Way::Silent);
    secret.wire.sever();
    drop(session);
    secret.becomes(Way::Open);
    let wires = Fallback::of([plain.clone(), secret.clone()]).no_probe();
    let again = within(house.client(wires).resume_with(token).connect()).await.unwrap();
    assert!(is_on(&again, &secret));
    assert_eq!((again.id(), again.outcome()), (id, Outcome::Resumed));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_drains_does_not_leave_its_link_for_a_better_one() {
    let (house, other) = (House::with_doors(1).await, House::with_doors(1).await);
    let ([home], [elsewhere]) = (house.gates([Way::Open]), other.gates([Way::Shut]));
    let slow = Namespace::new("/slow").on("slow", |Data(value): Data<u64>| async move {
        sleep(Duration::from_secs(4)).await;
        value * 2
    });
    house.server.clone().mount(slow).unwrap();
    let client = house.client(Race::of([elsewhere.clone(), home.clone()]).probe_every(GOOD));
    let session = within(client.mount(Namespace::new("/slow")).connect()).await.unwrap();
    let near = session.of("/slow").unwrap();
    elsewhere.becomes(Way::Slow(Duration::from_secs(2)));
    elsewhere.tries();
    comes_to(&elsewhere).await;
    let asked = tokio::spawn(near.emit("slow", &3_u64).ack::<u64>().into_future());
    settle().await;
    house.server.run_until(std::future::ready(())).await;
    assert_eq!(within(asked).await.unwrap().unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_look_in_vain_does_not_cost_a_session_that_has_little_time_to_come_back() {
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(4);
    let house = House::with_config(config, 2).await;
    let gates = house.gates([Way::Shut, Way::Open]);
    for reconnect in [Reconnect::new().first_delay(MINUTE), Reconnect::new().attempts_max(0)] {
        let client = house.client(Race::of(gates.clone())).reconnect_with(reconnect);
        let session = within(client.connect()).await.unwrap();
        let id = session.id();
        gates[0].wire.cut(Direction::Both);
        gates[0].becomes(Way::Open);
        gates[0].tries();
        comes_to(&gates[0]).await;
        let left = Instant::now();
        becomes(|| session.is_attached(), false).await;
        becomes(|| is_on(&session, &gates[1]), true).await;
        assert!((2..3).contains(&left.elapsed().as_secs()), "{:?}", left.elapsed());
        assert_eq!((session.id(), session.outcome()), (id, Outcome::Resumed));
        within(session.close()).await;
        gates[0].becomes(Way::Shut);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_over_to_a_better_wire_of_a_server_that_is_full() {
    let mut config = Config::default();
    config.links_max = 1;
    let house = House::with_config(config, 2).await;
    let gates = house.gates([Way::Shut, Way::Open]);
    let session = house.come_in(Race::of(gates.clone())).await;
    let full = within(house.client(gates[1].clone()).connect()).await;
    let Err(ConnectError::Ended { reason: DisconnectReason::Full }) = full else {
        panic!("{full:?}")
    };
    house.here.take();
    gates[0].becomes(Way::Open);
    sleep(LOOK).await;
    assert!(is_on(&session, &gates[0]));
    let stats = house.server.stats();
    assert_eq!((stats.links, stats.handshakes_failed, session.stats().resumed), (1, 1, 1));
    let full = within(house.client(gates[1].clone()).connect()).await;
    assert!(full.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_last_word_of_one_front_is_not_that_of_all() {
    for code in [CloseCode::Version, CloseCode::Protocol] {
        let house = House::with_doors(2).await;
        let [old, home] = house.gates([Way::Open; 2]);
        let wires = Race::of([Strange::ends(&old, code)]).or(home.clone()).no_probe();
        let session = within(house.client(wires.clone()).connect()).await.unwrap();
        assert!(is_on(&session, &home));
        let id = session.id();
        sleep(MINUTE * 6).await;
        // It is forgotten by now, and the first to be asked.
        home.becomes(Way::Slow(Duration::from_millis(200)));
        tries(&[old.clone(), home.clone()]);
        home.wire.sever();
        becomes(|| session.is_attached(), false).await;
        becomes(|| is_on(&session, &home), true).await;
        assert_eq!((session.id(), tries(&[old, home])), (id, [1, 2]));
    }
    let house = House::with_doors(2).await;
    let gates = house.gates([Way::Open; 2]);
    let wires = gates.each_ref().map(|gate| Strange::ends(gate, CloseCode::Version));
    let session = within(house.client(Race::of(wires)).connect()).await;
    let Err(ConnectError::Ended { reason: DisconnectReason::Version }) = session else {
        panic!("{session:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn a_better_wire_that_does_not_know_where_the_session_is_does_not_end_it() {
    fn lies(packet: Packet) -> Packet {
        match packet {
            Packet::Welcome(mut welcome) => {
                welcome.position = 1 << 40;
                Packet::Welcome(welcome)
            }
            packet => packet,
        }
    }
    for (name, resumed) in [(Native.name(), 1), ("another language", 0)] {
        let house = House::with_doors(2).await;
        let gates = house.gates([Way::Shut, Way::Open]);
        let strange = Strange(gates[0].clone(), Tongue { name, hears: lies });
        let session = house.come_in(Race::of([strange]).or(gates[1].clone())).await;
        let id = session.id();
        gates[0].becomes(Way::Open);
        tries(&gates);
        comes_to(&gates[0]).await;
        sleep(MINUTE).await;
        assert!(is_on(&session, &gates[1]));
        assert_eq!((session.id(), session.stats().resumed), (id, resumed));
        assert_eq!(house.server.stats().sessions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lost_its_link_before_a_full_server_knows_it_has_its_own_place() {
    let mut config = Config::default();
    (config.links_max, config.heartbeat_interval) = (1, Duration::from_secs(1));
    let house = House::with_config(config.clone(), 2).await;
    let gates = house.gates([Way::Open; 2]);
    config.liveness_timeout = Duration::from_secs(4);
    let client = house.client(Race::of(gates.clone())).config(config);
    let session = within(client.connect()).await.unwrap();
    sleep(GOOD).await;
    gates[0].wire.cut(Direction::Both);
    let cut = Instant::now();
    becomes(|| is_on(&session, &gates[1]), true).await;
    assert!(cut.elapsed() < Duration::from_secs(8), "{:?}", cut.elapsed());
    assert_eq!((session.outcome(), house.server.stats().takeovers), (Outcome::Resumed, 1));
}
