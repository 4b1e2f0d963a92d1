//! Stock layers in orders that mean different things.

use super::*;

fn fails(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").on("no", move || {
        log.note("no");
        async { Err::<(), _>(Nak::Failed) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_inside_a_timeout_ends_with_it() {
    let log = Log::default();
    let near = Namespace::new("/")
        .outbound(TimeoutLayer::new(3 * SECOND + 500 * MS))
        .outbound(RetryLayer::new(Again::times(100, SECOND)));
    let duo = duo(fails(&log), near).await;
    let began = Instant::now();
    match within(duo.near().emit("no", &()).ack::<()>()).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, 3 * SECOND + 500 * MS),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed(), 3 * SECOND + 500 * MS);
    assert_eq!(log.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_a_retry_is_that_of_each_attempt() {
    let (gate, log, policy) = (Gate::shut(), Log::default(), Again::times(2, SECOND));
    let near = Namespace::new("/")
        .outbound(RetryLayer::new(policy.clone()))
        .outbound(TimeoutLayer::new(2 * SECOND));
    let duo = duo(gate.slow(&log), near).await;
    let began = Instant::now();
    match within(duo.near().emit("slow", &1u64).ack::<u64>()).await {
        // That of tower says for itself only that time is over, so the whole of it is told.
        Err(AckError::Timeout { after }) => assert_eq!(after, 8 * SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed(), 8 * SECOND, "three attempts and two waits");
    // Each waits for the event of the first.
    assert_eq!((log.count(), policy.log.count()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_a_limit_begins_with_the_place_there_and_the_emitters_own_at_once() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near = Namespace::new("/")
        .outbound(TimeoutLayer::new(SECOND))
        .outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let (first, second) = (near.clone(), near.clone());
    let _first = begins(async move { first.emit("slow", &1u64).ack::<u64>().await }).await;
    let began = Instant::now();
    let second = begins(async move { second.emit("slow", &2u64).ack::<u64>().await }).await;
    let third = within(near.emit("slow", &3u64).ack::<u64>().timeout(SECOND / 2)).await;
    assert!(matches!(third, Err(AckError::Emit(EmitError::Full { .. }))), "{third:?}");
    assert_eq!(began.elapsed(), SECOND / 2);
    within(second).await.unwrap().unwrap_err();
    assert_eq!(began.elapsed(), 2 * SECOND, "what waits for its turn is not timed by tower");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_misses_towers_timeout_is_there_for_the_next_attempt() {
    let (gate, log, policy) = (Gate::shut(), Log::default(), Again::times(2, SECOND));
    let near = Namespace::new("/")
        .outbound(RetryLayer::new(policy.clone()))
        .outbound(TimeoutLayer::new(2 * SECOND));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let asked = begins(async move { near.emit("slow", &1u64).ack::<u64>().await }).await;
    becomes(|| policy.log.count(), 1).await;
    gate.open(1);
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    assert_eq!(log.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_outside_a_retry_holds_nothing_up_while_one_waits_to_be_tried_again() {
    let log = Log::default();
    let near = Namespace::new("/")
        .outbound(BufferLayer::<Envelope>::new(4))
        .outbound(RetryLayer::new(Again::times(9, 60 * SECOND)));
    let duo = duo(fails(&log).on("yes", async || ()), near).await;
    let near = duo.near();
    let waits = near.clone();
    let waits = begins(async move { waits.emit("no", &()).ack::<()>().await }).await;
    becomes(|| log.count(), 1).await;
    let began = Instant::now();
    within(near.emit("yes", &()).ack::<()>()).await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    waits.abort();
}

#[tokio::test(start_paused = true)]
async fn a_limit_outside_a_retry_is_held_while_it_waits_and_one_inside_is_not() {
    for is_outside in [true, false] {
        let log = Log::default();
        let (limit, retry) = (ConcurrencyLimitLayer::new(1), Again::times(1, 5 * SECOND));
        let retry = RetryLayer::new(retry);
        let near = Namespace::new("/");
        let near = match is_outside {
            true => near.outbound(limit).outbound(retry),
            false => near.outbound(retry).outbound(limit),
        };
        let duo = duo(fails(&log).on("yes", async || ()), near).await;
        let near = duo.near();
        let waits = near.clone();
        let waits = begins(async move { waits.emit("no", &()).ack::<()>().await }).await;
        becomes(|| log.count(), 1).await;
        let began = Instant::now();
        within(near.emit("yes", &()).ack::<()>()).await.unwrap();
        assert_eq!(began.elapsed() >= 4 * SECOND, is_outside, "{:?}", began.elapsed());
        within(waits).await.unwrap().unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn shedding_outside_of_everything_refuses_at_once_what_would_wait_for_a_limit() {
    let (gate, log) = (Gate::shut(), Log::default());
    let near = Namespace::new("/")
        .outbound(LoadShedLayer::new())
        .outbound(TimeoutLayer::new(60 * SECOND))
        .outbound(RetryLayer::new(Again::times(9, SECOND)))
        .outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(gate.slow(&log), near).await;
    let near = duo.near();
    let holder = near.clone();
    let held = begins(async move { holder.emit("slow", &1u64).ack::<u64>().await }).await;
    let error = within(near.emit("slow", &2u64)).await.unwrap_err();
    assert!(matches!(error, EmitError::Layer { .. }), "{error:?}");
    gate.open(1);
    assert_eq!(within(held).await.unwrap().unwrap(), 1);
}

/// The same layers, which mean one thing on the way out and another on the way in.
fn either(policy: &Again) -> [RetryLayer<Again>; 1] {
    [RetryLayer::new(policy.clone())]
}

#[tokio::test(start_paused = true)]
async fn a_stack_may_be_moved_to_the_other_direction_and_then_stands_around_the_handler() {
    let (log, policy) = (Log::default(), Again::times(2, SECOND));
    let mut far = fails(&log);
    for retry in either(&policy) {
        far = far.inbound(TimeoutLayer::new(60 * SECOND)).inbound(retry);
    }
    let far = far.inbound(attempts_of(MS)).inbound(raises(Level::Handled));
    let duo = duo(far, Namespace::new("/")).await;
    match within(duo.near().emit("no", &()).ack::<()>()).await {
        Err(AckError::Refused(Nak::Failed)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(log.count(), 3, "what only an event has that goes out changes nothing");
    // An event that nobody wants an answer to is tried again all the same.
    within(duo.near().emit("no", &())).await.unwrap();
    becomes(|| log.count(), 6).await;
}
