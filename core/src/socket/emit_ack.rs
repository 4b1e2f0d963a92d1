//! Emitting with an answer.

use super::core::{SessionCore, moment_after};
use super::emit::State;
use super::{Accepting, AckError, Emit, EmitError};
use crate::protocol::{EventId, ToPayload};
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
        let after = self.emit.timeout.unwrap_or(session.ack_timeout);
        let (accepting, answer, id) = match self.emit.pack() {
            Ok((id, mut packet)) => {
                packet.wants_ack = true;
                let answer = session.acks.expect(id);
                (Accepting(State::Offered(self.emit.offer(packet))), Some(answer), Some(id))
            }
            Err(error) => (Accepting(State::Failed(error)), None, None),
        };
        Answering {
            session,
            id,
            accepting: Some(accepting),
            answer,
            after,
            until: moment_after(after),
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
                Ok(answer) => AckError::judge(answer, this.session.event_bytes_max),
                Err(_) => Err(AckError::Closed),
            });
        }
        let (after, until) = (this.after, this.until);
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(AckError::Timeout { after }))
    }
}

impl AckError {
    /// The answer as its type, or why there is none.
    pub(super) fn judge<R: DeserializeOwned>(
        answer: Answer,
        event_bytes_max: usize,
    ) -> Result<R, Self> {
        match answer {
            Ok(payload) => payload.decode().map_err(|source| Self::Payload { source }),
            Err(NoAnswer::Nak(nak)) => Err(Self::Refused(nak)),
            Err(NoAnswer::NotAccepted(refused)) => {
                Err(Self::Emit(EmitError::of(refused, 0, event_bytes_max)))
            }
            Err(NoAnswer::Lost(reason)) => Err(Self::Lost { reason }),
            Err(NoAnswer::Closed) => Err(Self::Closed),
        }
    }
}

impl<R> Drop for Answering<R> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.session.acks.forget(id);
        }
    }
}
