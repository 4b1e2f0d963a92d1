//! A turn: what is appended to mailboxes during one poll is written once, at its end.
//!
//! The driver runs each batch of received packets in a turn, and so does every poll of a handler.
//! Sixteen broadcasts made in one turn cost each member one write. There is no timer: a turn ends
//! when its poll does. Outside of a turn an append is written in place.

use super::mailbox::{Flush, Mailbox};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// The mailboxes to flush at the end of this thread's turn; none outside of one.
    static TURN: RefCell<Option<Vec<Arc<Mailbox>>>> = const { RefCell::new(None) };
}

/// Runs `poll` in a turn. Inside another turn it is part of that one.
pub(crate) fn turn<R>(poll: impl FnOnce() -> R) -> R {
    let outermost = TURN.with_borrow_mut(|turn| match turn {
        Some(_) => false,
        None => {
            *turn = Some(Vec::new());
            true
        }
    });
    let end = TurnEnd(outermost);
    let result = poll();
    drop(end);
    result
}

/// Flushes also when the poll panics: other sessions' events are in those mailboxes.
struct TurnEnd(bool);

impl Drop for TurnEnd {
    fn drop(&mut self) {
        if self.0 {
            let mailboxes = TURN.take();
            for mailbox in mailboxes.into_iter().flatten() {
                mailbox.flush();
            }
        }
    }
}

impl Mailbox {
    /// Has what was just appended written: now, or with the rest of the turn. Not to be called
    /// under a lock.
    pub(crate) fn flush_in_turn(self: &Arc<Self>, flush: Flush) {
        let in_turn = TURN.with_borrow_mut(|turn| match (turn, flush) {
            (Some(mailboxes), Flush::AtTurnEnd) => {
                mailboxes.push(Arc::clone(self));
                true
            }
            (Some(_), Flush::Pending) => true,
            _ => false,
        });
        if !in_turn {
            self.flush();
        }
    }
}
