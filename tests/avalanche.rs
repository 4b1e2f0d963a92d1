//! A server is restarted under a crowd, and all of it comes back: the example `avalanche`, small.

#![allow(dead_code, reason = "the example uses all of its parts")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/example.rs"]
mod example;
#[path = "../examples/avalanche/options.rs"]
mod options;

use example::example;
use std::process::Command;

/// It ends by itself: each of its waits has a deadline.
fn avalanche(arguments: &str) {
    let words = arguments.split_whitespace();
    let output = Command::new(example("avalanche").unwrap()).args(words).output().unwrap();
    let text = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it)).concat();
    assert!(output.status.success(), "`avalanche {arguments}`: {}\n{text}", output.status);
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("99 % back after ") && last.ends_with(", none refused"), "{text}");
}

fn wire() -> Option<&'static str> {
    emitwire::schemes().find(|scheme| *scheme != "mem")
}

#[test]
fn all_clients_are_back_soon_after_their_server_was_drained() {
    if let Some(wire) = wire() {
        avalanche(&format!("--clients 200 --transport {wire}"));
    }
}

#[test]
fn all_clients_are_back_soon_after_their_server_was_killed() {
    if let Some(wire) = wire() {
        avalanche(&format!("--clients 200 --transport {wire} --kill --away 0.5"));
    }
}
