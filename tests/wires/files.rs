//! Sockets that are files: those that a killed server has left, those of others, and who is there.

use super::heard::{Heard, count_to};
use super::support::{all, becomes, endpoint, fresh};
use super::{come_in, listen, within};
use emitwire::{ConnectRequest, Namespace, Outcome, Process, Server, Socket};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Where the process of [`server`] is to listen.
const PLACE: &str = "EMITWIRE_WIRES_PLACE";

/// What it says when it does.
const READY: &str = "it listens";

fn path(url: &str) -> &Path {
    Path::new(url.strip_prefix("unix://").unwrap())
}

/// The server process, until it is killed. When nobody has told it where to listen, it is one of
/// many tests, and there is nothing to do.
#[tokio::test]
async fn server() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let server = Server::new().mount(Heard::default().keep()).unwrap();
    listen(&server, endpoint(&place)).await;
    println!("{READY}");
    std::future::pending::<()>().await;
}

struct Running(Child);

impl Running {
    fn at(place: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "files::server", "--nocapture", "--test-threads=1"]);
        command.env(PLACE, place).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(READY)), "it did not listen");
        Self(child)
    }

    /// As a power cut would.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_listens_again_over_its_own_file_and_its_clients_come_back() {
    let place = fresh("unix");
    let mut running = Running::at(&place);
    let clients = (0..10).map(|_| Box::pin(come_in(endpoint(&place), Namespace::new("/"))));
    let sessions = all(clients).await;
    for _ in 0..2 {
        let before: Vec<_> = sessions.iter().map(emitwire::Session::id).collect();
        running.kill();
        assert!(fs::symlink_metadata(path(&place)).is_ok(), "its file is left behind");
        running = Running::at(&place);
        for (session, before) in sessions.iter().zip(before) {
            becomes(|| session.id() != before && session.of("/").is_ok(), true).await;
            assert_eq!(session.outcome(), Outcome::New);
            let socket = session.of("/").unwrap();
            assert_eq!(within(socket.emit("n", &1_u64).ack::<u64>()).await.unwrap(), 2);
        }
    }
    running.kill();
    for left in [place.clone(), format!("{place}.lock")] {
        fs::remove_file(path(&left)).unwrap();
    }
}

#[tokio::test]
async fn a_file_of_another_user_is_refused_and_its_owner_named() {
    let place = fresh("unix");
    drop(UnixListener::bind(path(&place)).unwrap());
    let other = fs::metadata(path(&place)).unwrap().uid() + 1000;
    if let Err(error) = chown(path(&place), Some(other), None) {
        println!("skipped: only root can give a file to another user: {error}");
        fs::remove_file(path(&place)).unwrap();
        return;
    }
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    let error = within(server.listen(endpoint(&place))).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {place}"));
    let source = error.source().unwrap().to_string();
    assert!(source.contains(&format!("user {other}")), "{source}");
    assert_eq!(fs::metadata(path(&place)).unwrap().uid(), other, "it is left as it was");
    // And the server is none the worse.
    let elsewhere = listen(&server, endpoint(&fresh("unix"))).await;
    within(come_in(endpoint(&elsewhere), Namespace::new("/")).await.close()).await;
    fs::remove_file(path(&place)).unwrap();
}

#[tokio::test]
async fn which_process_a_client_is_can_be_seen_before_it_is_let_in_and_after() {
    let seen = Arc::new(Mutex::new(Vec::<Option<Process>>::new()));
    let (asks, sees) = (Arc::clone(&seen), Arc::clone(&seen));
    let there = Heard::default();
    let namespace = there
        .keep()
        .authorize(move |request: ConnectRequest| {
            let process = request.peer().process();
            asks.lock().unwrap().push(process);
            async move {
                match process {
                    Some(process) if process.id == Some(std::process::id() as i32) => Ok(()),
                    _ => Err(std::io::Error::other("another process")),
                }
            }
        })
        .on_connect(move |socket: Socket| {
            sees.lock().unwrap().push(socket.peer().process());
            async {}
        });
    let server = Server::new().mount(namespace).unwrap();
    let url = listen(&server, endpoint(&fresh("unix"))).await;
    let session = come_in(endpoint(&url), Namespace::new("/")).await;
    let socket = session.of("/").unwrap();
    within(count_to(socket.clone(), 1)).await;
    becomes(|| there.count(), 1).await;
    let file = fs::metadata(path(&url)).unwrap();
    let id = Some(std::process::id() as i32);
    let expected = Some(Process::new(file.uid(), file.gid(), id));
    assert_eq!(*seen.lock().unwrap(), [expected, expected]);
    assert_eq!(socket.peer().process(), expected, "and the server is the same here");
}
