//! Answers that nobody asked for, that come twice or too late, or from somebody else; handlers
//! that never give one; and events that somebody awaits.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, encode, event, event_packet, framed, text};
use super::support::{all, becomes, sockets, within};
use super::target;
use emitwire::protocol::{
    AckPacket, EventPacket, EventRef, Nak, NakPacket, Packet, ProducerId, RESERVED_NAMES,
};
use emitwire::{AckError, Config, Data, DisconnectReason, Namespace, Socket, Unhandled, WaitError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

fn ack(event: EventRef, says: &str) -> Packet {
    Packet::Ack(AckPacket { event, payload: text(says) })
}

fn nak(event: EventRef, nak: Nak) -> Packet {
    Packet::Nak(NakPacket { event, nak })
}

/// The next event that the peer is asked something by.
async fn asked(peer: &mut RawPeer) -> EventPacket {
    match peer.next_said().await {
        Some(Packet::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// In `/asks`, in a room of this name, with its socket at the server.
async fn in_room(chat: &Chat, room: &str) -> (RawPeer, Socket) {
    let before = sockets(&chat.server.of("/asks"));
    let peer = RawPeer::joined(chat.address, "/asks").await;
    let mut ids = sockets(&chat.server.of("/asks"));
    ids.retain(|id| !before.contains(id));
    let socket = chat.server.socket("/asks", ids[0]).unwrap();
    socket.join(room).await.unwrap();
    (peer, socket)
}

/// What was sent before this has been handled when the answer is here.
async fn fence(peer: &mut RawPeer, number: u64) {
    peer.send(&event(number, "text", text("fence"))).await;
    loop {
        match peer.next_said().await {
            Some(Packet::Ack(ack)) if ack.event.number == number => return,
            Some(Packet::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn asks() -> Namespace {
    Namespace::new("/asks").on("text", |Data(text): Data<String>| async move { text.len() })
}

fn ask(socket: &Socket) -> JoinHandle<Result<String, AckError>> {
    let socket = socket.clone();
    tokio::spawn(async move { socket.emit("ask", &()).ack().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_asked_for_are_counted_and_cost_nobody_anything() {
    const ANSWERS: u64 = 100_000;
    let chat = Chat::with(Config::default(), [asks()]).await;
    let before = chat.wait_p99().await;
    let (mut peer, socket) = in_room(&chat, "one").await;
    let waits = ask(&socket);
    let question = asked(&mut peer).await.event;
    let mut batch = Vec::new();
    for number in 0..ANSWERS {
        // Numbers of the server itself, of which most are yet to come, and of nobody.
        let producer = (number % 2 == 0).then_some(ProducerId(0xda));
        let event = EventRef { producer, number: question.number + 1 + number };
        let answer = match number % 3 {
            0 => nak(event, Nak::Failed),
            _ => ack(event, "unasked"),
        };
        batch.extend(framed(&encode(&answer)));
        if batch.len() > 64 * 1024 {
            peer.send_bytes(&std::mem::take(&mut batch)).await;
        }
    }
    peer.send_bytes(&batch).await;
    becomes(|| chat.stats().unasked > 0, true).await;
    chat.is_undisturbed(before).await;
    // Numbers of the server that the ten use meanwhile are theirs. A nak also comes unasked.
    let acks = (0..ANSWERS).filter(|number| number % 3 != 0).count() as u64;
    becomes(|| chat.stats().unasked, acks).await;
    peer.send(&ack(question, "asked")).await;
    assert_eq!(within(waits).await.unwrap().unwrap(), "asked");
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.unasked, stats.protocol_errors), (acks, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_answers_to_one_event_the_first_one_counts() {
    let chat = Chat::with(Config::default(), [asks()]).await;
    let (mut peer, socket) = in_room(&chat, "one").await;
    // Of the two acks of a round one or none is the answer.
    for (round, first_is_nak, unasked) in [(0, false, 1), (1, true, 3)] {
        let waits = ask(&socket);
        let question = asked(&mut peer).await.event;
        let (first, second) = (ack(question, "first"), nak(question, Nak::Failed));
        let answers = if first_is_nak { [second, first] } else { [first, second] };
        for answer in answers.iter().chain(&answers) {
            peer.send(answer).await;
        }
        match within(waits).await.unwrap() {
            Ok(answer) if !first_is_nak => assert_eq!(answer, "first"),
            Err(AckError::Refused(Nak::Failed)) if first_is_nak => {}
            other => panic!("{other:?}"),
        }
        fence(&mut peer, round + 1).await;
        assert_eq!(chat.stats().unasked, unasked);
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_for_somebody_else() {
    let chat = Chat::with(Config::default(), [asks()]).await;
    let (mut ann, her) = in_room(&chat, "one").await;
    let (mut bob, _) = in_room(&chat, "two").await;
    // To her alone, and to her room.
    let waits = ask(&her);
    let question = asked(&mut ann).await.event;
    let room = chat.server.of("/asks").to("one");
    let mut answers = within(room.emit("ask", &()).ack::<String>()).await.unwrap();
    let to_room = asked(&mut ann).await.event;
    for event in [question, to_room] {
        bob.send(&ack(event, "bob")).await;
        bob.send(&nak(event, Nak::Failed)).await;
    }
    fence(&mut bob, 1).await;
    assert_eq!(chat.stats().unasked, 2);
    assert!(!waits.is_finished());
    for event in [question, to_room] {
        ann.send(&ack(event, "ann")).await;
    }
    assert_eq!(within(waits).await.unwrap().unwrap(), "ann");
    let (from, answer) = within(answers.next()).await.unwrap();
    assert_eq!((from, answer.unwrap()), (her.id(), "ann".to_owned()));
    assert!(within(answers.next()).await.is_none());
    assert_eq!(chat.stats().unasked, 2);
    drop((ann, bob));
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_of_a_broadcast_answers_once_however_often_it_does() {
    const MEMBERS: usize = 20;
    let chat = Chat::with(Config::default(), [asks()]).await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(in_room(&chat, "one").await);
    }
    let room = chat.server.of("/asks").to("one");
    let answers = within(room.emit("ask", &()).ack::<String>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, MEMBERS);
    let mut wanted = Vec::new();
    for (number, (peer, socket)) in members.iter_mut().enumerate() {
        let question = asked(peer).await.event;
        let says = format!("member {number}");
        for answer in [&says, "again", "and again"] {
            peer.send(&ack(question, answer)).await;
        }
        peer.send(&nak(question, Nak::Failed)).await;
        wanted.push((socket.id(), says));
    }
    let answers = within(answers.all()).await;
    let mut answers: Vec<_> =
        answers.into_iter().map(|(from, answer)| (from, answer.unwrap())).collect();
    answers.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(answers, wanted);
    becomes(|| chat.stats().unasked, 2 * MEMBERS as u64).await;
    drop(members);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_are_late_or_gone_are_in_the_answers_once_and_their_own_come_too_late() {
    let chat = Chat::with(Config::default(), [asks()]).await;
    let (mut late, its) = in_room(&chat, "one").await;
    let (mut gone, left) = in_room(&chat, "one").await;
    let room = chat.server.of("/asks").to("one").timeout(Duration::from_millis(200));
    let mut answers = within(room.emit("ask", &()).ack::<String>()).await.unwrap();
    let questions = (asked(&mut late).await.event, asked(&mut gone).await.event);
    // Its socket ends, and its session goes on.
    left.disconnect("enough");
    match within(answers.next()).await {
        Some((from, Err(AckError::Closed))) => assert_eq!(from, left.id()),
        other => panic!("{other:?}"),
    }
    match within(answers.next()).await {
        Some((from, Err(AckError::Timeout { .. }))) => assert_eq!(from, its.id()),
        other => panic!("{other:?}"),
    }
    assert!(within(answers.next()).await.is_none());
    assert!(matches!(gone.next_said().await, Some(Packet::Leave(_))));
    late.send(&ack(questions.0, "late")).await;
    gone.send(&ack(questions.1, "gone")).await;
    becomes(|| chat.stats().unasked, 2).await;
    assert!(within(answers.next()).await.is_none());
    // The session of the one that is gone is as good as before.
    gone.send(&connect(1, "/asks")).await;
    gone.accepted().await;
    drop((late, gone));
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_behind_the_end_of_its_socket_answers_only_what_that_was_asked() {
    let mut config = Config::default();
    config.ack_timeout = Duration::from_millis(500);
    let chat = Chat::with(config, [asks(), target()]).await;
    let (mut peer, socket) = in_room(&chat, "one").await;
    let waits = ask(&socket);
    let question = asked(&mut peer).await.event;
    socket.disconnect("enough");
    assert!(matches!(peer.next_said().await, Some(Packet::Leave(_))));
    // It may have been handled before the end: the answer is to this event and to no other.
    peer.send(&connect(1, "/target")).await;
    let other = peer.accepted().await.socket;
    let other = chat.server.socket("/target", other).unwrap();
    let others = ask(&other);
    let others_question = asked(&mut peer).await.event;
    assert_ne!(question, others_question);
    peer.send(&ack(question, "of the first")).await;
    peer.send(&ack(others_question, "of the other")).await;
    assert_eq!(within(others).await.unwrap().unwrap(), "of the other");
    match within(waits).await.unwrap() {
        Ok(answer) => assert_eq!(answer, "of the first"),
        Err(AckError::Closed) => {}
        Err(error) => panic!("{error}"),
    }
    let unasked = chat.stats().unasked;
    peer.send(&ack(question, "again")).await;
    becomes(|| chat.stats().unasked, unasked + 1).await;
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_ends_is_cancelled_and_the_next_event_has_its_turn() {
    let mut config = Config::default();
    config.handler_timeout = Duration::from_millis(100);
    let never = std::future::pending::<()>;
    let stuck = Namespace::new("/stuck")
        .on("stuck", never)
        .on("two", || async {})
        .on("two", never)
        .on("text", || async {})
        .fallback(never);
    let chat = Chat::with(config, [stuck]).await;
    let before = chat.wait_p99().await;
    let mut peers = all((0..20).map(|_| RawPeer::joined(chat.address, "/stuck"))).await;
    let names = ["stuck", "two", "whatever", "stuck"];
    for peer in &mut peers {
        for (number, name) in (1..).zip(names) {
            peer.send(&event(number, name, text("a"))).await;
        }
        // Nobody cares for the answer of a volatile one, and the next has its turn all the same.
        peer.send(&Packet::Volatile(event_packet(9, "stuck", text("a")))).await;
        peer.send(&event(10, "text", text("a"))).await;
    }
    for peer in &mut peers {
        for number in 1..=4 {
            match peer.next_said().await {
                Some(Packet::Nak(nak)) => {
                    assert_eq!((nak.event.number, nak.nak), (number, Nak::Timeout));
                }
                other => panic!("{other:?}"),
            }
        }
        match peer.next_said().await {
            Some(Packet::Ack(ack)) => assert_eq!(ack.event.number, 10),
            other => panic!("{other:?}"),
        }
    }
    chat.is_undisturbed(before).await;
    let stats = chat.server.namespace_stats("/stuck").unwrap();
    assert_eq!((stats.timed_out, stats.refused, stats.handled), (80, 80, 20));
    assert_eq!((stats.cancelled, stats.volatile_missed), (0, 0));
    drop(peers);
    chat.end().await;
}

/// Awaits ticks one after the other until its socket ends: how many came, and why it ended.
async fn count_ticks(socket: Socket, ticks: Arc<AtomicU64>) -> DisconnectReason {
    loop {
        match socket.once("tick").await {
            Ok(_) => ticks.fetch_add(1, Ordering::Relaxed),
            Err(WaitError::Closed { reason }) => return reason,
            Err(error) => panic!("{error}"),
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_awaited_events_is_served_parked_or_refused_and_none_is_forgotten() {
    const TICKS: u64 = 20_000;
    let mut config = Config::default();
    config.parked_events_max = 64;
    let patient = Namespace::new("/ticks")
        .unhandled(Unhandled::Park { ttl: Duration::from_millis(200) })
        .on("text", || async {});
    let chat = Chat::with(config, [patient]).await;
    let before = chat.wait_p99().await;
    let guest = chat.guest(Namespace::new("/ticks")).await;
    let ours = guest.of("/ticks").unwrap();
    let socket = chat.server.socket("/ticks", ours.id()).unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let waits = tokio::spawn(count_ticks(socket, Arc::clone(&taken)));
    let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watches = tokio::spawn({
        let (server, over, most) = (chat.server.clone(), Arc::clone(&over), Arc::clone(&most));
        async move {
            while !over.load(Ordering::Acquire) {
                most.fetch_max(server.stats().parked, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..TICKS {
        within(ours.emit("tick", &())).await.unwrap();
    }
    within(ours.emit("text", &()).ack::<()>()).await.unwrap();
    let stats = || chat.server.namespace_stats("/ticks").unwrap();
    becomes(|| (stats().events_in, stats().parked), (TICKS + 1, 0)).await;
    becomes(|| stats().handled + stats().refused, TICKS + 1).await;
    over.store(true, Ordering::Release);
    within(watches).await.unwrap();
    assert!(most.load(Ordering::Relaxed) <= 64 + 1, "{most:?} were parked");
    assert_eq!(stats().refused, stats().unheard);
    becomes(|| taken.load(Ordering::Relaxed), stats().handled - 1).await;
    chat.is_undisturbed(before).await;
    within(guest.close()).await;
    assert_eq!(within(waits).await.unwrap(), DisconnectReason::ClosedByPeer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_awaits_an_event_of_a_socket_that_ends_is_told_so() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut waits = Vec::new();
    for how in 0..3 {
        let peer = RawPeer::joined(chat.address, "/target").await;
        let id = sockets(&chat.server.of("/target"))[0];
        let socket = chat.server.socket("/target", id).unwrap();
        let (waiting, ticks) = (socket.clone(), Arc::default());
        // Many of them, so that not only the first is told.
        let many = all((0..100).map(|_| count_ticks(waiting.clone(), Arc::clone(&ticks))));
        // It has begun to wait before the end.
        let mut many = Box::pin(many);
        assert!(super::support::poll_once(&mut many).is_pending());
        match how {
            0 => peer.kill(),
            1 => drop(peer),
            _ => socket.disconnect("enough"),
        }
        let reasons = within(many).await;
        assert_eq!(reasons.len(), 100);
        waits.extend(reasons);
        becomes(|| sockets(&chat.server.of("/target")).len(), 0).await;
        // And it cannot be awaited afterwards.
        assert!(matches!(within(socket.once("tick")).await, Err(WaitError::Closed { .. })));
    }
    assert_eq!(waits[0], DisconnectReason::LinkLost);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_reserved_names_is_rejected_and_missed_and_disturbs_nobody() {
    const ROUNDS: u64 = 1_000;
    let chat = Chat::with(Config::default(), [target()]).await;
    let before = chat.wait_p99().await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    for round in 0..ROUNDS {
        let name = RESERVED_NAMES[round as usize % RESERVED_NAMES.len()];
        let named = event_packet(round + 1, name, text("a"));
        let mut batch = framed(&encode(&Packet::Event(named.clone())));
        for _ in 0..20 {
            batch.extend(framed(&encode(&Packet::Volatile(named.clone()))));
        }
        peer.send_bytes(&batch).await;
        match peer.next_said().await {
            Some(Packet::Nak(nak)) => {
                assert_eq!(nak.event.number, round + 1);
                assert!(matches!(nak.nak, Nak::Rejected(_)), "{:?}", nak.nak);
            }
            other => panic!("{other:?}"),
        }
    }
    becomes(|| chat.stats().volatile_missed, 20 * ROUNDS).await;
    chat.is_undisturbed(before).await;
    peer.send(&event(ROUNDS + 1, "text", text("still here"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    let stats = chat.end().await;
    assert_eq!((stats.refused, stats.protocol_errors), (ROUNDS, 0));
}
