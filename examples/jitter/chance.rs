//! Chance from a seed: the same seed gives the same storm.

/// A generator of evenly drawn numbers: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// One stream of numbers of many that the same seed has.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed);
        let start = chance.next() ^ stream.wrapping_mul(GOLDEN);
        Self(start)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Drawn so that what happens has no memory: exponentially, around a mean of 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64; // 0 ≤ it < 1
        -(1.0 - fraction).ln()
    }
}

/// 2⁶⁴ divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_streams_differ() {
        let numbers = |seed, stream| {
            let mut chance = Chance::new(seed, stream);
            [chance.next(), chance.next()]
        };
        assert_eq!(numbers(7, 1), numbers(7, 1));
        assert_ne!(numbers(7, 1), numbers(7, 2));
        assert_ne!(numbers(7, 1), numbers(8, 1));
    }

    #[test]
    fn exponential_delays_are_positive_and_their_mean_is_one() {
        let mut chance = Chance::new(1, 1);
        let drawn: Vec<f64> = (0..10_000).map(|_| chance.exponential()).collect();
        assert!(drawn.iter().all(|delay| delay.is_finite() && *delay >= 0.0));
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((0.95..1.05).contains(&mean), "{mean}");
    }
}
