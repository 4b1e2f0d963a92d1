//! How a wrapped wire is: for good, and at this moment.

use super::faults::{Direction, Faults};
use crate::protocol::Frame;
use crate::transport::Capabilities;
use std::num::NonZeroU64;

/// What a wrapped connection is like, whatever happens on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) datagram_bytes_max: Option<usize>,
    pub(super) capacity_bytes: usize,
}

impl Terms {
    /// Whether frames are datagrams.
    pub(super) fn is_lossy(&self) -> bool {
        self.datagram_bytes_max.is_some()
    }

    /// Whether the frame is not too large.
    pub(super) fn takes(&self, frame: &Frame) -> bool {
        self.datagram_bytes_max.is_none_or(|max| frame.body.len() <= max)
    }

    pub(super) fn capabilities(&self, inner: Capabilities) -> Capabilities {
        let Some(max) = self.datagram_bytes_max else { return inner };
        let lossy = Capabilities::datagrams(max);
        if inner.encrypted { lossy.encrypted() } else { lossy }
    }
}

/// How one direction is at this moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Way {
    pub(super) faults: Faults,
    pub(super) is_cut: bool,
}

/// How fast the wrapped end reads.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pace {
    #[default]
    Free,
    BytesPerSecond(NonZeroU64),
    Stalled,
}

/// How all links of a wrapped transport are at this moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Settings {
    pub(super) outgoing: Way,
    pub(super) incoming: Way,
    pub(super) pace: Pace,
}

impl Settings {
    pub(super) fn each(&mut self, direction: Direction, change: impl Fn(&mut Way)) {
        if direction.has_out() {
            change(&mut self.outgoing);
        }
        if direction.has_in() {
            change(&mut self.incoming);
        }
    }
}
