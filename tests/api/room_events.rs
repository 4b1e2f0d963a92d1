//! What a namespace is told of its rooms, and what is done to all in them.

use super::*;
use emitwire::RoomEvent;

/// A namespace that notes what happens to its rooms.
fn noting() -> (Namespace, Notes) {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/").on_room(move |event: &RoomEvent| {
        noted.add(match event {
            RoomEvent::Created(room) => format!("new {room}"),
            RoomEvent::Joined(_, room) => format!("+{room}"),
            RoomEvent::Left(_, room) => format!("-{room}"),
            RoomEvent::Deleted(room) => format!("old {room}"),
            other => format!("{other:?}"),
        });
    });
    (namespace, notes)
}

#[tokio::test(start_paused = true)]
async fn a_room_is_told_of_when_it_comes_is_joined_is_left_and_goes() {
    let (namespace, notes) = noting();
    let (server, _ann, socket) = one(namespace).await;
    let bob = testing::connect(&server, "/").await;
    socket.join(["red", "blue"]).await.unwrap();
    assert_eq!(notes.take(), ["new blue", "+blue", "new red", "+red"]);
    server.socket("/", bob.id()).unwrap().join("red").await.unwrap();
    socket.join("red").await.unwrap();
    assert_eq!(notes.take(), ["+red"], "who is in it joins it no more");
    socket.leave(["red", "never"]).await.unwrap();
    assert_eq!(notes.take(), ["-red"]);
    drop(bob);
    until(|| notes.take().contains(&"old red".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_leaves_its_rooms() {
    let (namespace, notes) = noting();
    let (_server, ann, socket) = one(namespace).await;
    socket.join("red").await.unwrap();
    notes.take();
    ann.disconnect("");
    within(socket.closed()).await;
    let mut told = notes.take();
    until(|| {
        told.extend(notes.take());
        told.len() >= 2
    })
    .await;
    assert_eq!(told, ["-red", "old red"]);
}

#[tokio::test(start_paused = true)]
async fn the_hook_may_join_and_leave_rooms_itself_and_may_panic() {
    let notes = Notes::default();
    let (noted, held) = (notes.clone(), Arc::new(Mutex::new(None::<Socket>)));
    let holds = Arc::clone(&held);
    let namespace = Namespace::new("/").on_room(move |event| {
        noted.add(format!("{}", matches!(event, RoomEvent::Joined(..))));
        if let RoomEvent::Created(room) = event {
            if room.as_str() == "bad" {
                panic!("not that room");
            }
            let socket = holds.lock().unwrap().clone().unwrap();
            let mut join = std::pin::pin!(socket.join("log"));
            let _ =
                join.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        }
    });
    let (_server, _ann, socket) = one(namespace).await;
    *held.lock().unwrap() = Some(socket.clone());
    socket.join("red").await.unwrap();
    assert_eq!(socket.rooms().unwrap(), [RoomName::from("log"), RoomName::from("red")]);
    assert_eq!(notes.take(), ["false", "true", "false", "true"], "one after another");
    socket.join("bad").await.unwrap();
    assert_eq!(notes.take(), ["false", "true"]);
    held.lock().unwrap().take();
}

#[tokio::test(start_paused = true)]
async fn all_of_a_selection_join_leave_and_end_together() {
    let mut config = Config::default();
    config.rooms_per_socket_max = 2;
    let server = Server::with_config(config).mount(Namespace::new("/")).unwrap();
    let guests = [testing::connect(&server, "/").await, testing::connect(&server, "/").await];
    let everyone = server.of("/");
    let [ann, bob] = guests.each_ref().map(|guest| server.socket("/", guest.id()).unwrap());
    ann.join("own").await.unwrap();
    let fanout = everyone.join_all(["red", "blue"]).await.unwrap();
    assert_eq!((fanout.accepted, fanout.dropped), (1, 1), "it is one too many for ann");
    let rooms = |names: [&str; 2]| names.map(|name| (RoomName::from(name), 1)).to_vec();
    let of_bob = everyone.clone().to(bob.id());
    assert_eq!(of_bob.rooms().await.unwrap(), rooms(["blue", "red"]));
    assert_eq!(everyone.clone().to("red").leave_all("red").await.unwrap().accepted, 1);
    assert_eq!(everyone.rooms().await.unwrap(), rooms(["blue", "own"]));
    assert_eq!(everyone.clone().except("blue").sockets().await.unwrap(), [ann.id()]);
    let held = everyone.clone().to("blue").local_sockets().await.unwrap();
    assert_eq!(held.iter().map(Socket::id).collect::<Vec<_>>(), [bob.id()]);
    everyone.disconnect_all("closing time").await.unwrap();
    for guest in &guests {
        let reason = within(guest.closed()).await;
        assert_eq!(reason, DisconnectReason::DismissedByPeer("closing time".into()));
    }
    assert_eq!(ann.closed().await, DisconnectReason::Dismissed("closing time".into()));
    assert!(server.socket("/", ann.id()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_handler_speaks_to_everyone_itself_included_and_may_end_with_that() {
    let namespace = Namespace::new("/")
        .on("say", |socket: Socket| async move { socket.everyone().emit("said", &()).await });
    let (server, mut ann, _socket) = one(namespace).await;
    let mut bob = testing::connect(&server, "/").await;
    ask::<()>(&ann, "say").await.unwrap();
    for guest in [&mut ann, &mut bob] {
        guest.expect::<()>("said").await;
    }
    within(server.of("/").emit("last", &())).await.unwrap();
    server.of("/").disconnect_all("enough").await.unwrap();
    let heard: Vec<_> = ann.heard().await.into_iter().map(|event| event.name.to_string()).collect();
    assert_eq!(heard, ["last"], "what was said before the end is heard");
}

#[tokio::test(start_paused = true)]
async fn a_server_ends_a_whole_session_with_words() {
    let (_server, ann, socket) = one(Namespace::new("/")).await;
    socket.close_session("closing time");
    let reason = DisconnectReason::DismissedByPeer("closing time".into());
    assert_eq!(within(ann.session().ended()).await, reason);
    assert_eq!(within(socket.closed()).await, DisconnectReason::Dismissed("closing time".into()));
}

#[tokio::test(start_paused = true)]
async fn a_room_name_has_a_bound() {
    let mut config = Config::default();
    config.room_name_bytes_max = 4;
    let (server, _ann, socket) = one_with(config, Namespace::new("/")).await;
    let error = RoomError::NameTooLong { bytes: 5, max: 4 };
    assert_eq!(socket.join(["fine", "large"]).await.unwrap_err(), error);
    assert_eq!(socket.rooms().unwrap(), []);
    assert_eq!(server.of("/").join_all("large").await.unwrap().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn all_that_one_verb_does_is_told_whatever_its_bound() {
    let heard = Arc::new(AtomicUsize::new(0));
    let h = heard.clone();
    let ns = Namespace::new("/").on_room(move |_| {
        h.fetch_add(1, Ordering::SeqCst);
    });
    let mut config = Config::default();
    config.room_events_max = 8;
    let (_s, _ann, socket) = one_with(config, ns).await;
    let rooms: Vec<String> = (0..10).map(|n| format!("r{n}")).collect();
    socket.join(rooms).await.unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 20);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_was_sent_away_has_heard_all_that_was_said_before() {
    let (_s, mut ann, socket) = one(Namespace::new("/")).await;
    ann.on("slow", || tokio::time::sleep(Duration::from_secs(1))).unwrap();
    socket.emit("slow", &()).await.unwrap();
    socket.emit("x", &()).await.unwrap();
    socket.disconnect("");
    let heard: Vec<_> = ann.heard().await.iter().map(|e| e.name.to_string()).collect();
    assert_eq!(heard, ["slow", "x"]);
}
