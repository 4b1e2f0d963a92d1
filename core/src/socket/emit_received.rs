//! Emitting, and waiting until the peer has it.

use super::core::{SessionCore, moment_after};
use super::emit::Offer;
use super::layered::Layered;
use super::{Accepting, Emit, EmitError, Level, ReceiptError};
use crate::protocol::{Encoded, ToPayload};
use crate::room::Fate;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

/// An emit that waits until the peer's session has the event.
///
/// # Errors
/// [`ReceiptError`]. After `Timeout` and `InDoubt` the peer may have it all the same.
///
/// # Cancel safety
/// Dropping the future before the event is accepted withdraws it; afterwards it means that nobody
/// is interested any more.
#[must_use = "an emit does nothing until it is awaited"]
#[derive(Debug)]
pub struct EmitReceived<'a, T: ?Sized> {
    emit: Emit<'a, T>,
}

impl<'a, T: ToPayload + ?Sized> EmitReceived<'a, T> {
    pub(super) fn new(emit: Emit<'a, T>) -> Self {
        Self { emit }
    }

    /// Another deadline than `Config::ack_timeout`, counted from the emit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.emit.timeout = Some(timeout);
        self
    }
}

impl<T: ToPayload + ?Sized> IntoFuture for EmitReceived<'_, T> {
    type Output = Result<(), ReceiptError>;
    type IntoFuture = Receiving;

    fn into_future(self) -> Receiving {
        let session = Arc::clone(self.emit.socket.session());
        let after = self.emit.timeout.unwrap_or(session.ack_timeout);
        Receiving(match self.emit.layered(Level::Received) {
            Some(Ok(layered)) => Way::Layered(layered),
            Some(Err(error)) => Way::Bare(Delivering::failed(session, error)),
            None => Way::Bare(match self.emit.pack() {
                Ok((_, packet)) => {
                    let patience = (after, moment_after(after));
                    Delivering::new(session, self.emit.offer(packet), patience)
                }
                Err(error) => Delivering::failed(session, error),
            }),
        })
    }
}

/// The future of an [`EmitReceived`].
#[must_use = "futures do nothing unless polled"]
pub struct Receiving(Way);

enum Way {
    Bare(Delivering),
    Layered(Layered),
}

impl Future for Receiving {
    type Output = Result<(), ReceiptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Bare(delivering) => delivering.poll(cx),
            Way::Layered(layered) => {
                let (result, elapsed) = (ready!(layered.poll(cx)), layered.elapsed());
                let received = result.map(|_| ());
                Poll::Ready(received.or_else(|error| ReceiptError::of_layers(error, elapsed)))
            }
        }
    }
}

/// An event that is accepted and then received.
pub(super) struct Delivering {
    session: Arc<SessionCore>,
    accepting: Option<Accepting>,
    /// The event is kept, because by it the receipt is found.
    receipt: Option<(Encoded, oneshot::Receiver<Fate>)>,
    after: Duration,
    /// Counted from the emit, whatever of it acceptance took.
    until: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Delivering {
    /// Ready when the peer has the event, or it is known why it has not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReceiptError>> {
        let this = self;
        if let Some(accepting) = &mut this.accepting {
            let accepted = ready!(Pin::new(accepting).poll(cx));
            this.accepting = None;
            accepted?;
        }
        let receipt = this.receipt.as_mut().map(|(_, receipt)| Pin::new(receipt).poll(cx));
        if let Some(Poll::Ready(fate)) = receipt {
            this.forget();
            return Poll::Ready(match fate {
                Ok(Fate::Lost(reason)) => Err(ReceiptError::Lost { reason }),
                Ok(Fate::Received) => Ok(()),
                // The session has ended.
                Ok(_) | Err(_) => Err(ReceiptError::InDoubt),
            });
        }
        let (after, until) = (this.after, this.until);
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(ReceiptError::Timeout { after }))
    }

    /// Waited for as long as is said, and until then.
    pub(super) fn new(
        session: Arc<SessionCore>,
        offer: Offer,
        (after, until): (Duration, Instant),
    ) -> Self {
        let encoded = offer.encoded.clone();
        // Before it is written, so that no position is too early.
        let received = session.mailbox.expect_receipt(&encoded);
        let (accepting, receipt) = (Some(Accepting::of(Ok(offer))), Some((encoded, received)));
        Self { session, accepting, receipt, after, until, deadline: None }
    }

    fn failed(session: Arc<SessionCore>, error: EmitError) -> Self {
        let (accepting, after) = (Some(Accepting::of(Err(error))), Duration::ZERO);
        Self { session, accepting, receipt: None, after, until: Instant::now(), deadline: None }
    }

    /// Whether the event has been accepted, so that it only waits for the receipt.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepting.is_none()
    }

    /// Waits on, for as long as is said, and until then.
    pub(super) fn renew(&mut self, (after, until): (Duration, Instant)) {
        (self.after, self.until, self.deadline) = (after, until, None);
    }

    fn forget(&mut self) {
        if let Some((encoded, _)) = self.receipt.take() {
            self.session.mailbox.forget_receipt(&encoded);
        }
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.forget();
    }
}
