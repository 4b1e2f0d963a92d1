//! What the wires hold to unless they are told otherwise.

/// The largest frame. Unit: bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many connections wait to be accepted.
pub(crate) const BACKLOG: u32 = 1024;
