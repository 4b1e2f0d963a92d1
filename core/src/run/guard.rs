//! What stands around every poll of a handler.

use crate::room::turn;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// Every poll is a turn: what a handler emits before it waits is written when it waits.
    pub(super) struct InTurn<F> {
        #[pin]
        future: F,
    }
}

/// See [`InTurn`].
pub(super) fn in_turn<F: Future>(future: F) -> InTurn<F> {
    InTurn { future }
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        turn(|| self.project().future.poll(cx))
    }
}

pin_project! {
    /// Ready with `None` when the future panics. Its state is not looked at again afterwards.
    pub(super) struct CatchPanic<F> {
        #[pin]
        future: F,
    }
}

/// See [`CatchPanic`].
pub(super) fn catch_panic<F: Future>(future: F) -> CatchPanic<F> {
    CatchPanic { future }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.project().future.poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}
