//! The answers to an event that was emitted to many.

use super::broadcast::EmitBroadcast;
use super::layered::Layered;
use super::{AckError, EmitError, moment_after};
use crate::protocol::{SocketId, ToPayload};
use crate::room::{Answer, Fanout, Gathering};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture, Ready, poll_fn, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
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
/// It is done as soon as it is awaited; dropping it then loses interest in the answers. Behind
/// layers it is done when these let it through, and dropped before that it is withdrawn.
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
    type IntoFuture = Asked<R>;

    fn into_future(self) -> Asked<R> {
        let way = match self.emit.send_for_answers() {
            Ok(gathered) if gathered.is_layered() => Way::Layered(Box::pin(gathered.sent())),
            gathered => Way::Bare(cooperative(ready(gathered))),
        };
        Asked { way, decoded: PhantomData }
    }
}

/// The future of an [`EmitBroadcastWithAck`]: ready when the event has been sent.
#[must_use = "futures do nothing unless polled"]
pub struct Asked<R> {
    way: Way,
    decoded: PhantomData<fn() -> R>,
}

enum Way {
    /// Done. A loop that only broadcasts lets others run now and then.
    Bare(Coop<Ready<Result<Gathered, EmitError>>>),
    Layered(Pin<Box<dyn Future<Output = Result<Gathered, EmitError>> + Send>>),
}

impl<R> Future for Asked<R> {
    type Output = Result<Answers<R>, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gathered = ready!(match &mut self.way {
            Way::Bare(sent) => Pin::new(sent).poll(cx),
            Way::Layered(sent) => sent.as_mut().poll(cx),
        });
        Poll::Ready(gathered.map(|gathered| Answers { gathered, decoded: PhantomData }))
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
    gathered: Gathered,
    decoded: PhantomData<fn() -> R>,
}

impl<R> Answers<R> {
    /// How many mailboxes took the event.
    #[must_use]
    pub fn fanout(&self) -> Fanout {
        self.gathered.fanout
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
        let next = ready!(self.gathered.poll(cx));
        Poll::Ready(next.map(|(member, answer)| {
            let max = self.gathered.event_bytes_max;
            (member, answer.and_then(|answer| AckError::judge(answer, max)))
        }))
    }
}

/// What a member has said, or why it has said nothing.
type Said = (SocketId, Result<Answer, AckError>);

/// The answers, as they are.
pub(super) struct Gathered {
    /// Of one namespace, or of several that a pattern has brought about; each with what is still
    /// on its way through layers.
    namespaces: Vec<(Gathering, Option<Layered>)>,
    fanout: Fanout,
    event_bytes_max: usize,
    began: Instant,
    after: Option<Duration>,
    /// Layers have deadlines of their own.
    until: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
    late: Vec<SocketId>,
}

impl Gathered {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        let (namespaces, fanout) = (Vec::new(), Fanout::default());
        let (deadline, late) = (None, Vec::new());
        let (began, until) = (Instant::now(), timeout.map(moment_after));
        let event_bytes_max = 0;
        Self { namespaces, fanout, event_bytes_max, began, after: timeout, until, deadline, late }
    }

    /// A namespace whose members have been asked, and are to answer within `after`.
    pub(super) fn add(
        &mut self,
        gathering: Option<Gathering>,
        fanout: Fanout,
        after: Duration,
        event_bytes_max: usize,
    ) {
        self.namespaces.extend(gathering.map(|gathering| (gathering, None)));
        self.fanout = [self.fanout, fanout].into_iter().sum();
        self.until.get_or_insert_with(|| moment_after(after));
        self.after = Some(after);
        self.event_bytes_max = event_bytes_max;
    }

    /// A namespace whose members layers will ask.
    pub(super) fn add_layered(
        &mut self,
        gathering: Gathering,
        layered: Layered,
        event_bytes_max: usize,
    ) {
        self.namespaces.push((gathering, Some(layered)));
        self.event_bytes_max = event_bytes_max;
    }

    fn is_layered(&self) -> bool {
        self.namespaces.iter().any(|(_, layered)| layered.is_some())
    }

    /// Waits until the layers have let it through.
    async fn sent(mut self) -> Result<Self, EmitError> {
        let layered = self.namespaces.iter().filter_map(|(_, way)| way.as_ref());
        let attempts: Vec<_> = layered.map(|it| Arc::clone(it.attempts())).collect();
        poll_fn(|cx| self.poll_sent(cx)).await?;
        let fanouts = attempts.iter().filter_map(|attempts| attempts.fanout());
        self.fanout = fanouts.chain([self.fanout]).sum();
        Ok(self)
    }

    /// All go on beside each other: one may wait for what another holds.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EmitError>> {
        let mut all = true;
        for (gathering, way) in &mut self.namespaces {
            let Some(layered) = way else { continue };
            match layered.poll(cx) {
                Poll::Ready(Err(error)) if layered.attempts().fanout().is_none() => {
                    return Poll::Ready(Err(EmitError::of_layers(error)));
                }
                Poll::Ready(_) => {
                    *way = None;
                    self.late.extend(gathering.give_up());
                }
                Poll::Pending => all &= layered.attempts().poll_sent(cx).is_ready(),
            }
        }
        if all { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        loop {
            let mut place = 0;
            while let Some((gathering, way)) = self.namespaces.get_mut(place) {
                if way.as_mut().is_some_and(|layered| layered.poll(cx).is_ready()) {
                    *way = None;
                    self.late.extend(gathering.give_up());
                }
                match gathering.poll_next(cx) {
                    Poll::Ready(Some((member, answer))) => {
                        return Poll::Ready(Some((member, Ok(answer))));
                    }
                    Poll::Ready(None) => drop(self.namespaces.swap_remove(place)),
                    Poll::Pending => place += 1,
                }
            }
            if self.namespaces.is_empty() {
                let after = self.after.unwrap_or_else(|| self.began.elapsed());
                let timeout = Err(AckError::Timeout { after });
                return Poll::Ready(self.late.pop().map(|member| (member, timeout)));
            }
            let Some(until) = self.until else { return Poll::Pending };
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(deadline.as_mut().poll(cx));
            for (gathering, way) in &mut self.namespaces {
                *way = None;
                self.late.extend(gathering.give_up());
            }
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
        f.debug_struct("Answers").field("fanout", &self.fanout()).finish_non_exhaustive()
    }
}
