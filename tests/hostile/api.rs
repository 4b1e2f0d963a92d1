//! Handlers that overdo it because a peer has them: rooms, listeners, names and types without end.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, connect, event, event_packet, text};
use super::support::{becomes, endpoint, rooms, within};
use super::{accused, target};
use emitwire::protocol::{EVENT_NAME_BYTES_MAX, Nak, Packet, Payload, RESERVED_NAMES, Shape};
use emitwire::{
    AckError, Args, Client, Config, Data, EmitError, ListenError, MountError, Namespace,
    PayloadError, RoomError, Server, Session, Socket, WaitError,
};
use serde::Serialize;
use std::fmt::Debug;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

const LISTENERS_MAX: usize = 10_000;
const MILLION: usize = 1_000_000;

/// A megabyte.
fn endless_name() -> String {
    "a".repeat(MILLION)
}

/// A handler that is alive for as long as somebody has it.
fn counted(alive: &Arc<()>) -> impl Fn() -> std::future::Ready<()> + Send + Sync + 'static {
    let alive = Arc::clone(alive);
    move || {
        let _ = &alive;
        std::future::ready(())
    }
}

/// How many of those handlers there are.
fn living(alive: &Arc<()>) -> usize {
    Arc::strong_count(alive) - 1
}

/// Joins one room after another without a pause: how many it got into, and how many were too many.
async fn join_without_end(socket: Socket) -> Result<(usize, usize), RoomError> {
    let (mut joined, mut refused) = (0, 0);
    for number in 0..100_000 {
        match socket.join(format!("room {number}")).await {
            Ok(()) => joined += 1,
            Err(RoomError::TooManyRooms { max: 256 }) => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((joined, refused))
}

/// Joins a hundred thousand rooms in one call, and rooms whose names have no end.
async fn join_at_once(socket: Socket) -> bool {
    let many: Vec<String> = (0..100_000).map(|number| format!("many {number}")).collect();
    let many = socket.join(many).await;
    let long = socket.join(endless_name()).await;
    let among_others = socket.join(vec!["short".to_owned(), endless_name()]).await;
    let too_long = Err(RoomError::NameTooLong { bytes: MILLION, max: 255 });
    many == Err(RoomError::TooManyRooms { max: 256 })
        && long == too_long
        && among_others == too_long
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_joins_of_one_socket_are_as_many_rooms_as_it_may_have() {
    let greedy = Namespace::new("/greedy")
        .on("at once", join_at_once)
        .on("without end", join_without_end)
        .on("leave", |socket: Socket| async move { socket.leave(socket.rooms()?).await });
    let chat = Chat::with(Config::default(), [greedy]).await;
    let before = chat.wait_p99().await;
    let guest = chat.guest(Namespace::new("/greedy")).await;
    let socket = guest.of("/greedy").unwrap();
    let refused: bool = within(socket.emit("at once", &()).ack()).await.unwrap();
    assert!(refused);
    assert_eq!(rooms(&chat.server.of("/greedy")), [], "all of them or none");
    let counts: (usize, usize) = within(socket.emit("without end", &()).ack()).await.unwrap();
    assert_eq!(counts, (256, 100_000 - 256));
    assert_eq!(rooms(&chat.server.of("/greedy")).len(), 256);
    assert_eq!(chat.stats().rooms, 256 + 1, "and the lobby");
    // Whoever leaves has room again, and no more than before.
    within(socket.emit("leave", &()).ack::<()>()).await.unwrap();
    assert_eq!(chat.stats().rooms, 1);
    let again: (usize, usize) = within(socket.emit("without end", &()).ack()).await.unwrap();
    assert_eq!(again, counts);
    chat.is_undisturbed(before).await;
    within(guest.close()).await;
    becomes(|| chat.stats().rooms, 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_all_into_a_room_too_many_leaves_out_those_for_whom_it_is() {
    let mut config = Config::default();
    config.rooms_per_socket_max = 2;
    let full = Namespace::new("/full")
        .on_connect(|socket: Socket| async move { socket.join(["one", "two"]).await });
    let chat = Chat::with(config, [full]).await;
    let guest = chat.guest(Namespace::new("/full")).await;
    becomes(|| rooms(&chat.server.of("/full")).len(), 2).await;
    let everyone = chat.server.of("/full");
    for room in ["three".to_owned(), endless_name()] {
        let fanout = within(everyone.join_all(room)).await.unwrap();
        assert_eq!((fanout.accepted, fanout.dropped), (0, 1));
    }
    assert_eq!(chat.stats().rooms, 2 + 1);
    within(guest.close()).await;
    chat.end().await;
}

/// As many listeners as there may be, and a typed error for each of the others.
fn bounded(max: usize, listened: impl Iterator<Item = Result<(), ListenError>>) {
    let too_many = ListenError::TooMany { max };
    for (place, listened) in listened.enumerate() {
        let wanted = if place < max { Ok(()) } else { Err(too_many.clone()) };
        assert_eq!(listened, wanted, "listener {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_listeners_of_a_namespace_are_as_many_as_it_may_have() {
    let greedy = Namespace::new("/greedy").on("still here", || async { "yes" });
    let chat = Chat::with(Config::default(), [greedy.clone()]).await;
    let before = chat.wait_p99().await;
    let mut peer = RawPeer::joined(chat.address, "/greedy").await;
    let (alive, emitter) = (Arc::new(()), greedy.emitter());
    assert!(emitter.off_all("still here") == 1, "so that none is there");
    // Of one name, of as many names, and those that hear everything: one bound for all of them.
    bounded(
        LISTENERS_MAX,
        (0..MILLION).map(|place| {
            match place % 4 {
                0 => emitter.on("again", counted(&alive)),
                1 => emitter.once("again", counted(&alive)),
                2 => emitter.on(&place.to_string(), counted(&alive)),
                _ => emitter.on_any(counted(&alive)),
            }
            .map(|_| ())
        }),
    );
    assert_eq!(living(&alive), LISTENERS_MAX, "those that were refused are gone");
    assert_eq!(emitter.listener_count("again"), LISTENERS_MAX / 2);
    assert_eq!(emitter.event_names().len(), 1 + LISTENERS_MAX / 4);
    chat.is_undisturbed(before).await;
    emitter.off_any();
    for name in emitter.event_names() {
        emitter.off_all(&name);
    }
    assert_eq!(living(&alive), 0);
    emitter.on("still here", || async { "yes" }).unwrap();
    peer.send(&event(1, "still here", text("?"))).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_listeners_of_a_socket_are_as_many_as_it_may_have_and_end_with_it() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let greedy = Namespace::new("/greedy").on("listen", move |socket: Socket| {
        let alive = Arc::clone(&held);
        async move {
            bounded(
                LISTENERS_MAX,
                (0..MILLION).map(|place| {
                    match place % 3 {
                        0 => socket.on("again", counted(&alive)),
                        1 => socket.once("again").then(counted(&alive)),
                        _ => socket.on_any(counted(&alive)),
                    }
                    .map(|_| ())
                }),
            );
            socket.emitter().listener_count("again")
        }
    });
    let chat = Chat::with(Config::default(), [greedy]).await;
    let before = chat.wait_p99().await;
    let guest = chat.guest(Namespace::new("/greedy")).await;
    let other = chat.guest(Namespace::new("/greedy")).await;
    let socket = guest.of("/greedy").unwrap();
    let named: usize = within(socket.emit("listen", &()).ack()).await.unwrap();
    assert_eq!(named, LISTENERS_MAX * 2 / 3 + 1);
    // One is the handler's own.
    assert_eq!(living(&alive), 1 + LISTENERS_MAX);
    chat.is_undisturbed(before).await;
    within(guest.close()).await;
    becomes(|| living(&alive), 1).await;
    // The bound is each socket's own.
    let socket = other.of("/greedy").unwrap();
    let named: usize = within(socket.emit("listen", &()).ack()).await.unwrap();
    assert_eq!(named, LISTENERS_MAX * 2 / 3 + 1);
    within(other.close()).await;
    becomes(|| living(&alive), 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_told_what_goes_out_and_those_who_wait_have_the_same_bound() {
    const MOST: usize = 2000;
    let mut config = Config::default();
    config.listeners_max = MOST;
    let chat = Chat::with(config.clone(), [target()]).await;
    let before = chat.wait_p99().await;
    let client = Client::new(endpoint(&chat.url())).config(config);
    let guest = within(client.mount(Namespace::new("/target")).connect()).await.unwrap();
    let socket = guest.of("/target").unwrap();
    let alive = Arc::new(());
    bounded(
        MOST,
        (0..MILLION).map(|_| {
            let alive = Arc::clone(&alive);
            let tell = move |_: &emitwire::Event| {
                let _ = &alive;
            };
            socket.on_any_outgoing(tell).map(|_| ())
        }),
    );
    assert_eq!(living(&alive), MOST);
    let mut waiting = Vec::new();
    for place in 0..2 * MOST {
        let mut once = socket.once("never").into_future();
        match (super::support::poll_once(&mut once), place < MOST) {
            (std::task::Poll::Pending, true) => waiting.push(once),
            (std::task::Poll::Ready(Err(WaitError::Listen(error))), false) => {
                assert_eq!(error, ListenError::TooMany { max: MOST });
            }
            (other, _) => panic!("{other:?} at {place}"),
        }
    }
    drop(waiting);
    let last = within(socket.once("never").timeout(Duration::ZERO)).await;
    assert_eq!(last.unwrap_err(), WaitError::Timeout { after: Duration::ZERO });
    chat.is_undisturbed(before).await;
    within(guest.close()).await;
    becomes(|| living(&alive), 0).await;
    chat.end().await;
}

#[test]
fn a_namespace_with_too_many_listeners_cannot_be_mounted() {
    let greedy = Namespace::new("/greedy");
    for _ in 0..=LISTENERS_MAX {
        greedy.emitter().on("again", || async {}).unwrap();
    }
    let wanted = MountError::Listen(ListenError::TooMany { max: LISTENERS_MAX });
    assert_eq!(Server::new().mount(greedy.clone()).map(drop).unwrap_err(), wanted);
    // Nothing is left of the attempt: the path is free.
    greedy.emitter().off_all("again");
    Server::new().mount(greedy).unwrap();
}

fn too_long<T: Debug>(emitted: Result<T, EmitError>) {
    match emitted {
        Err(EmitError::NameTooLong { bytes: MILLION, max: EVENT_NAME_BYTES_MAX }) => {}
        other => panic!("{other:?}"),
    }
}

fn reserved<T: Debug>(emitted: Result<T, EmitError>) {
    assert!(matches!(emitted, Err(EmitError::Reserved { .. })), "{emitted:?}");
}

/// Says something under this name in every way that a socket has.
async fn emits(socket: &Socket, name: &str, check: impl Fn(Result<(), EmitError>)) {
    check(within(socket.emit(name, &1)).await);
    check(within(socket.emit(name, &1).volatile()).await);
    check(socket.try_emit(name, &1));
    match within(socket.emit(name, &1).ack::<()>()).await {
        Err(AckError::Emit(error)) => check(Err(error)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_without_end_and_reserved_ones_are_refused_wherever_they_are_used() {
    let greedy = Namespace::new("/greedy").on("still here", || async {});
    let chat = Chat::with(Config::default(), [greedy.clone()]).await;
    let guest = chat.guest(Namespace::new("/greedy")).await;
    let (ours, id) = (guest.of("/greedy").unwrap(), guest.of("/greedy").unwrap().id());
    let theirs = chat.server.socket("/greedy", id).unwrap();
    let (name, everyone) = (endless_name(), chat.server.of("/greedy"));
    let before = chat.stats();
    for socket in [&ours, &theirs] {
        emits(socket, &name, too_long).await;
        for name in RESERVED_NAMES {
            emits(socket, name, reserved).await;
        }
    }
    too_long(within(everyone.emit(&name, &1)).await);
    too_long(within(everyone.emit(&name, &1).ack::<()>()).await);
    reserved(within(everyone.emit("connect", &1)).await);
    let wanted = ListenError::NameTooLong { bytes: MILLION, max: EVENT_NAME_BYTES_MAX };
    for emitter in [greedy.emitter(), ours.emitter(), theirs.emitter()] {
        assert_eq!(emitter.on(&name, || async {}), Err(wanted.clone()));
        assert_eq!(emitter.once(&name, || async {}), Err(wanted.clone()));
        assert!(matches!(
            emitter.on("connect", || async {}),
            Err(ListenError::Reserved { name }) if &*name == "connect"
        ));
    }
    let waited = within(ours.once(&name)).await;
    assert_eq!(waited.unwrap_err(), WaitError::Listen(wanted.clone()));
    let mounted = Server::new().mount(Namespace::new("/").on(&name, || async {}));
    assert_eq!(mounted.map(drop).unwrap_err(), MountError::Listen(wanted));
    let path = format!("/{name}");
    let mounted = Server::new().mount(Namespace::new(&path)).map(drop);
    assert_eq!(mounted.unwrap_err(), MountError::PathTooLong { bytes: MILLION + 1, max: 255 });
    // Nothing of it went out, and nothing waits.
    let after = chat.stats();
    assert_eq!(after.volatile_out, before.volatile_out);
    within(ours.emit("still here", &()).ack::<()>()).await.unwrap();
    assert_eq!(chat.server.namespace_stats("/greedy").unwrap().events_in, 1);
    within(guest.close()).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_a_megabyte_from_a_peer_closes_its_link() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let before = chat.wait_p99().await;
    let named = || event_packet(1, &endless_name(), text("a"));
    let attacks = [
        Packet::Event(named()),
        Packet::Volatile(named()),
        connect(1, &format!("/{}", "a".repeat(MILLION - 1))),
    ];
    for (errors, attack) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send(attack).await;
        let words = "a field of 1000000 bytes, at most 255 are allowed";
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.is_undisturbed(before).await;
    chat.end().await;
}

/// Waits for the refusal of what was sent with this number.
async fn is_bad(answer: impl Future<Output = Option<Packet>>, number: u64) {
    match answer.await {
        Some(Packet::Nak(nak)) => {
            assert_eq!((nak.event.number, nak.nak), (number, Nak::BadPayload))
        }
        other => panic!("{other:?} for {number}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_a_wrong_type_or_too_deep_are_bad_and_counted_as_such() {
    #[derive(Serialize)]
    struct Named {
        number: &'static str,
    }
    let picky = Namespace::new("/picky")
        .on("number", |Data(_): Data<u8>| async {})
        .on("pair", |Args(_): Args<(u8, String)>| async {})
        .on("named", |Data(_): Data<std::collections::BTreeMap<String, u8>>| async {})
        .on("any", |Data(_): Data<serde_json::Value>| async {});
    let chat = Chat::with(Config::default(), [picky]).await;
    let mut peer = RawPeer::joined(chat.address, "/picky").await;
    let deep = |head: u8, depth| Payload::new([head].repeat(depth).into(), Shape::Value);
    let wrong = [
        ("number", Payload::encode(&256).unwrap()),
        ("number", Payload::encode(&-1).unwrap()),
        ("number", Payload::encode(&1.5).unwrap()),
        ("number", Payload::encode(&[1]).unwrap()),
        ("number", Payload::empty()),
        ("pair", Payload::encode(&(1, 2)).unwrap()),
        ("pair", Payload::encode(&(1, "a", "b")).unwrap()),
        ("named", Payload::encode(&Named { number: "one" }).unwrap()),
        ("named", Payload::encode(&7).unwrap()),
        ("any", deep(0x91, 250_000)),
        ("any", deep(0x81, 250_000)),
        ("number", deep(0x91, 250_000)),
    ];
    let count = wrong.len() as u64;
    for (number, (name, payload)) in (1..).zip(wrong) {
        peer.send(&event(number, name, payload)).await;
        is_bad(peer.next_said(), number).await;
    }
    for stats in [chat.stats(), chat.server.namespace_stats("/picky").unwrap()] {
        assert_eq!((stats.undecodable, stats.refused, stats.failed), (count, count, 0));
    }
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_a_wrong_type_is_an_error_where_it_was_awaited_and_nowhere_else() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let says = Namespace::new("/target").on("number", || async { "seven" });
    let guest: Session = chat.guest(says).await;
    let id = guest.of("/target").unwrap().id();
    let socket = chat.server.socket("/target", id).unwrap();
    let number = within(socket.emit("number", &()).ack::<u8>()).await;
    match number {
        Err(AckError::Payload { source: PayloadError::Decode { .. } }) => {}
        other => panic!("{other:?}"),
    }
    let everyone = chat.server.of("/target");
    let answers = within(everyone.emit("number", &()).ack::<u8>()).await.unwrap();
    let answers = within(answers.all()).await;
    match &answers[..] {
        [(from, Err(AckError::Payload { .. }))] => assert_eq!(*from, id),
        other => panic!("{other:?}"),
    }
    assert_eq!(chat.stats().unasked, 0);
    within(guest.close()).await;
    chat.end().await;
}
