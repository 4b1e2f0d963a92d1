//! The adapter of one process.

use super::*;

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
            mailbox.attach(Outlet::new(Box::new(Half(wire.clone()))), 0).unwrap();
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
    pair.mailboxes[&1].0.end(&DisconnectReason::LinkLost, &HashSet::new());
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
    assert_eq!(all_rooms(adapter), []);
    assert_eq!(sockets(adapter, &Selection::default()), []);
}
