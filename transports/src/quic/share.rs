//! What datagrams leave to the stream.

use std::time::Duration;
use tokio::time::Instant;

/// quinn puts datagrams into each packet first. A writer with a volatile frame always at hand
/// would so keep the stream from ever being sent, and with it whatever is reliable.
///
/// So datagrams take turns with the stream where both may wait: so many bytes of them without that
/// their buffer was seen empty, then none until it is, and for a round trip more, in which the
/// stream has all packets. If none of it is sent for longer than it takes to notice that packets
/// were lost (RFC 9002 §6.2), none waits, and datagrams need no turns until something is written to
/// the stream again.
#[derive(Debug)]
pub(super) struct Share {
    /// Something may wait in the stream.
    has_rival: bool,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    /// Datagrams may still take so many bytes.
    Datagrams(u64),
    /// None is taken until those before are sent.
    Ends,
    /// None is taken; so many frames of the stream had been sent when it began.
    Stream { since: Instant, frames: u64 },
}

/// What is seen of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) now: Instant,
    /// Something was written to the stream since the last look.
    pub(super) is_written: bool,
    /// No datagram waits.
    pub(super) is_empty: bool,
    /// Frames of the stream that were sent so far.
    pub(super) frames: u64,
    pub(super) round_trip: Duration,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { has_rival: false, turn: Turn::Datagrams(TURN_BYTES) }
    }

    pub(super) fn look(&mut self, seen: Seen) {
        self.has_rival |= seen.is_written;
        match self.turn {
            Turn::Datagrams(_) if seen.is_empty => self.turn = Turn::Datagrams(TURN_BYTES),
            Turn::Ends if seen.is_empty => {
                self.turn = Turn::Stream { since: seen.now, frames: seen.frames };
            }
            Turn::Stream { since, frames } => {
                let (is_sent, lasted) = (seen.frames > frames, seen.now - since);
                let is_over = is_sent && lasted >= seen.round_trip;
                if is_over || lasted >= 3 * seen.round_trip + PATIENCE {
                    self.has_rival = is_sent || seen.is_written;
                    self.turn = Turn::Datagrams(TURN_BYTES);
                }
            }
            Turn::Datagrams(_) | Turn::Ends => {}
        }
    }

    /// Whether a datagram of this size may be sent.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if !self.has_rival {
            return true;
        }
        let Turn::Datagrams(left) = &mut self.turn else { return false };
        match left.checked_sub(bytes as u64) {
            Some(less) => *left = less,
            None => self.turn = Turn::Ends,
        }
        matches!(self.turn, Turn::Datagrams(_))
    }
}

/// What datagrams take in a turn of theirs: enough for whatever is written before quinn's task had
/// a chance to send anything, and little enough that the stream does not wait for long.
const TURN_BYTES: u64 = 32 * 1024;

/// How long, besides round trips, a stream that waits may have nothing sent: the peer's delay of
/// acknowledgements, and what a machine under load adds.
const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    /// How many datagrams of so many bytes it takes in a row.
    fn takes(share: &mut Share, bytes: usize) -> u64 {
        (0..100_000).take_while(|_| share.take(bytes)).count() as u64
    }

    struct Wire {
        share: Share,
        seen: Seen,
    }

    impl Wire {
        fn new() -> Self {
            let (now, round_trip) = (Instant::now(), ROUND_TRIP);
            let seen = Seen { now, is_written: false, is_empty: true, frames: 0, round_trip };
            Self { share: Share::new(), seen }
        }

        fn look(&mut self, change: impl FnOnce(&mut Seen)) -> &mut Share {
            self.seen.is_written = false;
            change(&mut self.seen);
            self.share.look(self.seen);
            &mut self.share
        }
    }

    #[test]
    fn without_a_rival_datagrams_take_everything() {
        let mut wire = Wire::new();
        assert_eq!(takes(wire.look(|_| {}), 1000), 100_000);
        assert_eq!(takes(wire.look(|seen| seen.is_empty = false), 1000), 100_000);
    }

    #[test]
    fn while_they_are_sent_as_they_come_they_take_everything() {
        let mut wire = Wire::new();
        for _ in 0..1000 {
            let share = wire.look(|seen| seen.is_written = true);
            assert!((0..20).all(|_| share.take(1000)));
        }
    }

    #[test]
    fn where_both_wait_they_take_turns() {
        let mut wire = Wire::new();
        wire.look(|seen| seen.is_written = true);
        for _ in 0..10 {
            assert_eq!(takes(wire.look(|seen| seen.is_empty = false), 1024), 32);
            assert_eq!(takes(wire.look(|seen| seen.now += ROUND_TRIP * 9), 1), 0);
            assert_eq!(takes(wire.look(|seen| seen.is_empty = true), 1), 0);
            assert_eq!(takes(wire.look(|seen| seen.now += ROUND_TRIP / 2), 1), 0);
            wire.look(|seen| {
                seen.now += ROUND_TRIP / 2;
                seen.frames += 1;
            });
        }
    }

    #[test]
    fn a_stream_of_which_nothing_is_sent_in_its_turn_is_no_rival() {
        let mut wire = Wire::new();
        wire.look(|seen| seen.is_written = true);
        takes(wire.look(|seen| seen.is_empty = false), 1024);
        wire.look(|seen| seen.is_empty = true);
        assert_eq!(takes(wire.look(|seen| seen.now += ROUND_TRIP * 2), 1024), 0);
        assert_eq!(takes(wire.look(|seen| seen.now += ROUND_TRIP * 3), 1024), 100_000);
        wire.look(|seen| (seen.is_written, seen.is_empty) = (true, false));
        assert_eq!(takes(&mut wire.share, 1024), 32);
    }
}
