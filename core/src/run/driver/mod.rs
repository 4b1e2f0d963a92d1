//! The driver: the one loop that touches a reading half and a clock.
//!
//! It never waits for a handler or for a write. Reading, writing what a short write left, and
//! time stand side by side in one poll; whatever was received is handled in one turn. It drives a
//! session over all its links, and while it has none.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Driver`]: the loop, and the clock |
//! | `links.rs` | how a link comes and goes |
//! | `packets.rs` | what each packet does |
//! | `answered.rs` | [`Answered`]: events that the peer has, whatever its last position said |

mod answered;
mod links;
mod packets;

pub(crate) use links::{Birth, Standing};

use self::answered::Answered;
use self::links::{Admission, Current, Detached};
use super::dock::{Call, Dock};
use super::handshake::goodbye;
use super::sockets::Sockets;
use super::{Config, Role};
use crate::protocol::{
    Close, CloseCode, DisconnectReason, Drain, Due, EventName, Inbound, Outbound, Payload, Position,
};
use crate::room::{self, Counters, Mailbox, WireEnd, turn};
use crate::socket::{Parts, Producer, SessionCore};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinSet, coop};
use tokio::time::{Instant, Sleep};

/// Reads in a row before the other parts of the loop have their turn.
const READS_PER_POLL: usize = 8;

/// Runs one session, from its first link to its last hook.
pub(crate) struct Driver {
    link: Option<Current>,
    inbound: Inbound,
    sockets: Sockets,
    core: Arc<SessionCore>,
    dock: Arc<Dock>,
    config: Arc<Config>,
    began: Instant,
    /// Wakes at or before the next thing that is due.
    timer: Pin<Box<Sleep>>,
    /// How long the session outlives a link; zero when it does not.
    resume_window: Duration,
    /// It has had a link before.
    has_been_attached: bool,
    /// Why there is no link now, and how long the session waits for one.
    detached: Option<Detached>,
    /// The sessions beside this one that have no link.
    all_detached: Arc<room::Detached>,
    answered: Answered,
    /// When it was last detached because its peer was slow.
    slow_at: Option<Duration>,
    /// Who has knocked so far, and the last of them that was let in.
    knocks: u64,
    admitted: u64,
    /// Clients that want the session back, and whose namespaces are being asked.
    admissions: Option<Box<JoinSet<Admission>>>,
    /// Client: who is to care for a new link.
    standing: Option<watch::Sender<Standing>>,
    /// The peer said drain: a server to its client, a client in answer.
    peer_drains: bool,
    /// The position at which this client last said that nothing is under way.
    drained_at: Option<u64>,
    /// When this client leaves a draining server by itself.
    drained_by: Option<Duration>,
    /// When to stop waiting for a goodbye to be written.
    give_up: Option<Duration>,
    /// What the peer asked for in its drain: how long to stay away.
    told_to_wait: Duration,
}

/// How a session ended.
pub(crate) struct Ended {
    pub(crate) reason: DisconnectReason,
    /// How long a draining server wants this client to stay away.
    pub(crate) told_to_wait: Duration,
}

/// Why a link ended, and whether both sides know already.
struct End {
    reason: DisconnectReason,
    said_goodbye: bool,
}

impl From<DisconnectReason> for End {
    fn from(reason: DisconnectReason) -> Self {
        Self { reason, said_goodbye: false }
    }
}

impl Driver {
    /// Makes a new session, without a link. Boxed, so that it is kept once, and not in every state
    /// of the futures that it passes through.
    pub(crate) fn new(
        birth: Birth,
        role: Role,
        config: Arc<Config>,
        producer: Arc<Producer>,
        counters: Arc<Counters>,
        detached: Arc<room::Detached>,
    ) -> Box<Self> {
        let Birth { id, ours, theirs, resume_window, .. } = birth;
        let event_bytes_max = ours.event_bytes_max as usize;
        let bounds = config.bounds(event_bytes_max, !resume_window.is_zero());
        let outbound = Outbound::new(theirs.window);
        let (codec, window) = (birth.codec, ours.window);
        let (count, keep) = (Arc::clone(&counters), Arc::clone(&detached));
        let mailbox = Mailbox::new(codec, outbound, window, bounds, count, keep);
        let core = Arc::new(SessionCore::new(Parts {
            id,
            mailbox: Arc::new(mailbox),
            producer,
            counters,
            peer: birth.peer,
            capabilities: birth.capabilities,
            event_bytes_max,
            emit_wait_max: config.emit_wait_max,
            ack_timeout: config.ack_timeout,
            listeners_max: config.listeners_max,
            dedup_horizon: theirs.dedup_horizon,
        }));
        let (delay, timeout) = (config.position_delay, config.liveness_timeout);
        let sockets =
            Sockets::new(role, Arc::clone(&core), Arc::clone(&config), birth.peer_producer);
        Box::new(Self {
            link: None,
            inbound: Inbound::new(ours, theirs, delay, timeout, Duration::ZERO),
            sockets,
            dock: Arc::new(Dock::new(Arc::clone(&core), birth.capabilities.encrypted)),
            core,
            timer: Box::pin(tokio::time::sleep(config.heartbeat_interval)),
            config,
            began: Instant::now(),
            resume_window,
            has_been_attached: false,
            detached: None,
            all_detached: detached,
            answered: Answered::default(),
            slow_at: None,
            knocks: 0,
            admitted: 0,
            admissions: None,
            standing: None,
            peer_drains: false,
            drained_at: None,
            drained_by: None,
            give_up: None,
            told_to_wait: Duration::ZERO,
        })
    }

    /// The session that it drives.
    pub(crate) fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    /// Where links come to it.
    pub(crate) fn dock(&self) -> &Arc<Dock> {
        &self.dock
    }

    /// Client: asks for its namespaces.
    pub(crate) fn ask_for_namespaces(&mut self, auth: &Payload) {
        self.sockets.ask_for_all(auth);
    }

    /// Client: an earlier process has asked for its namespaces.
    pub(crate) fn have_asked_for_namespaces(&mut self) {
        self.sockets.have_asked();
    }

    /// Drives until the session has ended and its hooks have run.
    pub(crate) async fn run(mut self: Box<Self>) -> Ended {
        let end = poll_fn(|cx| self.poll(cx)).await;
        Box::pin(self.finish(end)).await
    }

    async fn finish(mut self: Box<Self>, end: End) -> Ended {
        self.dock.close();
        self.leave_detached();
        // Whoever waits for them is let go of with its link.
        self.admissions = None;
        self.core.mailbox.shut(&end.reason);
        self.core.acks.close();
        if !end.said_goodbye {
            self.count(&end.reason);
        }
        // A peer that does not take its goodbye in time goes without.
        let patience = self.config.close_timeout;
        let _ = tokio::time::timeout(patience, self.say_goodbye(&end)).await;
        self.link = None;
        let answered = self.answered.take();
        self.sockets.handle_losses(self.core.end(&end.reason, &answered));
        self.sockets.end(&end.reason).await;
        Ended { reason: end.reason, told_to_wait: self.told_to_wait }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.core.mailbox.begin_poll();
        loop {
            // One turn, so that a position goes out with the answers.
            let (read, mut end) = turn(|| {
                let read = self.poll_read(cx);
                (read.is_ready(), self.poll_session(cx, read))
            });
            if end.is_pending() {
                end = self.core.mailbox.poll_drive(cx).map(|end| self.wire_ended(end));
            }
            if let Poll::Ready(end) = end {
                match self.survives(&end) {
                    false => return Poll::Ready(end),
                    true => self.detach(end),
                }
                continue;
            }
            // From here on the mailbox wakes this task; what came before is looked at now.
            if !self.core.mailbox.has_news() {
                if read {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Everything but reading and writing.
    fn poll_session(&mut self, cx: &mut Context<'_>, read: Poll<Result<(), End>>) -> Poll<End> {
        if let Poll::Ready(Err(end)) = read {
            return Poll::Ready(self.unless_closed(end));
        }
        let news = self.core.mailbox.take_news(self.inbound.position());
        if news.position_rode {
            self.inbound.handle_rode();
        }
        let now = self.began.elapsed();
        if self.detached.is_some() {
            self.all_detached.relieve();
        }
        self.inbound.handle_finished(news.freed, now);
        self.sockets.leave(news.leaving);
        self.sockets.handle_losses(news.losses);
        self.sockets.poll_hooks(cx);
        if self.core.calls.load(Ordering::Acquire) {
            self.core.calls.store(false, Ordering::Release);
            self.sockets.resume();
            if let Some(end) = self.answer_calls() {
                return Poll::Ready(end);
            }
        }
        self.poll_admissions(cx);
        self.poll_drain(cx);
        if news.is_closed {
            let gave_up = now >= *self.give_up.get_or_insert(now + self.config.close_timeout);
            // Without a link there is nobody to say goodbye to.
            if gave_up || self.link.is_none() {
                let reason = DisconnectReason::LinkLost;
                return Poll::Ready(self.unless_closed(End { reason, said_goodbye: true }));
            }
        }
        if self.drained_by.is_some_and(|by| now >= by) {
            return Poll::Ready(DisconnectReason::Moved.into());
        }
        self.poll_clock(cx)
    }

    /// What somebody wants of it; says whether that ends the session.
    fn answer_calls(&mut self) -> Option<End> {
        for call in self.dock.take_calls() {
            match call {
                Call::Knock(knock) => self.ask_whether_it_may(knock),
                Call::Link(link, welcome) => {
                    if let Err(error) = self.resume_on(*link, &welcome) {
                        return Some(DisconnectReason::Protocol(error).into());
                    }
                }
                Call::Leave => self.leave_link(),
                Call::End(reason) => {
                    // Also if there is a link: who looks for links has gone.
                    self.core.mailbox.shut(&reason);
                    return Some(End { reason, said_goodbye: true });
                }
            }
        }
        None
    }

    /// A link that ends after this side has closed it has ended for this side's reason.
    fn unless_closed(&self, end: End) -> End {
        match (&end.reason, self.core.mailbox.closed()) {
            (DisconnectReason::LinkLost, Some(reason)) => End { reason, said_goodbye: true },
            _ => end,
        }
    }

    /// Reads and handles until the wire is empty, or for a while.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        for _ in 0..READS_PER_POLL {
            let Some(link) = &mut self.link else { return Poll::Pending };
            if link.reader.is_empty() {
                if let Some(reason) = link.reader.take_end() {
                    return Poll::Ready(Err(reason.into()));
                }
                let bytes = ready!(link.reader.poll_fill(cx));
                self.inbound.handle_bytes(self.began.elapsed());
                self.core.counters.bytes_in.add(bytes as u64);
                if let Some(peer) = link.reader.moved() {
                    self.change_path(peer);
                }
            }
            while let Some(link) = self.link.as_mut().filter(|link| !link.reader.is_empty()) {
                // Handlers that are ready at once cost no budget by themselves, and a peer may
                // send any number of events for them. When this poll is used up the rest has the
                // next one, behind the other tasks.
                ready!(coop::poll_proceed(cx)).made_progress();
                match link.reader.next_packet() {
                    Some(Ok(Some((packet, bytes)))) => self.handle_packet(packet, bytes)?,
                    Some(Ok(None)) | None => {}
                    Some(Err(reason)) => return Poll::Ready(Err(reason.into())),
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Does what is due and sets the timer for what will be.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let now = self.began.elapsed();
            let until = match &self.detached {
                // Somebody is at the door, and hears soon whether it may come in.
                Some(_) if self.admissions.is_some() => None,
                Some(Detached { until: Some(until), reason, .. }) if now >= *until => {
                    return Poll::Ready(End { reason: reason.clone(), said_goodbye: true });
                }
                Some(detached) => detached.until,
                None => match self.inbound.poll(now) {
                    Due::Position(position) => {
                        self.post(&position);
                        continue;
                    }
                    Due::Heartbeat => {
                        // The driver flushes at the end of its poll.
                        let _ = self.core.mailbox.post_heartbeat();
                        continue;
                    }
                    Due::Silent => return Poll::Ready(DisconnectReason::HeartbeatTimeout.into()),
                    Due::Wait(until) => {
                        if let Some(position) = self.inbound.position_to_ride() {
                            self.core.mailbox.let_ride(&position);
                        }
                        Some(until)
                    }
                },
            };
            let deadlines = [until, self.give_up, self.drained_by];
            let Some(until) = deadlines.into_iter().flatten().min() else { return Poll::Pending };
            let until = self.began + until;
            // One that fires too early costs one look; resetting it costs a lock each time.
            if self.timer.deadline() > until || self.timer.is_elapsed() {
                self.timer.as_mut().reset(until);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    fn post(&self, position: &Position) {
        if !self.inbound.is_starved() {
            self.core.mailbox.peer_is_content();
        }
        // The driver flushes at the end of its poll.
        let _ = self.core.mailbox.post_position(position);
    }

    /// A client that has nothing under way any more says so; then, in the same case, its server
    /// closes the session.
    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        let mailbox = &self.core.mailbox;
        if !self.core.draining.load(Ordering::Acquire) || mailbox.closed().is_some() {
            return;
        }
        if self.link.is_none() {
            // Nobody who drains lets anybody in again.
            return mailbox.shut(&DisconnectReason::Moved);
        }
        self.sockets.refuse_parked();
        if !self.sockets.are_idle(cx) {
            return;
        }
        if !mailbox.is_settled() {
            let _ = mailbox.post_ask();
        } else if !self.sockets.are_served() {
            let position = Some(self.inbound.position());
            if std::mem::replace(&mut self.drained_at, position) != position {
                let done = Drain { deadline: Duration::ZERO, delay: Duration::ZERO };
                let _ = mailbox.begin_drain(Some(done));
            }
        } else if self.peer_drains {
            let close = Close { code: CloseCode::Moved, detail: EventName::from_static("") };
            let _ = mailbox.begin_close(DisconnectReason::Moved, close, false);
        }
    }

    fn wire_ended(&self, end: WireEnd) -> End {
        let reason = self.core.mailbox.closed().unwrap_or(DisconnectReason::LinkLost);
        match end {
            WireEnd::Closed => End { reason, said_goodbye: true },
            WireEnd::Cut(reason) => reason.into(),
            WireEnd::Slow => self.core.mailbox.closed().unwrap_or(DisconnectReason::Slow).into(),
            WireEnd::Broken(error) => {
                tracing::debug!(%error, "writing failed");
                End { reason: DisconnectReason::LinkLost, said_goodbye: true }
            }
        }
    }

    /// Tells the peer why, ends the writing direction, and reads until the peer has ended its own.
    async fn say_goodbye(&mut self, end: &End) {
        let Some(link) = &mut self.link else { return };
        let mailbox = Arc::clone(&self.core.mailbox);
        if !end.said_goodbye {
            if let Some(close) = goodbye(&end.reason) {
                let _ = mailbox.begin_close(end.reason.clone(), close, true);
                poll_fn(|cx| mailbox.poll_drive(cx)).await;
            }
        }
        poll_fn(|cx| mailbox.poll_close(cx)).await;
        link.reader.linger().await;
    }

    fn count(&self, reason: &DisconnectReason) {
        let counters = &self.core.counters;
        match reason {
            DisconnectReason::Protocol(error) => {
                counters.protocol_errors.add(1);
                tracing::warn!(session = %self.core.id, %error, "the peer broke the protocol");
            }
            DisconnectReason::HeartbeatTimeout => counters.silent_peers.add(1),
            DisconnectReason::Slow => counters.slow_peers.add(1),
            _ => {}
        }
    }
}
