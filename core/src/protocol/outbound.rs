//! The numbers of what a session sends. It holds no payload: the mailbox does.

use super::{Credit, Position, ProtocolError};

/// The outbound machine of a session: what was written, what is confirmed, what may still go.
///
/// A counted packet gets its number at its first hand-over to a wire. Only events spend the
/// window; everything else may overtake them.
#[derive(Clone, Debug)]
pub struct Outbound {
    written: u64,
    /// Of these, handed to the current link: all but those that are still to be replayed.
    sent: u64,
    confirmed: u64,
    spent: Credit,
    granted: Credit,
    window: Credit,
}

impl Outbound {
    /// The machine of a new session whose peer announced `window`.
    #[must_use]
    pub fn new(window: Credit) -> Self {
        let spent = Credit::default();
        Self { written: 0, sent: 0, confirmed: 0, spent, granted: window, window }
    }

    /// Counted packets handed to a wire since the session began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Counted packets that the current link has been given, the replayed ones of older links
    /// among them: the count that a heartbeat on it carries.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The peer has all counted packets up to here.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Whether an event of this size may be written now. With nothing outstanding one event of any
    /// size may go, so that a window smaller than an event never blocks for ever.
    #[must_use]
    pub fn admits(&self, event_bytes: usize) -> bool {
        let after = self.spent.plus(Credit::one(event_bytes));
        let fits = after.events <= self.granted.events && after.bytes <= self.granted.bytes;
        fits || self.spent.events == self.finished().events
    }

    /// Whether a link may begin with the peer having all packets up to `position`, and no more.
    ///
    /// # Errors
    /// [`ProtocolError::Position`] when the peer claims more than was written, or less than it has
    /// confirmed.
    pub fn check_attach(&self, position: u64) -> Result<(), ProtocolError> {
        let written = self.written;
        if position < self.confirmed || position > written {
            return Err(ProtocolError::Position { position, written });
        }
        Ok(())
    }

    /// A link begins, and the peer has all packets up to `position`: what was written behind it is
    /// to be replayed. Says how many packets are newly confirmed.
    ///
    /// # Errors
    /// As [`Outbound::check_attach`].
    pub fn handle_attach(&mut self, position: u64) -> Result<u64, ProtocolError> {
        self.check_attach(position)?;
        let confirmed = position - self.confirmed;
        self.confirmed = position;
        self.sent = position;
        Ok(confirmed)
    }

    /// The next `count` numbers are given to the link again, or skipped on it. Says the first.
    pub fn replay(&mut self, count: u64) -> u64 {
        debug_assert!(self.sent + count <= self.written, "only what was written is replayed");
        let first = self.sent + 1;
        self.sent += count;
        first
    }

    /// Numbers a counted packet that spends nothing.
    pub fn hand_over(&mut self) -> u64 {
        debug_assert_eq!(self.sent, self.written, "what is to be replayed comes first");
        self.written += 1;
        self.sent = self.written;
        self.written
    }

    /// Numbers an event and spends its part of the window.
    pub fn hand_over_event(&mut self, event_bytes: usize) -> u64 {
        debug_assert!(self.admits(event_bytes), "the caller asks `admits` first");
        self.spent = self.spent.plus(Credit::one(event_bytes));
        self.hand_over()
    }

    /// Takes the peer's position and grant; says how many packets are newly confirmed.
    ///
    /// Positions and grants only ever grow: a lower one is old news and changes nothing.
    ///
    /// # Errors
    /// [`ProtocolError::Position`] when the peer claims more than was written, or finished more
    /// than was sent.
    pub fn handle_position(&mut self, position: &Position) -> Result<u64, ProtocolError> {
        let finished = position.granted.minus(self.window);
        if position.received > self.sent
            || finished.events > self.spent.events
            || finished.bytes > self.spent.bytes
        {
            let (position, written) = (position.received, self.sent);
            return Err(ProtocolError::Position { position, written });
        }
        let confirmed = position.received.saturating_sub(self.confirmed);
        self.confirmed += confirmed;
        self.granted.events = self.granted.events.max(position.granted.events);
        self.granted.bytes = self.granted.bytes.max(position.granted.bytes);
        Ok(confirmed)
    }

    /// What the peer's handlers have finished, as far as this side was told.
    fn finished(&self) -> Credit {
        self.granted.minus(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Credit = Credit { events: 2, bytes: 100 };

    fn position(received: u64, events: u64, bytes: u64) -> Position {
        Position { received, granted: Credit { events, bytes }, ..Position::default() }
    }

    #[test]
    fn only_events_spend_the_window() {
        let mut outbound = Outbound::new(WINDOW);
        for _ in 0..10 {
            outbound.hand_over();
        }
        outbound.hand_over_event(10);
        assert!(outbound.admits(90) && !outbound.admits(91));
        assert_eq!(outbound.hand_over_event(10), 12);
        assert!(!outbound.admits(0));
    }

    #[test]
    fn with_nothing_outstanding_one_event_of_any_size_may_go() {
        let mut outbound = Outbound::new(WINDOW);
        assert!(outbound.admits(1_000_000));
        outbound.hand_over_event(1_000_000);
        assert!(!outbound.admits(1));
        outbound.handle_position(&position(1, 2, 100)).unwrap();
        assert!(!outbound.admits(1), "received is not finished");
        outbound.handle_position(&position(1, 3, 1_000_100)).unwrap();
        assert!(outbound.admits(1_000_000));
    }

    #[test]
    fn positions_confirm_once_and_never_go_back() {
        let mut outbound = Outbound::new(WINDOW);
        outbound.hand_over();
        outbound.hand_over_event(5);
        assert_eq!(outbound.handle_position(&position(2, 2, 100)), Ok(2));
        assert_eq!(outbound.handle_position(&position(1, 2, 100)), Ok(0));
        assert_eq!(outbound.confirmed(), 2);
    }

    #[test]
    fn a_new_link_replays_what_the_peer_does_not_have_and_spends_nothing_again() {
        let mut outbound = Outbound::new(WINDOW);
        outbound.hand_over_event(10);
        outbound.hand_over();
        outbound.hand_over_event(10);
        assert_eq!(outbound.handle_attach(1), Ok(1));
        assert_eq!((outbound.sent(), outbound.written()), (1, 3));
        let unsent = ProtocolError::Position { position: 3, written: 1 };
        assert_eq!(outbound.handle_position(&position(3, 2, 100)), Err(unsent));
        assert_eq!(outbound.replay(2), 2);
        assert!(!outbound.admits(1), "the window was spent the first time");
        assert_eq!(outbound.handle_position(&position(3, 2, 100)), Ok(2));
        assert_eq!(outbound.hand_over(), 4);
        let forgotten = ProtocolError::Position { position: 2, written: 4 };
        assert_eq!(outbound.handle_attach(2), Err(forgotten), "it was confirmed");
        let unwritten = ProtocolError::Position { position: 5, written: 4 };
        assert_eq!(outbound.handle_attach(5), Err(unwritten));
    }

    #[test]
    fn a_position_beyond_what_was_written_is_a_violation() {
        let mut outbound = Outbound::new(WINDOW);
        outbound.hand_over();
        let error = ProtocolError::Position { position: 2, written: 1 };
        assert_eq!(outbound.handle_position(&position(2, 2, 100)), Err(error));
        let error = ProtocolError::Position { position: 1, written: 1 };
        assert_eq!(
            outbound.handle_position(&position(1, 3, 100)),
            Err(error),
            "a grant for nothing"
        );
    }
}
