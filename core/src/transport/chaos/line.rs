//! One direction of a wrapped connection: frames under way, each with the time of its arrival.
//!
//! It knows no lock, task or timer: time comes in as an argument.

use super::bucket::Bucket;
use super::counters::Counters;
use super::dice::{Dice, Fate};
use super::settings::{Terms, Way};
use crate::protocol::Frame;
use crate::transport::memory::cost_bytes;
use std::collections::BTreeMap;
use std::mem;
use tokio::time::Instant;

/// What all frames of a direction have in common at this moment.
pub(super) struct Moment<'a> {
    pub(super) now: Instant,
    pub(super) way: &'a Way,
    pub(super) terms: &'a Terms,
    pub(super) counters: &'a Counters,
}

impl Moment<'_> {
    /// A cut cable of datagrams lets nothing by, not even a sign of life.
    fn is_lost_at_cut(&self) -> bool {
        self.terms.is_lossy() && self.way.is_cut
    }
}

pub(super) struct Line {
    dice: Dice,
    bucket: Bucket,
    /// Under way, by arrival; the number keeps those apart that arrive together, in order.
    under_way: BTreeMap<(Instant, u64), Item>,
    count: u64,
    cost_bytes: usize,
    /// What those weigh that were taken, but have not left yet: they still need their room.
    held_bytes: usize,
    late: Vec<Late>,
    late_cost_bytes: usize,
    /// When the last frame arrives, on a wire that keeps order.
    last_due: Option<Instant>,
    /// When the end arrives, once there is one.
    ends_at: Option<Instant>,
}

/// What arrives.
pub(super) enum Item {
    Frame(Frame),
    /// Bytes of a frame that is not whole yet: nothing to hand over, but a sign of life.
    Life(usize),
}

/// A frame that is held back.
struct Late {
    frame: Frame,
    jitter: f64,
    /// How many frames are still to overtake it.
    overtaken_by: u8,
}

impl Line {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            dice,
            bucket: Bucket::default(),
            under_way: BTreeMap::new(),
            count: 0,
            cost_bytes: 0,
            held_bytes: 0,
            late: Vec::new(),
            late_cost_bytes: 0,
            last_due: None,
            ends_at: None,
        }
    }

    /// Whether a frame of this cost fits. An empty line takes any: one larger than the whole line
    /// must pass too.
    pub(super) fn has_room(&self, cost_bytes: usize, terms: &Terms) -> bool {
        let under_way_bytes = self.cost_bytes + self.held_bytes;
        under_way_bytes == 0 || under_way_bytes + cost_bytes <= terms.capacity_bytes
    }

    /// Decides what becomes of a frame, and sends it on its way. Whoever must not lose frames for
    /// want of room asks for it before.
    pub(super) fn enter(&mut self, mut frame: Frame, moment: &Moment<'_>) {
        let Fate { lost, doubled, overtaken_by, jitter, corrupted } =
            self.dice.throw(&moment.way.faults);
        // An end that is not wrapped may write what is no datagram.
        if lost || moment.is_lost_at_cut() || !moment.terms.takes(&frame) {
            return moment.counters.lost.add(1);
        }
        if let Some(body) = corrupted.and_then(|corruption| corruption.of(&frame.body)) {
            frame.body = body;
            moment.counters.corrupted.add(1);
        }
        if doubled {
            moment.counters.doubled.add(1);
            self.pass(frame.clone(), jitter, moment);
        }
        if overtaken_by > 0 && self.has_room_for_late(&frame, moment.terms) {
            moment.counters.late.add(1);
            self.late_cost_bytes += cost_bytes(&frame);
            self.late.push(Late { frame, jitter, overtaken_by });
        } else {
            self.pass(frame, jitter, moment);
        }
    }

    /// Something came that is no frame yet.
    pub(super) fn enter_life(&mut self, bytes: usize, moment: &Moment<'_>) {
        if moment.is_lost_at_cut() {
            return;
        }
        if let Some(mut last) = self.under_way.last_entry() {
            if let Item::Life(before_bytes) = last.get_mut() {
                *before_bytes += bytes;
                return;
            }
        }
        let due = moment.now + moment.way.faults.delay;
        self.insert(due, Item::Life(bytes), moment.terms);
    }

    /// Nothing follows: who is still late can be overtaken by nobody any more, and the end arrives
    /// behind all of them.
    pub(super) fn end(&mut self, moment: &Moment<'_>) {
        for Late { frame, jitter, .. } in self.take_late() {
            self.send(frame, jitter, moment);
        }
        self.ends_at = Some(moment.now + moment.way.faults.delay);
    }

    /// The end was none after all.
    pub(super) fn reopen(&mut self) {
        self.ends_at = None;
    }

    /// What arrives next, and when.
    pub(super) fn first(&self) -> Option<(Instant, &Item)> {
        self.under_way.first_key_value().map(|((due, _), item)| (*due, item))
    }

    /// When there is something to do next: an arrival, or behind the last one the end.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.first().map(|(due, _)| due).or(self.ends_at)
    }

    /// Whether the end has arrived.
    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.under_way.is_empty() && self.ends_at.is_some_and(|at| at <= now)
    }

    /// Takes what arrives next, whenever that is.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let (_, item) = self.under_way.pop_first()?;
        if let Item::Frame(frame) = &item {
            self.cost_bytes -= cost_bytes(frame);
        }
        Some(item)
    }

    /// Keeps room for those that were taken, but have not left yet. Says whether it is less than
    /// before.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        mem::replace(&mut self.held_bytes, bytes) > bytes
    }

    /// Forgets whatever is under way, but not what was taken, and says how many frames that was.
    pub(super) fn clear(&mut self) -> u64 {
        let under_way = mem::take(&mut self.under_way);
        self.cost_bytes = 0;
        let frames = under_way.values().filter(|item| matches!(item, Item::Frame(_))).count();
        (frames + self.take_late().len()) as u64
    }

    fn take_late(&mut self) -> Vec<Late> {
        self.late_cost_bytes = 0;
        mem::take(&mut self.late)
    }

    fn has_room_for_late(&self, frame: &Frame, terms: &Terms) -> bool {
        let fits = self.late_cost_bytes + cost_bytes(frame) <= terms.capacity_bytes;
        fits && self.late.len() < LATE_FRAMES_MAX
    }

    /// Sends one frame, and behind it the late ones that it was the last to overtake.
    fn pass(&mut self, frame: Frame, jitter: f64, moment: &Moment<'_>) {
        self.send(frame, jitter, moment);
        let (due, late): (Vec<_>, Vec<_>) = mem::take(&mut self.late)
            .into_iter()
            .map(|late| Late { overtaken_by: late.overtaken_by - 1, ..late })
            .partition(|late| late.overtaken_by == 0);
        self.late = late;
        for Late { frame, jitter, .. } in due {
            self.late_cost_bytes -= cost_bytes(&frame);
            self.send(frame, jitter, moment);
        }
    }

    /// First through the bottleneck, then along the way.
    fn send(&mut self, frame: Frame, jitter: f64, moment: &Moment<'_>) {
        let cost_bytes = cost_bytes(&frame);
        if moment.terms.is_lossy() && !self.has_room(cost_bytes, moment.terms) {
            return moment.counters.overflowed.add(1);
        }
        let faults = &moment.way.faults;
        let through = match faults.bytes_per_second {
            None => moment.now,
            Some(rate) => self.bucket.take(moment.now, frame.body.len(), rate),
        };
        let due = through + faults.delay + faults.jitter.mul_f64(jitter);
        self.cost_bytes += cost_bytes;
        self.insert(due, Item::Frame(frame), moment.terms);
    }

    fn insert(&mut self, mut due: Instant, item: Item, terms: &Terms) {
        if !terms.is_lossy() {
            due = self.last_due.map_or(due, |last| last.max(due));
            self.last_due = Some(due);
        }
        self.under_way.insert((due, self.count), item);
        self.count += 1;
    }
}

/// How many frames are held back at once; beyond them a late one keeps its place.
const LATE_FRAMES_MAX: usize = 16;
