//! First packets of thousands who never go on, beside a session that lives.

use super::heard::Heard;
use super::support::{becomes, endpoint};
use super::{come_in, listen, within};
use emitwire::transport::Transport;
use emitwire::{Config, Namespace, Server, Socket};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// How many first packets there are; each is sent again and again.
const PACKETS: usize = 1_000;

/// So many clients at a time: the system keeps what they say until it is read.
const BATCH: usize = 20;

/// Each has an address of its own.
const SOURCES: u8 = 250;

/// In a second.
const RATE: u32 = 5_000;

/// Round trips that are measured, before the flood and in it.
const TRIPS: usize = 500;

/// How many handshakes a listener lets begin without asking whether their peer is where it says.
const HALF_OPEN: u64 = 64;

/// How much longer a round trip may take in the flood, and what is always fine.
const FACTOR: u32 = 5;
const FINE: Duration = Duration::from_millis(50);

/// The connection id that a client has chosen for its server, if it is a first packet (RFC 9000
/// §17.2.2).
fn begins(packet: &[u8]) -> Option<Vec<u8>> {
    let is_initial = packet.len() >= 1200 && packet[0] & 0xf0 == 0xc0;
    let length = usize::from(*packet.get(5)?);
    is_initial.then(|| packet[6..6 + length].to_vec())
}

/// First packets, as clients send them that nobody answers.
async fn first_packets() -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let wire = endpoint(&format!("quic://{}", nobody.local_addr().unwrap()));
    let mut packets = HashMap::new();
    let mut datagram = [0; 2000];
    while packets.len() < PACKETS {
        let mut clients = JoinSet::new();
        let enough = (packets.len() + BATCH).min(PACKETS);
        for _ in packets.len()..enough {
            let wire = wire.clone();
            clients.spawn(async move { wire.connect().await.is_ok() });
        }
        while packets.len() < enough {
            let bytes = within(nobody.recv(&mut datagram)).await.unwrap();
            if let Some(id) = begins(&datagram[..bytes]) {
                packets.entry(id).or_insert_with(|| datagram[..bytes].to_vec());
            }
        }
    }
    packets.into_values().collect()
}

/// Sends them from everywhere, at a pace, until it is told to stop.
fn flood(packets: &[Vec<u8>], to: SocketAddr, sent: &AtomicU64, over: &AtomicBool) {
    let source = |host| std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
    let sources: Vec<_> = (2..2 + SOURCES).map(source).collect();
    let began = Instant::now();
    for (packet, number) in packets.iter().cycle().zip(0_u32..) {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // What the system has no room for is lost, as it would be elsewhere.
        let _ = sources[number as usize % sources.len()].send_to(packet, to);
        sent.fetch_add(1, Ordering::Relaxed);
        let due = Duration::from_secs(1) * number / RATE;
        if let Some(early) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// What all but one of a hundred round trips take less than.
async fn round_trips(socket: &Socket, mut look: impl FnMut()) -> Duration {
    let mut trips = Vec::new();
    for number in 0..TRIPS as u64 {
        let said = Instant::now();
        let answer = within(socket.emit("n", &number).ack::<u64>()).await.unwrap();
        assert_eq!(answer, number * 2);
        trips.push(said.elapsed());
        look();
        // A second and more in all, so that the flood has its time.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    trips.sort();
    trips[TRIPS * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_first_packets_hardly_delays_a_session_and_becomes_none() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_secs(1);
    let server = Server::with_config(config).mount(Heard::default().keep()).unwrap();
    let url = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let session = come_in(endpoint(&url), Namespace::new("/")).await;
    let socket = session.of("/").unwrap();
    let packets = first_packets().await;
    let quiet = round_trips(&socket, || ()).await;

    let (sent, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let to = url.strip_prefix("quic://").unwrap().parse().unwrap();
    // On a thread of its own, as if it came from elsewhere.
    let (sends, ends) = (Arc::clone(&sent), Arc::clone(&over));
    let flooding = std::thread::spawn(move || flood(&packets, to, &sends, &ends));
    becomes(|| sent.load(Ordering::Relaxed) > HALF_OPEN, true).await;
    let (began, before) = (Instant::now(), sent.load(Ordering::Relaxed));
    let (mut links, mut sessions) = (0, 0);
    let loud = round_trips(&socket, || {
        let stats = server.stats();
        (links, sessions) = (links.max(stats.links), sessions.max(stats.sessions));
    });
    let loud = loud.await;
    let rate = (sent.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    // Whoever shows that it is where it says gets through.
    let late = within(come_in(endpoint(&url), Namespace::new("/"))).await;
    over.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    let ratio = loud.as_secs_f64() / quiet.as_secs_f64();
    println!("p99 {quiet:?}, in a flood of {rate:.0}/s {loud:?} ({ratio:.1} x), {links} links");
    assert!(rate > 1_000.0, "that was no flood: {rate:.0}/s");
    assert!(loud <= FINE.max(quiet * FACTOR), "{loud:?} instead of {quiet:?}");
    assert!(links > 1 && links <= 1 + HALF_OPEN, "{links} links");
    assert_eq!(sessions, 1);
    late.close().await;
    becomes(|| (server.stats().links, server.stats().sessions), (1, 1)).await;
    let stats = server.stats();
    assert!(stats.handshakes_failed >= HALF_OPEN, "{stats:?}");
    assert_eq!((stats.protocol_errors, stats.detaches, stats.panics), (0, 0, 0));
}
