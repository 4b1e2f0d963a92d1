//! What a check is, and what comes out of one.

use super::breach::Breach;
use super::stage::Stage;
use std::pin::Pin;

/// One thing to ask of a wire.
pub(super) struct Check {
    /// What is asked, as a sentence.
    pub(super) name: &'static str,
    pub(super) run: fn(Stage) -> Pin<Box<dyn Future<Output = Verdict>>>,
    pub(super) threads: Threads,
    /// How many of the suite's deadlines it may take.
    pub(super) deadlines: u32,
}

/// What came out, if the wire broke nothing.
pub(super) enum Done {
    Kept,
    /// The wire does not promise it: what it lacks.
    NotAsked(String),
}

impl Done {
    pub(super) fn not_asked(because: impl Into<String>) -> Verdict {
        Ok(Self::NotAsked(because.into()))
    }
}

pub(super) type Verdict = Result<Done, Breach>;

/// What a check runs on. One thread makes it the same every time.
#[derive(Clone, Copy)]
pub(super) enum Threads {
    One,
    Two,
}

impl Check {
    pub(super) const fn new(
        name: &'static str,
        run: fn(Stage) -> Pin<Box<dyn Future<Output = Verdict>>>,
    ) -> Self {
        Self { name, run, threads: Threads::One, deadlines: 1 }
    }

    pub(super) const fn on_two_threads(mut self) -> Self {
        self.threads = Threads::Two;
        self
    }

    pub(super) const fn deadlines(mut self, count: u32) -> Self {
        self.deadlines = count;
        self
    }
}
