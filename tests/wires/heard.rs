//! What an end has heard, and talk that goes on while something else happens.

use super::becomes;
use emitwire::{Data, DisconnectReason, Namespace, Outcome, Socket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Numbers that were heard, and what else happened to the sockets of one end.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    numbers: Arc<Mutex<Vec<u64>>>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    /// `n` is a number, and answered with its double.
    pub(crate) fn keep(&self) -> Namespace {
        let (number, detach, attach) = (self.clone(), self.clone(), self.clone());
        Namespace::new("/")
            .on("n", move |Data(value): Data<u64>| {
                number.numbers.lock().unwrap().push(value);
                async move { value * 2 }
            })
            .on_detach(move |reason: DisconnectReason| {
                detach.note(format!("detached: {reason}"));
                async {}
            })
            .on_attach(move |outcome: Outcome| {
                attach.note(format!("attached: {outcome:?}"));
                async {}
            })
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.notes.lock().unwrap().push(note.into());
    }

    /// What was noted since the last time.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    pub(crate) fn count(&self) -> u64 {
        self.numbers.lock().unwrap().len() as u64
    }

    pub(crate) async fn reaches(&self, enough: u64) {
        becomes(|| self.count() >= enough, true).await;
    }

    /// All of them once and in order, and no others.
    #[track_caller]
    pub(crate) fn heard_all(&self, of: u64) {
        let numbers = self.numbers.lock().unwrap();
        let wrong = (0..).zip(&*numbers).find(|(place, number)| place != *number);
        assert_eq!(wrong, None, "lost, doubled or out of order");
        assert_eq!(numbers.len() as u64, of);
    }
}

/// Says so many numbers, as fast as they are taken.
pub(crate) async fn count_to(socket: Socket, end: u64) {
    for value in 0..end {
        socket.emit("n", &value).await.unwrap();
    }
}

/// Says numbers until it is over; gives how many.
pub(crate) async fn count_until(socket: Socket, over: Arc<AtomicBool>) -> u64 {
    for value in 0.. {
        if over.load(Ordering::Relaxed) {
            return value;
        }
        socket.emit("n", &value).await.unwrap();
    }
    unreachable!("there is always one more")
}
