//! Who is let in, what they show, and what they are told.

use super::*;
use emitwire::{Auth, ConnectRequest, Listening, Refusal, Session, State};

#[derive(Clone, Debug, PartialEq)]
struct User(String);

/// Lets in whom it knows, and remembers who it is.
fn guarded() -> Namespace {
    Namespace::new("/guarded")
        .state(vec!["ann", "bob"])
        .authorize(|request: ConnectRequest| async move {
            let name: String = request.auth()?;
            let known =
                request.state::<Vec<&'static str>>().is_some_and(|all| all.contains(&&*name));
            if !known {
                return Err(Refusal::with(&format!("who is {name}?")));
            }
            request.set_data(User(name));
            Ok(())
        })
        .on_connect(
            |socket: Socket, Auth(name): Auth<String>, State(_): State<Vec<&'static str>>| {
                assert_eq!(socket.data::<User>().as_deref(), Some(&User(name)));
                ready(())
            },
        )
        .on("who", |socket: Socket| async move { socket.data::<User>().map(|user| user.0.clone()) })
}

#[tokio::test(start_paused = true)]
async fn what_authorize_learns_is_there_for_hooks_and_handlers() {
    let server = Server::new().mount(guarded()).unwrap();
    let ann = testing::try_connect(&server, "/guarded", "ann").await.unwrap();
    assert_eq!(ask::<Option<String>>(&ann, "who").await.unwrap().as_deref(), Some("ann"));
}

#[tokio::test(start_paused = true)]
async fn what_only_a_hook_has_is_not_to_be_had_elsewhere() {
    let handler = Namespace::new("/").on("x", |_: Auth<String>| async {});
    let end = Namespace::new("/").on_disconnect(|_: Auth<String>| async {});
    let begin = Namespace::new("/").on_connect(|_: DisconnectReason| async {});
    for (namespace, what) in [(handler, "Auth"), (end, "Auth"), (begin, "DisconnectReason")] {
        let error = MountError::from(ListenError::NotHere { what });
        assert_eq!(Server::new().mount(namespace).unwrap_err(), error);
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_those_who_decide_has_to_let_a_socket_in() {
    let notes = Notes::default();
    let decides = |name: &'static str, lets_in: bool| {
        let notes = notes.clone();
        move |_: ConnectRequest| {
            notes.add(name);
            ready(if lets_in { Ok(()) } else { Err(Refusal::with(name)) })
        }
    };
    let namespace = Namespace::new("/")
        .authorize(decides("first", true))
        .authorize(decides("second", false))
        .authorize(decides("third", true));
    let server = Server::new().mount(namespace).unwrap();
    let error = testing::try_connect(&server, "/", &()).await.unwrap_err();
    assert_eq!(error.to_string(), "the namespace / refused: second");
    assert_eq!(notes.take(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_connect_hook_that_refuses_says_why_to_the_socket_that_it_ends() {
    let namespace =
        Namespace::new("/").on_connect(|| async { Err::<(), _>(Refusal::with("taken")) });
    let server = Server::new().mount(namespace).unwrap();
    let (tells, mut told) = mpsc::unbounded_channel();
    let mirror = Namespace::new("/").on_disconnect(move |reason: DisconnectReason| {
        tells.send(reason).unwrap();
        ready(())
    });
    let _listening = listen(&server, "mem://hook that refuses").await;
    let client = Client::new(Endpoint::new("mem://hook that refuses").unwrap()).mount(mirror);
    let _session = within(client.reconnect(false).connect()).await;
    assert_eq!(within(told.recv()).await, Some(DisconnectReason::DismissedByPeer("taken".into())));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_gets_the_data_of_the_refusal_and_no_more() {
    let server = Server::new().mount(guarded()).unwrap();
    let error = testing::try_connect(&server, "/guarded", "eve").await.unwrap_err();
    assert_eq!(error.refusal::<String>().as_deref(), Some("who is eve?"));
    assert_eq!(error.refusal::<u8>(), None);
    let error = testing::try_connect(&server, "/guarded", &7).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert_eq!(error.refusal::<String>(), None, "what went wrong stays on the server");
    assert_eq!((server.stats().sockets, server.of("/guarded").sockets().await), (0, Ok(vec![])));
}

#[tokio::test(start_paused = true)]
async fn an_authorize_that_takes_too_long_or_panics_lets_nobody_in() {
    let slow = Namespace::new("/slow").authorize(|_| pending::<Result<(), Refusal>>());
    let broken = Namespace::new("/broken")
        .authorize(|_| async { if true { panic!("no list") } else { Ok::<_, Refusal>(()) } });
    let mut config = Config::default();
    config.hook_timeout = MOMENT;
    let server = Server::with_config(config).mount(slow).unwrap().mount(broken).unwrap();
    for path in ["/slow", "/broken"] {
        let error = testing::try_connect(&server, path, &()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{path}: {error:?}");
    }
    let stats = server.stats();
    assert_eq!((stats.cancelled, stats.panics), (1, 1));
}

async fn listen(server: &Server, name: &str) -> Listening {
    within(server.listen(Endpoint::new(name).unwrap())).await.unwrap()
}

/// A client whose credentials are asked for, and fail the second time.
async fn asked(url: &str, notes: &Notes) -> Session {
    let (noted, asked) = (notes.clone(), AtomicUsize::new(0));
    let namespace = Namespace::new("/guarded").on_connect_error(move |error: &ConnectError| {
        noted.add(error.refusal::<String>().unwrap_or_else(|| error.to_string()));
    });
    let client = Client::new(Endpoint::new(url).unwrap()).mount(namespace).auth_with(move || {
        ready(match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Ok("ann"),
            1 => Err("the token is not fresh"),
            2 => Ok("eve"),
            _ => Ok("bob"),
        })
    });
    within(client.connect()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn credentials_are_asked_for_at_each_connect_and_the_hook_is_told_of_each_failure() {
    let (server, notes) = (Server::new().mount(guarded()).unwrap(), Notes::default());
    let url = "mem://asked";
    let listening = listen(&server, url).await;
    let session = asked(url, &notes).await;
    let drain = |server: Server| async move { within(server.run_until(async {})).await };
    drain(server).await;
    drop(listening);
    let server = Server::new().mount(guarded()).unwrap();
    listen(&server, url).await;
    let refused = "who is eve?".to_owned();
    let mut told = Vec::new();
    until(|| {
        told.extend(notes.take());
        told.contains(&refused)
    })
    .await;
    assert!(told.contains(&"there are no credentials to show".to_owned()), "{told:?}");
    let error = session.of("/guarded").unwrap_err();
    assert!(matches!(error, emitwire::NamespaceError::Refused { .. }), "{error:?}");
    within(server.run_until(async {})).await;
    let server = Server::new().mount(guarded()).unwrap();
    listen(&server, url).await;
    until(|| session.of("/guarded").is_ok()).await;
    let bob = session.of("/guarded").unwrap();
    assert_eq!(ask::<Option<String>>(&bob, "who").await.unwrap().as_deref(), Some("bob"));
}
