//! How an error of a layer reaches whoever emits.

use super::*;

/// An error of nobody's.
#[derive(Debug)]
struct Foreign;

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("foreign")
    }
}

impl std::error::Error for Foreign {}

/// A server whose own layer ends whatever it emits.
async fn ends(error: impl Fn() -> BoxError + Clone + Send + Sync + 'static) -> Duo {
    let far = Namespace::new("/").outbound(refuses(error));
    duo(far, Namespace::new("/").on("say", async || ())).await
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_emits_own_kind_comes_as_it_is() {
    let duo = ends(|| EmitError::Full { waited: SECOND }.into()).await;
    let far = duo.far();
    let is_full = |error: EmitError| matches!(error, EmitError::Full { waited: SECOND });
    assert!(is_full(within(far.emit("say", &())).await.unwrap_err()));
    assert!(is_full(far.try_emit("say", &()).unwrap_err()));
    assert!(is_full(within(duo.server.of("/").emit("say", &())).await.unwrap_err()));
    let everyone = duo.server.of("/");
    assert!(is_full(within(everyone.emit("say", &()).ack::<()>()).await.unwrap_err()));
    match within(far.emit("say", &()).ack::<()>()).await {
        Err(AckError::Emit(error)) => assert!(is_full(error)),
        other => panic!("{other:?}"),
    }
    match within(far.emit("say", &()).received()).await {
        Err(ReceiptError::Emit(error)) => assert!(is_full(error)),
        other => panic!("{other:?}"),
    }
    assert_eq!(duo.server.stats().events_out, 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_an_answers_kind_comes_as_it_is_where_one_was_asked_for() {
    let duo = ends(|| AckError::Refused(Nak::TooLarge).into()).await;
    let far = duo.far();
    match within(far.emit("say", &()).ack::<()>()).await {
        Err(AckError::Refused(Nak::TooLarge)) => {}
        other => panic!("{other:?}"),
    }
    // Whoever says no has it.
    within(far.emit("say", &()).received()).await.unwrap();
    for error in [
        within(far.emit("say", &())).await.unwrap_err(),
        within(duo.server.of("/").emit("say", &())).await.map(|_| ()).unwrap_err(),
    ] {
        match error {
            EmitError::Unanswered { source } => {
                assert!(matches!(*source, AckError::Refused(Nak::TooLarge)));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_an_answer_that_say_what_became_of_an_event_say_it_to_a_receipt() {
    type Told = fn(&ReceiptError) -> bool;
    let cases: [(fn() -> AckError, Told); 3] = [
        (
            || AckError::Timeout { after: SECOND },
            |it| matches!(it, ReceiptError::Timeout { after: SECOND }),
        ),
        (
            || AckError::Lost { reason: LossReason::Overflow },
            |it| matches!(it, ReceiptError::Lost { reason: LossReason::Overflow }),
        ),
        (|| AckError::Closed, |it| matches!(it, ReceiptError::InDoubt)),
    ];
    for (error, told) in cases {
        let duo = ends(move || error().into()).await;
        let result = within(duo.far().emit("say", &()).received()).await;
        assert!(told(result.as_ref().unwrap_err()), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn towers_elapsed_is_a_timeout_where_an_answer_is_waited_for_and_else_a_layers() {
    let gate = Gate::shut();
    let far = Namespace::new("/").outbound(TimeoutLayer::new(SECOND)).outbound(gate.layer());
    let duo = duo(far, Namespace::new("/").on("say", async || ())).await;
    let far = duo.far();
    match within(far.emit("say", &()).ack::<()>()).await {
        Err(AckError::Timeout { after }) => assert_eq!(after, SECOND),
        other => panic!("{other:?}"),
    }
    match within(far.emit("say", &()).received()).await {
        Err(ReceiptError::Timeout { after }) => assert_eq!(after, SECOND),
        other => panic!("{other:?}"),
    }
    match within(far.emit("say", &())).await {
        Err(EmitError::Layer { source }) => {
            assert!(source.is::<tower::timeout::error::Elapsed>());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        within(duo.server.of("/").emit("say", &())).await,
        Err(EmitError::Layer { .. })
    ));
    assert_eq!(duo.server.stats().withdrawn, 0, "all of them were told");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_error_is_a_layers_and_is_its_source() {
    let duo = ends(|| Foreign.into()).await;
    let (far, everyone) = (duo.far(), duo.server.of("/"));
    let errors = [
        within(far.emit("say", &())).await.unwrap_err(),
        far.try_emit("say", &()).unwrap_err(),
        within(everyone.emit("say", &())).await.map(|_| ()).unwrap_err(),
        within(everyone.emit("say", &()).ack::<()>()).await.map(|_| ()).unwrap_err(),
        match within(far.emit("say", &()).ack::<()>()).await {
            Err(AckError::Emit(error)) => error,
            other => panic!("{other:?}"),
        },
        match within(far.emit("say", &()).received()).await {
            Err(ReceiptError::Emit(error)) => error,
            other => panic!("{other:?}"),
        },
    ];
    for error in errors {
        match error {
            EmitError::Layer { source } => assert!(source.is::<Foreign>()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_emit_whose_level_a_layer_raised_says_that_it_is_unanswered_and_why() {
    let far = Namespace::new("/")
        .on("no", || async { Err::<(), _>(Refusal::with("no")) })
        .on("yes", async || ());
    let duo = duo(far, Namespace::new("/").outbound(raises(Level::Handled))).await;
    let near = duo.near();
    within(near.emit("yes", &())).await.unwrap();
    assert_eq!(duo.server.stats().handled, 1, "it has waited for the answer");
    match within(near.emit("no", &())).await {
        Err(EmitError::Unanswered { source }) => {
            assert_eq!(source.refusal::<String>().unwrap(), "no");
        }
        other => panic!("{other:?}"),
    }
    match within(near.emit("nobody", &()).timeout(SECOND)).await {
        Err(EmitError::Unanswered { source }) => match *source {
            AckError::Timeout { after: SECOND } => {}
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    within(near.emit("no", &()).received()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_layer_gives_instead_of_the_peer_is_the_answer() {
    let layer = around(|_, _| async { Ok(Ack::new(emitwire::Payload::encode(&7u8).unwrap())) });
    let duo = duo(Namespace::new("/"), Namespace::new("/").outbound(layer)).await;
    let near = duo.near();
    assert_eq!(within(near.emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    match within(near.emit("say", &()).ack::<String>()).await {
        Err(AckError::Payload { .. }) => {}
        other => panic!("{other:?}"),
    }
    within(near.emit("say", &())).await.unwrap();
    near.try_emit("say", &()).unwrap();
    assert_eq!((duo.session.stats().events_out, duo.session.stats().withdrawn), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_has_come_in_cannot_be_sent_out_as_it_is() {
    // A layer of one direction that keeps the service of the other.
    let kept = Arc::new(Mutex::new(None::<Stack>));
    let (keeps, uses) = (Arc::clone(&kept), Arc::clone(&kept));
    let far = Namespace::new("/")
        .outbound(tower::layer::layer_fn(move |inner: Stack| {
            *keeps.lock().unwrap() = Some(inner.clone());
            inner
        }))
        .inbound(around(move |_, envelope| {
            let out = uses.lock().unwrap().clone().unwrap();
            async move {
                let refused = out.oneshot(envelope).await.unwrap_err();
                let refused = refused.downcast::<EmitError>().unwrap();
                assert!(matches!(*refused, EmitError::Inbound), "{refused:?}");
                Err(Nak::TooLarge.into())
            }
        }))
        .on("say", async || ());
    let duo = duo(far, Namespace::new("/")).await;
    match within(duo.near().emit("say", &()).ack::<()>()).await {
        Err(AckError::Refused(Nak::TooLarge)) => {}
        other => panic!("{other:?}"),
    }
    drop(kept.lock().unwrap().take());
}
