//! tower layers around events, on their way out and on their way in: which of them see what, what
//! the stock ones mean in each direction, and that nothing is lost where an emit is given up on
//! its way. In memory, on a clock that moves only when nothing else can.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
mod support;

mod broadcasts;
mod deadlines;
mod errors;
mod latest;
mod limits;
mod order;
mod queues;
mod random;
mod retry;
mod sessions;
mod stacks;
mod stage;
mod trying;
mod withdrawn;

use emitwire::{
    Ack, AckError, BoxError, Client, Config, Data, EmitError, Envelope, Event, EventId, Layers,
    Level, LossReason, Nak, Namespace, Pair, ReceiptError, Refusal, Remedy, Server, Session,
    Socket, SocketId, Stack,
};
use stage::{
    Again, Duo, Gate, Log, Stats4, Watch, around, attempts_of, begins, duo, law, raises, refuses,
};
use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{all, becomes, endpoint, fresh_mem, listen, poll_once, within};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
