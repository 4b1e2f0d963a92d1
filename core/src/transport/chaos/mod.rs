//! Any wire, made worse on purpose: seeded, by direction, and changeable while it runs.
//!
//! | file | holds |
//! | --- | --- |
//! | `wire.rs` | [`Chaos`]: the wrapped transport, its listener, and the handle on faults |
//! | `faults.rs` | [`Faults`] and [`Direction`]: what goes wrong, how often, and where |
//! | `dice.rs` | what becomes of each frame, from the seed |
//! | `bucket.rs` | when so many bytes have passed at such a rate |
//! | `line.rs` | one direction: frames under way, each with the time at which it arrives |
//! | `link.rs` | one wrapped connection: both lines, the inner halves, and how it stands |
//! | `halves.rs` | the two halves that the wrapped end holds |
//! | `outlet.rs` | the inner writing half, with the frames that it has not taken yet |
//! | `pump.rs` | the one task of a connection: writes what has arrived to the inner wire |
//! | `settings.rs` | how a wire is, for good and at this moment |
//! | `control.rs` | which links those settings hold for |
//! | `counters.rs` | [`ChaosStats`]: what became of frames |
//!
//! What comes in is read by whoever polls, through its own line, so reading needs no task and no
//! frame is ever read under a limit that holds no more. What goes out needs one, because nobody
//! polls a writing half when a frame's time has come.

mod bucket;
mod control;
mod counters;
mod dice;
mod faults;
mod halves;
mod line;
mod link;
mod outlet;
mod pump;
mod settings;
mod wire;

pub use counters::ChaosStats;
pub use faults::{Direction, Faults};
pub use wire::Chaos;
