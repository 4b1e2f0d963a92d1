//! Ten thousand sockets that join and leave a thousand rooms while others speak in them.
//!
//! What is to be heard is decidable: one clock ticks at the server before and after each join,
//! leave and broadcast. Whoever has joined before a broadcast begins and begins to leave after it
//! has ended is to hear it; whoever has left before it begins, or begins to join after it has
//! ended, is not; of the others both is right. Each broadcast is heard once at most, and those of
//! one speaker in their order.
//!
//! They are half as many, and move and speak less, unless `EMITWIRE_FULL=1` is set; and
//! `EMITWIRE_SEED` repeats a run as far as the scheduler does.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use emitwire::{
    Client, Config, Data, EmitError, Event, Namespace, RoomError, Server, Session, Socket,
};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Dice, all, becomes, endpoint, fresh_mem, listen, rooms, sockets, within};

/// How long all of it may take, and each answer: ten thousand wait for theirs at the same time.
const PATIENCE: Duration = Duration::from_secs(300);

/// How big it is, and what it rolls.
#[derive(Clone, Copy)]
struct Size {
    sockets: usize,
    rooms: usize,
    /// Rooms that a socket is in at the beginning.
    rooms_each: usize,
    /// How often a socket leaves a room and joins another.
    moves: usize,
    speakers: usize,
    /// What each speaker says.
    events: usize,
    seed: u64,
}

/// From tick to tick.
type Span = (u64, u64);

/// A socket's time in a room.
struct Stay {
    room: usize,
    join: Span,
    leave: Option<Span>,
}

/// What was said to one or two rooms.
struct Said {
    speaker: usize,
    number: usize,
    rooms: Vec<usize>,
    /// Whom it leaves out, if it is said by a socket.
    but: Option<usize>,
    span: Span,
}

/// All that has happened.
struct World {
    size: Size,
    clock: AtomicU64,
    stays: Vec<Mutex<Vec<Stay>>>,
    said: Mutex<Vec<Said>>,
    /// What each socket has heard: who, and which of it.
    heard: Vec<Mutex<Vec<(usize, usize)>>>,
    /// Those who have heard that it is over.
    through: AtomicUsize,
}

impl World {
    fn new(size: Size) -> Arc<Self> {
        let (clock, said, through) = (AtomicU64::new(1), Mutex::default(), AtomicUsize::new(0));
        let stays = (0..size.sockets).map(|_| Mutex::default()).collect();
        let heard = (0..size.sockets).map(|_| Mutex::default()).collect();
        Arc::new(Self { size, clock, stays, said, heard, through })
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A socket joins a room, and it is noted when.
    async fn join(&self, socket: &Socket, who: usize, room: usize) -> Result<(), RoomError> {
        let begun = self.tick();
        socket.join(name(room)).await?;
        let join = (begun, self.tick());
        self.stays[who].lock().unwrap().push(Stay { room, join, leave: None });
        Ok(())
    }

    async fn leave(&self, socket: &Socket, who: usize, room: usize) -> Result<(), RoomError> {
        let begun = self.tick();
        socket.leave(name(room)).await?;
        let leave = Some((begun, self.tick()));
        let mut stays = self.stays[who].lock().unwrap();
        let stay = stays.iter_mut().rev().find(|stay| stay.room == room).unwrap();
        stay.leave = leave;
        Ok(())
    }

    /// Says something to rooms, and notes when; nobody is too slow.
    async fn say(&self, to: &emitwire::Broadcast, said: Said) -> Result<(), EmitError> {
        let event = (said.speaker, said.number);
        let begun = self.tick();
        let fanout = to.emit("said", &event).await?;
        let span = (begun, self.tick());
        assert_eq!(fanout.dropped, 0, "seed {}", self.size.seed);
        self.said.lock().unwrap().push(Said { span, ..said });
        Ok(())
    }

    /// What one socket has heard is what it was to hear.
    fn check(&self, who: usize, said: &HashMap<usize, Vec<&Said>>) {
        let heard = self.heard[who].lock().unwrap();
        let mut last = HashMap::new();
        for (speaker, number) in &*heard {
            let before = last.insert(*speaker, *number);
            let in_order = before.is_none_or(|before| before < *number);
            assert!(in_order, "{}: {number} of {speaker} behind {before:?}", self.place(who));
        }
        let mut heard: HashSet<(usize, usize)> = heard.iter().copied().collect();
        let stays = self.stays[who].lock().unwrap();
        let mut near = HashMap::new();
        for said in stays.iter().filter_map(|stay| said.get(&stay.room)).flatten() {
            near.insert((said.speaker, said.number), *said);
        }
        for (event, said) in near {
            let of_room = stays.iter().filter(|stay| said.rooms.contains(&stay.room));
            let (must, may) = of_room.fold((false, false), |(must, may), stay| {
                (must | stay.surely_spans(said.span), may | stay.may_span(said.span))
            });
            let is_out = said.but == Some(who);
            let (must, may) = (must && !is_out, may && !is_out);
            match heard.remove(&event) {
                true => assert!(may, "{} has heard {event:?}", self.place(who)),
                false => assert!(!must, "{} has missed {event:?}", self.place(who)),
            }
        }
        // What is left was said in rooms in which it has never been.
        assert!(heard.is_empty(), "{} has heard {heard:?} of other rooms", self.place(who));
    }

    fn check_all(&self) {
        let said = self.said.lock().unwrap();
        let mut by_room: HashMap<usize, Vec<&Said>> = HashMap::new();
        for said in &*said {
            for room in &said.rooms {
                by_room.entry(*room).or_default().push(said);
            }
        }
        (0..self.size.sockets).for_each(|who| self.check(who, &by_room));
    }

    /// The rooms as they are in the end, with their sizes.
    fn rooms(&self) -> Vec<(String, usize)> {
        let mut sizes = HashMap::new();
        for stays in &self.stays {
            for stay in stays.lock().unwrap().iter().filter(|stay| stay.leave.is_none()) {
                *sizes.entry(name(stay.room)).or_default() += 1;
            }
        }
        let mut sizes: Vec<_> = sizes.into_iter().collect();
        sizes.sort_unstable();
        sizes
    }

    fn place(&self, who: usize) -> String {
        format!("seed {}: socket {who}", self.size.seed)
    }
}

impl Stay {
    /// Whether the socket was in the room all the time.
    fn surely_spans(&self, (begun, ended): Span) -> bool {
        self.join.1 < begun && self.leave.is_none_or(|leave| leave.0 > ended)
    }

    /// Whether it may have been in the room at any time.
    fn may_span(&self, (begun, ended): Span) -> bool {
        self.join.0 < ended && self.leave.is_none_or(|leave| leave.1 > begun)
    }
}

fn name(room: usize) -> String {
    format!("room {room}")
}

/// What a socket asks for: to move, and to be heard.
fn crowd(world: &Arc<World>) -> Namespace {
    let (joins, leaves, says) = (Arc::clone(world), Arc::clone(world), Arc::clone(world));
    Namespace::new("/crowd")
        .on("join", move |socket: Socket, Data((who, room)): Data<(usize, usize)>| {
            let world = Arc::clone(&joins);
            async move { world.join(&socket, who, room).await }
        })
        .on("leave", move |socket: Socket, Data((who, room)): Data<(usize, usize)>| {
            let world = Arc::clone(&leaves);
            async move { world.leave(&socket, who, room).await }
        })
        .on("say", move |socket: Socket, Data((who, number, room)): Data<(usize, usize, usize)>| {
            let world = Arc::clone(&says);
            async move {
                let (speaker, rooms) = (world.size.speakers + who, vec![room]);
                let said = Said { speaker, number, rooms, but: Some(who), span: (0, 0) };
                world.say(&socket.to(name(room)), said).await
            }
        })
}

/// A socket's ears.
fn ears(world: &Arc<World>, who: usize) -> Namespace {
    let (hears, ends) = (Arc::clone(world), Arc::clone(world));
    Namespace::new("/crowd")
        .on("said", move |event: Event| {
            let said = event.payload.decode().unwrap();
            hears.heard[who].lock().unwrap().push(said);
            async {}
        })
        .on("over", move || {
            ends.through.fetch_add(1, Ordering::AcqRel);
            async {}
        })
}

/// Leaves one of its rooms and joins another, again and again, and says something in between.
async fn wander(world: Arc<World>, socket: Socket, who: usize) {
    let size = world.size;
    let mut dice = Dice(size.seed.wrapping_mul(who as u64 + 1) | 1);
    let mut roll = |sides: usize| (dice.roll() >> 33) as usize % sides;
    let mut mine = Vec::new();
    for step in 0..size.rooms_each + size.moves {
        if step >= size.rooms_each {
            let left: usize = mine.swap_remove(roll(mine.len()));
            socket.emit("leave", &(who, left)).ack::<()>().await.unwrap();
        }
        let next = (0..).map(|_| roll(size.rooms)).find(|room| !mine.contains(room)).unwrap();
        socket.emit("join", &(who, next)).ack::<()>().await.unwrap();
        mine.push(next);
        if roll(8) == 0 {
            // Now and then into a room in which it is not.
            let room = if roll(4) == 0 { roll(size.rooms) } else { mine[roll(mine.len())] };
            socket.emit("say", &(who, step, room)).ack::<()>().await.unwrap();
        }
    }
}

/// Speaks to rooms, now and then to two at once.
async fn speak(world: Arc<World>, server: Server, speaker: usize) {
    let size = world.size;
    let mut dice = Dice(size.seed.rotate_left(32).wrapping_mul(speaker as u64 + 1) | 1);
    let mut roll = |sides: usize| (dice.roll() >> 33) as usize % sides;
    let crowd = server.of("/crowd");
    for number in 0..size.events {
        let mut rooms = vec![roll(size.rooms)];
        if roll(3) == 0 {
            rooms.push(roll(size.rooms));
        }
        let names: Vec<String> = rooms.iter().map(|room| name(*room)).collect();
        let said = Said { speaker, number, rooms, but: None, span: (0, 0) };
        world.say(&crowd.clone().to(names), said).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn gather(world: &Arc<World>, url: &str) -> Vec<Session> {
    let mut sessions = Vec::new();
    let mut config = Config::default();
    config.ack_timeout = PATIENCE;
    for first in (0..world.size.sockets).step_by(100) {
        let connecting = (first..world.size.sockets.min(first + 100)).map(|who| {
            let client = Client::new(endpoint(url)).config(config.clone());
            let client = client.mount(ears(world, who)).reconnect(false);
            async move { within(client.connect()).await.unwrap() }
        });
        sessions.extend(all(connecting).await);
    }
    sessions
}

async fn run(size: Size) {
    let began = Instant::now();
    let world = World::new(size);
    let server = Server::new().mount(crowd(&world)).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let sessions = gather(&world, &url).await;
    println!("{} sockets after {:?}", sessions.len(), began.elapsed());
    let mut tasks = Vec::new();
    for (who, session) in sessions.iter().enumerate() {
        let socket = session.of("/crowd").unwrap();
        tasks.push(tokio::spawn(wander(Arc::clone(&world), socket, who)));
    }
    for speaker in 0..size.speakers {
        tasks.push(tokio::spawn(speak(Arc::clone(&world), server.clone(), speaker)));
    }
    for task in tasks {
        task.await.unwrap_or_else(|error| panic!("seed {}: {error}", size.seed));
    }
    println!("all have moved after {:?}", began.elapsed());
    // Whoever hears this has heard all that was said to it before.
    let fanout = within(server.of("/crowd").emit("over", &())).await.unwrap();
    assert_eq!((fanout.accepted, fanout.dropped), (size.sockets, 0), "seed {}", size.seed);
    becomes(|| world.through.load(Ordering::Acquire), size.sockets).await;
    world.check_all();
    let found = rooms(&server.of("/crowd")).into_iter();
    let found: Vec<_> = found.map(|(name, size)| (name.to_string(), size)).collect();
    assert_eq!(found, world.rooms(), "seed {}", size.seed);
    let heard: usize = world.heard.iter().map(|heard| heard.lock().unwrap().len()).sum();
    println!("{heard} events heard, checked after {:?}", began.elapsed());
    // So that nothing was checked in vain.
    assert!(heard > size.sockets, "only {heard} were heard");
    for session in sessions {
        within(session.close()).await;
    }
    becomes(|| server.stats().sessions, 0).await;
    assert_eq!((rooms(&server.of("/crowd")), sockets(&server.of("/crowd"))), (vec![], vec![]));
    println!("over after {:?}", began.elapsed());
}

#[test]
fn everybody_hears_what_is_said_in_its_rooms_and_nobody_what_is_not() {
    let seed = std::env::var("EMITWIRE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let full = std::env::var_os("EMITWIRE_FULL").is_some();
    if !full {
        println!(
            "half of it, for a short while: EMITWIRE_FULL=1 cargo test --release --test crowd"
        );
    }
    let (rooms_each, moves, events) = if full { (3, 6, 2000) } else { (2, 2, 200) };
    let (sockets, rooms) = if full { (10_000, 1000) } else { (5000, 500) };
    let size = Size { sockets, rooms, rooms_each, moves, speakers: 16, events, seed };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, run(size)).await });
    assert!(ended.is_ok(), "seed {seed}: not over within {PATIENCE:?}");
}
