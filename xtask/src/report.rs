//! How the suite talks: one aligned line for each step, and a sign of life while one runs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::step::Step;

#[derive(Clone, Copy)]
pub(crate) enum Mark {
    Passed,
    /// Passed, but over its budget.
    Slow,
    /// Did not run, and need not have.
    Skipped,
    Failed,
}

/// A line of the report; `spent` is `None` for a step that did not run.
pub(crate) fn line(mark: Mark, step: &Step, spent: Option<Duration>) -> String {
    let mark = match mark {
        Mark::Passed => "ok",
        Mark::Slow => "SLOW",
        Mark::Skipped => "skip",
        Mark::Failed => "FAIL",
    };
    let budget = step.budget;
    let times = spent.map_or(String::new(), |spent| {
        format!("{:6.1} s of {:3} s", spent.as_secs_f32(), budget.as_secs())
    });
    let over = if spent > Some(budget) { "over its budget  " } else { "" };
    let line = format!("  {mark:<4}  {:<9} {times:<17}  {over}{}", step.name, step.note);
    line.trim_end().to_owned()
}

/// Shows that a step is at work: on a terminal by a line that counts the seconds, elsewhere by a
/// new line every half minute, so that a log stays short and no CI takes silence for death.
pub(crate) struct Progress<'a> {
    step: &'a Step,
    in_place: bool,
    every: Duration,
    next: Duration,
}

impl<'a> Progress<'a> {
    /// With `live` output a line cannot be rewritten: it would no longer be the last.
    pub(crate) fn new(step: &'a Step, live: bool) -> Self {
        let in_place = !live && io::stdout().is_terminal();
        let every = Duration::from_secs(if in_place { 1 } else { 30 });
        Self { step, in_place, every, next: every }
    }

    /// To be called often, with the time since the step began.
    pub(crate) fn tick(&mut self, elapsed: Duration) {
        if elapsed < self.next {
            return;
        }
        let line = format!("  {:<4}  {:<9} {:4}   s", "…", self.step.name, elapsed.as_secs());
        if self.in_place {
            print!("\r{line}");
            // Only looks depend on it.
            let _ = io::stdout().flush();
        } else {
            println!("{line}");
        }
        self.next = elapsed + self.every;
    }

    /// Leaves the line to what comes next.
    pub(crate) fn clear(&self) {
        if self.in_place {
            print!("\r{:30}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Mark, Step, line};

    #[test]
    fn lines_of_a_report_are_aligned() {
        let step = Step::new("clippy", 60, Vec::new()).note("a note");
        let (short, long) = (Duration::from_millis(1_230), Duration::from_secs(61));
        let lines = [
            line(Mark::Passed, &step, Some(short)),
            line(Mark::Slow, &step, Some(long)),
            line(Mark::Skipped, &step, None),
        ];
        let expected = [
            "  ok    clippy       1.2 s of  60 s  a note",
            "  SLOW  clippy      61.0 s of  60 s  over its budget  a note",
            "  skip  clippy                       a note",
        ];
        assert_eq!(lines, expected);
    }
}
