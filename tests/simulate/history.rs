//! What happened, in the order in which it did: the only thing that the laws look at.

use emitwire::{EventId, SocketId};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A socket, the same at both ends, numbered in the order of appearance.
pub(crate) type Label = u32;

/// The number of an event in this world; a broadcast has one for all its members.
pub(crate) type Number = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Server,
    Client(usize),
}

/// What an event is for, which is its name too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Handled at once.
    Say,
    /// Its handler takes a while.
    Slow,
    /// Its handler fails.
    Fail,
    /// Its listener comes late: it is parked first.
    Late,
    /// Nobody ever listens to it.
    Never,
    /// Only the newest matters.
    Spot,
    /// It may be missed.
    Blink,
    /// The server puts its socket into a room.
    Join,
    /// The server takes its socket out of a room.
    Leave,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Say => "say",
            Self::Slow => "slow",
            Self::Fail => "fail",
            Self::Late => "late",
            Self::Never => "never",
            Self::Spot => "spot",
            Self::Blink => "blink",
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }

    pub(crate) fn is_reliable(self) -> bool {
        self != Self::Blink
    }

    /// Whether it is first started in the order in which it was accepted.
    pub(crate) fn keeps_order(self) -> bool {
        !matches!(self, Self::Late | Self::Never | Self::Blink)
    }

    /// Whether its receiver may answer no without having called a handler.
    pub(crate) fn may_go_unheard(self) -> bool {
        matches!(self, Self::Late | Self::Never)
    }
}

/// How an ack ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Reply(u64),
    Refused(String),
    Timeout,
    Lost,
    Closed,
    NotAccepted,
    Unreadable,
}

/// What became of an event, as its sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    InDoubt,
    /// The peer said no, and nobody had asked for an answer.
    Refused,
}

/// How waiting until the peer has an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    Received,
    Timeout,
    Lost,
    InDoubt,
    NotAccepted,
}

/// The counters of one side that the laws speak of, added up over all its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) events_out: u64,
    pub(crate) events_in: u64,
    pub(crate) handled: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    pub(crate) in_doubt: u64,
    pub(crate) overflowed: u64,
    pub(crate) superseded: u64,
    pub(crate) missed: u64,
    /// Events of this side that the peer confirmed; `None` where the engine does not count it.
    pub(crate) received: Option<u64>,
    pub(crate) volatile_out: u64,
    pub(crate) volatile_in: u64,
    pub(crate) volatile_dropped: u64,
    pub(crate) broadcast_dropped: u64,
    pub(crate) panics: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) unasked: u64,
    pub(crate) waiting: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) parked: u64,
    pub(crate) links: u64,
    pub(crate) sessions: u64,
    pub(crate) sockets: u64,
    pub(crate) rooms: u64,
    pub(crate) detaches: u64,
    pub(crate) resumed: u64,
    pub(crate) resumed_with_gap: u64,
    pub(crate) takeovers: u64,
    pub(crate) replayed: u64,
    pub(crate) duplicates: u64,
    pub(crate) skipped: u64,
    pub(crate) evicted: u64,
}

impl Totals {
    /// Both of them.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let received = match (self.received, other.received) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Self {
            events_out: self.events_out + other.events_out,
            events_in: self.events_in + other.events_in,
            handled: self.handled + other.handled,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
            in_doubt: self.in_doubt + other.in_doubt,
            overflowed: self.overflowed + other.overflowed,
            superseded: self.superseded + other.superseded,
            missed: self.missed + other.missed,
            received,
            volatile_out: self.volatile_out + other.volatile_out,
            volatile_in: self.volatile_in + other.volatile_in,
            volatile_dropped: self.volatile_dropped + other.volatile_dropped,
            broadcast_dropped: self.broadcast_dropped + other.broadcast_dropped,
            panics: self.panics + other.panics,
            protocol_errors: self.protocol_errors + other.protocol_errors,
            unasked: self.unasked + other.unasked,
            waiting: self.waiting + other.waiting,
            unconfirmed: self.unconfirmed + other.unconfirmed,
            parked: self.parked + other.parked,
            links: self.links + other.links,
            sessions: self.sessions + other.sessions,
            sockets: self.sockets + other.sockets,
            rooms: self.rooms + other.rooms,
            detaches: self.detaches + other.detaches,
            resumed: self.resumed + other.resumed,
            resumed_with_gap: self.resumed_with_gap + other.resumed_with_gap,
            takeovers: self.takeovers + other.takeovers,
            replayed: self.replayed + other.replayed,
            duplicates: self.duplicates + other.duplicates,
            skipped: self.skipped + other.skipped,
            evicted: self.evicted + other.evicted,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What this world is like.
    World { words: String, resumes: bool, is_steady: bool },
    /// Something goes wrong, or is mended.
    Trouble { client: usize, words: String },
    /// `on_connect` of a socket.
    Began { side: Side, socket: Label, path: &'static str },
    /// `on_disconnect` of a socket.
    Ended { side: Side, socket: Label, reason: String },
    /// A socket's link was lost, and it lives on.
    Detached { side: Side, socket: Label, reason: String },
    /// It has another.
    Attached { side: Side, socket: Label, outcome: String },
    /// A client's process was killed; these were its sockets.
    Killed { client: usize, sockets: Vec<Label> },
    /// Somebody begins to emit to one socket.
    Offered {
        event: Number,
        from: Side,
        socket: Label,
        kind: Kind,
        wants_ack: bool,
        wants_receipt: bool,
    },
    /// The mailbox took it.
    Accepted { event: Number },
    /// The emit ended without that.
    Declined { event: Number, why: String },
    /// A broadcast, with all that it was for at that moment.
    Fanout { event: Number, kind: Kind, members: Vec<Label>, accepted: usize, wants_ack: bool },
    /// The first listener of an event was called.
    Started { event: Number, at: Side, socket: Label },
    /// Its handler has returned.
    Finished { event: Number, at: Side, socket: Label },
    /// An ack has ended.
    Answered { event: Number, socket: Label, answer: Answer },
    /// Waiting until the peer has the event has ended.
    Confirmed { event: Number, socket: Label, receipt: Receipt },
    /// The sender was told of a bad end.
    Fated { event: Number, socket: Label, fate: Fate },
    /// The receiver was told that events will never come.
    Missed { at: Side, socket: Label, count: u64, reason: String },
    /// More waits somewhere than may.
    Overfull { side: Side, words: String },
    /// All trouble is over, and what is said from now on is not held up by anything.
    Calm,
    /// Nothing moves any more.
    AtRest,
    /// It did not come to that.
    Restless { words: String },
    /// Everybody has gone.
    Over { tasks: usize },
    /// What a side has counted in the end.
    Counted { side: Side, totals: Box<Totals> },
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// Takes down what happens.
pub(crate) struct Recorder {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
    labels: Mutex<BTreeMap<SocketId, Label>>,
    numbers: Mutex<BTreeMap<EventId, Number>>,
    last: AtomicU64,
}

impl Recorder {
    /// Time is that since now.
    pub(crate) fn new() -> Self {
        let (entries, labels, numbers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { began: Instant::now(), entries, labels, numbers, last: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, what: What) {
        let at = self.began.elapsed();
        self.entries.lock().unwrap().push(Entry { at, what });
    }

    pub(crate) fn label(&self, socket: SocketId) -> Label {
        let mut labels = self.labels.lock().unwrap();
        let next = labels.len() as Label + 1;
        *labels.entry(socket).or_insert(next)
    }

    /// The number of a new event.
    pub(crate) fn number(&self) -> Number {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The engine knows the event by this id.
    pub(crate) fn name(&self, event: Number, id: EventId) {
        self.numbers.lock().unwrap().insert(id, event);
    }

    /// Which event that is, of those that were accepted.
    pub(crate) fn number_of(&self, id: EventId) -> Number {
        self.numbers.lock().unwrap().get(&id).copied().unwrap_or_default()
    }

    /// How much has happened so far.
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.entries.lock().unwrap())
    }
}
