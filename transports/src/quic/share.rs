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
/// the stream again. A stream of which something was sent since it was last written to, and no
/// datagram was left over, waits hardly: before its turn as many datagrams as their buffer holds
/// are taken, so that one burst of them finds it shut for nobody.
#[derive(Debug)]
pub(super) struct Share {
    rival: Rival,
    turn: Turn,
    /// Frames of the stream that had been sent when it was last written to.
    mark: u64,
    /// What datagrams take in a turn where hardly anything waits in the stream.
    burst_bytes: u64,
}

/// Whether something waits in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rival {
    None,
    Unlikely,
    Likely,
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
    /// Something that was to be written to it found no room.
    pub(super) is_blocked: bool,
    /// No datagram waits.
    pub(super) is_empty: bool,
    /// Frames of the stream that were sent so far.
    pub(super) frames: u64,
    pub(super) round_trip: Duration,
}

impl Share {
    /// For datagrams whose buffer holds so much.
    pub(super) fn new(buffer_bytes: usize) -> Self {
        let burst_bytes = TURN_BYTES.max(buffer_bytes as u64);
        Self { rival: Rival::None, turn: Turn::Datagrams(TURN_BYTES), mark: 0, burst_bytes }
    }

    /// The stream is about to be written to; so many of its frames were sent so far.
    pub(super) fn writes(&mut self, frames: u64) {
        self.mark = frames;
    }

    pub(super) fn look(&mut self, seen: Seen) {
        let is_sent = seen.is_empty && !seen.is_blocked && seen.frames > self.mark;
        let was_likely = self.rival == Rival::Likely || seen.is_written;
        self.rival = match self.rival {
            _ if was_likely && is_sent => Rival::Unlikely,
            _ if was_likely => Rival::Likely,
            rival => rival,
        };
        let becomes_unlikely = was_likely && is_sent;
        match self.turn {
            Turn::Datagrams(_) if seen.is_empty => self.turn = self.datagrams(),
            Turn::Ends if becomes_unlikely => self.turn = self.datagrams(),
            Turn::Ends if seen.is_empty => {
                self.turn = Turn::Stream { since: seen.now, frames: seen.frames };
            }
            Turn::Stream { since, frames } => {
                let (is_sent, lasted) = (seen.frames > frames, seen.now - since);
                let is_over = is_sent && lasted >= seen.round_trip;
                if is_over || lasted >= 3 * seen.round_trip + PATIENCE {
                    let waits = is_sent || seen.is_written;
                    self.rival = if waits { Rival::Likely } else { Rival::None };
                    // It needed its turn, and so may what is left of it.
                    self.mark = u64::MAX;
                    self.turn = self.datagrams();
                }
            }
            Turn::Datagrams(_) | Turn::Ends => {}
        }
    }

    /// Whether a datagram of this size may be sent.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.rival == Rival::None {
            return true;
        }
        let Turn::Datagrams(left) = &mut self.turn else { return false };
        match left.checked_sub(bytes as u64) {
            Some(less) => *left = less,
            None => self.turn = Turn::Ends,
        }
        matches!(self.turn, Turn::Datagrams(_))
    }

    fn datagrams(&self) -> Turn {
        Turn::Datagrams(match self.rival {
            Rival::Unlikely => self.burst_bytes,
            Rival::None | Rival::Likely => TURN_BYTES,
        })
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
            let (is_written, is_blocked, is_empty, frames) = (false, false, true, 0);
            let seen = Seen { now, is_written, is_blocked, is_empty, frames, round_trip };
            Self { share: Share::new(256 * 1024), seen }
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
    fn a_burst_behind_something_small_that_was_sent_is_taken_whole() {
        let mut wire = Wire::new();
        for _ in 0..10 {
            wire.share.writes(wire.seen.frames);
            wire.look(|seen| seen.is_written = true);
            assert_eq!(takes(wire.look(|seen| seen.frames += 1), 1024), 256);
            // Whether all of it was sent is not known, so that it gets its turn.
            assert_eq!(takes(wire.look(|_| {}), 1024), 0);
            assert_eq!(takes(wire.look(|seen| seen.now += ROUND_TRIP * 5), 1024), 100_000);
        }
    }

    #[test]
    fn a_burst_that_began_too_early_goes_on_when_the_stream_is_sent() {
        let mut wire = Wire::new();
        wire.share.writes(0);
        assert_eq!(takes(wire.look(|seen| seen.is_written = true), 1024), 32);
        let blocked = wire.look(|seen| (seen.frames, seen.is_blocked) = (1, true));
        assert_eq!(takes(blocked, 1024), 0);
        let mut wire = Wire::new();
        wire.share.writes(0);
        assert_eq!(takes(wire.look(|seen| seen.is_written = true), 1024), 32);
        assert_eq!(takes(wire.look(|seen| seen.frames = 1), 1024), 256);
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
