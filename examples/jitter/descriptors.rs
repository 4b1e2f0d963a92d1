//! How many sockets this process may have open.

use std::process::{Command, Stdio};
use std::{fs, process};

/// So many descriptors may be open after it was tried to raise the limit to what is needed. Where
/// limits cannot be read there is none to speak of.
pub(crate) fn open_files_max(needed: usize) -> usize {
    let Some((soft, hard)) = limits() else { return usize::MAX };
    if soft < needed {
        let files = format!("--nofile={}:", needed.min(hard));
        // Where the tool is missing there will be fewer.
        let _ = Command::new("prlimit")
            .args([&files, "--pid", &process::id().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    limits().map_or(usize::MAX, |(soft, _)| soft)
}

/// The soft and the hard limit of open files, from Linux' `/proc`.
fn limits() -> Option<(usize, usize)> {
    parsed(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parsed(limits: &str) -> Option<(usize, usize)> {
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // What is no number is unlimited.
    let mut files = files.split_whitespace().map(|limit| limit.parse().unwrap_or(usize::MAX));
    Some((files.next()?, files.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_what_linux_says() {
        let text = "Limit              Soft Limit  Hard Limit  Units\n\
                    Max processes      7           8           processes\n\
                    Max open files     1024        unlimited   files\n";
        assert_eq!(parsed(text), Some((1024, usize::MAX)));
        assert_eq!(parsed("nothing of the kind"), None);
    }
}
