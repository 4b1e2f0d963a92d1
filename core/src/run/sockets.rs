//! The sockets of one session: who begins, who ends, and whose event this is.

use super::lane::{Lane, Mounted};
use super::reception::{Reception, Standing};
use super::{Config, random};
use crate::handler::ConnectRequest;
use crate::protocol::{
    Accept, Connect, Credit, DisconnectReason, EventPacket, Leave, Nak, NakPacket, NamespaceNumber,
    Packet, Payload, ProducerId, ProtocolError, Refuse, SocketId, is_reserved,
};
use crate::socket::{SessionCore, Socket};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use tokio::task::JoinSet;

/// The namespaces of a server, by path.
pub(crate) type Mounts = RwLock<HashMap<Arc<str>, Arc<Mounted>>>;

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
    /// Sockets that have left and whose handlers and hooks may still run.
    ending: JoinSet<()>,
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
        let joined = Vec::new();
        let ending = JoinSet::new();
        Self { role, core, config, peer_producer, joined, asked: 0, some_ended: false, ending }
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
            (Some(lane), false) => lane.handle(packet.into_event(self.peer_producer, false)),
            (Some(lane), true) => {
                lane.handle_volatile(packet.into_event(self.peer_producer, true));
            }
            // It may have overtaken its namespace's accept.
            (None, true) => self.core.counters.volatile_missed.add(1),
            (None, false) if self.was_asked_for(number) => self.turn_away(&packet, Nak::Closed),
            (None, false) => return Err(ProtocolError::Namespace { number: number.0 }),
        }
        Ok(())
    }

    /// The names of the lifecycle are not the peer's to emit.
    fn reject_reserved(&self, packet: &EventPacket, volatile: bool) {
        if volatile {
            self.core.counters.volatile_missed.add(1);
        } else {
            self.turn_away(packet, Nak::Rejected(words("reserved name")));
        }
    }

    /// Answers an event that no lane will see.
    fn turn_away(&self, packet: &EventPacket, nak: Nak) {
        self.core.counters.refused.add(1);
        let answer = NakPacket { event: packet.event, nak };
        let credit = Credit::one(packet.bytes());
        let flush = self.core.mailbox.push_answer(&Packet::Nak(answer), credit);
        self.core.mailbox.flush_in_turn(flush);
    }

    /// Server: a client wants into a namespace.
    pub(crate) fn handle_connect(&mut self, connect: Connect) -> Result<(), ProtocolError> {
        let Role::Server(mounts) = &self.role else {
            return Err(ProtocolError::Unexpected { packet: "connect" });
        };
        self.joined.retain(|joined| !joined.lane.was_refused());
        while self.ending.try_join_next().is_some() {}
        let number = connect.number;
        let open = self.joined.len() + self.ending.len();
        let full = open >= self.config.namespaces_per_session_max;
        if number.0 != self.asked || full {
            return Err(ProtocolError::NamespaceNumber { number: number.0 });
        }
        self.asked += 1;
        let mounts = mounts.read().unwrap_or_else(PoisonError::into_inner);
        let mounted = mounts.get(&*connect.path).cloned();
        drop(mounts);
        let scope = mounted.as_ref().and_then(|mounted| mounted.scope.clone());
        let (Some(mounted), Some(scope)) = (mounted, scope) else {
            refuse(&self.core, number, words("no such namespace"));
            return Ok(());
        };
        if self.joined.iter().any(|joined| Arc::ptr_eq(&joined.lane.mounted, &mounted)) {
            refuse(&self.core, number, words("this session is in it already"));
            return Ok(());
        }
        let id = SocketId(random::bits());
        let socket = Socket::on_server(id, number, Arc::clone(&self.core), scope);
        let lane = Lane::new(socket, mounted, Arc::clone(&self.config), self.peer_producer);
        if self.joined.is_empty() {
            self.joined.reserve_exact(1); // as many as most sessions ever join
        }
        self.joined.push(Joined { client: number, theirs: number, lane: Arc::clone(&lane) });
        lane.open(let_in(Arc::clone(&lane), connect.auth));
        Ok(())
    }

    /// Client: the server lets it in.
    pub(crate) fn handle_accept(&mut self, accept: Accept) -> Result<(), ProtocolError> {
        let reception = self.expect_answer(accept.client, "accept")?;
        let Some(mounted) = reception.mounts.get(accept.client.0 as usize) else {
            return Err(ProtocolError::NamespaceNumber { number: accept.client.0 });
        };
        let path = Arc::clone(mounted.blueprint.path());
        let core = Arc::clone(&self.core);
        let socket = Socket::on_client(accept.socket, accept.client, core, path);
        let (config, mounted) = (Arc::clone(&self.config), Arc::clone(mounted));
        let lane = Lane::new(socket, mounted, config, self.peer_producer);
        let joined =
            Joined { client: accept.client, theirs: accept.server, lane: Arc::clone(&lane) };
        self.joined.push(joined);
        lane.open(come_in(Arc::clone(&lane), reception));
        Ok(())
    }

    /// Client: the server does not let it in.
    pub(crate) fn handle_refuse(&mut self, refuse: Refuse) -> Result<(), ProtocolError> {
        let reception = self.expect_answer(refuse.client, "refuse")?;
        reception.set(refuse.client, Standing::Refused(refuse.payload));
        self.some_ended = true;
        Ok(())
    }

    /// The peer ended a socket.
    pub(crate) fn handle_leave(&mut self, leave: Leave) -> Result<(), ProtocolError> {
        if leave.client.0 >= self.asked {
            return Err(ProtocolError::NamespaceNumber { number: leave.client.0 });
        }
        // Both ends may have left at the same time.
        if let Some(lane) = self.take(leave.client) {
            self.end_one(lane, DisconnectReason::ClosedByPeer);
        }
        Ok(())
    }

    /// Ends the sockets that were asked to end here.
    pub(crate) fn leave(&mut self, numbers: Vec<NamespaceNumber>) {
        for client in numbers {
            let Some(lane) = self.take(client) else { continue };
            let mailbox = &self.core.mailbox;
            let flush = mailbox.push_behind_events(&Packet::Leave(Leave { client }));
            mailbox.flush_in_turn(flush);
            let reason = lane.socket.ended().unwrap_or(DisconnectReason::Closed);
            self.end_one(lane, reason);
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
        self.ending.is_empty() && self.joined.iter().all(|joined| joined.lane.is_idle())
    }

    /// The session has ended: ends all sockets, and waits until their hooks have run.
    pub(crate) async fn end(&mut self, reason: &DisconnectReason) {
        if let Role::Client(reception) = &self.role {
            reception.set_all(&Standing::Ended(Some(reason.clone())));
        }
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

    fn take(&mut self, client: NamespaceNumber) -> Option<Arc<Lane>> {
        let place = self.joined.iter().position(|joined| joined.client == client)?;
        self.some_ended = true;
        Some(self.joined.swap_remove(place).lane)
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
            if let Some(scope) = &joined.lane.mounted.scope {
                scope.adapter.remove(joined.lane.socket.id());
            }
        }
    }
}

/// Server: decides, accepts, and runs the first hook. Events of the socket wait behind it.
async fn let_in(lane: Arc<Lane>, auth: Payload) -> bool {
    let (core, blueprint) = (lane.socket.session(), &lane.mounted.blueprint);
    let path = Arc::clone(blueprint.path());
    let request = ConnectRequest::new(path, auth.clone(), core.peer.clone());
    if let Some(decision) = blueprint.authorize(request) {
        let decided = lane.within_time("authorize", decision).await;
        // Who cannot be decided about is not let in.
        if let Err(payload) = decided.unwrap_or_else(|| Err(Payload::empty())) {
            lane.socket.end(DisconnectReason::Refused);
            refuse(core, lane.socket.client(), payload);
            return false;
        }
    }
    if !lane.begin() {
        return false;
    }
    if let Some(scope) = &lane.mounted.scope {
        let accept =
            Accept { client: lane.socket.client(), server: scope.number, socket: lane.socket.id() };
        // In this order, so that nothing said to its rooms is written before the accept.
        let flush = core.mailbox.push_control(&Packet::Accept(accept));
        scope.adapter.add(lane.socket.id(), Arc::clone(&core.mailbox));
        core.mailbox.flush_in_turn(flush);
        if lane.is_over() || lane.socket.ended().is_some() {
            // Its end may have come, and removed it, just before it was added.
            scope.adapter.remove(lane.socket.id());
        }
    }
    greet(&lane, auth).await
}

/// Client: runs the first hook, then shows the socket to whoever waits for it.
async fn come_in(lane: Arc<Lane>, reception: Arc<Reception>) -> bool {
    let is_in = lane.begin() && greet(&lane, Payload::empty()).await;
    if is_in {
        reception.join(&lane.socket);
    }
    is_in
}

/// The hook of a beginning. A socket whose hook fails ends, and none of its events is handled.
async fn greet(lane: &Arc<Lane>, auth: Payload) -> bool {
    let Some(hook) = lane.mounted.blueprint.on_connect() else { return true };
    let went_well = lane.run_hook("connect", hook, auth, None).await;
    if !went_well && lane.socket.end(DisconnectReason::HookFailed) {
        lane.socket.session().leave(lane.socket.client());
    }
    went_well
}

/// A reason in words, for the peer.
fn words(reason: &str) -> Payload {
    Payload::encode(reason).unwrap_or_default()
}

fn refuse(core: &SessionCore, client: NamespaceNumber, payload: Payload) {
    let fits = payload.len() <= core.event_bytes_max;
    let payload = if fits { payload } else { Payload::empty() };
    let flush = core.mailbox.push_control(&Packet::Refuse(Refuse { client, payload }));
    core.mailbox.flush_in_turn(flush);
}
