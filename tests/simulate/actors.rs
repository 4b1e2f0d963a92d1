//! Who lives in the world: clients that come, talk and go, and a server that talks to them.

use super::cables::Cables;
use super::chance::Chance;
use super::ears::Ears;
use super::engine;
use super::history::{Kind, Side, Totals, What};
use super::speech::{self, Manner, ROOMS};
use super::world::{PATHS, World};
use emitwire::{Client, Outcome, ResumeToken, Session, Socket};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// A client, across all its sessions.
pub(crate) struct Guest {
    pub(crate) number: usize,
    pub(crate) paths: &'static [&'static str],
    cables: Mutex<Cables>,
    pub(crate) session: Mutex<Option<Arc<Session>>>,
    /// What its former sessions have counted.
    past: Mutex<Totals>,
    /// What another process needs to go on with its session.
    token: Arc<Mutex<Option<ResumeToken>>>,
}

/// How long somebody who found nothing looks again.
const LOOK: Duration = Duration::from_millis(50);

impl Guest {
    pub(crate) fn new(number: usize, cables: Cables) -> Self {
        const PATHS: [&[&str]; 4] = [&["/a", "/b"], &["/a"], &["/b", "/c"], &["/c", "/a", "/b"]];
        let (session, past, token) = (Mutex::default(), Mutex::default(), Arc::default());
        let (paths, cables) = (PATHS[number % PATHS.len()], Mutex::new(cables));
        Self { number, paths, cables, session, past, token }
    }

    /// The cables of its present process.
    pub(crate) fn cables(&self) -> Cables {
        self.cables.lock().unwrap().clone()
    }

    pub(crate) fn side(&self) -> Side {
        Side::Client(self.number)
    }

    /// Its socket of a namespace, if it has one now.
    pub(crate) fn socket(&self, path: &str) -> Option<Socket> {
        self.session.lock().unwrap().as_ref()?.of(path).ok()
    }

    /// Connects anew, until that succeeds.
    pub(crate) async fn arrive(&self, world: &World) {
        self.connect(world, None).await;
    }

    async fn connect(&self, world: &World, token: Option<ResumeToken>) {
        let cables = self.cables();
        let ears = Arc::new(Ears { recorder: Arc::clone(&world.recorder), side: self.side() });
        loop {
            let kept = Arc::clone(&self.token);
            let mut client = Client::new(cables.clone())
                .config(world.plan.client.clone())
                .on_resume_token(move |token| *kept.lock().unwrap() = Some(token.clone()));
            if let Some(token) = &token {
                client = client.resume_with(token.clone());
            }
            for path in self.paths {
                client = client.mount(ears.namespace(path, concurrent(path)));
            }
            match client.connect().await {
                Ok(session) => {
                    *self.session.lock().unwrap() = Some(Arc::new(session));
                    return;
                }
                Err(error) => {
                    // The door's name is no part of the history: another life has another.
                    let words = error.to_string().replace(cables.door(), "server");
                    world.trouble(self.number, &format!("cannot connect: {words}"));
                    tokio::time::sleep(4 * LOOK).await;
                }
            }
        }
    }

    /// Closes its session for good, as soon as it has a socket by which to do so.
    pub(crate) async fn depart(&self) {
        let socket = loop {
            match self.paths.iter().find_map(|path| self.socket(path)) {
                Some(socket) => break socket,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let session = self.session.lock().unwrap().take().unwrap();
        socket.close_session("");
        session.ended().await;
        let mut past = self.past.lock().unwrap();
        *past = past.plus(&engine::totals(&session.stats()));
    }

    /// Its process is killed, and soon there is another, which goes on with the session if it can.
    pub(crate) async fn restart(&self, world: &World, after: Duration, is_noticed: bool) {
        let old = self.cables();
        old.abandon();
        let cable = old.last();
        if let Some(cable) = &cable {
            if is_noticed { cable.sever() } else { cable.sever_unnoticed() }
        }
        // What is left of it notices that, and dies.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let sockets: Vec<_> = self.paths.iter().filter_map(|path| self.socket(path)).collect();
        let labels = sockets.iter().map(|socket| world.recorder.label(socket.id())).collect();
        world.recorder.note(What::Killed { client: self.number, sockets: labels });
        let token = self.token.lock().unwrap().take();
        // One without a session, or whose session ends now, will not have another.
        if sockets.is_empty() {
            self.retire().await
        } else {
            self.depart().await
        }
        *self.cables.lock().unwrap() = old.successor();
        tokio::time::sleep(after).await;
        self.connect(world, token).await;
        let session = self.session.lock().unwrap().clone();
        let resumed = session.is_some_and(|session| session.outcome() != Outcome::New);
        world.trouble(self.number, &format!("another process is there, resumed: {resumed}"));
        world.cover(if resumed { "restart" } else { "restart too late" });
        tokio::time::sleep(after).await;
        if let Some(cable) = &cable {
            cable.heal();
        }
    }

    /// Gives up a session that has ended and will not come back.
    pub(crate) async fn retire(&self) {
        // Handlers may run on for a while.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let Some(session) = self.session.lock().unwrap().take() else { return };
        let totals = engine::totals(&session.stats());
        if let Ok(session) = Arc::try_unwrap(session) {
            session.close().await;
        }
        let mut past = self.past.lock().unwrap();
        *past = past.plus(&totals);
    }

    /// What it has counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let now = self.session.lock().unwrap().as_ref().map(|it| engine::totals(&it.stats()));
        self.past.lock().unwrap().plus(&now.unwrap_or_default())
    }
}

/// How many handlers of a socket run at once in a namespace.
pub(crate) fn concurrent(path: &str) -> usize {
    if path == "/c" { 3 } else { 1 }
}

/// A client says what it has to say, in bursts.
pub(crate) async fn chatter(world: Arc<World>, number: usize) {
    let guest = &world.guests[number];
    let mut chance = world.chance(100 + number as u64);
    let (mut left, mut others) = (world.plan.up_each, JoinSet::new());
    while left > 0 {
        tokio::time::sleep(chance.millis(20, 2_000)).await;
        for _ in 0..chance.between(1, 12) {
            let Some(socket) = guest.socket(guest.paths[chance.below(guest.paths.len())]) else {
                continue;
            };
            left = left.saturating_sub(1);
            let (manner, recorder) = (Manner::new(&mut chance, false), Arc::clone(&world.recorder));
            let from = guest.side();
            let saying = async move { speech::say(&recorder, from, &socket, manner).await };
            if chance.percent(50) {
                others.spawn(saying);
            } else {
                saying.await;
            }
        }
    }
    while others.join_next().await.is_some() {}
}

/// The server says something, to one or to many.
pub(crate) async fn announce(world: Arc<World>, number: u64, times: usize) {
    let mut chance = world.chance(200 + number);
    let mut others = JoinSet::new();
    for _ in 0..times {
        if chance.percent(40) {
            tokio::time::sleep(chance.millis(10, 1_200)).await;
        }
        let path = PATHS[chance.below(PATHS.len())];
        if chance.percent(50) {
            let there = world.server.of(path).local_sockets().await.unwrap();
            let Some(socket) = there.get(chance.below(there.len())).cloned() else { continue };
            let (manner, recorder) = (Manner::new(&mut chance, true), Arc::clone(&world.recorder));
            let saying = async move { speech::say(&recorder, Side::Server, &socket, manner).await };
            if chance.percent(60) {
                others.spawn(saying);
            } else {
                saying.await;
            }
        } else {
            // Now and then far more than a narrow mailbox holds.
            let is_flood = world.plan.is_tiny && chance.percent(2);
            let times = if is_flood { chance.between(20, 60) } else { 1 };
            flood(&world, path, &mut chance, times, &mut others).await;
        }
    }
    while others.join_next().await.is_some() {}
}

/// Everybody has something to say once more, more than fits into a narrow window.
pub(crate) async fn last_words(world: &Arc<World>) {
    let (mut all, mut chance) = (JoinSet::new(), world.chance(400));
    for guest in &world.guests {
        for path in guest.paths {
            let Some(here) = guest.socket(path) else { continue };
            let there = world.server.socket(path, here.id());
            let ends = [(guest.side(), Some(here)), (Side::Server, there)];
            for (from, socket) in ends.into_iter().filter_map(|(side, it)| Some((side, it?))) {
                for number in 0..LAST_WORDS {
                    let (recorder, socket) = (Arc::clone(&world.recorder), socket.clone());
                    let ack_by = (number % 2 == 0).then_some(LAST_ACK_BY);
                    // Small ones leave room in the window, but not enough for the next large one.
                    let receipt_by = (number % 4 == 1).then_some(LAST_ACK_BY);
                    let manner = Manner::plain(ack_by, receipt_by, chance.below(1_500));
                    all.spawn(async move { speech::say(&recorder, from, &socket, manner).await });
                }
            }
        }
    }
    while all.join_next().await.is_some() {}
}

const LAST_WORDS: u32 = 12;

const LAST_ACK_BY: Duration = Duration::from_secs(4);

/// So many broadcasts, one right behind the other.
pub(crate) async fn flood(
    world: &Arc<World>,
    path: &'static str,
    chance: &mut Chance,
    times: u64,
    others: &mut JoinSet<()>,
) {
    for number in 0..times {
        if number % 8 == 7 {
            // A driver is told of so many losses at once, and no more.
            tokio::task::yield_now().await;
        }
        let (world, chance) = (Arc::clone(world), Chance::new(chance.draw(), 0));
        others.spawn(async move { announce_to_many(&world, path, chance).await });
    }
}

async fn announce_to_many(world: &World, path: &str, mut chance: Chance) {
    let mut room = || speech::room(chance.below(ROOMS.into()) as u8);
    let (one, other) = (room(), room());
    let all = world.server.of(path);
    let to = match chance.below(5) {
        0 => all,
        1 => all.to(one),
        2 => all.to([one, other]),
        3 => all.except(one),
        _ => all.to(one).except(other),
    };
    let kind =
        chance.weighted(&[(70, Kind::Say), (10, Kind::Slow), (5, Kind::Fail), (15, Kind::Blink)]);
    let wants_ack = kind.is_reliable() && chance.percent(25);
    let ack_by = wants_ack.then(|| chance.millis(300, 5_000));
    let bytes = chance.weighted(&[(80, 20), (20, 1_000)]);
    speech::say_to_many(&world.recorder, &to, kind, ack_by, bytes).await;
}
