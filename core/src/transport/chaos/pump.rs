//! The task of a wrapped connection: writes to the inner wire what has arrived there.

use super::control::Control;
use super::link::{Link, State, Writing, register, wake};
use super::outlet::Outlet;
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
    timer: Timer,
    patience: Patience,
}

/// How long it goes on trying when nobody at the wrapped end holds the connection any more.
#[derive(Default)]
struct Patience {
    /// When it is over, while the inner wire takes nothing of what has arrived.
    ends_at: Option<Instant>,
}

/// What the pump has to do now, with the outlet for it.
enum Step {
    Write(Outlet),
    Close(Outlet),
    Wait(Option<Instant>),
    Done,
}

impl Pump {
    pub(super) fn new(link: Arc<Link>, control: Arc<Control>) -> Self {
        Self { link, control, timer: Timer::default(), patience: Patience::default() }
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
                Step::Write(mut outlet) => {
                    let frames_before = outlet.frames();
                    let written = outlet.poll_write(cx);
                    if written.is_ready() || outlet.frames() < frames_before {
                        self.patience.renew(Instant::now());
                    }
                    if let Poll::Ready(Err(error)) = written {
                        self.link.fail(outlet, error);
                        return Poll::Ready(());
                    }
                    self.link.put_back_outlet(outlet);
                    if written.is_ready() {
                        continue;
                    }
                    self.patience.ends_at
                }
                // How it closes nobody can be told: the wrapped end closed long ago.
                Step::Close(mut outlet) => match outlet.poll_close(cx) {
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => {
                        self.link.put_back_outlet(outlet);
                        self.patience.ends_at
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
        if state.is_severed || self.patience.is_over(state, now) {
            return Step::Done;
        }
        if state.settings.outgoing.is_cut {
            let due = if state.is_abandoned() { state.outgoing.next_due() } else { None };
            return Step::Wait(self.patience.ends_at.or(due));
        }
        let Some(mut outlet) = state.outlet.take() else { return Step::Done };
        let line = &mut state.outgoing;
        outlet.fill(line, now);
        let has_ended = line.has_ended(now);
        if !outlet.is_idle() {
            return Step::Write(outlet);
        }
        if has_ended && state.writing == Writing::Closed {
            if let Some(code) = state.goodbye.take() {
                outlet.goodbye(code);
            }
            return Step::Close(outlet);
        }
        state.outlet = Some(outlet);
        if has_ended { Step::Done } else { Step::Wait(line.next_due()) }
    }
}

impl Patience {
    /// Whether it was tried for long enough. What is still on its way is waited for.
    fn is_over(&mut self, state: &State, now: Instant) -> bool {
        let is_idle = state.outlet.as_ref().is_none_or(Outlet::is_idle);
        let is_due = !is_idle || state.outgoing.next_due().is_none_or(|due| due <= now);
        if !state.is_abandoned() || !is_due {
            self.ends_at = None;
            return false;
        }
        now >= *self.ends_at.get_or_insert(now + LINGER)
    }

    /// The inner wire has taken something.
    fn renew(&mut self, now: Instant) {
        self.ends_at = self.ends_at.map(|_| now + LINGER);
    }
}

impl Drop for Pump {
    /// Also when the runtime ends, or a wire panics.
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.pump_is_gone = true;
        self.link.drop_outgoing(&mut state);
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

/// How long the inner wire may take nothing of what has arrived when nobody holds the connection
/// any more.
const LINGER: Duration = Duration::from_secs(10);
