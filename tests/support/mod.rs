//! What the suites share: deadlines, servers by wire, futures that run side by side, raw peers,
//! and a chat that goes on while something else happens.

#![allow(dead_code, unused_imports, reason = "no suite uses all of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

pub(crate) mod chat;
pub(crate) mod raw;
mod wires;

pub(crate) use wires::{all_wires, endpoint, fresh, fresh_mem, trust, wires};

use emitwire::{Broadcast, Client, Listening, Namespace, RoomName, Server, Session, SocketId};
use std::fmt::Debug;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long any single wait may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// How often [`becomes`] looks. Counters wake nobody, so somebody has to look.
const LOOK: Duration = Duration::from_millis(2);

/// Awaits with a deadline, and says where when it passes.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    let future = future.into_future();
    async move {
        let ended = tokio::time::timeout(DEADLINE, future).await;
        ended.unwrap_or_else(|_| panic!("nothing within {DEADLINE:?} at {place}"))
    }
}

/// Waits until `what` is as wanted; at the deadline says what it was instead.
#[track_caller]
pub(crate) fn becomes<T: PartialEq + Debug>(
    mut what: impl FnMut() -> T,
    wanted: T,
) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let now = what();
            if now == wanted {
                return;
            }
            let late = tokio::time::Instant::now() >= deadline;
            assert!(!late, "still {now:?} instead of {wanted:?} at {place}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Runs all of them side by side; the results come in the order given. The futures are first
/// polled in that order too.
pub(crate) async fn all<F: IntoFuture>(
    futures: impl IntoIterator<Item = F>,
) -> Vec<<F::IntoFuture as Future>::Output> {
    let mut running: Vec<_> =
        futures.into_iter().map(|future| Running::Yet(Box::pin(future.into_future()))).collect();
    poll_fn(|cx| {
        let mut ready = true;
        for place in &mut running {
            if let Running::Yet(future) = place {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *place = Running::Done(output),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = running.into_iter().map(|place| match place {
        Running::Done(output) => output,
        Running::Yet(_) => unreachable!("all are ready"),
    });
    done.collect()
}

enum Running<F: Future> {
    Yet(Pin<Box<F>>),
    Done(F::Output),
}

/// Polls once, as somebody does who then loses interest.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The sockets of a selection; the adapter of one process answers at once.
pub(crate) fn sockets(selection: &Broadcast) -> Vec<SocketId> {
    at_once(selection.sockets()).unwrap()
}

/// The rooms of a selection's sockets, with their sizes.
pub(crate) fn rooms(selection: &Broadcast) -> Vec<(RoomName, usize)> {
    at_once(selection.rooms()).unwrap()
}

/// What is ready at its first poll.
#[track_caller]
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

pub(crate) async fn listen(server: &Server, url: &str) -> Listening {
    within(server.listen(endpoint(url))).await.unwrap()
}

pub(crate) async fn connect(url: &str, namespace: Namespace) -> Session {
    within(Client::new(endpoint(url)).mount(namespace).connect()).await.unwrap()
}

/// A server of one namespace on a fresh name in memory, and its address.
pub(crate) async fn serve(namespace: Namespace) -> (Server, String) {
    let server = Server::new().mount(namespace).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    (server, url)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// xorshift64* (Vigna 2016).
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.roll() >> 56) as u8).collect()
    }
}
