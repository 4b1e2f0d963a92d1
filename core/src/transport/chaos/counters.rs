//! What became of frames.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of frames so far, on all connections of a [`Chaos`](super::Chaos) and its clones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosStats {
    /// Lost by chance; and on a lossy wire those that met a cut, or that were no datagrams.
    pub frames_lost: u64,
    /// Sent twice.
    pub frames_doubled: u64,
    /// Held back, so that others overtook them. Jitter is not counted.
    pub frames_late: u64,
    /// Changed by a few bits.
    pub frames_corrupted: u64,
    /// Dropped by a lossy wire because too much was under way.
    pub frames_overflowed: u64,
    /// Under way when their connection was [severed](super::Chaos::sever), when it broke, or when
    /// nobody was left to write or to read them. What the wire inside has taken is its own.
    pub frames_dropped: u64,
}

/// What became of the frames of one direction.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) lost: Counter,
    pub(super) doubled: Counter,
    pub(super) late: Counter,
    pub(super) corrupted: Counter,
    pub(super) overflowed: Counter,
    pub(super) dropped: Counter,
}

impl Counters {
    pub(super) fn add_to(&self, stats: &mut ChaosStats) {
        stats.frames_lost += self.lost.count();
        stats.frames_doubled += self.doubled.count();
        stats.frames_late += self.late.count();
        stats.frames_corrupted += self.corrupted.count();
        stats.frames_overflowed += self.overflowed.count();
        stats.frames_dropped += self.dropped.count();
    }
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
