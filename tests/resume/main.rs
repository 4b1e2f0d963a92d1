//! A session outlives its connection: nothing is lost, doubled or out of order, over any number of
//! links and over any wires. What has no wire of its own runs in memory, on a clock that moves only
//! when nothing else can.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bounds;
mod doors;
mod fates;
mod flow;
mod holes;
mod hops;
mod house;
mod links;
mod race;
mod restart;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod takeover;

use emitwire::{
    AckError, Client, Config, Data, DisconnectReason, EmitError, Endpoint, Fate, LossReason, Lost,
    Memory, Missed, Namespace, Outcome, ReceiptError, Server, SlowPolicy, Socket,
};
use stage::{Diary, Stage, becomes, fresh_name, settle};
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;
