//! What a mailbox takes, writes, keeps and refuses.

use super::*;

#[test]
fn frames_come_out_in_the_order_of_appending_behind_the_number_of_the_first() {
    let rig = Rig::open(100, BOUNDS);
    for number in 1..=70 {
        rig.offer(number).unwrap();
    }
    let expected: Vec<Packet> = (1..=70).map(event).collect();
    assert_eq!(rig.wire.packets()[0], Packet::From(1));
    assert_eq!(rig.written(), expected);
}

#[test]
fn control_overtakes_events_that_wait_and_a_leave_stays_behind_them() {
    let rig = Rig::open(1, BOUNDS);
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.push_control(5);
    assert_eq!(rig.written(), [event(1), control(5)], "the window is shut");
    rig.confirm(2, 1).unwrap();
    rig.confirm(3, 2).unwrap();
    let expected = [event(1), control(5), event(2), event(3), leave(7)];
    assert_eq!(rig.written(), expected);
}

#[test]
fn a_leave_waits_for_no_window_when_no_event_is_before_it() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.mailbox.flush();
    assert_eq!(rig.written(), [event(1), leave(7)]);
}

#[test]
fn when_the_window_is_shut_events_wait_and_answers_pass_and_the_peer_is_asked_once() {
    let rig = Rig::open(2, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1), 0);
    rig.mailbox.flush();
    assert_eq!(rig.written(), [event(1), event(2), control(1)]);
    assert_eq!(rig.asks(), 1);
    rig.confirm(3, 0).unwrap();
    assert_eq!(rig.written().len(), 3, "received is not finished");
    assert_eq!(rig.mailbox.take_news(0).freed, Credit::one(1), "the answer is confirmed");
    rig.confirm(3, 2).unwrap();
    assert_eq!(rig.written()[3..], [event(3), event(4)]);
    assert_eq!(rig.mailbox.take_news(0).freed, Credit::default());
    assert_eq!(rig.asks(), 1);
    rig.offer(5).unwrap();
    rig.offer(6).unwrap();
    assert_eq!(rig.asks(), 2, "it is shut again");
}

#[test]
fn whoever_is_shut_out_while_an_older_ask_is_under_way_asks_again() {
    let rig = Rig::open(1, BOUNDS);
    let _: Flush = rig.mailbox.post_ask();
    rig.mailbox.flush();
    assert_eq!(rig.asks(), 1);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    assert_eq!(rig.asks(), 1, "one at a time");
    // The answer to the first is older than the event that shut the window.
    rig.confirm(1, 0).unwrap();
    assert_eq!(rig.asks(), 2, "the peer has to know that somebody waits");
}

#[test]
fn an_answer_that_comes_after_its_peer_has_asked_is_asked_to_be_confirmed() {
    let rig = Rig::open(8, BOUNDS);
    let stuck = Position { granted: rig.window, asks: true, ..Position::default() };
    let _ = rig.mailbox.handle_position(&stuck).unwrap();
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1), 0);
    rig.mailbox.flush();
    assert_eq!(rig.asks(), 1, "it holds up the window of whoever asked before it was there");
    rig.confirm(1, 0).unwrap();
    rig.mailbox.peer_is_content();
    let _: Flush = rig.mailbox.push_answer(&control(2), Credit::one(1), 0);
    rig.mailbox.flush();
    assert_eq!(rig.asks(), 1, "nobody waits any more");
}

#[test]
fn a_position_that_may_ride_goes_with_the_next_packet_and_never_alone() {
    let rig = Rig::open(10, BOUNDS);
    assert!(rig.drive().is_pending());
    let position = Position { received: 7, granted: WINDOW, ..Position::default() };
    rig.mailbox.let_ride(&position);
    rig.mailbox.flush();
    assert!(rig.drive().is_pending());
    assert_eq!(rig.wire.packets(), [Packet::From(1)]);
    assert!(!rig.mailbox.take_news(8).position_rode);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let rode = Packet::Position(Position { received: 8, ..position });
    assert_eq!(rig.wire.packets(), [Packet::From(1), event(1), rode, event(2)]);
    assert!(rig.mailbox.take_news(8).position_rode, "with what has arrived meanwhile");
    assert!(!rig.mailbox.take_news(8).position_rode);
}

#[test]
fn answers_and_leaves_pass_a_log_that_is_full_of_events() {
    // Everything was written and nothing was confirmed yet: the peer is far away, but not slow.
    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)));
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1), 0);
    rig.mailbox.flush();
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.mailbox.flush();
    assert_eq!(rig.mailbox.closed(), None);
    assert_eq!(rig.written()[3..], [control(1), leave(7)]);
}

#[test]
fn a_peer_that_confirms_no_answer_is_cut_off_before_they_pile_up() {
    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    assert!(rig.drive().is_pending());
    for number in 1..=3 {
        rig.push_control(number);
    }
    assert_eq!(rig.mailbox.closed(), None);
    rig.confirm(2, 0).unwrap();
    rig.push_control(4);
    rig.push_control(5);
    assert_eq!(rig.mailbox.closed(), None);
    rig.push_control(6);
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::Slow));
    assert_eq!(rig.written().len(), 5);
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Cut(DisconnectReason::Slow))), "{end:?}");
}

#[test]
fn a_position_beyond_what_was_written_is_a_violation() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let error = ProtocolError::Position { position: 2, written: 1 };
    assert_eq!(rig.confirm(2, 0), Err(error), "the second waits and has no number");
    assert!(rig.confirm(1, 2).is_err(), "more is finished than was sent");
}

#[test]
fn a_number_is_given_at_the_first_hand_over_and_not_at_acceptance() {
    let rig = Rig::open(1, BOUNDS);
    for number in 1..=5 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    rig.push_control(1);
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    let beat = |written| Packet::Heartbeat { written };
    assert_eq!(rig.written(), [event(1), beat(1), control(1), beat(2)]);
}

#[test]
fn a_blocked_write_is_left_to_the_driver_who_is_woken_once() {
    let rig = Rig::new(100, BOUNDS);
    rig.wire.take(Native.encode(&Packet::From(1)).len());
    assert!(rig.drive().is_pending());
    assert_eq!(rig.wire.packets(), [Packet::From(1)]);
    rig.offer(1).unwrap();
    assert_eq!(rig.driver.count(), 1, "the emitter does not wait for the wire");
    for number in 2..=9 {
        rig.offer(number).unwrap();
    }
    assert_eq!(rig.driver.count(), 1, "what others append does not concern it");
    assert!(rig.drive().is_pending());
    assert_eq!(rig.driver.count(), 1);
    rig.wire.take(30);
    assert_eq!(rig.driver.count(), 2, "the wire wakes it");
    assert!(rig.drive().is_pending());
    assert!(!rig.written().is_empty() && rig.written().len() < 9, "{:?}", rig.written());
    rig.wire.take_all();
    assert_eq!(rig.driver.count(), 3);
    assert!(rig.drive().is_pending());
    assert_eq!(rig.written(), (1..=9).map(event).collect::<Vec<_>>());
    rig.offer(10).unwrap();
    assert_eq!(rig.driver.count(), 3, "whoever has bytes writes them itself");
    assert_eq!(rig.written().len(), 10);
}

#[test]
fn a_wire_that_breaks_is_the_drivers_to_know() {
    let rig = Rig::open(100, BOUNDS);
    assert!(rig.drive().is_pending());
    rig.wire.lock().is_broken = true;
    rig.offer(1).unwrap();
    assert_eq!(rig.driver.count(), 1);
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Broken(_))), "{end:?}");
    assert!(full(&rig.offer_volatile(1)), "there is no link any more");
    rig.mailbox.end(&DisconnectReason::LinkLost, &HashSet::new());
    assert_eq!(rig.counters.in_doubt.get(), 1, "nobody knows how much of it arrived");
}

#[test]
fn an_offer_is_refused_at_the_bound_of_packets_and_at_that_of_bytes() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 3, ..BOUNDS });
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(5)), "one is written, three wait");
    rig.confirm(1, 1).unwrap();
    rig.offer(5).unwrap();

    let bytes = Native.encode(&event(1)).len();
    let rig = Rig::open(1, Bounds { unwritten_bytes_max: 2 * bytes, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)));

    let rig = Rig::open(100, Bounds { log_packets_max: 3, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    assert!(full(&rig.offer(4)), "all is written, and nothing is confirmed");
    assert_eq!(rig.written().len(), 3);
    rig.confirm(1, 0).unwrap();
    rig.offer(4).unwrap();
}

#[test]
fn those_who_wait_for_room_are_served_in_the_order_of_asking() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let mut tickets = [None; 3];
    for (place, number) in [(0, 10), (1, 11), (2, 12)] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], number).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    assert_eq!([0, 1, 2].map(|place| wakes[place].count()), [1, 0, 0]);
    assert!(full(&rig.offer(9)), "nobody jumps the queue");
    assert!(rig.poll_offer(&wakes[1], &mut tickets[1], 11).is_pending(), "not even from inside");
    assert!(rig.poll_offer(&wakes[0], &mut tickets[0], 10).is_ready());
    assert_eq!(wakes[1].count(), 0, "there was room for one");

    // The second gives up its place; the third is next.
    rig.mailbox.forget_ticket(&mut tickets[1]);
    rig.confirm(2, 2).unwrap();
    assert_eq!(wakes[2].count(), 1);
    assert!(rig.poll_offer(&wakes[2], &mut tickets[2], 12).is_ready());
    for finished in 3..=4 {
        rig.confirm(finished, finished).unwrap();
    }
    assert_eq!(rig.written(), [event(1), event(2), event(10), event(12)]);
    rig.offer(13).unwrap();
}

#[test]
fn whoever_is_served_calls_the_next_if_there_is_room_for_both() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    for number in 1..=3 {
        rig.offer(number).unwrap();
    }
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    rig.confirm(2, 2).unwrap();
    assert_eq!(wakes[1].count(), 0, "two may go, but one after the other");
    assert!(rig.poll_offer(&wakes[0], &mut tickets[0], 9).is_ready());
    assert!(wakes[1].count() > 0);
    assert!(rig.poll_offer(&wakes[1], &mut tickets[1], 9).is_ready());
}

#[test]
fn whoever_is_next_and_gives_up_lets_the_one_behind_go() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.confirm(1, 1).unwrap();
    assert_eq!(wakes[1].count(), 0);
    rig.mailbox.forget_ticket(&mut tickets[0]);
    assert_eq!(wakes[1].count(), 1, "the room that the first was called for is the second's");
}

#[test]
fn whoever_waits_is_called_as_soon_as_there_is_room_though_the_wire_is_blocked() {
    let rig = Rig::new(100, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    // The first goes into a batch that the wire does not take; two wait behind it.
    rig.offer(1).unwrap();
    assert!(rig.drive().is_pending());
    rig.offer(2).unwrap();
    rig.offer(3).unwrap();
    let (wakes, mut ticket) = (Arc::default(), None);
    assert!(rig.poll_offer(&wakes, &mut ticket, 4).is_pending());
    // Enough for the link's number and an event: the rest goes into the batch, and stays there.
    let packets = [Packet::From(1), event(1)];
    rig.wire.take(packets.iter().map(|packet| Native.encode(packet).len()).sum());
    assert!(rig.drive().is_pending());
    assert_eq!(rig.written(), [event(1)]);
    assert_eq!(wakes.count(), 1, "no event waits in the mailbox, but an emitter does");
    assert!(rig.poll_offer(&wakes, &mut ticket, 4).is_ready());
}

#[test]
fn a_close_frees_all_who_wait() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 1, ..BOUNDS });
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut tickets = [None; 2];
    for place in [0, 1] {
        assert!(rig.poll_offer(&wakes[place], &mut tickets[place], 9).is_pending());
    }
    rig.close(false);
    for place in [0, 1] {
        assert_eq!(wakes[place].count(), 1);
        let offered = rig.poll_offer(&wakes[place], &mut tickets[place], 9);
        let closed = NotAccepted::Closed(DisconnectReason::Closed);
        assert_eq!(offered, Poll::Ready(Err(closed)));
    }
}

#[test]
fn a_volatile_event_is_dropped_above_its_bound_and_without_a_link() {
    let bytes = Native.encode(&volatile(1)).len();
    let rig = Rig::new(100, Bounds { volatile_bytes_max: 2 * bytes, ..BOUNDS });
    // What was handed to the wire waits no more, so the wire is blocked first.
    rig.push_control(1);
    rig.offer_volatile(1).unwrap();
    rig.offer_volatile(2).unwrap();
    assert!(full(&rig.offer_volatile(3)));
    rig.wire.take_all();
    assert!(rig.drive().is_pending());
    rig.offer_volatile(4).unwrap();
    assert_eq!(rig.written(), [control(1), volatile(1), volatile(2), volatile(4)]);
    assert!(rig.confirm(2, 0).is_err(), "they have no numbers");

    let mailbox = mailbox(Arc::new(Native), WINDOW, BOUNDS, &rig.counters);
    assert!(full(&mailbox.offer_volatile(&Native.encode(&volatile(1)), 1)), "no link");
    let mut cx = Context::from_waker(Waker::noop());
    let reliable = mailbox.poll_offer(&mut cx, &mut None, &parcel(&Native.encode(&event(1))));
    assert!(matches!(reliable, Poll::Ready(Ok(_))), "a reliable one waits for it");
}

#[test]
fn a_member_that_reads_too_slowly_is_cut_off() {
    let rig = Rig::open(1, Bounds { unwritten_packets_max: 2, ..BOUNDS });
    assert!(rig.drive().is_pending());
    for number in 1..=3 {
        rig.deliver(number).unwrap();
    }
    let slow = NotAccepted::Closed(DisconnectReason::Slow);
    assert_eq!(rig.deliver(4), Err(slow.clone()));
    assert_eq!(rig.driver.count(), 1);
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::Slow));
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Cut(DisconnectReason::Slow))), "{end:?}");
    assert_eq!(rig.offer(5), Err(slow));
}

#[test]
fn a_member_that_has_just_come_may_first_take_in_what_its_rooms_say() {
    let bounds = Bounds { unwritten_packets_max: 2, log_packets_max: 10, ..BOUNDS };
    let rig = Rig::new(100, bounds);
    for number in 1..=10 {
        rig.deliver(number).unwrap();
    }
    assert_eq!(rig.deliver(11), Err(NotAccepted::Closed(DisconnectReason::Slow)));
}

#[test]
fn the_goodbye_is_the_last_word_behind_all_that_may_still_be_written() {
    let rig = Rig::new(3, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    rig.push_control(1);
    rig.close(false);
    assert_eq!(rig.offer(5), Err(NotAccepted::Closed(DisconnectReason::Closed)));
    assert!(rig.drive().is_pending(), "the wire takes nothing");
    rig.wire.take_all();
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Closed)), "{end:?}");
    let written = rig.written();
    assert_eq!(written.last(), Some(&Packet::Close(goodbye())));
    let mut before = written[..written.len() - 1].to_vec();
    before.retain(|packet| *packet != control(1));
    assert_eq!(before, [event(1), event(2), event(3)], "the fourth is beyond the window");
    assert_eq!(written.len(), 5);
    rig.mailbox.end(&DisconnectReason::Closed, &HashSet::new());
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (1, 3));
}

#[test]
fn a_goodbye_at_once_leaves_out_what_waits() {
    let rig = Rig::new(1, BOUNDS);
    for number in 1..=4 {
        rig.offer(number).unwrap();
    }
    let _: Flush = rig.mailbox.push_behind_events(&leave(7));
    rig.close(true);
    assert_eq!(rig.counters.lost.get(), 3);
    rig.wire.take_all();
    assert!(rig.drive().is_ready());
    assert_eq!(rig.written(), [event(1), leave(7), Packet::Close(goodbye())]);
    rig.mailbox.end(&DisconnectReason::Closed, &HashSet::new());
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (3, 1), "each once");
}

#[test]
fn what_is_pushed_behind_the_goodbye_is_not_written_and_does_not_hide_the_end() {
    let rig = Rig::open(10, BOUNDS);
    assert!(rig.drive().is_pending());
    rig.close(false);
    // Other threads do not know yet: a handler answers, the clock wants a position said.
    let _: Flush = rig.mailbox.push_answer(&control(1), Credit::one(1), 0);
    rig.mailbox.flush();
    let _: Flush = rig.mailbox.post_position(&Position::default());
    let _: Flush = rig.mailbox.post_heartbeat();
    rig.mailbox.flush();
    let end = rig.drive();
    assert!(matches!(end, Poll::Ready(WireEnd::Closed)), "{end:?}");
    assert_eq!(rig.written(), [Packet::Close(goodbye())]);
    assert_eq!(rig.wire.packets().last(), Some(&Packet::Close(goodbye())));
}

#[test]
fn a_closed_mailbox_is_written_out_and_ends_its_direction() {
    let rig = Rig::open(10, BOUNDS);
    rig.close(false);
    assert!(rig.drive().is_ready());
    assert!(rig.mailbox.poll_close(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(rig.wire.lock().is_closed);
    rig.push_control(1);
    assert_eq!(rig.wire.packets().last(), Some(&Packet::Close(goodbye())));
}

#[test]
fn an_end_accounts_for_what_was_never_written_and_for_what_was_not_confirmed() {
    let rig = Rig::open(3, BOUNDS);
    for number in 1..=5 {
        rig.offer(number).unwrap();
    }
    rig.push_control(1);
    rig.confirm(1, 0).unwrap();
    // Two events and a control packet are written and not confirmed; two events wait.
    rig.mailbox.end(&DisconnectReason::LinkLost, &HashSet::new());
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (2, 2));
    rig.mailbox.end(&DisconnectReason::Closed, &HashSet::new());
    assert_eq!((rig.counters.lost.get(), rig.counters.in_doubt.get()), (2, 2), "once");
    assert_eq!(rig.mailbox.closed(), Some(DisconnectReason::LinkLost), "the first reason stays");
    let closed = NotAccepted::Closed(DisconnectReason::LinkLost);
    assert_eq!(rig.offer(9), Err(closed.clone()));
    assert_eq!(rig.deliver(9), Err(closed.clone()));
    assert_eq!(rig.offer_volatile(9), Err(closed));
    let before = rig.wire.packets();
    rig.push_control(9);
    assert_eq!(rig.wire.packets(), before);
}

#[test]
fn a_volatile_event_that_waits_at_the_end_is_dropped_and_counted() {
    let rig = Rig::new(9, BOUNDS);
    rig.push_control(1);
    rig.offer_volatile(1).unwrap();
    rig.mailbox.end(&DisconnectReason::LinkLost, &HashSet::new());
    assert_eq!(rig.counters.volatile_dropped.get(), 1);
}

#[test]
fn a_draining_mailbox_takes_no_events_and_goes_on_answering() {
    let rig = Rig::open(1, BOUNDS);
    rig.offer(1).unwrap();
    rig.offer(2).unwrap();
    let _: Flush = rig.mailbox.begin_drain(None);
    assert_eq!(rig.offer(3), Err(NotAccepted::Draining));
    assert_eq!(rig.deliver(3), Err(NotAccepted::Draining));
    rig.push_control(1);
    rig.confirm(2, 1).unwrap();
    assert_eq!(rig.written(), [event(1), control(1), event(2)]);
    assert!(!rig.mailbox.is_settled());
    rig.confirm(3, 2).unwrap();
    assert!(rig.mailbox.is_settled());
}
