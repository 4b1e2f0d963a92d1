//! The settings of a wrapped transport, and the links for which they hold.

use super::counters::{ChaosStats, Counters};
use super::dice::Dice;
use super::faults::Direction;
use super::link::Link;
use super::settings::{Settings, Terms};
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// At which end of its connection somebody is, with the connection's number there.
#[derive(Clone, Copy)]
pub(super) enum End {
    Accepted(u64),
    Connected(u64),
}

#[derive(Default)]
pub(super) struct Control {
    seed: u64,
    accepted: AtomicU64,
    connected: AtomicU64,
    outgoing: Arc<Counters>,
    incoming: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    settings: Settings,
    links: Vec<Weak<Link>>,
    /// Given up by the wrapped end while its direction out was cut: the other end is not to know
    /// before the cable is whole again, so the inner halves stay.
    kept: VecDeque<Arc<Link>>,
}

impl Control {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(super) fn accept(&self) -> End {
        End::Accepted(self.accepted.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn connect(&self) -> End {
        End::Connected(self.connected.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A link of a new connection.
    pub(super) fn link(&self, end: End, terms: Terms) -> Arc<Link> {
        let stream = match end {
            End::Accepted(number) => 4 * number,
            End::Connected(number) => 4 * number + 2,
        };
        let dice = [Dice::new(self.seed, stream), Dice::new(self.seed, stream + 1)];
        let counters = [Arc::clone(&self.outgoing), Arc::clone(&self.incoming)];
        let mut state = self.lock();
        let link = Arc::new(Link::new(terms, dice, counters, state.settings));
        // Sweeping before the list would grow makes it as long as twice the most links there were.
        if state.links.len() == state.links.capacity() {
            state.links.retain(|link| link.strong_count() > 0);
        }
        state.links.push(Arc::downgrade(&link));
        link
    }

    /// Changes the settings of all links, present and future.
    pub(super) fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut state = self.lock();
        change(&mut state.settings);
        let settings = state.settings;
        let links = state.live();
        // Under the lock, so that two changes come in the same order everywhere.
        let aftermath: Vec<_> = links.iter().map(|link| link.change(settings)).collect();
        let kept = match settings.outgoing.is_cut {
            true => VecDeque::new(),
            false => mem::take(&mut state.kept),
        };
        drop(state);
        drop((aftermath, kept, links));
    }

    /// Breaks all present links.
    pub(super) fn sever(&self) {
        let mut state = self.lock();
        let links = state.live();
        let kept = mem::take(&mut state.kept);
        drop(state);
        for link in &links {
            drop(link.sever());
        }
        drop(kept);
    }

    /// The wrapped end has let go of a half: the inner one goes too, but not while a cut keeps the
    /// other end from knowing.
    pub(super) fn let_go(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if !state.settings.outgoing.is_cut || link.is_severed() {
            drop(state);
            drop(link.release());
            return;
        }
        // Both of its halves come by.
        if state.kept.iter().any(|kept| Arc::ptr_eq(kept, link)) {
            return;
        }
        let full = state.kept.len() == KEPT_LINKS_MAX;
        let oldest = if full { state.kept.pop_front() } else { None };
        state.kept.push_back(Arc::clone(link));
        drop(state);
        drop(oldest);
    }

    pub(super) fn stats(&self, direction: Direction) -> ChaosStats {
        let mut stats = ChaosStats::default();
        if direction.has_out() {
            self.outgoing.add_to(&mut stats);
        }
        if direction.has_in() {
            self.incoming.add_to(&mut stats);
        }
        stats
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live(&self) -> Vec<Arc<Link>> {
        self.links.iter().filter_map(Weak::upgrade).collect()
    }
}

/// How many links that were given up during a cut are kept until it is over. Beyond them the
/// oldest goes, and its other end learns that it was given up.
const KEPT_LINKS_MAX: usize = 1024;
