//! Which of the tools around cargo this machine has, asked of the tools themselves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child;

/// Something that a step may want.
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
    /// With the stock libraries of the peers in other languages.
    pub(crate) python: Tool,
}

/// Where `setup --system` puts python's libraries.
pub(crate) const PEERS: &str = "target/peers";

/// These are the stock libraries of the peers in other languages, pinned as pip has it.
pub(crate) const PACKAGES: [&str; 2] = ["websockets==17.4", "msgpack==1.2.4"];

/// Whether these packages are here, each in its version; what an older one left does not count.
const HAS_PACKAGES: &str = "\
import sys
from importlib import import_module, metadata
for package in sys.argv[1:]:
    name, version = package.split('==')
    import_module(name)
    if metadata.version(name) != version:
        sys.exit(1)
";

impl Tools {
    pub(crate) fn find(root: &Path) -> Self {
        let mut tools = Self::none();
        for tool in [&mut tools.fmt, &mut tools.clippy, &mut tools.nextest, &mut tools.deny] {
            let mut question = child::cargo(root);
            question.args([tool.name.trim_start_matches("cargo "), "--version"]);
            tool.installed = is_answered(question);
        }
        let python = root.join(PEERS).join("bin/python");
        tools.python.installed = is_answered(has_packages(&python, &PACKAGES));
        tools
    }

    /// All of them, none installed.
    pub(crate) fn none() -> Self {
        let tool =
            |name, install, needed_in_ci| Tool { name, install, needed_in_ci, installed: false };
        Self {
            fmt: tool("cargo fmt", "rustup component add rustfmt", true),
            clippy: tool("cargo clippy", "rustup component add clippy", true),
            // Without it the tests run all the same, one binary after another.
            nextest: tool("cargo nextest", "cargo install --locked cargo-nextest", false),
            // To build it takes longer than all that CI has to do.
            deny: tool("cargo deny", "cargo install --locked cargo-deny", false),
            python: tool("python peers", "cargo xtask setup --system", true),
        }
    }

    pub(crate) fn each(&self) -> [Tool; 5] {
        [self.fmt, self.clippy, self.nextest, self.deny, self.python]
    }
}

fn has_packages(python: &Path, packages: &[&str]) -> Command {
    let mut question = Command::new(python);
    question.args(["-c", HAS_PACKAGES]).args(packages);
    question
}

fn is_answered(question: Command) -> bool {
    child::run(question, Duration::from_secs(20), false, |_| ()).failure.is_none()
}
