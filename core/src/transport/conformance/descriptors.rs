//! How many descriptors the process has open, and how many it may have, where the system says so.

use std::fs;

/// How many are open now. `None` where there is no `/proc`.
pub(super) fn open() -> Option<usize> {
    // Looking takes one itself, each time.
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// How many may be open. `None` where there is no `/proc`, or no limit.
pub(super) fn max() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
