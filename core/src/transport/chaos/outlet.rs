//! The way into the inner wire: its writing half, with the frames that it has not taken yet.

use super::line::{Item, Line};
use crate::protocol::{CloseCode, Frame};
use crate::transport::WriteHalf;
use crate::transport::memory::cost_bytes;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use tokio::time::Instant;

pub(super) struct Outlet {
    half: Box<dyn WriteHalf>,
    batch: VecDeque<Frame>,
    /// The last write was pending: the half may have begun the frame in front, and is to get it
    /// again; or it has taken frames over that it has not written yet, and is to be called again
    /// even if the batch is empty.
    owes: bool,
    /// Volatile frames that the half had no room for, and nobody has asked about yet.
    dropped: u64,
}

impl Outlet {
    pub(super) fn new(half: Box<dyn WriteHalf>) -> Self {
        Self { half, batch: VecDeque::new(), owes: false, dropped: 0 }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_empty() && !self.owes
    }

    /// Takes what has arrived from the line, where it goes on needing room until it is written.
    pub(super) fn fill(&mut self, line: &mut Line, now: Instant) {
        while self.batch.len() < BATCH_FRAMES_MAX && line.first().is_some_and(|it| it.0 <= now) {
            if let Some(Item::Frame(frame)) = line.pop() {
                self.batch.push_back(frame);
            }
        }
        line.hold(self.cost_bytes());
    }

    /// Ready when everything is written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.half.poll_write(cx, &mut self.batch);
        self.owes = written.is_pending();
        self.dropped += self.half.take_dropped();
        written
    }

    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    pub(super) fn goodbye(&mut self, code: CloseCode) {
        self.half.goodbye(code);
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half.poll_close(cx)
    }

    /// What the frames weigh that are not written yet.
    pub(super) fn cost_bytes(&self) -> usize {
        self.batch.iter().map(cost_bytes).sum()
    }

    /// How many frames are not written yet.
    pub(super) fn frames(&self) -> usize {
        self.batch.len()
    }

    /// Forgets the frames that the half has not begun, and says how many that was.
    pub(super) fn forget_unbegun(&mut self) -> u64 {
        let begun = self.batch.len().min(usize::from(self.owes));
        self.batch.drain(begun..).count() as u64
    }

    /// Forgets all frames, and says how many that was. The half is to write nothing more.
    pub(super) fn clear(&mut self) -> u64 {
        self.batch.drain(..).count() as u64
    }
}

/// Frames that are taken from the line at once.
const BATCH_FRAMES_MAX: usize = 64;
