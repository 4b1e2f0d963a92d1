//! What came out of a suite.

use super::breach::Breach;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// The checks that ran, in their order, each with its outcome.
///
/// It displays as a list to be read by a person.
#[derive(Debug)]
pub struct Report {
    checked: Vec<Checked>,
}

impl Report {
    pub(super) fn new(checked: Vec<Checked>) -> Self {
        Self { checked }
    }

    /// Every check that ran.
    #[must_use]
    pub fn checked(&self) -> &[Checked] {
        &self.checked
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Checked> {
        self.checked.iter().filter(|checked| checked.is_broken())
    }

    pub(super) fn into_result(self) -> Result<Self, Failures> {
        if self.failed().next().is_none() { Ok(self) } else { Err(Failures(self)) }
    }

    fn count(&self, wanted: fn(&Outcome) -> bool) -> usize {
        self.checked.iter().filter(|checked| wanted(&checked.outcome)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.count(|outcome| matches!(outcome, Outcome::Kept { .. }));
        let not_asked = self.count(|outcome| matches!(outcome, Outcome::NotAsked { .. }));
        let broken = self.failed().count();
        let all = self.checked.len();
        write!(f, "{all} checks: {kept} kept, {not_asked} not asked, {broken} broken")?;
        // What is broken first: that is what a reader came for.
        let rest = self.checked.iter().filter(|checked| !checked.is_broken());
        for checked in self.failed().chain(rest) {
            write!(f, "\n{checked}")?;
        }
        Ok(())
    }
}

/// The report of a suite in which a check failed. `Debug` shows what `Display` does, so that
/// `unwrap` in a test prints a list that can be read.
#[derive(Error)]
#[error("{0}")]
pub struct Failures(Report);

impl Failures {
    /// The whole report, with what was kept too.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One check that ran.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// What it asks for, as a sentence.
    pub name: String,
    /// How long it took.
    pub elapsed: Duration,
    /// What came out.
    pub outcome: Outcome,
}

impl Checked {
    pub(super) fn new(name: &str, elapsed: Duration, outcome: Outcome) -> Self {
        Self { name: name.to_owned(), elapsed, outcome }
    }

    /// Whether the wire broke its promise.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.breach().is_some()
    }

    /// What it did instead.
    #[must_use]
    pub fn breach(&self) -> Option<&Breach> {
        match &self.outcome {
            Outcome::Broken { breach } => Some(breach),
            _ => None,
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, elapsed, .. } = self;
        let millis = elapsed.as_millis();
        match &self.outcome {
            Outcome::Kept { notes } => {
                write!(f, "  kept ({millis} ms): {name}")?;
                notes.iter().try_for_each(|note| write!(f, "\n    note: {note}"))
            }
            Outcome::NotAsked { because } => write!(f, "  not asked: {name}\n    {because}"),
            Outcome::Broken { breach } => {
                write!(f, "  BROKEN ({millis} ms): {name}\n    {breach}")?;
                let mut cause = breach.source();
                while let Some(error) = cause {
                    write!(f, "\n    because {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

/// What came out of one check.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The wire kept its promise.
    Kept {
        /// What was scaled down or left out, such as a count for which descriptors are missing.
        notes: Vec<String>,
    },
    /// The wire does not promise it.
    NotAsked {
        /// What it lacks.
        because: String,
    },
    /// The wire broke it.
    Broken {
        /// How.
        breach: Breach,
    },
}
