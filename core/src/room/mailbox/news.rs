//! What a mailbox and its driver tell each other.

use super::{Asides, Flush, Mailbox, News, Phase};
use crate::protocol::{Position, SocketId};

impl Mailbox {
    /// For the driver, at the beginning of its poll: it is awake, nobody need wake it.
    pub fn begin_poll(&self) {
        self.lock().driver = None;
    }

    /// For the driver, when it has read up to counted packet `received`: what happened besides.
    pub fn take_news(&self, received: u64) -> News {
        let mut state = self.lock();
        state.notices.position.0 = received;
        state.news = false;
        let asides = state.asides.as_deref_mut().map(Asides::take_news).unwrap_or_default();
        News {
            leaving: asides.leaving,
            losses: asides.losses,
            freed: std::mem::take(&mut state.freed),
            position_rode: std::mem::take(&mut state.notices.rode),
            is_closed: matches!(state.phase, Phase::Closed(_)),
        }
    }

    /// Stops a position from riding; says whether one did since that was last told.
    pub fn take_rode(&self) -> bool {
        let mut state = self.lock();
        state.notices.may_ride = false;
        std::mem::take(&mut state.notices.rode)
    }

    /// Lets a position go with whatever is written next, by whomever.
    pub fn let_ride(&self, position: &Position) {
        let mut state = self.lock();
        state.notices.position = (position.received, position.granted);
        state.notices.may_ride = true;
    }

    /// For the driver, after it has registered: whether something happened since it looked.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let state = self.lock();
        state.news || state.freed.events > 0
    }

    /// Says a position with whatever goes out next, at the latest with the next flush.
    pub fn post_position(&self, position: &Position) -> Flush {
        let mut state = self.lock();
        state.notices.position = (position.received, position.granted);
        state.notices.position_due = true;
        // It is newer than the one that might have gone with something else.
        state.notices.may_ride = false;
        state.notices.rode = false;
        state.appended(self)
    }

    /// For the driver: all that the peer had sent when it asked has finished, so that answers to
    /// come hold up nobody.
    pub fn peer_is_content(&self) {
        self.lock().peer_waits = false;
    }

    /// Says a heartbeat.
    pub fn post_heartbeat(&self) -> Flush {
        let mut state = self.lock();
        state.notices.heartbeat = true;
        state.appended(self)
    }

    /// Asks for the peer's position unless that was done since the last one came.
    pub fn post_ask(&self) -> Flush {
        let mut state = self.lock();
        state.ask();
        state.appended(self)
    }

    /// All counted packets of the peer up to here have arrived, as the driver last said.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().notices.position.0
    }

    /// For the driver: all counted packets of the peer up to here have arrived.
    pub fn set_position(&self, received: u64) {
        self.lock().notices.position.0 = received;
    }

    /// Wakes the driver: something outside of the mailbox wants its attention.
    pub fn nudge(&self) {
        self.lock().wake_driver();
    }

    /// Has the driver end one socket of this session, with words for its peer.
    pub fn ask_to_leave(&self, socket: SocketId, words: &str) {
        let mut state = self.lock();
        let leaving = &mut state.asides.get_or_insert_default().leaving;
        if !leaving.iter().any(|(known, _)| *known == socket) {
            leaving.push((socket, words.into()));
        }
        state.wake_driver();
    }

    /// Its peer was too slow again and again: what is said to its rooms makes way for newer until
    /// it has caught up.
    pub fn lag(&self) {
        let mut state = self.lock();
        state.is_lagging = true;
        state.lanes.let_broadcasts_yield();
    }
}
