//! Wires on which no session lived, and how long they stand behind the others.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_wire_that_brings_no_session_goes_last_and_a_better_one_is_remembered_when_it_does() {
    let track = Track::new();
    let [a, b, c] = FAR.map(|name| track.wire(name, Act::Connects(0)));
    let race = Race::of([a.clone(), b.clone(), c.clone()]);
    race.connect().await.unwrap().choice().unwrap().failed();
    a.becomes(Act::Fails(0));
    b.becomes(Act::Fails(0));
    c.becomes(Act::Fails(0));
    let order = |begun: Vec<(&'static str, u128)>| begun.into_iter().map(|(name, _)| name);
    let (_, begun) = track.connect(&race).await;
    assert!(order(begun).skip(1).eq([FAR[1], FAR[2], FAR[0]]));

    b.becomes(Act::Connects(0));
    let connection = race.connect().await.unwrap();
    connection.choice().unwrap().proved();
    advance(Duration::from_secs(1)).await;
    a.becomes(Act::Connects(0));
    let better = connection.choice().unwrap().better().unwrap();
    let probed = better.transports[0].connect().await.unwrap();
    track.begun.lock().unwrap().clear();
    assert_eq!(track.won(&race).await.0, FAR[1], "a wire that connects is no session yet");
    probed.choice().unwrap().proved();
    assert_eq!(track.won(&race).await, (FAR[0].into(), vec![(FAR[0], 0)]));
}

/// The wires that were begun, in turn.
fn names(begun: &[(&'static str, u128)]) -> Vec<&'static str> {
    begun.iter().map(|(name, _)| *name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_connects_and_brings_no_session_does_not_win_for_being_the_fastest() {
    let track = Track::new();
    let [swallows, far] = [Act::Connects(5), Act::Connects(390)];
    let race = Race::of([track.wire(NEAR[0], swallows), track.wire(FAR[1], far)]);
    let near = race.connect().await.unwrap();
    near.choice().unwrap().failed();
    track.begun.lock().unwrap().clear();
    assert_eq!(track.won(&race).await, (FAR[1].into(), vec![(FAR[1], 0)]));

    // It is no worse than none: at once when the others have failed, and else in the end.
    let late = Race::of([track.wire(NEAR[0], swallows), track.wire(FAR[1], Act::Hangs)]);
    late.connect().await.unwrap().choice().unwrap().failed();
    track.begun.lock().unwrap().clear();
    assert_eq!(track.won(&late).await, (NEAR[0].into(), vec![(FAR[1], 0), (NEAR[0], 3000)]));
    let last = Race::of([track.wire(NEAR[0], swallows), track.wire(FAR[1], Act::Fails(7))]);
    last.connect().await.unwrap().choice().unwrap().failed();
    track.begun.lock().unwrap().clear();
    assert_eq!(track.won(&last).await, (NEAR[0].into(), vec![(FAR[1], 0), (NEAR[0], 7)]));
}

#[tokio::test(start_paused = true)]
async fn two_wires_that_bring_no_session_do_not_hide_the_third() {
    let track = Track::new();
    let wires = || FAR.map(|name| track.wire(name, Act::Connects(5)));
    let (race, fallback) = (Race::of(wires()), Fallback::of(wires()));
    for transport in [&race as &dyn Transport, &fallback] {
        for expected in [FAR[0], FAR[1], FAR[2], FAR[0]] {
            let connection = transport.connect().await.unwrap();
            assert_eq!(connection.peer().endpoint(), expected);
            connection.choice().unwrap().failed();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_one_for_five_minutes_whatever_is_remembered_of_the_winner() {
    let track = Track::new();
    let wires = FAR.map(|name| track.wire(name, Act::Fails(0)));
    let race = Race::of(wires.clone());
    let fallback = Fallback::of(wires.clone()).remember(Duration::ZERO);
    for transport in [&race as &dyn Transport, &fallback] {
        wires[0].becomes(Act::Connects(0));
        transport.connect().await.unwrap().choice().unwrap().failed();
        wires[0].becomes(Act::Fails(0));
        advance(Duration::from_secs(299)).await;
        track.begun.lock().unwrap().clear();
        assert!(transport.connect().await.is_err());
        assert_eq!(names(&track.begun.lock().unwrap()), [FAR[1], FAR[2], FAR[0]]);
        advance(Duration::from_secs(1)).await;
        track.begun.lock().unwrap().clear();
        assert!(transport.connect().await.is_err());
        assert_eq!(names(&track.begun.lock().unwrap()), FAR);
    }
}

#[tokio::test(start_paused = true)]
async fn silent_wires_do_not_starve_the_last_of_a_fallback() {
    let track = Track::new();
    let silent = ["d://d", FAR[0], FAR[1], FAR[2]].map(|name| track.wire(name, Act::Hangs));
    let fallback = Fallback::of(silent).or(track.wire("e://e", Act::Connects(0)));
    let gave_up = timeout(Duration::from_secs(11), fallback.connect()).await;
    assert!(gave_up.is_err());
    track.begun.lock().unwrap().clear();
    assert_eq!(track.won(&fallback).await, ("e://e".into(), vec![("e://e", 0)]));

    // Somebody in a hurry has learned nothing.
    let fallback = Fallback::of([track.wire(FAR[0], Act::Hangs), track.wire(FAR[1], Act::Hangs)]);
    let gave_up = timeout(Duration::from_millis(900), fallback.connect()).await;
    assert!(gave_up.is_err());
    track.begun.lock().unwrap().clear();
    let (_, begun) = track.connect(&fallback).await;
    assert_eq!(begun, [(FAR[0], 0), (FAR[1], 3000)]);
}

#[tokio::test(start_paused = true)]
async fn lists_that_grew_apart_do_not_remember_each_others_wires() {
    let track = Track::new();
    let [base, one, other] = FAR.map(|name| track.wire(name, Act::Connects(0)));
    base.becomes(Act::Hangs);
    let first = Race::of([base.clone()]);
    let (one, other) = (first.clone().or(one), first.or(other));
    track.lives(&one).await;
    let (won, begun) = track.won(&other).await;
    assert_eq!((&*won, begun), (FAR[2], vec![(FAR[0], 0), (FAR[2], 250)]));
}

#[tokio::test(start_paused = true)]
async fn a_better_wire_that_brings_no_session_does_not_hide_those_behind_it() {
    let track = Track::new();
    let [a, b, c] = FAR.map(|name| track.wire(name, Act::Hangs));
    c.becomes(Act::Connects(0));
    let race = Race::of([a.clone(), b, c]);
    let connection = race.connect().await.unwrap();
    a.becomes(Act::Connects(0));
    let looks = connection.choice().unwrap().better().unwrap().transports;
    looks[0].connect().await.unwrap().choice().unwrap().failed();
    let expected = [FAR[1], FAR[0]].map(str::to_owned).to_vec();
    assert_eq!(better(&*connection), Some(expected));
}
