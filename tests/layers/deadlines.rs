//! How long an emit takes at most, behind layers.

use super::*;

async fn nothing_by_itself(layers: Layers) -> (Duo, Gate) {
    let (gate, log) = (Gate::shut(), Log::default());
    (duo(gate.slow(&log), Namespace::new("/").layers(layers)).await, gate)
}

fn transparent() -> Layers {
    Layers::new().outbound(raises(Level::Accepted))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_waited_for_as_long_as_the_config_says() {
    let (duo, _gate) = nothing_by_itself(transparent()).await;
    let began = Instant::now();
    match within(duo.near().emit("slow", &1u64).ack::<u64>()).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, 10 * SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_emitter_may_wait_longer_than_the_config_says() {
    let (duo, gate) = nothing_by_itself(transparent()).await;
    let near = duo.near();
    let asked =
        begins(async move { near.emit("slow", &1u64).ack::<u64>().timeout(60 * SECOND).await })
            .await;
    sleep(30 * SECOND).await;
    gate.open(1);
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    let everyone = duo.server.of("/");
    let answers = within(everyone.emit("nobody", &()).timeout(60 * SECOND).ack::<()>()).await;
    drop(answers);
}

#[tokio::test(start_paused = true)]
async fn an_emitter_may_wait_less_wherever_its_event_is() {
    let half = SECOND / 2;
    let (duo, _gate) = nothing_by_itself(
        Layers::new()
            .outbound(ConcurrencyLimitLayer::new(1))
            .outbound(RetryLayer::new(Again::times(9, 60 * SECOND))),
    )
    .await;
    let near = duo.near();
    let holder = near.clone();
    // It has the only place, for ten seconds.
    let _held = begins(async move { holder.emit("slow", &1u64).ack::<u64>().await }).await;
    let began = Instant::now();
    match within(near.emit("slow", &2u64).ack::<u64>().timeout(half)).await {
        Err(AckError::Emit(EmitError::Full { waited })) => assert_eq!(waited, half),
        other => panic!("{other:?}"),
    }
    match within(near.emit("slow", &3u64).timeout(half)).await {
        Err(EmitError::Full { waited }) => assert_eq!(waited, half),
        other => panic!("{other:?}"),
    }
    match within(near.emit("slow", &4u64).received().timeout(half)).await {
        Err(ReceiptError::Emit(EmitError::Full { waited })) => assert_eq!(waited, half),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed().as_millis() / 10, 150);
    assert_eq!((duo.session.stats().events_out, duo.session.stats().withdrawn), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_between_two_attempts() {
    let far = Namespace::new("/").on("no", || async { Err::<(), _>(Nak::Failed) });
    let near = Namespace::new("/").outbound(RetryLayer::new(Again::times(9, 60 * SECOND)));
    let duo = duo(far, near).await;
    let began = Instant::now();
    match within(duo.near().emit("no", &()).ack::<()>().timeout(2 * SECOND)).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, 2 * SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_from_the_emit_also_when_layers_took_some_of_it() {
    let waits = around(|inner, envelope| async {
        sleep(3 * SECOND).await;
        inner.oneshot(envelope).await
    });
    let (duo, _gate) = nothing_by_itself(Layers::new().outbound(waits)).await;
    let began = Instant::now();
    match within(duo.near().emit("slow", &1u64).ack::<u64>().timeout(4 * SECOND)).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, 4 * SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_make_an_attempt_shorter_and_not_outlast_the_emitter() {
    let (duo, _gate) = nothing_by_itself(Layers::new().outbound(attempts_of(3 * SECOND))).await;
    match within(duo.near().emit("slow", &1u64).ack::<u64>()).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, 3 * SECOND),
        other => panic!("{other:?}"),
    }
    match within(duo.near().emit("slow", &1u64).ack::<u64>().timeout(SECOND)).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, SECOND),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_waits_for_layers_and_answers_no_longer_than_whoever_emits_says() {
    let (gate, log) = (Gate::shut(), Log::default());
    let far = Namespace::new("/").outbound(gate.layer());
    let duo = duo(far, gate.slow(&log)).await;
    let everyone = duo.server.of("/").timeout(SECOND);
    let began = Instant::now();
    match within(everyone.emit("slow", &1u64).ack::<u64>()).await {
        Err(EmitError::Full { waited }) => assert_eq!(waited, SECOND),
        other => panic!("{other:?}"),
    }
    gate.open(1);
    let answers = within(everyone.emit("slow", &2u64).ack::<u64>()).await.unwrap();
    for (_, answer) in within(answers.all()).await {
        assert!(matches!(answer, Err(AckError::Timeout { after: SECOND })), "{answer:?}");
    }
    assert_eq!(began.elapsed().as_secs(), 2);
}
