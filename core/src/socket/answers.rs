//! The answers to an event that was emitted to many.

use super::broadcast::EmitBroadcast;
use super::{AckError, EmitError, moment_after};
use crate::protocol::{SocketId, ToPayload};
use crate::room::{Fanout, Gathering};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture, Ready, poll_fn, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::coop::{Coop, cooperative};
use tokio::time::{Instant, Sleep, sleep_until};

/// An emit to many that asks for answers.
///
/// # Errors
/// [`EmitError`] when it could not be sent to anyone.
///
/// # Cancel safety
/// It is done as soon as it is awaited; dropping it then loses interest in the answers.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct EmitBroadcastWithAck<'a, T: ?Sized, R> {
    emit: EmitBroadcast<'a, T>,
    answer: PhantomData<fn() -> R>,
}

impl<'a, T: ?Sized, R> EmitBroadcastWithAck<'a, T, R> {
    pub(super) fn new(emit: EmitBroadcast<'a, T>) -> Self {
        Self { emit, answer: PhantomData }
    }

    /// Another deadline for answers than `Config::ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.emit = self.emit.timeout(timeout);
        self
    }
}

impl<T: ToPayload + ?Sized, R> IntoFuture for EmitBroadcastWithAck<'_, T, R> {
    type Output = Result<Answers<R>, EmitError>;
    type IntoFuture = Coop<Ready<Self::Output>>;

    fn into_future(self) -> Self::IntoFuture {
        cooperative(ready(self.emit.send_for_answers()))
    }
}

/// The answers of the members of a broadcast, as they come: a stream of each member's id with its
/// answer, or with why there is none. Each member is in it once; at the deadline those that have
/// not answered are, with [`AckError::Timeout`].
///
/// ```no_run
/// # use emitwire_core::run::Server;
/// # async fn example(server: Server) -> Result<(), Box<dyn std::error::Error>> {
/// let mut votes = server.of("/").to("jury").emit("vote", "guilty?").ack::<bool>().await?;
/// while let Some((juror, vote)) = votes.next().await {
///     println!("{juror}: {vote:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "answers are lost unless they are looked at"]
pub struct Answers<R> {
    /// Of one namespace, or of several that a pattern has brought about.
    gatherings: Vec<Gathering>,
    fanout: Fanout,
    after: Duration,
    until: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
    late: Vec<SocketId>,
    event_bytes_max: usize,
    decoded: PhantomData<fn() -> R>,
}

impl<R> Answers<R> {
    pub(super) fn new(
        gatherings: Vec<Gathering>,
        fanout: Fanout,
        after: Duration,
        event_bytes_max: usize,
    ) -> Self {
        let until = moment_after(after);
        let (deadline, late, decoded) = (None, Vec::new(), PhantomData);
        Self { gatherings, fanout, after, until, deadline, late, event_bytes_max, decoded }
    }

    /// There was nobody to ask.
    pub(super) fn none() -> Self {
        Self::new(Vec::new(), Fanout::default(), Duration::ZERO, 0)
    }

    /// How many mailboxes took the event.
    #[must_use]
    pub fn fanout(&self) -> Fanout {
        self.fanout
    }
}

impl<R: DeserializeOwned> Answers<R> {
    /// The next answer; `None` when there is one of everybody.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub async fn next(&mut self) -> Option<(SocketId, Result<R, AckError>)> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// All answers, when everybody has answered or the deadline has come.
    ///
    /// # Cancel safety
    /// Dropping the future loses interest in the answers.
    pub async fn all(mut self) -> Vec<(SocketId, Result<R, AckError>)> {
        let mut all = Vec::new();
        while let Some(answer) = self.next().await {
            all.push(answer);
        }
        all
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketId, Result<R, AckError>)>> {
        loop {
            let mut place = 0;
            while let Some(gathering) = self.gatherings.get_mut(place) {
                match gathering.poll_next(cx) {
                    Poll::Ready(Some((member, answer))) => {
                        let answer = AckError::judge(answer, self.event_bytes_max);
                        return Poll::Ready(Some((member, answer)));
                    }
                    Poll::Ready(None) => drop(self.gatherings.swap_remove(place)),
                    Poll::Pending => place += 1,
                }
            }
            if self.gatherings.is_empty() {
                let timeout = Err(AckError::Timeout { after: self.after });
                return Poll::Ready(self.late.pop().map(|member| (member, timeout)));
            }
            let until = self.until;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(deadline.as_mut().poll(cx));
            self.late = self.gatherings.iter_mut().flat_map(Gathering::give_up).collect();
        }
    }
}

impl<R: DeserializeOwned> Stream for Answers<R> {
    type Item = (SocketId, Result<R, AckError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<R> std::fmt::Debug for Answers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("fanout", &self.fanout).finish_non_exhaustive()
    }
}
