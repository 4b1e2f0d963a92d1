//! The numbers of what a session receives, and the clock of its link.

use super::{Credit, Limits, Position, ProtocolError, Skip};
use std::time::Duration;

/// How many times its liveness deadline a side waits for a peer that announced a slow heart.
const LIVENESS_STRETCH: u32 = 3;

/// What is to be done next. After any `handle_*` the driver drains [`Inbound::poll`] until it says
/// [`Due::Wait`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send this position now.
    Position(Position),
    /// Send a heartbeat.
    Heartbeat,
    /// Nothing was read for longer than the liveness deadline: the link is dead.
    Silent,
    /// Nothing before this time, counted from the session's beginning.
    Wait(Duration),
}

/// The inbound machine of a session: count, grants, and the heartbeat of its link.
///
/// All times are durations since the session began.
#[derive(Clone, Debug)]
pub struct Inbound {
    ours: Limits,
    peer: Limits,
    position_delay: Duration,
    liveness_timeout: Duration,

    /// All counted packets up to here have arrived.
    position: u64,
    /// The number of the next counted packet of this link; none before `From`.
    next: Option<u64>,
    received: Credit,
    finished: Credit,

    /// What the last position said was finished.
    announced: Credit,
    unannounced_packets: u32,
    unannounced_bytes: u64,
    /// When the position that the peer asked for is due.
    asked: Option<Duration>,
    /// The peer asked since the last moment at which nothing was outstanding.
    starved: bool,
    position_due: bool,

    heard: Duration,
    heartbeat: Duration,
}

impl Inbound {
    /// The machine of a new session, at time `now`.
    #[must_use]
    pub fn new(
        ours: Limits,
        peer: Limits,
        position_delay: Duration,
        liveness_timeout: Duration,
        now: Duration,
    ) -> Self {
        Self {
            ours,
            peer,
            position_delay,
            // A peer with a slower heart is not dead for it, but it does not switch the clock off.
            liveness_timeout: liveness_timeout
                .max(peer.heartbeat_interval.saturating_mul(2))
                .min(liveness_timeout.saturating_mul(LIVENESS_STRETCH)),
            position: 0,
            next: None,
            received: Credit::default(),
            finished: Credit::default(),
            announced: Credit::default(),
            unannounced_packets: 0,
            unannounced_bytes: 0,
            asked: None,
            starved: false,
            position_due: false,
            heard: now,
            heartbeat: now + ours.heartbeat_interval,
        }
    }

    /// What this side has announced.
    #[must_use]
    pub fn ours(&self) -> &Limits {
        &self.ours
    }

    /// All counted packets up to here have arrived.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The session has a new link: its counting begins with its `From`, its clock now. The peer
    /// may have missed the last position, so one is due.
    pub fn handle_attach(&mut self, now: Duration) {
        self.next = None;
        self.heard = now;
        self.heartbeat = now + self.ours.heartbeat_interval;
        self.asked = None;
        self.starved = false;
        self.position_due = true;
    }

    /// Bytes were read: the peer lives, whether or not they were a whole frame.
    pub fn handle_bytes(&mut self, now: Duration) {
        self.heard = now;
    }

    /// The link's first number in this direction.
    ///
    /// # Errors
    /// [`ProtocolError::From`] when it leaves a hole, or when the link has begun already.
    pub fn handle_from(&mut self, from: u64) -> Result<(), ProtocolError> {
        let expected = self.next.unwrap_or(self.position + 1);
        if from == 0 || from > expected || self.next.is_some() {
            return Err(ProtocolError::From { from, expected });
        }
        self.next = Some(from);
        Ok(())
    }

    /// Counts one packet of `frame_bytes`; `event_bytes` when it is an event. Says whether it is
    /// new: a replayed one was counted before and is to be dropped.
    ///
    /// # Errors
    /// [`ProtocolError::Window`] and [`ProtocolError::EventTooLarge`] when the event is more than
    /// the peer was granted, [`ProtocolError::From`] before the link has begun.
    pub fn handle_counted(
        &mut self,
        frame_bytes: usize,
        event_bytes: Option<usize>,
    ) -> Result<bool, ProtocolError> {
        let Some(next) = &mut self.next else {
            return Err(ProtocolError::From { from: 0, expected: self.position + 1 });
        };
        let number = *next;
        *next += 1;
        if number <= self.position {
            return Ok(false);
        }
        self.position = number;
        self.unannounced_packets = self.unannounced_packets.saturating_add(1);
        self.unannounced_bytes += frame_bytes as u64;
        if let Some(event_bytes) = event_bytes {
            self.receive_event(event_bytes)?;
        }
        let packets = self.unannounced_packets.saturating_mul(4) >= self.peer.log_packets_max;
        let bytes = self.unannounced_bytes * 4 >= u64::from(self.peer.log_bytes_max);
        self.position_due |= packets || bytes;
        Ok(true)
    }

    /// Numbers that will never come: they count as arrived, and the events among them as finished.
    /// Says whether that is new.
    ///
    /// # Errors
    /// [`ProtocolError::From`] when they are not the next ones of this link, or some of them have
    /// arrived and others not; [`ProtocolError::Window`] when they hold more events than were
    /// granted, or more than there are numbers.
    pub fn handle_skip(&mut self, skip: &Skip) -> Result<bool, ProtocolError> {
        let expected = self.next.unwrap_or(self.position.saturating_add(1));
        let is_known = skip.to <= self.position;
        let is_next = self.next == Some(skip.from) && skip.from <= skip.to;
        if !is_next || (!is_known && skip.from <= self.position) {
            return Err(ProtocolError::From { from: skip.from, expected });
        }
        if !is_known {
            // Only events are skipped, so what the peer was granted bounds how far it may go.
            let count = (skip.to - skip.from).saturating_add(1);
            let received = self.received.plus(skip.events);
            let granted = self.announced.plus(self.ours.window);
            let bytes_max = count.saturating_mul(u64::from(self.ours.event_bytes_max));
            if skip.events.events != count
                || skip.events.bytes > bytes_max
                || received.events > granted.events
                || skip.to == u64::MAX
            {
                return Err(ProtocolError::Window { events: granted.events, bytes: granted.bytes });
            }
            self.position = skip.to;
            self.received = received;
            self.finished = self.finished.plus(skip.events);
        }
        self.next = Some(skip.to.saturating_add(1));
        if is_known {
            return Ok(false);
        }
        self.position_due = true;
        Ok(true)
    }

    /// Whether an event is as small as was agreed; for those that are not counted, too.
    ///
    /// # Errors
    /// [`ProtocolError::EventTooLarge`] when it is not.
    pub fn check_size(&self, event_bytes: usize) -> Result<(), ProtocolError> {
        let (bytes, max) = (event_bytes as u64, u64::from(self.ours.event_bytes_max));
        if bytes > max { Err(ProtocolError::EventTooLarge { bytes, max }) } else { Ok(()) }
    }

    /// The peer's count of what it wrote; on an ordered wire all of it has arrived.
    ///
    /// # Errors
    /// [`ProtocolError::Count`] when something is missing or too much.
    pub fn handle_heartbeat(&mut self, written: u64) -> Result<(), ProtocolError> {
        match self.next {
            Some(next) if next - 1 == written => Ok(()),
            next => {
                let ours = next.map_or(self.position, |next| next - 1);
                Err(ProtocolError::Count { theirs: written, ours })
            }
        }
    }

    /// The peer wants this side's position.
    pub fn handle_ask(&mut self, now: Duration) {
        self.starved = true;
        self.asked.get_or_insert(now + self.position_delay);
    }

    /// Whether the peer has asked, and not all that it has sent since is finished.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// An event's handler has finished and its answer, if any, is confirmed: its part of the
    /// window is free again.
    pub fn handle_finished(&mut self, credit: Credit, now: Duration) {
        self.finished = self.finished.plus(credit);
        let freed = self.finished.minus(self.announced);
        let granted = self.announced.plus(self.ours.window);
        let window_was_shut =
            granted.events <= self.received.events || granted.bytes <= self.received.bytes;
        let idle = self.finished.events == self.received.events;
        self.position_due |= freed.is_quarter_of(self.ours.window)
            || (freed.events > 0 && (window_was_shut || (self.starved && idle)));
        if self.starved && credit.events > 0 {
            // The next event may just fit now.
            self.asked.get_or_insert(now + self.position_delay);
        }
    }

    /// The position that the peer asked for, if it did: it may go with whatever is written first.
    /// Until [`Inbound::handle_rode`] says that it did, it stays due.
    pub fn position_to_ride(&mut self) -> Option<Position> {
        self.asked?;
        self.announced = self.finished;
        Some(self.current())
    }

    /// A position went out with something else.
    pub fn handle_rode(&mut self) {
        self.unannounced_packets = 0;
        self.unannounced_bytes = 0;
        self.asked = None;
    }

    /// The position as of now; what was due is done by sending it.
    pub fn take_position(&mut self) -> Position {
        self.announced = self.finished;
        self.unannounced_packets = 0;
        self.unannounced_bytes = 0;
        self.asked = None;
        self.position_due = false;
        self.starved &= self.finished.events != self.received.events;
        self.current()
    }

    /// What is due at `now`; to be called until it answers [`Due::Wait`].
    pub fn poll(&mut self, now: Duration) -> Due {
        let dead = self.heard + self.liveness_timeout;
        if now >= dead {
            return Due::Silent;
        }
        if self.position_due || self.asked.is_some_and(|asked| now >= asked) {
            return Due::Position(self.take_position());
        }
        if now >= self.heartbeat {
            self.heartbeat = now + self.ours.heartbeat_interval;
            // A heartbeat goes with a position, so that a lost tail is found.
            self.position_due = true;
            return Due::Heartbeat;
        }
        let wait = self.heartbeat.min(dead);
        Due::Wait(self.asked.map_or(wait, |asked| asked.min(wait)))
    }

    fn current(&self) -> Position {
        Position {
            received: self.position,
            granted: self.announced.plus(self.ours.window),
            ranges: Vec::new(),
            asks: false,
        }
    }

    fn receive_event(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.check_size(bytes)?;
        let alone = self.received.events == self.finished.events;
        self.received = self.received.plus(Credit::one(bytes));
        let granted = self.announced.plus(self.ours.window);
        let fits = self.received.events <= granted.events && self.received.bytes <= granted.bytes;
        if fits || alone {
            Ok(())
        } else {
            Err(ProtocolError::Window { events: granted.events, bytes: granted.bytes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        event_bytes_max: 1000,
        window: Credit { events: 8, bytes: 4000 },
        log_packets_max: 16,
        log_bytes_max: 8000,
        heartbeat_interval: Duration::from_secs(5),
        dedup_horizon: Duration::ZERO,
    };
    const DELAY: Duration = Duration::from_millis(25);

    fn inbound() -> Inbound {
        let timeout = Duration::from_secs(20);
        let mut inbound = Inbound::new(LIMITS, LIMITS, DELAY, timeout, Duration::ZERO);
        inbound.handle_from(1).unwrap();
        inbound
    }

    fn drain(inbound: &mut Inbound, now: Duration) -> Vec<Due> {
        let mut all = Vec::new();
        loop {
            match inbound.poll(now) {
                Due::Wait(_) => return all,
                due => all.push(due),
            }
            assert!(all.len() < 9, "poll never waits: {all:?}");
            if all.last() == Some(&Due::Silent) {
                return all;
            }
        }
    }

    #[test]
    fn a_quarter_of_the_peers_log_makes_a_position_due() {
        let mut inbound = inbound();
        for number in 1..=4 {
            assert_eq!(drain(&mut inbound, Duration::ZERO), [], "before packet {number}");
            assert_eq!(inbound.handle_counted(10, None), Ok(true));
        }
        let due = drain(&mut inbound, Duration::ZERO);
        assert!(matches!(&due[..], [Due::Position(Position { received: 4, .. })]), "{due:?}");
        inbound.handle_counted(2000, None).unwrap();
        assert_eq!(drain(&mut inbound, Duration::ZERO).len(), 1, "bytes count too");
    }

    #[test]
    fn a_position_that_was_asked_for_waits_for_its_delay_and_may_ride_before() {
        let mut inbound = inbound();
        inbound.handle_counted(10, None).unwrap();
        inbound.handle_ask(Duration::ZERO);
        assert_eq!(inbound.poll(Duration::ZERO), Due::Wait(DELAY));
        assert_eq!(drain(&mut inbound, DELAY).len(), 1);
        assert_eq!(inbound.position_to_ride(), None);
        inbound.handle_ask(DELAY);
        assert!(inbound.position_to_ride().is_some_and(|position| position.received == 1));
        inbound.handle_rode();
        assert_eq!(drain(&mut inbound, DELAY * 2), []);
    }

    #[test]
    fn an_idle_link_sends_a_heartbeat_with_a_position_and_dies_of_silence() {
        let mut inbound = inbound();
        let due = drain(&mut inbound, Duration::from_secs(5));
        assert!(matches!(due[..], [Due::Heartbeat, Due::Position(_)]), "{due:?}");
        inbound.handle_bytes(Duration::from_secs(6));
        assert!(!drain(&mut inbound, Duration::from_secs(25)).contains(&Due::Silent));
        assert_eq!(drain(&mut inbound, Duration::from_secs(26)), [Due::Silent]);
    }

    #[test]
    fn the_window_is_granted_again_only_by_what_has_finished() {
        let mut inbound = inbound();
        for _ in 0..8 {
            inbound.handle_counted(10, Some(10)).unwrap();
        }
        drain(&mut inbound, Duration::ZERO);
        inbound.handle_finished(Credit::one(10), Duration::ZERO);
        let due = drain(&mut inbound, Duration::ZERO);
        let [Due::Position(position)] = &due[..] else { panic!("first slot after zero: {due:?}") };
        assert_eq!(position.granted, Credit { events: 9, bytes: 4010 });
        inbound.handle_counted(10, Some(10)).unwrap();
        let overrun = inbound.handle_counted(10, Some(10));
        assert_eq!(overrun, Err(ProtocolError::Window { events: 9, bytes: 4010 }));
    }

    #[test]
    fn a_hole_a_wrong_count_and_a_second_beginning_are_violations() {
        let mut inbound = inbound();
        inbound.handle_counted(1, None).unwrap();
        assert_eq!(inbound.handle_heartbeat(1), Ok(()));
        let count = ProtocolError::Count { theirs: 2, ours: 1 };
        assert_eq!(inbound.handle_heartbeat(2), Err(count));
        let from = ProtocolError::From { from: 1, expected: 2 };
        assert_eq!(inbound.handle_from(1), Err(from));
        let timeout = Duration::from_secs(20);
        let mut fresh = Inbound::new(LIMITS, LIMITS, DELAY, timeout, Duration::ZERO);
        assert!(fresh.handle_counted(1, None).is_err(), "nothing counts before `From`");
        let from = ProtocolError::From { from: 2, expected: 1 };
        assert_eq!(fresh.handle_from(2), Err(from));
    }

    #[test]
    fn a_new_link_begins_at_the_position_or_before_it_and_its_clock_anew() {
        let mut inbound = inbound();
        for _ in 0..3 {
            inbound.handle_counted(10, Some(10)).unwrap();
        }
        let later = Duration::from_secs(60);
        inbound.handle_attach(later);
        let due = drain(&mut inbound, later);
        assert!(matches!(&due[..], [Due::Position(Position { received: 3, .. })]), "{due:?}");
        assert!(inbound.clone().handle_from(5).is_err(), "a hole");
        inbound.handle_from(2).unwrap();
        assert_eq!(inbound.handle_counted(10, Some(10)), Ok(false), "a replay of the second");
        assert_eq!(inbound.handle_counted(10, Some(10)), Ok(false), "and of the third");
        assert_eq!(inbound.handle_counted(10, Some(10)), Ok(true));
        assert_eq!(inbound.position(), 4);
        assert_eq!(inbound.handle_heartbeat(4), Ok(()));
    }

    #[test]
    fn a_skip_moves_the_count_and_gives_its_part_of_the_window_back() {
        let mut inbound = inbound();
        let events = Credit { events: 3, bytes: 20 };
        let reason = crate::protocol::LossReason::Overflow;
        let skip = Skip { from: 1, to: 3, events, reason };
        assert_eq!(inbound.handle_skip(&skip), Ok(true));
        assert_eq!((inbound.position(), inbound.finished.events), (3, 3));
        assert_eq!(inbound.handle_heartbeat(3), Ok(()));
        inbound.handle_attach(Duration::ZERO);
        inbound.handle_from(1).unwrap();
        assert_eq!(inbound.handle_skip(&skip), Ok(false), "known");
        assert_eq!(inbound.finished.events, 3);
        assert!(inbound.handle_skip(&Skip { from: 5, to: 6, ..skip }).is_err(), "a hole");
        let many = Credit { events: 9, bytes: 0 };
        let skip = Skip { from: 4, to: 4, events: many, reason };
        assert!(inbound.handle_skip(&skip).is_err(), "more events than numbers");
        let far = Skip { from: 4, to: u64::MAX, events: Credit::default(), reason };
        assert!(inbound.handle_skip(&far).is_err(), "fewer events than numbers");
        let all = Credit { events: u64::MAX - 3, bytes: 0 };
        assert!(inbound.handle_skip(&Skip { events: all, ..far }).is_err(), "beyond the window");
    }

    #[test]
    fn an_event_alone_may_be_larger_than_the_window_but_not_than_agreed() {
        let mut inbound = inbound();
        inbound.ours.window.bytes = 100;
        assert_eq!(inbound.handle_counted(1, Some(900)), Ok(true));
        assert!(inbound.handle_counted(1, Some(1)).is_err());
        let mut inbound = self::inbound();
        let error = ProtocolError::EventTooLarge { bytes: 1001, max: 1000 };
        assert_eq!(inbound.handle_counted(1, Some(1001)), Err(error));
    }
}
