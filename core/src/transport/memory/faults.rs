//! What goes wrong on a lossy wire, and how often. It throws the dice; `lossy.rs` obeys them.

/// How a wire in memory misbehaves: by chance, but the same way for the same seed.
///
/// The fate of a frame depends on the seed, on its connection's number and direction, and on how
/// many frames were written before it, never on time or threads.
///
/// ```
/// use emitwire_core::transport::{Faults, Memory};
///
/// let faults = Faults::new(7).loss(0.1).duplication(0.05).reordering(0.1);
/// let wire = Memory::new("radio").lossy(faults);
/// # let _ = wire;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    pub(super) seed: u64,
    pub(super) loss: f64,
    pub(super) duplication: f64,
    pub(super) reordering: f64,
    pub(super) datagram_bytes_max: usize,
}

impl Faults {
    /// No faults yet: every frame arrives once and in order, up to 1200 bytes each.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
        }
    }

    /// How likely a frame is lost: 0 is never, 1 is always; what is outside counts as the nearer.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.loss = probability.clamp(0.0, 1.0);
        self
    }

    /// How likely a frame that is not lost arrives twice, from 0 to 1.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.duplication = probability.clamp(0.0, 1.0);
        self
    }

    /// How likely a frame that is not lost is late, from 0 to 1: it waits until one to four later
    /// ones that are not late have overtaken it. What still waits when the writer ends comes last.
    #[must_use]
    pub fn reordering(mut self, probability: f64) -> Self {
        self.reordering = probability.clamp(0.0, 1.0);
        self
    }

    /// The largest frame that the wire takes, in bytes of its body. Default: 1200.
    #[must_use]
    pub fn datagram_bytes_max(mut self, bytes: usize) -> Self {
        self.datagram_bytes_max = bytes;
        self
    }
}

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) doubled: bool,
    /// How many frames overtake it; none when it is not late.
    pub(super) overtaken_by: u8,
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
        Fate { lost, doubled, overtaken_by: if late { overtaken_by } else { 0 } }
    }

    /// At least 0 and below 1, from the 53 bits that a double holds exactly.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
/// OOPSLA 2014).
fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// SplitMix64's step: 2^64 divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many frames a late one waits for at most.
const OVERTAKING_FRAMES_MAX: u8 = 4;

/// What passes nearly every path of the internet unbroken (RFC 9000 §14).
const DATAGRAM_BYTES_MAX: usize = 1200;
