//! A wire made worse on purpose: each fault does what it says and only that, the same way for the
//! same seed, on a clock that only moves when nothing else can.
//!
//! | file | holds |
//! | --- | --- |
//! | `faultless.rs` | a wire without faults is as it was |
//! | `chance.rs` | what chance does to frames, from the seed |
//! | `time.rs` | delay, jitter and rate |
//! | `cuts.rs` | cables that are cut and healed |
//! | `pace.rs` | slow readers, and how much may be under way |
//! | `ends.rs` | how connections end, and what becomes of what was under way |
//! | `inner.rs` | what the wire inside says, and what it owes |
//! | `tasks.rs` | the task of a connection ends with what it serves |
//! | `datagrams.rs` | wires that are made lossy |
//! | `whole.rs` | sessions on wires that go wrong |
//! | `support.rs`, `wires.rs` | the ends of a connection, and inner wires that do as told |

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod chance;
mod cuts;
mod datagrams;
mod ends;
mod faultless;
mod inner;
mod pace;
mod support;
mod tasks;
mod time;
mod whole;
mod wires;
