//! Whatever happens to a mailbox, what comes out is in order.

use super::*;

/// What may happen to a mailbox.
#[derive(Clone, Copy, Debug)]
enum Act {
    Offer,
    Volatile,
    Control,
    Behind,
    Heartbeat,
    Position,
    Flush,
    Take(usize),
    Drive,
    /// The peer says what it has, and that it has finished this many of every four events.
    Confirm(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Offer),
        2 => Just(Act::Volatile),
        2 => Just(Act::Control),
        1 => Just(Act::Behind),
        2 => Just(Act::Heartbeat),
        1 => Just(Act::Position),
        4 => Just(Act::Flush),
        4 => (0..60usize).prop_map(Act::Take),
        4 => Just(Act::Drive),
        2 => (0..=4u64).prop_map(Act::Confirm),
    ]
}

/// How many of each kind were appended.
#[derive(Default)]
struct Appended {
    events: u64,
    volatile: u64,
    control: u32,
}

fn perform(rig: &Rig, act: Act, appended: &mut Appended) {
    match act {
        Act::Offer => {
            appended.events += 1;
            rig.append(appended.events).unwrap();
        }
        Act::Volatile => {
            appended.volatile += 1;
            let encoded = Native.encode(&volatile(appended.volatile));
            let _: Flush = rig.mailbox.offer_volatile(&encoded, 1).unwrap();
        }
        Act::Control => {
            appended.control += 1;
            let _: Flush = rig.mailbox.push_control(&control(appended.control));
        }
        Act::Behind => {
            let _: Flush = rig.mailbox.push_behind_events(&leave(appended.events as u32));
        }
        Act::Heartbeat => {
            let _: Flush = rig.mailbox.post_heartbeat();
        }
        Act::Position => {
            let _: Flush = rig.mailbox.post_position(&Position::default());
        }
        Act::Flush => rig.mailbox.flush(),
        Act::Take(bytes) => rig.wire.take(bytes),
        Act::Drive => assert!(rig.drive().is_pending()),
        Act::Confirm(quarters) => {
            let packets = rig.wire.packets();
            let received = packets.iter().filter(|packet| packet.is_counted()).count();
            let is_event = |packet: &&Packet| matches!(packet, Packet::Event(_));
            let events = packets.iter().filter(is_event).count() as u64;
            rig.confirm(received as u64, events * quarters / 4).unwrap();
        }
    }
}

/// Every rule about the order of what a mailbox writes.
fn assert_in_order(packets: &[Packet], appended: &Appended) {
    let (mut events, mut volatiles, mut controls, mut counted) = (0, 0, 0, 0);
    for (place, packet) in packets.iter().enumerate() {
        counted += u64::from(packet.is_counted());
        match packet {
            Packet::From(from) => assert_eq!((place, *from), (0, 1)),
            Packet::Event(event) => {
                events += 1;
                assert_eq!(event.event.number, events);
            }
            Packet::Volatile(event) => {
                volatiles += 1;
                assert_eq!(event.event.number, volatiles);
            }
            Packet::Connect(connect) => {
                controls += 1;
                assert_eq!(connect.number.0, controls);
            }
            Packet::Leave(leave) => {
                assert_eq!(u64::from(leave.client.0), events, "behind its events, before others");
            }
            Packet::Heartbeat { written } => assert_eq!(*written, counted, "at {place}"),
            Packet::Position(_) => {}
            other => panic!("nobody said {other:?}"),
        }
    }
    let written = (events, volatiles, controls);
    assert_eq!(written, (appended.events, appended.volatile, appended.control));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_all_is_written_once_in_order_and_heartbeats_count_what_is_before_them(
        window in 1..6u64,
        acts in vec(act(), 0..120),
    ) {
        let rig = Rig::new(window, BOUNDS);
        let mut appended = Appended::default();
        for act in acts {
            perform(&rig, act, &mut appended);
        }
        rig.wire.take_all();
        for _ in 0..=appended.events {
            perform(&rig, Act::Drive, &mut appended);
            perform(&rig, Act::Confirm(4), &mut appended);
        }
        let beats = rig.wire.packets();
        prop_assert_eq!(beats.first(), Some(&Packet::From(1)));
        assert_in_order(&beats, &appended);
        prop_assert!(rig.mailbox.is_settled());
    }
}

/// Wakes a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

const THREADS: u64 = 4;
const EVENTS_EACH: u64 = 500;

#[test]
fn what_many_threads_append_is_all_written_and_in_the_order_of_each() {
    let rig = &Rig::new(THREADS * EVENTS_EACH, BOUNDS);
    thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            while rig.mailbox.poll_drive(&mut Context::from_waker(&waker)).is_pending() {
                thread::park();
            }
        });
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..EVENTS_EACH {
                    rig.offer(thread << 32 | number).unwrap();
                }
            });
        }
        // The peer takes little at a time, whenever the writer waits for it.
        let (taken, changed) = &*rig.wire.0;
        let mut all = true;
        while all && rig.written().len() < (THREADS * EVENTS_EACH) as usize {
            let stuck = |taken: &mut Taken| taken.writer.is_none() && taken.budget == 0;
            let waited = changed.wait_timeout_while(taken.lock().unwrap(), DEADLINE, stuck);
            all = !waited.unwrap().1.timed_out();
            rig.wire.take(997);
        }
        // The driver ends in any case, or this test would never.
        rig.wire.take_all();
        rig.close(false);
        driver.thread().unpark();
        driver.join().unwrap();
        assert!(all, "nobody writes what waits");
    });
    let mut next = [0; THREADS as usize];
    for packet in rig.written() {
        let Packet::Event(event) = packet else { continue };
        let (thread, number) = (event.event.number >> 32, event.event.number & 0xffff_ffff);
        assert_eq!(number, next[thread as usize], "of thread {thread}");
        next[thread as usize] += 1;
    }
    assert_eq!(next, [EVENTS_EACH; THREADS as usize]);
}
