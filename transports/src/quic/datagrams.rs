//! Reading datagrams by polling.

use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The datagrams of a connection, one after another.
///
/// quinn has a future for each, which forgets its waker when it is dropped; so one is kept for as
/// long as it waits, and the next is put in its place.
pub(super) struct Datagrams(Box<dyn Source>);

impl Datagrams {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        let next = move || {
            let connection = connection.clone();
            async move { connection.read_datagram().await.ok() }
        };
        Self(Box::new(Next { future: Box::pin(next()), next }))
    }

    /// The next datagram; `None` when the connection has ended and none is left of it.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_next(cx)
    }
}

trait Source: Send {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

struct Next<F, N> {
    future: Pin<Box<F>>,
    next: N,
}

impl<F, N> Source for Next<F, N>
where
    F: Future<Output = Option<Bytes>> + Send,
    N: Fn() -> F + Send,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let datagram = ready!(self.future.as_mut().poll(cx));
        self.future.set((self.next)());
        Poll::Ready(datagram)
    }
}
