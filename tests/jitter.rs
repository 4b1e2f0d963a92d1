//! Links that are cut again and again, on real sockets, and nothing that is missing: the example
//! `jitter` for a few seconds. Beside it the tests of its parts.

#![allow(dead_code, reason = "the example uses all of its parts")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../examples/jitter/chance.rs"]
mod chance;
#[path = "../examples/jitter/descriptors.rs"]
mod descriptors;
#[path = "support/example.rs"]
mod example;
#[path = "../examples/jitter/latency.rs"]
mod latency;
#[path = "../examples/jitter/options.rs"]
mod options;
#[path = "../examples/jitter/sequence.rs"]
mod sequence;

use example::example;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longer than any of these runs takes.
const RUN_MAX: Duration = Duration::from_secs(40);

/// Runs it until it ends by itself, and ends it if that takes too long.
fn jitter(arguments: &str) -> Output {
    let child = Command::new(example("jitter").unwrap())
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (id, (sender, receiver)) = (child.id(), mpsc::channel());
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(RUN_MAX) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").arg(id.to_string()).status();
            panic!("`jitter {arguments}` goes on");
        }
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Every event arrived once and in order, though links were cut.
#[track_caller]
fn delivers_everything(arguments: &str) {
    let output = jitter(arguments);
    let text = text(&output);
    assert!(output.status.success(), "`jitter {arguments}`: {}\n{text}", output.status);
    assert_eq!(text.lines().last(), Some("delivered 100.000 %"), "`jitter {arguments}`\n{text}");
}

fn has(scheme: &str) -> bool {
    emitwire::schemes().any(|known| known == scheme)
}

#[test]
fn nothing_is_missed_while_links_are_cut_again_and_again() {
    let wire = if has("tcp") { "tcp" } else { "mem" };
    delivers_everything(&format!("--clients 30 --events 40 --time-scale 0.1 --transport {wire}"));
}

#[test]
fn nothing_is_missed_while_links_die_in_silence() {
    let wire = if has("tcp") { "tcp" } else { "mem" };
    let silent = "--clients 20 --events 40 --time-scale 0.1 --silent";
    delivers_everything(&format!("{silent} --transport {wire}"));
}

#[test]
fn nothing_is_missed_while_clients_go_from_one_wire_to_another() {
    let wires = match (has("tcp"), has("ws")) {
        (true, true) => "tcp+ws",
        (true, false) => "mem+tcp",
        _ => "mem",
    };
    delivers_everything(&format!("--clients 20 --events 40 --time-scale 0.1 --transport {wires}"));
}

#[test]
fn nothing_is_missed_while_clients_go_over_every_wire_that_encrypts_or_stays_here() {
    let others = ["quic", "wss", "tls", "unix", "mem"];
    let has_certificate = cfg!(feature = "self-signed");
    let wires: Vec<_> = others.into_iter().filter(|wire| has(wire) && has_certificate).collect();
    let wires = if wires.is_empty() { "mem".to_owned() } else { wires.join("+") };
    delivers_everything(&format!("--clients 25 --events 40 --time-scale 0.1 --transport {wires}"));
}

#[test]
fn a_run_in_which_no_link_is_cut_proves_nothing_and_fails() {
    let output = jitter("--clients 1 --events 1 --time-scale 0.001 --transport mem");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("not one link was cut"), "{text}");
}

#[test]
fn what_it_does_not_understand_it_explains() {
    let output = jitter("--transport pigeon");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("there is no wire `pigeon`"), "{}", text(&output));
}
