//! Histories made by hand.

use super::all;
use crate::history::{Answer, Entry, Fate, Kind, Side, Totals, What};
use std::time::Duration;

const CLIENT: Side = Side::Client(0);

/// A history in which each thing happens a millisecond after the one before.
fn history(whats: impl IntoIterator<Item = What>) -> Vec<Entry> {
    let entry = |(at, what)| Entry { at: Duration::from_millis(at), what };
    (0..).zip(whats).map(entry).collect()
}

/// Which laws it breaks.
fn broken(whats: impl IntoIterator<Item = What>) -> Vec<&'static str> {
    let mut laws: Vec<_> = all(&history(whats)).iter().map(|breach| breach.law).collect();
    laws.dedup();
    laws
}

fn offered(event: u64, kind: Kind, wants_ack: bool) -> What {
    What::Offered { event, from: CLIENT, socket: 1, kind, wants_ack, wants_receipt: false }
}

fn accepted(event: u64) -> What {
    What::Accepted { event }
}

fn started(event: u64) -> What {
    What::Started { event, at: Side::Server, socket: 1 }
}

fn finished(event: u64) -> What {
    What::Finished { event, at: Side::Server, socket: 1 }
}

fn answered(event: u64, answer: Answer) -> What {
    What::Answered { event, socket: 1, answer }
}

fn fated(event: u64, fate: Fate) -> What {
    What::Fated { event, socket: 1, fate }
}

/// Both sides' counters: what the client emitted, what of it the server got, and what was lost.
fn counted(client: Totals, server: Totals) -> [What; 2] {
    let of = |side, totals| What::Counted { side, totals: Box::new(totals) };
    [of(CLIENT, client), of(Side::Server, server)]
}

fn emitted(events_out: u64) -> Totals {
    Totals { events_out, ..Totals::default() }
}

fn got(events_in: u64) -> Totals {
    Totals { events_in, handled: events_in, ..Totals::default() }
}

/// One event, from its offer to its handler's end.
fn one(event: u64) -> [What; 4] {
    [offered(event, Kind::Say, false), accepted(event), started(event), finished(event)]
}

#[test]
fn a_history_in_which_all_is_well_breaks_no_law() {
    let ack = [offered(2, Kind::Say, true), accepted(2), started(2), finished(2)];
    let ack = ack.into_iter().chain([answered(2, Answer::Reply(7)), What::AtRest]);
    let whats = one(1).into_iter().chain(ack).chain(counted(emitted(2), got(2)));
    assert_eq!(broken(whats), [""; 0]);
}

#[test]
fn what_is_handled_twice_is_found() {
    let whats = one(1).into_iter().chain([started(1)]);
    assert_eq!(broken(whats), ["no event is handled twice"]);
}

#[test]
fn what_is_handled_and_was_never_accepted_is_found() {
    let law = ["only what was accepted is handled"];
    assert_eq!(broken([offered(1, Kind::Say, false), started(1)]), law);
    assert_eq!(broken([offered(1, Kind::Say, false), started(1), accepted(1)]), law);
    assert_eq!(broken([started(9)]), law, "nobody emitted it");
    let declined = What::Declined { event: 1, why: "full".to_owned() };
    let whats = [offered(1, Kind::Say, false), accepted(1), declined];
    assert_eq!(broken(whats), law, "its emitter believes that it was not");
}

#[test]
fn what_is_handled_at_the_end_that_emitted_it_is_found() {
    let at_home = What::Started { event: 1, at: CLIENT, socket: 1 };
    let whats = [offered(1, Kind::Say, false), accepted(1), at_home];
    assert_eq!(broken(whats), ["only what was accepted is handled"]);
}

#[test]
fn what_is_lost_and_handled_is_found() {
    let whats = one(1).into_iter().chain([fated(1, Fate::Lost)]);
    assert_eq!(broken(whats), ["what is lost was not handled"]);
    let whats = one(1).into_iter().chain([fated(1, Fate::InDoubt)]);
    assert_eq!(broken(whats), [""; 0], "in doubt it may have been");
}

#[test]
fn two_fates_of_one_event_are_found() {
    let fates = [fated(1, Fate::InDoubt), fated(1, Fate::Lost)];
    let whats = [offered(1, Kind::Say, false), accepted(1)].into_iter().chain(fates);
    assert_eq!(broken(whats), ["each event has one fate"]);
}

#[test]
fn who_starts_before_those_that_were_accepted_before_it_is_found() {
    let both = |kind| [offered(1, kind, false), accepted(1), offered(2, kind, false), accepted(2)];
    let whats = |kind| both(kind).into_iter().chain([started(2), started(1)]);
    assert_eq!(broken(whats(Kind::Say)), ["first starts keep the order of acceptance"]);
    assert_eq!(broken(whats(Kind::Late)), [""; 0], "parked events are excepted");
}

#[test]
fn an_ack_that_never_ends_or_ends_twice_is_found() {
    let begun = || [offered(1, Kind::Say, true), accepted(1), started(1), finished(1)];
    assert_eq!(broken(begun()), ["each ack ends once"]);
    let twice = begun().into_iter().chain([(); 2].map(|()| answered(1, Answer::Reply(4))));
    assert_eq!(broken(twice), ["each ack ends once"]);
}

#[test]
fn an_answer_that_is_not_true_is_found() {
    let law = ["an answer is true"];
    let offer = || [offered(1, Kind::Say, true), accepted(1), started(1)].into_iter();
    let wrong = offer().chain([finished(1), answered(1, Answer::Reply(5))]);
    assert_eq!(broken(wrong), law);
    assert_eq!(broken(offer().chain([answered(1, Answer::Reply(4))])), law, "too early");
    let refused = answered(1, Answer::Refused("no".to_owned()));
    assert_eq!(broken(offer().chain([finished(1), refused])), law, "it was handled");
    assert_eq!(broken(offer().chain([answered(1, Answer::NotAccepted)])), law, "it was");
    assert_eq!(broken(offer().chain([answered(1, Answer::Timeout)])), [""; 0]);
}

#[test]
fn an_ack_that_came_again_is_found_by_the_count_of_those_nobody_waited_for() {
    let whats = [offered(1, Kind::Say, true), accepted(1), started(1), finished(1)];
    let whats = whats.into_iter().chain([answered(1, Answer::Reply(4))]);
    let whats = whats.chain(counted(Totals { unasked: 1, ..emitted(1) }, got(1)));
    assert_eq!(broken(whats), ["no answer comes twice"]);
}

#[test]
fn counters_that_do_not_add_up_are_found() {
    let sides = |client, server| broken(one(1).into_iter().chain(counted(client, server)));
    let law = "emitted is received, lost or in doubt";
    assert_eq!(sides(emitted(1), got(1)), [""; 0]);
    assert_eq!(sides(emitted(2), got(1)), ["what is accepted is counted", law]);
    let nothing = Totals::default();
    let unhandled = "what arrives is handled or refused";
    assert_eq!(sides(emitted(1), nothing), [law, unhandled], "it has vanished");
    let lost = Totals { lost: 1, ..emitted(1) };
    assert_eq!(sides(lost, got(1)), [law], "lost, and there");
    let twice = Totals { received: Some(1), in_doubt: 1, ..emitted(1) };
    let told = "what is counted is told";
    assert_eq!(sides(twice, got(1)), [law, told], "received, and in doubt");
    let late = Totals { events_in: 1, ..Totals::default() };
    assert_eq!(sides(emitted(1), late), [unhandled]);
}

#[test]
fn in_doubt_both_is_right() {
    let doubt = || Totals { in_doubt: 1, ..emitted(1) };
    let arrived = one(1).into_iter().chain(counted(doubt(), got(1)));
    assert_eq!(broken(arrived), [""; 0]);
    let gone = [offered(1, Kind::Say, false), accepted(1)].into_iter();
    assert_eq!(broken(gone.chain(counted(doubt(), Totals::default()))), [""; 0]);
}

#[test]
fn a_living_socket_that_missed_something_is_found_and_an_ended_one_is_not() {
    let event = || [offered(1, Kind::Say, false), accepted(1)].into_iter();
    let law = ["a socket that lives has handled all"];
    assert_eq!(broken(event().chain([What::AtRest])), law);
    let ended = What::Ended { side: CLIENT, socket: 1, reason: String::new() };
    assert_eq!(broken(event().chain([ended.clone(), What::AtRest])), [""; 0]);
    assert_eq!(broken(event().chain([What::AtRest, ended])), law, "it was too late for that");
}

#[test]
fn where_no_socket_has_ended_both_sides_have_to_know_the_same() {
    let removed = Totals { superseded: 1, ..emitted(2) };
    let spots = [offered(2, Kind::Spot, false), accepted(2), fated(2, Fate::Lost)];
    let whats = |server| {
        let events = one(1).into_iter().chain(spots.clone()).chain([What::AtRest]);
        broken(events.chain(counted(removed, server)))
    };
    assert_eq!(whats(Totals { missed: 1, ..got(1) }), [""; 0]);
    assert_eq!(whats(got(1)), ["where nothing ends nothing is lost"], "a gap was swallowed");
}

#[test]
fn a_rest_in_the_calm_is_found() {
    let calm = |then: u64| {
        let mut all = history([What::Calm].into_iter().chain(one(1)).chain(one(2)));
        all[5..].iter_mut().for_each(|entry| entry.at += Duration::from_millis(then));
        super::all(&all).iter().map(|breach| breach.law).collect::<Vec<_>>()
    };
    assert_eq!(calm(50), [""; 0]);
    assert_eq!(calm(500), ["nothing holds up what is said in calm"]);
}

#[test]
fn whatever_is_too_full_or_never_rests_or_stays_behind_is_found() {
    let words = String::new();
    let full = What::Overfull { side: CLIENT, words: words.clone() };
    let law = "memory is bounded, and all comes to rest";
    assert_eq!(broken([full, What::Restless { words }]), [law]);
    let left = Totals { links: 1, ..Totals::default() };
    assert_eq!(broken(counted(Totals::default(), left)), ["nothing is left behind"]);
    assert_eq!(broken([What::Over { tasks: 1 }]), ["nothing is left behind"]);
    assert_eq!(broken([What::Over { tasks: 0 }]), [""; 0]);
}
