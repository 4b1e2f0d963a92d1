//! The conformance kit on every wire: what each declares is what it keeps.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::transport::conformance::Conformance;
use emitwire_core::transport::{Capabilities, Transport};
use emitwire_transports::{Tcp, Ws};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most bytes on the heap since this was last called.
fn peak_bytes() -> usize {
    let peak = HEAP.peak_usage();
    HEAP.reset_peak_usage();
    peak
}

/// Runs every check on the wire that listens at `address` of this machine.
fn holds<T: Transport>(least: Capabilities, wire: fn(&str) -> T, address: &'static str) {
    let suite = Conformance::new(move || wire(address), wire).at_least(least);
    let suite = suite.live_bytes(|| HEAP.current_usage()).peak_bytes(peak_bytes);
    println!("{}", suite.run().unwrap());
}

/// The largest frame of the wires unless they are told otherwise.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

#[test]
fn tcp_keeps_what_it_declares() {
    holds(Capabilities::stream(FRAME_BYTES_MAX), |url| Tcp::new(&url[6..]), "tcp://127.0.0.1:0");
}

#[test]
fn tcp_with_small_frames_keeps_what_it_declares() {
    let tcp = |url: &str| Tcp::new(&url[6..]).frame_bytes_max(1000);
    holds(Capabilities::stream(1000), tcp, "tcp://127.0.0.1:0");
}

#[test]
fn websocket_keeps_what_it_declares() {
    holds(Capabilities::stream(FRAME_BYTES_MAX), |url| Ws::new(&url[5..]), "ws://127.0.0.1:0");
}

#[test]
fn websocket_with_small_frames_keeps_what_it_declares() {
    let ws = |url: &str| Ws::new(&url[5..]).frame_bytes_max(1000);
    holds(Capabilities::stream(1000), ws, "ws://127.0.0.1:0");
}
