//! **The conformance kit**: one suite for any [`Transport`](super::Transport), ours or yours, that
//! reads what its connections declare and tries to break each promise.
//!
//! It needs the feature `conformance`, and belongs into tests.
//!
//! | file | holds |
//! | --- | --- |
//! | `suite.rs` | [`Conformance`]: the suite and its options |
//! | `report.rs` | [`Report`], [`Checked`], [`Outcome`], [`Failures`]: what came out |
//! | `breach.rs` | [`Breach`]: what a wire did instead of what it promised |
//! | `check.rs`, `checks/` | what a check is, and all of them, by what they try to break |
//! | `runner.rs` | runs one check: its thread, its runtime, its deadline |
//! | `stage.rs` | what a check has at hand: addresses, connections, options |
//! | `log.rs` | what it says of itself while it runs |
//! | `end.rs` | one end of a connection, whose halves are held to the port's contract |
//! | `carry.rs` | frames from one end to another, once or until they arrive |
//! | `echo.rs` | a server that gives every frame back |
//! | `descriptors.rs` | how many descriptors are open |
//! | `bodies.rs` | bodies that follow from a number, and what may become of them |
//!
//! What it cannot see it does not judge:
//!
//! - whether an `encrypted` wire is;
//! - how much memory a half holds while the wire is idle;
//! - whether a read takes a bounded amount per call;
//! - whether the kind and the class of a frame travel, which the port does not promise.

mod bodies;
mod breach;
mod carry;
mod check;
mod checks;
mod descriptors;
mod echo;
mod end;
mod log;
mod report;
mod runner;
mod stage;
mod suite;

pub use breach::Breach;
pub use report::{Checked, Failures, Outcome, Report};
pub use suite::Conformance;
