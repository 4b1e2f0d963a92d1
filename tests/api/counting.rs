//! What is counted, of the whole, of a namespace and of a socket.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_event_is_counted_for_its_socket_its_namespace_and_the_whole() {
    let namespace = Namespace::new("/a")
        .unhandled(Unhandled::Nak)
        .on_connect(|socket: Socket| async move { socket.join("red").await })
        .on("fine", || async {})
        .on("typed", |Data(_): Data<u8>| async {})
        .on("broken", || async { "x".parse::<u8>() });
    let server = Server::new().mount(namespace).unwrap().mount(Namespace::new("/b")).unwrap();
    let ann = testing::connect(&server, "/a").await;
    let bob = testing::connect(&server, "/b").await;
    let socket = server.socket("/a", ann.id()).unwrap();
    ask::<()>(&ann, "fine").await.unwrap();
    for name in ["typed", "broken", "unheard"] {
        ask::<()>(&ann, name).await.unwrap_err();
    }
    within(socket.emit("x", &()).ack::<()>()).await.unwrap();
    within(server.of("/b").emit("x", &())).await.unwrap();
    within(bob.emit("x", &()).volatile()).await.unwrap();

    let [whole, of_a, of_b] = [
        server.stats(),
        server.namespace_stats("/a").unwrap(),
        server.namespace_stats("/b").unwrap(),
    ];
    assert_eq!((whole.sockets, of_a.sockets, of_b.sockets), (2, 1, 1));
    assert_eq!((whole.rooms, of_a.rooms, of_b.rooms), (1, 1, 0));
    assert_eq!((whole.sessions, of_a.sessions), (2, 0), "sessions belong to no namespace");
    assert_eq!((whole.events_in, of_a.events_in, of_b.events_in), (4, 4, 0));
    assert_eq!((whole.events_out, of_a.events_out, of_b.events_out), (2, 1, 1));
    assert_eq!((of_a.handled, of_a.refused), (1, 3));
    assert_eq!((of_a.undecodable, of_a.failed, of_a.unheard, of_a.timed_out), (1, 1, 1, 0));
    assert!(whole.bytes_in > 0 && whole.bytes_out > 0);
    assert_eq!(server.namespace_stats("/c"), None);

    let stats = socket.stats();
    assert_eq!((stats.events_in, stats.events_out), (4, 1));
    assert_eq!((stats.handled, stats.refused), (1, 3));
    assert!(stats.queue.is_attached && socket.is_attached());
    assert_eq!(ann.stats().events_out, 4);
    assert_eq!(ann.session().namespace_stats("/a").unwrap().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_counted_while_it_waits() {
    let namespace = Namespace::new("/");
    let (server, guest, socket) = one(namespace).await;
    guest.on("x", pending::<()>).unwrap();
    let more = 10;
    for _ in 0..Config::default().window_events + more {
        within(socket.emit("x", &())).await.unwrap();
    }
    let stats = server.stats();
    assert_eq!(stats.waiting, more as u64);
    assert!(stats.waiting_bytes >= more as u64);
    assert_eq!((stats.detached, socket.stats().queue.waiting), (0, more));
    within(guest.emit("parked", &())).await.unwrap();
    until(|| server.stats().parked > 0).await;
    assert_eq!((socket.stats().parked, server.namespace_stats("/").unwrap().parked), (1, 1));
    drop(guest);
    until(|| server.stats().sessions == 0).await;
    let stats = server.stats();
    assert_eq!((stats.waiting, stats.parked, stats.rooms, stats.sockets), (0, 0, 0, 0));
    assert_eq!(stats.lost, more as u64);
}
