//! What becomes of each event, and who is told.

use super::*;

/// The number that an event had, and what became of it.
type Told = (Option<u64>, Fate);

/// What was told of losses.
#[derive(Clone, Default)]
struct Losses(Arc<Mutex<Vec<Told>>>);

impl Losses {
    fn hear(&self, namespace: Namespace) -> Namespace {
        let told = Arc::clone(&self.0);
        namespace.on_lost(move |lost: &Lost| {
            let value = lost.event.as_ref().and_then(|event| event.payload.decode().ok());
            told.lock().unwrap().push((value, lost.fate));
        })
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn received_is_ready_when_the_peers_session_has_it_also_over_a_cut() {
    let stage = Stage::new().await;
    let near = stage.near();
    near.emit("n", &1_u64).received().await.unwrap();
    assert_eq!(stage.there.split().0, [1]);
    stage.cut().await;
    let (received, ()) =
        tokio::join!(near.emit("n", &2_u64).received().into_future(), stage.attached());
    received.unwrap();
    assert_eq!(stage.there.split().0, [2]);
    let stats = stage.session.stats();
    assert_eq!((stats.events_out, stats.received, stats.unconfirmed), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn received_has_a_deadline_and_ends_with_the_session() {
    let stage = Stage::new().await;
    let near = stage.near();
    stage.wire.cut(emitwire::Direction::Both);
    let late = near.emit("n", &1_u64).received().timeout(Duration::from_secs(1)).await;
    assert!(matches!(late, Err(ReceiptError::Timeout { .. })), "{late:?}");
    let waiting = tokio::spawn({
        let near = near.clone();
        async move { near.emit("n", &2_u64).received().timeout(Duration::from_secs(100)).await }
    });
    settle().await;
    stage.session.close().await;
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(ReceiptError::InDoubt)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_to_know_is_told_of_each_event_that_a_session_takes_with_it() {
    let losses = Losses::default();
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(1);
    config.window_events = 2;
    let far = |namespace: Namespace| losses.hear(namespace);
    let stage = Stage::with_namespaces(config, |namespace| namespace, far).await;
    let far = stage.far();
    stage.wire.cut(emitwire::Direction::Both);
    for value in 0..5_u64 {
        far.emit("n", &value).await.unwrap();
    }
    becomes(|| stage.server.stats().sessions, 0).await;
    let lost = Fate::Lost(LossReason::Closed);
    let told: Vec<_> = losses.take();
    // The window of two let two of them be written.
    let wanted = [(2, lost), (3, lost), (4, lost), (0, Fate::InDoubt), (1, Fate::InDoubt)];
    assert_eq!(told, wanted.map(|(value, fate)| (Some(value), fate)));
    let stats = stage.server.stats();
    assert_eq!((stats.events_out, stats.lost, stats.in_doubt, stats.received), (5, 3, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_answered_is_not_in_doubt_whatever_the_last_position_said() {
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(1);
    let stage = Stage::with(config).await;
    let near = stage.near();
    for value in 0..3_u64 {
        near.emit("n", &value).ack::<u64>().await.unwrap();
    }
    stage.wire.cut(emitwire::Direction::Both);
    near.emit("n", &3_u64).await.unwrap();
    becomes(|| near.ended().is_some(), true).await;
    settle().await;
    let stats = stage.session.stats();
    assert_eq!((stats.events_out, stats.received, stats.in_doubt, stats.lost), (4, 3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_refused_and_nobody_asked_about_is_told_as_refused() {
    let losses = Losses::default();
    let near = |namespace: Namespace| losses.hear(namespace);
    let far = |namespace: Namespace| namespace.unhandled(emitwire::Unhandled::Nak);
    let stage = Stage::with_namespaces(Config::default(), near, far).await;
    stage.near().emit("nobody listens", &()).await.unwrap();
    settle().await;
    assert_eq!(losses.take(), [(None, Fate::Refused)]);
    let asked = stage.near().emit("nobody listens", &()).ack::<()>().await;
    assert!(matches!(asked, Err(AckError::Refused(_))), "{asked:?}");
    assert!(losses.take().is_empty(), "who asked has heard it");
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_to_a_socket_that_has_left_is_told_when_the_session_ends() {
    let losses = Losses::default();
    let near = |namespace: Namespace| losses.hear(namespace);
    let stage = Stage::with_namespaces(Config::default(), near, |namespace| namespace).await;
    let near = stage.near();
    stage.wire.cut(emitwire::Direction::In);
    near.emit("n", &1_u64).await.unwrap();
    settle().await;
    near.disconnect("");
    settle().await;
    assert!(near.ended().is_some() && losses.take().is_empty(), "its fate is open");
    let Stage { session, .. } = stage;
    session.close().await;
    assert_eq!(losses.take(), [(Some(1), Fate::InDoubt)]);
}
