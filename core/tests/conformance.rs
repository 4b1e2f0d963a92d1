//! The conformance kit on the wires of the core, and what it says of a wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::transport::conformance::{Breach, Conformance, Outcome};
use emitwire_core::transport::{Capabilities, Chaos, Direction, Faults, Memory};
use peak_alloc::PeakAlloc;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most bytes on the heap since this was last called.
fn peak_bytes() -> usize {
    let peak = HEAP.peak_usage();
    HEAP.reset_peak_usage();
    peak
}

fn fresh() -> Memory {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    Memory::new(format!("kit-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn at(endpoint: &str) -> Memory {
    Memory::new(endpoint.strip_prefix("mem://").unwrap())
}

fn memory() -> Conformance {
    Conformance::new(fresh, at)
        .at_least(Capabilities::stream(64 * 1024 * 1024).encrypted())
        .live_bytes(|| HEAP.current_usage())
        .peak_bytes(peak_bytes)
}

#[test]
fn the_wire_in_memory_keeps_what_it_declares() {
    println!("{}", memory().run().unwrap());
}

#[test]
fn a_wire_in_memory_that_holds_little_keeps_what_it_declares() {
    let small = Conformance::new(|| fresh().capacity_bytes(500).backlog(8), at);
    println!(
        "{}",
        small.at_least(Capabilities::stream(1024)).short_connections(500).run().unwrap()
    );
}

#[test]
fn a_wire_in_memory_that_holds_one_frame_keeps_what_it_declares() {
    let tiny = Conformance::new(|| fresh().capacity_bytes(1), at);
    println!("{}", tiny.short_connections(500).run().unwrap());
}

/// Both ends are wrapped, and each does its worst with what it writes.
fn chaos(make: impl Fn(Memory) -> Chaos<Memory> + Clone + Send + Sync + 'static) -> Conformance {
    let client = make.clone();
    Conformance::new(move || make(fresh()), move |endpoint| client(at(endpoint)))
        .live_bytes(|| HEAP.current_usage())
        .peak_bytes(peak_bytes)
}

fn with(wire: Chaos<Memory>, faults: Faults) -> Chaos<Memory> {
    wire.set(Direction::Out, faults);
    wire
}

fn lossy() -> Faults {
    Faults::new().loss(0.1).duplication(0.05).reordering(0.1)
}

#[test]
fn a_lossy_wire_keeps_the_little_that_it_declares() {
    let suite = chaos(|wire| with(Chaos::new(wire, 7).lossy(1200), lossy()));
    println!("{}", suite.at_least(Capabilities::datagrams(1200).encrypted()).run().unwrap());
}

#[test]
fn a_corrupting_wire_keeps_the_lengths_that_it_declares() {
    let faults = lossy().corruption(0.2);
    let suite = chaos(move |wire| with(Chaos::new(wire, 7).lossy(1200), faults));
    println!("{}", suite.corrupting().short_connections(500).run().unwrap());
}

#[test]
fn a_slow_wire_keeps_what_it_declares() {
    let delay = Duration::from_millis(2);
    let faults = Faults::new().delay(delay).jitter(delay);
    let suite = chaos(move |wire| with(Chaos::new(wire, 7), faults));
    let least = Capabilities::stream(64 * 1024 * 1024).encrypted();
    println!("{}", suite.at_least(least).short_connections(1000).run().unwrap());
}

#[test]
fn a_wire_that_loses_what_it_declares_to_keep_is_caught() {
    let suite = chaos(|wire| with(Chaos::new(wire, 7), Faults::new().loss(0.01)));
    let name = "frames arrive as often and in the order as declared, whatever the batches";
    let checked = suite.deadline(Duration::from_secs(1)).check(name);
    assert!(checked.is_broken(), "{checked}");
}

#[test]
fn a_lossy_wire_on_which_nothing_arrives_is_caught() {
    let suite = chaos(|wire| with(Chaos::new(wire, 7).lossy(1200), Faults::new().loss(1.0)));
    let suite = suite.deadline(Duration::from_secs(1));
    for name in CARRYING {
        let checked = suite.check(name);
        assert!(matches!(checked.breach(), Some(Breach::Deadline { .. })), "{checked}");
    }
}

/// However late it is what shows it.
#[test]
fn a_lossy_wire_that_changes_frames_is_caught() {
    let faults = Faults::new().corruption(0.3).delay(Duration::from_millis(130));
    let suite = chaos(move |wire| with(Chaos::new(wire, 7).lossy(1200), faults));
    for name in CARRYING {
        let checked = suite.check(name);
        assert!(matches!(checked.breach(), Some(Breach::Broken { .. })), "{checked}");
    }
}

/// The checks of what a lossy wire carries.
const CARRYING: [&str; 4] = [
    "frames arrive as often and in the order as declared, whatever the batches",
    "bodies of every size arrive as they were written",
    "between two threads nothing is lost",
    "a read that was given up loses nothing",
];

#[test]
fn each_check_runs_alone_and_shows_that_it_is_done() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&shown);
    let suite = memory().progress(move |checked| names.lock().unwrap().push(checked.name.clone()));
    let name = Conformance::names().next().unwrap();
    assert!(matches!(suite.check(name).outcome, Outcome::Kept { .. }));
    assert_eq!(*shown.lock().unwrap(), [name]);
}

#[test]
fn a_name_belongs_to_one_check() {
    let names: Vec<_> = Conformance::names().collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn a_check_that_does_not_exist_fails() {
    let checked = memory().check("frames are on time");
    assert!(matches!(checked.breach(), Some(Breach::NoSuchCheck)), "{checked}");
}
