//! Ends in odd places: under a drain, in a panic, at the end of a thread.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use emitwire::{Client, Config, DisconnectReason, Namespace, Server, Session, Socket};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{becomes, endpoint, fresh_mem, listen, sockets, within};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_sees_the_last_hook_of_a_socket_that_has_just_left() {
    for _ in 0..200 {
        let leaves = Namespace::new("/a").on_disconnect(tokio::task::yield_now);
        let server = Server::new().mount(leaves).unwrap().mount(Namespace::new("/b")).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let client = Client::new(endpoint(&url)).reconnect(false);
            let client = client.mount(Namespace::new("/a")).mount(Namespace::new("/b"));
            sessions.push(within(client.connect()).await.unwrap());
        }
        for session in &sessions {
            session.of("/a").unwrap().disconnect("");
        }
        let began = Instant::now();
        within(server.run_until(async {})).await;
        for session in &sessions {
            assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
        }
        assert!(began.elapsed() < Duration::from_secs(3), "it waited for a heartbeat");
    }
}

#[tokio::test]
async fn a_client_whose_credentials_panic_on_the_way_back_ends() {
    let mut config = Config::default();
    config.drain_spread = Duration::from_millis(1);
    let server = Server::with_config(config).mount(Namespace::new("/")).unwrap();
    let tcp = listen(&server, "tcp://127.0.0.1:0").await;
    let asked = AtomicU64::new(0);
    let client =
        Client::new(endpoint(tcp.endpoint())).mount(Namespace::new("/")).auth_with(move || {
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => ready(Ok::<_, Infallible>("let me in")),
                _ => panic!("the password was forgotten on purpose"),
            }
        });
    let session = within(client.connect()).await.unwrap();
    within(server.run_until(async {})).await;
    assert_eq!(within(session.ended()).await, DisconnectReason::Moved);
    within(session.close()).await;
}

#[tokio::test]
async fn a_socket_that_has_left_hears_nothing_while_its_last_handler_runs_on() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on("stuck", move |socket: Socket| {
        begin.send(socket).unwrap();
        std::future::pending::<()>()
    });
    let mut config = Config::default();
    config.disconnect_grace = Duration::from_secs(3600);
    let server = Server::with_config(config).mount(namespace).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let client = Client::new(endpoint(&url)).mount(Namespace::new("/"));
    let session = within(client.connect()).await.unwrap();
    within(session.of("/").unwrap().emit("stuck", &())).await.unwrap();
    let socket = within(begun.recv()).await.unwrap();
    assert_eq!(server.of("/").emit("news", &()).await.unwrap().accepted, 1);
    socket.disconnect("");
    becomes(|| sockets(&server.of("/")).len(), 0).await;
    assert_eq!(server.of("/").emit("news", &()).await.unwrap().accepted, 0);
}

/// Set in the process that may abort.
const CHILD: &str = "EMITWIRE_TEST_THREAD_END";

thread_local! {
    static KEPT: RefCell<Option<(Runtime, Session, Server)>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_may_end_with_a_session_in_its_hands() {
    if std::env::var_os(CHILD).is_none() {
        // An abort would take this test along, so it happens elsewhere.
        let name = "a_thread_may_end_with_a_session_in_its_hands";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let thread = std::thread::spawn(|| {
        // First here, so last to go: everything of the thread's that is younger is gone by then.
        KEPT.with_borrow_mut(|_| ());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (session, server) = runtime.block_on(async {
            let server = Server::new().mount(Namespace::new("/")).unwrap();
            let tcp = listen(&server, "tcp://127.0.0.1:0").await;
            let client = Client::new(endpoint(tcp.endpoint())).mount(Namespace::new("/"));
            (within(client.connect()).await.unwrap(), server)
        });
        KEPT.with_borrow_mut(|kept| *kept = Some((runtime, session, server)));
    });
    thread.join().unwrap();
}
