//! Sessions on wires that go wrong.

use crate::support::{SEED, memory, ms, within};
use emitwire_core::handler::{Data, Namespace};
use emitwire_core::protocol::DisconnectReason;
use emitwire_core::run::{Client, Config, Server};
use emitwire_core::transport::{Chaos, ConnectError, Direction, Faults, Transport};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};

fn mobile() -> Faults {
    Faults::new().delay(ms(80)).jitter(ms(40)).bytes_per_second(20_000)
}

#[tokio::test(start_paused = true)]
async fn a_session_on_a_slow_and_narrow_wire_misses_nothing() {
    let chaos = Chaos::new(memory("mobile"), SEED);
    chaos.set(Direction::Both, mobile());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let namespace = Namespace::new("/").on("count", move |Data(number): Data<u32>| {
        hears.lock().unwrap().push(number);
        async move { number }
    });
    let server = Server::new().mount(namespace).unwrap();
    server.listen(chaos.clone()).await.unwrap();
    let client = Client::new(memory("mobile")).mount(Namespace::new("/"));
    let session = client.connect().await.unwrap();
    let socket = session.of("/").unwrap();
    let began = Instant::now();
    let answer: u32 = socket.emit("count", &0).ack().await.unwrap();
    assert_eq!(answer, 0);
    let round_trip = began.elapsed();
    assert!((ms(160)..ms(300)).contains(&round_trip), "{round_trip:?}, seed {SEED}");
    for number in 1..2000 {
        socket.emit("count", &number).await.unwrap();
    }
    let answer: u32 = socket.emit("count", &2000).ack().await.unwrap();
    assert_eq!(answer, 2000);
    assert_eq!(*heard.lock().unwrap(), (0..=2000).collect::<Vec<_>>(), "seed {SEED}");
    session.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_cut_ends_a_session_at_both_ends_and_the_client_comes_back_when_it_is_healed() {
    let chaos = Chaos::new(memory("long cut"), SEED);
    chaos.set(Direction::Both, mobile());
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let namespace = |who: &'static str| {
        let (ended, began) = (ended.clone(), began.clone());
        Namespace::new("/")
            .on("echo", |Data(number): Data<u32>| async move { number })
            .on_connect(move || {
                began.send(who).unwrap();
                async {}
            })
            .on_disconnect(move |reason: DisconnectReason| {
                ended.send((who, reason)).unwrap();
                async {}
            })
    };
    // What is tested is the end: with a window the session would wait for its client.
    let mut config = Config::default();
    config.resume_window = Duration::ZERO;
    let server = Server::with_config(config).mount(namespace("server")).unwrap();
    server.listen(chaos.clone()).await.unwrap();
    let client = Client::new(memory("long cut")).mount(namespace("client"));
    let session = client.connect().await.unwrap();
    let mut who = [begins.recv().await.unwrap(), begins.recv().await.unwrap()];
    who.sort_unstable();
    assert_eq!(who, ["client", "server"]);

    chaos.cut(Direction::Both);
    let cut_at = Instant::now();
    let mut reasons = [within(ends.recv()).await.unwrap(), within(ends.recv()).await.unwrap()];
    reasons.sort_unstable_by_key(|(who, _)| *who);
    let expected = ["client", "server"].map(|who| (who, DisconnectReason::HeartbeatTimeout));
    assert_eq!(reasons, expected, "seed {SEED}");
    let liveness_timeout = Config::default().liveness_timeout;
    assert!(cut_at.elapsed() > liveness_timeout - ms(5000));
    assert!(cut_at.elapsed() < liveness_timeout + ms(5000));
    assert!(!session.is_connected());
    // A minute of attempts in vain.
    assert!(timeout(ms(60_000), begins.recv()).await.is_err());

    chaos.heal(Direction::Both);
    let mut who = [within(begins.recv()).await.unwrap(), within(begins.recv()).await.unwrap()];
    who.sort_unstable();
    assert_eq!(who, ["client", "server"], "seed {SEED}");
    let socket = session.of("/").unwrap();
    let answer: u32 = within(socket.emit("echo", &7).ack().into_future()).await.unwrap();
    assert_eq!(answer, 7);
    session.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_begin_on_a_lossy_wire_as_long_as_nothing_repairs_it() {
    let chaos = Chaos::new(memory("needs arq"), SEED).lossy(1200);
    let _listener = chaos.bind().await.unwrap();
    let error = Client::new(chaos.clone()).connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::NeedsArq), "{error:?}");
}
