//! Emits that are given up: what was not accepted is withdrawn, and what was is not lost.

use super::*;

/// What is counted at the client.
fn counted(duo: &Duo) -> Stats4 {
    let stats = duo.session.stats();
    [stats.events_out, stats.received, stats.superseded, stats.withdrawn]
}

/// A server whose handler waits at a gate, and a client with these layers.
async fn gated(layers: Layers) -> (Duo, Gate, Log) {
    let (gate, log) = (Gate::shut(), Log::default());
    let duo = duo(gate.slow(&log), Namespace::new("/").layers(layers)).await;
    (duo, gate, log)
}

#[tokio::test(start_paused = true)]
async fn before_it_was_ever_polled() {
    let (duo, gate, log) = gated(Layers::new().outbound(ConcurrencyLimitLayer::new(1))).await;
    let near = duo.near();
    drop(near.emit("slow", &1u64).into_future());
    drop(near.emit("slow", &2u64).ack::<u64>().into_future());
    drop(near.emit("slow", &3u64).received().into_future());
    assert_eq!(counted(&duo), [0, 0, 0, 3]);
    gate.open(1);
    assert_eq!(within(near.emit("slow", &4u64).ack::<u64>()).await.unwrap(), 4);
    assert_eq!(log.take(), ["4"]);
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_for_its_place_in_a_limit_which_it_gives_back() {
    let (duo, gate, log) = gated(Layers::new().outbound(ConcurrencyLimitLayer::new(1))).await;
    let near = duo.near();
    let holder = near.clone();
    let held = begins(async move { holder.emit("slow", &1u64).ack::<u64>().await }).await;
    let mut waits = near.emit("slow", &2u64).into_future();
    assert!(poll_once(&mut waits).is_pending());
    let third = near.clone();
    let third = begins(async move { third.emit("slow", &3u64).ack::<u64>().await }).await;
    drop(waits);
    tokio::select! {
        biased;
        _ = near.emit("slow", &4u64) => panic!("there is no place"),
        () = sleep(SECOND) => {}
    }
    let given_up =
        tokio::time::timeout(SECOND, near.emit("slow", &5u64).ack::<u64>().into_future());
    given_up.await.unwrap_err();
    assert_eq!(duo.session.stats().withdrawn, 3);
    gate.open(2);
    assert_eq!(within(held).await.unwrap().unwrap(), 1);
    assert_eq!(within(third).await.unwrap().unwrap(), 3);
    assert_eq!(log.take(), ["1", "3"]);
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_place_in_its_hands_that_it_was_just_given() {
    let (duo, gate, log) = gated(Layers::new().outbound(ConcurrencyLimitLayer::new(1))).await;
    let near = duo.near();
    let mut holds = near.emit("slow", &1u64).ack::<u64>().into_future();
    assert!(poll_once(&mut holds).is_pending());
    let mut waits = near.emit("slow", &2u64).into_future();
    assert!(poll_once(&mut waits).is_pending());
    // It is given the place of the first, and does not look any more.
    drop(holds);
    drop(waits);
    gate.open(2);
    assert_eq!(within(near.emit("slow", &3u64).ack::<u64>()).await.unwrap(), 3);
    assert_eq!(log.take(), ["1", "3"]);
    assert_eq!(duo.session.stats().withdrawn, 1);
}

#[tokio::test(start_paused = true)]
async fn between_two_attempts_when_the_first_was_accepted() {
    let log = Log::default();
    let (policy, notes) = (Again::times(9, SECOND), log.clone());
    let far = Namespace::new("/").on("no", move || {
        notes.note("no");
        async { Err::<(), _>(Nak::Failed) }
    });
    let near = Namespace::new("/").outbound(RetryLayer::new(policy.clone()));
    let duo = duo(far, near).await;
    let near = duo.near();
    let asked = begins(async move { near.emit("no", &()).ack::<()>().await }).await;
    becomes(|| policy.log.count(), 1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    sleep(10 * SECOND).await;
    assert_eq!((log.count(), counted(&duo)), (1, [1, 1, 0, 0]), "it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn between_two_attempts_when_none_was_accepted() {
    let mut config = Config::default();
    config.unwritten_packets_max = 2;
    let (gate, log) = (Gate::shut(), Log::default());
    let policy = Again::times(9, SECOND);
    let layers = Layers::new().outbound(attempts_of(MS)).outbound(RetryLayer::new(policy.clone()));
    let far = (Layers::new(), gate.slow(&log));
    let duo = Duo::with(config, far, (layers, Namespace::new("/"))).await;
    duo.cut().await;
    let near = duo.near();
    while near.emit("slow", &0u64).timeout(2 * MS).await.is_ok() {}
    let filled = duo.session.stats().events_out;
    policy.log.take();
    let emit = begins(async move { near.emit("slow", &1u64).await }).await;
    becomes(|| policy.log.count(), 1).await;
    emit.abort();
    assert!(emit.await.unwrap_err().is_cancelled());
    assert_eq!((duo.session.stats().events_out, duo.session.stats().withdrawn), (filled, 1));
    gate.open(99);
    duo.heal().await;
    becomes(|| log.count() as u64, filled).await;
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_for_room_in_the_mailbox() {
    let mut config = Config::default();
    config.unwritten_packets_max = 2;
    let (gate, log) = (Gate::shut(), Log::default());
    let layers = Layers::new().outbound(RetryLayer::new(Again::times(9, SECOND)));
    let far = (Layers::new(), gate.slow(&log));
    let duo = Duo::with(config, far, (layers, Namespace::new("/"))).await;
    duo.cut().await;
    let near = duo.near();
    while near.try_emit("slow", &0u64).is_ok() {}
    let before = duo.session.stats();
    let mut emit = near.emit("slow", &1u64).into_future();
    let mut ask = near.emit("slow", &2u64).ack::<u64>().into_future();
    let mut receipt = near.emit("slow", &3u64).received().into_future();
    assert!(poll_once(&mut emit).is_pending());
    assert!(poll_once(&mut ask).is_pending());
    assert!(poll_once(&mut receipt).is_pending());
    drop((emit, ask, receipt));
    let after = duo.session.stats();
    assert_eq!((after.events_out, after.withdrawn), (before.events_out, before.withdrawn + 3));
    gate.open(99);
    duo.heal().await;
    assert_eq!(within(near.emit("slow", &4u64).ack::<u64>()).await.unwrap(), 4);
    let heard = log.take();
    let lost = heard.iter().filter(|number| ["1", "2", "3"].contains(&number.as_str()));
    assert_eq!(lost.count(), 0, "{heard:?}");
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn after_it_was_accepted_only_the_answer_is_lost() {
    let layers = Layers::new()
        .outbound(TimeoutLayer::new(60 * SECOND))
        .outbound(RetryLayer::new(Again::times(9, SECOND)))
        .outbound(ConcurrencyLimitLayer::new(8));
    let (duo, gate, log) = gated(layers).await;
    let near = duo.near();
    let mut asked = near.emit("slow", &1u64).ack::<u64>().into_future();
    assert!(poll_once(&mut asked).is_pending());
    assert_eq!(duo.session.stats().events_out, 1, "it is accepted at its first poll");
    drop(asked);
    let mut receipt = near.emit("slow", &2u64).received().into_future();
    assert!(poll_once(&mut receipt).is_pending());
    drop(receipt);
    gate.open(2);
    becomes(|| duo.server.stats().handled, 2).await;
    assert_eq!((log.take(), duo.session.stats().withdrawn), (vec!["1".into(), "2".into()], 0));
    becomes(|| duo.session.stats().unasked, 1).await;
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn towers_timeout_gives_up_what_was_not_accepted_and_its_emitter_is_told() {
    let (gate, log) = (Gate::shut(), Log::default());
    let shut = Gate::shut();
    let near = Namespace::new("/").outbound(TimeoutLayer::new(SECOND)).outbound(shut.layer());
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    within(near.emit("slow", &1u64)).await.unwrap_err();
    assert_eq!(counted(&duo), [0; 4], "an error is no withdrawal");
    shut.open(1);
    gate.open(1);
    assert_eq!(within(near.emit("slow", &2u64).ack::<u64>()).await.unwrap(), 2);
    assert_eq!(log.take(), ["2"]);
}
