//! The README's first command tells its story, and its ledger can fail.

#[path = "support/example.rs"]
mod example;
#[allow(dead_code)] // the example uses all of it
#[path = "../examples/quickstart/ledger.rs"]
mod ledger;

use example::example;
use ledger::{Fault, Faults, Ledger, Page};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const RUN_MAX: Duration = Duration::from_secs(10);
const LINES_MAX: usize = 60;
const COLUMNS_MAX: usize = 100;

#[test]
fn the_quickstart_tells_its_story_on_one_page_within_ten_seconds() {
    let (status, output) = run(&example("quickstart").unwrap()).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert!(status.success(), "{status}\n{output}");
    assert_eq!(lines.last(), Some(&"quickstart: ok"), "{output}");
    assert!(lines.len() <= LINES_MAX, "{} lines\n{output}", lines.len());
    let wide = lines.iter().find(|line| line.chars().count() > COLUMNS_MAX);
    assert_eq!(wide, None, "{output}");
    assert!(!output.contains('\x1b'), "colour without a terminal\n{output:?}");
    let rows = rows(&lines);
    let mut wires: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
    let mut schemes: Vec<&str> = emitwire::schemes().collect();
    wires.sort_unstable();
    schemes.sort_unstable();
    assert_eq!(wires, schemes, "was the example built with other features?\n{output}");
    for cells in rows {
        let numbers = cells[1..5].iter().map(|cell| cell.replace(',', "").parse().unwrap());
        let numbers: Vec<usize> = numbers.collect();
        assert!(!numbers.contains(&0), "a wire without guests, events or acks\n{output}");
        assert_eq!(numbers[1], numbers[2], "expected and received differ\n{output}");
    }
}

/// What stands between the head of the table and the next empty line, in cells.
fn rows<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
    let below = lines.iter().skip_while(|line| !line.starts_with("wire ")).skip(1);
    let rows = below.take_while(|line| !line.is_empty());
    rows.map(|line| line.split_whitespace().collect()).collect()
}

/// Runs it without a terminal until it closes its output, and ends it if that takes too long.
fn run(example: &Path) -> io::Result<(ExitStatus, String)> {
    let mut child = Command::new(example).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = String::new();
        let read = stdout.read_to_string(&mut output);
        // After the deadline nobody waits for it.
        let _ = sender.send(read.map(|_| output));
    });
    let output = receiver.recv_timeout(RUN_MAX).unwrap_or_else(|_| {
        child.kill()?;
        Err(io::ErrorKind::TimedOut.into())
    });
    Ok((child.wait()?, output?))
}

/// A ledger of three plates that Ada hands to Bo, of which these arrive.
fn ledger_of(received: &[&str]) -> Ledger {
    let ledger = Ledger::default();
    for plate in ["1", "2", "3"] {
        ledger.expect("Bo", "plate", "Ada", plate);
    }
    for plate in received {
        ledger.receive("Bo", "plate", "Ada", plate);
    }
    ledger
}

fn fault(kind: fn(Page, String) -> Fault, plate: &str) -> Result<(), Faults> {
    let [who, event, from] = ["Bo", "plate", "Ada"].map(str::to_owned);
    Err(Faults(vec![kind(Page { who, event, from }, plate.to_owned())]))
}

#[test]
fn a_ledger_is_fine_when_everything_came_once_and_in_order() {
    let ledger = ledger_of(&["1", "2", "3"]);
    assert_eq!(ledger.verdict(), Ok(()));
    assert_eq!(ledger.totals("Bo"), (3, 3));
    assert_eq!(ledger.hearers("plate", "Ada", "2"), ["Bo"]);
}

#[test]
fn a_missing_event_is_a_fault() {
    assert_eq!(ledger_of(&["1", "3"]).verdict(), fault(Fault::Missing, "2"));
    assert_eq!(ledger_of(&["1", "2"]).verdict(), fault(Fault::Missing, "3"));
}

#[test]
fn a_doubled_event_is_a_fault() {
    assert_eq!(ledger_of(&["1", "2", "2", "3"]).verdict(), fault(Fault::Doubled, "2"));
    assert_eq!(ledger_of(&["1", "2", "3", "1"]).verdict(), fault(Fault::Doubled, "1"));
}

#[test]
fn an_event_out_of_order_is_a_fault() {
    assert_eq!(ledger_of(&["1", "3", "2"]).verdict(), fault(Fault::OutOfOrder, "3"));
}

#[test]
fn an_event_that_was_for_nobody_is_a_fault() {
    assert_eq!(ledger_of(&["1", "2", "3", "4"]).verdict(), fault(Fault::Unexpected, "4"));
}

#[test]
fn one_fault_does_not_hide_another() {
    let faults = ledger_of(&["3", "3", "1"]).verdict().unwrap_err();
    assert_eq!(faults.0.len(), 3, "{:?}", faults.0);
    let text = "Bo: plate \"3\" from Ada arrived twice (and 2 more)";
    assert_eq!(faults.to_string(), text);
}

#[test]
fn what_is_expected_twice_may_come_twice() {
    let ledger = ledger_of(&["1", "2", "3", "1"]);
    ledger.expect("Bo", "plate", "Ada", "1");
    assert_eq!(ledger.verdict(), Ok(()));
    ledger.expect("Bo", "plate", "Ada", "1");
    assert_eq!(ledger.verdict(), fault(Fault::Missing, "1"));
}

#[tokio::test(start_paused = true)]
async fn a_ledger_waits_for_what_is_late_and_not_for_ever() {
    let ledger = ledger_of(&["1", "2"]);
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ledger.receive("Bo", "plate", "Ada", "3");
    };
    let (settled, ()) = tokio::join!(ledger.settled(Duration::from_secs(2)), late);
    assert_eq!(settled, Ok(()));
    ledger.expect("Bo", "plate", "Ada", "4");
    let settled = ledger.settled(Duration::from_secs(2)).await;
    assert_eq!(settled, fault(Fault::Missing, "4"));
}
