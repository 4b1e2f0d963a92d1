//! The session's two machines against each other, under any schedule, and against what was
//! recorded. The wires are queues, the clock is a number.

use emitwire_core::protocol::{Credit, Due, Inbound, Limits, Outbound, Position, ProtocolError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::VecDeque;
use std::time::Duration;

const POSITION_DELAY: Duration = Duration::from_millis(25);
/// The machines run against each other in silence for longer than any link would.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);
/// What a packet has around an event.
const HEADER_BYTES: usize = 8;

/// What travels, as far as the machines care.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    From(u64),
    /// Counted, but no event.
    Control {
        bytes: usize,
    },
    Event {
        bytes: usize,
    },
    Position(Position),
    Heartbeat(u64),
}

impl Said {
    fn is_counted(&self) -> bool {
        matches!(self, Self::Control { .. } | Self::Event { .. })
    }
}

/// One counted packet that was written and is not confirmed.
struct Kept {
    bytes: usize,
    /// What an answer holds of its sender's own window.
    answers: Option<Credit>,
}

/// One end of a session: its machines, and what a mailbox and a lane would hold.
struct End {
    ours: Limits,
    theirs: Limits,
    outbound: Outbound,
    inbound: Inbound,
    /// Said by this end, not heard by the other.
    wire: VecDeque<Said>,
    log: VecDeque<Kept>,
    /// Heard and not finished.
    running: VecDeque<Credit>,
    /// Bytes of counted packets that were heard since a position was said.
    unsaid_bytes: usize,
    /// The newest position that was said, and the most that was granted to this end.
    said: Position,
    granted: Credit,
    spent: Credit,
}

impl End {
    fn new(ours: Limits, theirs: Limits) -> Self {
        let zero = Duration::ZERO;
        let said = Position { granted: ours.window, ..Position::default() };
        Self {
            ours,
            theirs,
            outbound: Outbound::new(theirs.window),
            inbound: Inbound::new(ours, theirs, POSITION_DELAY, FOR_EVER, zero),
            wire: VecDeque::from([Said::From(1)]),
            log: VecDeque::new(),
            running: VecDeque::new(),
            unsaid_bytes: 0,
            said,
            granted: theirs.window,
            spent: Credit::default(),
        }
    }

    fn say_control(&mut self, bytes: usize, answers: Option<Credit>) {
        self.outbound.hand_over();
        let bytes = bytes + HEADER_BYTES;
        self.log.push_back(Kept { bytes, answers });
        self.wire.push_back(Said::Control { bytes });
    }

    /// Says an event if the window and the log have room for it.
    fn say_event(&mut self, bytes: usize) {
        if self.has_room_for(bytes) {
            let number = self.outbound.hand_over_event(bytes);
            assert_eq!(number, self.outbound.written());
            self.spent = self.spent.plus(Credit::one(bytes));
            self.log.push_back(Kept { bytes: bytes + HEADER_BYTES, answers: None });
            self.wire.push_back(Said::Event { bytes });
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let log_bytes: usize = self.log.iter().map(|kept| kept.bytes).sum();
        let packets = self.log.len() < self.ours.log_packets_max as usize;
        let log = self.log.is_empty() || (packets && log_bytes < self.ours.log_bytes_max as usize);
        log && self.outbound.admits(bytes)
    }

    fn say_position(&mut self, position: Position) {
        self.unsaid_bytes = 0;
        self.said = position.clone();
        self.wire.push_back(Said::Position(position));
    }

    /// Asks with what it said last: asking is no position of its own.
    fn ask(&mut self) {
        self.wire.push_back(Said::Position(Position { asks: true, ..self.said.clone() }));
    }

    /// Offers a position that is wanted a ride, on something that does go out or does not.
    fn ride(&mut self, goes_out: bool) {
        let position = self.inbound.position_to_ride();
        if let Some(position) = position.filter(|_| goes_out) {
            self.say_position(position);
            self.inbound.handle_rode();
        }
    }

    /// Finishes the oldest event: its slot is free now, or when its answer is confirmed.
    fn finish(&mut self, answered: bool, now: Duration) {
        match self.running.pop_front() {
            Some(credit) if answered => self.say_control(4, Some(credit)),
            Some(credit) => self.inbound.handle_finished(credit, now),
            None => {}
        }
    }

    /// Does what is due until the machine says when to come back.
    fn drain(&mut self, now: Duration) {
        for _ in 0..9 {
            match self.inbound.poll(now) {
                Due::Position(position) => self.say_position(position),
                Due::Heartbeat => {
                    self.wire.push_back(Said::Heartbeat(self.outbound.written()));
                }
                Due::Silent => panic!("nobody was silent for {now:?}"),
                Due::Wait(until) => {
                    assert!(until > now, "waiting until {until:?} at {now:?} is a busy loop");
                    return;
                }
            }
        }
        panic!("poll never waits");
    }

    fn hear(&mut self, said: Said, now: Duration) -> Result<(), ProtocolError> {
        self.inbound.handle_bytes(now);
        match said {
            Said::From(from) => self.inbound.handle_from(from)?,
            Said::Control { bytes } => {
                self.unsaid_bytes += bytes;
                assert!(self.inbound.handle_counted(bytes, None)?, "nothing was replayed");
            }
            Said::Event { bytes } => {
                self.unsaid_bytes += bytes + HEADER_BYTES;
                assert!(self.inbound.handle_counted(bytes + HEADER_BYTES, Some(bytes))?);
                self.running.push_back(Credit::one(bytes));
            }
            Said::Position(position) => self.hear_position(&position, now)?,
            Said::Heartbeat(written) => self.inbound.handle_heartbeat(written)?,
        }
        Ok(())
    }

    fn hear_position(&mut self, position: &Position, now: Duration) -> Result<(), ProtocolError> {
        if position.asks {
            self.inbound.handle_ask(now);
        }
        let confirmed = self.outbound.handle_position(position)?;
        for kept in self.log.drain(..confirmed as usize) {
            if let Some(credit) = kept.answers {
                self.inbound.handle_finished(credit, now);
            }
        }
        self.granted.events = self.granted.events.max(position.granted.events);
        self.granted.bytes = self.granted.bytes.max(position.granted.bytes);
        Ok(())
    }

    /// What the other end has finished, as far as this one was told.
    fn finished(&self) -> Credit {
        self.granted.minus(self.theirs.window)
    }

    fn holds_answers(&self) -> bool {
        self.log.iter().any(|kept| kept.answers.is_some())
    }
}

/// Two ends and their clock.
struct Pair {
    ends: [End; 2],
    now: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Control(usize),
    Event(usize),
    Hear(usize),
    Finish { events: usize, answered: bool },
    Ask,
    Ride { goes_out: bool },
    Poll,
    Wait(Duration),
}

impl Pair {
    fn new(limits: [Limits; 2]) -> Self {
        let [a, b] = limits;
        Self { ends: [End::new(a, b), End::new(b, a)], now: Duration::ZERO }
    }

    fn act(&mut self, end: usize, action: Action) -> Result<(), ProtocolError> {
        let now = self.now;
        match action {
            Action::Control(bytes) => self.ends[end].say_control(bytes, None),
            Action::Event(bytes) => self.ends[end].say_event(bytes),
            Action::Hear(packets) => {
                for _ in 0..packets {
                    let Some(said) = self.ends[1 - end].wire.pop_front() else { break };
                    self.ends[end].hear(said, now)?;
                }
            }
            Action::Finish { events, answered } => {
                for _ in 0..events.min(self.ends[end].running.len()) {
                    self.ends[end].finish(answered, now);
                }
            }
            Action::Ask => self.ends[end].ask(),
            Action::Ride { goes_out } => self.ends[end].ride(goes_out),
            Action::Poll => self.ends[end].drain(now),
            Action::Wait(time) => self.now += time,
        }
        Ok(())
    }

    /// Has everything heard and finished, without time going by, until nobody has more to say.
    fn settle(&mut self, answered: bool) -> Result<(), ProtocolError> {
        for round in 0.. {
            for end in [0, 1] {
                self.act(end, Action::Hear(usize::MAX))?;
                self.act(end, Action::Finish { events: usize::MAX, answered })?;
                self.ends[end].drain(self.now);
            }
            if self.ends.iter().all(|end| end.wire.is_empty() && end.running.is_empty()) {
                return Ok(());
            }
            assert!(round < 99, "they never come to rest");
        }
        Ok(())
    }

    fn settle_after(&mut self, time: Duration, answered: bool) -> Result<(), ProtocolError> {
        self.now += time;
        self.settle(answered)
    }

    /// Both intervals go by, and with them a heartbeat in each direction.
    fn settle_after_heartbeats(&mut self) -> Result<(), ProtocolError> {
        let interval = self.ends.iter().map(|end| end.ours.heartbeat_interval).max();
        self.settle_after(interval.unwrap_or_default(), false)
    }

    fn assert_sane(&self) {
        for (ours, theirs) in [(0, 1), (1, 0)] {
            let (ours, theirs) = (&self.ends[ours], &self.ends[theirs]);
            assert!(theirs.inbound.position() <= ours.outbound.written());
            assert!(ours.outbound.confirmed() <= theirs.inbound.position());
            let kept = ours.outbound.written() - ours.outbound.confirmed();
            assert_eq!(ours.log.len() as u64, kept, "the log is what is not confirmed");
            let (spent, granted) = (ours.spent, ours.granted);
            let fits = spent.events <= granted.events && spent.bytes <= granted.bytes;
            let outstanding = spent.events - ours.finished().events;
            assert!(fits || outstanding == 1, "{spent:?} of {granted:?}, and not alone");
            for bytes in [0, 1, 100, 1000] {
                let after = spent.plus(Credit::one(bytes));
                let fits = after.events <= granted.events && after.bytes <= granted.bytes;
                assert_eq!(ours.outbound.admits(bytes), fits || outstanding == 0);
            }
        }
    }

    /// A quarter of a log is never left unconfirmed by an end that had the time to say so.
    fn assert_says_enough(&self, end: usize) {
        let (ours, theirs) = (&self.ends[end], &self.ends[1 - end]);
        let unsaid = ours.inbound.position() - ours.said.received;
        assert!(unsaid * 4 < u64::from(theirs.ours.log_packets_max), "{unsaid} packets unsaid");
        let (bytes, max) = (ours.unsaid_bytes, theirs.ours.log_bytes_max as usize);
        assert!(bytes * 4 < max, "{bytes} bytes unsaid");
    }

    fn assert_agreed(&self) {
        for (ours, theirs) in [(0, 1), (1, 0)] {
            let (ours, theirs) = (&self.ends[ours], &self.ends[theirs]);
            let written = ours.outbound.written();
            assert_eq!(written, theirs.inbound.position());
            assert_eq!(written, ours.outbound.confirmed());
            assert_eq!(ours.finished(), ours.spent, "everything is finished, and it knows");
            let mut outbound = ours.outbound.clone();
            outbound.hand_over_event(0);
            let bytes = ours.theirs.window.bytes as usize;
            let others = ours.theirs.window.events > 1;
            assert_eq!(outbound.admits(bytes), others, "the whole window is open");
            assert!(!outbound.admits(bytes + 1), "and not more");
            for _ in 1..ours.theirs.window.events {
                outbound.hand_over_event(0);
            }
            assert!(!outbound.admits(0));
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => (0..80usize).prop_map(Action::Control),
        6 => prop_oneof![0..60usize, 0..=EVENT_BYTES_MAX].prop_map(Action::Event),
        6 => (1..6usize).prop_map(Action::Hear),
        4 => (1..4usize, any::<bool>())
            .prop_map(|(events, answered)| Action::Finish { events, answered }),
        1 => Just(Action::Ask),
        2 => any::<bool>().prop_map(|goes_out| Action::Ride { goes_out }),
        4 => Just(Action::Poll),
        2 => prop_oneof![0..40u64, 0..6000u64].prop_map(Duration::from_millis)
            .prop_map(Action::Wait),
    ]
}

fn schedule() -> impl Strategy<Value = Vec<(usize, Action)>> {
    vec((0..2usize, action()), 0..150)
}

const EVENT_BYTES_MAX: usize = 600;

/// Windows smaller and larger than one event, and logs that fill.
fn limits() -> impl Strategy<Value = Limits> {
    let window = (1..9u64, prop_oneof![1..100u64, 100..2000u64]);
    (window, 1..40u32, 1..4000u32, 1000..9000u64).prop_map(
        |((events, bytes), log_packets_max, log_bytes_max, interval)| Limits {
            event_bytes_max: EVENT_BYTES_MAX as u32,
            window: Credit { events, bytes },
            log_packets_max,
            log_bytes_max,
            heartbeat_interval: Duration::from_millis(interval),
            dedup_horizon: Duration::ZERO,
        },
    )
}

fn both_limits() -> impl Strategy<Value = [Limits; 2]> {
    (limits(), limits()).prop_map(|(a, b)| [a, b])
}

/// The same number of cases everywhere, and no files in the tree: what fails is printed whole.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn two_sessions_driven_with_random_schedules_agree_on_their_counters(
        limits in both_limits(),
        schedule in schedule(),
        answered in any::<bool>(),
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            prop_assert_eq!(pair.act(end, action), Ok(()), "{:?}", action);
            pair.assert_sane();
            if matches!(action, Action::Poll) {
                pair.assert_says_enough(end);
            }
        }
        prop_assert_eq!(pair.settle(answered), Ok(()));
        // The first confirms the answers, the second tells what that has finished.
        for _ in 0..2 {
            prop_assert_eq!(pair.settle_after_heartbeats(), Ok(()));
            pair.assert_sane();
        }
        pair.assert_agreed();
    }

    #[test]
    fn whoever_asks_when_all_is_finished_may_write_again_after_the_delay_of_a_position(
        limits in both_limits(),
        schedule in schedule(),
        bytes in 0..=EVENT_BYTES_MAX,
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            // An answer is finished when it is confirmed: see the test below.
            let action = match action {
                Action::Finish { events, .. } => Action::Finish { events, answered: false },
                action => action,
            };
            prop_assert_eq!(pair.act(end, action), Ok(()));
        }
        prop_assert_eq!(pair.settle(false), Ok(()));
        pair.ends[0].ask();
        prop_assert_eq!(pair.settle(false), Ok(()));
        prop_assert_eq!(pair.settle_after(POSITION_DELAY, false), Ok(()));
        prop_assert!(pair.ends[0].has_room_for(bytes), "an end starves that asked");
    }

    #[test]
    fn an_ask_before_the_last_event_is_finished_is_answered_when_it_is(
        limits in both_limits(),
        schedule in schedule(),
        bytes in 0..=EVENT_BYTES_MAX,
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            let action = match action {
                Action::Finish { events, .. } => Action::Finish { events, answered: false },
                action => action,
            };
            prop_assert_eq!(pair.act(end, action), Ok(()));
        }
        pair.ends[0].ask();
        prop_assert_eq!(pair.act(1, Action::Hear(usize::MAX)), Ok(()));
        prop_assert_eq!(pair.act(1, Action::Wait(POSITION_DELAY)), Ok(()));
        pair.ends[1].drain(pair.now);
        prop_assert_eq!(pair.settle(false), Ok(()));
        prop_assert!(pair.ends[0].has_room_for(bytes), "no time has to go by after that");
    }

    #[test]
    fn whoever_does_not_ask_may_write_again_after_the_heartbeats_of_both(
        limits in both_limits(),
        schedule in schedule(),
        asks in any::<bool>(),
        bytes in 0..=EVENT_BYTES_MAX,
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            prop_assert_eq!(pair.act(end, action), Ok(()));
        }
        prop_assert_eq!(pair.settle(true), Ok(()));
        if asks {
            pair.ends[0].ask();
            prop_assert_eq!(pair.settle_after(POSITION_DELAY, false), Ok(()));
        }
        // Its own heartbeat confirms the answers that hold its events' slots.
        let own = pair.ends[0].ours.heartbeat_interval;
        prop_assert_eq!(pair.settle_after(own, false), Ok(()));
        prop_assert!(!pair.ends[1].holds_answers());
        if !asks {
            let other = pair.ends[1].ours.heartbeat_interval;
            prop_assert_eq!(pair.settle_after(other, false), Ok(()));
        }
        prop_assert!(pair.ends[0].has_room_for(bytes), "an end starves");
    }

    #[test]
    fn a_counted_packet_that_is_lost_or_doubled_is_found_at_the_next_heartbeat(
        limits in both_limits(),
        schedule in schedule(),
        which in any::<Index>(),
        doubled in any::<bool>(),
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            prop_assert_eq!(pair.act(end, action), Ok(()));
        }
        pair.ends[0].say_control(5, None);
        let wire = &mut pair.ends[0].wire;
        let counted: Vec<usize> = (0..wire.len()).filter(|&at| wire[at].is_counted()).collect();
        let at = *which.get(&counted);
        if doubled {
            wire.insert(at, wire[at].clone());
        } else {
            wire.remove(at);
        }
        let found = pair.settle(false).and_then(|()| pair.settle_after_heartbeats());
        let found = found.expect_err("somebody notices");
        let fits = match found {
            ProtocolError::Count { theirs, ours } => theirs.abs_diff(ours) == 1,
            // A doubled event overruns the window, or is confirmed or finished once too often.
            ProtocolError::Window { .. } | ProtocolError::Position { .. } => doubled,
            _ => false,
        };
        prop_assert!(fits, "{:?}", found);
    }

    #[test]
    fn a_wrong_number_is_a_violation_whatever_came_before(
        limits in both_limits(),
        schedule in schedule(),
        off in 1..1000u64,
    ) {
        let mut pair = Pair::new(limits);
        for (end, action) in schedule {
            prop_assert_eq!(pair.act(end, action), Ok(()));
        }
        prop_assert_eq!(pair.settle(false), Ok(()));
        let now = pair.now;
        let [a, b] = &mut pair.ends;
        let written = a.outbound.written();
        for wrong in [written + off, written.wrapping_sub(off)] {
            let error = ProtocolError::Count { theirs: wrong, ours: written };
            prop_assert_eq!(b.hear(Said::Heartbeat(wrong), now), Err(error));
        }
        let beyond = Position { received: written + off, ..b.said.clone() };
        let error = ProtocolError::Position { position: written + off, written };
        prop_assert_eq!(a.hear(Said::Position(beyond), now), Err(error));
        let mut generous = b.said.clone();
        generous.granted = b.ours.window.plus(a.spent);
        generous.granted.events += off;
        let error = ProtocolError::Position { position: generous.received, written };
        prop_assert_eq!(a.hear(Said::Position(generous.clone()), now), Err(error));
        generous.granted.events -= off;
        generous.granted.bytes += off;
        prop_assert_eq!(a.hear(Said::Position(generous), now), Err(error));
        let error = ProtocolError::From { from: off, expected: written + 1 };
        prop_assert_eq!(b.hear(Said::From(off), now), Err(error), "a link begins once");
    }

    #[test]
    fn a_link_that_begins_with_a_hole_is_a_violation(limits in both_limits(), hole in 2..999u64) {
        let [_, mut end] = Pair::new(limits).ends;
        for from in [0, hole] {
            let error = ProtocolError::From { from, expected: 1 };
            prop_assert_eq!(end.hear(Said::From(from), Duration::ZERO), Err(error));
        }
        let early = end.hear(Said::Control { bytes: 9 }, Duration::ZERO);
        prop_assert_eq!(early, Err(ProtocolError::From { from: 0, expected: 1 }));
    }

    #[test]
    fn an_event_beyond_the_window_is_a_violation(limits in both_limits(), bytes in 0..600usize) {
        let mut pair = Pair::new(limits);
        while pair.ends[0].outbound.admits(bytes) {
            pair.ends[0].outbound.hand_over_event(bytes);
            pair.ends[0].wire.push_back(Said::Event { bytes });
        }
        prop_assert_eq!(pair.act(1, Action::Hear(usize::MAX)), Ok(()));
        pair.ends[0].wire.push_back(Said::Event { bytes });
        let Credit { events, bytes } = pair.ends[1].ours.window;
        let error = ProtocolError::Window { events, bytes };
        prop_assert_eq!(pair.act(1, Action::Hear(1)), Err(error));
    }
}

/// What happened at one end of a recorded session.
enum Line {
    /// Came from the peer.
    Hears(Said),
    /// Went to the peer, because the application wanted it.
    Writes(Said),
    /// Was held back: the window is shut for an event of so many bytes.
    HoldsBack(usize),
    /// A handler finished an event of so many bytes, without an answer.
    Finishes(usize),
    /// Went to the peer, because the machines said so.
    Says(Said),
    /// How the numbers stand: written, confirmed, position.
    Stands(u64, u64, u64),
    /// The machines give the link up.
    GivesUp,
}

use Line::{Finishes, GivesUp, Hears, HoldsBack, Says, Stands, Writes};
use Said::{Control, Event, From, Heartbeat};

fn grants(received: u64, events: u64, bytes: u64) -> Said {
    let granted = Credit { events, bytes };
    Said::Position(Position { received, granted, ..Position::default() })
}

fn asks(received: u64, events: u64, bytes: u64) -> Said {
    let granted = Credit { events, bytes };
    Said::Position(Position { received, granted, asks: true, ..Position::default() })
}

const RECORDED: Limits = Limits {
    event_bytes_max: 1000,
    window: Credit { events: 4, bytes: 1000 },
    log_packets_max: 16,
    log_bytes_max: 8000,
    heartbeat_interval: Duration::from_secs(5),
    dedup_horizon: Duration::ZERO,
};

/// Feeds a trace into fresh machines; whatever they say has to stand in it, at that time.
fn replay(trace: &[(u64, Line)]) {
    let mut end = End::new(RECORDED, RECORDED);
    let timeout = Duration::from_secs(20);
    end.inbound = Inbound::new(RECORDED, RECORDED, POSITION_DELAY, timeout, Duration::ZERO);
    end.wire.clear();
    for (number, (at, line)) in trace.iter().enumerate() {
        let now = Duration::from_millis(*at);
        if let Some(before) = now.checked_sub(Duration::from_millis(1)) {
            if trace[..number].last().is_none_or(|(last, _)| last < at) {
                end.drain(before);
                assert_eq!(end.wire, [], "said before line {number}, at {before:?}");
            }
        }
        match line {
            Hears(said) => end.hear(said.clone(), now).expect("nothing recorded is a violation"),
            Writes(Event { bytes }) => end.say_event(*bytes),
            Writes(Control { bytes }) => end.say_control(*bytes - HEADER_BYTES, None),
            Writes(said) => end.wire.push_back(said.clone()),
            HoldsBack(bytes) => assert!(!end.has_room_for(*bytes), "line {number}"),
            Finishes(bytes) => {
                assert_eq!(end.running.front(), Some(&Credit::one(*bytes)));
                end.finish(false, now);
            }
            Says(_) | Stands(..) => {}
            GivesUp => {
                assert_eq!(end.inbound.poll(now), Due::Silent, "line {number}");
                return;
            }
        }
        end.drain(now);
        match line {
            Says(said) | Writes(said) => {
                assert_eq!(end.wire.pop_front().as_ref(), Some(said), "line {number}");
            }
            Stands(written, confirmed, position) => {
                let outbound = (end.outbound.written(), end.outbound.confirmed());
                assert_eq!(outbound, (*written, *confirmed), "line {number}");
                assert_eq!(end.inbound.position(), *position, "line {number}");
            }
            _ => {}
        }
    }
    assert_eq!(end.wire, [], "said behind the last line");
}

#[test]
fn a_session_replays_the_recorded_trace_of_a_window_that_shuts_and_opens() {
    replay(&[
        (0, Writes(From(1))),
        (0, Hears(From(1))),
        (2, Hears(Event { bytes: 100 })),
        (2, Hears(Event { bytes: 100 })),
        (3, Hears(Event { bytes: 200 })),
        // A quarter of the log of sixteen has arrived.
        (4, Hears(Event { bytes: 300 })),
        (4, Says(grants(4, 4, 1000))),
        // The peer's window is shut: it asks, and is answered in time though nothing is new.
        (5, Hears(asks(0, 4, 1000))),
        (30, Says(grants(4, 4, 1000))),
        // The first slot after none is granted at once, and so is every quarter.
        (40, Finishes(100)),
        (40, Says(grants(4, 5, 1100))),
        (41, Hears(Event { bytes: 50 })),
        (60, Finishes(100)),
        (60, Says(grants(5, 6, 1200))),
        (61, Finishes(200)),
        (61, Says(grants(5, 7, 1400))),
        (62, Finishes(300)),
        (62, Says(grants(5, 8, 1700))),
        (63, Finishes(50)),
        (63, Says(grants(5, 9, 1750))),
        (63, Stands(0, 0, 5)),
        // An event of a whole window, alone. Nothing else fits beside it.
        (70, Hears(Event { bytes: 1000 })),
        (90, Finishes(1000)),
        (90, Says(grants(6, 10, 2750))),
        (5000, Says(Heartbeat(0))),
        (5000, Says(grants(6, 10, 2750))),
        (5001, Hears(Heartbeat(6))),
        (5001, Hears(grants(0, 4, 1000))),
        (5001, Stands(0, 0, 6)),
    ]);
}

#[test]
fn a_session_replays_the_recorded_trace_of_one_that_emits_and_then_falls_silent() {
    replay(&[
        (0, Writes(From(1))),
        (1, Writes(Control { bytes: 20 })),
        (3, Hears(From(1))),
        (3, Hears(Control { bytes: 30 })),
        (10, Writes(Event { bytes: 400 })),
        (11, Writes(Event { bytes: 500 })),
        // Two events and 100 bytes of the window are left.
        (11, HoldsBack(101)),
        (11, Writes(Event { bytes: 100 })),
        (12, HoldsBack(1)),
        // Acks and the like overtake what waits.
        (12, Writes(Control { bytes: 12 })),
        (12, Stands(5, 0, 1)),
        (13, Writes(asks(0, 4, 1000))),
        // Received is not finished.
        (40, Hears(grants(5, 4, 1000))),
        (40, HoldsBack(1)),
        (40, Stands(5, 5, 1)),
        (50, Hears(grants(5, 5, 1400))),
        (50, Writes(Event { bytes: 400 })),
        (50, HoldsBack(1)),
        (50, Stands(6, 5, 1)),
        // An old position changes nothing.
        (51, Hears(grants(2, 4, 1000))),
        (51, HoldsBack(1)),
        (51, Stands(6, 5, 1)),
        (5000, Says(Heartbeat(6))),
        (5000, Says(grants(1, 4, 1000))),
        (5002, Hears(Heartbeat(1))),
        (5002, Hears(grants(6, 8, 2400))),
        (5002, Stands(6, 6, 1)),
        (10000, Says(Heartbeat(6))),
        (10000, Says(grants(1, 4, 1000))),
        (15000, Says(Heartbeat(6))),
        (15000, Says(grants(1, 4, 1000))),
        (20000, Says(Heartbeat(6))),
        (20000, Says(grants(1, 4, 1000))),
        (25000, Says(Heartbeat(6))),
        (25000, Says(grants(1, 4, 1000))),
        // Twenty seconds after the last byte.
        (25002, GivesUp),
    ]);
}

#[test]
fn windows_without_an_end_overflow_nothing() {
    let window = Credit { events: u64::MAX, bytes: u64::MAX };
    let mut pair = Pair::new([Limits { window, ..RECORDED }; 2]);
    for _ in 0..2 {
        for end in [0, 1] {
            for _ in 0..20 {
                pair.ends[end].say_event(1000);
            }
        }
        pair.settle(false).unwrap();
        pair.settle_after_heartbeats().unwrap();
    }
    assert!(pair.ends[0].outbound.admits(1000));
}

#[test]
fn the_first_place_after_none_is_granted_at_once_and_the_next_with_a_quarter() {
    let window = Credit { events: 20, bytes: 20_000 };
    let limits = Limits { window, log_packets_max: 100, ..RECORDED };
    let mut pair = Pair::new([limits; 2]);
    for _ in 0..20 {
        pair.ends[0].say_event(1);
    }
    pair.act(1, Action::Hear(99)).unwrap();
    pair.ends[1].drain(Duration::ZERO);
    let end = &mut pair.ends[1];
    end.wire.clear();
    for finished in 1..=7 {
        end.finish(false, Duration::ZERO);
        end.drain(Duration::ZERO);
        let said = usize::from(finished >= 1) + usize::from(finished >= 6);
        assert_eq!(end.wire.len(), said, "{finished} are finished: {:?}", end.wire);
    }
}

#[test]
fn a_position_that_finds_no_ride_is_said_when_its_delay_is_over() {
    let mut pair = Pair::new([RECORDED; 2]);
    let half = POSITION_DELAY / 2;
    pair.ends[0].say_event(1);
    pair.ends[0].ask();
    pair.act(1, Action::Hear(9)).unwrap();
    pair.act(1, Action::Finish { events: 1, answered: false }).unwrap();
    pair.ends[1].drain(pair.now);
    let end = &mut pair.ends[1];
    end.wire.clear();
    end.inbound.handle_ask(half);
    for _ in 0..2 {
        end.ride(false);
        end.drain(half);
        assert_eq!(end.wire, [], "there is some time left");
    }
    end.drain(half + POSITION_DELAY);
    assert_eq!(end.wire, [grants(1, 5, 1001)]);
    end.inbound.handle_ask(half + POSITION_DELAY);
    end.ride(true);
    end.drain(POSITION_DELAY * 9);
    assert_eq!(end.wire.len(), 2, "it rode, and is not said again");
}
