//! When each wire is begun, which one wins, and what is left of the others.

mod suspects;

use super::{Fallback, Race};
use crate::transport::{
    BindError, Capabilities, ConnectError, Connection, HandshakeError, Listener, Memory, Peer,
    ReadHalf, Transport, WriteHalf,
};
use async_trait::async_trait;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep, timeout};

/// What becomes of a connect, and after how many milliseconds.
#[derive(Clone, Copy)]
enum Act {
    Connects(u64),
    /// To something on which no session can live.
    Unfit(Capabilities),
    Fails(u64),
    Refuses(u16),
    Hangs,
}

/// Which wires were begun, and when.
#[derive(Clone)]
struct Track {
    began: Arc<Mutex<Instant>>,
    begun: Arc<Mutex<Vec<(&'static str, u128)>>>,
    running: Arc<AtomicUsize>,
}

impl Track {
    fn new() -> Self {
        let began = Arc::new(Mutex::new(Instant::now()));
        Self { began, begun: Arc::default(), running: Arc::default() }
    }

    fn wire(&self, endpoint: &'static str, act: Act) -> Wire {
        Wire { track: self.clone(), endpoint, act: Arc::new(Mutex::new(act)) }
    }

    /// Connects, and says which wire won, which were begun, and at which millisecond.
    async fn connect(
        &self,
        transport: &impl Transport,
    ) -> (Result<String, ConnectError>, Vec<(&'static str, u128)>) {
        *self.began.lock().unwrap() = Instant::now();
        let connected = timeout(Duration::from_secs(60), transport.connect()).await;
        assert_eq!(self.running.load(Ordering::Relaxed), 0, "nothing goes on behind the back");
        let connected = connected.unwrap_or(Err(ConnectError::Timeout { after: Duration::MAX }));
        let won = connected.map(|connection| connection.peer().endpoint().to_owned());
        (won, std::mem::take(&mut *self.begun.lock().unwrap()))
    }

    /// As `won`, and a session lives on it.
    async fn lives(&self, transport: &impl Transport) -> (String, Vec<(&'static str, u128)>) {
        let won = self.won(transport).await;
        transport.connect().await.unwrap().choice().unwrap().proved();
        self.begun.lock().unwrap().clear();
        won
    }

    /// As `connect`, for one that is to succeed.
    async fn won(&self, transport: &impl Transport) -> (String, Vec<(&'static str, u128)>) {
        let (won, begun) = self.connect(transport).await;
        (won.unwrap(), begun)
    }
}

#[derive(Clone)]
struct Wire {
    track: Track,
    endpoint: &'static str,
    act: Arc<Mutex<Act>>,
}

impl Wire {
    fn becomes(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }
}

/// Counts a connect for as long as it is neither over nor dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Transport for Wire {
    fn endpoint(&self) -> String {
        self.endpoint.into()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        unreachable!("nobody listens here")
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.track.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(Arc::clone(&self.track.running));
        let at = self.track.began.lock().unwrap().elapsed().as_millis();
        self.track.begun.lock().unwrap().push((self.endpoint, at));
        let act = *self.act.lock().unwrap();
        let (endpoint, milliseconds) = (self.endpoint, Duration::from_millis);
        match act {
            Act::Hangs => pending().await,
            Act::Fails(after) => {
                sleep(milliseconds(after)).await;
                let source = std::io::ErrorKind::ConnectionRefused.into();
                Err(ConnectError::Unreachable { endpoint: endpoint.into(), source })
            }
            Act::Refuses(status) => {
                let source = HandshakeError::Refused { status, reason: "go away".into() };
                Err(ConnectError::Handshake { endpoint: endpoint.into(), source })
            }
            Act::Connects(after) => {
                sleep(milliseconds(after)).await;
                Ok(Box::new(Ready(endpoint, Capabilities::stream(1 << 20))))
            }
            Act::Unfit(capabilities) => Ok(Box::new(Ready(endpoint, capabilities))),
        }
    }
}

/// A connection that nobody uses.
struct Ready(&'static str, Capabilities);

impl Connection for Ready {
    fn peer(&self) -> Peer {
        Peer::new(self.0)
    }

    fn capabilities(&self) -> Capabilities {
        self.1
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        unreachable!("no session begins here")
    }
}

const FAR: [&str; 3] = ["a://a.example:1", "b://b.example:1", "c://c.example:1"];
const NEAR: [&str; 3] = ["a://10.0.0.1:1", "b://localhost:1", "mem://c"];

#[tokio::test(start_paused = true)]
async fn each_wire_has_its_head_start_before_the_next_and_the_first_that_is_there_wins() {
    for (names, stagger, expected) in [
        (FAR, None, [0, 250, 500]),
        (NEAR, None, [0, 30, 60]),
        (["a://10.0.0.1:1", FAR[1], FAR[2]], None, [0, 30, 280]),
        (FAR, Some(Duration::from_millis(70)), [0, 70, 140]),
        (NEAR, Some(Duration::from_millis(70)), [0, 70, 140]),
        (FAR, Some(Duration::ZERO), [0, 10, 20]),
    ] {
        let track = Track::new();
        let acts = [Act::Hangs, Act::Hangs, Act::Connects(5)];
        let mut race =
            Race::of(names.into_iter().zip(acts).map(|(name, act)| track.wire(name, act)));
        if let Some(stagger) = stagger {
            race = race.stagger(stagger);
        }
        let (won, begun) = track.won(&race).await;
        assert_eq!(won, names[2]);
        assert_eq!(begun, names.into_iter().zip(expected).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_there_within_its_head_start_leaves_the_others_unbegun() {
    let track = Track::new();
    let race = Race::of(FAR.map(|name| track.wire(name, Act::Connects(249))));
    assert_eq!(track.won(&race).await, (FAR[0].into(), vec![(FAR[0], 0)]));
}

#[tokio::test(start_paused = true)]
async fn the_one_that_was_begun_first_may_still_win_and_the_others_are_dropped() {
    let track = Track::new();
    let race = Race::of([
        track.wire(FAR[0], Act::Connects(510)),
        track.wire(FAR[1], Act::Connects(500)),
        track.wire(FAR[2], Act::Hangs),
    ]);
    let (won, begun) = track.won(&race).await;
    assert_eq!(won, FAR[0]);
    assert_eq!(begun, [(FAR[0], 0), (FAR[1], 250), (FAR[2], 500)]);
}

#[tokio::test(start_paused = true)]
async fn the_next_begins_at_once_when_all_that_were_begun_have_failed_and_not_before() {
    let track = Track::new();
    let race = Race::of([
        track.wire(FAR[0], Act::Fails(300)),
        track.wire(FAR[1], Act::Fails(20)),
        track.wire(FAR[2], Act::Connects(0)),
    ]);
    // The second fails at 270, when the first is still under way; both have at 300.
    let (won, begun) = track.won(&race).await;
    assert_eq!((&*won, begun), (FAR[2], vec![(FAR[0], 0), (FAR[1], 250), (FAR[2], 300)]));

    let refused = Race::of(FAR.map(|name| track.wire(name, Act::Refuses(403))));
    let (_, begun) = track.connect(&refused).await;
    assert_eq!(begun, [(FAR[0], 0), (FAR[1], 0), (FAR[2], 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_not_fit_for_a_session_has_failed() {
    let track = Track::new();
    let [lossy, narrow] = [Capabilities::datagrams(1200), Capabilities::stream(255)];
    let wires = [Act::Unfit(lossy), Act::Unfit(narrow), Act::Connects(0)];
    let wires: Vec<_> =
        FAR.into_iter().zip(wires).map(|(name, act)| track.wire(name, act)).collect();
    let all = vec![(FAR[0], 0), (FAR[1], 0), (FAR[2], 0)];
    assert_eq!(track.won(&Race::of(wires.clone())).await, (FAR[2].into(), all.clone()));
    assert_eq!(track.won(&Fallback::of(wires.clone())).await, (FAR[2].into(), all));
    let (failed, _) = track.connect(&Race::of(wires[..2].to_vec())).await;
    let Err(ConnectError::AllFailed { failures }) = failed else { panic!("{failed:?}") };
    assert!(matches!(failures[0].1, ConnectError::NeedsArq), "{failures:?}");
    assert!(matches!(failures[1].1, ConnectError::FrameTooSmall { .. }), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn the_winner_begins_next_time_also_in_clones_and_the_others_follow_in_order() {
    let track = Track::new();
    let [first, second, third] = FAR.map(|name| track.wire(name, Act::Hangs));
    third.becomes(Act::Connects(0));
    let race = Race::of([first.clone(), second.clone(), third.clone()]);
    assert_eq!(track.lives(&race).await.0, FAR[2]);
    assert_eq!(track.won(&race.clone()).await, (FAR[2].into(), vec![(FAR[2], 0)]));
    third.becomes(Act::Hangs);
    second.becomes(Act::Connects(0));
    let (won, begun) = track.lives(&race).await;
    assert_eq!((&*won, begun), (FAR[1], vec![(FAR[2], 0), (FAR[0], 250), (FAR[1], 500)]));
    advance(Duration::from_secs(299)).await;
    assert_eq!(track.won(&race.clone()).await.1, [(FAR[1], 0)]);
    advance(Duration::from_secs(1)).await;
    assert_eq!(track.won(&race).await.1, [(FAR[0], 0), (FAR[1], 250)]);
}

#[tokio::test(start_paused = true)]
async fn the_error_names_each_wire_with_its_reason_in_the_order_of_the_wires() {
    let track = Track::new();
    let race =
        Race::of([track.wire(FAR[0], Act::Fails(400)), track.wire(FAR[1], Act::Refuses(404))])
            .or(Memory::new("nobody listens here"));
    let (failed, _) = track.connect(&race).await;
    assert_eq!(
        failed.unwrap_err().to_string(),
        "no wire could be had: \
         a://a.example:1 (cannot reach a://a.example:1: connection refused); \
         b://b.example:1 (b://b.example:1 is no peer of this wire: \
         the peer refused with status 404: go away); \
         mem://nobody listens here (cannot reach mem://nobody listens here: connection refused)"
    );
    let (failed, _) = track.connect(&Race::of::<Memory>([])).await;
    assert_eq!(failed.unwrap_err().to_string(), "there is no wire to connect");
    let fallback = Fallback::of([track.wire(FAR[0], Act::Hangs)]);
    let (failed, _) = track.connect(&fallback).await;
    let words = "no wire could be had: a://a.example:1 (no answer within 3s)";
    assert_eq!(failed.unwrap_err().to_string(), words);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_begins_the_next_when_the_one_before_fails_or_is_given_up() {
    let track = Track::new();
    let wires = [
        track.wire(FAR[0], Act::Fails(100)),
        track.wire(FAR[1], Act::Hangs),
        track.wire(FAR[2], Act::Connects(40)),
    ];
    for (patience, given_up) in [(None, 3000), (Some(200), 200), (Some(50), 50)] {
        let mut fallback = Fallback::of(wires.clone());
        if let Some(patience) = patience {
            fallback = fallback.patience(Duration::from_millis(patience));
        }
        let failed = u128::from(patience.unwrap_or(100).min(100));
        let (won, begun) = track.won(&fallback).await;
        assert_eq!(won, FAR[2]);
        assert_eq!(begun, [(FAR[0], 0), (FAR[1], failed), (FAR[2], failed + given_up)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_begins_with_what_worked_for_a_while_and_then_with_the_best_again() {
    let track = Track::new();
    let [first, second, third] = FAR.map(|name| track.wire(name, Act::Connects(0)));
    first.becomes(Act::Fails(0));
    let fallback = Fallback::of([first.clone(), second.clone(), third]);
    assert_eq!(track.lives(&fallback).await.0, FAR[1]);
    first.becomes(Act::Connects(0));
    advance(Duration::from_secs(299)).await;
    assert_eq!(track.won(&fallback.clone()).await, (FAR[1].into(), vec![(FAR[1], 0)]));
    advance(Duration::from_secs(1)).await;
    assert_eq!(track.won(&fallback).await, (FAR[0].into(), vec![(FAR[0], 0)]));

    first.becomes(Act::Fails(0));
    assert_eq!(track.lives(&fallback).await.0, FAR[1]);
    second.becomes(Act::Fails(0));
    let (won, begun) = track.won(&fallback).await;
    assert_eq!((&*won, begun), (FAR[2], vec![(FAR[1], 0), (FAR[0], 0), (FAR[2], 0)]));
    let strict = fallback.remember(Duration::ZERO);
    assert_eq!(track.won(&strict).await.1[0], (FAR[0], 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connect_drops_all_that_was_begun() {
    let track = Track::new();
    let wires = FAR.map(|name| track.wire(name, Act::Hangs));
    let (race, fallback) = (Race::of(wires.clone()), Fallback::of(wires));
    for transport in [&race as &dyn Transport, &fallback] {
        let gave_up = timeout(Duration::from_secs(1), transport.connect()).await;
        assert!(gave_up.is_err());
        assert_eq!(track.running.load(Ordering::Relaxed), 0);
    }
    assert_eq!(track.begun.lock().unwrap().len(), 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn several_wires_have_one_name_and_are_not_to_be_bound() {
    let wires = || FAR.map(Memory::new);
    for (transport, by) in
        [(&Race::of(wires()) as &dyn Transport, "race"), (&Fallback::of(wires()), "fallback")]
    {
        let all = format!("{by}(mem://{}, mem://{}, mem://{})", FAR[0], FAR[1], FAR[2]);
        assert_eq!(transport.endpoint(), all);
        let Err(error) = transport.bind().await else { panic!("bound") };
        assert!(matches!(&error, BindError::Several { endpoint } if *endpoint == all));
        let words = format!("{all} stands for several wires: listen on each of them");
        assert_eq!(error.to_string(), words);
    }
}

/// The endpoints of those that are better than what a connection came of.
fn better(connection: &dyn Connection) -> Option<Vec<String>> {
    let better = connection.choice()?.better()?;
    Some(better.transports.iter().map(|transport| transport.endpoint()).collect())
}

#[tokio::test(start_paused = true)]
async fn a_connection_knows_the_wires_before_it_also_when_lists_are_nested() {
    let track = Track::new();
    let [a, b, c] = FAR.map(|name| track.wire(name, Act::Fails(0)));
    let [d, e] = ["d://d", "e://e"].map(|name| track.wire(name, Act::Fails(0)));
    b.becomes(Act::Connects(0));
    let inner = Fallback::of([a.clone(), b.clone()]).probe_every(Duration::from_secs(7));
    let outer = Race::of([d.clone()]).or(inner.clone()).or(c.clone());
    let connection = outer.connect().await.unwrap();
    let endpoints = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(better(&*connection), endpoints(&["d://d", FAR[0]]));
    let choice = connection.choice().unwrap().better().unwrap();
    assert_eq!((choice.every.as_secs(), choice.every_max.as_secs()), (7, 600));
    a.becomes(Act::Connects(0));
    let best = choice.transports[1].connect().await.unwrap();
    assert_eq!(better(&*best), endpoints(&["d://d"]));

    let quiet = Race::of([d]).or(inner.no_probe()).no_probe();
    assert!(quiet.connect().await.unwrap().choice().unwrap().better().is_none());
    let quiet = Race::of([e]).or(Race::of([b])).no_probe();
    assert!(quiet.connect().await.unwrap().choice().unwrap().better().is_none());
    let eager = Race::of([c]).or(Race::of([a])).probe_every(Duration::ZERO);
    let choice = eager.connect().await.unwrap().choice().unwrap().better().unwrap();
    assert_eq!(choice.every, Duration::from_secs(1));
}
