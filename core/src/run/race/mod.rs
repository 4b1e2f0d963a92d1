//! Several wires to one server, as one transport.
//!
//! | file | holds |
//! | --- | --- |
//! | `contest.rs` | [`Race`]: all of them, each with a head start before the next |
//! | `fallback.rs` | [`Fallback`]: one after the other |
//! | `wires.rs` | the list that both have, in the order in which its owner likes them |
//! | `chosen.rs` | a connection that came of such a list, and what its client may say and ask |
//! | `memory.rs` | which wire to begin with next time |
//! | `near.rs` | whether an answer from there is a matter of a few milliseconds |
//!
//! There is no task in here: whoever polls the connecting moves it on, and dropping it drops all
//! that was begun. Who looks for better wires is the client's supervisor (`run/probe.rs`).

mod chosen;
mod contest;
mod fallback;
mod memory;
mod near;
#[cfg(test)]
mod tests;
mod wires;

pub use contest::Race;
pub use fallback::Fallback;
