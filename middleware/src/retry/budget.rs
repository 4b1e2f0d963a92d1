//! How many attempts there may be beside the first ones.

use std::sync::{Mutex, PoisonError};

/// Attempts that are free, so that a few failures at the beginning are repeated at all.
const RESERVE: f64 = 10.0;

/// Attempts that may be saved up.
const SAVED_MAX: f64 = 100.0;

/// Each event pays in a part of an attempt, each attempt beside the first takes one out: so a peer
/// that fails all of them sees no more than that part more of them, however many there are.
#[derive(Debug)]
pub(super) struct Budget {
    ratio: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    saved: f64,
    /// What of the reserve has not been paid back.
    owed: f64,
}

impl Budget {
    pub(super) fn new(ratio: f64) -> Self {
        // Not a number and below zero are nothing.
        let ratio = ratio.max(0.0);
        Self { ratio, state: Mutex::new(State { saved: RESERVE, owed: RESERVE }) }
    }

    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// An event is attempted for the first time.
    pub(super) fn deposit(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let for_reserve = self.ratio.min(state.owed);
        state.owed -= for_reserve;
        state.saved = (state.saved + self.ratio - for_reserve).min(SAVED_MAX.max(RESERVE));
    }

    /// Takes another attempt out; says whether there was one.
    pub(super) fn withdraw(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_one = state.saved >= 1.0;
        if has_one {
            state.saved -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, events: usize) -> usize {
        let attempt = |_| {
            budget.deposit();
            // Each is tried as often as there is something left.
            (0..8).take_while(|_| budget.withdraw()).count()
        };
        (0..events).map(attempt).sum()
    }

    #[test]
    fn whatever_fails_the_attempts_are_no_more_than_the_part_and_the_reserve_is_paid_back() {
        for events in [10, 99, 1000, 100_000] {
            let spent = spent(&Budget::new(0.1), events);
            assert!(spent <= (events / 10).max(10), "{spent} of {events}");
        }
        assert!(spent(&Budget::new(0.1), 100_000) >= 9_990);
    }

    #[test]
    fn what_was_saved_in_good_times_has_a_bound() {
        let budget = Budget::new(0.5);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), 100);
    }
}
