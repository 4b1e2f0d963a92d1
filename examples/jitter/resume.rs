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

/// Lets a session that began on an encrypted wire go on on a plain one.
pub(crate) fn allow_plain(config: &mut Config) {
    config.resume_on_plain = true;
}

/// What is printed about it.
pub(crate) const ALLOWS_PLAIN: &str =
    "resume_on_plain is set: sessions go from encrypted wires to plain ones";

/// How often a session went on on another link, as the server counted.
pub(crate) fn resumes(server: &Stats) -> u64 {
    server.resumed + server.resumed_with_gap
}
