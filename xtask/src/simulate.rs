//! `cargo xtask simulate`: the simulation, as many seeds of it as one likes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child;

/// What runs it; the seeds are in the environment.
pub(crate) const LINE: &str = "test --package emitwire --all-features --test simulate -- \
                               --exact every_seed_keeps_every_law --nocapture";

/// How long a seed may take at most, on a slow machine, and what there is besides.
const LIMIT_PER_SEED: Duration = Duration::from_secs(10);
const LIMIT_TO_BUILD: Duration = Duration::from_secs(15 * 60);

/// Which seeds.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) trace: bool,
}

impl Batch {
    pub(crate) fn parse(mut arguments: &[&str]) -> Option<Self> {
        let mut batch = Self { seeds: 300, from: 1, trace: false };
        while !arguments.is_empty() {
            arguments = match arguments {
                ["--seeds", number, rest @ ..] => {
                    batch.seeds = number.parse().ok()?;
                    rest
                }
                ["--from", number, rest @ ..] => {
                    batch.from = number.parse().ok()?;
                    rest
                }
                ["--trace", rest @ ..] => {
                    batch.trace = true;
                    rest
                }
                _ => return None,
            };
        }
        Some(batch)
    }

    /// Runs it with its output as it comes; says whether every law was kept.
    pub(crate) fn run(&self, root: &Path) -> bool {
        let outcome = child::run(self.command(root), self.limit(), true, |_| ());
        if let Some(failure) = &outcome.failure {
            println!("\nthe simulation {failure}");
        }
        outcome.failure.is_none()
    }

    pub(crate) fn command(&self, root: &Path) -> Command {
        let mut command = child::cargo(root);
        command.args(LINE.split_whitespace());
        command.env("EMITWIRE_SEEDS", self.seeds.to_string());
        command.env("EMITWIRE_SEED", self.from.to_string());
        if self.trace {
            command.env("EMITWIRE_TRACE", "1");
        }
        command
    }

    pub(crate) fn limit(&self) -> Duration {
        let seeds = u32::try_from(self.seeds).unwrap_or(u32::MAX);
        LIMIT_PER_SEED.saturating_mul(seeds).saturating_add(LIMIT_TO_BUILD)
    }
}

#[cfg(test)]
mod tests {
    use super::Batch;

    #[test]
    fn seeds_are_read_from_the_arguments() {
        let usual = Batch { seeds: 300, from: 1, trace: false };
        assert_eq!(Batch::parse(&[]), Some(usual));
        let one = Batch { seeds: 1, from: 77, trace: true };
        assert_eq!(Batch::parse(&["--from", "77", "--trace", "--seeds", "1"]), Some(one));
        assert_eq!(Batch::parse(&["--seeds"]), None);
        assert_eq!(Batch::parse(&["--seeds", "-1"]), None);
        assert_eq!(Batch::parse(&["77"]), None);
    }
}
