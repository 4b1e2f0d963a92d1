//! The holes of Socket.IO's connection state recovery, one by one: none of them is here. What each
//! of them is, `docs/GUARANTEES.md` says.

use super::*;
use emitwire::protocol::{
    Attach, Close, CloseCode, EventName, Hello, NamespaceNumber, Packet, Welcome,
};
use emitwire::testing::within;
use emitwire::{Chaos, ConnectError, Direction, Faults, NamespaceError, Refusal, Session};
use house::{House, kill};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::raw::{RawPeer, hello};

#[tokio::test(start_paused = true)]
async fn hole_01_an_event_that_wants_an_answer_is_resumed_like_any_other() {
    let stage = Stage::new().await;
    let far = stage.far();
    stage.cut().await;
    assert!(!far.is_attached());
    let one = tokio::spawn(async move { far.emit("n", &1_u64).ack::<u64>().await });
    let everyone = stage.server.of("/");
    let all = everyone.emit("n", &2_u64).ack::<u64>().await.unwrap();
    stage.attached().await;
    assert_eq!(one.await.unwrap().unwrap(), 2);
    let all = within(all.all()).await;
    assert!(matches!(all[..], [(_, Ok(4))]), "{all:?}");
    assert_eq!(stage.here.split().0, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn hole_02_an_event_that_is_not_kept_spoils_nothing_for_those_that_are() {
    let stage = Stage::new().await;
    let far = stage.far();
    far.emit("n", &1_u64).await.unwrap();
    far.emit("n", "looks like an offset").volatile().await.unwrap();
    stage.server.of("/").volatile().emit("n", "so does this").await.unwrap();
    settle().await;
    stage.cut().await;
    far.emit("n", &2_u64).await.unwrap();
    far.emit("n", "and this").volatile().await.unwrap();
    stage.attached().await;
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
    assert_eq!(stage.here.split().0, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn hole_03_a_session_is_resumed_that_has_not_heard_anything_yet() {
    let stage = Stage::new().await;
    let id = stage.near().id();
    stage.cut().await;
    stage.far().emit("n", &1_u64).await.unwrap();
    stage.attached().await;
    assert_eq!((stage.session.outcome(), stage.near().id()), (Outcome::Resumed, id));
    assert_eq!(stage.here.split().0, [1]);
}

#[tokio::test(start_paused = true)]
async fn hole_04_a_session_is_resumed_that_has_not_heard_anything_for_long() {
    let stage = Stage::new().await;
    stage.far().emit("n", &1_u64).await.unwrap();
    // As far as nobody says anything, longer than any window.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    stage.cut().await;
    stage.far().emit("n", &2_u64).await.unwrap();
    stage.attached().await;
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
    assert_eq!(stage.here.split().0, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn hole_05_who_comes_back_before_its_server_noticed_is_resumed_each_time() {
    let stage = Stage::new().await;
    let (id, far) = (stage.near().id(), stage.far());
    let mut wire = stage.wire.clone();
    for value in 0..5_u64 {
        wire.cut(Direction::Both);
        far.emit("n", &value).await.unwrap();
        assert!(far.is_attached(), "its server believes that it is there");
        wire = Chaos::new(Memory::new(&*stage.name), value);
        assert_eq!(stage.session.move_to(wire.clone()).await.unwrap(), Outcome::Resumed);
        settle().await;
    }
    assert!(stage.here.split().0.into_iter().eq(0..5));
    let stats = stage.server.stats();
    assert_eq!((stats.sessions, stats.sockets, stats.takeovers), (1, 1, 5));
    assert_eq!(stage.near().id(), id);
}

#[tokio::test(start_paused = true)]
async fn hole_06_of_two_who_show_one_token_one_has_the_session() {
    let house = House::new(|namespace| namespace).await;
    let diaries = [Diary::default(), Diary::default(), Diary::default()];
    let first = house.process(&diaries[0], None).await;
    let id = first.of("/").unwrap().id();
    let token = house.newest();
    let come = |place: usize| {
        let client = Client::new(Memory::new(&*house.name)).mount(diaries[place].keep("/"));
        within(client.mount(Namespace::new("/other")).resume_with(token.clone()).connect())
    };
    // Who is replaced before it has been told anything has no session at all.
    let (second, third) = tokio::join!(come(1), come(2));
    settle().await;
    let sessions = [Ok(first), second, third];
    let has_it = |session: &Result<Session, ConnectError>| {
        let socket = session.as_ref().ok().and_then(|session| session.of("/").ok());
        socket.is_some_and(|socket| socket.id() == id)
    };
    assert_eq!(sessions.iter().filter(|session| has_it(session)).count(), 1);
    house.server.socket("/", id).unwrap().emit("n", &7_u64).await.unwrap();
    settle().await;
    for (session, diary) in sessions.iter().zip(&diaries) {
        assert_eq!(diary.count(), usize::from(has_it(session)));
    }
}

/// A stage whose server asks a list, and how often it has done so.
async fn guarded() -> (Stage, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (banned, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (list, times) = (Arc::clone(&banned), Arc::clone(&asked));
    let far = move |namespace: Namespace| {
        namespace.authorize(move |_| {
            times.fetch_add(1, Ordering::Relaxed);
            let is_banned = list.load(Ordering::Relaxed);
            async move { if is_banned { Err(Refusal::with("banned")) } else { Ok(()) } }
        })
    };
    let stage = Stage::with_namespaces(Config::default(), |it| it, far).await;
    (stage, banned, asked)
}

#[tokio::test(start_paused = true)]
async fn hole_07_who_is_not_let_in_again_has_heard_nothing() {
    let (stage, banned, _) = guarded().await;
    let far = stage.far();
    // One of each: written on a link that was lost, and waiting.
    stage.wire.cut(Direction::In);
    far.emit("n", &1_u64).await.unwrap();
    settle().await;
    stage.wire.cut(Direction::Both);
    stage.wire.sever();
    becomes(|| far.is_attached(), false).await;
    far.emit("n", &2_u64).await.unwrap();
    banned.store(true, Ordering::Relaxed);
    stage.wire.heal(Direction::Both);
    let refused = || matches!(stage.session.of("/"), Err(NamespaceError::Refused { .. }));
    becomes(refused, true).await;
    settle().await;
    assert_eq!(stage.here.split().0, [0; 0], "not a word");
    assert_eq!(stage.server.stats().replayed, 0, "not even as far as the wire");
}

#[tokio::test(start_paused = true)]
async fn hole_08_who_may_be_there_is_asked_at_each_resume() {
    let (stage, _, asked) = guarded().await;
    for times in 1..5 {
        assert_eq!(asked.load(Ordering::Relaxed), times);
        stage.cut().await;
        stage.attached().await;
        assert_eq!(stage.session.outcome(), Outcome::Resumed);
    }
}

/// A peer that can be resumed.
async fn raw(server: &Server) -> (std::net::SocketAddr, RawPeer, Welcome) {
    let listening = server.listen(Endpoint::new("tcp://127.0.0.1:0").unwrap()).await.unwrap();
    let address = listening.endpoint().trim_start_matches("tcp://").parse().unwrap();
    let greeting = Hello { resumable: true, ..hello() };
    let (peer, welcome) = RawPeer::connect(address).await.greet(greeting).await;
    (address, peer, welcome)
}

#[tokio::test]
async fn hole_09_what_its_receiver_cannot_read_ends_the_session_and_is_not_sent_for_ever() {
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    let (address, mut peer, welcome) = raw(&server).await;
    peer.send(&Packet::From(1)).await;
    peer.send(&support::raw::connect(0, "/")).await;
    assert_eq!(peer.next().await, Some(Packet::From(1)));
    peer.accepted().await;
    server.of("/").emit("poison", "to this peer").await.unwrap();
    assert!(matches!(peer.next_said().await, Some(Packet::Event(_))));
    // It has choked, as a session does whose codec cannot read a frame.
    let detail = EventName::from_static("not a packet");
    peer.send(&Packet::Close(Close { code: CloseCode::Protocol, detail })).await;
    becomes(|| server.stats().sessions, 0).await;
    assert_eq!(server.stats().in_doubt, 1, "nobody knows whether it was read");

    let greeting = Hello { resumes: true, resumable: true, nonce: 8, ..hello() };
    let namespaces = vec![(NamespaceNumber(0), emitwire::Payload::empty())];
    let (session, token) = (welcome.session, welcome.token);
    let attach = Attach { session, token, position: 1, trimmed: 0, namespaces };
    let mut peer = RawPeer::connect(address).await;
    peer.send(&Packet::Hello(greeting)).await;
    peer.send(&Packet::Attach(attach)).await;
    let Some(Packet::Welcome(again)) = peer.next().await else { panic!("no welcome") };
    assert_eq!(again.outcome, Outcome::New);
    assert_ne!(again.session, session);
    assert_eq!(server.stats().replayed, 0);
}

#[tokio::test(start_paused = true)]
async fn hole_09_a_client_that_reads_garbage_begins_a_new_session_and_stays_in_it() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    stage.wire.set(Direction::In, Faults::new().corruption(1.0));
    let speak = || {
        let _ = far.try_emit("n", &7_u64);
        near.ended().is_some()
    };
    becomes(speak, true).await;
    assert!(matches!(near.ended(), Some(DisconnectReason::Protocol(_))), "{:?}", near.ended());
    stage.wire.set(Direction::In, Faults::new());
    becomes(|| stage.session.of("/").is_ok(), true).await;
    let (id, attaches) = (stage.near().id(), stage.session.stats().attaches);
    let _ = stage.here.take();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.here.take(), [""; 0], "nothing of the old session");
    assert_eq!((stage.near().id(), stage.session.stats().attaches), (id, attaches));
    assert_eq!((stage.server.stats().sessions, stage.server.stats().replayed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn hole_10_what_is_kept_is_kept_for_somebody_and_has_a_bound() {
    let mut config = Config::default();
    config.log_packets_max = 100;
    let stage = Stage::with(config).await;
    stage.cut().await;
    stage.wire.cut(Direction::Both);
    let nobody = stage.server.of("/").to("empty");
    for value in 0..100_000_u64 {
        assert_eq!(nobody.emit("n", &value).await.unwrap().accepted, 0);
    }
    assert_eq!(stage.server.stats().waiting, 0);
    let everybody = stage.server.of("/");
    for value in 0..100_000_u64 {
        everybody.emit("n", &value).await.unwrap();
    }
    // One of them is a gap, which counts all that are not kept.
    let stats = stage.server.stats();
    assert_eq!((stats.waiting, stats.overflowed), (100, 99_901));
}

#[tokio::test(start_paused = true)]
async fn hole_11_who_is_meant_is_decided_when_it_is_said() {
    let stage = Stage::new().await;
    let (far, everyone) = (stage.far(), stage.server.of("/"));
    stage.cut().await;
    everyone.clone().to("late").emit("n", &1_u64).await.unwrap();
    far.join("late").await.unwrap();
    everyone.clone().to("late").emit("n", &2_u64).await.unwrap();
    everyone.clone().except("late").emit("n", &3_u64).await.unwrap();
    far.leave("late").await.unwrap();
    everyone.clone().to("late").emit("n", &4_u64).await.unwrap();
    everyone.clone().except("late").emit("n", &5_u64).await.unwrap();
    stage.attached().await;
    assert_eq!(stage.here.split().0, [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn hole_12_a_server_process_that_is_gone_is_told_as_a_new_session_and_in_fates() {
    let (here, there, name) = (Diary::default(), Diary::default(), fresh_name());
    let server = Server::new().mount(there.keep("/")).unwrap();
    let listening = server.listen(Memory::new(&*name)).await.unwrap();
    let fates = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&fates);
    let namespace = here.keep("/").on_lost(move |lost: &Lost| told.lock().unwrap().push(lost.fate));
    let wire = Chaos::new(Memory::new(&*name), 7);
    let client = Client::new(wire.clone()).mount(namespace);
    let session = within(client.connect()).await.unwrap();
    let near = session.of("/").unwrap();
    // Written, and nobody says that it has arrived; and waiting.
    wire.cut(Direction::Out);
    near.emit("n", &1_u64).await.unwrap();
    settle().await;
    listening.close().await;
    wire.sever();
    becomes(|| session.is_attached(), false).await;
    near.emit("n", &2_u64).await.unwrap();
    // Of the old process nothing is left that could be asked.
    let next = Server::new().mount(there.keep("/")).unwrap();
    next.listen(Memory::new(&*name)).await.unwrap();
    wire.heal(Direction::Both);
    becomes(|| session.of("/").is_ok_and(|it| it.id() != near.id()), true).await;
    assert_eq!(session.outcome(), Outcome::New);
    let lost = Fate::Lost(LossReason::Closed);
    assert_eq!(*fates.lock().unwrap(), [lost, Fate::InDoubt]);
    let stats = session.stats();
    assert_eq!((stats.events_out, stats.lost, stats.in_doubt, stats.received), (2, 1, 1, 0));
    assert_eq!(there.split().0, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn hole_13_listeners_answers_and_data_outlive_a_link_and_the_end_of_a_session_is_told() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    let heard = stage.here.clone();
    let own = move |Data(value): Data<u64>| {
        heard.note(format!("{}", value + 100));
        async move { value + 100 }
    };
    near.on("own", own).unwrap();
    far.set_data(String::from("who it is"));
    stage.wire.cut(Direction::Both);
    let asked = tokio::spawn({
        let far = far.clone();
        async move { far.emit("own", &1_u64).ack::<u64>().await }
    });
    settle().await;
    stage.cut().await;
    stage.wire.heal(Direction::Both);
    stage.attached().await;
    assert_eq!(asked.await.unwrap().unwrap(), 101);
    assert_eq!(stage.here.split().0, [101]);
    assert_eq!(far.data::<String>().as_deref().map(String::as_str), Some("who it is"));
    // And when it is over, both ends say so.
    let _ = (stage.here.take(), stage.there.take());
    stage.wire.cut(Direction::Both);
    let asked = far.emit("own", &2_u64).ack::<u64>().timeout(Duration::from_secs(600)).await;
    assert!(matches!(asked, Err(AckError::Closed)), "{asked:?}");
    becomes(|| near.ended().is_some(), true).await;
    settle().await;
    for diary in [&stage.here, &stage.there] {
        let silence = ["detached: the peer fell silent", "ends: the peer fell silent"];
        assert_eq!(diary.split().1, silence);
    }
}

#[tokio::test(start_paused = true)]
async fn hole_14_nobody_comes_back_too_early() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    for value in 0..200_u64 {
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
        stage.wire.sever();
        // In the same instant.
        let moved = stage.session.move_to(stage.wire.clone()).await;
        assert_eq!(moved.unwrap(), Outcome::Resumed, "after {value}");
    }
    settle().await;
    for diary in [&stage.here, &stage.there] {
        assert!(diary.split().0.into_iter().eq(0..200));
    }
    assert_eq!(stage.server.stats().sessions, 1);
}

#[test]
fn hole_15_a_process_that_is_started_again_goes_on_where_the_one_before_was_killed() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let servers = runtime();
    let house = servers.block_on(House::new(|namespace| namespace));
    let (old, new) = (Diary::default(), Diary::default());
    let process = runtime();
    let (first, id) = process.block_on(async {
        let session = house.process(&old, None).await;
        let socket = session.of("/").unwrap();
        socket.emit("n", &1_u64).ack::<u64>().await.unwrap();
        (session, socket.id())
    });
    let saved = house.newest().to_string();
    // All that it was ends where it stands.
    process.shutdown_timeout(Duration::from_secs(5));
    kill(first);
    let far = house.server.socket("/", id).unwrap();
    servers.block_on(async { far.emit("n", &2_u64).await.unwrap() });
    runtime().block_on(async {
        let second = house.process(&new, Some(saved.parse().unwrap())).await;
        assert_eq!(second.outcome(), Outcome::Resumed);
        assert_eq!(second.of("/").unwrap().id(), id);
        becomes(|| new.count(), 1).await;
        assert_eq!(new.split().0, [2]);
    });
}
