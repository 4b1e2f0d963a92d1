//! What stands between two ends of UDP: a router that gives a client another port, a road on
//! which some datagrams come late, and one that swallows everything.

use super::support::Dice;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// It is gone when it is dropped.
pub(crate) struct Road {
    address: SocketAddr,
    /// Where the server sees the client.
    outside: watch::Sender<Arc<UdpSocket>>,
    rules: Arc<Rules>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Rules {
    swallows: AtomicBool,
    /// Which datagrams go the long way, both ways; none without it.
    dice: Mutex<Option<Dice>>,
}

impl Rules {
    /// Sends a datagram by the short way or by the long one.
    async fn carry(&self, socket: &Arc<UdpSocket>, datagram: &[u8], to: SocketAddr) {
        if self.swallows.load(Ordering::Relaxed) {
            return;
        }
        let is_long = self.dice.lock().unwrap().as_mut().is_some_and(|dice| dice.roll() >> 62 == 0);
        if !is_long {
            let _ = socket.send_to(datagram, to).await;
            return;
        }
        let (socket, datagram) = (Arc::clone(socket), datagram.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(LONG_WAY).await;
            let _ = socket.send_to(&datagram, to).await;
        });
    }
}

impl Road {
    /// To the server of this URL, for one client at a time.
    pub(crate) async fn to(url: &str) -> Self {
        let server = url.split_once("://").unwrap().1.parse().unwrap();
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = inside.local_addr().unwrap();
        let (outside, seen) = watch::channel(hole().await);
        let (client, known) = watch::channel(None);
        let rules = Arc::new(Rules::default());
        let back = back(Arc::clone(&inside), seen.clone(), known, Arc::clone(&rules));
        let there = there(server, inside, seen, client, Arc::clone(&rules));
        let tasks = [tokio::spawn(back), tokio::spawn(there)];
        Self { address, outside, rules, tasks }
    }

    /// Where the client finds it.
    pub(crate) fn url(&self) -> String {
        format!("quic://{}", self.address)
    }

    /// The server sees the client elsewhere from now on.
    pub(crate) async fn change(&self) {
        self.outside.send_replace(hole().await);
    }

    /// Where the server sees the client.
    pub(crate) fn seen(&self) -> String {
        format!("quic://{}", self.outside.borrow().local_addr().unwrap())
    }

    pub(crate) fn swallows(&self, everything: bool) {
        self.rules.swallows.store(everything, Ordering::Relaxed);
    }

    /// From now on one of four datagrams comes late; which, follows from the seed.
    pub(crate) fn mixes(&self, seed: u64) {
        *self.rules.dice.lock().unwrap() = Some(Dice(seed));
    }
}

/// By how much later a datagram comes that goes the long way.
const LONG_WAY: Duration = Duration::from_millis(10);

impl Drop for Road {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn hole() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
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
            Ok((bytes, _)) = hole.recv_from(&mut datagram) => {
                let client = *client.borrow();
                if let Some(client) = client {
                    rules.carry(&inside, &datagram[..bytes], client).await;
                }
            }
            changed = outside.changed() => if changed.is_err() { return },
        }
    }
}

async fn there(
    server: SocketAddr,
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
            let hole = Arc::clone(&outside.borrow());
            rules.carry(&hole, &datagram[..bytes], server).await;
        }
    }
}
