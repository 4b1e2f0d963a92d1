//! One wrapped connection: a line for each direction, the inner halves, and how it stands.
//!
//! Everything is under one lock, so that a change finds both directions as they are. No inner half
//! is polled or dropped under it, and nobody is woken: the halves are taken out and put back.

use super::bucket::Bucket;
use super::counters::Counters;
use super::dice::Dice;
use super::line::{Line, Moment};
use super::outlet::Outlet;
use super::settings::{Pace, Settings, Terms};
use crate::protocol::CloseCode;
use crate::transport::{Peer, ReadError, ReadHalf, WriteHalf};
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use tokio::time::Instant;

pub(super) struct Link {
    pub(super) terms: Terms,
    outgoing: Arc<Counters>,
    incoming: Arc<Counters>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) outgoing: Line,
    pub(super) incoming: Line,
    /// How the incoming direction ended.
    pub(super) incoming_end: Option<Result<(), ReadError>>,
    /// What a slow reader has read.
    pub(super) read: Bucket,
    /// When a slow reader will have read the frame in front.
    pub(super) read_by: Option<Instant>,
    pub(super) writing: Writing,
    pub(super) writer_is_gone: bool,
    pub(super) reader_is_gone: bool,
    pub(super) pump_is_gone: bool,
    /// Why the inner wire takes nothing more.
    pub(super) failed: Option<io::Error>,
    pub(super) is_severed: bool,
    /// Whoever polls an inner half takes it out meanwhile.
    pub(super) read_half: Option<Box<dyn ReadHalf>>,
    pub(super) outlet: Option<Outlet>,
    /// What the inner halves have to tell, and are to be told.
    pub(super) moved: Option<Peer>,
    pub(super) goodbye: Option<CloseCode>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) pump: Option<Waker>,
}

/// How far the wrapped end's writing half is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Open,
    /// It said that it is done.
    Closed,
    /// It went away without a word.
    Broken,
}

/// What is to be done when no lock is held any more; dropping it does.
#[must_use = "dropped under a lock it may deadlock"]
#[derive(Default)]
pub(super) struct Aftermath {
    wakers: [Option<Waker>; 3],
    read_half: Option<Box<dyn ReadHalf>>,
    outlet: Option<Outlet>,
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        drop((self.read_half.take(), self.outlet.take()));
        self.wakers.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

impl Link {
    pub(super) fn new(
        terms: Terms,
        [outgoing_dice, incoming_dice]: [Dice; 2],
        [outgoing, incoming]: [Arc<Counters>; 2],
        settings: Settings,
    ) -> Self {
        let state = State {
            settings,
            outgoing: Line::new(outgoing_dice),
            incoming: Line::new(incoming_dice),
            incoming_end: None,
            read: Bucket::default(),
            read_by: None,
            writing: Writing::Open,
            writer_is_gone: false,
            reader_is_gone: false,
            pump_is_gone: false,
            failed: None,
            is_severed: false,
            read_half: None,
            outlet: None,
            moved: None,
            goodbye: None,
            reader: None,
            writer: None,
            pump: None,
        };
        Self { terms, outgoing, incoming, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings and the line of what the wrapped end writes.
    pub(super) fn outgoing<'a>(&'a self, state: &'a mut State) -> (&'a mut Line, Moment<'a>) {
        let (way, counters) = (&state.settings.outgoing, &*self.outgoing);
        let moment = Moment { now: Instant::now(), way, terms: &self.terms, counters };
        (&mut state.outgoing, moment)
    }

    /// The settings and the line of what the wrapped end reads.
    pub(super) fn incoming<'a>(&'a self, state: &'a mut State) -> (&'a mut Line, Moment<'a>) {
        let (way, counters) = (&state.settings.incoming, &*self.incoming);
        let moment = Moment { now: Instant::now(), way, terms: &self.terms, counters };
        (&mut state.incoming, moment)
    }

    /// Begins with the halves of the inner connection, unless it was severed before.
    pub(super) fn open(&self, read_half: Box<dyn ReadHalf>, write_half: Box<dyn WriteHalf>) {
        let mut state = self.lock();
        if !state.is_severed {
            state.read_half = Some(read_half);
            state.outlet = Some(Outlet::new(write_half));
        }
    }

    /// A reading half comes back from being polled, unless the link was severed meanwhile.
    pub(super) fn put_back_reader(&self, half: Box<dyn ReadHalf>) {
        let mut state = self.lock();
        if !state.is_severed {
            state.read_half = Some(half);
        }
    }

    /// The outlet comes back from being polled, unless the link was severed meanwhile. What it
    /// wrote leaves its room to the writer.
    pub(super) fn put_back_outlet(&self, mut outlet: Outlet) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.is_severed {
            self.outgoing.dropped.add(outlet.clear());
        } else {
            state.outlet = Some(outlet);
            self.lose_at_cut(state);
        }
        let leaves_room = state.hold();
        let writer = if leaves_room { state.writer.take() } else { None };
        drop(guard);
        wake(writer);
    }

    /// The inner wire takes nothing more; the next who writes hears why.
    pub(super) fn fail(&self, mut outlet: Outlet, error: io::Error) {
        let mut state = self.lock();
        self.outgoing.dropped.add(outlet.clear());
        state.failed = Some(error);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// Other settings hold from the next frame on.
    pub(super) fn change(&self, settings: Settings) -> Aftermath {
        let mut state = self.lock();
        let before = mem::replace(&mut state.settings, settings);
        if before.pace != settings.pace {
            state.read = Bucket::default();
            state.read_by = None;
        }
        self.lose_at_cut(&mut state);
        state.aftermath()
    }

    /// What a datagram meets at the end of a torn cable is nobody. One that the inner wire has
    /// begun it has to end, or those behind it would be none.
    fn lose_at_cut(&self, state: &mut State) {
        if !self.terms.is_lossy() {
            return;
        }
        if state.settings.outgoing.is_cut {
            let unbegun = state.outlet.as_mut().map_or(0, Outlet::forget_unbegun);
            self.outgoing.lost.add(state.outgoing.clear() + unbegun);
            state.hold();
        }
        if state.settings.incoming.is_cut {
            self.incoming.lost.add(state.incoming.clear());
            // What the slow reader was at is gone, and with it the time that it takes.
            state.read_by = None;
        }
    }

    /// Breaks it, in both directions and at both ends.
    pub(super) fn sever(&self) -> Aftermath {
        let mut state = self.lock();
        state.is_severed = true;
        self.drop_outgoing(&mut state);
        self.drop_incoming(&mut state);
        let mut aftermath = state.aftermath();
        aftermath.read_half = state.read_half.take();
        aftermath.outlet = state.outlet.take();
        aftermath
    }

    /// Nobody writes what is under way any more.
    pub(super) fn drop_outgoing(&self, state: &mut State) {
        let taken = state.outlet.as_mut().map_or(0, Outlet::clear);
        self.outgoing.dropped.add(state.outgoing.clear() + taken);
    }

    /// Nobody reads what is under way any more.
    pub(super) fn drop_incoming(&self, state: &mut State) {
        self.incoming.dropped.add(state.incoming.clear());
    }

    pub(super) fn is_severed(&self) -> bool {
        self.lock().is_severed
    }

    /// Lets go of the inner halves that nobody has a use for.
    pub(super) fn release(&self) -> Aftermath {
        self.lock().aftermath()
    }
}

impl State {
    /// Whether nobody at the wrapped end holds anything of it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reader_is_gone && self.writer_is_gone
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.settings.pace == Pace::Stalled
    }

    /// What the outlet has not written needs its room. Says whether that is less than before.
    fn hold(&mut self) -> bool {
        self.outlet.as_ref().is_some_and(|outlet| self.outgoing.hold(outlet.cost_bytes()))
    }

    /// Everybody is to look again, and what nobody uses goes, if the other end may know of it.
    fn aftermath(&mut self) -> Aftermath {
        let mut aftermath = Aftermath::default();
        aftermath.wakers = [self.reader.take(), self.writer.take(), self.pump.take()];
        if !self.settings.outgoing.is_cut {
            if self.reader_is_gone {
                aftermath.read_half = self.read_half.take();
            }
            if self.pump_is_gone {
                aftermath.outlet = self.outlet.take();
            }
        }
        aftermath
    }
}

pub(super) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// Called without a lock: a waker may run whatever it likes.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
