//! Events that the peer has answered before its position said that it has them.

use crate::protocol::EventRef;
use std::collections::HashSet;

/// Places that an idle session keeps.
const SPARE_MAX: usize = 4;

/// Events that the peer has, whatever its last position said. Nothing while nothing is under way.
#[derive(Default)]
pub(super) struct Answered {
    /// Since the position before last.
    recent: Vec<EventRef>,
    /// Before that: they were written up to this number.
    older: Vec<EventRef>,
    older_up_to: u64,
}

impl Answered {
    /// The peer has answered an event; at most `max` are remembered of each kind.
    pub(super) fn note(&mut self, event: EventRef, max: usize) {
        if self.recent.len() < max {
            self.recent.push(event);
        }
    }

    /// The peer has all packets up to `received`, when `sent` have been written.
    pub(super) fn handle_position(&mut self, received: u64, sent: u64) {
        if received >= self.older_up_to {
            self.older.clear();
            std::mem::swap(&mut self.older, &mut self.recent);
            self.older_up_to = sent;
        }
        if received >= sent {
            self.older = Vec::new();
            self.recent.shrink_to(SPARE_MAX);
        }
    }

    /// All of them; they are forgotten.
    pub(super) fn take(&mut self) -> HashSet<EventRef> {
        let all = std::mem::take(self);
        all.recent.into_iter().chain(all.older).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> EventRef {
        EventRef { producer: None, number }
    }

    #[test]
    fn an_event_is_remembered_until_a_position_covers_all_that_was_written_when_it_was_answered() {
        let mut answered = Answered::default();
        answered.note(event(5), 9);
        // It was on its way before the answer was.
        answered.handle_position(4, 8);
        answered.note(event(7), 9);
        assert!(answered.older.contains(&event(5)));
        answered.handle_position(7, 9);
        assert_eq!(answered.older.len() + answered.recent.len(), 2);
        answered.handle_position(8, 9);
        assert_eq!(answered.take(), HashSet::from([event(7)]));
        answered.note(event(9), 9);
        answered.handle_position(9, 9);
        assert!(answered.take().is_empty());
    }
}
