//! tower's buffer, and its rate limit, which stands under one.

use super::*;
use tower::ServiceBuilder;
use tower_layer::Layer;

/// Five in a second; what is above it waits, in a queue.
fn rated() -> impl Layer<Stack, Service: emitwire::EventService> + Send + Sync + 'static {
    ServiceBuilder::new().buffer::<Envelope>(64).rate_limit(5, SECOND).into_inner()
}

fn quick(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").concurrent(64).on("quick", move |Data(number): Data<u64>| {
        log.note(number.to_string());
        async move { number }
    })
}

#[tokio::test(start_paused = true)]
async fn a_buffer_on_the_way_out_passes_events_on_in_their_order() {
    let log = Log::default();
    let near = Namespace::new("/").outbound(BufferLayer::<Envelope>::new(4));
    let duo = duo(quick(&log), near).await;
    let near = duo.near();
    for number in 1..=20u64 {
        within(near.emit("quick", &number)).await.unwrap();
    }
    assert_eq!(within(near.emit("quick", &21u64).ack::<u64>()).await.unwrap(), 21);
    assert_eq!(log.take(), (1..=21).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_while_it_waits_in_a_buffer_is_withdrawn() {
    let (log, gate) = (Log::default(), Gate::shut());
    let near = Namespace::new("/")
        .outbound(BufferLayer::<Envelope>::new(4))
        .outbound(ConcurrencyLimitLayer::new(1))
        .outbound(gate.layer());
    let duo = duo(quick(&log), near).await;
    let near = duo.near();
    let holder = near.clone();
    let held = begins(async move { holder.emit("quick", &1u64).await }).await;
    let mut waits = near.emit("quick", &2u64).into_future();
    assert!(poll_once(&mut waits).is_pending());
    let mut never_polled_again = near.emit("quick", &3u64).ack::<u64>().into_future();
    assert!(poll_once(&mut never_polled_again).is_pending());
    drop((waits, never_polled_again));
    assert_eq!(duo.session.stats().withdrawn, 2);
    gate.open(9);
    within(held).await.unwrap().unwrap();
    within(near.emit("quick", &4u64).ack::<u64>()).await.unwrap();
    assert_eq!(log.take(), ["1", "4"], "the buffer passes over whom nobody waits for");
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_a_buffer_at_once() {
    let log = Log::default();
    let near = Namespace::new("/").outbound(BufferLayer::<Envelope>::new(4));
    let duo = duo(quick(&log), near).await;
    // Another task takes it on: what does not wait cannot know whether it does.
    match duo.near().try_emit("quick", &1u64) {
        Err(EmitError::Full { .. }) => {}
        other => panic!("{other:?}"),
    }
    within(duo.near().emit("quick", &2u64).ack::<u64>()).await.unwrap();
    assert_eq!((log.take(), duo.session.stats().withdrawn), (vec!["2".into()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_buffer_on_the_way_in_changes_no_answer() {
    let log = Log::default();
    let far = quick(&log)
        .on("no", || async { Err::<(), _>(Refusal::with("no")) })
        .inbound(BufferLayer::<Envelope>::new(4));
    let duo = duo(far, Namespace::new("/")).await;
    assert_eq!(within(duo.near().emit("quick", &1u64).ack::<u64>()).await.unwrap(), 1);
    let refused = within(duo.near().emit("no", &()).ack::<()>()).await.unwrap_err();
    assert_eq!(refused.refusal::<String>().unwrap(), "no");
}

#[tokio::test(start_paused = true)]
async fn a_rate_on_the_way_out_paces_whoever_emits() {
    let log = Log::default();
    let duo = duo(quick(&log), Namespace::new("/").outbound(rated())).await;
    let near = duo.near();
    let began = Instant::now();
    for number in 1..=20u64 {
        within(near.emit("quick", &number)).await.unwrap();
    }
    let elapsed = began.elapsed().as_millis();
    assert!((3000..3100).contains(&elapsed), "{elapsed} ms for four times five");
    becomes(|| log.count(), 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_on_the_way_in_paces_the_handlers_of_each_peer_that_has_one_of_its_own() {
    let log = Log::default();
    let far = quick(&log).layers(Layers::new().per_session(|_| Pair::inbound(rated())));
    let duo = duo(far, Namespace::new("/")).await;
    let other = duo.join(Namespace::new("/")).await;
    let began = Instant::now();
    let talks = [duo.near(), other.of("/").unwrap()].map(|socket| {
        Box::pin(async move {
            let ask = |number| {
                let socket = socket.clone();
                Box::pin(async move { socket.emit("quick", &number).ack::<u64>().await })
            };
            all((1..=10u64).map(ask).collect::<Vec<_>>()).await
        })
    });
    for answers in within(all(talks)).await {
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let elapsed = began.elapsed().as_millis();
    assert!((1000..1100).contains(&elapsed), "{elapsed} ms for two times five of each");
    assert_eq!(log.count(), 20);
}
