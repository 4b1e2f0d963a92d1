//! What stands between two ends: a router that may give a client another address, and a road that
//! is narrow, or loses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How datagrams travel from the client to the server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Road {
    /// What passes in a second; what would wait for longer than [`QUEUE`] is lost.
    pub(crate) bytes_per_second: Option<u32>,
    /// Every so manieth datagram is lost, both ways.
    pub(crate) lost_each: Option<u32>,
}

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    server: String,
    /// Where the server sees the client.
    outside: watch::Sender<Arc<UdpSocket>>,
}

impl Relay {
    pub(crate) async fn new(server: &str, road: Road) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = inside.local_addr().unwrap();
        let (outside, seen) = watch::channel(hole(server).await);
        let (client, known) = watch::channel(None);
        tokio::spawn(inwards(Arc::clone(&inside), seen.clone(), known, road));
        tokio::spawn(outwards(inside, seen, client, road));
        Self { address, server: server.to_owned(), outside }
    }

    /// The server sees the client elsewhere from now on.
    pub(crate) async fn change(&self) {
        self.outside.send_replace(hole(&self.server).await);
    }

    pub(crate) fn seen(&self) -> String {
        format!("quic://{}", self.outside.borrow().local_addr().unwrap())
    }
}

async fn hole(server: &str) -> Arc<UdpSocket> {
    let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    hole.connect(server).await.unwrap();
    Arc::new(hole)
}

/// From the server to the client, until the relay is gone.
async fn inwards(
    inside: Arc<UdpSocket>,
    mut outside: watch::Receiver<Arc<UdpSocket>>,
    client: watch::Receiver<Option<SocketAddr>>,
    road: Road,
) {
    let mut datagram = [0; 2000];
    let mut number = 0;
    loop {
        let hole = Arc::clone(&outside.borrow_and_update());
        tokio::select! {
            read = hole.recv(&mut datagram) => {
                number += 1;
                let (bytes, client) = (read.unwrap_or(0), *client.borrow());
                if let Some(client) = client.filter(|_| !road.loses(number)) {
                    let _ = inside.send_to(&datagram[..bytes], client).await;
                }
            }
            changed = outside.changed() => if changed.is_err() { return },
        }
    }
}

/// From the client to the server.
async fn outwards(
    inside: Arc<UdpSocket>,
    outside: watch::Receiver<Arc<UdpSocket>>,
    client: watch::Sender<Option<SocketAddr>>,
    road: Road,
) {
    let mut datagram = [0; 2000];
    let mut number = 0;
    let mut free = Instant::now();
    loop {
        let (bytes, from) = inside.recv_from(&mut datagram).await.unwrap();
        number += 1;
        client.send_replace(Some(from));
        let hole = Arc::clone(&outside.borrow());
        if road.loses(number) {
            continue;
        }
        let Some(rate) = road.bytes_per_second else {
            let _ = hole.send(&datagram[..bytes]).await;
            continue;
        };
        free = free.max(Instant::now());
        if free - Instant::now() > QUEUE {
            continue;
        }
        free += Duration::from_secs(1) * bytes as u32 / rate;
        let (body, at) = (datagram[..bytes].to_vec(), free + DELAY);
        tokio::spawn(async move {
            sleep_until(at).await;
            let _ = hole.send(&body).await;
        });
    }
}

impl Road {
    fn loses(self, number: u32) -> bool {
        self.lost_each.is_some_and(|each| number % each == 0)
    }
}

const QUEUE: Duration = Duration::from_millis(50);
const DELAY: Duration = Duration::from_millis(10);
