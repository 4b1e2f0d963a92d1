//! Emitting with an answer.

use super::core::{SessionCore, moment_after};
use super::emit::Offer;
use super::layered::Layered;
use super::{Accepting, AckError, Emit, EmitError, Level};
use crate::protocol::{EventId, Payload, ToPayload};
use crate::room::{Answer, NoAnswer};
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

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

impl<'a, T: ToPayload + ?Sized, R> EmitWithAck<'a, T, R> {
    pub(super) fn new(emit: Emit<'a, T>) -> Self {
        Self { emit, answer: PhantomData }
    }

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
        let event_bytes_max = session.event_bytes_max;
        let way = match self.emit.layered(Level::Handled) {
            Some(Ok(layered)) => Way::Layered(layered),
            Some(Err(error)) => Way::Bare(Asking::failed(session, error)),
            None => {
                let after = self.emit.timeout.unwrap_or(session.ack_timeout);
                Way::Bare(match self.emit.pack() {
                    Ok((id, mut packet)) => {
                        packet.wants_ack = true;
                        let answer = session.acks.expect(id);
                        let patience = (after, moment_after(after));
                        Asking::new(session, id, self.emit.offer(packet), answer, patience)
                    }
                    Err(error) => Asking::failed(session, error),
                })
            }
        };
        Answering { way, event_bytes_max, decoded: PhantomData }
    }
}

/// The future of an [`EmitWithAck`].
#[must_use = "futures do nothing unless polled"]
pub struct Answering<R> {
    way: Way,
    event_bytes_max: usize,
    decoded: PhantomData<fn() -> R>,
}

enum Way {
    Bare(Asking),
    Layered(Layered),
}

impl<R: DeserializeOwned> Future for Answering<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let max = self.event_bytes_max;
        Poll::Ready(match &mut self.way {
            Way::Bare(asking) => AckError::judge(ready!(asking.poll(cx))?, max),
            Way::Layered(layered) => match ready!(layered.poll(cx)) {
                Ok(ack) => AckError::judge(Ok(ack.payload().clone()), max),
                Err(error) => Err(AckError::of_layers(error, layered.elapsed())),
            },
        })
    }
}

/// An event that is accepted and then answered.
pub(super) struct Asking {
    session: Arc<SessionCore>,
    id: Option<EventId>,
    accepting: Option<Accepting>,
    answer: Option<oneshot::Receiver<Answer>>,
    after: Duration,
    /// Counted from the emit, whatever of it acceptance took.
    until: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Asking {
    /// `answer` is where that of the event comes; waited for as long as is said, and until then.
    pub(super) fn new(
        session: Arc<SessionCore>,
        id: EventId,
        offer: Offer,
        answer: oneshot::Receiver<Answer>,
        (after, until): (Duration, Instant),
    ) -> Self {
        let (id, answer, deadline) = (Some(id), Some(answer), None);
        let accepting = Some(Accepting::of(Ok(offer)));
        Self { session, id, accepting, answer, after, until, deadline }
    }

    fn failed(session: Arc<SessionCore>, error: EmitError) -> Self {
        let (accepting, after) = (Some(Accepting::of(Err(error))), Duration::ZERO);
        let (id, answer, deadline) = (None, None, None);
        Self { session, id, accepting, answer, after, until: Instant::now(), deadline }
    }

    /// Whether the event has been accepted, so that it only waits for the answer.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepting.is_none()
    }

    /// Waits on, for as long as is said, and until then.
    pub(super) fn renew(&mut self, (after, until): (Duration, Instant)) {
        (self.after, self.until, self.deadline) = (after, until, None);
    }

    /// Ready with an answer, or with why there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, AckError>> {
        if let Some(accepting) = &mut self.accepting {
            let accepted = ready!(Pin::new(accepting).poll(cx));
            self.accepting = None;
            accepted?;
        }
        let answer = self.answer.as_mut().map(|answer| Pin::new(answer).poll(cx));
        if let Some(Poll::Ready(answer)) = answer {
            self.answer = None;
            return Poll::Ready(Ok(answer.unwrap_or(Err(NoAnswer::Closed))));
        }
        let (after, until) = (self.after, self.until);
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(AckError::Timeout { after }))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        drop(self.answer.take());
        if let Some(id) = self.id {
            self.session.acks.forget(id);
        }
    }
}

impl AckError {
    /// The answer as its type, or why there is none.
    pub(super) fn judge<R: DeserializeOwned>(
        answer: Answer,
        event_bytes_max: usize,
    ) -> Result<R, Self> {
        let payload = Self::of_answer(answer, event_bytes_max)?;
        payload.decode().map_err(|source| Self::Payload { source })
    }

    /// The answer as it is, or why there is none.
    pub(super) fn of_answer(answer: Answer, event_bytes_max: usize) -> Result<Payload, Self> {
        match answer {
            Ok(payload) => Ok(payload),
            Err(NoAnswer::Nak(nak)) => Err(Self::Refused(nak)),
            Err(NoAnswer::NotAccepted(refused)) => {
                Err(Self::Emit(EmitError::of(refused, 0, event_bytes_max)))
            }
            Err(NoAnswer::Lost(reason)) => Err(Self::Lost { reason }),
            Err(NoAnswer::Closed) => Err(Self::Closed),
        }
    }
}
