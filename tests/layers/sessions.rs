//! Layers that are made for each session.

use super::*;
use std::sync::Weak;
use tower::ServiceBuilder;

/// Both ways share it.
#[derive(Default)]
struct State {
    inbound: AtomicUsize,
    outbound: AtomicUsize,
}

/// Makes pairs that count, each around a state of its own, which are kept weakly.
#[derive(Clone, Default)]
struct Makes(Arc<Mutex<Vec<Weak<State>>>>);

impl Makes {
    fn make(&self) -> Pair {
        let state = Arc::<State>::default();
        self.0.lock().unwrap().push(Arc::downgrade(&state));
        let there = Arc::clone(&state);
        let inbound = around(move |inner, envelope| {
            there.inbound.fetch_add(1, Ordering::Relaxed);
            inner.oneshot(envelope)
        });
        let outbound = around(move |inner, envelope| {
            state.outbound.fetch_add(1, Ordering::Relaxed);
            inner.oneshot(envelope)
        });
        Pair::new(inbound, outbound)
    }

    fn layers(&self) -> Layers {
        let makes = self.clone();
        Layers::new().per_session(move |_| makes.make())
    }

    /// What each of them has counted, inbound and outbound; `None` of those that are gone.
    fn counts(&self) -> Vec<Option<(usize, usize)>> {
        let count = |state: Arc<State>| {
            (state.inbound.load(Ordering::Relaxed), state.outbound.load(Ordering::Relaxed))
        };
        self.0.lock().unwrap().iter().map(|state| state.upgrade().map(count)).collect()
    }
}

fn say(path: &str) -> Namespace {
    Namespace::new(path).on("say", async || ())
}

#[tokio::test(start_paused = true)]
async fn they_are_made_once_for_each_session_before_its_first_hook() {
    let (makes, log) = (Makes::default(), Log::default());
    let (made, notes) = (makes.clone(), log.clone());
    let far = say("/").layers(makes.layers()).on_connect(move || {
        notes.note(format!("{} made", made.counts().len()));
        async {}
    });
    let duo = duo(far, say("/")).await;
    let other = duo.join(say("/")).await;
    assert_eq!(log.take(), ["1 made", "2 made"]);
    for _ in 0..3 {
        within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
        within(duo.far().emit("say", &()).ack::<()>()).await.unwrap();
    }
    within(other.of("/").unwrap().emit("say", &()).ack::<()>()).await.unwrap();
    assert_eq!(makes.counts(), [Some((3, 3)), Some((1, 0))], "both ways share one state");
}

#[tokio::test(start_paused = true)]
async fn they_see_no_broadcasts_and_let_them_by() {
    let makes = Makes::default();
    let duo = duo(say("/").layers(makes.layers()), say("/")).await;
    let answers = within(duo.server.of("/").emit("say", &()).ack::<()>()).await.unwrap();
    assert_eq!(within(answers.all()).await.len(), 1);
    assert_eq!(makes.counts(), [Some((0, 0))]);
}

#[tokio::test(start_paused = true)]
async fn two_namespaces_with_clones_of_the_same_layers_share_those_of_a_session() {
    let (same, other) = (Makes::default(), Makes::default());
    let layers = same.layers();
    let server = Server::new()
        .mount(say("/a").layers(layers.clone()))
        .unwrap()
        .mount(say("/b").layers(layers))
        .unwrap()
        .mount(say("/c").layers(other.layers()))
        .unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let client = Client::new(endpoint(&url)).mount(say("/a")).mount(say("/b")).mount(say("/c"));
    let session = within(client.connect()).await.unwrap();
    for path in ["/a", "/b", "/b", "/c"] {
        within(session.of(path).unwrap().emit("say", &()).ack::<()>()).await.unwrap();
    }
    assert_eq!((same.counts(), other.counts()), (vec![Some((3, 0))], vec![Some((1, 0))]));
}

#[tokio::test(start_paused = true)]
async fn they_end_with_their_session_also_when_they_hold_its_socket() {
    let makes = Makes::default();
    let made = makes.clone();
    let layers = Layers::new().per_session(move |socket: &Socket| {
        let (socket, pair) = (socket.clone(), made.make());
        // As who deduplicates or buffers for this peer would.
        let holds = around(move |inner, envelope| {
            let _ = &socket;
            inner.oneshot(envelope)
        });
        let _ = pair;
        Pair::new(holds.clone(), holds)
    });
    let held = Arc::new(());
    let kept = Arc::clone(&held);
    let far = say("/").layers(layers).layers(Layers::new().per_session(move |socket| {
        let (kept, socket) = (Arc::clone(&kept), socket.clone());
        Pair::outbound(around(move |inner, envelope| {
            let _ = (&kept, &socket);
            inner.oneshot(envelope)
        }))
    }));
    let duo = duo(far, say("/").layers(makes.layers())).await;
    within(duo.far().emit("say", &()).ack::<()>()).await.unwrap();
    let before = Arc::strong_count(&held);
    assert!(before > 2, "the session has one");
    within(duo.session.close()).await;
    becomes(|| duo.server.stats().sessions, 0).await;
    becomes(|| Arc::strong_count(&held), 2).await;
    becomes(|| makes.counts().iter().flatten().count(), 0).await;
}

#[tokio::test(start_paused = true)]
async fn none_is_made_for_a_socket_that_has_ended_and_what_is_emitted_there_is_refused() {
    let makes = Makes::default();
    let duo = duo(say("/").layers(makes.layers()), say("/")).await;
    let far = duo.far();
    within(duo.session.close()).await;
    becomes(|| duo.server.stats().sessions, 0).await;
    becomes(|| makes.counts(), vec![None]).await;
    match within(far.emit("say", &())).await {
        Err(EmitError::Closed { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(makes.counts(), [None], "made again for a socket that is over");
}

#[tokio::test(start_paused = true)]
async fn they_go_on_over_links_of_their_session() {
    let makes = Makes::default();
    let duo = duo(say("/").layers(makes.layers()), say("/")).await;
    within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
    duo.cut().await;
    duo.heal().await;
    within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
    assert_eq!(makes.counts(), [Some((2, 0))]);
}

#[tokio::test(start_paused = true)]
async fn the_same_layers_at_a_server_and_at_its_namespace_leave_out_none_between_them() {
    let (makes, log) = (Makes::default(), Log::default());
    let same = makes.layers();
    let far = say("/").inbound(Watch("between", log.clone())).layers(same.clone());
    let duo = Duo::with(Config::default(), (same, far), (Layers::new(), Namespace::new("/"))).await;
    within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
    assert_eq!(log.take(), ["between: say", "between done"]);
    assert_eq!(makes.counts(), [Some((2, 0))], "one pair, in both places");
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_each_session_lets_one_peer_wait_and_the_other_not() {
    let (gate, log) = (Gate::shut(), Log::default());
    let layers = Layers::new().per_session(|_| {
        let shed = LoadShedLayer::new();
        let both = ServiceBuilder::new().layer(shed).layer(ConcurrencyLimitLayer::new(1));
        Pair::inbound(both.into_inner())
    });
    let duo = duo(gate.slow(&log).layers(layers), Namespace::new("/")).await;
    let other = duo.join(Namespace::new("/")).await;
    let (near, other) = (duo.near(), other.of("/").unwrap());
    let first = near.clone();
    let first = begins(async move { first.emit("slow", &1u64).ack::<u64>().await }).await;
    becomes(|| log.count(), 1).await;
    let second = begins(async move { other.emit("slow", &2u64).ack::<u64>().await }).await;
    becomes(|| log.count(), 2).await;
    match within(near.emit("slow", &3u64).ack::<u64>()).await {
        Err(AckError::Refused(Nak::Busy { .. })) => {}
        other => panic!("the first peer is at its limit: {other:?}"),
    }
    gate.open(2);
    assert_eq!(within(first).await.unwrap().unwrap(), 1);
    assert_eq!(within(second).await.unwrap().unwrap(), 2);
}
