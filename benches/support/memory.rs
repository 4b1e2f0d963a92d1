//! What a process holds in memory.

use crate::process;
use std::{fs, io};

/// In bytes. The sum over its pages is exact; `VmRSS` may lag behind.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let pages = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = process::field(&pages, "Rss:").and_then(|rss| rss.strip_suffix(" kB"));
    let kilobytes = kilobytes.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("no Rss in smaps"))
}
