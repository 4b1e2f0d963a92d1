//! What a step is. Which ones there are stands in `steps`, how they are taken in `test`.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::tools::Tool;

/// One line of the suite's report.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Being slower than this deserves a look: it is a warning, and in CI a failure.
    pub(crate) budget: Duration,
    /// None where the workspace has nothing of the kind.
    pub(crate) tasks: Vec<Task>,
    /// What the machine lacks for it.
    pub(crate) missing: Option<Tool>,
    /// Says what the name and the seconds do not; may be empty.
    pub(crate) note: String,
    /// CI reads the closing lines of the test runner, so there they must not be held back.
    pub(crate) whole_output_in_ci: bool,
}

impl Step {
    pub(crate) fn new(name: &'static str, budget_s: u64, tasks: Vec<Task>) -> Self {
        let note = match tasks.len() {
            0 => "there are none yet".to_owned(),
            1 => String::new(),
            several => format!("{several} commands"),
        };
        Self {
            name,
            budget: Duration::from_secs(budget_s),
            tasks,
            missing: None,
            note,
            whole_output_in_ci: false,
        }
    }

    /// Without the tool the step is skipped, and says how to get it and what to run then.
    pub(crate) fn needs(mut self, tool: Tool) -> Self {
        if let (Some(task), false) = (self.tasks.first(), tool.installed) {
            let rank = if tool.needed_in_ci { "" } else { ", and not part of CI here" };
            self.note = format!("not installed{rank}: `{} && {task}`", tool.install);
            self.missing = Some(tool);
        }
        self
    }

    pub(crate) fn note(mut self, note: &str) -> Self {
        self.note = note.to_owned();
        self
    }

    pub(crate) fn whole_output_in_ci(mut self) -> Self {
        self.whole_output_in_ci = true;
        self
    }
}

/// One run of cargo. Displayed, it is the line to paste into a shell at the workspace's root.
#[derive(Debug)]
pub(crate) struct Task {
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    /// Not a measure of speed but of patience: what runs longer hangs, and is killed.
    pub(crate) limit: Duration,
}

impl Task {
    /// `line` is what stands behind `cargo`, its words apart by spaces.
    pub(crate) fn cargo(line: &str) -> Self {
        Self {
            arguments: line.split_whitespace().map(str::to_owned).collect(),
            environment: Vec::new(),
            limit: Duration::from_secs(15 * 60),
        }
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn command(&self, root: &Path) -> Command {
        let mut command = child::cargo(root);
        command.args(&self.arguments).envs(self.environment.clone());
        command
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str("cargo")?;
        for word in &self.arguments {
            write!(f, " {}", quoted(word))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,=:@+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Step, Task};
    use crate::tools::Tools;

    #[test]
    fn a_task_is_displayed_as_a_shell_would_take_it() {
        let task = Task::cargo("doc --no-deps").env("RUSTDOCFLAGS", "-D warnings");
        let line = "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps";
        assert_eq!(task.to_string(), line);
    }

    #[test]
    fn a_quote_inside_a_word_survives_the_shell() {
        let task = Task::cargo("run -- it's");
        assert_eq!(task.to_string(), r"cargo run -- 'it'\''s'");
    }

    #[test]
    fn a_missing_tool_is_named_with_the_commands_that_get_and_run_it() {
        let deny = Tools::none().deny;
        let step = Step::new("deny", 1, vec![Task::cargo("deny check")]).needs(deny);
        let commands = "`cargo install --locked cargo-deny && cargo deny check`";
        assert!(step.missing.is_some());
        assert!(step.note.ends_with(commands), "{}", step.note);
    }
}
