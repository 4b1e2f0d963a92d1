//! A client whose address changes in the middle of a connection.

use super::end::{numbered, numbers, within};
use super::{accept, address, client_of, server};
use crate::end::End;
use emitwire_core::transport::Transport;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// What stands between as a router does that translates addresses, and may do so anew.
struct Relay {
    address: SocketAddr,
    /// Where the server sees the client.
    outside: watch::Sender<Arc<UdpSocket>>,
}

impl Relay {
    async fn new(server: &str) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = inside.local_addr().unwrap();
        let (outside, seen) = watch::channel(Self::hole(server).await);
        let (client, known) = watch::channel(None);
        let (to, mut now) = (Arc::clone(&inside), seen.clone());
        tokio::spawn(async move {
            let mut datagram = [0; 2000];
            loop {
                let hole = Arc::clone(&now.borrow_and_update());
                tokio::select! {
                    read = hole.recv(&mut datagram) => {
                        let bytes = read.unwrap_or(0);
                        let client: Option<SocketAddr> = *known.borrow();
                        if let Some(client) = client {
                            to.send_to(&datagram[..bytes], client).await.unwrap();
                        }
                    }
                    changed = now.changed() => if changed.is_err() { return },
                }
            }
        });
        tokio::spawn(async move {
            let mut datagram = [0; 2000];
            loop {
                let (bytes, from) = inside.recv_from(&mut datagram).await.unwrap();
                client.send_replace(Some(from));
                let hole = Arc::clone(&seen.borrow());
                let _ = hole.send(&datagram[..bytes]).await;
            }
        });
        Self { address, outside }
    }

    async fn hole(server: &str) -> Arc<UdpSocket> {
        let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        hole.connect(server).await.unwrap();
        Arc::new(hole)
    }

    /// The server sees the client elsewhere from now on.
    async fn change(&self, server: &str) {
        self.outside.send_replace(Self::hole(server).await);
    }

    fn seen(&self) -> String {
        format!("quic://{}", self.outside.borrow().local_addr().unwrap())
    }
}

#[tokio::test]
async fn a_client_that_moves_loses_nothing_and_its_server_is_told() {
    let mut listener = server().bind().await.unwrap();
    let behind = address(&*listener);
    let relay = Relay::new(&behind).await;
    let wire = client_of(&relay.address.to_string());
    let (client, mut server) = tokio::join!(wire.connect(), accept(&mut *listener));
    let mut client = End::new(client.unwrap());
    assert_eq!(server.peer.endpoint(), relay.seen());
    let mut frames = numbered(400);
    let mut expected = 0;
    for round in 0..4 {
        let mut moved = None;
        client.write(frames.by_ref().take(100)).await.unwrap();
        let mut read = Vec::new();
        while read.len() < 100 {
            assert_ne!(server.read(&mut read).await.unwrap(), 0);
            moved = server.reader.moved().or(moved);
        }
        assert_eq!(numbers(&read), (expected..expected + 100).collect::<Vec<_>>());
        expected += 100;
        // And back, to where it is now.
        server.write(read).await.unwrap();
        assert_eq!(client.read_frames(100).await.len(), 100);
        assert_eq!(client.reader.moved(), None, "the server is where it was");
        match (round, moved) {
            (0, moved) => assert_eq!(moved, None),
            (_, moved) => assert_eq!(moved.unwrap().endpoint(), relay.seen()),
        }
        relay.change(&behind).await;
    }
    client.close().await;
    assert!(within(server.read_to_end()).await.1.is_ok());
}
