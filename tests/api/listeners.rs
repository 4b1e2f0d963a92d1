//! Who hears an event: the namespace's listeners, the socket's own, and those who hear all.

use super::*;

/// A listener that notes a name and answers with it.
fn noting(
    notes: &Notes,
    name: &'static str,
) -> impl Fn() -> std::future::Ready<&'static str> + use<> {
    let notes = notes.clone();
    move || {
        notes.add(name);
        ready(name)
    }
}

#[tokio::test(start_paused = true)]
async fn a_sockets_own_listener_hears_its_events_only_behind_those_of_its_namespace() {
    let notes = Notes::default();
    let namespace = Namespace::new("/").on("x", noting(&notes, "of all"));
    let (server, ann, socket) = one(namespace).await;
    let bob = testing::connect(&server, "/").await;
    socket.on("x", noting(&notes, "of ann")).unwrap();
    socket.on("x", noting(&notes, "of ann too")).unwrap();
    assert_eq!(ask::<String>(&ann, "x").await.unwrap(), "of all", "the first reply answers");
    assert_eq!(notes.take(), ["of all", "of ann", "of ann too"]);
    assert_eq!(ask::<String>(&bob, "x").await.unwrap(), "of all");
    assert_eq!(notes.take(), ["of all"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_was_taken_out_hears_nothing_more() {
    let notes = Notes::default();
    let namespace = Namespace::new("/").unhandled(Unhandled::Nak);
    let (_server, ann, socket) = one(namespace.clone()).await;
    let shared = namespace.emitter().on("x", noting(&notes, "shared")).unwrap();
    let own = socket.on("x", noting(&notes, "own")).unwrap();
    ask::<String>(&ann, "x").await.unwrap();
    assert_eq!(notes.take(), ["shared", "own"]);
    assert!(namespace.off(shared) && !namespace.off(shared));
    assert!(!socket.off(shared), "it is another table's");
    ask::<String>(&ann, "x").await.unwrap();
    assert_eq!(notes.take(), ["own"]);
    assert!(socket.off(own) && !socket.off(own));
    let answer = ask::<String>(&ann, "x").await;
    assert!(matches!(answer, Err(AckError::Refused(Nak::NoHandler))), "{answer:?}");
    assert_eq!(notes.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn all_listeners_of_a_name_are_taken_out_at_once_and_so_are_those_who_hear_all() {
    let notes = Notes::default();
    let (_server, ann, socket) = one(Namespace::new("/").fallback(|| async {})).await;
    for _ in 0..3 {
        socket.on("x", noting(&notes, "x")).unwrap();
        socket.on_any(noting(&notes, "any")).unwrap();
    }
    socket.on("y", noting(&notes, "y")).unwrap();
    assert_eq!(socket.emitter().event_names(), ["x", "y"]);
    assert_eq!(socket.emitter().listener_count("x"), 3);
    assert_eq!((socket.off_all("x"), socket.off_all("x")), (3, 0));
    ask::<()>(&ann, "x").await.unwrap();
    assert_eq!(notes.take(), ["any"; 3]);
    assert_eq!((socket.off_any(), socket.off_any()), (3, 0));
    ask::<String>(&ann, "y").await.unwrap();
    assert_eq!(notes.take(), ["y"]);
}

#[tokio::test(start_paused = true)]
async fn who_listens_once_hears_the_first_event_and_no_other() {
    let notes = Notes::default();
    let (_server, ann, socket) = one(Namespace::new("/").fallback(|| async {})).await;
    socket.emitter().once("x", noting(&notes, "once")).unwrap();
    socket.once("x").then(noting(&notes, "then")).unwrap();
    assert_eq!(ask::<String>(&ann, "x").await.unwrap(), "once");
    ask::<()>(&ann, "x").await.unwrap();
    assert_eq!(notes.take(), ["once", "then"]);
}

#[tokio::test(start_paused = true)]
async fn the_sockets_own_fallback_answers_before_that_of_its_namespace() {
    let (server, ann, socket) = one(Namespace::new("/").fallback(|| async { "shared" })).await;
    let bob = testing::connect(&server, "/").await;
    socket.emitter().set_fallback(|| async { "own" }).unwrap();
    socket.on("known", || async { "known" }).unwrap();
    assert_eq!(ask::<String>(&ann, "x").await.unwrap(), "own");
    assert_eq!(ask::<String>(&ann, "known").await.unwrap(), "known");
    assert_eq!(ask::<String>(&bob, "x").await.unwrap(), "shared");
}

#[tokio::test(start_paused = true)]
async fn who_hears_all_that_goes_out_is_told_once_for_each_emit_and_never_of_answers() {
    let (notes, own_notes) = (Notes::default(), Notes::default());
    let heard = notes.clone();
    let namespace = Namespace::new("/")
        .on("x", || async { 1 })
        .on_any_outgoing(move |event: &Event| heard.add(&*event.name));
    let (server, ann, socket) = one(namespace).await;
    let _bob = testing::connect(&server, "/").await;
    let heard = own_notes.clone();
    let id = socket.on_any_outgoing(move |event| heard.add(&*event.name)).unwrap();
    within(socket.emit("alone", &())).await.unwrap();
    within(socket.emit("asked", &()).ack::<()>()).await.unwrap();
    within(socket.emit("volatile", &()).volatile()).await.unwrap();
    within(server.of("/").emit("all", &())).await.unwrap();
    ask::<u8>(&ann, "x").await.unwrap();
    assert_eq!(own_notes.take(), ["alone", "asked", "volatile"]);
    assert_eq!(notes.take(), ["alone", "asked", "volatile", "all"]);
    assert!(socket.off(id));
    within(socket.emit("later", &())).await.unwrap();
    let refused = within(socket.emit("connect", &())).await;
    assert!(matches!(refused, Err(EmitError::Reserved { .. })), "{refused:?}");
    assert_eq!((own_notes.take(), notes.take()), (vec![], vec!["later".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_panics_when_told_what_goes_out_stops_nothing() {
    let namespace = Namespace::new("/").on_any_outgoing(|_| panic!("told too much"));
    let (_server, mut ann, socket) = one(namespace).await;
    within(socket.emit("x", &())).await.unwrap();
    ann.expect::<()>("x").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_to_know_is_told_of_listeners_that_come_and_go() {
    let notes = Notes::default();
    let (added, removed) = (notes.clone(), notes.clone());
    let namespace = Namespace::new("/")
        .on_listener_added(move |name| added.add(format!("+{name}")))
        .on_listener_removed(move |name| removed.add(format!("-{name}")))
        .on("x", || async {})
        .once("y", || async {});
    let (_server, ann, _socket) = one(namespace.clone()).await;
    ask::<()>(&ann, "y").await.unwrap();
    let id = namespace.emitter().on("z", || async {}).unwrap();
    namespace.off(id);
    namespace.emitter().off_all("x");
    assert_eq!(notes.take(), ["+x", "+y", "-y", "+z", "-z", "-x"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_listened_to_is_a_typed_error_at_both_ends() {
    let mut config = Config::default();
    config.listeners_max = 3;
    let (_server, ann, socket) = one_with(config, Namespace::new("/")).await;
    for socket in [&*ann, &socket] {
        for name in emitwire::protocol::RESERVED_NAMES {
            let error = ListenError::Reserved { name: name.into() };
            assert_eq!(socket.on(name, || async {}).unwrap_err(), error);
            assert_eq!(socket.once(name).then(|| async {}).unwrap_err(), error);
            assert_eq!(within(socket.once(name)).await.unwrap_err(), WaitError::Listen(error));
        }
        let long = "x".repeat(256);
        let error = ListenError::NameTooLong { bytes: 256, max: 255 };
        assert_eq!(socket.on(&long, || async {}).unwrap_err(), error);
    }
    for _ in 0..3 {
        socket.on("x", || async {}).unwrap();
    }
    let error = socket.on("x", || async {}).unwrap_err();
    assert_eq!(error, ListenError::TooMany { max: 3 });
    socket.off_all("x");
    socket.on("x", || async {}).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_its_own_listener_and_data_hold_is_let_go_when_it_has_ended() {
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, mut is_gone) = mpsc::unbounded_channel();
    let (_server, ann, socket) = one(Namespace::new("/")).await;
    for told in [Told(gone.clone()), Told(gone)] {
        let (held, told) = (socket.clone(), Arc::new(told));
        socket.set_data((held.clone(), Arc::clone(&told)));
        let listener = move || ready((held.id().to_string(), Arc::strong_count(&told)));
        socket.on("x", listener).unwrap();
    }
    socket.disconnect("");
    within(ann.closed()).await;
    for _ in 0..2 {
        within(is_gone.recv()).await.unwrap();
    }
    assert_eq!(socket.on("x", || async {}).unwrap_err(), ListenError::Closed);
}

#[test]
fn what_a_listener_holds_may_ask_its_emitter_when_it_is_let_go() {
    struct Guard(emitwire::Emitter);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.listener_count("x");
        }
    }
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ns = Namespace::new("/");
        let guard = Guard(ns.emitter().clone());
        let id = ns
            .emitter()
            .on("x", move || {
                let _ = &guard;
                async {}
            })
            .unwrap();
        ns.off(id);
        let _ = tx.send(());
    });
    rx.recv_timeout(Duration::from_secs(3)).expect("deadlock");
}
