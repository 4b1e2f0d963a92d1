//! Numbers that look random and follow from a seed. The seed is an input.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the state of a generator grows by: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64: the next number of a generator in this state, and its next state. Nothing for
/// secrets.
///
/// Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
#[must_use]
pub fn split_mix(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(STEP);
    (mix(state), state)
}

/// The next number of a generator that many may draw from.
#[must_use]
pub fn draw_from(generator: &AtomicU64) -> u64 {
    split_mix(generator.fetch_add(STEP, Ordering::Relaxed)).0
}

/// Its finalizer alone: numbers that are close together become some that are not.
pub(crate) fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        let (first, state) = split_mix(1_234_567);
        let (second, _) = split_mix(state);
        assert_eq!([first, second], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
