//! A client behind a router that gives it another port, again and again.

use super::heard::{Heard, count_until};
use super::road::Road;
use super::support::endpoint;
use super::{becomes, come_in, listen, within};
use emitwire::{Server, Socket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MOVES: u64 = 6;

/// So many events are heard at either end between two moves.
const BETWEEN: u64 = 1_000;

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
    let over = Arc::new(AtomicBool::new(false));
    let talk = |socket: &Socket| tokio::spawn(count_until(socket.clone(), Arc::clone(&over)));
    let (to_server, to_client) = (talk(&socket), talk(&theirs));
    let mut seen = Vec::new();
    for _ in 0..MOVES {
        let (here, there) = (near.count(), far.count());
        near.reaches(here + BETWEEN).await;
        far.reaches(there + BETWEEN).await;
        road.change().await;
        seen.push(road.seen());
        becomes(|| server.stats().path_changes, seen.len() as u64).await;
        assert_eq!(theirs.peer().endpoint(), road.seen());
    }
    over.store(true, Ordering::Relaxed);
    let (to_server, to_client) = (within(to_server).await, within(to_client).await);
    let (to_server, to_client) = (to_server.unwrap(), to_client.unwrap());
    becomes(|| (near.count(), far.count()), (to_client, to_server)).await;
    near.heard_all(to_client);
    far.heard_all(to_server);
    println!("{to_server} events there and {to_client} back over {MOVES} moves");
    assert_eq!(moves.notes(), seen, "each move was told once, in order");
    let (ours, house) = (session.stats(), server.stats());
    assert_eq!((ours.detaches, ours.attaches, ours.path_changes), (0, 0, 0));
    assert_eq!((house.detaches, house.attaches, house.path_changes), (0, 0, MOVES));
    assert_eq!((house.sessions, house.links, house.protocol_errors), (1, 1, 0));
    assert_eq!((near.notes(), far.notes()), (Vec::new(), Vec::new()), "the link stayed");
}
