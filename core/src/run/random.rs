//! The engine's only source of randomness: identities, tokens, jitter.

use crate::protocol::split_mix;
use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    /// The state of this thread's seeded generator, while it has one.
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// 128 bits that nobody can guess, unless this thread is [seeded].
///
/// # Panics
/// When the system has no randomness to give: nothing built on top would be safe then.
pub(crate) fn bits() -> u128 {
    if let Some(state) = SEEDED.try_with(Cell::get).unwrap_or_default() {
        let (high, state) = split_mix(state);
        let (low, state) = split_mix(state);
        SEEDED.set(Some(state));
        return u128::from(high) << 64 | u128::from(low);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system provides randomness");
    u128::from_ne_bytes(bytes)
}

/// Makes all that the engine draws on this thread follow from a seed, until the guard is dropped:
/// for simulations that are to be repeated. **Whoever knows the seed knows every id and token**,
/// so it is nothing for a server that others can reach.
#[must_use = "it holds for as long as the guard lives"]
pub fn seeded(seed: u64) -> Seeded {
    Seeded { before: SEEDED.replace(Some(seed)), stays_on_its_thread: PhantomData }
}

/// While it lives its thread is [seeded].
#[derive(Debug)]
pub struct Seeded {
    before: Option<u64>,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for Seeded {
    fn drop(&mut self) {
        let _ = SEEDED.try_with(|seeded| seeded.set(self.before));
    }
}

#[cfg(test)]
mod tests {
    use super::{bits, seeded};

    #[test]
    fn a_seed_is_followed_by_the_same_numbers_and_its_end_by_others() {
        let draw = || [bits(), bits()];
        let seed = seeded(7);
        let first = draw();
        drop(seed);
        let chance = draw();
        let seed = seeded(7);
        assert_eq!(draw(), first);
        drop(seed);
        assert_ne!(draw(), chance);
        assert_ne!(first[0], first[1]);
    }

    #[test]
    fn another_thread_is_not_seeded() {
        let _seed = seeded(7);
        let here = bits();
        let _seed = seeded(7);
        let there = std::thread::spawn(bits).join().expect("it draws");
        assert_ne!(here, there);
    }
}
