//! Awaiting one event of a socket.

use super::own::Served;
use super::{Socket, WaitError, moment_after};
use crate::protocol::{DisconnectReason, Event};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

/// The next event of one name, to be awaited: see [`Socket::once`].
///
/// # Errors
/// [`WaitError`]: no such event in time, a name that no event can have, or the socket's end.
///
/// # Cancel safety
/// An event that has come and was not taken is handled by whoever else listens, as if nobody had
/// awaited it.
#[must_use = "it waits for nothing until it is awaited"]
#[derive(Debug)]
pub struct Once<'a> {
    pub(super) socket: &'a Socket,
    pub(super) name: &'a str,
    pub(super) timeout: Option<Duration>,
}

impl<'a> Once<'a> {
    pub(crate) fn into_parts(self) -> (&'a Socket, &'a str) {
        (self.socket, self.name)
    }

    /// Another deadline than `Config::ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl IntoFuture for Once<'_> {
    type Output = Result<Event, WaitError>;
    type IntoFuture = Waiting;

    /// From here on the event is awaited, also before the first poll.
    fn into_future(self) -> Waiting {
        let after = self.timeout.unwrap_or(self.socket.session().ack_timeout);
        let socket = self.socket.clone();
        let awaited = socket.wait_for(self.name);
        Waiting {
            socket,
            awaited: Some(awaited),
            after,
            until: moment_after(after),
            deadline: None,
        }
    }
}

/// The future of a [`Once`].
#[must_use = "futures do nothing unless polled"]
pub struct Waiting {
    socket: Socket,
    awaited: Option<Result<(u64, oneshot::Receiver<Served>), WaitError>>,
    after: Duration,
    until: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Future for Waiting {
    type Output = Result<Event, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.awaited.take().expect("polled after it was ready") {
            Err(error) => return Poll::Ready(Err(error)),
            Ok((number, mut served)) => {
                if let Poll::Ready(served) = Pin::new(&mut served).poll(cx) {
                    return Poll::Ready(served.map(Served::take).map_err(|_| this.closed()));
                }
                this.awaited = Some(Ok((number, served)));
            }
        }
        let (after, until) = (this.after, this.until);
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(WaitError::Timeout { after }))
    }
}

impl Waiting {
    fn closed(&self) -> WaitError {
        WaitError::Closed { reason: self.socket.ended().unwrap_or(DisconnectReason::Closed) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(Ok((number, _))) = &self.awaited {
            self.socket.forget_wait(*number);
        }
    }
}
