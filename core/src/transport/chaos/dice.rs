//! What becomes of each frame: thrown from the seed, in the order of writing.

use super::faults::Faults;
use crate::protocol::{mix, split_mix};
use bytes::Bytes;

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) doubled: bool,
    /// How many frames overtake it; none when it is not late.
    pub(super) overtaken_by: u8,
    /// How much of the jitter it gets, at least 0 and below 1.
    pub(super) jitter: f64,
    /// Which of its bits are flipped, when some are.
    pub(super) corrupted: Option<Corruption>,
}

/// The dice of one direction of one connection.
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// `stream` tells the directions and connections of one seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { state: seed ^ mix(stream.wrapping_add(1)) }
    }

    /// Throws all dice every time, so that one fault does not move the fates of later frames.
    pub(super) fn throw(&mut self, faults: &Faults) -> Fate {
        let lost = self.fraction() < faults.loss;
        let doubled = self.fraction() < faults.duplication;
        let late = self.fraction() < faults.reordering;
        let overtaken_by = 1 + (self.next() % u64::from(OVERTAKING_FRAMES_MAX)) as u8;
        let jitter = self.fraction();
        let corrupted = self.fraction() < faults.corruption;
        let corruption = Corruption { seed: self.next() };
        Fate {
            lost,
            doubled,
            overtaken_by: if late { overtaken_by } else { 0 },
            jitter,
            corrupted: corrupted.then_some(corruption),
        }
    }

    /// At least 0 and below 1, from the 53 bits that a double holds exactly.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        let (number, state) = split_mix(self.state);
        self.state = state;
        number
    }
}

/// Flips a few bits. Where they are depends on the length too, so the dice of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Corruption {
    seed: u64,
}

impl Corruption {
    /// A flipped copy: the bytes themselves are shared. `None` when there is no bit to flip.
    pub(super) fn of(self, body: &Bytes) -> Option<Bytes> {
        let bits = body.len() as u64 * 8;
        if bits == 0 {
            return None;
        }
        let mut dice = Dice { state: self.seed };
        let mut places = Vec::new();
        for _ in 0..=dice.next() % FLIPPED_BITS_MAX {
            let place = dice.next() % bits;
            // Flipped twice it would be whole again.
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let mut copy = body.to_vec();
        for place in places {
            copy[(place / 8) as usize] ^= 1 << (place % 8);
        }
        Some(copy.into())
    }
}

/// How many frames a late one waits for at most.
const OVERTAKING_FRAMES_MAX: u8 = 4;

/// How many bits of a corrupted frame are flipped at most.
const FLIPPED_BITS_MAX: u64 = 3;
