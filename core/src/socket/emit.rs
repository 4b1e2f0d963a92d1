//! Emitting to one socket: the builder and the futures that it becomes.

use super::attempts::{Attempts, Target};
use super::core::pack;
use super::layered::Layered;
use super::{EmitError, EmitReceived, EmitWithAck, Level, Socket, Stack};
use crate::protocol::{Encoded, Event, EventId, EventPacket, Packet, ToPayload};
use crate::room::{LatestKey, NotAccepted, Parcel, Taken, Ticket};
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::coop::poll_proceed;
use tokio::time::{Sleep, sleep};

/// An emit that is not sent yet: choose how, then `.await` it.
///
/// Awaited as it is, it is ready when the event is *accepted*: in the session's mailbox, from
/// which it is lost only if the session ends, and then its fate is counted.
///
/// # Errors
/// [`EmitError`]; the event is not sent in any of its cases. It waits for room for at most
/// `Config::emit_wait_max`, or [`Emit::timeout`], and then says `Full`.
///
/// # Cancel safety
/// Dropping the future before it is ready withdraws the event.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct Emit<'a, T: ?Sized> {
    pub(super) socket: &'a Socket,
    pub(super) name: &'a str,
    pub(super) value: &'a T,
    pub(super) timeout: Option<Duration>,
    pub(super) latest: Option<&'a str>,
}

impl<'a, T: ToPayload + ?Sized> Emit<'a, T> {
    /// Waits for the answer of the peer's handler instead of acceptance only.
    pub fn ack<R: DeserializeOwned>(self) -> EmitWithAck<'a, T, R> {
        EmitWithAck::new(self)
    }

    /// Waits until the peer's session has the event: from then on it is lost only with the peer's
    /// process. Whether a handler has run, `ack` says.
    pub fn received(self) -> EmitReceived<'a, T> {
        EmitReceived::new(self)
    }

    /// Lets the event be missed: it never waits, and is dropped and counted when there is no link
    /// or too much of its kind waits already.
    pub fn volatile(self) -> EmitVolatile<'a, T> {
        EmitVolatile { emit: self }
    }

    /// Another deadline than `Config` says: for acceptance, or with [`Emit::ack`] for the answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Only the newest event of this key, of this socket, has to arrive: one that still waits is
    /// removed, its answer ends as [`AckError::Lost`](super::AckError::Lost), and this one goes to
    /// the end. For positions, prices, progress. What has been written stays; so the last one
    /// always arrives. It has no meaning for a volatile event.
    pub fn latest(mut self, key: &'a str) -> Self {
        self.latest = Some(key);
        self
    }

    /// See [`Socket::try_emit`].
    pub(super) fn now(self) -> Result<(), EmitError> {
        if let Some(layered) = self.layered(Level::Accepted) {
            return layered?.now();
        }
        let (_, packet) = self.pack()?;
        let offer = self.offer(packet);
        let taken = self.socket.session().mailbox.try_offer(&offer.parcel());
        match taken {
            Ok(taken) => {
                offer.accepted(taken);
                Ok(())
            }
            Err(NotAccepted::Full) => Err(EmitError::Full { waited: Duration::ZERO }),
            Err(refused) => Err(offer.explain(refused)),
        }
    }

    /// Its way through the layers, if there are any.
    #[inline] // without layers it costs one look
    pub(super) fn layered(&self, level: Level) -> Option<Result<Layered, EmitError>> {
        let stack = self.socket.scope().outbound.as_ref()?;
        Some(self.through(stack, level))
    }

    fn through(&self, stack: &Stack, level: Level) -> Result<Layered, EmitError> {
        let (id, packet) = self.pack_any()?;
        let event = packet.into_event(id.producer, false);
        let latest = self.latest.map(|key| LatestKey::new(self.socket.number(), key));
        let target = Target::One(self.socket.clone(), latest.map(Box::new));
        let attempts = Attempts::new(target, id, self.timeout);
        Ok(Layered::new(stack, event, level, attempts))
    }

    pub(super) fn pack(&self) -> Result<(EventId, EventPacket), EmitError> {
        self.socket.check_open()?;
        self.pack_any()
    }

    /// As [`Emit::pack`], also of a socket that has ended: a layer may know another.
    fn pack_any(&self) -> Result<(EventId, EventPacket), EmitError> {
        let session = self.socket.session();
        let id = session.producer.mint();
        let (number, own) = (self.socket.number(), session.producer.id);
        let max = session.event_bytes_max;
        Ok((id, pack(self.name, self.value, number, id, own, max)?))
    }

    pub(super) fn offer(&self, packet: EventPacket) -> Offer {
        let wait_max = self.timeout.unwrap_or(self.socket.session().emit_wait_max);
        let latest = self.latest.map(|key| Box::new(LatestKey::new(self.socket.number(), key)));
        Offer::new(self.socket.clone(), packet, wait_max, latest)
    }
}

/// The event as whoever wants to know what goes out is shown it, if anybody does.
#[inline]
fn outgoing(socket: &Socket, packet: &EventPacket, volatile: bool) -> Option<Box<Event>> {
    let own = socket.session().producer.id;
    let event = || Box::new(packet.clone().into_event(own, volatile));
    socket.tells_outgoing().then(event)
}

impl<T: ToPayload + ?Sized> IntoFuture for Emit<'_, T> {
    type Output = Result<(), EmitError>;
    type IntoFuture = Accepting;

    fn into_future(self) -> Accepting {
        match self.layered(Level::Accepted) {
            None => match self.pack() {
                Ok((_, packet)) => Accepting(State::Offered(self.offer(packet))),
                Err(error) => Accepting(State::Failed(error)),
            },
            Some(Ok(layered)) => Accepting(State::Layered(layered)),
            Some(Err(error)) => Accepting(State::Failed(error)),
        }
    }
}

/// The future of an [`Emit`]: ready when the event is accepted or refused.
#[must_use = "futures do nothing unless polled"]
pub struct Accepting(State);

enum State {
    Offered(Offer),
    Layered(Layered),
    Failed(EmitError),
    Done,
}

pub(super) struct Offer {
    socket: Socket,
    pub(super) encoded: Encoded,
    terms: Terms,
    wait_max: Duration,
    ticket: Option<Ticket>,
    /// Only an emit that has to wait needs a timer.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What it is an attempt of, if there are layers.
    pub(super) attempts: Option<Arc<Attempts>>,
}

struct Terms {
    event_bytes: usize,
    wants_ack: bool,
    latest: Option<Box<LatestKey>>,
    /// For whoever wants to know what goes out.
    outgoing: Option<Box<Event>>,
}

impl Offer {
    #[inline] // an emit is moved as seldom as can be
    pub(super) fn new(
        socket: Socket,
        packet: EventPacket,
        wait_max: Duration,
        latest: Option<Box<LatestKey>>,
    ) -> Self {
        let (event_bytes, wants_ack) = (packet.bytes(), packet.wants_ack);
        let outgoing = outgoing(&socket, &packet, false);
        let encoded = socket.session().mailbox.codec().encode(&Packet::Event(packet));
        let terms = Terms { event_bytes, wants_ack, latest, outgoing };
        let (ticket, deadline, attempts) = (None, None, None);
        Self { socket, encoded, terms, wait_max, ticket, deadline, attempts }
    }

    /// It is an attempt of several.
    pub(super) fn attempt_of(mut self, attempts: Arc<Attempts>) -> Self {
        self.attempts = Some(attempts);
        self
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EmitError>> {
        let mut ticket = self.ticket.take();
        let mailbox = &self.socket.session().mailbox;
        let offered = mailbox.poll_offer(cx, &mut ticket, &self.parcel());
        self.ticket = ticket;
        match offered {
            Poll::Ready(Ok(taken)) => {
                self.accepted(taken);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(refused)) => Poll::Ready(Err(self.explain(refused))),
            Poll::Pending => {
                let wait_max = self.wait_max;
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(wait_max)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(EmitError::Full { waited: wait_max }))
            }
        }
    }

    fn parcel(&self) -> Parcel<'_> {
        let Terms { event_bytes, wants_ack, latest, .. } = &self.terms;
        let (event_bytes, wants_ack) = (*event_bytes, *wants_ack);
        let (encoded, namespace) = (&self.encoded, self.socket.number());
        Parcel { encoded, event_bytes, namespace, wants_ack, latest: latest.as_deref() }
    }

    fn accepted(&self, taken: Taken) {
        let socket = &self.socket;
        socket.count(|counters| &counters.events_out, |tally| &tally.events_out);
        socket.counters().count(taken.removed, |counters| &counters.superseded);
        let attempts = self.attempts.as_ref();
        let is_first = attempts.is_none_or(|attempts| attempts.post());
        if let Some(event) = self.terms.outgoing.as_ref().filter(|_| is_first) {
            socket.tell_outgoing(event);
        }
        socket.session().mailbox.flush_in_turn(taken.flush);
    }

    fn forget_ticket(&mut self) {
        self.socket.session().mailbox.forget_ticket(&mut self.ticket);
    }

    fn explain(&self, refused: NotAccepted) -> EmitError {
        match refused {
            NotAccepted::Full => EmitError::Full { waited: self.wait_max },
            refused => {
                let max = self.socket.session().event_bytes_max;
                EmitError::of(refused, self.terms.event_bytes, max)
            }
        }
    }
}

impl EmitError {
    /// What a mailbox's refusal means for its emitter.
    pub(super) fn of(refused: NotAccepted, bytes: usize, max: usize) -> Self {
        match refused {
            NotAccepted::Full => Self::Full { waited: Duration::ZERO },
            NotAccepted::TooLarge => Self::TooLarge { bytes, max },
            NotAccepted::Draining => Self::Draining,
            NotAccepted::Closed(reason) => Self::Closed { reason },
        }
    }
}

impl Accepting {
    pub(super) fn of(offer: Result<Offer, EmitError>) -> Self {
        match offer {
            Ok(offer) => Self(State::Offered(offer)),
            Err(error) => Self(State::Failed(error)),
        }
    }
}

impl Future for Accepting {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Offered(offer) => {
                // A loop that only emits is ready every time; now and then it lets others run.
                let budget = ready!(poll_proceed(cx));
                let result = ready!(offer.poll(cx));
                budget.made_progress();
                offer.forget_ticket();
                self.0 = State::Done;
                return Poll::Ready(result);
            }
            State::Layered(layered) => {
                let result = ready!(layered.poll(cx));
                self.0 = State::Done;
                return Poll::Ready(result.map(|_| ()).map_err(EmitError::of_layers));
            }
            State::Failed(_) | State::Done => {}
        }
        match std::mem::replace(&mut self.0, State::Done) {
            State::Failed(error) => Poll::Ready(Err(error)),
            _ => panic!("polled after it was ready"),
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let State::Offered(offer) = &mut self.0 {
            offer.forget_ticket();
            // Of several attempts, whoever makes them counts.
            if offer.attempts.is_none() {
                offer.socket.counters().count(1, |counters| &counters.withdrawn);
            }
        }
    }
}

/// An emit that may be missed: ready at once, whatever becomes of it.
///
/// # Errors
/// [`EmitError`] when the event could never be sent; a dropped one is counted, not an error.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct EmitVolatile<'a, T: ?Sized> {
    emit: Emit<'a, T>,
}

impl<T: ToPayload + ?Sized> IntoFuture for EmitVolatile<'_, T> {
    type Output = Result<(), EmitError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.emit.pack().map(|(_, packet)| {
            let socket = self.emit.socket;
            let mailbox = &socket.session().mailbox;
            let (event_bytes, outgoing) = (packet.bytes(), outgoing(socket, &packet, true));
            let encoded = mailbox.codec().encode(&Packet::Volatile(packet));
            match mailbox.offer_volatile(&encoded, event_bytes) {
                Ok(flush) => {
                    socket.count(|counters| &counters.volatile_out, |tally| &tally.volatile_out);
                    if let Some(event) = outgoing {
                        socket.tell_outgoing(&event);
                    }
                    mailbox.flush_in_turn(flush);
                }
                Err(_) => socket
                    .count(|counters| &counters.volatile_dropped, |tally| &tally.volatile_dropped),
            }
        }))
    }
}
