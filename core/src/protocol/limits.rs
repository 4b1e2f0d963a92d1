//! What each side announces when a session begins.

use std::time::Duration;

/// Events and their bytes: a window, or what was spent of one since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Events.
    pub events: u64,
    /// Bytes of their names and payloads.
    pub bytes: u64,
}

impl Credit {
    /// One event of so many bytes.
    #[must_use]
    pub fn one(bytes: usize) -> Self {
        Self { events: 1, bytes: bytes as u64 }
    }

    /// The sum; stays at the largest number instead of wrapping.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The difference, zero where it would be negative.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// Whether either part reaches a quarter of `whole`.
    #[must_use]
    pub fn is_quarter_of(self, whole: Self) -> bool {
        self.events > 0
            && (self.events.saturating_mul(4) >= whole.events
                || self.bytes.saturating_mul(4) >= whole.bytes)
    }
}

/// One side's limits, announced in its hello or welcome and valid for the whole session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest event that this side takes, in bytes of name and payload.
    pub event_bytes_max: u32,
    /// How far the peer may run ahead of this side's handlers.
    pub window: Credit,
    /// Written packets that this side keeps until they are confirmed.
    pub log_packets_max: u32,
    /// Bytes of written packets that this side keeps until they are confirmed.
    pub log_bytes_max: u32,
    /// How often this side sends a heartbeat. Unit on the wire: milliseconds.
    pub heartbeat_interval: Duration,
    /// How long this side remembers final answers; zero when it does not. Unit: milliseconds.
    pub dedup_horizon: Duration,
}
