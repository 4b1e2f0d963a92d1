//! A history by event and socket.

use crate::history::{Answer, Entry, Fate, Kind, Label, Number, Receipt, Side, Totals, What};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a mailbox took an event, and when: its place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    No,
    At(usize),
    /// Some members of its broadcast took it, and it is not known which.
    Perhaps(usize),
}

impl Accepted {
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::No => None,
            Self::At(place) | Self::Perhaps(place) => Some(place),
        }
    }
}

/// One event on its way to one socket.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) from: Side,
    pub(super) kind: Kind,
    pub(super) to_many: bool,
    pub(super) wants_ack: bool,
    pub(super) wants_receipt: bool,
    pub(super) accepted: Accepted,
    pub(super) declined: bool,
    /// Where in the history handlers were called.
    pub(super) starts: Vec<usize>,
    pub(super) finished: usize,
    pub(super) answers: Vec<Answer>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) fates: Vec<Fate>,
}

/// Everything that the laws ask for.
pub(super) struct View<'a> {
    pub(super) history: &'a [Entry],
    pub(super) deliveries: BTreeMap<(Number, Label), Delivery>,
    /// Handled without having been emitted, with the side that did.
    pub(super) strays: Vec<(Number, Label)>,
    /// Sockets that ended, at either end, before all came to rest.
    pub(super) ended: BTreeSet<Label>,
    /// How often the client's process of a socket was killed.
    pub(super) killed: BTreeMap<Label, usize>,
    /// Nobody leaves, and sessions outlive all trouble.
    pub(super) is_steady: bool,
    pub(super) totals: BTreeMap<Side, Totals>,
    pub(super) came_to_rest: bool,
    /// Where in the history all trouble was over, and where nothing moved any more.
    pub(super) calm: Option<usize>,
    pub(super) rest: Option<usize>,
    /// So many events of a side's broadcasts were accepted.
    pub(super) accepted_by_many: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(history: &'a [Entry]) -> Self {
        let place_of = |what| history.iter().position(|entry| entry.what == what);
        let mut view = Self {
            history,
            calm: place_of(What::Calm),
            rest: place_of(What::AtRest),
            deliveries: BTreeMap::new(),
            strays: Vec::new(),
            ended: BTreeSet::new(),
            killed: BTreeMap::new(),
            is_steady: false,
            totals: BTreeMap::new(),
            came_to_rest: false,
            accepted_by_many: 0,
        };
        let mut singles = BTreeMap::new();
        for (place, entry) in history.iter().enumerate() {
            if let What::Offered { event, socket, .. } = entry.what {
                singles.insert(event, socket);
            }
            view.read(place, &entry.what, &singles);
        }
        view
    }

    fn read(&mut self, place: usize, what: &What, singles: &BTreeMap<Number, Label>) {
        let single = |event: &Number| singles.get(event).map(|socket| (*event, *socket));
        match what {
            What::World { is_steady, .. } => self.is_steady = *is_steady,
            What::Killed { sockets, .. } => {
                sockets.iter().for_each(|socket| *self.killed.entry(*socket).or_default() += 1);
            }
            What::Offered { event, from, socket, kind, wants_ack, wants_receipt } => {
                let delivery = Delivery::new(*from, *kind, false, *wants_ack);
                let delivery = Delivery { wants_receipt: *wants_receipt, ..delivery };
                self.deliveries.insert((*event, *socket), delivery);
            }
            What::Fanout { event, kind, members, accepted, wants_ack } => {
                self.read_fanout(place, (*event, *kind), members, *accepted, *wants_ack);
            }
            What::Accepted { event } => {
                self.change(single(event), |it| it.accepted = Accepted::At(place));
            }
            What::Declined { event, .. } => self.change(single(event), |it| it.declined = true),
            What::Started { event, at, socket } => {
                let opposite = |from| (from == Side::Server) != (*at == Side::Server);
                match self.deliveries.get_mut(&(*event, *socket)) {
                    Some(delivery) if opposite(delivery.from) => delivery.starts.push(place),
                    _ => self.strays.push((*event, *socket)),
                }
            }
            What::Finished { event, socket, .. } => {
                self.change(Some((*event, *socket)), |it| it.finished += 1);
            }
            What::Answered { event, socket, answer } => {
                self.change(Some((*event, *socket)), |it| it.answers.push(answer.clone()));
            }
            What::Confirmed { event, socket, receipt } => {
                self.change(Some((*event, *socket)), |it| it.receipts.push(*receipt));
            }
            What::Fated { event, socket, fate } => {
                self.change(Some((*event, *socket)), |it| it.fates.push(*fate));
            }
            What::Ended { socket, .. } if !self.came_to_rest => drop(self.ended.insert(*socket)),
            What::AtRest => self.came_to_rest = true,
            What::Counted { side, totals } => drop(self.totals.insert(*side, **totals)),
            _ => {}
        }
    }

    fn read_fanout(
        &mut self,
        place: usize,
        (event, kind): (Number, Kind),
        members: &[Label],
        accepted: usize,
        wants_ack: bool,
    ) {
        let taken = match accepted {
            0 => Accepted::No,
            all if all == members.len() => Accepted::At(place),
            _ => Accepted::Perhaps(place),
        };
        for socket in members {
            let delivery = Delivery::new(Side::Server, kind, true, wants_ack);
            let delivery = Delivery { accepted: taken, ..delivery };
            self.deliveries.insert((event, *socket), delivery);
        }
        if kind.is_reliable() {
            self.accepted_by_many += accepted as u64;
        }
    }

    fn change(&mut self, of: Option<(Number, Label)>, change: impl FnOnce(&mut Delivery)) {
        if let Some(delivery) = of.and_then(|of| self.deliveries.get_mut(&of)) {
            change(delivery);
        }
    }

    /// The reliable ones, by their event and socket.
    pub(super) fn reliable(&self) -> impl Iterator<Item = ((Number, Label), &Delivery)> {
        let all = self.deliveries.iter().map(|(of, delivery)| (*of, delivery));
        all.filter(|(_, delivery)| delivery.kind.is_reliable())
    }

    /// How many processes of its client the socket may have seen, after the first.
    pub(super) fn killed(&self, socket: Label) -> usize {
        self.killed.get(&socket).copied().unwrap_or_default()
    }

    /// Whether it was accepted when nothing held anything up.
    pub(super) fn is_of_calm(&self, it: &Delivery) -> bool {
        let place = it.accepted.place();
        self.calm.is_some_and(|calm| place > Some(calm))
            && (self.rest.is_none() || place < self.rest)
    }

    /// The totals of the server, and the sum of the clients'.
    pub(super) fn sides(&self) -> Option<(Totals, Totals)> {
        let server = *self.totals.get(&Side::Server)?;
        let clients = self.totals.iter().filter(|(side, _)| **side != Side::Server);
        let clients = clients.map(|(_, totals)| totals);
        Some((server, clients.fold(Totals::default(), |sum, totals| sum.plus(totals))))
    }
}

impl Delivery {
    fn new(from: Side, kind: Kind, to_many: bool, wants_ack: bool) -> Self {
        Self {
            from,
            kind,
            to_many,
            wants_ack,
            wants_receipt: false,
            accepted: Accepted::No,
            declined: false,
            starts: Vec::new(),
            finished: 0,
            answers: Vec::new(),
            receipts: Vec::new(),
            fates: Vec::new(),
        }
    }
}
