//! What becomes of events that need not be written any more: of slow members and of older values.

use super::*;
use emitwire_core::protocol::{Gap, LossReason};
use emitwire_core::room::LatestKey;

fn gap(count: u64, reason: LossReason) -> Packet {
    Packet::Gap(Gap { count, reason })
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Packet> {
    numbers.into_iter().map(event).collect()
}

/// A member that has drained once, whose window is shut, and for whom two events may wait.
fn stuck() -> Rig {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    assert!(rig.drive().is_pending());
    rig.offer(1).unwrap();
    rig
}

impl Rig {
    fn share(&self, number: u64, policy: SlowPolicy) -> Result<u64, NotAccepted> {
        let encoded = Native.encode(&event(number));
        let taken = self.mailbox.deliver(&parcel(&encoded), policy)?;
        self.mailbox.flush();
        Ok(taken.removed)
    }

    /// Offers the newest of a key; says how many older ones made way.
    fn offer_latest(&self, number: u64, key: &str) -> Result<u64, NotAccepted> {
        let (encoded, key) = (Native.encode(&event(number)), key_of(key));
        let parcel = Parcel { latest: Some(&key), ..parcel(&encoded) };
        let taken = self.mailbox.try_offer(&parcel)?;
        self.mailbox.flush();
        Ok(taken.removed)
    }
}

fn key_of(key: &str) -> LatestKey {
    LatestKey::new(NamespaceNumber(0), key)
}

#[test]
fn the_oldest_broadcast_makes_way_for_the_newest_and_a_gap_says_so() {
    let rig = stuck();
    assert_eq!(rig.share(2, SlowPolicy::DropOldest), Ok(0));
    assert_eq!(rig.share(3, SlowPolicy::DropOldest), Ok(0));
    for number in 4..=9 {
        assert_eq!(rig.share(number, SlowPolicy::DropOldest), Ok(1), "{number}");
    }
    assert_eq!(rig.mailbox.closed(), None);
    assert_eq!(rig.written(), events([1]));
    rig.confirm(1, 1).unwrap();
    rig.confirm(3, 2).unwrap();
    rig.confirm(4, 3).unwrap();
    let kept = [event(1), gap(6, LossReason::Overflow), event(8), event(9)];
    assert_eq!(rig.written(), kept);
}

#[test]
fn what_was_emitted_to_a_socket_does_not_make_way_for_broadcasts() {
    let rig = stuck();
    rig.offer(2).unwrap();
    rig.offer(3).unwrap();
    assert!(full(&rig.share(4, SlowPolicy::DropOldest)), "there is no broadcast to drop");
    for number in 1..=3 {
        rig.confirm(number, number).unwrap();
    }
    rig.confirm(4, 3).unwrap();
    assert_eq!(rig.written(), [event(1), event(2), event(3), gap(1, LossReason::Overflow)]);
}

#[test]
fn the_newest_broadcast_is_dropped_and_a_gap_stands_for_all_of_them() {
    let rig = stuck();
    assert_eq!(rig.share(2, SlowPolicy::DropNewest), Ok(0));
    assert_eq!(rig.share(3, SlowPolicy::DropNewest), Ok(0));
    for number in 4..=9 {
        assert!(full(&rig.share(number, SlowPolicy::DropNewest)), "{number}");
    }
    for number in 1..=3 {
        rig.confirm(number, number).unwrap();
    }
    assert_eq!(rig.written(), [event(1), event(2), event(3), gap(6, LossReason::Overflow)]);
}

#[test]
fn a_policy_that_drops_keeps_a_mailbox_at_its_bound() {
    for policy in [SlowPolicy::DropOldest, SlowPolicy::DropNewest] {
        let rig = stuck();
        for number in 2..=100_000 {
            let _ = rig.share(number, policy);
        }
        let queue = rig.mailbox.queue();
        assert!(queue.waiting <= 3, "{policy:?}: {queue:?}");
        assert_eq!(queue.unconfirmed, 1);
    }
}

#[test]
fn a_member_whose_wire_takes_nothing_is_served_by_its_policy_too() {
    let rig = Rig::new(100, Bounds { log_packets_max: 3, ..BOUNDS });
    for number in 1..=10 {
        rig.share(number, SlowPolicy::DropOldest).unwrap();
    }
    rig.wire.take_all();
    assert!(rig.drive().is_pending());
    rig.confirm(3, 2).unwrap();
    // The first was on its way to the wire.
    let kept = [event(1), gap(7, LossReason::Overflow), event(9), event(10)];
    assert_eq!(rig.written(), kept);
}

#[test]
fn only_the_newest_of_a_key_waits_and_it_goes_to_the_end() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    assert_eq!(rig.offer_latest(2, "x"), Ok(0));
    rig.offer(3).unwrap();
    assert_eq!(rig.offer_latest(4, "y"), Ok(0), "another key");
    assert_eq!(rig.offer_latest(5, "x"), Ok(1));
    assert_eq!(rig.offer_latest(6, "x"), Ok(1));
    for number in 1..=7 {
        rig.confirm(number, number.min(4)).unwrap_or_default();
    }
    let superseded = |count| gap(count, LossReason::Superseded);
    let kept = [event(1), superseded(1), event(3), event(4), superseded(1), event(6)];
    assert_eq!(rig.written(), kept);
}

#[test]
fn what_was_written_is_superseded_by_nothing() {
    let rig = Rig::open(10, BOUNDS);
    for number in 1..=3 {
        assert_eq!(rig.offer_latest(number, "x"), Ok(0));
    }
    assert_eq!(rig.written(), events(1..=3));
}

#[test]
fn the_newest_of_a_key_needs_no_room_but_its_older_one() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    rig.offer(1).unwrap();
    assert_eq!(rig.offer_latest(2, "x"), Ok(0));
    rig.offer(3).unwrap();
    assert!(full(&rig.offer(4)));
    assert!(full(&rig.offer_latest(4, "y")));
    assert_eq!(rig.offer_latest(5, "x"), Ok(1));
}

#[test]
fn a_value_that_was_written_makes_no_room() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    assert_eq!(rig.offer_latest(1, "x"), Ok(0));
    assert_eq!(rig.written(), events([1]));
    rig.offer(2).unwrap();
    rig.offer(3).unwrap();
    assert!(full(&rig.offer_latest(4, "x")));
}

#[test]
fn a_stream_of_newest_values_that_waits_stays_small() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    for number in 2..=100_000 {
        let key = ["x", "y", "z"][number as usize % 3];
        rig.offer_latest(number, key).unwrap();
    }
    let queue = rig.mailbox.queue();
    assert!(queue.waiting <= 6, "{queue:?}");
    // The gaps tell of each that is missing.
    for number in 1..=3 {
        rig.confirm(number, number).unwrap_or_default();
    }
    for number in 4..=6 {
        rig.confirm(number.min(rig.written().len() as u64), 3).unwrap_or_default();
    }
    let missing: u64 = rig
        .written()
        .iter()
        .map(|packet| match packet {
            Packet::Gap(gap) => gap.count,
            _ => 0,
        })
        .sum();
    let written = rig.written().iter().filter(|packet| matches!(packet, Packet::Event(_))).count();
    assert_eq!(missing + written as u64, 100_000);
}

#[test]
fn an_answer_that_nobody_will_give_is_told_to_the_driver() {
    let rig = stuck();
    for number in 2..=4 {
        let encoded = Native.encode(&event(number));
        let parcel = Parcel { wants_ack: number == 2, ..parcel(&encoded) };
        rig.mailbox.deliver(&parcel, SlowPolicy::DropOldest).unwrap();
    }
    let news = rig.mailbox.take_news(0);
    let removed = [(Native.encode(&event(2)), Fate::Lost(LossReason::Overflow))];
    let told = news.losses.into_iter().map(|loss| match loss.what {
        Remains::Whole(encoded) => (encoded, loss.fate),
        Remains::Id(_) => panic!("it was not written"),
    });
    assert_eq!(told.collect::<Vec<_>>(), removed);
    assert!(rig.mailbox.take_news(0).losses.is_empty());
}

#[test]
fn drained_is_said_when_nothing_waits_or_nothing_will_be_written() {
    let (rig, mut ticket) = (Rig::open(1, BOUNDS), None);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(rig.mailbox.poll_drained(&mut cx, &mut ticket), Poll::Ready(Ok(())));
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    assert!(rig.mailbox.poll_drained(&mut cx, &mut ticket).is_pending());
    rig.confirm(1, 1).unwrap();
    assert!(wakes.count() > 0);
    assert_eq!(rig.mailbox.poll_drained(&mut cx, &mut ticket), Poll::Ready(Ok(())));
    rig.mailbox.forget_drained(&mut ticket);
    let before = wakes.count();
    rig.offer(3).unwrap();
    rig.offer(4).unwrap();
    assert!(rig.mailbox.poll_drained(&mut cx, &mut ticket).is_pending());
    rig.close(false);
    assert!(wakes.count() > before);
    let closed = NotAccepted::Closed(DisconnectReason::Closed);
    assert_eq!(rig.mailbox.poll_drained(&mut cx, &mut ticket), Poll::Ready(Err(closed)));
}

#[test]
fn making_way_is_for_what_was_said_under_that_policy_and_until_there_is_room() {
    let bounds = Bounds { unwritten_bytes_max: 1000, event_bytes_max: 1000, ..BOUNDS };
    let rig = Rig::open(1, bounds);
    assert!(rig.drive().is_pending());
    rig.offer(1).unwrap();
    let share = |number: u64, bytes: usize, policy| {
        let packet = packet_of_event(number, Payload::raw(vec![0; bytes]));
        let encoded = Native.encode(&Packet::Event(packet));
        let taken = rig.mailbox.deliver(&Parcel { event_bytes: bytes, ..parcel(&encoded) }, policy);
        taken.map(|taken| taken.removed)
    };
    for number in 2..=11 {
        assert_eq!(share(number, 100, SlowPolicy::DropOldest), Ok(0));
    }
    assert_eq!(share(12, 400, SlowPolicy::DropOldest), Ok(1), "it was at its bound");
    assert_eq!(share(13, 1000, SlowPolicy::DropOldest), Ok(4), "until it is below it");
    assert!(rig.mailbox.queue().waiting_bytes <= 2100);
    let rig = stuck();
    rig.share(2, SlowPolicy::Detach).unwrap();
    rig.share(3, SlowPolicy::Detach).unwrap();
    assert!(full(&rig.share(4, SlowPolicy::DropOldest)), "those were said under another policy");
}

#[test]
fn gaps_stand_beside_each_other_once_for_each_reason() {
    for policy in [SlowPolicy::DropOldest, SlowPolicy::DropNewest] {
        let rig = stuck();
        rig.offer_latest(2, "x").unwrap();
        rig.offer_latest(3, "y").unwrap();
        for number in 4..10_000 {
            let _ = rig.share(number, policy);
            rig.offer_latest(number, ["x", "y"][number as usize % 2]).unwrap();
        }
        let queue = rig.mailbox.queue();
        assert!(queue.waiting <= 8, "{policy:?}: {queue:?}");
    }
}

#[test]
fn as_many_make_way_as_have_to_and_each_is_counted() {
    let n = 10;
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2 * n, ..BOUNDS });
    assert!(rig.drive().is_pending());
    rig.offer(1).unwrap();
    for i in 0..n as u64 {
        rig.offer(100 + i).unwrap();
        assert_eq!(rig.share(200 + i, SlowPolicy::DropOldest), Ok(0));
    }
    let told = rig.share(999, SlowPolicy::DropOldest);
    let queue = rig.mailbox.queue();
    for k in 1..=60u64 {
        let written = rig.written().len() as u64;
        rig.confirm(written, k).unwrap_or_default();
    }
    let written = rig.written();
    let lost: u64 = written
        .iter()
        .map(|p| match p {
            Packet::Gap(Gap { count, reason: LossReason::Overflow }) => *count,
            _ => 0,
        })
        .sum();
    assert_eq!((told.clone(), lost), (Ok(lost), lost), "{queue:?} {told:?}: {written:?}");
}

#[test]
fn where_making_way_does_not_help_one_goes_for_one() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 8, ..BOUNDS });
    assert!(rig.drive().is_pending());
    rig.offer(1).unwrap();
    for i in 0..5u64 {
        assert_eq!(rig.share(200 + i, SlowPolicy::DropOldest), Ok(0));
    }
    for _ in 0..8 {
        let _ = rig.mailbox.push_behind_events(&leave(1));
    }
    let told = rig.share(999, SlowPolicy::DropOldest);
    assert_eq!(told, Ok(1), "{:?}", rig.mailbox.queue());
}
