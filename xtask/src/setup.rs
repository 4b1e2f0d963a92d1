//! `cargo xtask setup`: says what is here and what is not, and how to get it. The only door to a
//! package manager is `setup --system`, and it installs into `target/` alone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::tools::{PACKAGES, PEERS, Tool, Tools};

/// A download that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// Says what there is; with `system` it first gets what is missing and has no command of cargo's.
pub(crate) fn run(root: &Path, system: bool) -> Tools {
    let mut tools = Tools::find(root);
    println!("setup: Rust and its crates are enough; all else is optional");
    if system && !tools.python.installed {
        match install_peers(root) {
            Ok(()) => tools = Tools::find(root),
            Err(failure) => println!("  {failure}"),
        }
    }
    for tool in tools.each() {
        println!("{}", line(tool));
    }
    println!();
    tools
}

/// A virtual environment of python's own, so that nothing of the machine is changed.
fn install_peers(root: &Path) -> Result<(), String> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", PEERS]);
    let mut pip = Command::new(root.join(PEERS).join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--timeout", "30"]);
    pip.args(PACKAGES);
    for mut command in [venv, pip] {
        command.current_dir(root);
        let words = format!("{command:?}");
        if let Some(failure) = child::run(command, PATIENCE, true, |_| ()).failure {
            return Err(format!("{words} {failure}"));
        }
    }
    Ok(())
}

fn line(tool: Tool) -> String {
    let name = tool.name;
    if tool.installed {
        return format!("  {name:<14} installed");
    }
    let rank = if tool.needed_in_ci { "CI needs it" } else { "optional" };
    format!("  {name:<14} not installed ({rank}): {}", tool.install)
}

#[cfg(test)]
mod tests {
    use super::{Tools, line};

    #[test]
    fn a_tool_that_is_not_here_is_named_with_the_command_that_gets_it() {
        let deny = Tools::none().deny;
        let expected =
            "  cargo deny     not installed (optional): cargo install --locked cargo-deny";
        assert_eq!(line(deny), expected);
    }
}
