//! One world: a server, its clients, what they say and what goes wrong, from a seed, in virtual
//! time, on one thread.

use super::actors::{self, Guest, concurrent};
use super::cables::Cables;
use super::chance::Chance;
use super::check::{self, Breach};
use super::coverage::Coverage;
use super::ears::Ears;
use super::history::{Entry, Recorder, Side, Totals, What};
use super::plan::Plan;
use super::{engine, speech, trace, trouble};
use emitwire::{Config, Memory, Server, Socket, testing};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;

/// The server's namespaces.
pub(crate) const PATHS: [&str; 3] = ["/a", "/b", "/c"];

/// How long a world may take until nothing moves any more, once nothing goes wrong any more.
const REST_BY: Duration = Duration::from_secs(60);

/// How long nothing may have moved for that.
const REST: Duration = Duration::from_secs(2);

/// When whoever still acts hangs.
const END_OF_TIME: Duration = Duration::from_secs(30 * 60);

/// What has become of a seed.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) history: Vec<Entry>,
    pub(crate) hash: u64,
    pub(crate) coverage: Coverage,
    pub(crate) breaches: Vec<Breach>,
}

pub(crate) struct World {
    seed: u64,
    pub(crate) plan: Plan,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) server: Server,
    pub(crate) guests: Vec<Guest>,
    coverage: Mutex<Coverage>,
    is_over: AtomicBool,
}

/// Lives the whole life of a world.
pub(crate) fn run(seed: u64) -> Outcome {
    let _seeded = testing::seeded(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut history, mut coverage) = runtime.block_on(World::live(seed));
    drop(runtime);
    let breaches = check::all(&history);
    coverage.read(&history);
    let hash = trace::hash(&history);
    history.shrink_to_fit();
    Outcome { seed, history, hash, coverage, breaches }
}

impl World {
    async fn live(seed: u64) -> (Vec<Entry>, Coverage) {
        let world = Arc::new(Self::new(seed));
        let (resumes, is_steady) =
            (!world.plan.server.resume_window.is_zero(), world.plan.is_steady);
        world.recorder.note(What::World { words: world.words(), resumes, is_steady });
        let lived = tokio::time::timeout(END_OF_TIME, Arc::clone(&world).act()).await;
        if lived.is_err() {
            world.recorder.note(What::Restless { words: "somebody acts for ever".to_owned() });
        }
        let coverage = world.coverage.lock().unwrap().clone();
        (world.recorder.take(), coverage)
    }

    fn new(seed: u64) -> Self {
        static WORLDS: AtomicU64 = AtomicU64::new(0);
        // A seed may be lived twice at the same time.
        let door = format!("simulate-{seed}-{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        let plan = Plan::new(&mut Chance::new(seed, 1));
        let recorder = Arc::new(Recorder::new());
        let ears = Arc::new(Ears { recorder: Arc::clone(&recorder), side: Side::Server });
        let mut server = Server::with_config(plan.server.clone());
        for path in PATHS {
            server = server.mount(ears.namespace(path, concurrent(path))).unwrap();
        }
        let mut chance = Chance::new(seed, 2);
        let guest = |number| Guest::new(number, Cables::new(&door, chance.draw()));
        let guests = (0..plan.clients).map(guest).collect();
        let (coverage, is_over) = (Mutex::default(), AtomicBool::new(false));
        Self { seed, plan, recorder, server, guests, coverage, is_over }
    }

    /// An actor's own stream of chance.
    pub(crate) fn chance(&self, stream: u64) -> Chance {
        Chance::new(self.seed, stream)
    }

    pub(crate) fn trouble(&self, client: usize, words: &str) {
        self.recorder.note(What::Trouble { client, words: words.to_owned() });
    }

    pub(crate) fn cover(&self, what: &'static str) {
        self.coverage.lock().unwrap().count(what, 1);
    }

    fn words(&self) -> String {
        let Plan { clients, is_tiny, is_mild, slow_policy, server, .. } = &self.plan;
        let bounds = if *is_tiny { "narrow" } else { "usual" };
        let (window, trouble) = (server.window_events, if *is_mild { "mild" } else { "much" });
        format!(
            "{clients} clients, {bounds} bounds, {slow_policy:?}, a window of {window} events, \
             {trouble} trouble, sessions outlive links for {:?}",
            server.resume_window
        )
    }

    async fn act(self: Arc<Self>) {
        let door = self.guests[0].cables();
        let door = door.door();
        self.server.listen(Memory::new(door)).await.unwrap();
        let mut actors = JoinSet::new();
        for number in 0..self.guests.len() {
            let world = Arc::clone(&self);
            actors.spawn(async move {
                world.guests[number].arrive(&world).await;
                let talk = tokio::spawn(actors::chatter(Arc::clone(&world), number));
                trouble::maker(world, number).await;
                talk.await.unwrap();
            });
        }
        for number in 0..3 {
            actors.spawn(actors::announce(Arc::clone(&self), number, self.plan.down / 3));
        }
        let sampler = tokio::spawn(Arc::clone(&self).sample());
        while let Some(acted) = actors.join_next().await {
            acted.unwrap();
        }
        self.guests.iter().for_each(|guest| guest.cables().mend());
        if self.rest(What::Calm).await {
            actors::last_words(&self).await;
            self.rest(What::AtRest).await;
        }
        self.close().await;
        self.is_over.store(true, Ordering::Relaxed);
        sampler.await.unwrap();
        // Whoever gives up a wire gets so long to get rid of what it wrote.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        self.recorder.note(What::Over { tasks });
        let totals = Box::new(engine::totals(&self.server.stats()));
        self.recorder.note(What::Counted { side: Side::Server, totals });
        for guest in &self.guests {
            let (side, totals) = (guest.side(), Box::new(guest.totals()));
            self.recorder.note(What::Counted { side, totals });
        }
    }

    /// Everybody goes; or the server goes first, while everybody talks.
    async fn close(self: &Arc<Self>) {
        if self.plan.drains {
            self.cover("drain");
            let words = tokio::spawn({
                let world = Arc::clone(self);
                async move { actors::last_words(&world).await }
            });
            tokio::time::sleep(self.chance(500).millis(0, 40)).await;
            self.server.run_until(std::future::ready(())).await;
            words.await.unwrap();
            for guest in &self.guests {
                guest.retire().await;
            }
        } else {
            for guest in &self.guests {
                guest.depart().await;
            }
            self.server.run_until(std::future::ready(())).await;
        }
    }

    /// Waits until nothing moves any more, and notes that; says whether it came to that.
    async fn rest(&self, note: What) -> bool {
        let by = tokio::time::Instant::now() + REST_BY;
        let (mut since, mut before) = (tokio::time::Instant::now(), None);
        loop {
            let restless = self.restless();
            let now = Some((restless.clone(), self.recorder.len()));
            if now != before {
                (since, before) = (tokio::time::Instant::now(), now);
            }
            if restless.is_none() && since.elapsed() >= REST {
                self.recorder.note(note);
                return true;
            }
            if tokio::time::Instant::now() >= by {
                let words = restless.unwrap_or_else(|| "something happens all the time".into());
                self.recorder.note(What::Restless { words });
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What still moves, if anything.
    fn restless(&self) -> Option<String> {
        let server = engine::totals(&self.server.stats());
        let clients = self.guests.iter().map(|guest| (guest.side(), guest.totals()));
        for (side, totals) in clients.chain([(Side::Server, server)]) {
            let Totals { waiting, unconfirmed, parked, .. } = totals;
            let open = totals.events_in - totals.handled - totals.refused;
            if waiting + unconfirmed + parked + open > 0 {
                return Some(format!(
                    "{side}: {waiting} wait, {unconfirmed} are unconfirmed, {parked} parked, \
                     {open} not answered"
                ));
            }
        }
        let sessions = self.guests.len() as u64;
        let there = server.sessions;
        (there != sessions).then(|| format!("the server has {there} of {sessions} sessions"))
    }

    /// Looks again and again whether anything is fuller than it may be.
    async fn sample(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(97)).await;
            for guest in &self.guests {
                // All sockets of a session have one queue.
                if let Some(socket) = guest.paths.iter().find_map(|path| guest.socket(path)) {
                    self.look(guest.side(), &socket, &self.plan.client);
                }
            }
            for path in PATHS {
                for socket in self.server.of(path).local_sockets().await.unwrap() {
                    self.look(Side::Server, &socket, &self.plan.server);
                }
            }
            if self.server.stats().sessions > self.guests.len() as u64 {
                self.cover("two links of one client");
            }
        }
    }

    fn look(&self, side: Side, socket: &Socket, config: &Config) {
        let queue = socket.stats().queue;
        let (packets, bytes) =
            (queue.waiting + queue.unconfirmed, queue.waiting_bytes + queue.unconfirmed_bytes);
        // Besides what is bounded by the log there are the answers to a window of events, gaps,
        // of which there may be one between any two events that wait, and what is said of
        // namespaces. The last event that still had room may be one of the largest.
        let packets_max =
            config.log_packets_max + config.window_events + config.unwritten_packets_max + 8;
        let bytes_max = config.log_bytes_max + speech::BYTES_MAX + 64 * config.window_events;
        if packets > packets_max || bytes > bytes_max {
            let label = self.recorder.label(socket.id());
            let words = format!(
                "#{label} {packets} of {packets_max} packets, {bytes} of {bytes_max} bytes"
            );
            self.recorder.note(What::Overfull { side, words });
        }
    }
}
