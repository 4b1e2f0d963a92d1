//! Wires that are broken on purpose: the conformance kit catches each, by the check that is meant.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/broken.rs"]
mod broken;

use broken::{Broken, Fault};
use emitwire_core::transport::conformance::{Breach, Checked, Conformance};
use emitwire_core::transport::{BindError, Capabilities, ReadError};
use peak_alloc::PeakAlloc;
use std::time::Duration;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most bytes on the heap since this was last called.
fn peak_bytes() -> usize {
    let peak = HEAP.peak_usage();
    HEAP.reset_peak_usage();
    peak
}

/// Small figures: what is broken is broken on a few connections too.
fn suite(fault: Fault) -> Conformance {
    Conformance::new(move || Broken::fresh(fault), move |endpoint| Broken::at(endpoint, fault))
        .at_least(Capabilities::stream(broken::FRAME_BYTES_MAX))
        .connections(50)
        .short_connections(300)
        .live_bytes(|| HEAP.current_usage())
        .peak_bytes(peak_bytes)
}

/// Long enough for whatever is fine, and no longer: some of these wires hang until it.
const DEADLINE: Duration = Duration::from_secs(1);

/// The check of that name catches the fault; what it saw is given back.
#[track_caller]
fn caught(fault: Fault, check: &str) -> Checked {
    caught_by(&suite(fault), fault, check)
}

#[track_caller]
fn caught_by(suite: &Conformance, fault: Fault, check: &str) -> Checked {
    let checked = suite.check(check);
    println!("{checked}");
    assert!(checked.is_broken(), "{fault:?} got through: {checked}");
    assert!(!matches!(checked.breach(), Some(Breach::NoSuchCheck)), "{check}");
    checked
}

#[track_caller]
fn breaks_a_rule(fault: Fault, check: &str) {
    let checked = caught(fault, check);
    assert!(matches!(checked.breach(), Some(Breach::Broken { .. })), "{checked}");
}

#[track_caller]
fn hangs(fault: Fault, check: &str) {
    let checked = caught_by(&suite(fault).deadline(DEADLINE), fault, check);
    assert!(matches!(checked.breach(), Some(Breach::Deadline { .. })), "{checked}");
}

#[test]
fn a_wrapper_without_a_fault_keeps_what_it_declares() {
    println!("{}", suite(Fault::None).run().unwrap());
}

#[test]
fn a_list_that_can_be_read_says_what_was_broken() {
    let failures = suite(Fault::Reorders).run().unwrap_err();
    let names: Vec<_> = failures.report().failed().map(|checked| checked.name.as_str()).collect();
    assert!(names.contains(&ORDER), "{names:?}");
    let text = format!("{failures:?}");
    assert!(text.contains("expected frame 0 of 5001 in its place, 4 bytes, saw"), "{text}");
    assert!(text.contains(&format!("{} broken", names.len())), "{text}");
}

#[test]
fn a_wire_that_drops_the_last_frame_before_a_close_is_caught() {
    breaks_a_rule(Fault::DropsLast, "a close in order comes after everything before it");
}

#[test]
fn a_wire_that_reorders_is_caught() {
    breaks_a_rule(Fault::Reorders, ORDER);
}

#[test]
fn a_wire_that_doubles_a_frame_is_caught() {
    breaks_a_rule(Fault::Doubles, ORDER);
}

#[test]
fn a_wire_that_is_ready_with_frames_left_is_caught() {
    breaks_a_rule(Fault::LeavesFrames, ORDER);
}

#[test]
fn a_wire_that_truncates_large_frames_is_caught() {
    breaks_a_rule(Fault::Truncates, SIZES);
}

#[test]
fn a_wire_that_may_lose_frames_and_truncates_them_is_caught() {
    breaks_a_rule(Fault::TruncatesDatagrams, SIZES);
}

#[test]
fn a_wire_that_panics_on_an_empty_frame_is_caught() {
    let checked = caught(Fault::PanicsOnEmpty, "an empty frame is a frame and not the end");
    let Some(Breach::Panicked { panic, .. }) = checked.breach() else { panic!("{checked}") };
    assert_eq!(panic, "an empty frame");
}

#[test]
fn a_wire_that_is_ready_when_it_is_idle_is_caught() {
    breaks_a_rule(Fault::EndsWhenIdle, IDLE);
}

#[test]
fn a_wire_that_keeps_its_reader_busy_is_caught() {
    breaks_a_rule(Fault::Busy, IDLE);
}

#[test]
fn a_wire_that_blocks_its_thread_is_caught() {
    let suite = suite(Fault::BlocksTheThread).deadline(DEADLINE);
    let checked = caught_by(&suite, Fault::BlocksTheThread, IDLE);
    assert!(matches!(checked.breach(), Some(Breach::Blocked { .. })), "{checked}");
}

#[test]
fn a_wire_that_declares_more_than_it_keeps_is_caught() {
    let checked = caught(Fault::DeclaresMore, "the largest frame that is declared arrives");
    let breach = checked.breach();
    let said = matches!(breach, Some(Breach::Read { source: ReadError::FrameTooLarge { .. }, .. }));
    assert!(said, "{checked}");
}

#[test]
fn a_wire_that_declares_too_little_is_caught() {
    breaks_a_rule(Fault::DeclaresLess, "no less is declared than was asked for");
}

#[test]
fn a_wire_whose_ends_declare_different_things_is_caught() {
    breaks_a_rule(Fault::DeclaresTwice, "both ends declare the same, every time");
}

#[test]
fn a_wire_that_ignores_the_limit_of_its_session_is_caught() {
    breaks_a_rule(Fault::IgnoresLimit, "a session lowers the limit of the frames it takes");
}

#[test]
fn a_wire_that_allocates_for_a_frame_it_refuses_is_caught() {
    breaks_a_rule(Fault::AllocatesFirst, "a frame that is refused costs no memory");
}

#[test]
fn a_wire_that_takes_everything_for_a_peer_that_never_reads_is_caught() {
    breaks_a_rule(Fault::NeverWaits, "a peer that never reads makes its writer wait");
}

#[test]
fn a_wire_that_blocks_reads_on_writes_is_caught() {
    hangs(Fault::OneLock, "a blocked write does not stall a read");
}

#[test]
fn a_wire_that_loses_what_was_blocked_is_caught() {
    breaks_a_rule(Fault::DropsBlocked, "what was blocked arrives whole and in order");
}

#[test]
fn a_wire_that_keeps_the_first_waker_is_caught() {
    hangs(Fault::KeepsFirstWaker, "a try without a waker loses no wake-up");
}

#[test]
fn a_wire_that_closes_both_directions_as_one_is_caught() {
    breaks_a_rule(Fault::ClosesBoth, "a closed direction leaves the other open");
}

#[test]
fn a_wire_that_keeps_a_connection_is_caught() {
    hangs(Fault::KeepsConnections, "a connection that was dropped ends for its peer");
}

#[test]
fn a_wire_that_leaks_memory_is_caught() {
    breaks_a_rule(Fault::LeaksMemory, "short connections leave nothing behind");
}

#[test]
fn a_wire_that_leaks_tasks_is_caught() {
    let checked = caught(Fault::LeaksTasks, "short connections leave nothing behind");
    assert!(checked.to_string().contains(" tasks after 300 connections"), "{checked}");
}

#[test]
fn a_wire_that_leaks_descriptors_is_caught() {
    if std::fs::read_dir("/proc/self/fd").is_err() {
        eprintln!("skipped, this system does not say which descriptors are open");
        return;
    }
    breaks_a_rule(Fault::LeaksDescriptors, "short connections leave nothing behind");
}

#[test]
fn a_wire_on_which_nobody_is_ever_gone_is_caught() {
    hangs(Fault::WritesToNobody, "writing to a peer that is gone fails");
}

#[test]
fn a_wire_that_shakes_hands_while_it_accepts_is_caught() {
    hangs(Fault::ShakesHandsInAccept, "a silent peer does not delay the next");
}

#[test]
fn a_wire_that_loses_a_peer_by_a_cancelled_accept_is_caught() {
    hangs(Fault::AcceptLosesPeers, "an accept that was given up loses no peer");
}

#[test]
fn a_wire_that_keeps_a_cancelled_connect_is_caught() {
    hangs(Fault::ConnectKeeps, "a connect that was given up leaves nothing behind");
}

#[test]
fn a_wire_that_keeps_a_cancelled_handshake_is_caught() {
    hangs(Fault::HandshakeKeeps, "a handshake that was given up closes its connection");
}

#[test]
fn a_wire_that_keeps_a_cancelled_bind_is_caught() {
    let checked = caught(Fault::BindKeeps, "a bind that was given up leaves nothing bound");
    assert!(is_in_use(&checked), "{checked}");
}

#[test]
fn a_wire_that_never_frees_its_address_is_caught() {
    let checked = caught(Fault::NeverFrees, "an address is free when its listener is gone");
    assert!(is_in_use(&checked), "{checked}");
}

fn is_in_use(checked: &Checked) -> bool {
    matches!(checked.breach(), Some(Breach::Bind { source: BindError::InUse { .. }, .. }))
}

#[test]
fn a_wire_that_binds_twice_is_caught() {
    breaks_a_rule(Fault::BindsTwice, "an address that is bound is in use");
}

#[test]
fn a_wire_that_waits_for_nobody_is_caught() {
    hangs(Fault::WaitsForNobody, "connecting to nobody fails in time");
}

const ORDER: &str = "frames arrive as often and in the order as declared, whatever the batches";
const SIZES: &str = "bodies of every size arrive as they were written";
const IDLE: &str = "an idle wire is pending and has not ended";
