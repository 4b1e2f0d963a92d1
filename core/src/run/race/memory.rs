//! What became of each wire, and so which to begin with next time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a wire stays behind the others after no session came of it, or none that lived.
const SUSPICION: Duration = Duration::from_secs(300);

/// What is remembered of wires, which are numbered in the order in which they are liked.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<usize, Fate>>);

/// What became of a wire last. That it connected is none of that: one which swallows what follows
/// does, too.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// A session lived on it.
    Proved(Instant),
    /// It was there, and no session lived on it.
    Failed(Instant),
}

/// Wires in the order in which they are to be begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) wires: Vec<usize>,
    /// So many of them, at the end, are suspects.
    pub(super) suspects: usize,
}

impl Memory {
    /// The first so many wires, as they are to be begun: the one on which a session lived last, if
    /// that is not longer ago than this, the others, and the suspects, the oldest first.
    pub(super) fn order(&self, wires: usize, lasts: Duration) -> Order {
        let fates = self.lock();
        let winner = fates.iter().filter_map(|(wire, fate)| match fate {
            Fate::Proved(at) if at.elapsed() < lasts => Some((*at, *wire)),
            _ => None,
        });
        let winner = winner.max().map(|(_, wire)| wire);
        let since = |wire: &usize| match fates.get(wire)? {
            Fate::Failed(at) if at.elapsed() < SUSPICION => Some(*at),
            _ => None,
        };
        let mut order: Vec<_> = (0..wires).collect();
        // Nothing is less than something, and `false` than `true`.
        order.sort_by_key(|wire| (since(wire), Some(*wire) != winner));
        let suspects = order.iter().filter(|wire| since(wire).is_some()).count();
        Order { wires: order, suspects }
    }

    /// A session lives on it.
    pub(super) fn proved(&self, wire: usize) {
        self.lock().insert(wire, Fate::Proved(Instant::now()));
    }

    /// No session came of it, or none that lived.
    pub(super) fn failed(&self, wire: usize) {
        self.lock().insert(wire, Fate::Failed(Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Fate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const LASTS: Duration = Duration::from_secs(300);

    fn order(memory: &Memory) -> (Vec<usize>, usize) {
        let order = memory.order(4, LASTS);
        (order.wires, order.suspects)
    }

    #[tokio::test(start_paused = true)]
    async fn the_winner_comes_first_the_suspect_last_and_both_are_forgotten_in_time() {
        let memory = Memory::default();
        assert_eq!(order(&memory), (vec![0, 1, 2, 3], 0));
        memory.proved(2);
        assert_eq!(order(&memory), (vec![2, 0, 1, 3], 0));
        assert_eq!(memory.order(2, LASTS).wires, [0, 1]);
        memory.failed(2);
        assert_eq!(order(&memory), (vec![0, 1, 3, 2], 1));
        memory.proved(1);
        assert_eq!(order(&memory), (vec![1, 0, 3, 2], 1));
        memory.proved(2);
        advance(Duration::from_secs(1)).await;
        memory.proved(0);
        assert_eq!(order(&memory), (vec![0, 1, 2, 3], 0));
        memory.failed(0);
        assert_eq!(order(&memory), (vec![2, 1, 3, 0], 1));
        assert_eq!(memory.order(4, Duration::ZERO), Order { wires: vec![1, 2, 3, 0], suspects: 1 });
        advance(LASTS).await;
        assert_eq!(order(&memory), (vec![0, 1, 2, 3], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn all_suspects_stand_behind_the_others_and_the_oldest_suspicion_comes_first() {
        let memory = Memory::default();
        for wire in [2, 0, 1] {
            memory.failed(wire);
            advance(Duration::from_secs(100)).await;
        }
        // The first is acquitted by time.
        assert_eq!(order(&memory), (vec![2, 3, 0, 1], 2));
        memory.failed(3);
        memory.failed(2);
        memory.failed(0);
        assert_eq!(memory.order(2, LASTS), Order { wires: vec![1, 0], suspects: 2 });
    }
}
