//! What is promised is kept: in order, exactly once, with a fate for everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
mod support;

use emitwire::protocol::{CloseCode, Drain, Packet, Position};
use emitwire::{
    AckError, Client, Config, ConnectError, Data, DisconnectReason, EmitError, Event, Nak,
    Namespace, NamespaceError, RoomError, Server, Session, Socket, SocketId, Unhandled,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::raw::{self, RawPeer};
use support::{
    all, all_wires, at_once, becomes, connect, endpoint, fresh_mem, listen, poll_once, serve,
    sockets, within,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What one side heard of each peer: the last number, and whatever was out of order.
#[derive(Default)]
struct Tally {
    last: Mutex<HashMap<SocketId, u64>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// The next number of a peer; they begin at one.
    fn hear(&self, peer: SocketId, number: u64) {
        let before = self.last.lock().unwrap().insert(peer, number).unwrap_or(0);
        if number != before + 1 {
            self.faults.lock().unwrap().push(format!("{number} behind {before} of {peer}"));
        }
    }

    #[track_caller]
    fn check(&self, peers: usize, events: u64) {
        assert_eq!(*self.faults.lock().unwrap(), [""; 0]);
        let last = self.last.lock().unwrap();
        assert_eq!(last.len(), peers);
        assert!(last.values().all(|number| *number == events), "{last:?}");
    }
}

/// A gate that handlers wait at.
fn gate() -> (Arc<Semaphore>, impl Fn() -> GateFuture + Clone + Send + Sync + 'static) {
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let pass = move || {
        let gate = Arc::clone(&waits);
        Box::pin(async move { gate.acquire().await.unwrap().forget() }) as GateFuture
    };
    (gate, pass)
}

/// The handler `slow`, which waits at a gate and answers with its number.
fn slow(pass: impl Fn() -> GateFuture + Send + Sync + 'static) -> Namespace {
    Namespace::new("/").on("slow", move |Data(number): Data<u64>| {
        let pass = pass();
        async move {
            pass.await;
            number
        }
    })
}

type GateFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

mod accepting;
mod conservation;
mod end;
mod failure;
mod listeners;
mod namespaces;
mod order;
mod parking;
mod rooms;
