//! The table of docs/GUARANTEES.md, cell by cell: on each wire each stack of layers is put through
//! cuts, the end of its session, handlers that fail, and servers that are killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
mod support;

mod books;
mod cell;
mod each;
mod house;
mod limits;
mod mem;
mod others;
mod peers;
mod rooms;
mod storm;
mod tcp;
mod ws;
