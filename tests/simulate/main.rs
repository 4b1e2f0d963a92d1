//! Many clients and a server over wires that go wrong, in virtual time, from one seed.
//!
//! Each seed is a world of its own: how many clients, how narrow the bounds, who says what when,
//! which cable breaks. All of it is drawn from the seed, and so are the engine's ids and delays, so
//! that a world can be lived again, step by step. What happens is taken down, and the laws of
//! `check/` are pure functions over that.
//!
//! | file | holds |
//! | --- | --- |
//! | `world.rs` | one world, from its first client to its last |
//! | `plan.rs` | how big it is and where its bounds are |
//! | `actors.rs` | clients and the server, who talk |
//! | `speech.rs` | how something is said |
//! | `ears.rs` | how it is heard |
//! | `trouble.rs` | what goes wrong |
//! | `cables.rs` | a client's wires |
//! | `history.rs` | what happened |
//! | `check/` | the laws |
//! | `coverage.rs` | what has to happen at least once in a batch |
//! | `trace.rs` | a history, to be read and to be compared |
//! | `engine.rs` | links that come and go, and what is counted |
//!
//! `cargo xtask simulate --seeds 300 --from 1` runs a batch. A seed that fails is printed with what
//! happened last and with the command that repeats it.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod actors;
mod batch;
mod cables;
mod chance;
mod check;
mod coverage;
mod ears;
mod engine;
mod history;
mod plan;
mod speech;
mod trace;
mod trouble;
mod world;

#[test]
fn the_same_seed_has_the_same_history() {
    for seed in [3, 4] {
        let [one, other] = [world::run(seed), world::run(seed)];
        let differs = one
            .history
            .iter()
            .zip(&other.history)
            .find(|(one, other)| (one.at, &one.what) != (other.at, &other.what));
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
    }
}

#[test]
fn every_seed_keeps_every_law() {
    batch::run();
}
