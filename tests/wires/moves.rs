//! A client behind a router that gives it another port, again and again.

use super::heard::{Heard, count_to};
use super::road::Road;
use super::support::endpoint;
use super::{becomes, come_in, listen, within};
use emitwire::{Server, Socket};

const EVENTS: u64 = 20_000;
const MOVES: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_port_changes_again_and_again_keeps_its_link_and_misses_nothing() {
    let (near, far, moves) = (Heard::default(), Heard::default(), Heard::default());
    let tell = moves.clone();
    let namespace = far.keep().on_path_change(move |socket: Socket| {
        tell.note(socket.peer().endpoint());
        async {}
    });
    let server = Server::new().mount(namespace).unwrap();
    let url = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let road = Road::to(&url).await;
    let session = come_in(endpoint(&road.url()), near.keep()).await;
    let socket = session.of("/").unwrap();
    let theirs = server.socket("/", socket.id()).unwrap();
    assert_eq!(theirs.peer().endpoint(), road.seen());
    let talks = [(socket.clone(), EVENTS), (theirs.clone(), EVENTS)];
    let talks = talks.map(|(socket, end)| tokio::spawn(count_to(socket, end)));
    let mut seen = Vec::new();
    for _ in 0..MOVES {
        near.more(EVENTS / MOVES / 4).await;
        far.more(EVENTS / MOVES / 4).await;
        road.change().await;
        seen.push(road.seen());
        becomes(|| server.stats().path_changes, seen.len() as u64).await;
        assert_eq!(theirs.peer().endpoint(), road.seen());
    }
    for talk in talks {
        within(talk).await.unwrap();
    }
    becomes(|| (near.count(), far.count()), (EVENTS, EVENTS)).await;
    near.heard_all(EVENTS);
    far.heard_all(EVENTS);
    assert_eq!(moves.notes(), seen, "each move was told once, in order");
    let (ours, house) = (session.stats(), server.stats());
    assert_eq!((ours.detaches, ours.attaches, ours.path_changes), (0, 0, 0));
    assert_eq!((house.detaches, house.attaches, house.path_changes), (0, 0, MOVES));
    assert_eq!((house.sessions, house.links, house.protocol_errors), (1, 1, 0));
    assert_eq!((near.notes(), far.notes()), (Vec::new(), Vec::new()), "the link stayed");
}
