//! Who has a session when several want it, when an answer is lost, and when not all of it is given
//! back.

use super::*;
use emitwire::protocol::{Attach, Hello, NamespaceNumber, Packet, Welcome};
use emitwire::testing::within;
use emitwire::{Chaos, ConnectRequest, Direction, Faults, NamespaceError, Refusal, Session};
use house::House;
use std::net::SocketAddr;
use support::raw::{RawPeer, hello};

#[tokio::test(start_paused = true)]
async fn the_newest_who_shows_the_token_has_the_session_and_the_one_before_stays_away() {
    let house = House::new(|namespace| namespace).await;
    let (old, new) = (Diary::default(), Diary::default());
    let first = house.process(&old, None).await;
    let socket = first.of("/").unwrap();
    let second = house.process(&new, Some(house.newest())).await;
    assert_eq!(first.ended().await, DisconnectReason::Replaced);
    assert_eq!((second.outcome(), second.id()), (Outcome::Resumed, first.id()));
    assert_eq!(socket.ended(), Some(DisconnectReason::Replaced));
    // It had all the time in the world to come back.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(old.split().1, ["begins", "ends: another link took the session over"]);
    let stats = house.server.stats();
    assert_eq!((stats.sessions, stats.attaches, stats.takeovers), (1, 1, 1));
    house.server.of("/").emit("n", &1_u64).await.unwrap();
    settle().await;
    assert_eq!((old.count(), new.count()), (0, 1));
    let late = socket.emit("n", &2_u64).await;
    assert!(matches!(late, Err(EmitError::Closed { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn one_who_was_replaced_while_it_could_not_hear_so_gets_a_session_of_its_own() {
    let house = House::new(|namespace| namespace).await;
    let (old, new) = (Diary::default(), Diary::default());
    let wire = house.wire();
    let first = house.process_on(wire.clone(), &old, None).await;
    wire.cut(Direction::Both);
    let second = house.process(&new, Some(house.newest())).await;
    settle().await;
    wire.sever();
    wire.heal(Direction::Both);
    becomes(|| first.of("/").is_ok() && first.id() != second.id(), true).await;
    assert_eq!(first.outcome(), Outcome::New);
    assert!(second.is_attached(), "nobody has taken it away");
    assert_eq!(house.server.stats().sessions, 2);
}

fn impatient() -> Config {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(500);
    config
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_attach_may_be_lost_again_and_again_and_nothing_is_doubled() {
    let stage = Stage::with(impatient()).await;
    let (near, far) = (stage.near(), stage.far());
    for value in 0..10_u64 {
        // What the server says is lost from here on, its welcomes too.
        stage.wire.cut(Direction::In);
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
        stage.wire.sever();
        let attaches = stage.server.stats().attaches;
        becomes(|| stage.server.stats().attaches >= attaches + 3, true).await;
        assert!(!stage.session.is_attached(), "it has heard of none of them");
        stage.wire.sever();
        stage.wire.heal(Direction::Both);
        stage.attached().await;
        assert_eq!(stage.session.outcome(), Outcome::Resumed);
    }
    for diary in [&stage.here, &stage.there] {
        assert!(diary.split().0.into_iter().eq(0..10));
    }
    let stats = stage.server.stats();
    assert_eq!((stats.sessions, stats.sockets, stats.protocol_errors), (1, 1, 0));
}

/// A raw peer's way back into a session.
async fn attach(address: SocketAddr, session: &Welcome, token: &[u8]) -> (RawPeer, Welcome) {
    let mut peer = RawPeer::connect(address).await;
    let nonce = u128::from_be_bytes(*token.first_chunk().unwrap());
    peer.send(&Packet::Hello(Hello { resumes: true, resumable: true, nonce, ..hello() })).await;
    let namespaces = vec![(NamespaceNumber(0), emitwire::Payload::empty())];
    let token = token.to_vec().into();
    let session = session.session;
    peer.send(&Packet::Attach(Attach { session, token, position: 1, trimmed: 0, namespaces }))
        .await;
    match peer.next().await {
        Some(Packet::Welcome(welcome)) => (peer, welcome),
        other => panic!("{other:?} instead of a welcome"),
    }
}

#[tokio::test]
async fn the_token_before_is_good_for_the_same_new_one_until_that_has_been_used() {
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    let listening = server.listen(Endpoint::new("tcp://127.0.0.1:0").unwrap()).await.unwrap();
    let address = listening.endpoint().trim_start_matches("tcp://").parse().unwrap();
    let greeting = Hello { resumable: true, ..hello() };
    let (mut peer, first) = RawPeer::connect(address).await.greet(greeting).await;
    peer.send(&Packet::From(1)).await;
    peer.send(&support::raw::connect(0, "/")).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    let socket = peer.accepted().await.socket;

    let (second_peer, second) = attach(address, &first, &first.token).await;
    assert_eq!((second.session, second.outcome), (first.session, Outcome::Resumed));
    assert_ne!(second.token, first.token);
    drop(second_peer);
    let (mut third_peer, third) = attach(address, &first, &first.token).await;
    assert_eq!((third.session, &third.token), (first.session, &second.token), "the same again");
    // Its first packet says that it has it.
    third_peer.send(&Packet::From(2)).await;
    third_peer.send(&support::raw::event(1, "x", emitwire::Payload::empty())).await;
    becomes(|| server.stats().events_in, 1).await;
    let (_peer, fourth) = attach(address, &first, &first.token).await;
    assert_eq!(fourth.outcome, Outcome::New);
    assert!(server.socket("/", socket).unwrap().is_attached(), "and nobody was put out");
    let (_peer, fifth) = attach(address, &first, &third.token).await;
    assert_eq!((fifth.session, fifth.outcome), (first.session, Outcome::Resumed));
}

#[tokio::test(start_paused = true)]
async fn a_first_welcome_that_is_lost_leaves_no_second_session_and_nobody_begins_twice() {
    let stage = Stage::with(impatient()).await;
    let (first, far) = (stage.near(), stage.far());
    // It reads nonsense, and ends its session.
    stage.wire.set(Direction::In, Faults::new().corruption(1.0));
    let speak = || {
        let _ = far.try_emit("n", &7_u64);
        first.ended().is_some()
    };
    becomes(speak, true).await;
    // And of the next it is told again and again, and never hears it.
    stage.wire.cut(Direction::In);
    stage.wire.set(Direction::In, Faults::new());
    becomes(|| stage.server.stats().attaches > 5, true).await;
    assert_eq!(stage.server.stats().sessions, 1, "the same one each time");
    stage.wire.sever();
    stage.wire.heal(Direction::Both);
    becomes(|| stage.session.of("/").is_ok(), true).await;
    settle().await;
    let stats = stage.server.stats();
    assert_eq!((stats.sessions, stats.sockets, stage.session.outcome()), (1, 1, Outcome::New));
    let begun = stage.there.split().1.into_iter().filter(|note| note == "begins");
    assert_eq!(begun.count(), 1);
}

/// A client whose server was replaced by one that knows nothing of it, and whose welcomes there are
/// lost for a while.
async fn moved_without_a_word(lost: impl AsyncFn(&Server)) -> (Server, Session, Diary) {
    let (here, there, name) = (Diary::default(), Diary::default(), fresh_name());
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    let listening = server.listen(Memory::new(&*name)).await.unwrap();
    let wire = Chaos::new(Memory::new(&*name), 7);
    let client = Client::new(wire.clone()).config(impatient()).mount(here.keep("/"));
    let session = within(client.connect()).await.unwrap();
    let before = session.of("/").unwrap().id();
    listening.close().await;
    let next = Server::new().mount(there.keep("/")).unwrap();
    next.listen(Memory::new(&*name)).await.unwrap();
    wire.cut(Direction::In);
    wire.sever();
    lost(&next).await;
    wire.sever();
    wire.heal(Direction::Both);
    becomes(|| session.of("/").is_ok_and(|socket| socket.id() != before), true).await;
    assert_eq!(session.outcome(), Outcome::New);
    settle().await;
    (next, session, there)
}

#[tokio::test(start_paused = true)]
async fn a_new_session_that_its_client_never_heard_of_is_found_again_by_the_nonce() {
    let lost = async |next: &Server| {
        becomes(|| next.stats().sessions >= 1, true).await;
        // Several more attempts.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(next.stats().sessions, 1, "the same one each time");
    };
    let (next, session, there) = moved_without_a_word(lost).await;
    let stats = next.stats();
    assert_eq!((stats.sessions, stats.sockets), (1, 1));
    assert_eq!(there.split().1, ["begins"]);
    assert_eq!(session.of("/").unwrap().emit("n", &1_u64).ack::<u64>().await.unwrap(), 2);
}

/// Lets in who shows the word that is right at the moment.
fn guarded(diary: &Diary, path: &str, word: &Arc<Mutex<&'static str>>) -> Namespace {
    let word = Arc::clone(word);
    diary.keep(path).authorize(move |request: ConnectRequest| {
        let is_right = request.auth::<String>().is_ok_and(|shown| shown == *word.lock().unwrap());
        async move { if is_right { Ok(()) } else { Err(Refusal::with("not you")) } }
    })
}

/// A session in two namespaces that are asked each on its own.
struct Two {
    server: Server,
    session: Session,
    wire: Chaos<Memory>,
    words: [Arc<Mutex<&'static str>>; 2],
    here: [Diary; 2],
    there: [Diary; 2],
    losses: Arc<Mutex<Vec<Fate>>>,
    refusals: Arc<Mutex<u64>>,
}

const PATHS: [&str; 2] = ["/open", "/closed"];

impl Two {
    async fn new() -> Self {
        let words = [(); 2].map(|()| Arc::new(Mutex::new("please")));
        let (here, there) =
            ([(); 2].map(|()| Diary::default()), [(); 2].map(|()| Diary::default()));
        let losses = Arc::new(Mutex::new(Vec::new()));
        let refusals = Arc::new(Mutex::new(0));
        let name = fresh_name();
        let wire = Chaos::new(Memory::new(&*name), 7);
        let mut server = Server::new();
        let mut client = Client::new(wire.clone()).auth("please");
        for (place, path) in PATHS.into_iter().enumerate() {
            let (told, counted) = (Arc::clone(&losses), Arc::clone(&refusals));
            let far = guarded(&there[place], path, &words[place])
                .on_lost(move |lost: &Lost| told.lock().unwrap().push(lost.fate));
            server = server.mount(far).unwrap();
            let count = move |_: &emitwire::ConnectError| *counted.lock().unwrap() += 1;
            client = client.mount(here[place].keep(path).on_connect_error(count));
        }
        server.listen(Memory::new(&*name)).await.unwrap();
        let session = within(client.connect()).await.unwrap();
        settle().await;
        let two = Self { server, session, wire, words, here, there, losses, refusals };
        two.here.iter().chain(&two.there).for_each(|diary| drop(diary.take()));
        two
    }

    fn near(&self, place: usize) -> Socket {
        self.session.of(PATHS[place]).unwrap()
    }

    fn far(&self, place: usize) -> Socket {
        self.server.socket(PATHS[place], self.near(place).id()).unwrap()
    }

    /// Both ends say something in both namespaces before, and after the link is lost.
    async fn speak_over_a_cut(&self) {
        let sockets = [0, 1].map(|place| (self.near(place), self.far(place)));
        let say = async |value: u64| {
            for (near, far) in &sockets {
                near.emit("n", &value).await.unwrap();
                far.emit("n", &value).await.unwrap();
            }
            settle().await;
        };
        self.wire.cut(Direction::Both);
        say(1).await;
        self.wire.sever();
        becomes(|| sockets[0].1.is_attached() || self.session.is_attached(), false).await;
        say(2).await;
    }

    async fn come_back(&self) {
        self.wire.heal(Direction::Both);
        becomes(|| self.session.is_attached(), true).await;
        settle().await;
    }

    fn is_refused(&self, place: usize) -> bool {
        matches!(self.session.of(PATHS[place]), Err(NamespaceError::Refused { .. }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_does_not_want_its_client_back_ends_and_the_others_go_on() {
    let two = Two::new().await;
    let (near, far) = (two.near(1), two.far(1));
    two.speak_over_a_cut().await;
    let asked = tokio::spawn({
        let near = near.clone();
        async move { near.emit("n", &3_u64).ack::<u64>().timeout(Duration::from_secs(60)).await }
    });
    settle().await;
    *two.words[1].lock().unwrap() = "never";
    two.come_back().await;
    assert_eq!((two.here[0].split().0, two.there[0].split().0), (vec![1, 2], vec![1, 2]));
    assert!(!two.is_refused(0) && two.is_refused(1));
    for (diary, socket) in [(&two.here[1], &near), (&two.there[1], &far)] {
        let (numbers, others) = diary.split();
        assert_eq!(numbers, [0; 0], "what waited, and what was written");
        assert_eq!(others.last().map(String::as_str), Some("ends: refused by the server"));
        assert_eq!(socket.ended(), Some(DisconnectReason::Refused));
    }
    let asked = asked.await.unwrap();
    assert!(matches!(asked, Err(AckError::Closed | AckError::Refused(_))), "{asked:?}");
    let stats = two.server.stats();
    assert_eq!((stats.sessions, stats.sockets), (1, 1));
    let closed = Fate::Lost(LossReason::Closed);
    assert_eq!(*two.losses.lock().unwrap(), [closed, closed], "at the server, of its two");
    assert_eq!(stats.events_out, stats.received + stats.lost, "{stats:?}");
    assert_eq!(*two.refusals.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn whom_all_namespaces_refuse_hears_nothing_and_learns_it() {
    let two = Two::new().await;
    two.speak_over_a_cut().await;
    for word in &two.words {
        *word.lock().unwrap() = "never";
    }
    two.come_back().await;
    becomes(|| two.is_refused(0) && two.is_refused(1), true).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    for diary in two.here.iter().chain(&two.there) {
        assert_eq!(diary.split().0, [0; 0]);
    }
    let stats = two.server.stats();
    assert_eq!((stats.sockets, stats.replayed), (0, 0));
    assert_eq!(stats.events_out, stats.lost + stats.in_doubt, "{stats:?}");
    assert_eq!(*two.refusals.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stolen_token_without_credentials_puts_nobody_out() {
    let (diary, name) = (Diary::default(), fresh_name());
    let server = Server::new().mount(guarded(&diary, "/", &Arc::new(Mutex::new("please"))));
    let server = server.unwrap();
    server.listen(Memory::new(&*name)).await.unwrap();
    let stolen = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&stolen);
    let owner = Client::new(Memory::new(&*name))
        .auth("please")
        .mount(diary.keep("/"))
        .on_resume_token(move |token| *kept.lock().unwrap() = Some(token.clone()));
    let owner = within(owner.connect()).await.unwrap();
    let token = stolen.lock().unwrap().clone().unwrap();
    let thief = Client::new(Memory::new(&*name)).auth("give it to me").mount(Namespace::new("/"));
    let thief = within(thief.resume_with(token).connect()).await;
    assert!(matches!(thief, Err(emitwire::ConnectError::Refused { .. })), "{thief:?}");
    assert!(owner.is_attached());
    assert_eq!(server.stats().takeovers, 0);
    assert_eq!(owner.of("/").unwrap().emit("n", &1_u64).ack::<u64>().await.unwrap(), 2);
}
