//! `cargo xtask setup`: says what is here and what is not, and how to get it. The only door to a
//! package manager is `setup --system`; as long as no test wants a system package it stays shut.

use crate::tools::{Tool, Tools};

pub(crate) fn print(tools: &Tools, system: bool) {
    println!("setup: Rust and its crates are enough; all else is optional");
    for tool in tools.each() {
        println!("{}", line(tool));
    }
    if system {
        println!("  no system package is needed, so none was installed");
    }
    println!();
}

fn line(tool: Tool) -> String {
    let name = format!("cargo {}", tool.name);
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
