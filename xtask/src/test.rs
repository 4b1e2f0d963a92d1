//! `cargo xtask test`: takes the steps in order and stops at the first that fails.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::child;
use crate::report::{self, Mark, Progress};
use crate::step::Step;

#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// Nothing may be missing or slow.
    pub(crate) ci: bool,
    /// Output is shown as it comes.
    pub(crate) verbose: bool,
}

/// Whether all went well.
pub(crate) fn run(steps: &[Step], root: &Path, mode: Mode) -> bool {
    let started = Instant::now();
    println!("cargo xtask test: {} steps\n", steps.len());
    let mut skipped = Vec::new();
    for (number, step) in (1..).zip(steps) {
        match take(step, root, mode) {
            Taken::Passed => {}
            Taken::Skipped => skipped.push(step.name),
            Taken::Failed => {
                let seconds = started.elapsed().as_secs();
                println!("\nfailed at step {number}, {}, after {seconds} s", step.name);
                return false;
            }
        }
    }
    println!("\n{}", summary(steps.len(), &skipped, started.elapsed()));
    true
}

#[derive(Debug, PartialEq)]
enum Taken {
    Passed,
    Skipped,
    Failed,
}

fn take(step: &Step, root: &Path, mode: Mode) -> Taken {
    let (mark, taken) = match step.missing {
        Some(tool) if tool.needed_in_ci && mode.ci => (Mark::Failed, Taken::Failed),
        None if !step.tasks.is_empty() => return perform(step, root, mode),
        _ => (Mark::Skipped, Taken::Skipped),
    };
    println!("{}", report::line(mark, step, None));
    taken
}

fn perform(step: &Step, root: &Path, mode: Mode) -> Taken {
    let started = Instant::now();
    let mut progress = Progress::new(step, mode.verbose);
    for task in &step.tasks {
        let before = started.elapsed();
        if mode.verbose {
            println!("$ {task}");
        }
        let tick = |elapsed| progress.tick(before + elapsed);
        let outcome = child::run(task.command(root), task.limit, mode.verbose, tick);
        progress.clear();
        let whole = outcome.failure.is_some() || (mode.ci && step.whole_output_in_ci);
        if whole && !mode.verbose {
            print_whole(&outcome.output);
        }
        if let Some(failure) = outcome.failure {
            println!("{}", report::line(Mark::Failed, step, Some(started.elapsed())));
            println!("\nThe command {failure}. To repeat it:\n\n    {task}");
            return Taken::Failed;
        }
    }
    judge(step, started.elapsed(), mode.ci)
}

fn judge(step: &Step, spent: Duration, ci: bool) -> Taken {
    let (mark, taken) = match (spent > step.budget, ci) {
        (false, _) => (Mark::Passed, Taken::Passed),
        (true, false) => (Mark::Slow, Taken::Passed),
        (true, true) => (Mark::Failed, Taken::Failed),
    };
    println!("{}", report::line(mark, step, Some(spent)));
    taken
}

fn print_whole(output: &[u8]) {
    println!("{}", String::from_utf8_lossy(output).trim_end());
}

fn summary(steps: usize, skipped: &[&str], spent: Duration) -> String {
    let passed = steps - skipped.len();
    let seconds = spent.as_secs();
    if skipped.is_empty() {
        format!("all {passed} steps passed in {seconds} s")
    } else {
        format!("{passed} of {steps} steps passed in {seconds} s; skipped: {}", skipped.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Task;
    use crate::tools::{Tool, Tools};

    const HERE: Mode = mode(false);
    const CI: Mode = mode(true);

    const fn mode(ci: bool) -> Mode {
        let verbose = false;
        Mode { ci, verbose }
    }

    fn step(line: &str) -> Step {
        Step::new("a step", 60, vec![Task::cargo(line)])
    }

    fn take_without(tool: Tool, mode: Mode) -> Taken {
        take(&step("--version").needs(tool), Path::new("."), mode)
    }

    #[test]
    fn over_its_budget_a_step_passes_here_and_fails_in_ci() {
        let step = step("--version");
        let long = step.budget + Duration::from_millis(1);
        assert_eq!(judge(&step, long, false), Taken::Passed);
        assert_eq!(judge(&step, long, true), Taken::Failed);
        assert_eq!(judge(&step, step.budget, true), Taken::Passed);
    }

    #[test]
    fn without_its_tool_a_step_is_skipped_here_and_fails_in_ci_where_ci_needs_it() {
        let Tools { clippy, deny, .. } = Tools::none();
        assert_eq!(take_without(clippy, HERE), Taken::Skipped);
        assert_eq!(take_without(clippy, CI), Taken::Failed);
        assert_eq!(take_without(deny, CI), Taken::Skipped);
    }

    #[test]
    fn a_step_without_anything_to_do_is_skipped_everywhere() {
        let step = Step::new("a step", 60, Vec::new());
        assert_eq!(take(&step, Path::new("."), CI), Taken::Skipped);
    }

    #[test]
    fn one_step_that_fails_fails_the_suite() {
        let root = Path::new(".");
        assert!(run(&[step("--version")], root, HERE));
        assert!(!run(&[step("--version"), step("no-such-command")], root, HERE));
    }

    #[test]
    fn the_summary_names_what_was_skipped() {
        let spent = Duration::from_secs(90);
        assert_eq!(summary(9, &[], spent), "all 9 steps passed in 90 s");
        assert_eq!(summary(9, &["deny"], spent), "8 of 9 steps passed in 90 s; skipped: deny");
    }
}
