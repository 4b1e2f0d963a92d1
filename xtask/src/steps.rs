//! Which steps `cargo xtask test` takes: the cheap and telling ones first.

use std::time::Duration;

use crate::simulate;
use crate::step::{Step, Task};
use crate::tools::Tools;
use crate::workspace::{Package, Workspace};

/// What an example is run with that does nothing without arguments, or too much in a debug build.
/// The others need no line here.
const EXAMPLE_ARGUMENTS: &[(&str, &str)] = &[
    ("avalanche", "--clients 500"),
    ("chat", "--help"),
    ("jitter", "--clients 50 --events 40 --time-scale 0.1 --transport quic+wss+tcp+unix"),
];

/// The README's first command runs it, in release; so does this.
const QUICKSTART: &str = "quickstart";

/// As a test sees it, which runs where its package is.
const PYTHON: &str = "target/peers/bin/python";

const EXAMPLE_LIMIT: Duration = Duration::from_secs(60);

/// Each with its budget in seconds. It holds from an empty target folder on two slow cores, so
/// that whatever is over it has got out of hand.
pub(crate) fn all(workspace: &Workspace, tools: &Tools) -> Vec<Step> {
    let (tests, runner) = tests(tools.nextest.installed);
    vec![
        Step::new("fmt", 30, fmt()).needs(tools.fmt),
        Step::new("clippy", 300, clippy()).needs(tools.clippy),
        Step::new("tests", 600, tests).note(runner).whole_output_in_ci(),
        Step::new("simulation", 120, simulation()).note("300 seeds"),
        Step::new("peers", 120, peers()).needs(tools.python),
        Step::new("doc tests", 240, doc_tests()),
        Step::new("docs", 180, docs()),
        Step::new("features", 300, features(&workspace.packages)).needs(tools.clippy),
        Step::new("examples", 300, examples(&workspace.examples)),
        Step::new("benches", 300, benches(&workspace.benches)),
        Step::new("deny", 60, deny()).needs(tools.deny),
    ]
}

fn fmt() -> Vec<Task> {
    vec![Task::cargo("fmt --all --check")]
}

fn clippy() -> Vec<Task> {
    let line = "clippy --workspace --all-targets --all-features -- -D warnings";
    vec![Task::cargo(line)]
}

/// All failures are shown, not the first only. No bench is among them: those have their own step.
fn tests(nextest: bool) -> (Vec<Task>, &'static str) {
    let (line, runner) = if nextest {
        let line = "nextest run --workspace --all-features --no-fail-fast";
        (line, "by cargo nextest")
    } else {
        let line = "test --workspace --all-features --lib --bins --tests --no-fail-fast";
        (line, "by cargo test")
    };
    (vec![Task::cargo(line)], runner)
}

/// Among the tests there are a few seeds only.
fn simulation() -> Vec<Task> {
    vec![Task::cargo(simulate::LINE).env("EMITWIRE_SEEDS", "300")]
}

/// Clients in other languages, by stock libraries.
fn peers() -> Vec<Task> {
    let task = Task::cargo("test --package emitwire --all-features --test other_languages");
    vec![task.env("EMITWIRE_PYTHON", PYTHON)]
}

/// Nextest cannot run these.
fn doc_tests() -> Vec<Task> {
    vec![Task::cargo("test --doc --workspace --all-features")]
}

fn docs() -> Vec<Task> {
    let task = Task::cargo("doc --no-deps --workspace --all-features");
    vec![task.env("RUSTDOCFLAGS", "-D warnings")]
}

/// A feature may lean on another only if it says so: each is built with no other beside it, and
/// each package with none at all. By clippy, which shares its work with the step above and can be
/// strict about warnings without a `RUSTFLAGS` that would build everything anew.
fn features(packages: &[Package]) -> Vec<Task> {
    // What is missing is named: that can only be seen where something is.
    let without = "test --package emitwire --no-default-features --test features";
    let mut tasks = vec![Task::cargo(without)];
    for Package { name, features } in packages.iter().filter(|it| !it.features.is_empty()) {
        let alone = format!("clippy --package {name} --no-default-features");
        tasks.push(Task::cargo(&format!("{alone} -- -D warnings")));
        for feature in features {
            let line = format!("{alone} --features {feature} -- -D warnings");
            tasks.push(Task::cargo(&line));
        }
    }
    tasks
}

/// Each is built before it is run, so that the limit is on its running alone.
fn examples(names: &[String]) -> Vec<Task> {
    let (first, others): (Vec<_>, Vec<_>) = names.iter().partition(|&name| name == QUICKSTART);
    let mut tasks = Vec::new();
    for name in first {
        let how = format!("--release --all-features --example {name}");
        tasks.push(Task::cargo(&format!("build {how}")));
        tasks.push(Task::cargo(&format!("run {how}")).limit(EXAMPLE_LIMIT));
    }
    if !others.is_empty() {
        tasks.push(Task::cargo("build --all-features --examples"));
    }
    for name in others {
        let mut line = format!("run --all-features --example {name}");
        if let Some((_, arguments)) = EXAMPLE_ARGUMENTS.iter().find(|(of, _)| of == name) {
            line = format!("{line} -- {arguments}");
        }
        tasks.push(Task::cargo(&line).limit(EXAMPLE_LIMIT));
    }
    tasks
}

/// Whether they run, not how fast: the variable asks each for seconds instead of minutes.
fn benches(names: &[String]) -> Vec<Task> {
    let bench = |name| Task::cargo(&format!("bench --all-features --bench {name}"));
    let smoke = |name| bench(name).env("EMITWIRE_BENCH_SMOKE", "1");
    names.iter().map(smoke).collect()
}

/// All of it but the advisories, which change without a change of ours.
fn deny() -> Vec<Task> {
    vec![Task::cargo("deny check bans licenses sources")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(tasks: &[Task]) -> Vec<String> {
        tasks.iter().map(Task::to_string).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn package(name: &str, features: &[&str]) -> Package {
        let name = name.to_owned();
        let features = names(features);
        Package { name, features }
    }

    #[test]
    fn each_feature_of_each_package_is_built_alone_and_so_is_none() {
        let packages = [package("wire", &["default", "tcp"]), package("plain", &[])];
        let alone = "cargo clippy --package wire --no-default-features";
        let expected = [
            "cargo test --package emitwire --no-default-features --test features".to_owned(),
            format!("{alone} -- -D warnings"),
            format!("{alone} --features default -- -D warnings"),
            format!("{alone} --features tcp -- -D warnings"),
        ];
        assert_eq!(lines(&features(&packages)), expected);
    }

    #[test]
    fn the_readmes_first_command_is_run_as_the_readme_has_it() {
        let expected = [
            "cargo build --release --all-features --example quickstart",
            "cargo run --release --all-features --example quickstart",
            "cargo build --all-features --examples",
            "cargo run --all-features --example chat -- --help",
        ];
        let tasks = examples(&names(&["chat", "quickstart"]));
        assert_eq!(lines(&tasks), expected);
    }

    #[test]
    fn an_example_may_run_for_a_minute_and_its_build_for_longer() {
        let tasks = examples(&names(&["chat"]));
        assert!(tasks[0].limit > EXAMPLE_LIMIT);
        assert_eq!(tasks[1].limit, EXAMPLE_LIMIT);
    }

    #[test]
    fn a_bench_is_run_for_seconds() {
        let expected = ["EMITWIRE_BENCH_SMOKE=1 cargo bench --all-features --bench echo"];
        assert_eq!(lines(&benches(&names(&["echo"]))), expected);
    }

    #[test]
    fn without_nextest_the_tests_are_run_by_cargo_itself() {
        let (tasks, runner) = tests(false);
        assert_eq!(runner, "by cargo test");
        assert!(lines(&tasks)[0].starts_with("cargo test --workspace --all-features"));
    }

    #[test]
    fn no_argument_is_kept_for_an_example_that_is_gone() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let workspace = Workspace::read(root.as_ref()).unwrap();
        for (example, _) in EXAMPLE_ARGUMENTS {
            let found = workspace.examples.iter().any(|name| name == example);
            assert!(found, "{example}");
        }
    }
}
