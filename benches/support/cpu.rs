//! What a process has run.

use std::fs;
use std::io;

/// All threads of the process together, to the nanosecond.
pub(crate) fn nanos(pid: u32) -> io::Result<u64> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = schedstat.split_whitespace().next().and_then(|spent| spent.parse().ok());
        nanos += spent.unwrap_or(0);
    }
    Ok(nanos)
}
