//! The driver: the one loop that touches a reading half and a clock.
//!
//! It never waits for a handler or for a write. Reading, writing what a short write left, and
//! time stand side by side in one poll; whatever was received is handled in one turn.

use super::handshake::{Link, goodbye, linger, unexpected};
use super::sockets::Sockets;
use super::{Config, Role};
use crate::protocol::{
    Close, CloseCode, Decoder, DisconnectReason, Drain, Due, EventName, Frame, Inbound, Outbound,
    Packet, Payload, Position, ProducerId, ProtocolError,
};
use crate::room::{Counters, Mailbox, NoAnswer, WireEnd, turn};
use crate::socket::{Producer, SessionCore};
use crate::transport::ReadHalf;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::coop;
use tokio::time::{Instant, Sleep};

/// Reads in a row before the other parts of the loop have their turn.
const READS_PER_POLL: usize = 8;

thread_local! {
    /// What is read is handled at once, so that drivers that wait hold no room for it.
    static SPARE_FRAMES: Cell<Vec<Frame>> = const { Cell::new(Vec::new()) };
}

/// One read brings as many small frames as fit into it; more room than that is not kept.
const SPARE_FRAMES_MAX: usize = 4096;

/// Runs one session on one link, from welcome to the last hook.
pub(crate) struct Driver {
    read: Box<dyn ReadHalf>,
    decoder: Box<dyn Decoder>,
    /// Read, and not handled yet; the next one stands at the end.
    unhandled: Vec<Frame>,
    /// Bytes of the packet whose frames are still coming.
    packet_bytes: usize,
    /// Why nothing more can be read.
    read_ended: Option<DisconnectReason>,
    inbound: Inbound,
    sockets: Sockets,
    core: Arc<SessionCore>,
    own_producer: ProducerId,
    config: Arc<Config>,
    began: Instant,
    /// Wakes at or before the next thing that is due.
    timer: Pin<Box<Sleep>>,
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

/// Why the loop ended, and whether both sides know already.
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
    /// Makes the session of a fresh link. Boxed, so that it is kept once, and not in every state of
    /// the futures that it passes through.
    pub(crate) fn new(
        link: Link,
        role: Role,
        config: Arc<Config>,
        producer: Arc<Producer>,
        counters: Arc<Counters>,
    ) -> Box<Self> {
        let event_bytes_max = link.ours.event_bytes_max as usize;
        let outbound = Outbound::new(link.theirs.window);
        let mailbox = Arc::new(Mailbox::new(
            link.codec,
            outbound,
            link.ours.window,
            config.bounds(event_bytes_max),
            Arc::clone(&counters),
        ));
        mailbox.attach(link.write);
        let core = Arc::new(SessionCore {
            id: link.session,
            mailbox,
            acks: Default::default(),
            producer,
            peer: link.peer,
            capabilities: link.capabilities,
            counters,
            event_bytes_max,
            emit_wait_max: config.emit_wait_max,
            ack_timeout: config.ack_timeout,
            listeners_max: config.listeners_max,
            draining: AtomicBool::new(false),
            resumes: AtomicBool::new(false),
        });
        let (delay, timeout) = (config.position_delay, config.liveness_timeout);
        let inbound = Inbound::new(link.ours, link.theirs, delay, timeout, Duration::ZERO);
        let sockets =
            Sockets::new(role, Arc::clone(&core), Arc::clone(&config), link.peer_producer);
        Box::new(Self {
            read: link.read,
            decoder: link.decoder,
            unhandled: link.early.into_iter().rev().collect(),
            packet_bytes: 0,
            read_ended: None,
            inbound,
            sockets,
            own_producer: core.producer.id,
            core,
            timer: Box::pin(tokio::time::sleep(config.heartbeat_interval)),
            config,
            began: Instant::now(),
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

    /// Client: asks for its namespaces.
    pub(crate) fn ask_for_namespaces(&mut self, auth: &Payload) {
        self.sockets.ask_for_all(auth);
    }

    /// Drives until the session has ended and its hooks have run.
    pub(crate) async fn run(mut self: Box<Self>) -> Ended {
        let end = poll_fn(|cx| self.poll(cx)).await;
        Box::pin(self.finish(end)).await
    }

    async fn finish(mut self: Box<Self>, end: End) -> Ended {
        self.core.mailbox.shut(&end.reason);
        self.core.acks.close();
        if !end.said_goodbye {
            self.count(&end.reason);
        }
        // A peer that does not take its goodbye in time goes without.
        let patience = self.config.close_timeout;
        let _ = tokio::time::timeout(patience, self.say_goodbye(&end)).await;
        self.core.end(&end.reason);
        self.sockets.end(&end.reason).await;
        Ended { reason: end.reason, told_to_wait: self.told_to_wait }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.core.mailbox.begin_poll();
        loop {
            // One turn, so that a position goes out with the answers.
            let (read, end) = turn(|| {
                let read = self.poll_read(cx);
                (read.is_ready(), self.poll_session(cx, read))
            });
            if let Poll::Ready(end) = end {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.core.mailbox.poll_drive(cx) {
                return Poll::Ready(self.wire_ended(end));
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
        self.inbound.handle_finished(news.freed, now);
        self.sockets.leave(news.leaving);
        self.sockets.handle_removed(news.removed);
        if self.core.resumes.load(Ordering::Acquire) {
            self.core.resumes.store(false, Ordering::Release);
            self.sockets.resume();
        }
        self.poll_drain(cx);
        if news.is_closed && now >= *self.give_up.get_or_insert(now + self.config.close_timeout) {
            let reason = DisconnectReason::LinkLost;
            return Poll::Ready(self.unless_closed(End { reason, said_goodbye: true }));
        }
        if self.drained_by.is_some_and(|by| now >= by) {
            return Poll::Ready(DisconnectReason::Moved.into());
        }
        self.poll_clock(cx).map(End::from)
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
            if self.unhandled.is_empty() {
                if let Some(reason) = self.read_ended.take() {
                    return Poll::Ready(Err(reason.into()));
                }
                self.unhandled = SPARE_FRAMES.try_with(Cell::take).unwrap_or_default();
                let Poll::Ready(read) = self.read.poll_read(cx, &mut self.unhandled) else {
                    self.give_back_spare();
                    return Poll::Pending;
                };
                self.unhandled.reverse();
                self.inbound.handle_bytes(self.began.elapsed());
                // What came whole before the end is handled before it.
                self.read_ended = match read {
                    Ok(0) => Some(DisconnectReason::LinkLost),
                    Ok(bytes) => {
                        self.core.counters.bytes_in.add(bytes as u64);
                        None
                    }
                    Err(error) => Some(error.into()),
                };
            }
            while !self.unhandled.is_empty() {
                // Handlers that are ready at once cost no budget by themselves, and a peer may
                // send any number of events for them. When this poll is used up the rest has the
                // next one, behind the other tasks.
                ready!(coop::poll_proceed(cx)).made_progress();
                if let Some(frame) = self.unhandled.pop() {
                    self.handle_frame(frame)?;
                }
            }
            self.give_back_spare();
        }
        Poll::Ready(Ok(()))
    }

    /// Room for frames is for whoever reads next on this thread, if there is no frame in it.
    fn give_back_spare(&mut self) {
        if self.unhandled.is_empty() && self.unhandled.capacity() <= SPARE_FRAMES_MAX {
            let _ = SPARE_FRAMES.try_with(|spare| spare.set(std::mem::take(&mut self.unhandled)));
        }
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), End> {
        // What a packet weighs in its sender's log is all of its frames.
        self.packet_bytes += frame.body.len();
        match self.decoder.decode(frame) {
            Ok(Some(packet)) => {
                let bytes = std::mem::take(&mut self.packet_bytes);
                self.handle_packet(packet, bytes)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(DisconnectReason::Protocol(error.into()).into()),
        }
    }

    fn handle_packet(&mut self, packet: Packet, frame_bytes: usize) -> Result<(), End> {
        if packet.is_counted() {
            let event_bytes = match &packet {
                Packet::Event(event) => Some(event.bytes()),
                _ => None,
            };
            let counted = self.inbound.handle_counted(frame_bytes, event_bytes);
            if !counted.map_err(DisconnectReason::Protocol)? {
                return Ok(());
            }
        }
        let counters = &self.core.counters;
        let handled = match packet {
            Packet::Event(event) => self.sockets.handle_event(event, false),
            Packet::Volatile(event) => {
                self.inbound.check_size(event.bytes()).map_err(DisconnectReason::Protocol)?;
                self.sockets.handle_event(event, true)
            }
            Packet::Ack(ack) => {
                let id = ack.event.resolve(self.own_producer);
                self.sockets.handle_answer(id, Ok(ack.payload));
                Ok(())
            }
            Packet::Nak(nak) => {
                counters.refused_by_peer.add(1);
                let id = nak.event.resolve(self.own_producer);
                self.sockets.handle_answer(id, Err(NoAnswer::Nak(nak.nak)));
                Ok(())
            }
            Packet::Connect(connect) => self.sockets.handle_connect(connect),
            Packet::Accept(accept) => self.sockets.handle_accept(accept),
            Packet::Refuse(refuse) => self.sockets.handle_refuse(refuse),
            Packet::Leave(leave) => self.sockets.handle_leave(leave),
            Packet::Gap(gap) => {
                counters.missed.add(gap.count);
                Ok(())
            }
            Packet::From(from) => self.inbound.handle_from(from),
            Packet::Position(position) => self.handle_position(&position),
            Packet::Heartbeat { written } => self.inbound.handle_heartbeat(written),
            Packet::Drain(drain) => return self.handle_drain(drain),
            Packet::Close(close) => {
                return Err(End { reason: close.into(), said_goodbye: true });
            }
            other => return Err(unexpected(&other).into()),
        };
        Ok(handled.map_err(DisconnectReason::Protocol)?)
    }

    /// A client is told to finish; a server is told that its client has.
    fn handle_drain(&mut self, drain: Drain) -> Result<(), End> {
        let drains = self.core.draining.load(Ordering::Acquire);
        if self.sockets.are_served() && !drains {
            return Err(unexpected(&Packet::Drain(drain)).into());
        }
        // A client may have answered before it had all that was written for it.
        self.peer_drains = !self.sockets.are_served() || self.core.mailbox.is_settled();
        if !self.sockets.are_served() {
            // A server that says drain and never closes is left.
            let patience = drain.deadline.min(self.config.drain_delay_max);
            let by = self.began.elapsed() + patience + self.config.close_timeout;
            self.drained_by.get_or_insert(by);
            self.told_to_wait = drain.delay.min(self.config.drain_delay_max);
            // Nothing new is taken. The answer is announced when nothing old is left.
            let _ = self.core.mailbox.begin_drain(None);
            self.core.draining.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn handle_position(&mut self, position: &Position) -> Result<(), ProtocolError> {
        if position.asks {
            // A position that went out before answers an older ask, not this one.
            if self.core.mailbox.take_rode() {
                self.inbound.handle_rode();
            }
            self.inbound.handle_ask(self.began.elapsed());
        }
        let flush = self.core.mailbox.handle_position(position)?;
        self.core.mailbox.flush_in_turn(flush);
        Ok(())
    }

    /// Does what is due and sets the timer for what will be.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        loop {
            match self.inbound.poll(self.began.elapsed()) {
                Due::Position(position) => self.post(&position),
                Due::Heartbeat => {
                    // The driver flushes at the end of its poll.
                    let _ = self.core.mailbox.post_heartbeat();
                }
                Due::Silent => return Poll::Ready(DisconnectReason::HeartbeatTimeout),
                Due::Wait(until) => {
                    if let Some(position) = self.inbound.position_to_ride() {
                        self.core.mailbox.let_ride(&position);
                    }
                    let deadlines = [self.give_up, self.drained_by];
                    let until = deadlines.into_iter().flatten().fold(until, Duration::min);
                    let until = self.began + until;
                    // One that fires too early costs one look; resetting it costs a lock each time.
                    if self.timer.deadline() > until || self.timer.is_elapsed() {
                        self.timer.as_mut().reset(until);
                    }
                    ready!(self.timer.as_mut().poll(cx));
                }
            }
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
            WireEnd::Broken(error) => {
                tracing::debug!(%error, "writing failed");
                End { reason: DisconnectReason::LinkLost, said_goodbye: true }
            }
        }
    }

    /// Tells the peer why, ends the writing direction, and reads until the peer has ended its own.
    async fn say_goodbye(&mut self, end: &End) {
        let mailbox = Arc::clone(&self.core.mailbox);
        if !end.said_goodbye {
            if let Some(close) = goodbye(&end.reason) {
                let _ = mailbox.begin_close(end.reason.clone(), close, true);
                poll_fn(|cx| mailbox.poll_drive(cx)).await;
            }
        }
        poll_fn(|cx| mailbox.poll_close(cx)).await;
        linger(&mut *self.read).await;
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
