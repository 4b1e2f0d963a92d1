//! How long to wait before the next attempt.

use std::time::Duration;

/// Full-jitter exponential backoff: each delay is drawn between zero and a ceiling that doubles.
///
/// For the first seconds after a loss the ceiling stays low, so that a short outage costs little;
/// then it grows, so that a long one does not end in a stampede. Randomness is an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    soon_for: Duration,
    soon_max: Duration,
    later_max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            soon_for: Duration::from_secs(10),
            soon_max: Duration::from_secs(1),
            later_max: Duration::from_secs(20),
        }
    }
}

impl Backoff {
    /// With another ceiling of the first delay.
    #[must_use]
    pub fn with_first(mut self, ceiling: Duration) -> Self {
        self.first = ceiling;
        self
    }

    /// With another ceiling for so long after the trouble began.
    #[must_use]
    pub fn with_soon(mut self, ceiling: Duration, lasts: Duration) -> Self {
        (self.soon_max, self.soon_for) = (ceiling, lasts);
        self
    }

    /// With another ceiling after that.
    #[must_use]
    pub fn with_later(mut self, ceiling: Duration) -> Self {
        self.later_max = ceiling;
        self
    }

    /// The delay after so many others, `since_loss` after the trouble began; `random` is any evenly
    /// drawn number.
    #[must_use]
    pub fn nth_delay(&self, attempt: u32, since_loss: Duration, random: u64) -> Duration {
        let max = if since_loss < self.soon_for { self.soon_max } else { self.later_max };
        let doubled = self.first.saturating_mul(1 << attempt.min(16));
        let ceiling_ms = u64::try_from(doubled.min(max).as_millis()).unwrap_or(u64::MAX);
        // A fraction of 64 bits times the ceiling: always below it.
        Duration::from_millis(((u128::from(random) * u128::from(ceiling_ms)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_below_a_ceiling_that_doubles_and_then_grows_after_ten_seconds() {
        let backoff = Backoff::default();
        let mut ceilings = Vec::new();
        for (attempt, second) in (0..).zip([0, 0, 0, 0, 0, 0, 11, 11, 11, 11]) {
            let since_loss = Duration::from_secs(second);
            ceilings.push(backoff.nth_delay(attempt, since_loss, u64::MAX).as_millis());
        }
        assert_eq!(ceilings, [99, 199, 399, 799, 999, 999, 6399, 12799, 19999, 19999]);
        assert_eq!(backoff.nth_delay(9, Duration::ZERO, 0), Duration::ZERO);
        let for_ever = backoff.with_first(Duration::MAX).with_later(Duration::MAX);
        let late = for_ever.nth_delay(u32::MAX, Duration::MAX, u64::MAX);
        assert!(late > Duration::from_secs(u64::MAX / 2000), "no length is too long: {late:?}");
    }
}
