//! Delivery policy for emitwire, as tower layers.
//!
//! Mechanism (numbers, positions, windows) is the core's; how long, how often, how many and what
//! on failure is decided here. Each layer is a type with the same four parts: layer, service,
//! future, error.

mod trace;

pub use trace::{Trace, TraceFuture, TraceService};
