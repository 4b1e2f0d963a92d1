//! Namespaces that let in and refuse.

use super::*;

fn guarded(path: &str) -> Namespace {
    Namespace::new(path).authorize(|request: emitwire::ConnectRequest| async move {
        match request.auth::<String>() {
            Ok(name) if name == "ann" => Ok(()),
            Ok(_) => Err(emitwire::Refusal::with("who are you?")),
            Err(error) => Err(error.into()),
        }
    })
}

#[tokio::test]
async fn a_namespace_that_refuses_leaves_the_others_to_the_client() {
    let open = Namespace::new("/open").on("ping", || async { "pong" });
    let server = Server::new().mount(open).unwrap().mount(guarded("/guarded")).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let client = Client::new(endpoint(&url))
        .mount(Namespace::new("/guarded"))
        .mount(Namespace::new("/open"))
        .auth(&"bob");
    let session = within(client.connect()).await.unwrap();
    match session.of("/guarded") {
        Err(NamespaceError::Refused { path, payload }) => {
            assert_eq!(&*path, "/guarded");
            assert_eq!(payload.decode::<String>().unwrap(), "who are you?");
        }
        other => panic!("{other:?}"),
    }
    match session.of("/other") {
        Err(NamespaceError::NotMounted { path }) => assert_eq!(&*path, "/other"),
        other => panic!("{other:?}"),
    }
    let open = session.of("/open").unwrap();
    assert_eq!(within(open.emit("ping", &()).ack::<String>()).await.unwrap(), "pong");
    assert_eq!(sockets(&server.of("/guarded")), []);
}

#[tokio::test]
async fn a_client_that_is_refused_everywhere_has_no_session() {
    let server = Server::new().mount(guarded("/guarded")).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    for (auth, words) in [(Some("bob"), Some("who are you?")), (None, None)] {
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/guarded"));
        let client = match auth {
            Some(name) => client.auth(&name),
            None => client,
        };
        match within(client.connect()).await {
            Err(ConnectError::Refused { namespace, payload }) => {
                assert_eq!(namespace, "/guarded");
                assert_eq!(payload.decode::<String>().ok().as_deref(), words);
            }
            other => panic!("{other:?}"),
        }
    }
    becomes(|| server.stats().sessions, 0).await;
    let client = Client::new(endpoint(&url)).mount(Namespace::new("/guarded")).auth(&"ann");
    assert!(within(client.connect()).await.unwrap().of("/guarded").is_ok());
}

#[tokio::test]
async fn no_event_reaches_a_handler_before_the_connect_hook_has_returned() {
    let (gate, pass) = gate();
    let ready = Arc::new(AtomicBool::new(false));
    let (readies, looks) = (Arc::clone(&ready), Arc::clone(&ready));
    let namespace = Namespace::new("/")
        .on_connect(move || {
            let (pass, ready) = (pass(), Arc::clone(&readies));
            async move {
                pass.await;
                ready.store(true, Ordering::Release);
            }
        })
        .on("ready", move || {
            let ready = looks.load(Ordering::Acquire);
            async move { ready }
        });
    let (server, url) = serve(namespace).await;
    let session = connect(&url, Namespace::new("/")).await;
    let socket = session.of("/").unwrap();
    let asked = tokio::spawn(async move { socket.emit("ready", &()).ack::<bool>().await.unwrap() });
    becomes(|| server.stats().events_in, 1).await;
    assert_eq!(server.stats().handled, 0);
    gate.add_permits(1);
    assert!(within(asked).await.unwrap());
}
