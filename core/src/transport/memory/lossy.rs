//! The writing half of a lossy wire: loses, doubles and delays frames as the dice say.

use super::faults::{Dice, Fate, Faults};
use super::pipe::Writer;
use crate::protocol::Frame;
use crate::transport::WriteHalf;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Frames that a wire dropped, on all its connections and in both directions.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) lost: AtomicU64,
    pub(super) overflowed: AtomicU64,
}

/// Throws frames into a pipe and never waits for room.
pub(super) struct LossyWriter {
    writer: Writer,
    faults: Faults,
    dice: Dice,
    late: Vec<Late>,
    drops: Arc<Drops>,
}

impl LossyWriter {
    /// `stream` tells the directions and connections of one seed apart.
    pub(super) fn new(writer: Writer, faults: Faults, stream: u64, drops: Arc<Drops>) -> Self {
        let dice = Dice::new(faults.seed, stream);
        Self { writer, faults, dice, late: Vec::new(), drops }
    }

    /// Decides what becomes of one frame; what travels now is put behind `out`.
    fn throw(&mut self, frame: Frame, out: &mut VecDeque<Frame>) {
        let Fate { lost, doubled, overtaken_by } = self.dice.throw(&self.faults);
        if lost {
            self.drops.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if doubled {
            self.pass(frame.clone(), out);
        }
        if overtaken_by > 0 && self.late.len() < LATE_FRAMES_MAX {
            self.late.push(Late { frame, overtaken_by });
        } else {
            self.pass(frame, out);
        }
    }

    /// Lets one frame travel, and behind it the late ones that it was the last to overtake.
    fn pass(&mut self, frame: Frame, out: &mut VecDeque<Frame>) {
        out.push_back(frame);
        let (due, late): (Vec<_>, Vec<_>) = mem::take(&mut self.late)
            .into_iter()
            .map(|late| Late { overtaken_by: late.overtaken_by - 1, ..late })
            .partition(|late| late.overtaken_by == 0);
        self.late = late;
        out.extend(due.into_iter().map(|late| late.frame));
    }

    fn deliver(&self, frames: VecDeque<Frame>) -> io::Result<()> {
        let dropped = self.writer.write_or_drop(frames)?;
        self.drops.overflowed.fetch_add(dropped as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing can overtake the late ones any more.
    fn flush(&mut self) {
        if !self.late.is_empty() {
            let frames = self.late.drain(..).map(|late| late.frame).collect();
            // Where nobody reads any more nothing is missed.
            let _ = self.deliver(frames);
        }
    }
}

impl WriteHalf for LossyWriter {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        if batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut out = VecDeque::with_capacity(batch.len());
        let mut outcome = Ok(());
        while let Some(frame) = batch.pop_front() {
            if frame.body.len() > self.faults.datagram_bytes_max {
                batch.push_front(frame);
                outcome = Err(io::ErrorKind::InvalidInput.into());
                break;
            }
            self.throw(frame, &mut out);
        }
        Poll::Ready(self.deliver(out).and(outcome))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush();
        self.writer.poll_close(cx)
    }
}

impl Drop for LossyWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A frame that is held back.
struct Late {
    frame: Frame,
    /// How many frames are still to overtake it.
    overtaken_by: u8,
}

/// How many frames are held back at once; beyond them a late one keeps its place.
const LATE_FRAMES_MAX: usize = 16;
