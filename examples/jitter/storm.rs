//! The storm: whose link is cut, and when.

use crate::cable::Cable;
use crate::chance::Chance;
use crate::link::{Cut, Remains};
use crate::options::Options;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Cuts so far.
#[derive(Default)]
pub(crate) struct Storm {
    cuts: AtomicU64,
}

impl Storm {
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Cuts one link after another, each client's at times of its own, from `start` until no event
    /// is said any more. What was cut silently stays open until each end has noticed by itself.
    pub(crate) async fn rage(&self, cables: &[Cable], options: &Options, start: Instant) {
        let how = if options.silent { Cut::Silent } else { Cut::Abrupt };
        let outage = options.outage();
        let kept_for = 2 * options.heartbeat_timeout();
        let end = start + options.length();
        let mut due = BinaryHeap::new();
        let mut clients = Vec::new();
        for client in 0..cables.len() {
            let mut chance = Chance::new(options.seed, client as u64);
            due.push(Reverse((start + drawn(options.between_cuts(), &mut chance), client)));
            clients.push(chance);
        }
        let mut open: VecDeque<(Instant, Remains)> = VecDeque::new();
        while let Some(Reverse((when, client))) = due.pop() {
            if when >= end {
                break;
            }
            sleep_until(when).await;
            if let Some(remains) = cables[client].cut(how, outage) {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                if options.silent {
                    open.push_back((when + kept_for, remains));
                }
            }
            while open.front().is_some_and(|(until, _)| *until <= when) {
                open.pop_front();
            }
            let calm = options.between_cuts() - outage;
            due.push(Reverse((when + outage + drawn(calm, &mut clients[client]), client)));
        }
        while let Some((until, _remains)) = open.pop_front() {
            sleep_until(until).await;
        }
    }
}

fn drawn(mean: Duration, chance: &mut Chance) -> Duration {
    mean.mul_f64(chance.exponential())
}
