//! What the seams for layers cost whoever has none: no allocation. Figures are of one thread, which
//! also writes what it emits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/mod.rs"]
mod support;

use allocation_counter::measure;
use emitwire::{Layers, Namespace, Server, Session, Socket};
use std::future::IntoFuture;
use support::{at_once, becomes, connect, fresh_mem, listen, poll_once, within};
use tower::util::MapRequestLayer;

/// What an emit took before there were layers, and one that waits for its answer. Whoever makes it
/// less changes the figures; more of them are a matter of every event.
const EMIT: u64 = 6;
const ACK: u64 = 8;

/// A server whose namespace has these layers, with so many clients.
async fn crowd(layers: &Layers, count: usize) -> (Server, Vec<Session>) {
    let say = || Namespace::new("/").on("say", async || ());
    let server = Server::new().mount(say().layers(layers.clone())).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(connect(&url, say().layers(layers.clone())).await);
    }
    becomes(|| server.stats().sockets, count as u64).await;
    (server, sessions)
}

fn transparent() -> Layers {
    Layers::new().outbound(MapRequestLayer::new(|envelope| envelope))
}

/// The fewest of many measurements: what grows now and then is not the emit's.
async fn fewest(mut what: impl AsyncFnMut() -> u64) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..50 {
        fewest = fewest.min(what().await);
        tokio::task::yield_now().await;
    }
    fewest
}

async fn emit(socket: &Socket) -> u64 {
    let body = "x".repeat(64);
    fewest(async || {
        measure(|| at_once(socket.emit("say", &*body).into_future()).unwrap()).count_total
    })
    .await
}

async fn ask(socket: &Socket) -> u64 {
    let body = "x".repeat(64);
    fewest(async || {
        let mut asked = None;
        let asks = || {
            let mut answering = socket.emit("say", &*body).ack::<()>().into_future();
            assert!(poll_once(&mut answering).is_pending());
            asked = Some(answering);
        };
        let count = measure(asks).count_total;
        within(asked.unwrap()).await.unwrap();
        count
    })
    .await
}

async fn broadcast(server: &Server) -> u64 {
    let (everyone, body) = (server.of("/"), "x".repeat(64));
    fewest(async || {
        measure(|| {
            at_once(everyone.emit("say", &*body).into_future()).unwrap();
        })
        .count_total
    })
    .await
}

async fn broadcast_for_answers(server: &Server) -> u64 {
    let (everyone, body) = (server.of("/"), "x".repeat(64));
    fewest(async || {
        let mut asked = None;
        let asks = || asked = Some(at_once(everyone.emit("say", &*body).ack::<()>().into_future()));
        let count = measure(asks).count_total;
        within(asked.unwrap().unwrap().all()).await;
        count
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn an_emit_without_layers_allocates_nothing_for_them() {
    let (_server, sessions) = crowd(&Layers::new(), 1).await;
    let socket = sessions[0].of("/").unwrap();
    let counts = (emit(&socket).await, ask(&socket).await);
    println!("an emit {}, one with an answer {}", counts.0, counts.1);
    assert_eq!(counts, (EMIT, ACK));
}

#[tokio::test(start_paused = true)]
async fn layers_cost_a_broadcast_the_same_for_many_members_as_for_few() {
    let (bare, layered) = (Layers::new(), transparent());
    let mut costs = Vec::new();
    for members in [10, 110] {
        let (server, _sessions) = crowd(&bare, members).await;
        let without = [broadcast(&server).await, broadcast_for_answers(&server).await];
        let (server, _sessions) = crowd(&layered, members).await;
        let with = [broadcast(&server).await, broadcast_for_answers(&server).await];
        println!("{members} members: {without:?} without layers, {with:?} with one");
        costs.push([with[0] - without[0], with[1] - without[1]]);
    }
    assert_eq!(costs[0], costs[1]);
}
