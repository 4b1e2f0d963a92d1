//! What depends on sessions that outlive their links.

use crate::options::Options;
use emitwire::{Config, Stats};

/// Wires that leave the process unencrypted.
const PLAIN: [&str; 2] = ["tcp", "ws"];

/// Whether sessions are to go from encrypted wires to plain ones.
pub(crate) fn mixes_wires(options: &Options) -> bool {
    let is_plain = |wire: &String| PLAIN.contains(&wire.as_str());
    options.wires.iter().any(is_plain) && !options.wires.iter().all(is_plain)
}

/// Lets a session that began on an encrypted wire go on on a plain one. In this engine there is
/// nothing to be set: a session ends with its link.
pub(crate) fn allow_plain(_config: &mut Config) {}

/// What is printed about it.
pub(crate) const ALLOWS_PLAIN: &str = "plain and encrypted wires: sessions resume on neither";

/// How often a session went on on another link, as the server counted. In this engine none does.
pub(crate) fn resumes(_server: &Stats) -> u64 {
    0
}
