//! Volatile events as datagrams: beside reliable ones, more than fit, and ahead of their time.

use super::heard::Heard;
use super::road::Road;
use super::support::{all, endpoint, sockets};
use super::{becomes, come_in, listen, within};
use emitwire::{Config, Data, Namespace, Outcome, Server, Session, Socket};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FLOOD: u64 = 30_000;
const SURE: u64 = 300;

/// More than a wire keeps of them, and nothing is sent meanwhile: all run on one thread.
const WAVE: u64 = 1_000;

/// Longer than any reliable event may take beside the flood.
const IN_TIME: Duration = Duration::from_secs(2);

/// Only the wire drops anything here, and none of it by the session's own bound.
fn roomy() -> Config {
    let mut config = Config::default();
    config.volatile_bytes_max = 1024 * 1024 * 1024;
    config
}

/// A client that takes its time for each volatile event.
#[derive(Clone, Default)]
struct Slow {
    ticks: Arc<Mutex<Vec<u64>>>,
    sure: Heard,
}

impl Slow {
    fn namespace(&self) -> Namespace {
        let ticks = Arc::clone(&self.ticks);
        self.sure.keep().on("tick", move |Data((number, _)): Data<(u64, String)>| {
            ticks.lock().unwrap().push(number);
            tokio::time::sleep(Duration::from_millis(1))
        })
    }
}

/// Says everything volatile that there is, with breaks only so that others run too.
async fn flood(socket: Socket) {
    let padding = "x".repeat(400);
    for number in 0..FLOOD {
        socket.emit("tick", &(number, &padding)).volatile().await.unwrap();
        if number % WAVE == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn reliable_events_are_in_time_beside_a_volatile_flood_of_which_each_is_accounted_for() {
    let server = Server::with_config(roomy()).mount(Namespace::new("/")).unwrap();
    let url = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let slow = Slow::default();
    let session = come_in(endpoint(&url), slow.namespace()).await;
    let theirs = server.socket("/", session.of("/").unwrap().id()).unwrap();
    let flooding = tokio::spawn(flood(theirs.clone()));
    let mut worst = Duration::ZERO;
    for number in 0..SURE {
        let said = Instant::now();
        let answer = within(theirs.emit("n", &number).ack::<u64>()).await.unwrap();
        assert_eq!(answer, number * 2);
        worst = worst.max(said.elapsed());
    }
    within(flooding).await.unwrap();
    slow.sure.heard_all(SURE);
    assert!(worst < IN_TIME, "{worst:?}");
    // What was said before this is on its way or lost by now, and then handled or missed.
    within(theirs.emit("n", &SURE).ack::<u64>()).await.unwrap();
    let handled = || slow.ticks.lock().unwrap().len() as u64;
    becomes(|| handled() + session.stats().volatile_missed == session.stats().volatile_in, true)
        .await;
    let (ours, house) = (session.stats(), server.stats());
    let known = ours.volatile_in + house.volatile_dropped;
    println!(
        "{FLOOD} said: {} dropped here, {} arrived, {} missed there, {} lost; at worst {worst:?}",
        house.volatile_dropped,
        ours.volatile_in,
        ours.volatile_missed,
        FLOOD.wrapping_sub(known),
    );
    assert_eq!(house.volatile_out, FLOOD);
    assert!(known <= FLOOD, "{known} of {FLOOD}");
    assert!(house.volatile_dropped > 0, "there was room for all of it");
    assert!(ours.volatile_missed > 0, "the client was not slow");
    let ticks = slow.ticks.lock().unwrap();
    let once: HashSet<_> = ticks.iter().collect();
    assert_eq!(once.len(), ticks.len(), "none is handled twice");
    assert_eq!((ours.protocol_errors, house.protocol_errors, house.detaches), (0, 0, 0));
}

const CLIENTS: u64 = 64;

/// Said to whoever has just come in, or come back. Each fills a packet, so that what was said
/// before it, and is in another one, may come later.
async fn greet(socket: Socket) {
    let greeting = "x".repeat(1000);
    for number in 0..GREETINGS {
        socket.emit("tick", &(number, &greeting)).volatile().await.unwrap();
    }
}

const GREETINGS: u64 = 5;

/// Now and then a datagram is there before what was said first: on the first link, and on the next.
async fn comes_and_moves(url: &str, number: u64) -> (Session, Slow, Road) {
    let (first, next) = (Road::to(url).await, Road::to(url).await);
    first.mixes(number + 1);
    next.mixes(number + 1);
    let slow = Slow::default();
    let session = come_in(endpoint(&first.url()), slow.namespace()).await;
    let moved = within(session.move_to(endpoint(&next.url()))).await;
    assert_eq!(moved.unwrap(), Outcome::Resumed);
    (session, slow, next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_at_once_may_overtake_the_beginning_and_is_no_breach_of_the_protocol() {
    let greets = Namespace::new("/").on_connect(greet).on_attach(greet);
    let server = Server::new().mount(greets).unwrap();
    let url = listen(&server, endpoint("quic://127.0.0.1:0")).await;
    let arriving = (0..CLIENTS).map(|number| Box::pin(comes_and_moves(&url, number)));
    let sessions = all(arriving).await;
    let (mut arrived, mut missed) = (0, 0);
    for (session, slow, _road) in &sessions {
        let id = session.of("/").unwrap().id();
        let theirs = server.socket("/", id).unwrap();
        assert_eq!(within(theirs.emit("n", &3_u64).ack::<u64>()).await.unwrap(), 6);
        let handled = || slow.ticks.lock().unwrap().len() as u64;
        becomes(|| handled() + session.stats().volatile_missed, session.stats().volatile_in).await;
        let stats = session.stats();
        assert_eq!((stats.protocol_errors, stats.resumed), (0, 1), "{stats:?}");
        (arrived, missed) = (arrived + stats.volatile_in, missed + stats.volatile_missed);
    }
    let house = server.stats();
    println!("{} said, {arrived} arrived, {missed} of them too early", house.volatile_out);
    assert_eq!(house.volatile_out, 2 * CLIENTS * GREETINGS);
    assert!(arrived + house.volatile_dropped <= 2 * CLIENTS * GREETINGS);
    assert!(missed > 0, "nothing overtook anything");
    assert_eq!((house.protocol_errors, house.handshakes_failed), (0, 0));
    assert_eq!(sockets(&server.of("/")).len() as u64, CLIENTS);
}
