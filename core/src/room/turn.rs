//! A turn: what is appended to mailboxes during one poll is written once, at its end.
//!
//! The driver runs each batch of received packets in a turn, and so does every poll of a handler.
//! Sixteen broadcasts made in one turn cost each member one write. There is no timer: a turn ends
//! when its poll does. Outside of a turn an append is written in place.

use super::mailbox::{Flush, Mailbox};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

thread_local! {
    /// The mailboxes to flush at the end of this thread's turn; none outside of one.
    static TURN: RefCell<Option<Vec<Arc<Mailbox>>>> = const { RefCell::new(None) };

    /// The room for them, between turns.
    static SPARE: Cell<Vec<Arc<Mailbox>>> = const { Cell::new(Vec::new()) };
}

/// A turn that met more mailboxes leaves no room behind.
const SPARE_PLACES_MAX: usize = 1024;

/// This thread's turn; nothing when the thread is about to end and has none any more.
fn with_turn<R>(f: impl FnOnce(&mut Option<Vec<Arc<Mailbox>>>) -> R) -> Option<R> {
    TURN.try_with(|turn| f(&mut turn.borrow_mut())).ok()
}

/// Runs `poll` in a turn. Inside another turn it is part of that one.
pub(crate) fn turn<R>(poll: impl FnOnce() -> R) -> R {
    let outermost = with_turn(|turn| {
        let outermost = turn.is_none();
        turn.get_or_insert_with(|| SPARE.try_with(Cell::take).unwrap_or_default());
        outermost
    });
    let end = TurnEnd(outermost.unwrap_or(false));
    let result = poll();
    drop(end);
    result
}

/// Flushes also when the poll panics: other sessions' events are in those mailboxes.
struct TurnEnd(bool);

impl Drop for TurnEnd {
    fn drop(&mut self) {
        if self.0 {
            let mut mailboxes = with_turn(Option::take).flatten().unwrap_or_default();
            for mailbox in mailboxes.drain(..) {
                mailbox.flush();
            }
            if mailboxes.capacity() <= SPARE_PLACES_MAX {
                let _ = SPARE.try_with(|spare| spare.set(mailboxes));
            }
        }
    }
}

impl Mailbox {
    /// Has what was just appended written: now, or with the rest of the turn. Not to be called
    /// under a lock.
    pub(crate) fn flush_in_turn(self: &Arc<Self>, flush: Flush) {
        let in_turn = with_turn(|turn| match (turn, flush) {
            (Some(mailboxes), Flush::AtTurnEnd) => {
                mailboxes.push(Arc::clone(self));
                true
            }
            (Some(_), Flush::Pending) => true,
            _ => false,
        });
        if !in_turn.unwrap_or(false) {
            self.flush();
        }
    }
}
