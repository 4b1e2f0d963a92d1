//! Many clients at a server that is busy, for ten minutes of its time.

use crate::support::{becomes, endpoint, fresh_mem, listen, within};
use emitwire::middleware::{RequireAck, Retry};
use emitwire::{Client, Layers, Namespace, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;

const CLIENTS: u64 = 20;
const MINUTES_10: Duration = Duration::from_secs(600);

/// How often a client has something to say.
const PACE: Duration = Duration::from_millis(400);

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_ten_minutes_hears_no_more_than_a_tenth_more_of_it() {
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    // It has time for two events in a second, and is told fifty.
    let busy = Layers::new().inbound(LoadShedLayer::new()).inbound(ConcurrencyLimitLayer::new(1));
    // No event waits behind another of its own socket: who is too many is told so at once.
    let namespace = Namespace::new("/").layers(busy).concurrent(64).on("work", move || {
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500))
    });
    let server = Server::new().mount(namespace).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (url, retry) = (url.clone(), Retry::new());
        clients.push(tokio::spawn(async move {
            let layers = Layers::new().and(retry.clone());
            let layers = layers.and(RequireAck::handled(Duration::from_secs(5)));
            let client = Client::new(endpoint(&url)).layers(layers).mount(Namespace::new("/"));
            let session = within(client.connect()).await.unwrap();
            let socket = session.of("/").unwrap();
            let (mut pace, mut emitted) = (tokio::time::interval(PACE), 0);
            let (began, mut emits) = (tokio::time::Instant::now(), tokio::task::JoinSet::new());
            while began.elapsed() < MINUTES_10 {
                pace.tick().await;
                let socket = socket.clone();
                emits.spawn(async move { socket.emit("work", &()).await.is_ok() });
                emitted += 1;
            }
            let well = emits.join_all().await.into_iter().filter(|is_ok| *is_ok).count() as u64;
            let stats = session.stats();
            assert_eq!(stats.events_out, emitted + retry.stats().repeated);
            (emitted, well)
        }));
    }
    let (mut emitted, mut well) = (0, 0);
    for client in clients {
        let (one, handled) = client.await.unwrap();
        (emitted, well) = (emitted + one, well + handled);
    }
    becomes(|| server.stats().handled, handled.load(Ordering::Relaxed)).await;
    let heard = server.stats().events_in;
    assert!(emitted >= 29_000 && heard > emitted, "{heard} of {emitted}");
    assert!(heard <= emitted + emitted / 10, "{heard} for {emitted}");
    // What its server has done, its emitter knows of; the others know that theirs was not.
    assert_eq!(well, handled.load(Ordering::Relaxed));
}
