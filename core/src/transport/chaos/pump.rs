//! The task of a wrapped connection: writes to the inner wire what has arrived there.

use super::control::Control;
use super::line::Item;
use super::link::{Link, Writing, register, wake};
use crate::protocol::Frame;
use crate::transport::WriteHalf;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) struct Pump {
    link: Arc<Link>,
    control: Arc<Control>,
    /// What the inner wire has not taken yet.
    batch: VecDeque<Frame>,
    /// The inner wire has taken something over that it has not written yet.
    owes: bool,
    timer: Timer,
    /// When it gives up, once nobody at the wrapped end holds the connection any more.
    lingers_until: Option<Instant>,
}

/// What the pump has to do now, with the half for it.
enum Step {
    Write(Box<dyn WriteHalf>),
    Close(Box<dyn WriteHalf>),
    Wait(Option<Instant>),
    Done,
}

impl Pump {
    pub(super) fn new(link: Arc<Link>, control: Arc<Control>) -> Self {
        let (batch, timer) = (VecDeque::new(), Timer::default());
        Self { link, control, batch, owes: false, timer, lingers_until: None }
    }

    /// Pumps until the direction has ended, or nobody is left who could want it.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let until = match self.step(cx) {
                Step::Done => return Poll::Ready(()),
                Step::Wait(until) => until,
                Step::Write(mut half) => match half.poll_write(cx, &mut self.batch) {
                    Poll::Ready(Ok(())) => {
                        self.owes = false;
                        self.link.put_back_writer(half);
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        self.fail(error);
                        return Poll::Ready(());
                    }
                    Poll::Pending => {
                        self.owes = true;
                        self.link.put_back_writer(half);
                        self.lingers_until
                    }
                },
                // How it closes nobody can be told: the wrapped end closed long ago.
                Step::Close(mut half) => match half.poll_close(cx) {
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => {
                        self.link.put_back_writer(half);
                        self.lingers_until
                    }
                },
            };
            ready!(self.timer.poll(cx, until));
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let now = Instant::now();
        let mut guard = self.link.lock();
        let state = &mut *guard;
        register(&mut state.pump, cx);
        if state.is_severed {
            return Step::Done;
        }
        if state.is_abandoned() {
            let until = *self.lingers_until.get_or_insert(now + LINGER);
            if now >= until {
                return Step::Done;
            }
        }
        if state.settings.outgoing.is_cut {
            return Step::Wait(self.lingers_until);
        }
        let line = &mut state.outgoing;
        while self.batch.len() < BATCH_FRAMES_MAX && line.first().is_some_and(|it| it.0 <= now) {
            if let Some(Item::Frame(frame)) = line.pop() {
                self.batch.push_back(frame);
            }
        }
        let has_ended = line.has_ended(now);
        let until = line.next_due().into_iter().chain(self.lingers_until).min();
        if self.batch.is_empty() && !self.owes {
            return match state.writing {
                Writing::Broken if has_ended => Step::Done,
                Writing::Closed if has_ended => {
                    state.write_half.take().map_or(Step::Done, Step::Close)
                }
                _ => Step::Wait(until),
            };
        }
        let writer = state.writer.take();
        let half = state.write_half.take();
        drop(guard);
        wake(writer);
        half.map_or(Step::Done, Step::Write)
    }

    /// The inner wire takes nothing more; the next who writes hears why.
    fn fail(&mut self, error: io::Error) {
        let mut state = self.link.lock();
        state.failed = Some(error);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }
}

impl Drop for Pump {
    /// Also when the runtime ends, or a wire panics.
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.pump_is_gone = true;
        state.outgoing.clear();
        if state.writing == Writing::Open {
            state.failed.get_or_insert_with(|| io::ErrorKind::BrokenPipe.into());
        }
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        self.control.let_go(&self.link);
    }
}

/// A sleep that is made only when there is something to wait for.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready at that time; never, when there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        let Some(until) = until else {
            self.sleep = None;
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

/// Frames that are taken from the line at once.
const BATCH_FRAMES_MAX: usize = 64;

/// How long what was written may still travel when nobody holds the connection any more.
const LINGER: Duration = Duration::from_secs(10);
