//! Emitting without waiting, behind layers.

use super::*;

/// A namespace that counts.
fn say(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").on("say", move || {
        log.note("say");
        async {}
    })
}

#[tokio::test(start_paused = true)]
async fn what_layers_let_by_at_once_is_accepted_at_once() {
    let log = Log::default();
    let near = Namespace::new("/").outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(say(&log), near).await;
    for _ in 0..3 {
        duo.near().try_emit("say", &()).unwrap();
    }
    assert_eq!(duo.session.stats().events_out, 3);
    becomes(|| log.count(), 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_never_yields_is_not_told_that_there_is_no_room() {
    let log = Log::default();
    let near = Namespace::new("/").outbound(ConcurrencyLimitLayer::new(1));
    let duo = duo(say(&log), near).await;
    // More than one task may do in one go by tokio's rules, and less than there is room for.
    for _ in 0..500 {
        duo.near().try_emit("say", &()).unwrap();
    }
    becomes(|| log.count(), 500).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_does_not_let_by_at_once_is_full_and_withdrawn() {
    let (log, gate) = (Log::default(), Gate::shut());
    let duo = duo(say(&log), Namespace::new("/").outbound(gate.layer())).await;
    match duo.near().try_emit("say", &()) {
        Err(EmitError::Full { waited }) => assert_eq!(waited, Duration::ZERO),
        other => panic!("{other:?}"),
    }
    assert_eq!((duo.session.stats().withdrawn, duo.session.stats().events_out), (1, 0));
    gate.open(2);
    within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
    assert_eq!(log.count(), 1, "the first never went out");
}

#[tokio::test(start_paused = true)]
async fn what_the_mailbox_has_no_room_for_is_full() {
    let mut config = Config::default();
    config.unwritten_packets_max = 4;
    let (log, layers) = (Log::default(), Layers::new().outbound(raises(Level::Accepted)));
    let duo = Duo::with(config, (Layers::new(), say(&log)), (layers, Namespace::new("/"))).await;
    duo.cut().await;
    let accepted = (0..10).filter(|_| duo.near().try_emit("say", &()).is_ok()).count();
    assert_eq!(accepted as u64, duo.session.stats().events_out);
    assert!(matches!(duo.near().try_emit("say", &()), Err(EmitError::Full { .. })));
    duo.heal().await;
    becomes(|| log.count(), accepted).await;
}

#[tokio::test(start_paused = true)]
async fn what_layers_still_have_to_do_goes_on_after_acceptance() {
    let (log, gate, notes) = (Log::default(), Gate::shut(), Log::default());
    let near = Namespace::new("/")
        .outbound(Watch("layer", notes.clone()))
        .outbound(raises(Level::Handled));
    let duo = duo(gate.slow(&log), near).await;
    duo.near().try_emit("slow", &1u64).unwrap();
    becomes(|| log.count(), 1).await;
    assert_eq!(notes.take(), ["layer: slow"]);
    gate.open(1);
    becomes(|| notes.take(), vec!["layer done".into()]).await;
    assert_eq!(duo.session.stats().withdrawn, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_of_an_event_that_was_tried_is_made_again() {
    let fails = Arc::new(AtomicUsize::new(2));
    let log = Log::default();
    let notes = log.clone();
    let far = Namespace::new("/").on("say", move || {
        notes.note("say");
        let left = fails.load(Ordering::Relaxed);
        fails.store(left.saturating_sub(1), Ordering::Relaxed);
        async move { if left > 0 { Err(Nak::Failed) } else { Ok(()) } }
    });
    let near = Namespace::new("/")
        .outbound(raises(Level::Handled))
        .outbound(RetryLayer::new(Again::times(5, SECOND)));
    let duo = duo(far, near).await;
    duo.near().try_emit("say", &()).unwrap();
    becomes(|| log.count(), 3).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_what_goes_out_is_told_of_an_event_once_and_not_of_each_attempt() {
    let told = Log::default();
    let (near_told, far_told) = (told.clone(), told.clone());
    let no = || async { Err::<(), _>(Nak::Failed) };
    let layers = || {
        let retry = RetryLayer::new(Again::times(3, MS));
        Layers::new().outbound(retry)
    };
    let far = Namespace::new("/").on("no", no).layers(layers()).on_any_outgoing(move |event| {
        far_told.note(format!("far {} {}", event.name, event.wants_ack));
    });
    let near = Namespace::new("/").on("no", no).layers(layers()).on_any_outgoing(move |event| {
        near_told.note(format!("near {} {}", event.name, event.wants_ack));
    });
    let duo = duo(far, near).await;
    within(duo.near().emit("no", &()).ack::<()>()).await.unwrap_err();
    assert_eq!(duo.session.stats().events_out, 4, "four attempts");
    assert_eq!(told.take(), ["near no true"]);
    let answers = within(duo.server.of("/").emit("no", &()).ack::<()>()).await.unwrap();
    within(answers.all()).await;
    assert_eq!(duo.server.stats().events_out, 4);
    assert_eq!(told.take(), ["far no true"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_what_goes_out_is_told_of_an_event_that_a_layer_had_made_its_own() {
    let told = Log::default();
    let notes = told.clone();
    let keeps = around(|inner, envelope| {
        envelope.keep();
        inner.oneshot(envelope)
    });
    let near = Namespace::new("/").outbound(keeps).on_any_outgoing(move |event| {
        notes.note(&*event.name);
    });
    let duo = duo(say(&Log::default()), near).await;
    within(duo.near().emit("say", &())).await.unwrap();
    assert_eq!(told.take(), ["say"]);
}
