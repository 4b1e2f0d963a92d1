//! The sockets of one session: who begins, who ends, and whose event this is.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Sockets`]: what the peer says to them, and how they end |
//! | `opening.rs` | how one begins |
//! | `again.rs` | what happens to them when a link comes and goes |
//! | `losses.rs` | who is told of events that are lost |

mod again;
mod losses;
mod opening;

use self::opening::{come_in, let_in, or_fail, refuse, words};
use super::lane::Lane;
use super::mounts::{Mounts, NoPlace};
use super::reception::{Reception, Standing};
use super::{Config, random};
use crate::handler::Hook;
use crate::protocol::{
    Accept, Connect, Credit, DisconnectReason, EventId, EventName, EventPacket,
    LEAVE_WORDS_BYTES_MAX, Leave, Nak, NakPacket, NamespaceNumber, Packet, Payload, ProducerId,
    ProtocolError, Refuse, SocketId, is_reserved,
};
use crate::room::{Answer, NoAnswer};
use crate::socket::{Moment, SessionCore, Socket};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinSet;

/// Which end of the session this is.
pub(crate) enum Role {
    Server(Arc<Mounts>),
    Client(Arc<Reception>),
}

/// The sockets of one session; the driver's.
pub(crate) struct Sockets {
    role: Role,
    core: Arc<SessionCore>,
    config: Arc<Config>,
    peer_producer: ProducerId,
    joined: Vec<Joined>,
    /// Server: the number that the client has to use next. Client: how many it has asked for.
    asked: u32,
    /// A namespace was refused or left: events for it may still be on their way.
    some_ended: bool,
    /// Server: a namespace was refused, and nobody remembers which.
    some_refused: bool,
    /// Sockets that have left and whose handlers and hooks may still run.
    ending: JoinSet<()>,
    /// Hooks of links that came and went, to be run one after another, and the one that runs.
    hooks: Option<Box<Hooks>>,
    /// Sockets that have left, of namespaces that want to know of losses: the fate of what was
    /// written to them may still be open.
    forgotten: Vec<Arc<Lane>>,
}

/// What is told of links, in order.
#[derive(Default)]
struct Hooks {
    waiting: VecDeque<(Arc<Lane>, Hook, Moment)>,
    running: JoinSet<()>,
}

struct Joined {
    /// The client's number.
    client: NamespaceNumber,
    /// The number by which the peer's events name the namespace.
    theirs: NamespaceNumber,
    lane: Arc<Lane>,
}

impl Sockets {
    pub(crate) fn new(
        role: Role,
        core: Arc<SessionCore>,
        config: Arc<Config>,
        peer_producer: ProducerId,
    ) -> Self {
        Self {
            role,
            core,
            config,
            peer_producer,
            joined: Vec::new(),
            asked: 0,
            some_ended: false,
            some_refused: false,
            ending: JoinSet::new(),
            hooks: None,
            forgotten: Vec::new(),
        }
    }

    /// The client's first words: asks for all its namespaces.
    pub(crate) fn ask_for_all(&mut self, auth: &Payload) {
        let Role::Client(reception) = &self.role else { return };
        reception.set_all(&Standing::Asked);
        for mount in &reception.mounts {
            let number = NamespaceNumber(self.asked);
            self.asked += 1;
            let path = (&**mount.blueprint.path()).into();
            let connect = Connect { number, path, auth: auth.clone() };
            let flush = self.core.mailbox.push_control(&Packet::Connect(connect));
            self.core.mailbox.flush_in_turn(flush);
        }
    }

    /// Whether this is the server's end.
    pub(crate) fn are_served(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    pub(crate) fn handle_event(
        &mut self,
        packet: EventPacket,
        volatile: bool,
    ) -> Result<(), ProtocolError> {
        let number = packet.namespace;
        let lane = self.joined.iter().find(|joined| joined.theirs == number);
        let lane = lane.map(|joined| Arc::clone(&joined.lane));
        match (lane, volatile) {
            (Some(_), _) if is_reserved(&packet.name) => self.reject_reserved(&packet, volatile),
            (Some(lane), false) => {
                let named = packet.event;
                lane.handle(packet.into_event(self.peer_producer, false), named);
            }
            (Some(lane), true) => {
                lane.handle_volatile(packet.into_event(self.peer_producer, true));
            }
            // It may have overtaken its namespace's accept.
            (None, true) => self.miss_volatile(),
            (None, false) if self.was_asked_for(number) => self.turn_away(&packet, Nak::Closed),
            (None, false) => return Err(ProtocolError::Namespace { number: number.0 }),
        }
        Ok(())
    }

    /// The names of the lifecycle are not the peer's to emit.
    fn reject_reserved(&self, packet: &EventPacket, volatile: bool) {
        if volatile {
            self.miss_volatile();
        } else {
            self.turn_away(packet, Nak::Rejected(words("reserved name")));
        }
    }

    /// No lane will see it.
    fn miss_volatile(&self) {
        self.core.counters.volatile_in.add(1);
        self.core.counters.volatile_missed.add(1);
    }

    /// Answers an event that no lane will see.
    fn turn_away(&self, packet: &EventPacket, nak: Nak) {
        self.core.counters.events_in.add(1);
        self.core.counters.refused.add(1);
        let answer = NakPacket { event: packet.event, nak };
        let (credit, epoch) = (Credit::one(packet.bytes()), self.core.mailbox.epoch());
        let flush = self.core.mailbox.push_answer(&Packet::Nak(answer), credit, epoch);
        self.core.mailbox.flush_in_turn(flush);
    }

    /// Server: a client wants into a namespace.
    pub(crate) fn handle_connect(&mut self, connect: Connect) -> Result<(), ProtocolError> {
        let Role::Server(mounts) = &self.role else {
            return Err(ProtocolError::Unexpected { packet: "connect" });
        };
        let before = self.joined.len();
        self.joined.retain(|joined| !joined.lane.was_refused());
        self.some_refused |= self.joined.len() < before;
        while self.ending.try_join_next().is_some() {}
        let number = connect.number;
        let open = self.joined.len() + self.ending.len();
        let full = open >= self.config.namespaces_per_session_max;
        if number.0 != self.asked {
            return Err(ProtocolError::NamespaceNumber { number: number.0 });
        }
        self.asked += 1;
        if full {
            self.some_refused = true;
            refuse(&self.core, number, words("too many namespaces in one session"));
            return Ok(());
        }
        let place = match mounts.enter(&connect.path) {
            Ok(place) => place,
            Err(NoPlace::Unknown) => {
                self.some_refused = true;
                refuse(&self.core, number, words("no such namespace"));
                return Ok(());
            }
            Err(NoPlace::Full) => {
                self.some_refused = true;
                refuse(&self.core, number, words("there are too many namespaces"));
                return Ok(());
            }
        };
        let mounted = Arc::clone(&place.mounted);
        if self.joined.iter().any(|joined| Arc::ptr_eq(&joined.lane.mounted, &mounted)) {
            self.some_refused = true;
            refuse(&self.core, number, words("this session is in it already"));
            return Ok(());
        }
        let (id, core) = (SocketId(random::bits()), Arc::clone(&self.core));
        let theirs = mounted.scope.served.as_ref().map_or(number, |served| served.number);
        let socket = Socket::new(id, theirs, number, core, Arc::clone(&mounted.scope));
        let config = Arc::clone(&self.config);
        let lane = Lane::new(socket, mounted, config, Some(place));
        self.add(Joined { client: number, theirs: number, lane: Arc::clone(&lane) });
        lane.open(or_fail(Arc::clone(&lane), let_in(Arc::clone(&lane), connect.auth)));
        Ok(())
    }

    /// Client: the server lets it in.
    pub(crate) fn handle_accept(&mut self, accept: Accept) -> Result<(), ProtocolError> {
        if self.find(accept.client).is_some_and(|lane| lane.socket.id() == accept.socket) {
            // A server that is not sure whether a new process was told tells it again.
            return Ok(());
        }
        if self.has_ended(accept.client) {
            return Ok(());
        }
        let reception = self.expect_answer(accept.client, "accept")?;
        let Some(mounted) = reception.mounts.get(accept.client.0 as usize) else {
            return Err(ProtocolError::NamespaceNumber { number: accept.client.0 });
        };
        let (core, scope) = (Arc::clone(&self.core), Arc::clone(&mounted.scope));
        let socket = Socket::new(accept.socket, accept.client, accept.client, core, scope);
        let (config, mounted) = (Arc::clone(&self.config), Arc::clone(mounted));
        let lane = Lane::new(socket, mounted, config, None);
        let joined =
            Joined { client: accept.client, theirs: accept.server, lane: Arc::clone(&lane) };
        self.add(joined);
        lane.open(or_fail(Arc::clone(&lane), come_in(Arc::clone(&lane), reception)));
        Ok(())
    }

    /// Client: the server does not let it in, or not any more.
    pub(crate) fn handle_refuse(&mut self, refuse: Refuse) -> Result<(), ProtocolError> {
        if let (Role::Client(reception), Some(lane)) = (&self.role, self.find(refuse.client)) {
            let reception = Arc::clone(reception);
            self.forget(lane, DisconnectReason::Refused);
            reception.refuse(refuse.client, refuse.payload);
            return Ok(());
        }
        let reception = self.expect_answer(refuse.client, "refuse")?;
        reception.refuse(refuse.client, refuse.payload);
        self.some_ended = true;
        Ok(())
    }

    /// The peer ended a socket.
    pub(crate) fn handle_leave(&mut self, leave: Leave) -> Result<(), ProtocolError> {
        if leave.client.0 >= self.asked {
            return Err(ProtocolError::NamespaceNumber { number: leave.client.0 });
        }
        // Both ends may have left at the same time.
        let reason = DisconnectReason::dismissed_by_peer(&leave.words);
        match (self.take(leave.client), &self.role) {
            (Some(lane), _) => self.end_one(lane, reason),
            // A client that was restarted asks for what has ended meanwhile.
            (None, Role::Client(reception)) if reception.is_asked(leave.client) => {
                reception.set(leave.client, Standing::Ended(Some(reason)));
                self.some_ended = true;
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Ends the sockets that were asked to end here.
    pub(crate) fn leave(&mut self, leaving: Vec<(SocketId, Box<str>)>) {
        for (socket, words) in leaving {
            let place = self.joined.iter().position(|joined| joined.lane.socket.id() == socket);
            let Some(lane) = place.and_then(|place| self.take(self.joined[place].client)) else {
                continue;
            };
            let (client, mailbox) = (lane.socket.client(), &self.core.mailbox);
            let words = EventName::truncated(&words, LEAVE_WORDS_BYTES_MAX);
            let reason = DisconnectReason::dismissed(&words);
            let flush = mailbox.push_behind_events(&Packet::Leave(Leave { client, words }));
            mailbox.flush_in_turn(flush);
            let reason = lane.socket.ended().unwrap_or(reason);
            self.end_one(lane, reason);
        }
    }

    /// The peer has answered an event: one that was emitted to it alone, or a broadcast.
    pub(crate) fn handle_answer(&self, id: EventId, answer: Answer) {
        let Err(answer) = self.core.acks.resolve(id, answer) else { return };
        // A peer is in most namespaces once, so one look finds it.
        for joined in &self.joined {
            let socket = &joined.lane.socket;
            if let Ok(served) = socket.served() {
                if served.acks.answer(id, socket.id(), answer.clone()) {
                    return;
                }
            }
        }
        match answer {
            Ok(_) => self.core.counters.unasked.add(1),
            // A nak comes also where no answer was asked for.
            Err(NoAnswer::Nak(_)) => self.tell_refused(id),
            Err(_) => {}
        }
    }

    /// Has lanes handle what came back to them.
    pub(crate) fn resume(&self) {
        for joined in &self.joined {
            joined.lane.take_up_parked();
            joined.lane.look_again();
            joined.lane.spread();
        }
    }

    /// A drain does not wait for listeners that may never come.
    pub(crate) fn refuse_parked(&self) {
        for joined in &self.joined {
            joined.lane.refuse_parked();
        }
    }

    /// Whether no handler and no hook runs, and none waits. If one does, `cx` is woken when the
    /// last hook has run; when a handler has, the mailbox wakes the driver.
    pub(crate) fn are_idle(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(_)) = self.ending.poll_join_next(cx) {}
        self.ending.is_empty()
            && self.hooks.is_none()
            && self.joined.iter().all(|joined| joined.lane.is_idle())
    }

    /// The session has ended: ends all sockets, and waits until their hooks have run.
    pub(crate) async fn end(&mut self, reason: &DisconnectReason) {
        if let Role::Client(reception) = &self.role {
            reception.set_all(&Standing::Ended(Some(reason.clone())));
        }
        self.hooks = None;
        for joined in std::mem::take(&mut self.joined) {
            self.end_one(joined.lane, reason.clone());
        }
        while self.ending.join_next().await.is_some() {}
    }

    fn end_one(&mut self, lane: Arc<Lane>, reason: DisconnectReason) {
        if let Role::Client(reception) = &self.role {
            reception.set(lane.socket.client(), Standing::Ended(Some(reason.clone())));
        }
        self.ending.spawn(lane.end(reason));
    }

    /// Client: whether it has asked for this, and that has ended.
    fn has_ended(&self, client: NamespaceNumber) -> bool {
        let Role::Client(reception) = &self.role else { return false };
        client.0 < self.asked && reception.has_ended(client)
    }

    fn add(&mut self, joined: Joined) {
        if self.joined.is_empty() {
            self.joined.reserve_exact(1); // as many as most sessions ever join
        }
        if joined.lane.mounted.blueprint.hears_losses() {
            self.core.mailbox.report_losses();
        }
        self.joined.push(joined);
    }

    fn find(&self, client: NamespaceNumber) -> Option<Arc<Lane>> {
        let joined = self.joined.iter().find(|joined| joined.client == client)?;
        Some(Arc::clone(&joined.lane))
    }

    fn take(&mut self, client: NamespaceNumber) -> Option<Arc<Lane>> {
        let place = self.joined.iter().position(|joined| joined.client == client)?;
        self.some_ended = true;
        let lane = self.joined.swap_remove(place).lane;
        // The fate of what was written to it may be known later.
        let hears = lane.mounted.blueprint.hears_losses();
        if hears && self.forgotten.len() < self.config.namespaces_per_session_max {
            self.forgotten.push(Arc::clone(&lane));
        }
        Some(lane)
    }

    /// Whether events under this number may still be on their way to an ended socket. A client
    /// cannot know all numbers of its server, so one that has ended anything believes it.
    fn was_asked_for(&self, theirs: NamespaceNumber) -> bool {
        match self.role {
            Role::Server(_) => theirs.0 < self.asked,
            Role::Client(_) => self.some_ended,
        }
    }

    fn expect_answer(
        &self,
        number: NamespaceNumber,
        packet: &'static str,
    ) -> Result<Arc<Reception>, ProtocolError> {
        let Role::Client(reception) = &self.role else {
            return Err(ProtocolError::Unexpected { packet });
        };
        let joined = self.joined.iter().any(|joined| joined.client == number);
        if joined || !reception.is_asked(number) {
            return Err(ProtocolError::NamespaceNumber { number: number.0 });
        }
        Ok(Arc::clone(reception))
    }
}

/// A driver that panics takes its sockets out of their rooms. In order there are none left by then.
impl Drop for Sockets {
    fn drop(&mut self) {
        for joined in &self.joined {
            joined.lane.abandon();
        }
        self.core.let_go_of_layers();
    }
}
