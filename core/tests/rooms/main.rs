//! Rooms against a naive model, and the mailbox on a wire that takes only what it is told to.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::protocol::{
    Close, CloseCode, Codec, Connect, Credit, Decoder, DisconnectReason, Encoded, EventName,
    EventPacket, EventRef, Frame, Leave, NamespaceNumber, Native, Outbound, Packet, Payload,
    Position, ProtocolError, SocketId,
};
use emitwire_core::room::{
    Adapter, Bounds, Counters, Detached, Fanout, Fate, Flush, LocalAdapter, Mailbox, NotAccepted,
    Outlet, Parcel, Remains, RoomError, RoomName, Selection, Shared, SlowPolicy, Ticket, WireEnd,
};
use emitwire_core::transport::WriteHalf;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const BOUNDS: Bounds = Bounds {
    event_bytes_max: 1000,
    unwritten_bytes_max: 1 << 20,
    unwritten_packets_max: 1 << 20,
    log_bytes_max: 1 << 24,
    log_packets_max: 1 << 20,
    volatile_bytes_max: 1 << 20,
    is_resumable: false,
};
const WINDOW: Credit = Credit { events: 1 << 20, bytes: 1 << 24 };
/// Longer than any of these tests takes on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The same number of cases everywhere, and no files in the tree: what fails is printed whole.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

/// The adapter of one process answers at once.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn sockets(adapter: &LocalAdapter, selection: &Selection) -> Vec<SocketId> {
    ready(adapter.sockets(selection)).unwrap()
}

fn all_rooms(adapter: &LocalAdapter) -> Vec<(RoomName, usize)> {
    ready(adapter.rooms(&Selection::default())).unwrap()
}

/// An event of one byte that nobody answers.
fn parcel(encoded: &Encoded) -> Parcel<'_> {
    Parcel {
        encoded,
        event_bytes: 1,
        namespace: NamespaceNumber(0),
        wants_ack: false,
        latest: None,
    }
}

mod adapter;
mod mailbox;
mod order;
mod policy;
mod rig;

use rig::{
    Half, Rig, Taken, Wakes, Wire, control, event, full, goodbye, leave, mailbox, packet_of_event,
    volatile,
};
