//! The project's own commands; `cargo xtask help` lists them.
//!
//! They use nothing but std: a helper that takes a minute to build is a helper nobody runs.

mod child;
mod family;
mod manifest;
mod mutants;
mod report;
mod setup;
mod simulate;
mod step;
mod steps;
mod test;
mod tools;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use tools::Tools;
use workspace::Workspace;

const HELP: &str = "\
cargo xtask <command>

  test             every check of the project, step by step, up to the first that fails
  test -v          the same, with the output of each command as it comes
  simulate         worlds in which much goes wrong, each from a seed, up to the first that breaks a
                   law; --seeds N (default 300), --from SEED (1), --trace to see all that happens
  mutants          breaks a copy of the engine in each way of tests/mutants/, and demands that the
                   simulation finds it; --seeds N (100), and names to try only these
  setup            what `test` uses, what of it is installed, how to get the rest
  setup --system   the same, and gets what a package manager has, into target/
  help             this page

Warnings are errors in `test`. With CI=true `setup --system` runs first, the tests' output is shown
whole, and a step that is over its budget or lacks a tool CI needs is a failure.";

#[derive(Debug, PartialEq)]
enum Command {
    Test { verbose: bool },
    Simulate(simulate::Batch),
    Mutants { seeds: u64, names: Vec<String> },
    Setup { system: bool },
    Help,
}

impl Command {
    fn parse(arguments: &[&str]) -> Option<Self> {
        match arguments {
            ["test"] => Some(Self::Test { verbose: false }),
            ["test", "-v" | "--verbose"] => Some(Self::Test { verbose: true }),
            ["simulate", rest @ ..] => simulate::Batch::parse(rest).map(Self::Simulate),
            ["mutants", rest @ ..] => mutants::parse(rest),
            ["setup"] => Some(Self::Setup { system: false }),
            ["setup", "--system"] => Some(Self::Setup { system: true }),
            [] | ["help" | "-h" | "--help"] => Some(Self::Help),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(command) = Command::parse(&arguments) else {
        eprintln!("unknown: cargo xtask {}\n\n{HELP}", arguments.join(" "));
        return ExitCode::from(2);
    };
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the command found everything in order. An error means that it could not even look.
fn run(command: Command) -> Result<bool, String> {
    // Given when this was compiled, and cargo compiles it again where the checkout has moved.
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    match command {
        Command::Help => println!("{HELP}"),
        Command::Setup { system } => drop(setup::run(root, system)),
        Command::Simulate(batch) => return Ok(batch.run(root)),
        Command::Mutants { seeds, names } => return mutants::run(root, seeds, &names),
        Command::Test { verbose } => {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            let tools = if ci { setup::run(root, true) } else { Tools::find(root) };
            let steps = steps::all(&Workspace::read(root)?, &tools);
            return Ok(test::run(&steps, root, test::Mode { ci, verbose }));
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn commands_are_read_from_the_arguments() {
        assert_eq!(Command::parse(&["test"]), Some(Command::Test { verbose: false }));
        assert_eq!(Command::parse(&["test", "-v"]), Some(Command::Test { verbose: true }));
        assert_eq!(Command::parse(&["setup", "--system"]), Some(Command::Setup { system: true }));
        assert_eq!(Command::parse(&[]), Some(Command::Help));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(Command::parse(&["tset"]), None);
        assert_eq!(Command::parse(&["test", "--fast"]), None);
        assert_eq!(Command::parse(&["setup", "--system", "now"]), None);
        assert_eq!(Command::parse(&["simulate", "--seeds", "many"]), None);
        assert_eq!(Command::parse(&["mutants", "--seeds"]), None);
    }
}
