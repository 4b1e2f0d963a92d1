//! Ten clients that chat in one room over TCP, all the time, and notice when something is amiss.

use super::{becomes, connect, rooms, sockets, within};
use emitwire::{
    Client, Config, Data, DisconnectReason, EmitError, Endpoint, Namespace, Server, Session,
    Socket, Stats,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::interval;

pub(crate) const MEMBERS: usize = 10;

/// How often each of them says something.
const PACE: Duration = Duration::from_millis(5);

/// How many rounds follow whatever happened.
const ROUNDS_AFTER: u64 = 3;

/// From how many answers it is told how long the ten wait for one.
const WAITS_MIN: usize = 500;

/// So much longer than before, and so much besides, the ten may wait while somebody misbehaves.
/// The machine is shared; what blocks a worker or holds a lock for long is far above it.
const WAIT_FACTOR: u32 = 10;
const WAIT_SLACK: Duration = Duration::from_millis(750);

/// A server with the room `lobby` in `/chat`, and ten clients that talk in it.
pub(crate) struct Chat {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    members: Vec<Member>,
    stop: Arc<AtomicBool>,
    waits: Waits,
}

/// How long each answer took, since somebody last looked.
type Waits = Arc<Mutex<Vec<Duration>>>;

struct Member {
    session: Session,
    talk: JoinHandle<u64>,
    said: Arc<AtomicU64>,
    ear: Arc<Ear>,
}

/// What one member has heard.
#[derive(Default)]
struct Ear {
    /// The last number that it heard of each.
    last: Mutex<[u64; MEMBERS]>,
    faults: Mutex<Vec<String>>,
    noise: AtomicU64,
}

impl Chat {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default(), []).await
    }

    /// With limits of its own, and namespaces for others than the ten.
    pub(crate) async fn with(config: Config, more: impl IntoIterator<Item = Namespace>) -> Self {
        let mut server = Server::with_config(config).mount(lobby()).unwrap();
        for namespace in more {
            server = server.mount(namespace).unwrap();
        }
        let tcp = super::listen(&server, "tcp://127.0.0.1:0").await;
        let address = tcp.endpoint().trim_start_matches("tcp://").parse().unwrap();
        let (stop, waits) = (Arc::new(AtomicBool::new(false)), Waits::default());
        let mut members = Vec::new();
        for me in 0..MEMBERS {
            let ear = Arc::new(Ear::default());
            let client = Client::new(Endpoint::new(tcp.endpoint()).unwrap());
            let client = client.mount(listener(&ear)).reconnect(false);
            let session = within(client.connect()).await.unwrap();
            members.push((me, ear, session));
        }
        // Nobody speaks before all are there.
        let lobby = server.of("/chat").to("lobby");
        becomes(|| sockets(&lobby).len(), MEMBERS).await;
        let members = members.into_iter().map(|(me, ear, session)| {
            let said = Arc::new(AtomicU64::new(0));
            let socket = session.of("/chat").unwrap();
            let rounds = Rounds { said: Arc::clone(&said), waits: Arc::clone(&waits) };
            let talk = tokio::spawn(talk(me, socket, rounds, Arc::clone(&stop)));
            Member { session, talk, said, ear }
        });
        let members = members.collect();
        Self { server, address, members, stop, waits }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// One more client of the library.
    pub(crate) async fn guest(&self, namespace: Namespace) -> Session {
        connect(&self.url(), namespace).await
    }

    /// Says something big to the whole lobby, and waits until the ten have it.
    pub(crate) async fn noise(&self, payload: &str) {
        let before: Vec<u64> = self.noises();
        within(self.server.of("/chat").to("lobby").emit("noise", payload)).await.unwrap();
        let after: Vec<u64> = before.iter().map(|count| count + 1).collect();
        becomes(|| self.noises(), after).await;
    }

    fn noises(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.ear.noise.load(Ordering::Acquire)).collect()
    }

    /// Whoever asked at whatever moment since the last look had, 99 of 100 times, its answer after
    /// this. A member that waits asks nothing, so a long wait stands for all that it would have
    /// asked meanwhile.
    pub(crate) async fn wait_p99(&self) -> Duration {
        becomes(|| self.waits.lock().unwrap().len() >= WAITS_MIN, true).await;
        let waits = std::mem::take(&mut *self.waits.lock().unwrap());
        let since = |wait: Duration| {
            let steps = (wait.as_nanos() / PACE.as_nanos()) as u32;
            (0..=steps).map(move |step| wait - PACE * step)
        };
        let mut waits: Vec<_> = waits.into_iter().flat_map(since).collect();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }

    /// The ten have not waited much longer for their answers since the last look than before.
    #[track_caller]
    pub(crate) fn is_undisturbed(&self, before: Duration) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let (now, most) = (self.wait_p99().await, before * WAIT_FACTOR + WAIT_SLACK);
            assert!(now <= most, "the ten wait {now:?}, {before:?} before, at {place}");
        }
    }

    /// A few more rounds; then nobody has missed or doubled anything, nobody was disconnected, and
    /// nothing is left of anyone else.
    pub(crate) async fn end(self) -> Stats {
        self.end_with(0).await
    }

    /// As [`Chat::end`], with panics of handlers that were part of the plan.
    pub(crate) async fn end_with(self, panics: u64) -> Stats {
        let wanted: Vec<u64> = self.said().iter().map(|said| said + ROUNDS_AFTER).collect();
        becomes(|| self.said().iter().zip(&wanted).all(|(said, wanted)| said >= wanted), true)
            .await;
        becomes(|| self.stats().links, MEMBERS as u64).await;
        becomes(|| self.stats().sessions, MEMBERS as u64).await;
        becomes(|| self.stats().sockets, MEMBERS as u64).await;
        self.stop.store(true, Ordering::Release);
        let mut totals = [0; MEMBERS];
        let mut sessions = Vec::new();
        let mut ears = Vec::new();
        for (total, member) in totals.iter_mut().zip(self.members) {
            *total = within(member.talk).await.expect("talks to the end");
            sessions.push(member.session);
            ears.push(member.ear);
        }
        for ear in ears {
            becomes(|| *ear.last.lock().unwrap(), totals).await;
            assert_eq!(*ear.faults.lock().unwrap(), [""; 0]);
        }
        let stats = self.server.stats();
        assert_eq!(stats.panics, panics, "{stats:?}");
        for session in sessions {
            assert!(session.is_connected());
            within(session.close()).await;
        }
        becomes(|| self.server.stats().links, 0).await;
        // A session outlives its link for as long as its hooks run.
        becomes(|| self.server.stats().sessions, 0).await;
        assert_eq!(rooms(&self.server.of("/chat")), [], "a room without members does not exist");
        stats
    }

    fn said(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.said.load(Ordering::Acquire)).collect()
    }
}

fn lobby() -> Namespace {
    Namespace::new("/chat")
        .on_connect(|socket: Socket| async move { socket.join("lobby").await })
        .on("say", |socket: Socket, Data(said): Data<(usize, u64)>| async move {
            socket.within("lobby").emit("said", &said).await?;
            Ok::<_, EmitError>(said.1)
        })
}

fn listener(ear: &Arc<Ear>) -> Namespace {
    let (hears, notes, noise) = (Arc::clone(ear), Arc::clone(ear), Arc::clone(ear));
    Namespace::new("/chat")
        .on("said", move |Data((who, number)): Data<(usize, u64)>| {
            hears.hear(who, number);
            async {}
        })
        .on("noise", move |Data(_): Data<String>| {
            noise.noise.fetch_add(1, Ordering::AcqRel);
            async {}
        })
        .on_disconnect(move |reason: DisconnectReason| {
            if reason != DisconnectReason::Closed {
                notes.fault(format!("disconnected: {reason}"));
            }
            async {}
        })
}

impl Ear {
    fn hear(&self, who: usize, number: u64) {
        let before = {
            let mut last = self.last.lock().unwrap();
            std::mem::replace(&mut last[who], number)
        };
        if number != before + 1 {
            self.fault(format!("{number} of member {who} behind {before}"));
        }
    }

    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }
}

/// What a member tells of its rounds.
struct Rounds {
    said: Arc<AtomicU64>,
    waits: Waits,
}

async fn talk(me: usize, socket: Socket, rounds: Rounds, stop: Arc<AtomicBool>) -> u64 {
    let mut pace = interval(PACE);
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        number += 1;
        let began = Instant::now();
        let heard: u64 = within(socket.emit("say", &(me, number)).ack()).await.unwrap();
        assert_eq!(heard, number, "the answer is to this event");
        rounds.waits.lock().unwrap().push(began.elapsed());
        rounds.said.store(number, Ordering::Release);
    }
    number
}
