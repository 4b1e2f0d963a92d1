//! Who hears what in which room.

use super::*;

/// A socket on the server, and what its client hears.
struct Member {
    socket: Socket,
    _session: Session,
    ear: mpsc::UnboundedReceiver<String>,
}

async fn members<const N: usize>() -> (Server, [Member; N]) {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        begin.send(socket).unwrap();
        async {}
    });
    let (server, url) = serve(namespace).await;
    let mut members = Vec::new();
    for _ in 0..N {
        let (mouth, ear) = mpsc::unbounded_channel();
        let namespace = Namespace::new("/").fallback(move |event: Event| {
            mouth.send(event.name.to_string()).unwrap();
            async {}
        });
        let session = connect(&url, namespace).await;
        let socket = within(begun.recv()).await.unwrap();
        members.push(Member { socket, _session: session, ear });
    }
    let members = members.try_into().unwrap_or_else(|_| unreachable!("there are N"));
    (server, members)
}

/// Who heard what since the last time: everyone is told to say so, in order, behind it.
async fn heard<const N: usize>(server: &Server, members: &mut [Member; N]) -> [Vec<String>; N] {
    within(server.of("/").emit("stop", &())).await.unwrap();
    let mut all = Vec::new();
    for member in members {
        let mut heard = Vec::new();
        loop {
            let name = within(member.ear.recv()).await.unwrap();
            if name == "stop" {
                break;
            }
            heard.push(name);
        }
        all.push(heard);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("there are N"))
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn each_verb_reaches_whom_it_names_and_each_of_them_once() {
    let (server, mut members) = members::<4>().await;
    let [ann, bob, cid, dan] = members.each_ref().map(|member| member.socket.clone());
    ann.join(["red", "blue"]).await.unwrap();
    bob.join("red").await.unwrap();
    cid.join(vec!["blue".to_owned()]).await.unwrap();
    let hi = || vec!["hi".to_owned()];
    let everyone = server.of("/");

    // What is selected, how many it reaches, and who of the four hears it.
    let table = [
        (everyone.clone(), [1, 1, 1, 1]),
        (everyone.clone().to("red"), [1, 1, 0, 0]),
        (everyone.clone().to("red").to("blue"), [1, 1, 1, 0]),
        (everyone.clone().to(["red", "blue", "red"]), [1, 1, 1, 0]),
        (everyone.clone().within("red").except("blue"), [0, 1, 0, 0]),
        (everyone.clone().except(["red", "blue"]), [0, 0, 0, 1]),
        (everyone.clone().to("nobody"), [0, 0, 0, 0]),
        (everyone.clone().to(dan.id()), [0, 0, 0, 1]),
        (everyone.clone().to("red").to(dan.id()).to(ann.id()), [1, 1, 0, 1]),
        (everyone.clone().except(ann.id()), [0, 1, 1, 1]),
        (ann.to("red"), [0, 1, 0, 0]),
        (ann.to(["red", "blue"]), [0, 1, 1, 0]),
        (ann.within("red"), [1, 1, 0, 0]),
        (dan.to("red"), [1, 1, 0, 0]),
        (ann.to(ann.id()), [0, 0, 0, 0]),
        (ann.within(ann.id()), [1, 0, 0, 0]),
        (ann.to(bob.id()), [0, 1, 0, 0]),
        (ann.broadcast(), [0, 1, 1, 1]),
        (ann.except("red"), [0, 0, 1, 1]),
        (ann.broadcast().except(["red", "blue"]), [0, 0, 0, 1]),
    ];
    for (number, (selection, reached)) in table.into_iter().enumerate() {
        let fanout = within(selection.emit("hi", &())).await.unwrap();
        let count: usize = reached.iter().sum();
        assert_eq!((fanout.accepted, fanout.dropped), (count, 0), "row {number}");
        assert_eq!(sockets(&selection).len(), count, "row {number}");
        let wanted = reached.map(|times| if times == 1 { hi() } else { nothing() });
        assert_eq!(heard(&server, &mut members).await, wanted, "row {number}");
    }
}

#[tokio::test]
async fn rooms_come_with_their_first_member_and_go_with_their_last() {
    let (server, mut members) = members::<2>().await;
    let [ann, bob] = members.each_ref().map(|member| member.socket.clone());
    let rooms = || {
        let rooms = support::rooms(&server.of("/")).into_iter();
        rooms.map(|(name, size)| (name.to_string(), size)).collect::<Vec<_>>()
    };
    assert_eq!(rooms(), []);
    ann.join(["red", "blue"]).await.unwrap();
    ann.join("red").await.unwrap();
    bob.join("red").await.unwrap();
    assert_eq!(rooms(), [("blue".to_owned(), 1), ("red".to_owned(), 2)]);
    let names: Vec<_> = ann.rooms().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["blue", "red"]);
    ann.leave(["red", "never joined"]).await.unwrap();
    within(server.of("/").to("red").emit("hi", &())).await.unwrap();
    assert_eq!(heard(&server, &mut members).await, [nothing(), vec!["hi".to_owned()]]);
    ann.disconnect("");
    becomes(rooms, vec![("red".to_owned(), 1)]).await;
    match ann.join("red").await {
        Err(RoomError::Closed) => {}
        other => panic!("{other:?}"),
    }
    bob.leave("red").await.unwrap();
    assert_eq!(rooms(), []);
}

#[tokio::test]
async fn a_socket_is_reached_by_its_id_whoever_joined_a_room_of_that_name() {
    let (server, mut members) = members::<2>().await;
    let [ann, bob] = members.each_ref().map(|member| member.socket.clone());
    bob.join(ann.id()).await.unwrap();
    within(server.of("/").to(ann.id()).emit("secret", &())).await.unwrap();
    let [of_ann, _] = heard(&server, &mut members).await;
    assert_eq!(of_ann, ["secret"]);
}

#[tokio::test]
async fn rooms_live_on_servers() {
    let (_server, url) = serve(Namespace::new("/")).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();
    assert_eq!(socket.join("red").await, Err(RoomError::NotOnServer));
    assert_eq!(socket.leave("red").await, Err(RoomError::NotOnServer));
    assert_eq!(socket.rooms(), Err(RoomError::NotOnServer));
    let broadcasts =
        [socket.to("red"), socket.within("red"), socket.except("red"), socket.broadcast()];
    for broadcast in broadcasts {
        match within(broadcast.emit("hi", &())).await {
            Err(EmitError::Room(RoomError::NotOnServer)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(at_once(broadcast.sockets()), Err(RoomError::NotOnServer));
        assert_eq!(at_once(broadcast.rooms()), Err(RoomError::NotOnServer));
    }
}

#[tokio::test]
async fn a_namespace_that_is_not_mounted_cannot_be_spoken_to() {
    let (server, _url) = serve(Namespace::new("/")).await;
    match within(server.of("/nowhere").to("red").emit("hi", &())).await {
        Err(EmitError::Room(RoomError::NotMounted { path })) => assert_eq!(&*path, "/nowhere"),
        other => panic!("{other:?}"),
    }
}
