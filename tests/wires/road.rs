//! What stands between two ends of UDP: a router that gives a client another port, a road that is
//! narrow or loses, and one that swallows everything.

use super::support::Dice;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// It is gone when it is dropped.
pub(crate) struct Road {
    address: SocketAddr,
    server: SocketAddr,
    /// Where the server sees the client.
    outside: watch::Sender<Arc<UdpSocket>>,
    rules: Arc<Rules>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Rules {
    swallows: AtomicBool,
    /// So many of a hundred datagrams are lost, both ways.
    lost: AtomicU64,
    dice: Mutex<Option<Dice>>,
}

impl Rules {
    fn lets_through(&self) -> bool {
        let mut dice = self.dice.lock().unwrap();
        let is_lost = dice
            .as_mut()
            .is_some_and(|dice| (dice.roll() >> 32) % 100 < self.lost.load(Ordering::Relaxed));
        !is_lost && !self.swallows.load(Ordering::Relaxed)
    }
}

impl Road {
    /// To the server of this URL, for one client at a time.
    pub(crate) async fn to(url: &str) -> Self {
        let server = url.split_once("://").unwrap().1.parse().unwrap();
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = inside.local_addr().unwrap();
        let (outside, seen) = watch::channel(hole(server).await);
        let (client, known) = watch::channel(None);
        let rules = Arc::new(Rules::default());
        let back = back(Arc::clone(&inside), seen.clone(), known, Arc::clone(&rules));
        let there = there(inside, seen, client, Arc::clone(&rules));
        let tasks = [tokio::spawn(back), tokio::spawn(there)];
        Self { address, server, outside, rules, tasks }
    }

    /// Where the client finds it.
    pub(crate) fn url(&self) -> String {
        format!("quic://{}", self.address)
    }

    /// The server sees the client elsewhere from now on.
    pub(crate) async fn change(&self) {
        self.outside.send_replace(hole(self.server).await);
    }

    /// Where the server sees the client.
    pub(crate) fn seen(&self) -> String {
        format!("quic://{}", self.outside.borrow().local_addr().unwrap())
    }

    pub(crate) fn swallows(&self, everything: bool) {
        self.rules.swallows.store(everything, Ordering::Relaxed);
    }

    /// From now on, of a hundred datagrams; which, follows from the seed.
    pub(crate) fn loses(&self, percent: u64, seed: u64) {
        self.rules.lost.store(percent, Ordering::Relaxed);
        *self.rules.dice.lock().unwrap() = Some(Dice(seed));
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn hole(server: SocketAddr) -> Arc<UdpSocket> {
    let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    hole.connect(server).await.unwrap();
    Arc::new(hole)
}

async fn back(
    inside: Arc<UdpSocket>,
    mut outside: watch::Receiver<Arc<UdpSocket>>,
    client: watch::Receiver<Option<SocketAddr>>,
    rules: Arc<Rules>,
) {
    let mut datagram = [0; 2000];
    loop {
        let hole = Arc::clone(&outside.borrow_and_update());
        tokio::select! {
            Ok(bytes) = hole.recv(&mut datagram) => {
                let client = *client.borrow();
                if let Some(client) = client.filter(|_| rules.lets_through()) {
                    let _ = inside.send_to(&datagram[..bytes], client).await;
                }
            }
            changed = outside.changed() => if changed.is_err() { return },
        }
    }
}

async fn there(
    inside: Arc<UdpSocket>,
    outside: watch::Receiver<Arc<UdpSocket>>,
    client: watch::Sender<Option<SocketAddr>>,
    rules: Arc<Rules>,
) {
    let mut datagram = [0; 2000];
    loop {
        // A port that somebody has left is told here, to whoever asks next.
        let Ok((bytes, from)) = inside.recv_from(&mut datagram).await else { continue };
        // An empty one is the knock of a client, and comes from elsewhere.
        if bytes > 0 {
            client.send_replace(Some(from));
        }
        let hole = Arc::clone(&outside.borrow());
        if bytes > 0 && rules.lets_through() {
            let _ = hole.send(&datagram[..bytes]).await;
        }
    }
}
