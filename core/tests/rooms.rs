//! Rooms against a naive model, and the mailbox on a wire that takes only what it is told to.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::protocol::{
    Close, CloseCode, Codec, Connect, Credit, Decoder, DisconnectReason, Encoded, EventName,
    EventPacket, EventRef, Frame, Leave, NamespaceNumber, Native, Outbound, Packet, Payload,
    Position, ProtocolError, SocketId,
};
use emitwire_core::room::{
    Adapter, Bounds, Counters, Fanout, Flush, LocalAdapter, Mailbox, NotAccepted, Parcel,
    RoomError, RoomName, Selection, Shared, SlowPolicy, Ticket, WireEnd,
};
use emitwire_core::transport::WriteHalf;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const BOUNDS: Bounds = Bounds {
    event_bytes_max: 1000,
    unwritten_bytes_max: 1 << 20,
    unwritten_packets_max: 1 << 20,
    log_bytes_max: 1 << 24,
    log_packets_max: 1 << 20,
    volatile_bytes_max: 1 << 20,
};
const WINDOW: Credit = Credit { events: 1 << 20, bytes: 1 << 24 };
/// Longer than any of these tests takes on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The same number of cases everywhere, and no files in the tree: what fails is printed whole.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

/// The adapter of one process answers at once.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn sockets(adapter: &LocalAdapter, selection: &Selection) -> Vec<SocketId> {
    ready(adapter.sockets(selection)).unwrap()
}

fn all_rooms(adapter: &LocalAdapter) -> Vec<(RoomName, usize)> {
    ready(adapter.rooms(&Selection::default())).unwrap()
}

/// An event of one byte that nobody answers.
fn parcel(encoded: &Encoded) -> Parcel<'_> {
    Parcel { encoded, event_bytes: 1, wants_ack: false, latest: None }
}

// ---------------------------------------------------------------------------------------------
// The adapter

const SOCKETS: usize = 7;
const ROOMS: usize = 6;
const ROOMS_PER_SOCKET_MAX: usize = 3;

/// A room by its number, or the room that a socket is by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Room(usize),
    Socket(usize),
}

impl Name {
    fn name(self) -> RoomName {
        match self {
            Self::Room(number) => format!("room {number}").into(),
            Self::Socket(number) => id(number).into(),
        }
    }
}

fn id(number: usize) -> SocketId {
    SocketId(0x0123_4567_89ab_cdef_0000_0000_0000_0000 + number as u128)
}

fn names(names: &[Name]) -> Vec<RoomName> {
    names.iter().map(|name| name.name()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Remove(usize),
    Join(usize, Vec<Name>),
    Leave(usize, Vec<Name>),
    Say { rooms: Vec<Name>, except: Vec<Name>, without: Option<usize> },
}

fn step() -> impl Strategy<Value = Step> {
    let room = || (0..ROOMS).prop_map(Name::Room);
    let any = move || prop_oneof![4 => room(), 1 => (0..SOCKETS).prop_map(Name::Socket)];
    prop_oneof![
        3 => (0..SOCKETS).prop_map(Step::Add),
        1 => (0..SOCKETS).prop_map(Step::Remove),
        6 => (0..SOCKETS, vec(room(), 0..4)).prop_map(|(socket, rooms)| Step::Join(socket, rooms)),
        3 => (0..SOCKETS, vec(room(), 0..4)).prop_map(|(socket, rooms)| Step::Leave(socket, rooms)),
        6 => (vec(any(), 0..4), vec(any(), 0..3), option::of(0..SOCKETS))
            .prop_map(|(rooms, except, without)| Step::Say { rooms, except, without }),
    ]
}

/// What an adapter is to do, in the plainest words.
#[derive(Default)]
struct Model {
    sockets: BTreeSet<usize>,
    rooms: HashMap<Name, HashSet<usize>>,
}

impl Model {
    fn members(&self, name: Name) -> HashSet<usize> {
        let mut members = self.rooms.get(&name).cloned().unwrap_or_default();
        if let Name::Socket(socket) = name {
            members.extend(self.sockets.get(&socket));
        }
        members
    }

    fn rooms_of(&self, socket: usize) -> BTreeSet<Name> {
        let rooms = self.rooms.iter().filter(|(_, members)| members.contains(&socket));
        rooms.map(|(name, _)| *name).collect()
    }

    fn join(&mut self, socket: usize, rooms: &[Name]) -> Result<(), RoomError> {
        if !self.sockets.contains(&socket) {
            return Err(RoomError::Closed);
        }
        let all: BTreeSet<Name> =
            self.rooms_of(socket).into_iter().chain(rooms.iter().copied()).collect();
        if all.len() > ROOMS_PER_SOCKET_MAX {
            return Err(RoomError::TooManyRooms { max: ROOMS_PER_SOCKET_MAX });
        }
        for name in all {
            self.rooms.entry(name).or_default().insert(socket);
        }
        Ok(())
    }

    fn leave(&mut self, socket: usize, rooms: &[Name]) {
        for name in rooms {
            if let Some(members) = self.rooms.get_mut(name) {
                members.remove(&socket);
            }
        }
        self.rooms.retain(|_, members| !members.is_empty());
    }

    fn selected(&self, rooms: &[Name], except: &[Name], without: Option<usize>) -> BTreeSet<usize> {
        let mut selected: BTreeSet<usize> = match rooms {
            [] => self.sockets.clone(),
            rooms => rooms.iter().flat_map(|name| self.members(*name)).collect(),
        };
        for name in except {
            let members = self.members(*name);
            selected.retain(|socket| !members.contains(socket));
        }
        selected.retain(|socket| without != Some(*socket));
        selected
    }
}

/// An adapter and its model, side by side.
struct Pair {
    adapter: LocalAdapter,
    counters: Arc<Counters>,
    mailboxes: HashMap<usize, (Arc<Mailbox>, Wire)>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let adapter = LocalAdapter::new(ROOMS_PER_SOCKET_MAX, Arc::clone(&counters));
        Self { adapter, counters, mailboxes: HashMap::new(), model: Model::default() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add(socket) => self.add(*socket),
            Step::Remove(socket) => {
                self.adapter.remove(id(*socket));
                self.mailboxes.remove(socket);
                self.model.leave(*socket, &(0..ROOMS).map(Name::Room).collect::<Vec<_>>());
                self.model.sockets.remove(socket);
            }
            Step::Join(socket, rooms) => {
                let joined = self.adapter.join(id(*socket), &names(rooms));
                assert_eq!(joined, self.model.join(*socket, rooms));
            }
            Step::Leave(socket, rooms) => {
                self.adapter.leave(id(*socket), &names(rooms));
                self.model.leave(*socket, rooms);
            }
            Step::Say { rooms, except, without } => self.say(rooms, except, *without),
        }
        self.compare();
    }

    fn add(&mut self, socket: usize) {
        if self.model.sockets.insert(socket) {
            let mailbox = Arc::new(mailbox(Arc::new(Native), WINDOW, BOUNDS, &self.counters));
            let wire = Wire::default();
            wire.take_all();
            mailbox.attach(Box::new(Half(wire.clone())));
            self.mailboxes.insert(socket, (Arc::clone(&mailbox), wire));
            self.adapter.add(id(socket), mailbox);
        }
    }

    /// Whoever is selected gets it once, and nobody else gets it.
    fn say(&self, rooms: &[Name], except: &[Name], without: Option<usize>) {
        let selected = self.model.selected(rooms, except, without);
        // No room in a step stands for everyone.
        let everyone = rooms.is_empty();
        let (rooms, except) = ((!everyone).then(|| names(rooms)), names(except));
        let selection = Selection { rooms, except, without: without.map(id), local: false };
        let mut sockets = sockets(&self.adapter, &selection);
        sockets.sort_unstable();
        assert_eq!(sockets, selected.iter().map(|socket| id(*socket)).collect::<Vec<_>>());

        let heard = |socket: &usize| self.mailboxes[socket].1.events();
        let before: HashMap<usize, usize> =
            self.model.sockets.iter().map(|socket| (*socket, heard(socket))).collect();
        let fanout = self.adapter.broadcast(&selection, &mut Shared::new(event(1)));
        assert_eq!((fanout.accepted, fanout.dropped), (selected.len(), 0));
        for (socket, before) in before {
            let expected = before + usize::from(selected.contains(&socket));
            assert_eq!(heard(&socket), expected, "{socket}");
        }
    }

    fn compare(&self) {
        for socket in 0..SOCKETS {
            let mut rooms = self.adapter.rooms_of(id(socket));
            rooms.sort_unstable();
            let expected: Vec<Name> = self.model.rooms_of(socket).into_iter().collect();
            assert_eq!(rooms, names(&expected), "rooms of {socket}");
        }
        let mut rooms = all_rooms(&self.adapter);
        rooms.sort_unstable();
        let model = &self.model.rooms;
        let mut expected: Vec<_> =
            model.iter().map(|(name, members)| (name.name(), members.len())).collect();
        expected.sort_unstable();
        assert_eq!(rooms, expected, "all rooms, none of them empty");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rooms_are_what_a_naive_model_says(steps in vec(step(), 0..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
    }
}

/// A socket with some rooms, out of the ones above.
fn joined(sockets: &[(usize, &[Name])]) -> Pair {
    let mut pair = Pair::new();
    for (socket, rooms) in sockets {
        pair.step(&Step::Add(*socket));
        pair.step(&Step::Join(*socket, rooms.to_vec()));
    }
    pair
}

#[test]
fn too_many_rooms_joins_none_of_them() {
    let pair = joined(&[(1, &[Name::Room(0), Name::Room(1)])]);
    let more = names(&[Name::Room(2), Name::Room(3)]);
    let error = RoomError::TooManyRooms { max: ROOMS_PER_SOCKET_MAX };
    assert_eq!(pair.adapter.join(id(1), &more), Err(error));
    assert_eq!(pair.adapter.rooms_of(id(1)).len(), 2);
    assert_eq!(all_rooms(&pair.adapter).len(), 2, "no empty room is left behind");
    let again = names(&[Name::Room(2), Name::Room(2), Name::Room(0)]);
    assert_eq!(pair.adapter.join(id(1), &again), Ok(()), "a room counts once");
}

#[test]
fn a_room_named_like_a_socket_has_that_socket_in_it_too() {
    let mut pair = joined(&[(1, &[]), (2, &[])]);
    pair.step(&Step::Join(2, vec![Name::Socket(1)]));
    let to_first = Selection { rooms: Some(names(&[Name::Socket(1)])), ..Selection::default() };
    let mut reached = sockets(&pair.adapter, &to_first);
    reached.sort_unstable();
    assert_eq!(reached, [id(1), id(2)], "the socket itself is not to be talked around");
}

#[test]
fn a_socket_that_is_silenced_hears_nothing_and_knows_its_rooms_until_it_is_removed() {
    let pair = joined(&[(1, &[Name::Room(0), Name::Room(1)]), (2, &[Name::Room(0)])]);
    pair.adapter.silence(id(1));
    let mut rooms = pair.adapter.rooms_of(id(1));
    rooms.sort_unstable();
    assert_eq!(rooms, names(&[Name::Room(0), Name::Room(1)]));
    assert_eq!(all_rooms(&pair.adapter), [(Name::Room(0).name(), 1)], "it is no member any more");
    for rooms in [vec![], names(&[Name::Room(0)]), names(&[Name::Socket(1), Name::Room(1)])] {
        let reaches_second = rooms.len() < 2;
        let rooms = (!rooms.is_empty()).then_some(rooms);
        let selection = Selection { rooms, ..Selection::default() };
        let expected = if reaches_second { vec![id(2)] } else { vec![] };
        assert_eq!(sockets(&pair.adapter, &selection), expected);
    }
    assert_eq!(pair.adapter.join(id(1), &names(&[Name::Room(2)])), Err(RoomError::Closed));
    pair.adapter.leave(id(1), &names(&[Name::Room(0)]));
    pair.adapter.remove(id(1));
    assert_eq!(pair.adapter.rooms_of(id(1)), []);
}

#[test]
fn a_large_room_that_shrinks_keeps_its_members() {
    let counters = Arc::new(Counters::default());
    let adapter = LocalAdapter::new(ROOMS_PER_SOCKET_MAX, Arc::clone(&counters));
    let room = names(&[Name::Room(0)]);
    for socket in 0..500 {
        adapter.add(id(socket), Arc::new(mailbox(Arc::new(Native), WINDOW, BOUNDS, &counters)));
        adapter.join(id(socket), &room).unwrap();
    }
    let mut left: BTreeSet<usize> = (0..500).collect();
    // 211 and 500 have no factor in common: every socket has its turn, in no order.
    for socket in (0..500).map(|turn| turn * 211 % 500) {
        left.remove(&socket);
        if socket % 2 == 0 {
            adapter.leave(id(socket), &room);
        } else {
            adapter.remove(id(socket));
        }
        let selection = Selection { rooms: Some(room.clone()), ..Selection::default() };
        let sockets: BTreeSet<SocketId> = sockets(&adapter, &selection).into_iter().collect();
        assert_eq!(sockets, left.iter().map(|socket| id(*socket)).collect());
    }
    assert_eq!(all_rooms(&adapter), []);
}

#[test]
fn members_that_do_not_take_it_are_counted_and_the_others_get_it() {
    let pair = joined(&[(1, &[Name::Room(0)]), (2, &[Name::Room(0)])]);
    pair.mailboxes[&1].0.end(&DisconnectReason::LinkLost);
    let room = Selection { rooms: Some(names(&[Name::Room(0)])), ..Selection::default() };
    let fanout = pair.adapter.broadcast(&room, &mut Shared::new(event(1)));
    assert_eq!((fanout.accepted, fanout.dropped), (1, 1));
    assert_eq!(pair.counters.broadcast_dropped.get(), 1);
    let Packet::Event(volatile) = event(2) else { panic!("an event is an event") };
    let fanout = pair.adapter.broadcast(&room, &mut Shared::new(Packet::Volatile(volatile)));
    assert_eq!((fanout.accepted, fanout.dropped), (1, 1));
    assert_eq!(pair.counters.volatile_dropped.get(), 1);
    let large = packet_of_event(3, Payload::raw(vec![0; BOUNDS.event_bytes_max]));
    let fanout = pair.adapter.broadcast(&room, &mut Shared::new(Packet::Event(large)));
    assert_eq!((fanout.accepted, fanout.dropped), (0, 2), "the name counts too");
    assert_eq!(pair.mailboxes[&2].0.closed(), None, "that is no fault of the member's");
}

/// The native codec under a name of its own; it counts.
struct Counting {
    name: &'static str,
    encoded: AtomicUsize,
}

impl Codec for Counting {
    fn name(&self) -> &'static str {
        self.name
    }

    fn encode(&self, packet: &Packet) -> Encoded {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        Native.encode(packet)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Native.decoder()
    }
}

#[test]
fn a_broadcast_is_encoded_once_for_each_codec_among_its_members() {
    let counters = Arc::new(Counters::default());
    let adapter = LocalAdapter::new(ROOMS_PER_SOCKET_MAX, Arc::clone(&counters));
    let codecs = ["one", "two"].map(|name| Arc::new(Counting { name, encoded: 0.into() }));
    for socket in 0..50 {
        let codec = Arc::clone(&codecs[socket % 2]);
        adapter.add(id(socket), Arc::new(mailbox(codec, WINDOW, BOUNDS, &counters)));
    }
    let fanout = adapter.broadcast(&Selection::default(), &mut Shared::new(event(1)));
    assert_eq!(fanout.accepted, 50);
    assert_eq!(codecs.map(|codec| codec.encoded.load(Ordering::Relaxed)), [1, 1]);
    let nobody = Selection { rooms: Some(names(&[Name::Room(9)])), ..Selection::default() };
    let mut unheard = Shared::new(event(2));
    assert_eq!(adapter.broadcast(&nobody, &mut unheard), Fanout::default());
    let no_room = Selection { rooms: Some(Vec::new()), ..Selection::default() };
    assert_eq!(adapter.broadcast(&no_room, &mut unheard), Fanout::default(), "not everyone");
}

#[test]
fn threads_that_join_leave_and_say_something_leave_the_rooms_whole() {
    let pair = joined(&[]);
    let (adapter, counters) = (&pair.adapter, &pair.counters);
    let room = names(&[Name::Room(0)]);
    thread::scope(|scope| {
        for socket in 0..4 {
            let room = &room;
            scope.spawn(move || {
                for _ in 0..200 {
                    let codec = Arc::new(Native);
                    adapter.add(id(socket), Arc::new(mailbox(codec, WINDOW, BOUNDS, counters)));
                    adapter.join(id(socket), room).unwrap();
                    let selection = Selection { rooms: Some(room.clone()), ..Selection::default() };
                    let fanout = adapter.broadcast(&selection, &mut Shared::new(event(1)));
                    assert!((1..=4).contains(&fanout.accepted), "{fanout:?}");
                    if socket % 2 == 0 {
                        adapter.leave(id(socket), room);
                    }
                    adapter.remove(id(socket));
                }
            });
        }
    });
    assert_eq!(all_rooms(&adapter), []);
    assert_eq!(sockets(&adapter, &Selection::default()), []);
}

// ---------------------------------------------------------------------------------------------
// The mailbox

fn mailbox(
    codec: Arc<dyn Codec>,
    window: Credit,
    bounds: Bounds,
    counters: &Arc<Counters>,
) -> Mailbox {
    Mailbox::new(codec, Outbound::new(window), WINDOW, bounds, Arc::clone(counters))
}

fn packet_of_event(number: u64, payload: Payload) -> EventPacket {
    EventPacket {
        namespace: NamespaceNumber(0),
        event: EventRef { producer: None, number },
        wants_ack: false,
        name: EventName::from_static("e"),
        payload,
    }
}

/// An event of one byte.
fn event(number: u64) -> Packet {
    Packet::Event(packet_of_event(number, Payload::empty()))
}

fn volatile(number: u64) -> Packet {
    Packet::Volatile(packet_of_event(number, Payload::empty()))
}

fn control(number: u32) -> Packet {
    let (path, auth) = (EventName::from_static("/"), Payload::empty());
    Packet::Connect(Connect { number: NamespaceNumber(number), path, auth })
}

fn leave(number: u32) -> Packet {
    Packet::Leave(Leave { client: NamespaceNumber(number), words: "".into() })
}

fn goodbye() -> Close {
    Close { code: CloseCode::Normal, detail: EventName::from_static("") }
}

/// A wire that takes as many bytes as it was told to, and then none until it is told again.
#[derive(Clone, Default)]
struct Wire(Arc<(Mutex<Taken>, Condvar)>);

#[derive(Default)]
struct Taken {
    frames: Vec<Frame>,
    /// A frame of which some bytes were taken, and how many.
    begun: Option<(Frame, usize)>,
    budget: usize,
    is_broken: bool,
    is_closed: bool,
    writer: Option<Waker>,
}

struct Half(Wire);

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.0.lock().unwrap()
    }

    /// Takes so many bytes more, and says so to whoever waits.
    fn take(&self, bytes: usize) {
        let writer = {
            let mut taken = self.lock();
            taken.budget = taken.budget.saturating_add(bytes);
            taken.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn take_all(&self) {
        self.take(usize::MAX);
    }

    fn events(&self) -> usize {
        self.packets().iter().filter(|packet| matches!(packet, Packet::Event(_))).count()
    }

    fn packets(&self) -> Vec<Packet> {
        let decode = |frame: &Frame| Native.decoder().decode(frame.clone()).unwrap().unwrap();
        self.lock().frames.iter().map(decode).collect()
    }
}

impl WriteHalf for Half {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let mut taken = self.0.lock();
        assert!(!taken.is_closed, "written after the end");
        if taken.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while let Some(frame) = batch.front() {
            let begun = taken.begun.take().map_or(0, |(begun, bytes)| {
                assert_eq!(&begun, frame, "a frame that was begun comes again");
                bytes
            });
            let left = frame.body.len() - begun;
            if taken.budget < left {
                taken.begun = Some((frame.clone(), begun + taken.budget));
                taken.budget = 0;
                taken.writer = Some(cx.waker().clone());
                self.0.0.1.notify_all();
                return Poll::Pending;
            }
            taken.budget -= left;
            taken.frames.extend(batch.pop_front());
        }
        self.0.0.1.notify_all();
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().is_closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A mailbox on a wire, with a driver that runs when it is told to.
struct Rig {
    mailbox: Arc<Mailbox>,
    wire: Wire,
    counters: Arc<Counters>,
    driver: Arc<Wakes>,
    window: Credit,
}

impl Rig {
    /// On a wire that takes nothing yet.
    fn new(events: u64, bounds: Bounds) -> Self {
        let (wire, counters) = (Wire::default(), Arc::new(Counters::default()));
        let window = Credit { events, ..WINDOW };
        let mailbox = Arc::new(mailbox(Arc::new(Native), window, bounds, &counters));
        mailbox.attach(Box::new(Half(wire.clone())));
        Self { mailbox, wire, counters, driver: Arc::default(), window }
    }

    /// On a wire that takes everything.
    fn open(events: u64, bounds: Bounds) -> Self {
        let rig = Self::new(events, bounds);
        rig.wire.take_all();
        rig
    }

    /// Appends an event, or says at once why not.
    fn append(&self, number: u64) -> Result<(), NotAccepted> {
        let (mut cx, mut ticket) = (Context::from_waker(Waker::noop()), None);
        let encoded = Native.encode(&event(number));
        match self.mailbox.poll_offer(&mut cx, &mut ticket, &parcel(&encoded)) {
            Poll::Ready(offered) => offered.map(|_| ()),
            Poll::Pending => {
                self.mailbox.forget_ticket(&mut ticket);
                Err(NotAccepted::Full)
            }
        }
    }

    fn offer(&self, number: u64) -> Result<(), NotAccepted> {
        self.append(number)?;
        self.mailbox.flush();
        Ok(())
    }

    fn offer_volatile(&self, number: u64) -> Result<(), NotAccepted> {
        let _: Flush = self.mailbox.offer_volatile(&Native.encode(&volatile(number)), 1)?;
        self.mailbox.flush();
        Ok(())
    }

    fn deliver(&self, number: u64) -> Result<(), NotAccepted> {
        let encoded = Native.encode(&event(number));
        let _ = self.mailbox.deliver(&parcel(&encoded), SlowPolicy::Detach)?;
        self.mailbox.flush();
        Ok(())
    }

    fn poll_offer(
        &self,
        wakes: &Arc<Wakes>,
        ticket: &mut Option<Ticket>,
        number: u64,
    ) -> Poll<Result<(), NotAccepted>> {
        let waker = Waker::from(Arc::clone(wakes));
        let mut cx = Context::from_waker(&waker);
        let encoded = Native.encode(&event(number));
        let offered = self.mailbox.poll_offer(&mut cx, ticket, &parcel(&encoded));
        offered.map_ok(|_| self.mailbox.flush())
    }

    fn push_control(&self, number: u32) {
        let _: Flush = self.mailbox.push_control(&control(number));
        self.mailbox.flush();
    }

    fn close(&self, at_once: bool) {
        let _: Flush = self.mailbox.begin_close(DisconnectReason::Closed, goodbye(), at_once);
        self.mailbox.flush();
    }

    /// One look of the driver.
    fn drive(&self) -> Poll<WireEnd> {
        let waker = Waker::from(Arc::clone(&self.driver));
        self.mailbox.poll_drive(&mut Context::from_waker(&waker))
    }

    /// The peer has so many counted packets and has finished so many events, of one byte each.
    fn confirm(&self, received: u64, finished: u64) -> Result<(), ProtocolError> {
        let granted = self.window.plus(Credit { events: finished, bytes: finished });
        let position = Position { received, granted, ..Position::default() };
        let _: Flush = self.mailbox.handle_position(&position)?;
        self.mailbox.flush();
        Ok(())
    }

    /// What was written, without what the mailbox says of itself.
    fn written(&self) -> Vec<Packet> {
        let mut packets = self.wire.packets();
        packets.retain(|packet| !matches!(packet, Packet::From(_) | Packet::Position(_)));
        packets
    }

    fn asks(&self) -> usize {
        let packets = self.wire.packets();
        let asks = |packet: &&Packet| matches!(packet, Packet::Position(it) if it.asks);
        packets.iter().filter(asks).count()
    }
}

fn full<T: PartialEq + std::fmt::Debug>(offered: &Result<T, NotAccepted>) -> bool {
    matches!(offered, Err(NotAccepted::Full))
}

#[test]
fn frames_come_out_in_the_order_of_appending_behind_the_number_of_the_first() {
    let rig = Rig::open(100, BOUNDS);
    for number in 1..=70 {
        rig.offer(number).unwrap();
    }
    let expected: Vec<Packet> = (1..=70).map(event).collect();
    assert_eq!(rig.wire.packets()[0], Packet::From(1));
    assert_eq!(rig.written(), expected);
}

#[test]
fn control_overtakes_events_that_wait_and_a_leave_stays_behind_them() {
    let rig = Rig::open(1, BOUNDS);
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.push_control(5);
    assert_eq!(rig.written(), [event(1), control(5)], "the window is shut");
    rig.confirm(2, 1).unwrap();
    rig.confirm(3, 2).unwrap();
    let expected = [event(1), control(5), event(2), event(3), leave(7)];
    assert_eq!(rig.written(), expected);
}

#[test]
fn a_leave_waits_for_no_window_when_no_event_is_before_it() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.mailbox.flush();
    assert_eq!(rig.written(), [event(1), leave(7)]);
}

#[test]
fn when_the_window_is_shut_events_wait_and_answers_pass_and_the_peer_is_asked_once() {
    let rig = Rig::open(2, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1));
    rig.mailbox.flush();
    assert_eq!(rig.written(), [event(1), event(2), control(1)]);
    assert_eq!(rig.asks(), 1);
    rig.confirm(3, 0).unwrap();
    assert_eq!(rig.written().len(), 3, "received is not finished");
    assert_eq!(rig.mailbox.take_news(0).freed, Credit::one(1), "the answer is confirmed");
    rig.confirm(3, 2).unwrap();
    assert_eq!(rig.written()[3..], [event(3), event(4)]);
    assert_eq!(rig.mailbox.take_news(0).freed, Credit::default());
    assert_eq!(rig.asks(), 1);
    rig.offer(5).unwrap();
    rig.offer(6).unwrap();
    assert_eq!(rig.asks(), 2, "it is shut again");
}

#[test]
fn whoever_is_shut_out_while_an_older_ask_is_under_way_asks_again() {
    let rig = Rig::open(1, BOUNDS);
    let _: Flush = rig.mailbox.post_ask();
    rig.mailbox.flush();
    assert_eq!(rig.asks(), 1);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    assert_eq!(rig.asks(), 1, "one at a time");
    // The answer to the first is older than the event that shut the window.
    rig.confirm(1, 0).unwrap();
    assert_eq!(rig.asks(), 2, "the peer has to know that somebody waits");
}

#[test]
fn a_position_that_may_ride_goes_with_the_next_packet_and_never_alone() {
    let rig = Rig::open(10, BOUNDS);
    assert!(rig.drive().is_pending());
    let position = Position { received: 7, granted: WINDOW, ..Position::default() };
    rig.mailbox.let_ride(&position);
    rig.mailbox.flush();
    assert!(rig.drive().is_pending());
    assert_eq!(rig.wire.packets(), [Packet::From(1)]);
    assert!(!rig.mailbox.take_news(8).position_rode);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let rode = Packet::Position(Position { received: 8, ..position });
    assert_eq!(rig.wire.packets(), [Packet::From(1), event(1), rode, event(2)]);
    assert!(rig.mailbox.take_news(8).position_rode, "with what has arrived meanwhile");
    assert!(!rig.mailbox.take_news(8).position_rode);
}

#[test]
fn answers_and_leaves_pass_a_log_that_is_full_of_events() {
    // Everything was written and nothing was confirmed yet: the peer is far away, but not slow.
    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)));
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1));
    rig.mailbox.flush();
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.mailbox.flush();
    assert_eq!(rig.mailbox.closed(), None);
    assert_eq!(rig.written()[3..], [control(1), leave(7)]);
}

#[test]
fn a_peer_that_confirms_no_answer_is_cut_off_before_they_pile_up() {
    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    assert!(rig.drive().is_pending());
    for number in 1..=3 {
        rig.push_control(number);
    }
    assert_eq!(rig.mailbox.closed(), None);
    rig.confirm(2, 0).unwrap();
    rig.push_control(4);
    rig.push_control(5);
    assert_eq!(rig.mailbox.closed(), None);
    rig.push_control(6);
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::Slow));
    assert_eq!(rig.written().len(), 5);
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Cut(DisconnectReason::Slow))), "{end:?}");
}

#[test]
fn a_position_beyond_what_was_written_is_a_violation() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let error = ProtocolError::Position { position: 2, written: 1 };
    assert_eq!(rig.confirm(2, 0), Err(error), "the second waits and has no number");
    assert!(rig.confirm(1, 2).is_err(), "more is finished than was sent");
}

#[test]
fn a_number_is_given_at_the_first_hand_over_and_not_at_acceptance() {
    let rig = Rig::open(1, BOUNDS);
    for number in 1..=5 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    rig.push_control(1);
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    let beat = |written| Packet::Heartbeat { written };
    assert_eq!(rig.written(), [event(1), beat(1), control(1), beat(2)]);
}

#[test]
fn a_blocked_write_is_left_to_the_driver_who_is_woken_once() {
    let rig = Rig::new(100, BOUNDS);
    rig.wire.take(Native.encode(&Packet::From(1)).len());
    assert!(rig.drive().is_pending());
    assert_eq!(rig.wire.packets(), [Packet::From(1)]);
    rig.offer(1).unwrap();
    assert_eq!(rig.driver.count(), 1, "the emitter does not wait for the wire");
    for number in 2..=9 {
        rig.offer(number).unwrap();
    }
    assert_eq!(rig.driver.count(), 1, "what others append does not concern it");
    assert!(rig.drive().is_pending());
    assert_eq!(rig.driver.count(), 1);
    rig.wire.take(30);
    assert_eq!(rig.driver.count(), 2, "the wire wakes it");
    assert!(rig.drive().is_pending());
    assert!(!rig.written().is_empty() && rig.written().len() < 9, "{:?}", rig.written());
    rig.wire.take_all();
    assert_eq!(rig.driver.count(), 3);
    assert!(rig.drive().is_pending());
    assert_eq!(rig.written(), (1..=9).map(event).collect::<Vec<_>>());
    rig.offer(10).unwrap();
    assert_eq!(rig.driver.count(), 3, "whoever has bytes writes them itself");
    assert_eq!(rig.written().len(), 10);
}

#[test]
fn a_wire_that_breaks_is_the_drivers_to_know() {
    let rig = Rig::open(100, BOUNDS);
    assert!(rig.drive().is_pending());
    rig.wire.lock().is_broken = true;
    rig.offer(1).unwrap();
    assert_eq!(rig.driver.count(), 1);
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Broken(_))), "{end:?}");
    assert!(full(&rig.offer_volatile(1)), "there is no link any more");
    rig.mailbox.end(&DisconnectReason::LinkLost);
    assert_eq!(rig.counters.in_doubt.get(), 1, "nobody knows how much of it arrived");
}

#[test]
fn an_offer_is_refused_at_the_bound_of_packets_and_at_that_of_bytes() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 3, ..BOUNDS });
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(5)), "one is written, three wait");
    rig.confirm(1, 1).unwrap();
    rig.offer(5).unwrap();

    let bytes = Native.encode(&event(1)).len();
    let rig = Rig::open(1, Bounds { unwritten_bytes_max: 2 * bytes, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)));

    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)), "all is written, and nothing is confirmed");
    assert_eq!(rig.written().len(), 3);
    rig.confirm(1, 0).unwrap();
    rig.offer(4).unwrap();
}

#[test]
fn those_who_wait_for_room_are_served_in_the_order_of_asking() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let mut tickets = [None; 3];
    for (place, number) in [(0, 10), (1, 11), (2, 12)] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], number).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    assert_eq!([0, 1, 2].map(|place| wakes[place].count()), [1, 0, 0]);
    assert!(full(&rig.offer(9)), "nobody jumps the queue");
    assert!(rig.poll_offer(&wakes[1], &mut tickets[1], 11).is_pending(), "not even from inside");
    assert!(rig.poll_offer(&wakes[0], &mut tickets[0], 10).is_ready());
    assert_eq!(wakes[1].count(), 0, "there was room for one");

    // The second gives up its place; the third is next.
    rig.mailbox.forget_ticket(&mut tickets[1]);
    rig.confirm(2, 2).unwrap();
    assert_eq!(wakes[2].count(), 1);
    assert!(rig.poll_offer(&wakes[2], &mut tickets[2], 12).is_ready());
    for finished in 3..=4 {
        rig.confirm(finished, finished).unwrap();
    }
    assert_eq!(rig.written(), [event(1), event(2), event(10), event(12)]);
    rig.offer(13).unwrap();
}

#[test]
fn whoever_is_served_calls_the_next_if_there_is_room_for_both() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    rig.confirm(2, 2).unwrap();
    assert_eq!(wakes[1].count(), 0, "two may go, but one after the other");
    assert!(rig.poll_offer(&wakes[0], &mut tickets[0], 9).is_ready());
    assert!(wakes[1].count() > 0);
    assert!(rig.poll_offer(&wakes[1], &mut tickets[1], 9).is_ready());
}

#[test]
fn whoever_is_next_and_gives_up_lets_the_one_behind_go() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    assert_eq!(wakes[1].count(), 0);
    rig.mailbox.forget_ticket(&mut tickets[0]);
    assert_eq!(wakes[1].count(), 1, "the room that the first was called for is the second's");
}

#[test]
fn whoever_waits_is_called_as_soon_as_there_is_room_though_the_wire_is_blocked() {
    let rig = Rig::new(100, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    // The first goes into a batch that the wire does not take; two wait behind it.
    rig.offer(1).unwrap();
    assert!(rig.drive().is_pending());
    rig.offer(2).unwrap();
    rig.offer(3).unwrap();
    let (wakes, mut ticket) = (Arc::default(), None);
    assert!(rig.poll_offer(&wakes, &mut ticket, 4).is_pending());
    // Enough for the link's number and an event: the rest goes into the batch, and stays there.
    let packets = [Packet::From(1), event(1)];
    rig.wire.take(packets.iter().map(|packet| Native.encode(packet).len()).sum());
    assert!(rig.drive().is_pending());
    assert_eq!(rig.written(), [event(1)]);
    assert_eq!(wakes.count(), 1, "no event waits in the mailbox, but an emitter does");
    assert!(rig.poll_offer(&wakes, &mut ticket, 4).is_ready());
}

#[test]
fn a_close_frees_all_who_wait() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.close(false);
    for place in [0, 1] {
        assert_eq!(wakes[place].count(), 1);
        let offered = rig.poll_offer(&wakes[place], &mut tickets[place], 9);
        let closed = NotAccepted::Closed(DisconnectReason::Closed);
        assert_eq!(offered, Poll::Ready(Err(closed)));
    }
}

#[test]
fn a_volatile_event_is_dropped_above_its_bound_and_without_a_link() {
    let bytes = Native.encode(&volatile(1)).len();
    let rig = Rig::new(100, Bounds { volatile_bytes_max: 2 * bytes, ..BOUNDS });
    // What was handed to the wire waits no more, so the wire is blocked first.
    rig.push_control(1);
    rig.offer_volatile(1).unwrap();
    rig.offer_volatile(2).unwrap();
    assert!(full(&rig.offer_volatile(3)));
    rig.wire.take_all();
    assert!(rig.drive().is_pending());
    rig.offer_volatile(4).unwrap();
    assert_eq!(rig.written(), [control(1), volatile(1), volatile(2), volatile(4)]);
    assert!(rig.confirm(2, 0).is_err(), "they have no numbers");

    let mailbox = mailbox(Arc::new(Native), WINDOW, BOUNDS, &rig.counters);
    assert!(full(&mailbox.offer_volatile(&Native.encode(&volatile(1)), 1)), "no link");
    let mut cx = Context::from_waker(Waker::noop());
    let reliable = mailbox.poll_offer(&mut cx, &mut None, &parcel(&Native.encode(&event(1))));
    assert!(matches!(reliable, Poll::Ready(Ok(_))), "a reliable one waits for it");
}

#[test]
fn a_member_that_reads_too_slowly_is_cut_off() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    assert!(rig.drive().is_pending());
    for number in 1..=3 {
        rig.deliver(number).unwrap();
    }
    let slow = NotAccepted::Closed(DisconnectReason::Slow);
    assert_eq!(rig.deliver(4), Err(slow.clone()));
    assert_eq!(rig.driver.count(), 1);
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::Slow));
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Cut(DisconnectReason::Slow))), "{end:?}");
    assert_eq!(rig.offer(5), Err(slow));
}

#[test]
fn a_member_that_has_just_come_may_first_take_in_what_its_rooms_say() {
    let bounds = Bounds { unwritten_packets_max: 2, log_packets_max: 10, ..BOUNDS };
    let rig = Rig::new(100, bounds);
    for number in 1..=10 {
        rig.deliver(number).unwrap();
    }
    assert_eq!(rig.deliver(11), Err(NotAccepted::Closed(DisconnectReason::Slow)));
}

#[test]
fn the_goodbye_is_the_last_word_behind_all_that_may_still_be_written() {
    let rig = Rig::new(3, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    rig.push_control(1);
    rig.close(false);
    assert_eq!(rig.offer(5), Err(NotAccepted::Closed(DisconnectReason::Closed)));
    assert!(rig.drive().is_pending(), "the wire takes nothing");
    rig.wire.take_all();
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Closed)), "{end:?}");
    let written = rig.written();
    assert_eq!(written.last(), Some(&Packet::Close(goodbye())));
    let mut before = written[..written.len() - 1].to_vec();
    before.retain(|packet| *packet != control(1));
    assert_eq!(before, [event(1), event(2), event(3)], "the fourth is beyond the window");
    assert_eq!(written.len(), 5);
    rig.mailbox.end(&DisconnectReason::Closed);
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (1, 3));
}

#[test]
fn a_goodbye_at_once_leaves_out_what_waits() {
    let rig = Rig::new(1, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.close(true);
    assert_eq!(rig.counters.lost.get(), 3);
    rig.wire.take_all();
    assert!(rig.drive().is_ready());
    assert_eq!(rig.written(), [event(1), leave(7), Packet::Close(goodbye())]);
    rig.mailbox.end(&DisconnectReason::Closed);
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (3, 1), "each once");
}

#[test]
fn what_is_pushed_behind_the_goodbye_is_not_written_and_does_not_hide_the_end() {
    let rig = Rig::open(10, BOUNDS);
    assert!(rig.drive().is_pending());
    rig.close(false);
    // Other threads do not know yet: a handler answers, the clock wants a position said.
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1));
    rig.mailbox.flush();
    let _: Flush = rig.mailbox.post_position(&Position::default());
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Closed)), "{end:?}");
    assert_eq!(rig.written(), [Packet::Close(goodbye())]);
    assert_eq!(rig.wire.packets().last(), Some(&Packet::Close(goodbye())));
}

#[test]
fn a_closed_mailbox_is_written_out_and_ends_its_direction() {
    let rig = Rig::open(10, BOUNDS);
    rig.close(false);
    assert!(rig.drive().is_ready());
    assert!(rig.mailbox.poll_close(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(rig.wire.lock().is_closed);
    rig.push_control(1);
    assert_eq!(rig.wire.packets().last(), Some(&Packet::Close(goodbye())));
}

#[test]
fn an_end_accounts_for_what_was_never_written_and_for_what_was_not_confirmed() {
    let rig = Rig::open(3, BOUNDS);
    for number in 1..=5 {
        rig.offer(number).unwrap();
    }
    rig.push_control(1);
    rig.confirm(1, 0).unwrap();
    // Two events and a control packet are written and not confirmed; two events wait.
    rig.mailbox.end(&DisconnectReason::LinkLost);
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (2, 2));
    rig.mailbox.end(&DisconnectReason::Closed);
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (2, 2), "once");
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::LinkLost), "the first reason stays");
    let closed = NotAccepted::Closed(DisconnectReason::LinkLost);
    assert_eq!(rig.offer(9), Err(closed.clone()));
    assert_eq!(rig.deliver(9), Err(closed.clone()));
    assert_eq!(rig.offer_volatile(9), Err(closed));
    let before = rig.wire.packets();
    rig.push_control(9);
    assert_eq!(rig.wire.packets(), before);
}

#[test]
fn a_volatile_event_that_waits_at_the_end_is_dropped_and_counted() {
    let rig = Rig::new(9, BOUNDS);
    rig.push_control(1);
    rig.offer_volatile(1).unwrap();
    rig.mailbox.end(&DisconnectReason::LinkLost);
    assert_eq!(rig.counters.volatile_dropped.get(), 1);
}

#[test]
fn a_draining_mailbox_takes_no_events_and_goes_on_answering() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let _: Flush = rig.mailbox.begin_drain(None);
    assert_eq!(rig.offer(3), Err(NotAccepted::Draining));
    assert_eq!(rig.deliver(3), Err(NotAccepted::Draining));
    rig.push_control(1);
    rig.confirm(2, 1).unwrap();
    assert_eq!(rig.written(), [event(1), control(1), event(2)]);
    assert!(!rig.mailbox.is_settled());
    rig.confirm(3, 2).unwrap();
    assert!(rig.mailbox.is_settled());
}

/// What may happen to a mailbox.
#[derive(Clone, Copy, Debug)]
enum Act {
    Offer,
    Volatile,
    Control,
    Behind,
    Heartbeat,
    Position,
    Flush,
    Take(usize),
    Drive,
    /// The peer says what it has, and that it has finished this many of every four events.
    Confirm(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Offer),
        2 => Just(Act::Volatile),
        2 => Just(Act::Control),
        1 => Just(Act::Behind),
        2 => Just(Act::Heartbeat),
        1 => Just(Act::Position),
        4 => Just(Act::Flush),
        4 => (0..60usize).prop_map(Act::Take),
        4 => Just(Act::Drive),
        2 => (0..=4u64).prop_map(Act::Confirm),
    ]
}

/// How many of each kind were appended.
#[derive(Default)]
struct Appended {
    events: u64,
    volatile: u64,
    control: u32,
}

fn perform(rig: &Rig, act: Act, appended: &mut Appended) {
    match act {
        Act::Offer => {
            appended.events += 1;
            rig.append(appended.events).unwrap();
        }
        Act::Volatile => {
            appended.volatile += 1;
            let encoded = Native.encode(&volatile(appended.volatile));
            let _: Flush = rig.mailbox.offer_volatile(&encoded, 1).unwrap();
        }
        Act::Control => {
            appended.control += 1;
            let _: Flush = rig.mailbox.push_control(&control(appended.control));
        }
        Act::Behind => {
            let _: Flush = rig.mailbox.push_behind_events(&leave(appended.events as u32));
        }
        Act::Heartbeat => {
            let _: Flush = rig.mailbox.post_heartbeat();
        }
        Act::Position => {
            let _: Flush = rig.mailbox.post_position(&Position::default());
        }
        Act::Flush => rig.mailbox.flush(),
        Act::Take(bytes) => rig.wire.take(bytes),
        Act::Drive => assert!(rig.drive().is_pending()),
        Act::Confirm(quarters) => {
            let packets = rig.wire.packets();
            let received = packets.iter().filter(|packet| packet.is_counted()).count();
            let is_event = |packet: &&Packet| matches!(packet, Packet::Event(_));
            let events = packets.iter().filter(is_event).count() as u64;
            rig.confirm(received as u64, events * quarters / 4).unwrap();
        }
    }
}

/// Every rule about the order of what a mailbox writes.
fn assert_in_order(packets: &[Packet], appended: &Appended) {
    let (mut events, mut volatiles, mut controls, mut counted) = (0, 0, 0, 0);
    for (place, packet) in packets.iter().enumerate() {
        counted += u64::from(packet.is_counted());
        match packet {
            Packet::From(from) => assert_eq!((place, *from), (0, 1)),
            Packet::Event(event) => {
                events += 1;
                assert_eq!(event.event.number, events);
            }
            Packet::Volatile(event) => {
                volatiles += 1;
                assert_eq!(event.event.number, volatiles);
            }
            Packet::Connect(connect) => {
                controls += 1;
                assert_eq!(connect.number.0, controls);
            }
            Packet::Leave(leave) => {
                assert_eq!(u64::from(leave.client.0), events, "behind its events, before others");
            }
            Packet::Heartbeat { written } => assert_eq!(*written, counted, "at {place}"),
            Packet::Position(_) => {}
            other => panic!("nobody said {other:?}"),
        }
    }
    let written = (events, volatiles, controls);
    assert_eq!(written, (appended.events, appended.volatile, appended.control));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_all_is_written_once_in_order_and_heartbeats_count_what_is_before_them(
        window in 1..6u64,
        acts in vec(act(), 0..120),
    ) {
        let rig = Rig::new(window, BOUNDS);
        let mut appended = Appended::default();
        for act in acts {
            perform(&rig, act, &mut appended);
        }
        rig.wire.take_all();
        for _ in 0..=appended.events {
            perform(&rig, Act::Drive, &mut appended);
            perform(&rig, Act::Confirm(4), &mut appended);
        }
        let beats = rig.wire.packets();
        prop_assert_eq!(beats.first(), Some(&Packet::From(1)));
        assert_in_order(&beats, &appended);
        prop_assert!(rig.mailbox.is_settled());
    }
}

/// Wakes a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

const THREADS: u64 = 4;
const EVENTS_EACH: u64 = 500;

#[test]
fn what_many_threads_append_is_all_written_and_in_the_order_of_each() {
    let rig = &Rig::new(THREADS * EVENTS_EACH, BOUNDS);
    thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            while rig.mailbox.poll_drive(&mut Context::from_waker(&waker)).is_pending() {
                thread::park();
            }
        });
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..EVENTS_EACH {
                    rig.offer(thread << 32 | number).unwrap();
                }
            });
        }
        // The peer takes little at a time, whenever the writer waits for it.
        let (taken, changed) = &*rig.wire.0;
        let mut all = true;
        while all && rig.written().len() < (THREADS * EVENTS_EACH) as usize {
            let stuck = |taken: &mut Taken| taken.writer.is_none() && taken.budget == 0;
            let waited = changed.wait_timeout_while(taken.lock().unwrap(), DEADLINE, stuck);
            all = !waited.unwrap().1.timed_out();
            rig.wire.take(997);
        }
        // The driver ends in any case, or this test would never.
        rig.wire.take_all();
        rig.close(false);
        driver.thread().unpark();
        driver.join().unwrap();
        assert!(all, "nobody writes what waits");
    });
    let mut next = [0; THREADS as usize];
    for packet in rig.written() {
        let Packet::Event(event) = packet else { continue };
        let (thread, number) = (event.event.number >> 32, event.event.number & 0xffff_ffff);
        assert_eq!(number, next[thread as usize], "of thread {thread}");
        next[thread as usize] += 1;
    }
    assert_eq!(next, [EVENTS_EACH; THREADS as usize]);
}
