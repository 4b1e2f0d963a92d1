//! Which of the tools around cargo this machine has, asked of cargo itself.

use std::path::Path;
use std::time::Duration;

use crate::child;

/// A cargo subcommand that a step may want.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) install: &'static str,
    pub(crate) needed_in_ci: bool,
    pub(crate) installed: bool,
}

pub(crate) struct Tools {
    pub(crate) fmt: Tool,
    pub(crate) clippy: Tool,
    pub(crate) nextest: Tool,
    pub(crate) deny: Tool,
}

impl Tools {
    pub(crate) fn find(root: &Path) -> Self {
        let mut tools = Self::none();
        for tool in [&mut tools.fmt, &mut tools.clippy, &mut tools.nextest, &mut tools.deny] {
            let mut question = child::cargo(root);
            question.args([tool.name, "--version"]);
            let answer = child::run(question, Duration::from_secs(20), false, |_| ());
            tool.installed = answer.failure.is_none();
        }
        tools
    }

    /// All of them, none installed.
    pub(crate) fn none() -> Self {
        let tool =
            |name, install, needed_in_ci| Tool { name, install, needed_in_ci, installed: false };
        Self {
            fmt: tool("fmt", "rustup component add rustfmt", true),
            clippy: tool("clippy", "rustup component add clippy", true),
            // Without it the tests run all the same, one binary after another.
            nextest: tool("nextest", "cargo install --locked cargo-nextest", false),
            // To build it takes longer than all that CI has to do.
            deny: tool("deny", "cargo install --locked cargo-deny", false),
        }
    }

    pub(crate) fn each(&self) -> [Tool; 4] {
        [self.fmt, self.clippy, self.nextest, self.deny]
    }
}
