//! A token bucket: when so many bytes have passed at such a rate.

use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

/// Holds no count of tokens, but when it is full again: that needs no clock of its own.
#[derive(Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Lets `bytes` pass after all that came before them, and says when they have.
    pub(super) fn take(&mut self, now: Instant, bytes: usize, per_second: NonZeroU64) -> Instant {
        let begins = self.full_at.map_or(now, |at| at.max(now));
        let full_at = begins + time_of(bytes, per_second);
        self.full_at = Some(full_at);
        let ahead = time_of(BURST_BYTES, per_second);
        full_at.checked_sub(ahead).map_or(now, |at| at.max(now))
    }
}

fn time_of(bytes: usize, per_second: NonZeroU64) -> Duration {
    let nanos = bytes as u128 * 1_000_000_000 / u128::from(per_second.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).min(NANOS_MAX))
}

/// What passes at once after a while of silence: one packet of an ordinary network.
const BURST_BYTES: usize = 1500;

/// A year: what takes longer is never seen, and clocks end somewhere.
const NANOS_MAX: u64 = 365 * 24 * 60 * 60 * 1_000_000_000;
