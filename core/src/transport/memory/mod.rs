//! The wire without a network: both ends live in one process.
//!
//! | file | holds |
//! | --- | --- |
//! | `wire.rs` | [`Memory`] and its listener |
//! | `connection.rs` | one end of a connection |
//! | `registry.rs` | which names are bound |
//! | `pipe.rs` | one direction: a bounded queue of frames and its two halves |
//! | `faults.rs` | [`Faults`]: what goes wrong, and how often |
//! | `lossy.rs` | the writing half that lets it go wrong |
//!
//! There is no task, timer or thread in here: what happens depends on who polls when, and on seeds.

mod connection;
mod faults;
mod lossy;
mod pipe;
mod registry;
mod wire;

pub use faults::Faults;
pub use wire::Memory;
