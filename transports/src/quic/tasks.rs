//! The tasks that quinn runs for a client's own endpoint, and how they end early.
//!
//! A connection that is closed stays for three times its probe timeout, to answer whatever is still
//! on its way (RFC 9000 §10.2). Before there was an answer that is seconds, and an attempt that was
//! given up would keep its socket so long; so its task says goodbye and ends.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A runtime for one endpoint that connects once.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    given_up: Arc<GivenUp>,
    has_endpoint: AtomicBool,
}

impl Tasks {
    /// Ends the connection's task when it is told so.
    pub(super) fn given_up(&self) -> Arc<GivenUp> {
        Arc::clone(&self.given_up)
    }
}

impl Runtime for Tasks {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Task) {
        // The first task is the endpoint's own: it ends when no connection is left.
        if !self.has_endpoint.swap(true, Ordering::Relaxed) {
            tokio::spawn(future);
        } else {
            tokio::spawn(Until { future, given_up: self.given_up() });
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// That a connection was given up before it was one.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl GivenUp {
    /// The connection is closed by now, and has perhaps not said so yet.
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A task that runs once more, and no further, after it was given up.
struct Until {
    future: Task,
    given_up: Arc<GivenUp>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let waker = &mut *self.given_up.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        let is_last = self.given_up.is_set.load(Ordering::Acquire);
        let polled = self.future.as_mut().poll(cx);
        if is_last { Poll::Ready(()) } else { polled }
    }
}
