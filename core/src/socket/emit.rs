//! Emitting to one socket: the builder and the futures that it becomes.

use super::acks::Answer;
use super::core::{SessionCore, pack};
use super::{AckError, EmitError, Socket};
use crate::protocol::{Encoded, EventId, EventPacket, Packet, ToPayload};
use crate::room::{NotAccepted, Ticket};
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

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
}

impl<'a, T: ToPayload + ?Sized> Emit<'a, T> {
    /// Waits for the answer of the peer's handler instead of acceptance only.
    pub fn ack<R: DeserializeOwned>(self) -> EmitWithAck<'a, T, R> {
        EmitWithAck { emit: self, answer: PhantomData }
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

    fn pack(&self) -> Result<(EventId, EventPacket), EmitError> {
        let session = self.socket.session();
        let id = session.producer.mint();
        let (number, own) = (self.socket.number(), session.producer.id);
        self.socket.check_open()?;
        let max = session.event_bytes_max;
        Ok((id, pack(self.name, self.value, number, id, own, max)?))
    }

    fn accepting(&self, packet: EventPacket) -> Accepting {
        let session = Arc::clone(self.socket.session());
        let event_bytes = packet.bytes();
        let encoded = session.mailbox.codec().encode(&Packet::Event(packet));
        let wait_max = self.timeout.unwrap_or(session.emit_wait_max);
        let offer = Offer { session, encoded, event_bytes, wait_max, ticket: None, deadline: None };
        Accepting(State::Offered(offer))
    }
}

impl<T: ToPayload + ?Sized> IntoFuture for Emit<'_, T> {
    type Output = Result<(), EmitError>;
    type IntoFuture = Accepting;

    fn into_future(self) -> Accepting {
        match self.pack() {
            Ok((_, packet)) => self.accepting(packet),
            Err(error) => Accepting(State::Failed(error)),
        }
    }
}

/// The future of an [`Emit`]: ready when the event is accepted or refused.
#[must_use = "futures do nothing unless polled"]
pub struct Accepting(State);

enum State {
    Offered(Offer),
    Failed(EmitError),
    Done,
}

struct Offer {
    session: Arc<SessionCore>,
    encoded: Encoded,
    event_bytes: usize,
    wait_max: Duration,
    ticket: Option<Ticket>,
    /// Only an emit that has to wait needs a timer.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Offer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EmitError>> {
        let mailbox = &self.session.mailbox;
        let offered = mailbox.poll_offer(cx, &mut self.ticket, &self.encoded, self.event_bytes);
        match offered {
            Poll::Ready(Ok(flush)) => {
                mailbox.flush_in_turn(flush);
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

    fn explain(&self, refused: NotAccepted) -> EmitError {
        match refused {
            NotAccepted::Full => EmitError::Full { waited: self.wait_max },
            NotAccepted::TooLarge => {
                let max = self.session.event_bytes_max;
                EmitError::TooLarge { bytes: self.event_bytes, max }
            }
            NotAccepted::Draining => EmitError::Draining,
            NotAccepted::Closed(reason) => EmitError::Closed { reason },
        }
    }
}

impl Future for Accepting {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Offered(offer) = &mut self.0 {
            // A loop that only emits is ready every time; now and then it lets others run.
            let budget = ready!(poll_proceed(cx));
            let result = ready!(offer.poll(cx));
            budget.made_progress();
            offer.session.mailbox.forget_ticket(&mut offer.ticket);
            self.0 = State::Done;
            return Poll::Ready(result);
        }
        match std::mem::replace(&mut self.0, State::Done) {
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Offered(_) | State::Done => panic!("polled after it was ready"),
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let State::Offered(offer) = &mut self.0 {
            offer.session.mailbox.forget_ticket(&mut offer.ticket);
            offer.session.counters.withdrawn.add(1);
        }
    }
}

/// An emit that waits for the peer's answer.
///
/// # Errors
/// [`AckError`]. After `Timeout` and `Closed` the event may have been handled all the same.
///
/// # Cancel safety
/// Dropping the future before the event is accepted withdraws it; afterwards it means that nobody
/// is interested in the answer.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct EmitWithAck<'a, T: ?Sized, R> {
    emit: Emit<'a, T>,
    answer: PhantomData<fn() -> R>,
}

impl<T: ToPayload + ?Sized, R> EmitWithAck<'_, T, R> {
    /// Another deadline for the answer than `Config::ack_timeout`, counted from the emit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.emit.timeout = Some(timeout);
        self
    }
}

impl<T: ToPayload + ?Sized, R: DeserializeOwned> IntoFuture for EmitWithAck<'_, T, R> {
    type Output = Result<R, AckError>;
    type IntoFuture = Answering<R>;

    fn into_future(self) -> Answering<R> {
        let session = Arc::clone(self.emit.socket.session());
        let after = self.emit.timeout.unwrap_or(session.ack_timeout);
        let (accepting, answer, id) = match self.emit.pack() {
            Ok((id, mut packet)) => {
                packet.wants_ack = true;
                let answer = session.acks.expect(id);
                (self.emit.accepting(packet), Some(answer), Some(id))
            }
            Err(error) => (Accepting(State::Failed(error)), None, None),
        };
        Answering {
            session,
            id,
            accepting: Some(accepting),
            answer,
            after,
            until: Instant::now() + after,
            deadline: None,
            decoded: PhantomData,
        }
    }
}

/// The future of an [`EmitWithAck`].
#[must_use = "futures do nothing unless polled"]
pub struct Answering<R> {
    session: Arc<SessionCore>,
    id: Option<EventId>,
    accepting: Option<Accepting>,
    answer: Option<oneshot::Receiver<Answer>>,
    after: Duration,
    /// Counted from the emit, whatever of it acceptance took.
    until: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
    decoded: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Future for Answering<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(accepting) = &mut this.accepting {
            let accepted = ready!(Pin::new(accepting).poll(cx));
            this.accepting = None;
            accepted?;
        }
        let answer = this.answer.as_mut().map(|answer| Pin::new(answer).poll(cx));
        if let Some(Poll::Ready(answer)) = answer {
            this.answer = None;
            return Poll::Ready(match answer {
                Ok(Ok(payload)) => payload.decode().map_err(|source| AckError::Payload { source }),
                Ok(Err(nak)) => Err(AckError::Refused(nak)),
                Err(_) => Err(AckError::Closed),
            });
        }
        let (after, until) = (this.after, this.until);
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(AckError::Timeout { after }))
    }
}

impl<R> Drop for Answering<R> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.session.acks.forget(id);
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
            let session = self.emit.socket.session();
            let event_bytes = packet.bytes();
            let encoded = session.mailbox.codec().encode(&Packet::Volatile(packet));
            match session.mailbox.offer_volatile(&encoded, event_bytes) {
                Ok(flush) => {
                    session.counters.volatile_out.add(1);
                    session.mailbox.flush_in_turn(flush);
                }
                Err(_) => session.counters.volatile_dropped.add(1),
            }
        }))
    }
}
