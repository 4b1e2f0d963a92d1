//! What goes wrong on a wire, how often, and in which direction. `dice.rs` throws, `line.rs` obeys.

use std::num::NonZeroU64;
use std::time::Duration;

/// A direction of a wrapped connection, as its wrapped end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the wrapped end writes.
    Out,
    /// What the wrapped end reads.
    In,
    /// Both of them.
    Both,
}

impl Direction {
    pub(super) fn has_out(self) -> bool {
        self != Self::In
    }

    pub(super) fn has_in(self) -> bool {
        self != Self::Out
    }
}

/// How one direction of a wire misbehaves: by chance, but the same way for the same seed.
///
/// The fate of a frame depends on the seed, on its connection's number and direction, on how many
/// frames were written before it, and on the faults of that moment; never on time or threads. So
/// one fault does not move the fates that another deals out.
///
/// Probabilities are from 0, never, to 1, always; what is outside counts as the nearer.
///
/// ```
/// # use emitwire_core::transport::Faults;
/// use std::time::Duration;
///
/// let mobile = Faults::new()
///     .loss(0.01)
///     .delay(Duration::from_millis(80))
///     .jitter(Duration::from_millis(40))
///     .bytes_per_second(125_000);
/// # let _ = mobile;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    pub(super) loss: f64,
    pub(super) duplication: f64,
    pub(super) reordering: f64,
    pub(super) corruption: f64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: Option<NonZeroU64>,
}

impl Faults {
    /// None: every frame arrives at once, as it is and in order.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How likely a frame is lost.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.loss = probability.clamp(0.0, 1.0);
        self
    }

    /// How likely a frame that is not lost arrives twice.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.duplication = probability.clamp(0.0, 1.0);
        self
    }

    /// How likely a frame that is not lost is late: it waits until one to four later ones that
    /// are not late have overtaken it. What still waits when the writer ends comes last.
    #[must_use]
    pub fn reordering(mut self, probability: f64) -> Self {
        self.reordering = probability.clamp(0.0, 1.0);
        self
    }

    /// How likely one to three bits of a frame's body are flipped. An empty one stays whole. A
    /// text may be none any more.
    #[must_use]
    pub fn corruption(mut self, probability: f64) -> Self {
        self.corruption = probability.clamp(0.0, 1.0);
        self
    }

    /// How long a frame is under way. At most a day. The end of a connection is as late.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay.min(DELAY_MAX);
        self
    }

    /// By how much a frame may be later than its delay: by anything up to this, evenly spread. At
    /// most a day. A wire that promises order keeps it, so who is slow holds up those behind.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter.min(DELAY_MAX);
        self
    }

    /// How many bytes of bodies pass in a second, at least one, on each connection; 1,500 bytes
    /// pass in advance. A frame arrives whole, when its last byte would.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = Some(at_least_one(bytes));
        self
    }
}

pub(super) fn at_least_one(bytes: u64) -> NonZeroU64 {
    NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN)
}

/// The longest delay and the longest jitter.
const DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
