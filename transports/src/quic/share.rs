//! How much datagrams may take while the stream waits.

use bytes::Bytes;
use quinn::Connection;

/// quinn puts datagrams into each packet first. A writer with a volatile frame always at hand
/// would so keep the stream from ever being sent, and with it whatever is reliable. While the
/// stream is known to wait, datagrams take no more than it gets.
///
/// That it waits is seen from what was written to it and what has left since. Whatever is not
/// clearly something else counts as the stream, so it never counts as waiting when it does not.
#[derive(Default)]
pub(super) struct Share {
    /// Bytes of the stream that have not left for sure.
    waiting: u64,
    /// Bytes that datagrams may still take while the stream waits.
    credit: u64,
    /// What had left as of the last look.
    left: Left,
}

impl Share {
    /// So many bytes were written to the stream, and so much has left until now.
    pub(super) fn look(&mut self, written: u64, left: Left, packet_bytes_max: u64) {
        let frames = left.stream_frames - self.left.stream_frames;
        let sent = (frames * packet_bytes_max).min(left.others.saturating_sub(self.left.others));
        // Counted one after another, they may seem to shrink.
        self.left = Left { others: left.others.max(self.left.others), ..left };
        self.waiting = (self.waiting + written).saturating_sub(sent);
        self.credit = CREDIT_BYTES_MAX.min(self.credit + sent);
        if self.waiting == 0 {
            self.credit = CREDIT_BYTES_MAX;
        }
    }

    /// Whether a datagram of this size may be sent.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.waiting == 0 {
            return true;
        }
        let credit = self.credit.checked_sub(bytes as u64);
        self.credit = credit.unwrap_or(self.credit);
        credit.is_some()
    }
}

/// What has left on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// Frames of the stream; each is in one packet.
    stream_frames: u64,
    /// Bytes that are neither datagrams nor the least that every packet adds.
    others: u64,
}

/// What datagrams are in quinn's buffer, and were.
pub(super) struct Buffer {
    bytes: u64,
    /// What all of them took.
    taken: u64,
}

impl Buffer {
    /// One in which there is nothing yet.
    pub(super) fn new(connection: &Connection) -> Self {
        Self { bytes: connection.datagram_send_buffer_space() as u64, taken: 0 }
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes as u64 + ENTRY_BYTES;
    }

    /// What has left, and how large a packet may be.
    pub(super) fn left(&self, connection: &Connection) -> (Left, u64) {
        // In this order, so that what leaves meanwhile counts as others.
        let space = connection.datagram_send_buffer_space() as u64;
        let stats = connection.stats();
        let waits = self.bytes.saturating_sub(space);
        let datagrams = stats.frame_tx.datagram;
        let headers = datagrams * DATAGRAM_HEADER_BYTES;
        let bodies = self.taken.saturating_sub(waits + datagrams * ENTRY_BYTES);
        let least = bodies + headers + stats.path.sent_packets * PACKET_BYTES_MIN;
        let others = stats.udp_tx.bytes.saturating_sub(least);
        let left = Left { stream_frames: stats.frame_tx.stream, others };
        (left, stats.path.current_mtu.into())
    }
}

/// What datagrams may take at once while the stream waits: enough for whatever is written in one
/// turn, before quinn's task had a chance to send anything.
const CREDIT_BYTES_MAX: u64 = 32 * 1024;

/// What quinn counts for each datagram in its buffer, besides its body.
const ENTRY_BYTES: u64 = size_of::<Bytes>() as u64;

/// The least that each datagram adds: its type and its length (RFC 9221 §4).
const DATAGRAM_HEADER_BYTES: u64 = 2;

/// The least that each packet adds: flags, a packet number and a tag (RFC 9000 §17.3.1).
const PACKET_BYTES_MIN: u64 = 1 + 1 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1200;

    fn left(stream_frames: u64, others: u64) -> Left {
        Left { stream_frames, others }
    }

    /// How many datagrams of so many bytes it takes in a row.
    fn takes(share: &mut Share, bytes: usize) -> u64 {
        (0..100_000).take_while(|_| share.take(bytes)).count() as u64
    }

    #[test]
    fn while_the_stream_does_not_wait_datagrams_take_everything() {
        let mut share = Share::default();
        assert_eq!(takes(&mut share, 1000), 100_000);
        share.look(5000, left(5, 5100), PACKET);
        assert_eq!(takes(&mut share, 1000), 100_000);
    }

    #[test]
    fn while_it_waits_they_take_what_is_left_and_then_as_much_as_it_gets() {
        let mut share = Share::default();
        share.look(0, left(0, 0), PACKET);
        share.look(1_000_000, left(0, 0), PACKET);
        assert_eq!(takes(&mut share, 1024), 32);
        share.look(0, left(0, 3000), PACKET);
        assert_eq!(takes(&mut share, 1024), 0, "what was no frame of the stream");
        for sent in 1..100 {
            // Little of the stream in each packet.
            share.look(0, left(sent * 10, 3000 + sent * 1000), PACKET);
            assert_eq!(takes(&mut share, 1), 1000);
        }
    }

    #[test]
    fn credit_is_not_saved_up() {
        let mut share = Share::default();
        share.look(1_000_000, left(500, 600_000), PACKET);
        assert_eq!(takes(&mut share, 1024), 32);
    }

    #[test]
    fn counts_that_seem_to_shrink_give_no_credit_twice() {
        let mut share = Share::default();
        share.look(1_000_000, left(100, 40_000), PACKET);
        takes(&mut share, 1);
        share.look(0, left(100, 30_000), PACKET);
        share.look(0, left(110, 41_000), PACKET);
        assert_eq!(takes(&mut share, 1), 1000);
    }
}
