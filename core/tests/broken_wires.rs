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

/// It hangs, and in the step that begins like this: a slow machine may hang anywhere at first.
#[track_caller]
fn hangs(fault: Fault, check: &str, step: &str) {
    let in_time = |deadline| {
        let checked = caught_by(&suite(fault).deadline(deadline), fault, check);
        let Some(Breach::Deadline { doing, .. }) = checked.breach() else { panic!("{checked}") };
        doing.starts_with(step)
    };
    assert!(in_time(DEADLINE) || in_time(10 * DEADLINE), "not while {step}");
}

#[test]
fn a_wrapper_without_a_fault_keeps_what_it_declares() {
    println!("{}", suite(Fault::None).run().unwrap());
}

#[test]
fn a_wire_without_half_a_close_may_fail_to_close_what_its_peer_has_closed() {
    let mut least = Capabilities::stream(broken::FRAME_BYTES_MAX);
    least.half_close = false;
    println!("{}", suite(Fault::FailsToCloseLast).at_least(least).run().unwrap());
}

#[test]
fn each_check_was_seen_to_fail() {
    let tests = include_str!("broken_wires.rs");
    for name in Conformance::names() {
        assert!(tests.contains(&format!("{name:?}")), "no wire here breaks `{name}`");
    }
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
    hangs(
        Fault::OneLock,
        "a blocked write does not stall a read",
        "reading at the client's end while writing there is blocked",
    );
}

#[test]
fn a_wire_that_loses_what_was_blocked_is_caught() {
    breaks_a_rule(Fault::DropsBlocked, "what was blocked arrives whole and in order");
}

#[test]
fn a_wire_that_keeps_the_first_waker_is_caught() {
    hangs(
        Fault::KeepsFirstWaker,
        "a try without a waker loses no wake-up",
        "waiting to be woken for a write that somebody else tried too",
    );
}

#[test]
fn a_wire_that_closes_both_directions_as_one_is_caught() {
    breaks_a_rule(Fault::ClosesBoth, "a closed direction leaves the other open");
}

#[test]
fn a_wire_that_keeps_a_connection_is_caught() {
    hangs(
        Fault::KeepsConnections,
        "a connection that was dropped ends for its peer",
        "reading up to the end of a connection that was dropped",
    );
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
    hangs(
        Fault::WritesToNobody,
        "writing to a peer that is gone fails",
        "waiting for an error from writing to a peer that is gone",
    );
}

#[test]
fn a_wire_that_shakes_hands_while_it_accepts_is_caught() {
    hangs(
        Fault::ShakesHandsInAccept,
        "a silent peer does not delay the next",
        "connecting while others are silent in the handshake",
    );
}

#[test]
fn a_wire_that_loses_a_peer_by_a_cancelled_accept_is_caught() {
    hangs(Fault::AcceptLosesPeers, "an accept that was given up loses no peer", "accepting ");
}

#[test]
fn a_wire_that_keeps_a_cancelled_connect_is_caught() {
    hangs(
        Fault::ConnectKeeps,
        "a connect that was given up leaves nothing behind",
        "being rid of who gave up after 1 polls, at the server",
    );
}

#[test]
fn a_wire_that_keeps_a_cancelled_handshake_is_caught() {
    hangs(
        Fault::HandshakeKeeps,
        "a handshake that was given up closes its connection",
        "ending at the client, after a handshake of 1 polls",
    );
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
fn a_wire_whose_peers_have_another_scheme_is_caught() {
    breaks_a_rule(Fault::NamesAnother, "a listener names an endpoint that clients reach");
}

#[test]
fn a_wire_that_carries_one_way_only_is_caught() {
    hangs(Fault::OneWay, "frames travel both ways", "carrying frame 0 there and back");
}

#[test]
fn a_wire_with_one_waker_for_both_halves_is_caught() {
    hangs(
        Fault::OneWaker,
        "both directions carry at once",
        "carrying a lot both ways at the same time",
    );
}

#[test]
fn a_wire_that_wakes_nobody_on_another_thread_is_caught() {
    hangs(
        Fault::OneThread,
        "between two threads nothing is lost",
        "carrying 20000 frames from one thread to another",
    );
}

#[test]
fn a_reader_that_keeps_its_first_waker_is_caught() {
    hangs(
        Fault::ReadKeepsFirstWaker,
        "a read that was given up loses nothing",
        "reading with polls of which many are not repeated",
    );
}

#[test]
fn a_reader_that_brings_frames_while_it_is_pending_is_caught() {
    let checked = caught(Fault::PendingWithFrames, "frames travel both ways");
    assert!(checked.to_string().contains("by a read that is pending"), "{checked}");
}

#[test]
fn a_wire_that_takes_a_frame_over_the_limit_for_the_end_is_caught() {
    let check = "a frame over the limit is refused, and those before it are good";
    breaks_a_rule(Fault::RefusesSilently, check);
}

#[test]
fn a_wire_that_cuts_volatile_frames_is_caught() {
    breaks_a_rule(Fault::TruncatesDatagrams, "a volatile frame travels whole or not at all");
}

#[test]
fn a_wire_that_forgets_what_it_took_over_is_caught() {
    hangs(
        Fault::TakesOver,
        "what a wire took over arrives when its writer polls on",
        "reading what the wire took, while its writer does nothing but poll on",
    );
}

#[test]
fn a_wire_that_takes_a_cut_for_an_end_is_caught() {
    breaks_a_rule(Fault::EndsSilently, "an end in the middle of a frame is an error");
}

#[test]
fn a_wire_that_holds_few_connections_is_caught() {
    breaks_a_rule(Fault::FewAtOnce, "many connections live at once");
}

#[test]
fn a_wire_that_waits_for_nobody_is_caught() {
    hangs(
        Fault::WaitsForNobody,
        "connecting to nobody fails in time",
        "waiting for an error from mem://",
    );
}

const ORDER: &str = "frames arrive as often and in the order as declared, whatever the batches";
const SIZES: &str = "bodies of every size arrive as they were written";
const IDLE: &str = "an idle wire is pending and has not ended";
