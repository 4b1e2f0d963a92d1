//! Many at once: those who vanish, those who leave, those who come in the middle of things.

use super::support::chat::{Chat, MEMBERS};
use super::support::raw::{RawPeer, connect, hello};
use super::support::{all, becomes, endpoint, within};
use super::target;
use crate::support::{rooms, sockets};
use emitwire::protocol::Packet;
use emitwire::{Client, Config, Namespace, Socket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_peers_that_connect_and_vanish_leave_nothing_behind() {
    let chat = Chat::with(Config::default(), [target()]).await;
    for wave in 0..10 {
        let peers = all((0..50).map(|_| RawPeer::connect(chat.address))).await;
        for (number, mut peer) in peers.into_iter().enumerate() {
            match (wave + number) % 5 {
                0 => {}
                1 => peer.kill(),
                2 => peer.send(&Packet::Hello(hello())).await,
                3 => {
                    peer.send(&Packet::Hello(hello())).await;
                    peer.send(&Packet::From(1)).await;
                    peer.send(&connect(0, "/target")).await;
                }
                _ => {
                    peer.send_bytes(&[0, 0]).await;
                    peer.kill();
                }
            }
        }
    }
    becomes(|| chat.stats().links, MEMBERS as u64).await;
    let failed = chat.stats().handshakes_failed;
    assert!(failed >= 200, "only {failed} of at least 300 were counted");
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_disconnects_leaves_the_others_alone() {
    let ends = Arc::new(AtomicU64::new(0));
    let ended = Arc::clone(&ends);
    let crowd = Namespace::new("/crowd")
        .on_connect(|socket: Socket| async move { socket.join(["a", "b", "c"]).await })
        .on_disconnect(move || {
            ended.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    let chat = Chat::with(Config::default(), [crowd]).await;
    for _ in 0..3 {
        let guests = all((0..40).map(|_| chat.guest(Namespace::new("/crowd")))).await;
        becomes(|| sockets(&chat.server.of("/crowd").to("a")).len(), 40).await;
        let mut leaving = Vec::new();
        for (number, guest) in guests.into_iter().enumerate() {
            if number % 2 == 0 {
                drop(guest);
            } else {
                leaving.push(guest.close());
            }
        }
        within(all(leaving)).await;
        becomes(|| chat.stats().links, MEMBERS as u64).await;
        assert_eq!(sockets(&chat.server.of("/crowd")), []);
        assert_eq!(rooms(&chat.server.of("/crowd")), []);
    }
    assert_eq!(ends.load(Ordering::Relaxed), 120, "each socket ends once");
    let stats = chat.end().await;
    assert_eq!((stats.protocol_errors, stats.slow_peers), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_begins_amid_broadcasts_hears_nothing_before_it_is_let_in() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let server = chat.server.clone();
    let stopped = Arc::clone(&stop);
    // On a thread of its own, so that it falls between any two lines of the one that lets in.
    let broadcaster = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let everyone = server.of("/target");
        while !stopped.load(Ordering::Relaxed) {
            runtime.block_on(async { everyone.emit("now", &1).await }).unwrap();
        }
    });
    for _ in 0..1000 {
        let (mut peer, _) = RawPeer::greeted(chat.address).await;
        peer.send(&Packet::From(1)).await;
        peer.send(&connect(0, "/target")).await;
        assert_eq!(peer.next().await, Some(Packet::From(1)));
        peer.accepted().await;
    }
    stop.store(true, Ordering::Relaxed);
    broadcaster.join().unwrap();
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_in_the_middle_of_connecting_leaves_nothing_behind() {
    // Some got as far as a session, and might come back.
    let mut config = Config::default();
    config.resume_window = std::time::Duration::from_secs(1);
    let chat = Chat::with(config, [target()]).await;
    for polls in 0..60 {
        let client = Client::new(endpoint(&chat.url())).mount(Namespace::new("/target"));
        let mut connecting = Box::pin(client.connect());
        // However far it came.
        for _ in 0..polls {
            let waited = tokio::time::timeout(std::time::Duration::ZERO, &mut connecting).await;
            if waited.is_ok() {
                break;
            }
        }
    }
    becomes(|| chat.stats().links, MEMBERS as u64).await;
    chat.end().await;
}
