//! Events that are tried again, with a policy written by hand.

use super::*;

/// A handler that fails so often and notes the id of each event.
fn fails(times: usize, ids: &Arc<Mutex<Vec<EventId>>>, nak: fn() -> Refusal) -> Namespace {
    let (ids, left) = (Arc::clone(ids), Arc::new(AtomicUsize::new(times)));
    Namespace::new("/").on("say", move |event: Event| {
        ids.lock().unwrap().push(event.id);
        let failed = left.load(Ordering::Relaxed) > 0;
        left.store(left.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        async move { if failed { Err(nak()) } else { Ok(7) } }
    })
}

#[tokio::test(start_paused = true)]
async fn all_attempts_have_the_same_id_and_the_last_ones_answer_counts() {
    let ids = Arc::default();
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(5, SECOND)));
    let duo = duo(fails(3, &ids, || Nak::Failed.into()), near).await;
    let began = Instant::now();
    assert_eq!(within(duo.near().emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    assert_eq!(began.elapsed().as_secs(), 3);
    let ids = ids.lock().unwrap().clone();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn when_no_attempt_is_left_the_last_error_is_the_emitters() {
    let ids = Arc::default();
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(2, MS)));
    let duo = duo(fails(9, &ids, || Nak::Failed.into()), near).await;
    match within(duo.near().emit("say", &()).ack::<u8>()).await {
        Err(AckError::Refused(Nak::Failed)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(ids.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_final_answer_is_not_asked_for_again() {
    let finals: [fn() -> Refusal; 3] =
        [|| Refusal::with("no"), || Nak::TooLarge.into(), || Nak::NoHandler.into()];
    for nak in finals {
        let ids = Arc::default();
        let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(5, MS)));
        let duo = duo(fails(9, &ids, nak), near).await;
        within(duo.near().emit("say", &()).ack::<u8>()).await.unwrap_err();
        assert_eq!(ids.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_busy_is_asked_again_when_it_wants_to_be() {
    let ids = Arc::default();
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(1, MS)));
    let busy = || Nak::Busy { retry_after: 5 * SECOND }.into();
    let duo = duo(fails(1, &ids, busy), near).await;
    let began = Instant::now();
    assert_eq!(within(duo.near().emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_between_two_attempts_is_the_answer_and_nothing_is_sent_again() {
    let (gate, log, policy) = (Gate::shut(), Log::default(), Again::times(3, SECOND));
    let near =
        Namespace::new("/").outbound(RetryLayer::new(policy.clone())).outbound(attempts_of(SECOND));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let asked = begins(async move { near.emit("slow", &1u64).ack::<u64>().await }).await;
    becomes(|| policy.log.count(), 1).await;
    // The first attempt has timed out, and the next is a second away.
    gate.open(1);
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    assert_eq!(log.take(), ["1"], "it was handled once");
    let stats = duo.session.stats();
    assert_eq!((stats.events_out, stats.unasked), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_first_attempt_is_one_to_the_second_that_waits() {
    let (gate, log, policy) = (Gate::shut(), Log::default(), Again::times(3, MS));
    let near =
        Namespace::new("/").outbound(RetryLayer::new(policy.clone())).outbound(attempts_of(SECOND));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let asked = begins(async move { near.emit("slow", &1u64).ack::<u64>().await }).await;
    becomes(|| policy.log.count(), 2).await;
    gate.open(1);
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    // The session has delivered the event, and nobody has said no: it was only waited for.
    assert_eq!((log.count(), duo.session.stats().events_out), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_between_two_attempts_leaves_open_what_the_first_has_done() {
    let ids = Arc::default();
    let policy = Again::times(3, SECOND);
    let near = Namespace::new("/").outbound(RetryLayer::new(policy.clone()));
    let duo = duo(fails(9, &ids, || Nak::Failed.into()), near).await;
    let near = duo.near();
    let asked = begins(async move { near.emit("say", &()).ack::<u8>().await }).await;
    becomes(|| policy.log.count(), 1).await;
    within(duo.session.close()).await;
    match within(asked).await.unwrap() {
        Err(AckError::Closed) => {}
        other => panic!("it was handled, so it was accepted: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_still_waits_is_not_put_there_a_second_time() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near = Namespace::new("/")
        .outbound(RetryLayer::new(Again::times(100, MS)))
        .outbound(attempts_of(SECOND));
    let duo = duo(gate.slow(&log), near).await;
    duo.cut().await;
    let near = duo.near();
    let asked = begins(async move { near.emit("slow", &1u64).ack::<u64>().await }).await;
    sleep(20 * SECOND).await;
    assert_eq!(duo.session.stats().events_out, 1, "its session has it all the while");
    gate.open(9);
    duo.heal().await;
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    assert_eq!(log.take(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_what_comes_in_runs_a_failed_handler_again() {
    let ids = Arc::default();
    let far = fails(2, &ids, || Nak::Failed.into());
    let far = far.inbound(RetryLayer::new(Again::times(5, SECOND)));
    let duo = duo(far, Namespace::new("/")).await;
    assert_eq!(within(duo.near().emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    assert_eq!(ids.lock().unwrap().len(), 3);
    assert_eq!(duo.session.stats().events_out, 1, "it came once");
}
