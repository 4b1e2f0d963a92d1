//! tower's timeout, concurrency limit and load shedding, each in both directions.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_way_out_bounds_the_wait_and_the_event_goes_its_way() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near = Namespace::new("/").outbound(TimeoutLayer::new(SECOND));
    let duo = duo(gate.slow(&log), near).await;
    let began = Instant::now();
    match within(duo.near().emit("slow", &1u64).ack::<u64>()).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed(), SECOND);
    gate.open(1);
    becomes(|| duo.server.stats().handled, 1).await;
    let stats = duo.session.stats();
    assert_eq!((stats.events_out, stats.withdrawn), (1, 0));
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_way_in_bounds_a_handler_and_its_sender_is_told() {
    let (gate, log) = (Gate::shut(), Log::default());
    let far = gate.slow(&log).inbound(TimeoutLayer::new(SECOND));
    let duo = duo(far, Namespace::new("/")).await;
    let began = Instant::now();
    match within(duo.near().emit("slow", &1u64).ack::<u64>()).await {
        Err(AckError::Refused(Nak::Timeout)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed().as_secs(), 1);
    gate.open(1);
    assert_eq!(within(duo.near().emit("slow", &2u64).ack::<u64>()).await.unwrap(), 2);
    assert_eq!(log.take(), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_way_out_is_the_window_of_what_is_not_answered() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near = Namespace::new("/").outbound(ConcurrencyLimitLayer::new(2));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let asks = (1..=5u64).map(|number| {
        let near = near.clone();
        Box::pin(async move { near.emit("slow", &number).ack::<u64>().await })
    });
    let asked = begins(all(asks.collect::<Vec<_>>())).await;
    for seen in 2..=5 {
        becomes(|| log.count(), seen).await;
        sleep(SECOND).await;
        assert_eq!((log.count(), duo.session.stats().events_out), (seen, seen as u64));
        gate.open(1);
    }
    gate.open(1);
    let answers: Vec<_> = within(asked).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [1, 2, 3, 4, 5]);
    // An event that nobody wants an answer to holds its place only until it is accepted.
    for number in 6..=20u64 {
        within(near.emit("slow", &number)).await.unwrap();
    }
    gate.open(15);
    becomes(|| duo.server.stats().handled, 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_way_in_is_of_handlers_at_work_and_the_others_wait() {
    let (gate, log) = (Gate::shut(), Log::default());
    let far = gate.slow(&log).inbound(ConcurrencyLimitLayer::new(2));
    let duo = duo(far, Namespace::new("/")).await;
    for number in 1..=5u64 {
        within(duo.near().emit("slow", &number)).await.unwrap();
    }
    for seen in 2..=5 {
        becomes(|| log.count(), seen).await;
        sleep(SECOND).await;
        assert_eq!(log.count(), seen);
        gate.open(1);
    }
    gate.open(1);
    becomes(|| duo.server.stats().handled, 5).await;
    assert_eq!(log.take(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn shedding_on_the_way_out_refuses_what_is_over_the_limit_and_it_may_be_repeated() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near =
        Namespace::new("/").outbound(LoadShedLayer::new()).outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let holder = near.clone();
    let held = begins(async move { holder.emit("slow", &1u64).ack::<u64>().await }).await;
    let error = within(near.emit("slow", &2u64)).await.unwrap_err();
    assert!(matches!(error, EmitError::Layer { .. }), "{error:?}");
    assert_eq!(Remedy::of(&error), Remedy::Repeat { after: Duration::ZERO });
    let error = within(near.emit("slow", &3u64).ack::<u64>()).await.unwrap_err();
    assert!(matches!(error, AckError::Emit(EmitError::Layer { .. })), "{error:?}");
    assert_eq!(Remedy::of(&error), Remedy::Repeat { after: Duration::ZERO });
    let error = near.try_emit("slow", &4u64).unwrap_err();
    assert!(matches!(error, EmitError::Layer { .. }), "{error:?}");
    gate.open(2);
    assert_eq!(within(held).await.unwrap().unwrap(), 1);
    within(near.emit("slow", &5u64)).await.unwrap();
    becomes(|| log.count(), 2).await;
    assert_eq!(log.take(), ["1", "5"]);
}

#[tokio::test(start_paused = true)]
async fn shedding_on_the_way_in_is_busy_and_the_peers_retry_succeeds_in_the_end() {
    let (gate, log, policy) = (Gate::shut(), Log::default(), Again::times(100, MS));
    let far = gate.slow(&log).inbound(LoadShedLayer::new()).inbound(ConcurrencyLimitLayer::new(1));
    let near = Namespace::new("/").outbound(RetryLayer::new(policy.clone()));
    let duo = duo(far, near).await;
    let near = duo.near();
    let asks = (1..=3u64).map(|number| {
        let near = near.clone();
        Box::pin(async move { near.emit("slow", &number).ack::<u64>().await })
    });
    let asked = begins(all(asks.collect::<Vec<_>>())).await;
    becomes(|| policy.log.count() > 4, true).await;
    assert_eq!(log.count(), 1, "one is at work, and the others are sent away");
    assert!(duo.session.stats().refused_by_peer > 4);
    gate.open(3);
    let answers: Vec<_> = within(asked).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [1, 2, 3]);
    assert!(policy.log.take().iter().all(|after| after == "100ms"), "as it was told");
    assert_eq!(log.count(), 3);
    law(|| duo.session.stats()).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_namespace_counts_a_broadcast_as_one_until_all_have_answered() {
    let (gate, log) = (Gate::shut(), Log::default());
    let far = Namespace::new("/").outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(far, gate.slow(&log)).await;
    let _other = duo.join(gate.slow(&log)).await;
    let everyone = duo.server.of("/");
    let answers = within(everyone.emit("slow", &1u64).ack::<u64>()).await.unwrap();
    let asked = begins(answers.all()).await;
    let second = duo.server.of("/");
    let second = begins(async move { second.emit("slow", &2u64).await }).await;
    becomes(|| log.count(), 2).await;
    gate.open(1);
    sleep(SECOND).await;
    assert_eq!(log.count(), 2, "the second waits for the first");
    gate.open(3);
    assert_eq!(within(asked).await.unwrap().len(), 2);
    assert_eq!(within(second).await.unwrap().unwrap().accepted, 2);
    becomes(|| log.count(), 4).await;
}
