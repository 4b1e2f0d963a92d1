//! A session goes over to another wire, in the middle of whatever is under way.

use super::*;
use emitwire::testing::within;
use emitwire::{ConnectError, Session, Transport};

async fn house(config: &Config, there: &Diary) -> (Server, Vec<String>) {
    let server = Server::with_config(config.clone()).mount(there.keep("/")).unwrap();
    let mut endpoints = Vec::new();
    for url in support::all_wires() {
        endpoints.push(support::listen(&server, &url).await.endpoint().to_owned());
    }
    (server, endpoints)
}

async fn come_in(transport: impl Transport, config: &Config, here: &Diary) -> Session {
    let client = Client::new(transport).config(config.clone()).mount(here.keep("/"));
    within(client.connect()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_hops_over_all_wires_in_mid_traffic_and_nothing_is_lost_or_out_of_order() {
    let mut config = Config::default();
    config.resume_on_plain = true;
    let (here, there) = (Diary::default(), Diary::default());
    let (server, endpoints) = house(&config, &there).await;
    let session = come_in(support::endpoint(&endpoints[0]), &config, &here).await;
    let near = session.of("/").unwrap();
    let far = server.socket("/", near.id()).unwrap();
    const EVENTS: u64 = 100_000;
    let talk = |socket: Socket| async move {
        for value in 0..EVENTS {
            socket.emit("n", &value).await.unwrap();
        }
    };
    let talking = [tokio::spawn(talk(near.clone())), tokio::spawn(talk(far.clone()))];
    // There and back, so that each is left for another than before.
    let route = endpoints.iter().chain(endpoints.iter().rev()).cycle();
    for next in route.skip(1).take(HOPS) {
        let moved = within(session.move_to(support::endpoint(next))).await;
        assert_eq!(moved.unwrap(), Outcome::Resumed, "{next}");
        assert!(next.starts_with(near.peer().scheme()), "{next}");
    }
    let all = EVENTS as usize;
    assert!(here.count() < all && there.count() < all, "that was no traffic");
    for talked in talking {
        within(talked).await.unwrap();
    }
    becomes(|| (here.count(), there.count()), (all, all)).await;
    for diary in [&here, &there] {
        assert!(diary.split().0.into_iter().eq(0..EVENTS), "in order");
    }
    assert_eq!(session.stats().resumed, HOPS as u64);
}

const HOPS: usize = 30;

#[tokio::test(start_paused = true)]
async fn a_wire_of_small_frames_carries_large_events_in_pieces() {
    let config = Config::default();
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&bytes);
    let echo = move |Data(text): Data<String>| {
        noted.lock().unwrap().push(text.len());
        async move { text }
    };
    let server = Server::new().mount(Namespace::new("/").on("echo", echo)).unwrap();
    let (wide, narrow) = (fresh_name(), fresh_name());
    server.listen(Memory::new(&*wide)).await.unwrap();
    server.listen(Memory::new(&*narrow).frame_bytes_max(300)).await.unwrap();
    let client = Client::new(Memory::new(&*wide)).config(config).mount(Namespace::new("/"));
    let session = client.connect().await.unwrap();
    let socket = session.of("/").unwrap();
    let text = "emitwire".repeat(10_000);
    session.move_to(Memory::new(&*narrow)).await.unwrap();
    assert_eq!(socket.capabilities().frame_bytes_max, 300);
    assert_eq!(socket.emit("echo", &text).ack::<String>().await.unwrap(), text);
    socket.emit("echo", &text).volatile().await.unwrap();
    becomes(|| bytes.lock().unwrap().len(), 2).await;
    session.move_to(Memory::new(&*wide)).await.unwrap();
    assert_eq!(socket.emit("echo", &text).ack::<String>().await.unwrap(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_began_in_secret_goes_on_in_the_clear_only_if_both_ends_allow_it() {
    for (client_allows, server_allows) in [(false, true), (true, false), (true, true)] {
        let (here, there) = (Diary::default(), Diary::default());
        let (mut near, mut far) = (Config::default(), Config::default());
        (near.resume_on_plain, far.resume_on_plain) = (client_allows, server_allows);
        let (_server, endpoints) = house(&far, &there).await;
        let session = come_in(support::endpoint(&endpoints[0]), &near, &here).await;
        let is_tcp = |url: &&String| url.starts_with("tcp://");
        let tcp = support::endpoint(endpoints.iter().find(is_tcp).unwrap());
        let near = session.of("/").unwrap();
        let moved = within(session.move_to(tcp)).await;
        match (client_allows, server_allows) {
            (true, true) => assert_eq!(moved.unwrap(), Outcome::Resumed),
            (false, _) => assert!(matches!(moved, Err(ConnectError::PlainWire)), "{moved:?}"),
            (true, false) => assert!(matches!(moved, Err(ConnectError::NotResumable)), "{moved:?}"),
        }
        // It goes on all the same, with nothing missed.
        let doubled = within(near.emit("n", &7_u64).ack::<u64>()).await.unwrap();
        assert_eq!((doubled, near.ended()), (14, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_event_that_waited_comes_with_the_welcome() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    let near = |namespace: Namespace| {
        namespace.on("news", move |Data(text): Data<String>| {
            noted.lock().unwrap().push(text.len());
            async {}
        })
    };
    let stage = Stage::with_namespaces(Config::default(), near, |namespace| namespace).await;
    stage.cut().await;
    // Larger than anything that may come in a handshake.
    stage.far().emit("news", &"x".repeat(500_000)).await.unwrap();
    stage.attached().await;
    assert_eq!(*heard.lock().unwrap(), [500_000]);
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_move_does_not_wait_for_a_wire_that_does_not_answer() {
    let stage = Stage::new().await;
    stage.cut().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = tokio::time::Instant::now();
    let moved = stage.session.move_to(Memory::new(&*stage.name)).await;
    assert_eq!(moved.unwrap(), Outcome::Resumed);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attach_in_pieces_and_events_in_pieces_do_not_get_mixed_up() {
    let token = "t".repeat(2_000);
    let server = Server::new().mount(Diary::default().keep("/")).unwrap();
    let echo = Namespace::new("/echo").on("echo", |Data(text): Data<String>| async move { text });
    let server = server.mount(echo).unwrap();
    let (wide, narrow) = (fresh_name(), fresh_name());
    server.listen(Memory::new(&*wide)).await.unwrap();
    server.listen(Memory::new(&*narrow).frame_bytes_max(300)).await.unwrap();
    let client = Client::new(Memory::new(&*wide)).auth(&token).mount(Namespace::new("/echo"));
    let session = client.connect().await.unwrap();
    let socket = session.of("/echo").unwrap();
    for _ in 0..3 {
        assert_eq!(session.move_to(Memory::new(&*narrow)).await.unwrap(), Outcome::Resumed);
        let text = "emitwire".repeat(1000);
        assert_eq!(socket.emit("echo", &text).ack::<String>().await.unwrap(), text);
    }
    assert_eq!(server.stats().protocol_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_cannot_be_reached_leaves_everything_as_it_is() {
    let stage = Stage::new().await;
    let moved = stage.session.move_to(Memory::new("nobody listens here")).await;
    assert!(matches!(moved, Err(ConnectError::Unreachable { .. })), "{moved:?}");
    assert!(stage.session.is_attached());
    assert_eq!(stage.near().emit("n", &3_u64).ack::<u64>().await.unwrap(), 6);
    assert!(stage.here.take().is_empty(), "no hook has run");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_with_its_link_cannot_be_moved() {
    let mut config = Config::default();
    config.resume_window = Duration::ZERO;
    let stage = Stage::with(config).await;
    let moved = stage.session.move_to(Memory::new("anywhere")).await;
    assert!(matches!(moved, Err(ConnectError::NotResumable)), "{moved:?}");
}
