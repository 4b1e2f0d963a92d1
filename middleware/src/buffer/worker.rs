//! Who sends what is kept for one peer.

use super::queue::{Next, Queue};
use crate::Call;
use emitwire_core::socket::{Ack, BoxError, Envelope};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// An event on its way.
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) envelope: Envelope,
    pub(super) call: Call,
}

/// Sends what is kept for one peer, for as long as something is. Events go out one after another,
/// and do not wait for each other's receipts.
pub(super) struct Worker {
    queue: Arc<Queue>,
    /// Those that a mailbox has.
    accepted: JoinSet<(u64, Result<Ack, BoxError>)>,
    /// The one that is to be accepted before the next goes out.
    first: Option<Flight>,
    is_done: bool,
}

/// What a poll came to.
enum Step {
    Done,
    Wait(Option<Instant>),
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, accepted: JoinSet::new(), first: None, is_done: false }
    }

    pub(super) async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let mut changed = pin!(queue.changed.notified());
            let is_done = poll_fn(|cx| {
                let until = match self.poll(cx) {
                    Step::Done => return Poll::Ready(true),
                    Step::Wait(until) => until,
                };
                if changed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                let Some(until) = until else { return Poll::Pending };
                if timer.deadline() != until {
                    timer.as_mut().reset(until);
                }
                timer.as_mut().poll(cx).map(|()| false)
            })
            .await;
            if is_done {
                // Another one may work by now.
                self.is_done = true;
                return;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            while let Poll::Ready(Some(landed)) = self.accepted.poll_join_next(cx) {
                // None is aborted, and a panic is a result.
                if let Ok((number, result)) = landed {
                    self.queue.settle(number, result);
                }
            }
            // One that has made way meanwhile is withdrawn.
            let first = self.first.take().filter(|flight| self.queue.is_out(flight.number));
            if let Some(mut flight) = first {
                match Pin::new(&mut flight).poll(cx) {
                    Poll::Ready((number, result)) => self.queue.settle(number, result),
                    Poll::Pending if flight.envelope.is_accepted() => {
                        let number = flight.number;
                        self.queue.accepted(number, self.accepted.spawn(flight));
                    }
                    Poll::Pending => {
                        let expiry = self.queue.expire();
                        if self.queue.is_out(flight.number) {
                            self.first = Some(flight);
                            return Step::Wait(expiry);
                        }
                    }
                }
                continue;
            }
            match self.queue.next(self.accepted.is_empty()) {
                Next::Send(flight) => self.first = Some(flight),
                Next::Wait(until) => return Step::Wait(until),
                Next::Done => return Step::Done,
            }
        }
    }
}

/// Whatever ends it, the next event finds that nobody works.
impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.stop();
        }
    }
}

impl Future for Flight {
    type Output = (u64, Result<Ack, BoxError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        // What a layer does is not to end those of other events.
        match catch_unwind(AssertUnwindSafe(|| self.call.as_mut().poll(cx))) {
            Ok(polled) => polled.map(|result| (number, result)),
            Err(_) => Poll::Ready((number, Err("a layer panicked".into()))),
        }
    }
}
