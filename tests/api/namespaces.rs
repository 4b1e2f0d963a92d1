//! Namespaces by pattern: they come with their first socket and go with their last.

use super::*;

fn organisations() -> Namespace {
    Namespace::new("/org-{id}")
        .on_connect(|socket: Socket| async move { socket.join("staff").await })
        .on("say", |socket: Socket| async move {
            socket
                .within("staff")
                .emit("said", &socket.namespace())
                .await
                .map(|fanout| fanout.accepted)
        })
}

#[tokio::test(start_paused = true)]
async fn each_path_of_a_pattern_is_a_namespace_of_its_own_with_its_own_rooms() {
    let server = Server::new().mount(organisations()).unwrap();
    let mut seven = testing::connect(&server, "/org-7").await;
    let mut other_seven = testing::connect(&server, "/org-7").await;
    let mut eight = testing::connect(&server, "/org-8").await;
    assert_eq!(ask::<usize>(&seven, "say").await.unwrap(), 2);
    for guest in [&mut seven, &mut other_seven] {
        assert_eq!(guest.expect::<String>("said").await, "/org-7");
    }
    assert!(eight.heard().await.is_empty());
    let fanout = within(server.of("/org-8").emit("hi", &())).await.unwrap();
    assert_eq!(fanout.accepted, 1);
    eight.expect::<()>("hi").await;
    let fanout = within(server.of("/org-{id}").emit("all", &())).await.unwrap();
    assert_eq!(fanout.accepted, 3, "the pattern stands for all of them");
    for guest in [&mut seven, &mut other_seven, &mut eight] {
        guest.expect::<()>("all").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_a_pattern_goes_with_its_last_socket() {
    let server = Server::new().mount(organisations()).unwrap().mount(Namespace::new("/")).unwrap();
    assert_eq!(server.namespaces(), ["/"]);
    let ann = testing::connect(&server, "/org-7").await;
    let bob = testing::connect(&server, "/org-7").await;
    assert_eq!(server.namespaces(), ["/", "/org-7"]);
    assert_eq!(server.namespace_stats("/org-7").unwrap().sockets, 2);
    let is_there = |server: &Server| server.namespaces().len() == 2;
    ann.disconnect("");
    within(ann.closed()).await;
    until(|| server.namespace_stats("/org-7").unwrap().sockets < 2).await;
    assert!(is_there(&server));
    bob.disconnect("");
    until(|| !is_there(&server)).await;
    let fanout = within(server.of("/org-7").emit("x", &())).await.unwrap();
    assert_eq!(fanout.accepted, 0, "nobody is there, which is no error");
    let nowhere = within(server.of("/organ").emit("x", &())).await;
    assert!(matches!(nowhere, Err(EmitError::Room(RoomError::NotMounted { .. }))), "{nowhere:?}");
    let _again = testing::connect(&server, "/org-7").await;
    assert!(is_there(&server));
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_mounted_goes_before_patterns_and_these_in_their_order() {
    let named = |path: &str, name: &'static str| {
        Namespace::new(path).on("who", move || async move { name })
    };
    let server = Server::new()
        .mount(named("/a-{x}", "first"))
        .unwrap()
        .mount(named("/{y}", "second"))
        .unwrap()
        .mount(named("/a-b", "exact"))
        .unwrap();
    for (path, who) in [("/a-b", "exact"), ("/a-c", "first"), ("/b", "second")] {
        let guest = testing::connect(&server, path).await;
        assert_eq!(ask::<String>(&guest, "who").await.unwrap(), who, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_is_none_or_is_there_already_is_not_mounted_and_clients_have_none() {
    for path in ["/{", "/{a}{b}", "/{}", "/{a}/{a}"] {
        let error = MountError::Pattern { path: path.into() };
        assert_eq!(Server::new().mount(Namespace::new(path)).unwrap_err(), error);
    }
    let server = Server::new().mount(organisations()).unwrap();
    let twice = server.mount(organisations()).unwrap_err();
    assert_eq!(twice, MountError::Duplicate { path: "/org-{id}".into() });
    let client = Client::new(Endpoint::new("mem://nobody").unwrap()).mount(organisations());
    let Err(ConnectError::Mount { source }) = within(client.connect()).await else { panic!() };
    let error = MountError::PatternOnClient { path: "/org-{id}".into() };
    assert_eq!(source.downcast_ref::<MountError>(), Some(&error));
}

#[tokio::test(start_paused = true)]
async fn patterns_bring_about_as_many_namespaces_as_there_may_be() {
    let mut config = Config::default();
    config.namespaces_max = 2;
    let server = Server::with_config(config).mount(organisations()).unwrap();
    let one = testing::connect(&server, "/org-1").await;
    let _two = testing::connect(&server, "/org-2").await;
    let _also_two = testing::connect(&server, "/org-2").await;
    let error = testing::try_connect(&server, "/org-3", &()).await.unwrap_err();
    assert_eq!(error.refusal::<String>().as_deref(), Some("there are too many namespaces"));
    one.disconnect("");
    until(|| server.namespaces().len() < 2).await;
    let _three = testing::connect(&server, "/org-3").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_namespace_of_a_pattern_leaves_nothing_behind() {
    let namespace = organisations().authorize(|_| async { Err(emitwire::Refusal::with("no")) });
    let server = Server::new().mount(namespace).unwrap();
    for _ in 0..3 {
        let error = testing::try_connect(&server, "/org-1", &()).await.unwrap_err();
        assert_eq!(error.refusal::<String>().as_deref(), Some("no"));
    }
    until(|| server.namespaces().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_selection_that_is_kept_finds_its_namespace_when_that_comes_again() {
    let server = Server::new().mount(Namespace::new("/org-{id}")).unwrap();
    let before = server.of("/org-7");
    let guest = testing::connect(&server, "/org-7").await;
    let kept = server.of("/org-7");
    assert_eq!(kept.emit("x", &()).await.unwrap().accepted, 1);
    let a = before.emit("x", &()).await.unwrap().accepted;
    drop(guest);
    until(|| server.namespaces().is_empty()).await;
    let _guest = testing::connect(&server, "/org-7").await;
    let b = kept.emit("x", &()).await.unwrap().accepted;
    assert_eq!((a, b), (1, 1), "said Ok and reached nobody");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_mounted_beside_its_pattern_takes_nobody_out_of_it() {
    let server = Server::new().mount(Namespace::new("/org-{id}")).unwrap();
    let _ann = testing::connect(&server, "/org-7").await;
    let server = server.mount(Namespace::new("/org-7")).unwrap();
    assert_eq!(server.of("/org-{id}").sockets().await.unwrap().len(), 1);
    let bob = testing::connect(&server, "/org-7").await;
    bob.session().of("/org-7").unwrap();
    drop(bob);
    until(|| server.stats().sockets == 1).await;
    assert_eq!(server.of("/org-{id}").sockets().await.unwrap().len(), 1, "Ann is still in it");
}
