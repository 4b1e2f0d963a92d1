//! Peers in other languages, over stock WebSocket libraries, from docs/PROTOCOL.md alone.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use emitwire::{AckError, Data, DisconnectReason, Namespace, Refusal, Server, Socket};
use std::env;
use std::process::{Command, Output};
use support::{becomes, listen, within};
use tokio::sync::mpsc;

/// What the client needs is got by this; `cargo xtask test` sees to it that CI does not go without.
const PYTHON_NEEDS: &str = "cargo xtask setup --system && cargo xtask test";

/// Which python has what the client needs; a virtual environment can be named.
fn python() -> Option<String> {
    let python = env::var("EMITWIRE_PYTHON").unwrap_or_else(|_| "python3".into());
    let asked = Command::new(&python).args(["-c", "import websockets, msgpack"]).output();
    let has_all = asked.is_ok_and(|asked| asked.status.success());
    assert!(has_all || env::var_os("EMITWIRE_PYTHON").is_none(), "{python} lacks the libraries");
    has_all.then_some(python)
}

fn chat(heard: mpsc::UnboundedSender<DisconnectReason>) -> Namespace {
    Namespace::new("/chat")
        .on_connect(|socket: Socket| async move { socket.join("lobby").await })
        .on("say", |socket: Socket, Data(text): Data<String>| async move {
            socket.within("lobby").emit("said", &text).await?;
            Ok::<_, AckError>(text.len())
        })
        // The peer answers later, so that is not to be waited for here.
        .on("ask me", |socket: Socket| async move { drop(tokio::spawn(ask(socket))) })
        .on("forbidden", || async { Err::<(), _>(Refusal::with("not you")) })
        .on_disconnect(move |reason: DisconnectReason| {
            drop(heard.send(reason));
            async {}
        })
}

async fn ask(socket: Socket) {
    let answer: u64 = within(socket.emit("ask", &21).ack()).await.unwrap();
    within(socket.emit("thanks", &answer)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_speaks_the_protocol_over_a_stock_websocket() {
    let Some(python) = python() else {
        println!("skipped, python3 has no websockets or msgpack: {PYTHON_NEEDS}");
        return;
    };
    let (heard, mut ended) = mpsc::unbounded_channel();
    let server = Server::new().mount(chat(heard)).unwrap();
    let url = listen(&server, "ws://127.0.0.1:0").await.endpoint().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/python_client.py");
    let running = tokio::task::spawn_blocking(move || {
        Command::new(python).args([script, &url]).output().unwrap()
    });
    let Output { status, stdout, stderr } = running.await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let expected = [
        "joined",
        "heard hello from python",
        "answer 17",
        "rejected not you",
        "pong",
        "thanks 42",
        "closed 1000",
    ];
    assert_eq!(lines, expected);
    assert_eq!(within(ended.recv()).await, Some(DisconnectReason::DismissedByPeer("bye".into())));
    becomes(|| server.stats().sessions, 0).await;
    assert_eq!(server.stats().protocol_errors, 0);
}
