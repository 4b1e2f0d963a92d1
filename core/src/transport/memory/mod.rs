//! The wire without a network: both ends live in one process.
//!
//! | file | holds |
//! | --- | --- |
//! | `wire.rs` | [`Memory`] and its listener |
//! | `connection.rs` | one end of a connection |
//! | `registry.rs` | which names are bound |
//! | `pipe.rs` | one direction: a bounded queue of frames and its two halves |
//!
//! There is no task, timer or thread in here: what happens depends on who polls when.

mod connection;
mod pipe;
mod registry;
mod wire;

pub(super) use pipe::cost_bytes;
pub use wire::Memory;
