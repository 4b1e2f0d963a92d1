//! A wire of which nothing comes back, beside one that is good.

use super::heard::Heard;
use super::road::Road;
use super::support::endpoint;
use super::{becomes, come_in, listen, within};
use emitwire::{Endpoint, Race, Server, Socket};
use std::future::Future;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

const STAGGER: Duration = Duration::from_millis(200);

/// As much as two handshakes of the other wire may take on a machine that is busy.
const HANDSHAKE: Duration = Duration::from_secs(1);

const EVENTS: u64 = 3_000;

#[tokio::test]
async fn a_port_of_udp_that_swallows_everything_costs_one_head_start() {
    let server = Server::new().mount(Heard::default().keep()).unwrap();
    let good = listen(&server, endpoint("wss://127.0.0.1:0")).await;
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let swallowed = format!("quic://{}", hole.local_addr().unwrap());
    let wires = Race::of([endpoint(&swallowed), endpoint(&good)]).stagger(STAGGER);
    let began = Instant::now();
    let session = come_in(wires.clone(), Heard::default().keep()).await;
    let took = began.elapsed();
    assert!(took >= STAGGER && took < STAGGER + HANDSHAKE, "{took:?}");
    assert_eq!(session.of("/").unwrap().peer().scheme(), "wss");
    let again = Instant::now();
    let _second = come_in(wires, Heard::default().keep()).await;
    assert!(again.elapsed() < HANDSHAKE, "the winner is remembered: {:?}", again.elapsed());
    let stats = server.stats();
    assert_eq!((stats.sessions, stats.handshakes_failed), (2, 0));
}

/// A session that begins on the good wire, because the better one is a hole, goes over to that
/// when the hole is mended, while both ends talk.
async fn goes_over(
    better: Endpoint,
    good: Endpoint,
    server: Server,
    there: Heard,
    mend: impl Mend,
) {
    let here = Heard::default();
    let wires = Race::of([better, good]).stagger(STAGGER).probe_every(Duration::from_secs(1));
    let session = come_in(wires, here.keep()).await;
    let near = session.of("/").unwrap();
    assert_eq!(near.peer().scheme(), "wss");
    let far = server.socket("/", near.id()).unwrap();
    let slowly = |socket: Socket| async move {
        for value in 0..EVENTS {
            socket.emit("n", &value).await.unwrap();
            tokio::time::sleep(Duration::from_millis(u64::from(value % 3 == 0))).await;
        }
    };
    let talks = [tokio::spawn(slowly(near.clone())), tokio::spawn(slowly(far))];
    here.reaches(EVENTS / 10).await;
    assert_eq!(session.stats().detaches, 0, "it lives where it began");
    mend.mend().await;
    becomes(|| near.peer().scheme() == "quic" && session.is_attached(), true).await;
    assert!(here.count() < EVENTS, "it is in mid-traffic");
    for talk in talks {
        within(talk).await.unwrap();
    }
    becomes(|| (here.count(), there.count()), (EVENTS, EVENTS)).await;
    here.heard_all(EVENTS);
    there.heard_all(EVENTS);
    let stats = session.stats();
    assert_eq!((stats.resumed, stats.resumed_with_gap), (1, 0));
    assert_eq!(server.stats().sessions, 1);
}

trait Mend {
    fn mend(self) -> impl Future<Output = ()>;
}

struct Swallowing(Road);

impl Mend for &Swallowing {
    async fn mend(self) {
        self.0.swallows(false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_over_to_quic_when_its_packets_pass_again() {
    let there = Heard::default();
    let server = Server::new().mount(there.keep()).unwrap();
    let quic = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let good = listen(&server, endpoint("wss://127.0.0.1:0")).await;
    let hole = Swallowing(Road::to(&quic).await);
    hole.0.swallows(true);
    let better = endpoint(&hole.0.url());
    goes_over(better, endpoint(&good), server, there, &hole).await;
}

/// A rule of the system's packet filter, until it is dropped.
struct Rule {
    table: String,
}

impl Rule {
    /// Nothing when this process may not, or when there is no packet filter.
    fn drops_udp_to(port: &str) -> Option<Self> {
        let table = format!("emitwire_{}_{port}", std::process::id());
        let rule = Self { table };
        let table = &rule.table;
        let text = format!(
            "add table inet {table}; \
             add chain inet {table} entry {{ type filter hook input priority 0; }}; \
             add rule inet {table} entry udp dport {port} drop"
        );
        // Dropped at once if it is not there.
        nft(&text).then_some(rule)
    }
}

fn nft(text: &str) -> bool {
    let asked = Command::new("nft").arg(text).output();
    asked.is_ok_and(|output| output.status.success())
}

impl Drop for Rule {
    fn drop(&mut self) {
        nft(&format!("delete table inet {}", self.table));
    }
}

impl Mend for Rule {
    async fn mend(self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_over_to_quic_when_a_packet_filter_lets_it() {
    let there = Heard::default();
    let server = Server::new().mount(there.keep()).unwrap();
    let quic = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let good = listen(&server, endpoint("wss://127.0.0.1:0")).await;
    let Some(rule) = Rule::drops_udp_to(quic.rsplit(':').next().unwrap()) else {
        println!("skipped: there is no nft here, or this process may not use it");
        return;
    };
    goes_over(endpoint(&quic), endpoint(&good), server, there, rule).await;
}

/// So that a rule that is in force is never forgotten where a test ends early.
#[test]
fn a_rule_goes_when_it_is_dropped() {
    let Some(rule) = Rule::drops_udp_to("9") else {
        println!("skipped: there is no nft here, or this process may not use it");
        return;
    };
    let table = rule.table.clone();
    assert!(nft(&format!("list table inet {table}")));
    drop(rule);
    assert!(!nft(&format!("list table inet {table}")));
}
