//! A session outlives its connection: nothing is lost, doubled or out of order, over any number of
//! links and over any wires. In memory, on a clock that moves only when nothing else can.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod links;
mod stage;

use emitwire::Outcome;
use stage::{Stage, settle};
