//! Nothing is emitted that is not counted somewhere.

use super::*;
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// Everything: handled, failed, refused, unheard, with and without an answer.
fn mixed() -> Namespace {
    Namespace::new("/")
        .unhandled(Unhandled::Nak)
        .on("fine", || async { tokio::task::yield_now().await })
        .on("fails", || async { Err::<(), _>(Nak::Failed) })
        .on("number", |Data(_): Data<u8>| async {})
}

async fn talk(socket: Socket, events: usize) {
    for number in 0..events {
        let name = ["fine", "fails", "number", "unheard"][number % 4];
        if number % 3 == 0 {
            let _ = within(socket.emit(name, "text").ack::<()>()).await;
        } else {
            within(socket.emit(name, "text")).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_side_sent_the_other_got_and_every_event_has_one_fate() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let namespace = mixed().on_connect(move |socket: Socket| {
        begin.send(socket).unwrap();
        async {}
    });
    let server = Server::new().mount(namespace).unwrap();
    let tcp = listen(&server, "tcp://127.0.0.1:0").await;
    let ws = listen(&server, "ws://127.0.0.1:0").await;
    let mem = listen(&server, &fresh_mem()).await;
    let mut sessions = Vec::new();
    let mut talking = Vec::new();
    for number in 0..20 {
        let url = [&tcp, &ws, &mem][number % 3].endpoint();
        let session = connect(url, mixed()).await;
        talking.push(tokio::spawn(talk(session.of("/").unwrap(), 200)));
        talking.push(tokio::spawn(talk(within(begun.recv()).await.unwrap(), 200)));
        sessions.push(session);
    }
    for talked in talking {
        talked.await.unwrap();
    }
    let clients = || {
        let stats = sessions.iter().map(Session::stats);
        stats.fold([0; 5], |sum, stats| {
            let more = [
                stats.events_out,
                stats.events_in,
                stats.handled,
                stats.refused,
                stats.refused_by_peer,
            ];
            std::array::from_fn(|place| sum[place] + more[place])
        })
    };
    let server_side = || {
        let stats = server.stats();
        [stats.events_in, stats.events_out, stats.refused_by_peer, stats.refused, stats.handled]
    };
    // Twenty sockets, two hundred events each way; three of four are refused.
    becomes(clients, [4000, 4000, 1000, 3000, 3000]).await;
    becomes(server_side, [4000, 4000, 3000, 3000, 1000]).await;
    within(all(sessions.into_iter().map(Session::close))).await;
    becomes(|| server.stats().sessions, 0).await;
    let stats = server.stats();
    assert_eq!((stats.lost, stats.withdrawn, stats.parked, stats.cancelled), (0, 0, 0, 0));
}

#[tokio::test]
async fn an_event_that_was_answered_is_in_no_doubt_when_its_session_ends() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let namespace = mixed().on_connect(move |socket: Socket| {
        begin.send(socket).unwrap();
        async {}
    });
    let (server, url) = serve(namespace).await;
    let session = connect(&url, mixed()).await;
    let socket = within(begun.recv()).await.unwrap();
    for _ in 0..10 {
        within(socket.emit("fine", &()).ack::<()>()).await.unwrap();
    }
    within(session.close()).await;
    becomes(|| server.stats().sessions, 0).await;
    let stats = server.stats();
    assert_eq!((stats.events_out, stats.lost), (10, 0));
    assert_eq!(stats.in_doubt, 0, "each event has one fate: these were handled");
}

/// Passes bytes on until it is told to cut the wire.
async fn proxy(listener: TcpListener, upstream: String, mut cut: mpsc::Receiver<()>) {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(upstream).await.unwrap();
    let (mut near_read, mut near_write) = near.split();
    let (mut far_read, mut far_write) = far.split();
    tokio::select! {
        _ = copy(&mut near_read, &mut far_write) => {}
        _ = copy(&mut far_read, &mut near_write) => {}
        _ = cut.recv() => {}
    }
    let _ = far_write.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_link_is_cut_every_event_is_handled_lost_or_in_doubt() {
    for round in 0..10 {
        let mut config = Config::default();
        config.window_events = 16;
        config.disconnect_grace = Duration::from_millis(200);
        let server = Server::with_config(config).mount(mixed()).unwrap();
        let wire = listen(&server, "tcp://127.0.0.1:0").await;
        let upstream = wire.endpoint().trim_start_matches("tcp://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (cut, cuts) = mpsc::channel(1);
        let proxied = tokio::spawn(proxy(listener, upstream, cuts));
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/")).reconnect(false);
        let session = within(client.connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        let emitting = tokio::spawn(async move {
            while socket.emit("fine", &()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        becomes(|| server.stats().events_in > 50 * round, true).await;
        cut.send(()).await.unwrap();
        within(proxied).await.unwrap();
        within(emitting).await.unwrap();
        assert_eq!(within(session.ended()).await, DisconnectReason::LinkLost);
        becomes(|| server.stats().sessions, 0).await;
        let (here, there) = (session.stats(), server.stats());
        assert_eq!(there.events_in, there.handled + there.refused + there.cancelled);
        let certain = here.events_out - here.lost - here.in_doubt;
        assert!(there.events_in >= certain, "confirmed, and never arrived: {here:?} {there:?}");
        let possible = here.events_out - here.lost;
        assert!(there.events_in <= possible, "lost, and arrived: {here:?} {there:?}");
    }
}
