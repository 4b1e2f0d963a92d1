//! The whole API, verb by verb, in memory and on a clock that moves only when nothing else can.
//! What a wire could change about it is in `tests/cheatsheet`, over all of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod authorization;
mod awaiting;
mod concurrency;
mod connector;
mod counting;
mod emitting;
mod in_line;
mod listeners;
mod namespaces;
mod overtaking;
mod room_events;
mod state;
mod wires;

use emitwire::testing::{self, Guest, within};
use emitwire::{
    AckError, Client, Config, ConnectError, Data, DisconnectReason, EmitError, Endpoint, Event,
    ListenError, LossReason, MountError, Nak, Namespace, RoomError, RoomName, Server, SlowPolicy,
    Socket, Unhandled, WaitError,
};
use std::future::{IntoFuture, pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

const MOMENT: Duration = Duration::from_millis(100);

/// What was noted, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    /// What was noted since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A server of one namespace, a guest in it, and the guest's socket on the server.
async fn one(namespace: Namespace) -> (Server, Guest, Socket) {
    one_with(Config::default(), namespace).await
}

async fn one_with(config: Config, namespace: Namespace) -> (Server, Guest, Socket) {
    let path = namespace.path().to_owned();
    let server = Server::with_config(config).mount(namespace).unwrap();
    let guest = testing::connect(&server, &path).await;
    let socket = server.socket(&path, guest.id()).unwrap();
    (server, guest, socket)
}

/// Asks for an answer and has it.
async fn ask<T: serde::de::DeserializeOwned>(socket: &Socket, name: &str) -> Result<T, AckError> {
    within(socket.emit(name, &()).ack::<T>()).await
}

/// Waits until it is so. The clock stands still as long as anything else can run.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..10_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it never is so, at {place}");
    }
}
