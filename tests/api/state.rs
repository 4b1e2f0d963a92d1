//! State that handlers share, and data that a socket keeps.

use super::*;
use emitwire::{Path, State};

async fn count(State(visits): State<Arc<AtomicUsize>>) -> usize {
    visits.fetch_add(1, Ordering::Relaxed) + 1
}

#[tokio::test(start_paused = true)]
async fn all_handlers_and_hooks_of_a_namespace_share_its_state() {
    let visits = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new("/")
        .state(Arc::clone(&visits))
        .state("motto")
        .on_connect(count)
        .on("count", count)
        .on("motto", |State(motto): State<&'static str>| async move { motto });
    let (_server, ann, socket) = one(namespace).await;
    assert_eq!(ask::<usize>(&ann, "count").await.unwrap(), 2, "the hook was the first");
    assert_eq!(ask::<String>(&ann, "motto").await.unwrap(), "motto");
    socket.on("own", count).unwrap();
    assert_eq!(ask::<usize>(&ann, "own").await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_the_state_that_a_handler_asks_for_is_not_mounted() {
    let state = std::any::type_name::<Arc<AtomicUsize>>();
    let error = MountError::from(ListenError::NoState { state });
    let namespaces = [
        Namespace::new("/").on("count", count),
        Namespace::new("/").once("count", count),
        Namespace::new("/").on_any(count),
        Namespace::new("/").fallback(count),
        Namespace::new("/").on_connect(count),
        Namespace::new("/").on_disconnect(count).state(7_u8),
        Namespace::new("/")
            .on("maybe", |_: Result<State<Arc<AtomicUsize>>, emitwire::Refusal>| async {}),
    ];
    for namespace in namespaces {
        assert_eq!(Server::new().mount(namespace.clone()).unwrap_err(), error);
        let client = Client::new(Endpoint::new("mem://nobody").unwrap()).mount(namespace);
        let Err(ConnectError::Mount { source }) = within(client.connect()).await else { panic!() };
        assert_eq!(source.downcast_ref::<MountError>(), Some(&error));
    }
    let late = Namespace::new("/").on("count", count).state(Arc::new(AtomicUsize::new(0)));
    assert!(Server::new().mount(late).is_ok(), "the order does not matter");
}

#[tokio::test(start_paused = true)]
async fn what_a_mounted_namespace_does_not_have_is_refused_when_it_is_asked_for_later() {
    let namespace = Namespace::new("/");
    let (_server, _ann, socket) = one(namespace.clone()).await;
    for added in [namespace.emitter().on("count", count), socket.on("count", count)] {
        assert!(matches!(added, Err(ListenError::NoState { .. })), "{added:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_keeps_a_value_of_each_type_until_its_last_hook_has_run() {
    #[derive(Debug, PartialEq)]
    struct Name(&'static str);
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.set_data(Name("Ann")) })
        .on("name", |socket: Socket| async move { socket.data::<Name>().map(|name| name.0) })
        .on_disconnect(move |socket: Socket| {
            noted.add(socket.data::<Name>().unwrap().0);
            ready(())
        });
    let (_server, ann, socket) = one(namespace).await;
    assert_eq!(ask::<Option<String>>(&ann, "name").await.unwrap().as_deref(), Some("Ann"));
    assert_eq!(socket.data::<u8>(), None);
    socket.set_data(7_u8);
    socket.set_data(8_u8);
    assert_eq!(socket.data::<u8>().as_deref(), Some(&8));
    assert_eq!(socket.take_data::<u8>().as_deref(), Some(&8));
    assert_eq!((socket.take_data::<u8>(), socket.data::<u8>()), (None, None));
    assert_eq!(ann.data::<Name>(), None, "it is this side's");
    ann.disconnect("");
    within(socket.closed()).await;
    until(|| notes.take() == ["Ann"]).await;
    until(|| socket.data::<Name>().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_extracted_may_be_the_handlers_business() {
    let namespace = Namespace::new("/")
        .on("number", |number: Result<Data<u8>, emitwire::Refusal>| async move { number.is_ok() });
    let (_server, ann, _socket) = one(namespace).await;
    assert!(!within(ann.emit("number", "seven").ack::<bool>()).await.unwrap());
    assert!(within(ann.emit("number", &7).ack::<bool>()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_names_in_a_path_come_as_whatever_type_is_asked_for() {
    #[derive(serde::Deserialize)]
    struct Place {
        city: String,
        house: u16,
    }
    let namespace = Namespace::new("/{city}/{house}")
        .on("pair", |Path((city, house)): Path<(String, u16)>| async move { (city, house) })
        .on("place", |Path(place): Path<Place>| async move { (place.city, place.house) })
        .on("list", |Path(names): Path<Vec<String>>| async move { names })
        .on("one", |Path(_): Path<String>| async {})
        .on("numbers", |Path(_): Path<(u8, u8)>| async {});
    let server = Server::new().mount(namespace).unwrap();
    let ann = testing::connect(&server, "/Ulm/19").await;
    for name in ["pair", "place"] {
        assert_eq!(ask::<(String, u16)>(&ann, name).await.unwrap(), ("Ulm".to_owned(), 19));
    }
    assert_eq!(ask::<Vec<String>>(&ann, "list").await.unwrap(), ["Ulm", "19"]);
    for name in ["one", "numbers"] {
        let answer = ask::<()>(&ann, name).await;
        assert!(matches!(answer, Err(AckError::Refused(Nak::Failed))), "{name}: {answer:?}");
    }
    let single = Namespace::new("/org-{id}").on("id", |Path(id): Path<u32>| async move { id });
    let server = Server::new().mount(single).unwrap();
    let ann = testing::connect(&server, "/org-7").await;
    assert_eq!(ask::<u32>(&ann, "id").await.unwrap(), 7);
}
