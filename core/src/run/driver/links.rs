//! How a link comes to a session, and how it goes.

use super::{Driver, End};
use crate::handler::Hook;
use crate::protocol::{
    Codec, DisconnectReason, Hello, Inbound, Limits, LossReason, NamespaceNumber, Outcome, Packet,
    Payload, ProducerId, ProtocolError, SessionId, Welcome,
};
use crate::room::Outlet;
use crate::run::dock::{Arrival, Knock, Nonces};
use crate::run::handshake::goodbye;
use crate::run::link::{Link, OpenLink, Reader, part};
use crate::socket::Moment;
use crate::transport::{Capabilities, Peer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many clients that want the session back may wait for the word of its namespaces.
const ADMISSIONS_MAX: usize = 8;

/// What a session begins with.
pub(crate) struct Birth {
    pub(crate) id: SessionId,
    pub(crate) ours: Limits,
    pub(crate) theirs: Limits,
    pub(crate) peer_producer: ProducerId,
    /// How long it outlives a link; zero when it does not.
    pub(crate) resume_window: Duration,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) peer: Peer,
    pub(crate) capabilities: Capabilities,
}

/// The reading half of the current link, and what there is to know of it.
pub(super) struct Current {
    pub(super) reader: Reader,
    /// The peer has heard this side's welcome: it has said something since.
    is_heard: bool,
    /// Counts the link.
    _open: OpenLink,
}

/// Why there is no link.
pub(super) struct Detached {
    pub(super) reason: DisconnectReason,
    /// When the session ends for want of one. A client's is ended by who looks for one.
    pub(super) until: Option<Duration>,
    /// Its place among those that have none.
    place: u64,
}

/// How the session of a client stands, for who looks for links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// How many links it has had.
    pub(crate) links: u64,
    /// Why there is none now, if there is none, and since when.
    pub(crate) detached: Option<(DisconnectReason, Instant)>,
}

/// What a session's namespaces say of a client that wants it back.
pub(super) struct Admission {
    /// Of several the newest wins.
    number: u64,
    knock: Box<Knock>,
    /// Which of them refuse it, each with its words.
    refused: Vec<(NamespaceNumber, Payload)>,
    /// Those that were asked.
    asked: Vec<NamespaceNumber>,
}

impl Driver {
    /// Client: who looks for links learns here when there is none.
    pub(crate) fn standing(&mut self) -> watch::Receiver<Standing> {
        let (sender, receiver) = watch::channel(Standing::default());
        self.standing = Some(sender);
        receiver
    }

    /// Server: the session's first link.
    pub(crate) fn begin_on(
        &mut self,
        arrival: Arrival,
        nonces: &Arc<Nonces>,
    ) -> Result<(), ProtocolError> {
        if self.is_resumable() {
            self.dock.open(arrival.hello.nonce, nonces);
        }
        let welcome = self.welcome(self.dock.token(), Outcome::New);
        self.take(arrival.link, Some(welcome), 0, arrival.open)
    }

    /// Client: the session's first link, in this process.
    pub(crate) fn begin_with(&mut self, link: Link, outcome: Outcome) -> Result<(), ProtocolError> {
        self.core.attach(link.peer.clone(), link.capabilities, outcome);
        let open = OpenLink::new(&self.core.counters);
        self.take(link, None, 0, open)
    }

    /// Client: the session has a link again, on which the server has resumed it.
    pub(super) fn resume_on(&mut self, link: Link, welcome: &Welcome) -> Result<(), ProtocolError> {
        if welcome.session != self.core.id {
            return Err(ProtocolError::Unexpected { packet: "welcome" });
        }
        self.count_attach(welcome.outcome);
        self.core.attach(link.peer.clone(), link.capabilities, welcome.outcome);
        let open = OpenLink::new(&self.core.counters);
        self.take(link, None, welcome.position, open)?;
        self.sockets.tell(Hook::Attach, &Moment::Attach(welcome.outcome));
        Ok(())
    }

    /// Server: a client wants the session back. Its namespaces are asked first, so that who has
    /// nothing but a token puts nobody out.
    pub(super) fn ask_whether_it_may(&mut self, knock: Box<Knock>) {
        if self.admissions.as_ref().is_some_and(|asked| asked.len() >= ADMISSIONS_MAX) {
            // Its link goes, and it tries again.
            return;
        }
        self.knocks += 1;
        self.ask_namespaces(self.knocks, knock);
    }

    fn ask_namespaces(&mut self, number: u64, knock: Box<Knock>) {
        let shown = knock.arrival.attach.as_ref().map(|attach| attach.namespaces.clone());
        let peer = knock.arrival.link.peer.clone();
        let asked = self.sockets.numbers();
        let decisions = self.sockets.authorize_again(shown.unwrap_or_default(), &peer);
        self.admissions.get_or_insert_default().spawn(async move {
            // Beside each other, each with a deadline of its own.
            let mut deciding: JoinSet<_> = decisions.into_iter().collect();
            let mut refused = Vec::new();
            while let Some(decided) = deciding.join_next().await {
                // One that panicked was caught, and has refused.
                refused.extend(decided.ok().flatten());
            }
            Admission { number, knock, refused, asked }
        });
    }

    /// Server: puts those on their new link about whom all namespaces have said their word.
    pub(super) fn poll_admissions(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = &mut self.admissions {
            match asked.poll_join_next(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.admissions = None,
                Poll::Ready(Some(Ok(admission))) => self.admit(admission),
                // It panicked, and its link went with it.
                Poll::Ready(Some(Err(_))) => {}
            }
        }
    }

    /// Server: puts the client on its new link, unless it may not be there.
    fn admit(&mut self, admission: Admission) {
        if admission.number < self.admitted {
            // Somebody came later, and is there: most likely the same client, on another link.
            let Arrival { link, open, .. } = admission.knock.arrival;
            return self.turn_down(link, open, &DisconnectReason::Replaced);
        }
        if !self.is_for(&admission) {
            return admission.knock.turn_away();
        }
        let Admission { number, mut knock, refused, asked } = admission;
        if knock.arrival.link.is_gone() {
            return;
        }
        if self.sockets.numbers().iter().any(|joined| !asked.contains(joined)) {
            // One more has begun meanwhile, and was not asked.
            return self.ask_namespaces(number, knock);
        }
        let Arrival { link, hello, attach, open } = knock.arrival;
        let restarted = hello.restarted && attach.is_some();
        let position = attach.as_ref().map_or(0, |attach| attach.position);
        if let Err(error) = self.check_position(position, restarted) {
            self.core.counters.handshakes_failed.add(1);
            return self.turn_down(link, open, &DisconnectReason::Protocol(error));
        }
        self.admitted = number;
        self.fence();
        if restarted {
            self.restart(&hello);
        }
        self.sockets.refuse_joined(refused);
        if let Some(attach) = attach.as_ref().filter(|_| restarted) {
            self.sockets.tell_again(attach);
        }
        let missed = attach.as_ref().map_or(0, |attach| attach.trimmed);
        let (token, theirs, ours) = match &attach {
            Some(attach) => {
                (self.dock.rotate(attach), self.outcome_there(position), self.outcome_here(missed))
            }
            // It has never heard of the session, so it begins again.
            None => (self.dock.token(), Outcome::New, Outcome::New),
        };
        let welcome = self.welcome(token, theirs);
        let (peer, capabilities) = (link.peer.clone(), link.capabilities);
        if let Err(error) = self.take(link, Some(welcome), position, open) {
            // It was checked, and nothing has confirmed anything since.
            tracing::error!(%error, "a link was not taken");
            return;
        }
        self.core.attach(peer, capabilities, ours);
        self.count_attach(ours);
        if attach.is_some() {
            self.sockets.tell(Hook::Attach, &Moment::Attach(ours));
        }
    }

    /// Tells a client why it is not let in, as far as it listens.
    fn turn_down(&self, link: Link, open: OpenLink, reason: &DisconnectReason) {
        let (close, patience) = (goodbye(reason), self.config.close_timeout);
        tokio::spawn(async move {
            link.refuse(close, patience).await;
            drop(open);
        });
    }

    /// Whether the session is this client's, and something that it can go on with.
    fn is_for(&self, admission: &Admission) -> bool {
        let Admission { knock, refused, asked, .. } = admission;
        let Arrival { link, hello, attach, .. } = &knock.arrival;
        let is_refused = !asked.is_empty() && refused.len() >= asked.len();
        let is_over = self.core.mailbox.closed().is_some();
        let speaks_it = link.codec.name() == self.core.mailbox.codec().name();
        // A new process may take less than the one before, and does not know what has been decided
        // about that.
        let takes_it = hello.limits.event_bytes_max >= self.inbound.ours().event_bytes_max;
        let knows_it = !hello.restarted || attach.as_ref().is_some_and(|it| self.sockets.know(it));
        !is_refused
            && !is_over
            && !self.core.draining.load(Ordering::Acquire)
            // Something else may have been attached while they were asked.
            && self.dock.knows(&knock.arrival)
            && speaks_it
            && takes_it
            && knows_it
    }

    fn check_position(&self, position: u64, restarted: bool) -> Result<(), ProtocolError> {
        match restarted {
            false => self.core.mailbox.check_attach(position),
            true if position == 0 => Ok(()),
            // A new process has nothing.
            true => Err(ProtocolError::Position { position, written: 0 }),
        }
    }

    /// The client is a new process: both directions are counted anew.
    fn restart(&mut self, hello: &Hello) {
        let (delay, timeout) = (self.config.position_delay, self.config.liveness_timeout);
        let now = self.began.elapsed();
        self.inbound = Inbound::new(*self.inbound.ours(), hello.limits, delay, timeout, now);
        let answered = self.answered.take();
        self.core.mailbox.restart(hello.limits.window, &answered);
        self.sockets.restart(hello.producer);
    }

    /// Whatever is read on the link before is not heard any more.
    fn fence(&mut self) {
        if self.link.is_some() {
            self.core.counters.takeovers.add(1);
            self.give_link_up(DisconnectReason::Replaced.into());
        }
    }

    /// Client: gives its link up, to go on on another; but not when it is about to end, because
    /// then without a link it would end at once, with what was still to be written.
    pub(super) fn leave_link(&mut self) {
        let is_draining = self.core.draining.load(Ordering::Acquire);
        let is_ending = is_draining || self.core.mailbox.closed().is_some();
        if self.link.is_some() && !is_ending {
            self.detach(End { reason: DisconnectReason::LinkLost, said_goodbye: true });
        }
    }

    /// The peer is elsewhere now, on the same link.
    pub(super) fn change_path(&mut self, peer: Peer) {
        tracing::debug!(session = %self.core.id, peer = peer.endpoint(), "path changed");
        self.core.counters.path_changes.add(1);
        self.core.change_path(peer);
        self.sockets.tell(Hook::PathChange, &Moment::PathChange);
    }

    /// Whether the session outlives its links.
    pub(super) fn is_resumable(&self) -> bool {
        !self.resume_window.is_zero()
    }

    /// Whether the session goes on without this link.
    pub(super) fn survives(&self, end: &End) -> bool {
        use DisconnectReason::{HandshakeTimeout, HeartbeatTimeout, LinkLost, Slow};
        // A client says that its handshake took too long when it never heard the welcome.
        let is_of_link =
            matches!(end.reason, LinkLost | HeartbeatTimeout | HandshakeTimeout | Slow);
        is_of_link
            && self.link.is_some()
            && self.is_resumable()
            && !self.core.draining.load(Ordering::Acquire)
            && self.core.mailbox.closed().is_none()
    }

    /// Gives the link up; the session waits for another.
    pub(super) fn detach(&mut self, end: End) {
        let Some(reason) = self.give_link_up(end) else { return };
        self.core.mailbox.count_as_detached();
        let until = self.sockets.are_served().then(|| self.began.elapsed() + self.resume_window);
        let place = self.all_detached.enter(&self.core.mailbox);
        tracing::debug!(session = %self.core.id, %reason, "detached");
        if let Some(standing) = &self.standing {
            let detached = Some((reason.clone(), Instant::now()));
            standing.send_modify(|standing| standing.detached = detached);
        }
        self.detached = Some(Detached { reason, until, place });
    }

    /// Gives the link up, if there is one; says why.
    fn give_link_up(&mut self, end: End) -> Option<DisconnectReason> {
        let End { reason, said_goodbye } = end;
        let link = self.link.take()?;
        let parting = self.core.mailbox.detach();
        if let (Some(close), Some(parting), false) = (goodbye(&reason), parting, said_goodbye) {
            let (codec, patience) = (self.core.mailbox.codec().clone(), self.config.close_timeout);
            let Current { reader, _open, .. } = link;
            tokio::spawn(async move {
                part(reader, parting, close, codec, patience).await;
                drop(_open);
            });
        }
        self.core.mailbox.set_position(self.inbound.position());
        let now = self.began.elapsed();
        if !said_goodbye {
            self.count(&reason);
        }
        if reason == DisconnectReason::Slow {
            let before = self.slow_at.replace(now);
            if before.is_some_and(|before| now - before < self.config.slow_window) {
                self.core.mailbox.lag();
            }
        }
        self.core.counters.detaches.add(1);
        self.sockets.tell(Hook::Detach, &Moment::Detach(reason.clone()));
        Some(reason)
    }

    /// The first packet on a link proves that the welcome on it was heard; but not a goodbye, which
    /// may be for want of one.
    pub(super) fn hear_first_packet(&mut self, packet: &Packet) {
        let is_goodbye = matches!(packet, Packet::Close(_));
        if let Some(link) = self.link.as_mut().filter(|link| !link.is_heard && !is_goodbye) {
            link.is_heard = true;
            self.dock.confirm();
        }
    }

    fn take(
        &mut self,
        link: Link,
        welcome: Option<Welcome>,
        position: u64,
        open: OpenLink,
    ) -> Result<(), ProtocolError> {
        let Link { mut reader, write, codec, capabilities, fragmented, overtook, .. } = link;
        self.core.counters.volatile_in.add(overtook);
        self.core.counters.volatile_missed.add(overtook);
        reader.take_packets_of(codec.frame_bytes_max(self.core.event_bytes_max));
        let mut outlet = Outlet::new(write).frame_bytes_max(capabilities.frame_bytes_max);
        outlet = outlet.fragmented(fragmented);
        outlet = outlet.may_drop(capabilities.datagram_bytes_max.is_some());
        if let Some(welcome) = welcome {
            outlet = outlet.first(codec.encode(&Packet::Welcome(welcome)));
        }
        // Before it is attached, or it might be ended as one that is not.
        self.leave_detached();
        if std::mem::replace(&mut self.has_been_attached, true) {
            self.inbound.handle_attach(self.began.elapsed());
        }
        self.core.mailbox.attach(outlet, position)?;
        self.link = Some(Current { reader, is_heard: false, _open: open });
        if let Some(standing) = &self.standing {
            standing.send_modify(|standing| {
                standing.links += 1;
                standing.detached = None;
            });
        }
        Ok(())
    }

    /// It has a link again, or is over.
    pub(super) fn leave_detached(&mut self) {
        if let Some(detached) = self.detached.take() {
            self.all_detached.leave(detached.place);
        }
    }

    fn welcome(&self, token: bytes::Bytes, outcome: Outcome) -> Welcome {
        let trimmed = self.core.mailbox.trimmed(0).map_or(0, |(_, to, _)| to);
        Welcome {
            session: self.core.id,
            token,
            producer: self.core.producer.id,
            limits: *self.inbound.ours(),
            resume_window: self.resume_window,
            outcome,
            position: self.inbound.position(),
            trimmed,
        }
    }

    /// What the peer, which has all packets up to `position`, will not get.
    fn outcome_there(&self, position: u64) -> Outcome {
        match self.core.mailbox.trimmed(position) {
            Some((from, to, reason)) => Outcome::ResumedWithGap { from, to, reason },
            None => Outcome::Resumed,
        }
    }

    /// What this side will not get of a peer that has no replay of packet `trimmed`.
    fn outcome_here(&self, trimmed: u64) -> Outcome {
        let position = self.inbound.position();
        if trimmed <= position {
            return Outcome::Resumed;
        }
        let (from, to, reason) = (position + 1, trimmed, LossReason::Overflow);
        Outcome::ResumedWithGap { from, to, reason }
    }

    fn count_attach(&self, outcome: Outcome) {
        let counters = &self.core.counters;
        counters.attaches.add(1);
        match outcome {
            Outcome::New => {}
            Outcome::Resumed => counters.resumed.add(1),
            Outcome::ResumedWithGap { .. } => counters.resumed_with_gap.add(1),
        }
    }
}
