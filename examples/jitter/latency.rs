//! How long events took: a histogram that costs the same for ten of them or ten million.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Latencies in microseconds, kept to within 2 %: buckets are as wide as a 64th of the power of
/// two that they are in.
pub(crate) struct Latency {
    buckets: Vec<AtomicU64>,
    max: AtomicU64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        let buckets = (0..=bucket_of(u64::MAX)).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, max: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
        self.max.fetch_max(micros, Ordering::Relaxed);
    }

    /// So many of a hundred were no slower, in milliseconds; 100 is the exact maximum.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let max = self.max.load(Ordering::Relaxed);
        let counts: Vec<_> = self.buckets.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let rank = (counts.iter().sum::<u64>() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        let micros = bucket.map_or(max, |bucket| most_in(bucket).min(max));
        micros as f64 / 1000.0
    }
}

/// Up to 64 every number has a bucket of its own.
fn bucket_of(micros: u64) -> usize {
    match micros.checked_ilog2() {
        Some(power @ 6..) => (power as usize - 5) * 64 + (micros >> (power - 6)) as usize - 64,
        _ => micros as usize,
    }
}

/// The largest number of a bucket.
fn most_in(bucket: usize) -> u64 {
    match bucket / 64 {
        0 => bucket as u64,
        power => {
            let first = (bucket as u64 % 64 + 64) << (power - 1);
            first + ((1 << (power - 1)) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_a_bucket_that_is_narrow() {
        for number in (0..5000).chain([1 << 20, (1 << 40) + 12345, u64::MAX - 1, u64::MAX]) {
            let most = most_in(bucket_of(number));
            let before = bucket_of(number).checked_sub(1).map(most_in);
            assert!(number <= most && before.is_none_or(|it| it < number), "{number}");
            assert!(most - number <= number / 64, "{number} is in the bucket of {most}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let latency = Latency::new();
        for millis in 1..=1000 {
            latency.add(Duration::from_millis(millis));
        }
        for (percent, expected) in [(50.0, 500.0), (95.0, 950.0), (99.0, 990.0)] {
            let found = latency.percentile(percent);
            assert!((expected..expected * 1.02).contains(&found), "{percent}: {found}");
        }
        assert_eq!(latency.percentile(100.0), 1000.0);
    }

    #[test]
    fn of_one_latency_every_percentile_is_that_one_and_of_none_it_is_zero() {
        let latency = Latency::new();
        assert_eq!(latency.percentile(50.0), 0.0);
        latency.add(Duration::from_micros(1234));
        assert_eq!(latency.percentile(1.0), 1.234);
        assert_eq!(latency.percentile(100.0), 1.234);
    }
}
