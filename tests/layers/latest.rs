//! Events of which only the newest matters, through layers that repeat them.

use super::*;

/// A handler that notes what it hears.
fn price(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").on("price", move |Data(number): Data<u64>| {
        log.note(number.to_string());
        async move { number }
    })
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_of_a_key_arrives_also_through_layers() {
    let log = Log::default();
    let duo = duo(price(&log), Namespace::new("/").outbound(raises(Level::Accepted))).await;
    duo.cut().await;
    for number in 1..=5u64 {
        within(duo.near().emit("price", &number).latest("price")).await.unwrap();
    }
    assert_eq!(duo.session.stats().superseded, 4);
    duo.heal().await;
    becomes(|| log.count(), 1).await;
    assert_eq!(log.take(), ["5"]);
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_the_answer_to_an_older_one_is_told_that_it_is_superseded() {
    let log = Log::default();
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(3, MS)));
    let duo = duo(price(&log), near).await;
    duo.cut().await;
    let near = duo.near();
    let older = near.clone();
    let older =
        begins(async move { older.emit("price", &1u64).latest("price").ack::<u64>().await }).await;
    let newer =
        begins(async move { near.emit("price", &2u64).latest("price").ack::<u64>().await }).await;
    match within(older).await.unwrap() {
        Err(AckError::Lost { reason: LossReason::Superseded }) => {}
        other => panic!("{other:?}"),
    }
    duo.heal().await;
    assert_eq!(within(newer).await.unwrap().unwrap(), 2);
    assert_eq!(log.take(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_does_not_supersede_the_one_before_it_which_still_waits() {
    let log = Log::default();
    let near = Namespace::new("/")
        .outbound(attempts_of(100 * MS))
        .outbound(RetryLayer::new(Again::times(1000, 100 * MS)));
    let duo = duo(price(&log), near).await;
    duo.cut().await;
    let near = duo.near();
    let emit = begins(async move {
        near.emit("price", &1u64).latest("price").ack::<u64>().timeout(60 * SECOND).await
    })
    .await;
    sleep(SECOND).await;
    duo.heal().await;
    assert_eq!(within(emit).await.unwrap().unwrap(), 1);
    assert_eq!(log.take(), ["1"]);
    assert_eq!((duo.session.stats().superseded, duo.session.stats().events_out), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_older_one_that_is_tried_again_does_not_take_the_place_of_a_newer_one() {
    let log = Log::default();
    let notes = log.clone();
    let far = Namespace::new("/").on("price", move |Data(number): Data<u64>| {
        notes.note(number.to_string());
        async move { if number == 1 { Err(Nak::Failed) } else { Ok(number) } }
    });
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(3, SECOND)));
    let duo = duo(far, near).await;
    let near = duo.near();
    let older = near.clone();
    let older =
        begins(async move { older.emit("price", &1u64).latest("price").ack::<u64>().await }).await;
    becomes(|| log.count(), 1).await;
    // The older one has failed, and is to be tried again in a second.
    assert_eq!(within(near.emit("price", &2u64).latest("price").ack::<u64>()).await.unwrap(), 2);
    match within(older).await.unwrap() {
        Err(AckError::Lost { reason: LossReason::Superseded }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(log.take(), ["1", "2"], "the last one heard is the newest");
}

#[tokio::test(start_paused = true)]
async fn a_newer_one_that_was_withdrawn_supersedes_nothing() {
    let (log, gate) = (Log::default(), Gate::shut());
    let near = Namespace::new("/").outbound(gate.layer());
    let duo = duo(price(&log), near).await;
    let near = duo.near();
    let mut older = near.emit("price", &1u64).latest("price").into_future();
    assert!(poll_once(&mut older).is_pending());
    let mut newer = near.emit("price", &2u64).latest("price").into_future();
    assert!(poll_once(&mut newer).is_pending());
    drop(newer);
    gate.open(2);
    within(older).await.unwrap();
    becomes(|| log.count(), 1).await;
    assert_eq!(log.take(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_one_that_layers_held_back_is_superseded_without_being_sent() {
    let log = Log::default();
    // As a limit would that is for one kind of event.
    let holds = around(|inner, envelope| async move {
        if envelope.event().payload.decode::<u64>()? == 1 {
            sleep(SECOND).await;
        }
        inner.oneshot(envelope).await
    });
    let duo = duo(price(&log), Namespace::new("/").outbound(holds)).await;
    let near = duo.near();
    let older = near.clone();
    let older = begins(async move { older.emit("price", &1u64).latest("price").await }).await;
    within(near.emit("price", &2u64).latest("price")).await.unwrap();
    within(older).await.unwrap().unwrap();
    assert_eq!(within(near.emit("price", &3u64).ack::<u64>()).await.unwrap(), 3);
    assert_eq!(log.take(), ["2", "3"]);
    let stats = duo.session.stats();
    assert_eq!((stats.events_out, stats.superseded, stats.withdrawn), (3, 1, 0));
    law(|| duo.session.stats()).await;
}
