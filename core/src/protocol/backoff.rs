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
    attempt: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            soon_for: Duration::from_secs(10),
            soon_max: Duration::from_secs(1),
            later_max: Duration::from_secs(20),
            attempt: 0,
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

    /// The next delay, `since_loss` after the trouble began; `random` is any evenly drawn number.
    #[must_use]
    pub fn next_delay(&mut self, since_loss: Duration, random: u64) -> Duration {
        let delay = self.nth_delay(self.attempt, since_loss, random);
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// The delay after so many, for whoever counts them: the first is number 0.
    #[must_use]
    pub fn nth_delay(&self, attempt: u32, since_loss: Duration, random: u64) -> Duration {
        let max = if since_loss < self.soon_for { self.soon_max } else { self.later_max };
        let doubled = self.first.saturating_mul(1 << attempt.min(16));
        let ceiling_ms = doubled.min(max).as_millis();
        // A fraction of 64 bits times the ceiling: always below it.
        Duration::from_millis(((u128::from(random) * ceiling_ms) >> 64) as u64)
    }

    /// Starts again from the lowest ceiling.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_below_a_ceiling_that_doubles_and_then_grows_after_ten_seconds() {
        let mut backoff = Backoff::default();
        let mut ceilings = Vec::new();
        for second in [0, 0, 0, 0, 0, 0, 11, 11, 11, 11] {
            ceilings.push(backoff.next_delay(Duration::from_secs(second), u64::MAX).as_millis());
        }
        assert_eq!(ceilings, [99, 199, 399, 799, 999, 999, 6399, 12799, 19999, 19999]);
        backoff.reset();
        assert_eq!(backoff.next_delay(Duration::ZERO, 0), Duration::ZERO);
        assert!(backoff.next_delay(Duration::ZERO, u64::MAX) < Duration::from_millis(200));
    }
}
