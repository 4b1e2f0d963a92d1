//! Which wire to begin with next time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is remembered of wires, which are numbered in the order in which they are liked.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// It connected last, and when.
    winner: Option<Note>,
    /// It was there, and no session came of it.
    suspect: Option<Note>,
}

#[derive(Clone, Copy, Debug)]
struct Note {
    wire: usize,
    at: Instant,
}

impl Memory {
    /// All of so many wires, as they are to be begun. What is remembered counts for so long; for
    /// good, if nothing is said.
    pub(super) fn order(&self, wires: usize, lasts: Option<Duration>) -> Vec<usize> {
        let remembered = self.lock();
        let is_fresh = |note: &Note| lasts.is_none_or(|lasts| note.at.elapsed() < lasts);
        let wire = |note: Option<Note>| note.filter(is_fresh).map(|note| note.wire);
        let (winner, suspect) = (wire(remembered.winner), wire(remembered.suspect));
        let mut order: Vec<_> = (0..wires).collect();
        order.sort_by_key(|wire| match Some(*wire) {
            wire if wire == winner => 0,
            wire if wire == suspect => 2,
            _ => 1,
        });
        order
    }

    /// The wire has connected.
    pub(super) fn won(&self, wire: usize) {
        self.lock().winner = Some(Note { wire, at: Instant::now() });
    }

    /// A session lives on it.
    pub(super) fn proved(&self, wire: usize) {
        self.won(wire);
        let mut remembered = self.lock();
        if remembered.suspect.is_some_and(|suspect| suspect.wire == wire) {
            remembered.suspect = None;
        }
    }

    /// No session came of it.
    pub(super) fn failed(&self, wire: usize) {
        let mut remembered = self.lock();
        if remembered.winner.is_some_and(|winner| winner.wire == wire) {
            remembered.winner = None;
        }
        remembered.suspect = Some(Note { wire, at: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_winner_comes_first_the_suspect_last_and_both_are_forgotten_in_time() {
        let (memory, lasts) = (Memory::default(), Some(Duration::from_secs(300)));
        assert_eq!(memory.order(4, lasts), [0, 1, 2, 3]);
        memory.won(2);
        assert_eq!(memory.order(4, lasts), [2, 0, 1, 3]);
        memory.failed(2);
        assert_eq!(memory.order(4, lasts), [0, 1, 3, 2]);
        memory.won(1);
        assert_eq!(memory.order(4, lasts), [1, 0, 3, 2]);
        // A suspect that connects again is given a chance, and acquitted by a session only.
        memory.won(2);
        assert_eq!(memory.order(4, lasts), [2, 0, 1, 3]);
        memory.won(0);
        assert_eq!(memory.order(4, lasts), [0, 1, 3, 2]);
        memory.proved(2);
        memory.won(0);
        assert_eq!(memory.order(4, lasts), [0, 1, 2, 3]);
        memory.failed(0);
        memory.won(3);
        advance(Duration::from_secs(300)).await;
        assert_eq!(memory.order(4, lasts), [0, 1, 2, 3]);
        assert_eq!(memory.order(4, None), [3, 1, 2, 0]);
    }
}
