//! Sessions over the wire: what of them it carries, and what it tells them.

use super::end::within;
use super::raw::{self, OURS};
use super::relay::{Relay, Road};
use super::{client_of, server};
use emitwire_core::handler::{Data, Namespace};
use emitwire_core::run::{Client, Server, Session};
use emitwire_core::socket::Socket;
use std::future::ready;
use tokio::sync::mpsc;

/// A server, where it listens, and what its handlers hear.
async fn house() -> (Server, String, mpsc::UnboundedReceiver<String>) {
    let (note, noted) = mpsc::unbounded_channel();
    let moves = note.clone();
    let namespace = Namespace::new("/")
        .on("say", move |Data(word): Data<String>| {
            let _ = note.send(word);
            ready(())
        })
        .on_path_change(move |socket: Socket| {
            let _ = moves.send(socket.peer().endpoint().to_owned());
            ready(())
        });
    let house = Server::new().mount(namespace).unwrap();
    let listening = within(house.listen(server())).await.unwrap();
    let address = listening.endpoint().strip_prefix("quic://").unwrap().to_owned();
    (house, address, noted)
}

async fn visit(address: &str) -> (Session, Socket) {
    let client = Client::new(client_of(address)).mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    let socket = session.of("/").unwrap();
    (session, socket)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn events_arrive_volatile_ones_too() {
    let (house, address, mut noted) = house().await;
    let (session, socket) = visit(&address).await;
    within(socket.emit("say", "surely").received()).await.unwrap();
    assert_eq!(within(noted.recv()).await.unwrap(), "surely");
    socket.emit("say", "perhaps").volatile().await.unwrap();
    assert_eq!(within(noted.recv()).await.unwrap(), "perhaps");
    let large = "x".repeat(5000);
    socket.emit("say", &large).volatile().await.unwrap();
    assert_eq!(within(noted.recv()).await.unwrap(), large);
    assert_eq!(house.stats().volatile_in, 2);
    assert_eq!((session.stats().volatile_out, session.stats().volatile_dropped), (2, 0));
}

#[tokio::test]
async fn what_finds_no_room_on_the_wire_is_counted() {
    let (house, address, _noted) = house().await;
    let client = Client::new(client_of(&address).datagram_buffer(4000));
    let session = within(client.mount(Namespace::new("/")).connect()).await.unwrap();
    let socket = session.of("/").unwrap();
    let body = "x".repeat(1000);
    for _ in 0..20 {
        socket.emit("say", &body).volatile().await.unwrap();
    }
    within(socket.emit("say", "surely").received()).await.unwrap();
    let dropped = session.stats().volatile_dropped;
    assert!((10..20).contains(&dropped), "{dropped}");
    until(|| house.stats().volatile_in + dropped == 20).await;
}

#[tokio::test]
async fn a_client_that_moves_keeps_its_link_and_its_server_is_told() {
    let (house, address, mut noted) = house().await;
    let relay = Relay::new(&address, Road::default()).await;
    let (_session, socket) = visit(&relay.address.to_string()).await;
    relay.change().await;
    within(socket.emit("say", "elsewhere").received()).await.unwrap();
    let mut heard = [within(noted.recv()).await.unwrap(), within(noted.recv()).await.unwrap()];
    heard.sort();
    assert_eq!(heard, ["elsewhere".to_owned(), relay.seen()]);
    let stats = house.stats();
    assert_eq!((stats.path_changes, stats.detaches), (1, 0));
}

#[tokio::test]
async fn a_peer_that_is_refused_sees_the_code_of_its_goodbye() {
    let (house, address, _noted) = house().await;
    let endpoint = raw::client(OURS);
    let connection = raw::connect(&endpoint, &address).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // A heartbeat is not what a session begins with.
    send.write_all(&[1]).await.unwrap();
    send.write_all(&raw::framed(&[0x06, 0x00])).await.unwrap();
    let bytes = within(receive.read_to_end(1000)).await.unwrap();
    // The packet `close` with code `protocol`.
    assert_eq!(bytes[4..6], [0x0a, 2]);
    send.finish().unwrap();
    let quinn::ConnectionError::ApplicationClosed(close) = within(connection.closed()).await else {
        panic!("not closed by the server");
    };
    assert_eq!(close.error_code.into_inner(), 2);
    until(|| house.stats().handshakes_failed == 1).await;
}

#[tokio::test]
async fn datagrams_before_the_session_begins_disturb_nothing() {
    let (house, address, _noted) = house().await;
    let endpoint = raw::client(OURS);
    let connection = raw::connect(&endpoint, &address).await;
    // `tick` for namespace 0, by whoever has not said hello.
    for _ in 0..10 {
        connection.send_datagram(b"\x07\x00\x00\x00\x04tick\x90"[..].into()).unwrap();
    }
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    send.write_all(&raw::framed(&[0x06, 0x00])).await.unwrap();
    let bytes = within(receive.read_to_end(1000)).await.unwrap();
    let said = String::from_utf8_lossy(&bytes);
    assert!(said.contains("heartbeat") && !said.contains("volatile"), "{said}");
    send.finish().unwrap();
    until(|| house.stats().handshakes_failed == 1).await;
}
