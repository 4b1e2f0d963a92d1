//! The chat example as people use it: processes that are typed into and killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/example.rs"]
mod example;

use emitwire::{Client, Endpoint, Namespace};
use example::example;
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{process, thread};

/// No wait of these tests is longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The chat in a process of its own, which does not outlive its test.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it prints, line by line; both its outputs.
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Chat {
    fn run(arguments: &[&str]) -> Self {
        let mut child = Command::new(example("chat").unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new() }
    }

    /// A server on these URLs, and the URLs at which it is found.
    fn serve(urls: &[&str]) -> (Self, Vec<String>) {
        let mut server = Self::run(&[&["serve"], urls].concat());
        let mut listening = || server.sees("listening on ").replace("listening on ", "");
        let bound = urls.iter().map(|_| listening()).collect();
        (server, bound)
    }

    fn join(url: &str, name: &str) -> Self {
        let mut guest = Self::run(&["join", url, name]);
        guest.sees(&format!("* welcome, {name}: "));
        guest
    }

    fn types(&mut self, line: impl AsRef<[u8]>) {
        let line = [line.as_ref(), b"\n"].concat();
        self.stdin.as_ref().unwrap().write_all(&line).unwrap();
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let deadline = Instant::now() + DEADLINE;
        while signal == "-STOP" && !self.stands_still() {
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::yield_now();
        }
    }

    /// Whether none of its threads runs any more, where the system tells: the signal is sent before
    /// they stop.
    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let mut threads = threads.into_iter().flatten().flatten();
        threads.all(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status"));
            status.is_ok_and(|status| status.contains("State:\tT"))
        })
    }

    /// Waits for a line that has this in it.
    #[track_caller]
    fn sees(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no `{wanted}`: {error}, but {:#?}", self.seen),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(wanted)) {
                return line.clone();
            }
        }
    }

    /// Waits for its end, which closes its outputs.
    #[track_caller]
    fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it goes on: {:#?}", self.seen),
            }
        }
    }

    fn quit(mut self) {
        self.types("/quit");
        assert_eq!(self.ends().code(), Some(0), "{:#?}", self.seen);
    }

    /// Ends it without a word, and the connections with it.
    fn die(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended; if not, this is a test that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let sent = |line| lines.send(line).is_ok();
        BufReader::new(output).lines().map_while(Result::ok).all(sent)
    });
}

/// Where nobody else listens or connects, so that a port that was free for a moment is still free.
fn host() -> String {
    let [.., low, high] = process::id().to_be_bytes().map(|byte| byte.max(1));
    // Other systems have only this one.
    if cfg!(target_os = "linux") { format!("127.77.{low}.{high}") } else { "127.0.0.1".to_owned() }
}

/// The wires of the two that talk: different ones, if there are two.
fn wires() -> [&'static str; 2] {
    let has = |scheme| emitwire::schemes().any(|known| known == scheme);
    if has("ws") { ["tcp", "ws"] } else { ["tcp", "tcp"] }
}

#[test]
fn those_who_chat_find_each_other_again_when_their_server_was_killed() {
    let [one, other] = wires();
    let any = [one, other].map(|scheme| format!("{scheme}://{}:0", host()));
    let (server, urls) = Chat::serve(&[&any[0], &any[1]]);
    let mut ada = Chat::join(&urls[0], "Ada");
    let mut bo = Chat::join(&urls[1], "Bo");
    ada.sees("* Bo came");
    ada.types("hello");
    assert_eq!(bo.sees("hello"), "Ada: hello");
    bo.types("hi");
    assert_eq!(ada.sees("hi"), "Bo: hi");

    let mut impostor = Chat::run(&["join", &urls[1], "Ada"]);
    assert_eq!(impostor.ends().code(), Some(1));
    assert_eq!(impostor.seen, ["chat: the name Ada is taken"]);

    ada.types("/who");
    ada.sees(&format!("Ada is in lobby, by {one}"));
    ada.sees(&format!("Bo is in lobby, by {other}"));
    ada.types("/join tea");
    ada.sees("* you are in tea, with nobody else");
    bo.sees("* Ada went to tea");
    ada.types("is anybody here?");
    ada.sees("* nobody else is here");
    ada.types("/to Bo over here");
    assert_eq!(bo.sees("over here"), "Ada, to you alone: over here");
    ada.types("/to Cy over here");
    ada.sees("nobody here is called Cy");
    bo.types("/join tea");
    bo.sees("* you are in tea, with Ada");
    ada.sees("* Bo came from lobby");

    server.die();
    ada.sees("* the server cannot be reached");
    bo.sees("* the server cannot be reached");
    ada.types("can you hear me?");
    let (_server, again) = Chat::serve(&[&urls[0], &urls[1]]);
    assert_eq!(again, urls);
    // The new one knows of no session before it, and of nothing that waited in one.
    bo.sees("* the server is gone");
    ada.sees("* back, Ada: you are in tea");
    assert!(ada.seen.iter().any(|line| line.contains("* the server is gone")), "{:#?}", ada.seen);
    let fate = ada.seen.iter().find(|line| line.starts_with("! `can you hear me?`: "));
    assert!(fate.is_some_and(|fate| fate.contains("not heard")), "{:#?}", ada.seen);
    bo.sees("* back, Bo: you are in tea");
    bo.types("there you are");
    assert_eq!(ada.sees("there you are"), "Bo: there you are");
    ada.types("here I am");
    assert_eq!(bo.sees("here I am"), "Ada: here I am");

    assert!(!ada.seen.iter().any(|line| line.starts_with("Ada: ")), "{:#?}", ada.seen);
    ada.quit();
    bo.sees("* Ada left");
    drop(bo.stdin.take());
    assert_eq!(bo.ends().code(), Some(0), "the end of the input is the end");
    assert!(!bo.seen.iter().any(|line| line.contains("can you hear me?")), "{:#?}", bo.seen);
}

/// What a guest says first.
#[derive(Serialize)]
struct Card<'a> {
    name: &'a str,
    room: &'a str,
    before: &'a [&'a str],
}

/// A guest with a program of its own, which says whatever it likes.
#[tokio::main(flavor = "current_thread")]
async fn intrude(url: &str, name: &str, says: &[&str]) {
    let client = Client::new(Endpoint::new(url).unwrap()).mount(Namespace::new("/chat"));
    let session = client.connect().await.unwrap();
    let socket = session.of("/chat").unwrap();
    let card = Card { name, room: "lobby", before: &[] };
    socket.emit("enter", &card).ack::<Vec<String>>().await.unwrap();
    for says in says {
        assert_eq!(socket.emit("say", says).ack::<usize>().await.unwrap(), 1);
    }
    session.close().await;
}

#[test]
fn a_guest_cannot_write_the_lines_of_others() {
    let (mut server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut ada = Chat::join(&urls[0], "Ada");
    let forged = "hi\n* Bo left\r\u{2028}Bo, to you alone: come\u{1b}[2K \u{202e}nearer\u{2069}";
    intrude(&urls[0], "Mallory", &[forged, "\u{85}", "that was all"]);
    assert_eq!(
        ada.sees("Mallory: hi"),
        "Mallory: hi * Bo left  Bo, to you alone: come [2K  nearer "
    );
    assert_eq!(ada.sees("Mallory: "), "Mallory:  ");
    assert_eq!(ada.sees("Mallory: "), "Mallory: that was all");
    ada.sees("* Mallory left");
    assert_eq!(ada.seen.len(), 6, "{:#?}", ada.seen);

    // A refusal repeats what was typed, and the server has its own screen.
    ada.types("/to Bo\u{202e} hello");
    ada.sees(": nobody here is called Bo ");
    assert_eq!(server.sees("Mallory left"), "lobby: Mallory left, by tcp");
}

#[test]
fn what_is_typed_is_sent_or_refused_whatever_it_is() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut bo = Chat::join(&urls[0], "Bo");
    let mut ada = Chat::join(&urls[0], "Ada");
    ada.types(b"a caf\xe9");
    assert_eq!(bo.sees("a caf"), "Ada: a caf\u{fffd}");
    ada.types("/to  Bo a blank");
    assert_eq!(bo.sees("a blank"), "Ada, to you alone: a blank");
    ada.types("x".repeat(1024 * 1024));
    let refusal = ada.sees("not sent");
    assert!(refusal.starts_with(&format!("! `{}`: not sent", "x".repeat(60))), "{refusal}");
    // Where one is, one neither goes to nor comes from.
    for stay in ["/leave", "/join lobby", "/join  lobby"] {
        ada.types(stay);
        ada.sees("* you are in lobby, with Bo");
    }
    ada.types("still here");
    assert_eq!(bo.sees("still here"), "Ada: still here");
    assert!(!bo.seen.iter().any(|line| line.contains("lobby") && line.contains("Ada")));
    ada.quit();
}

#[test]
fn whoever_waits_for_an_answer_may_quit_and_what_was_typed_is_on_its_way() {
    if !cfg!(unix) {
        return; // elsewhere nobody can be made to stand still
    }
    let (server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut ada = Chat::join(&urls[0], "Ada");
    let mut bo = Chat::join(&urls[0], "Bo");
    server.signal("-STOP");
    ada.types("are you there?");
    ada.types("/quit");
    assert_eq!(ada.ends().code(), Some(0), "{:#?}", ada.seen);
    // It did not wait until it knew.
    assert_eq!(ada.seen.last().unwrap(), "! gone before everything was answered");
    server.signal("-CONT");
    assert_eq!(bo.sees("are you there?"), "Ada: are you there?");
    bo.sees("* Ada left");
}

#[test]
fn all_that_was_typed_is_said_before_the_end_of_the_input_is_the_end() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut bo = Chat::join(&urls[0], "Bo");
    let mut cy = Chat::join(&urls[0], "Cy");
    for number in 1..=300 {
        cy.types(format!("{number} of 300"));
    }
    drop(cy.stdin.take());
    assert_eq!(cy.ends().code(), Some(0), "{:#?}", cy.seen);
    for number in 1..=300 {
        assert_eq!(bo.sees(" of 300"), format!("Cy: {number} of 300"));
    }
}

#[test]
fn a_server_that_is_interrupted_tells_its_guests_and_ends_well() {
    if !cfg!(unix) {
        return; // elsewhere there is no Ctrl-C for one process alone
    }
    let (mut server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut ada = Chat::join(&urls[0], "Ada");
    server.signal("-INT");
    assert_eq!(server.ends().code(), Some(0), "{:#?}", server.seen);
    ada.sees("* the server is gone (the server is draining), trying again");
    ada.quit();
}

#[test]
fn a_guest_is_back_before_the_end_of_its_last_connection_is_noticed_and_has_missed_nothing() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let (relay, cut) = relay(urls[0].trim_start_matches("tcp://"));
    let mut bo = Chat::join(&urls[0], "Bo");
    let mut ada = Chat::join(&relay, "Ada");
    bo.sees("* Ada came");
    cut.send(()).unwrap();
    ada.sees("* the server cannot be reached (the link was lost), trying again");
    bo.types("are you still there?");
    ada.types("where was I?");
    // Nobody else notices, for the server has one socket of Ada all the time.
    assert_eq!(bo.sees("where was I?"), "Ada: where was I?");
    while !ada.seen.iter().any(|line| line == "Bo: are you still there?") {
        ada.sees("");
    }
    while !ada.seen.iter().any(|line| line == "* back, and nothing was missed") {
        ada.sees("");
    }
    ada.quit();
    bo.sees("* Ada left");
    let expected = ["* Ada came", "Ada: where was I?", "* Ada left"];
    assert_eq!(bo.seen[bo.seen.len() - 3..], expected, "{:#?}", bo.seen);
}

/// As a client does whose session is over here, and not yet at its server.
#[tokio::main(flavor = "current_thread")]
async fn enter_twice(url: &str, name: &str) {
    let connect = || {
        let client = Client::new(Endpoint::new(url).unwrap()).mount(Namespace::new("/chat"));
        client.connect()
    };
    let first = connect().await.unwrap();
    let socket = first.of("/chat").unwrap();
    let card = Card { name, room: "lobby", before: &[] };
    socket.emit("enter", &card).ack::<Vec<String>>().await.unwrap();
    let second = connect().await.unwrap();
    let card = Card { name, room: "lobby", before: &[&socket.id().to_string()] };
    let again = second.of("/chat").unwrap();
    again.emit("enter", &card).ack::<Vec<String>>().await.unwrap();
    socket.closed().await;
    second.close().await;
}

#[test]
fn a_guest_with_a_new_session_takes_the_place_of_its_last_one() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut bo = Chat::join(&urls[0], "Bo");
    enter_twice(&urls[0], "Ada");
    bo.sees("* Ada left");
    let expected = ["* Ada came", "* Ada is back", "* Ada left"];
    assert_eq!(bo.seen[bo.seen.len() - 3..], expected, "{:#?}", bo.seen);
}

/// Stands between clients and a server. When told so it drops what it has with the client and
/// keeps what it has with the server, as a network does.
fn relay(server: &str) -> (String, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (cut, told) = mpsc::channel();
    let server = server.to_owned();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(&server).unwrap();
            pipe(&client, &upstream);
            pipe(&upstream, &client);
            // The server is to see no end.
            kept.push(upstream);
            // After the first cut there is nobody to tell of another.
            if told.recv().is_ok() {
                client.shutdown(Shutdown::Both).unwrap();
            }
        }
    });
    (url, cut)
}

fn pipe(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut from, &mut to));
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let nobody = format!("tcp://{}:1", host());
    for (arguments, said) in [
        (vec!["serve", &urls[0]], "is in use"),
        (vec!["serve", "tcp://nowhere"], "expected tcp://HOST:PORT"),
        (vec!["join", "pigeon://roof", "Ada"], "no wire has the scheme `pigeon://`"),
        (vec!["join", "roof", "Ada"], "`roof` is no URL"),
        (vec!["join", &nobody, "Ada"], "cannot reach"),
        (vec!["join", &urls[0], "A d a"], "`A d a` is no name"),
    ] {
        let mut chat = Chat::run(&arguments);
        assert_eq!(chat.ends().code(), Some(1), "{:#?}", chat.seen);
        assert_eq!(chat.seen.len(), 1, "{:#?}", chat.seen);
        assert!(
            chat.seen[0].starts_with("chat: ") && chat.seen[0].contains(said),
            "{:#?}",
            chat.seen
        );
    }
    for (arguments, code) in [(&[][..], 2), (&["serve"], 2), (&["join", "x"], 2), (&["--help"], 0)]
    {
        let mut chat = Chat::run(arguments);
        assert_eq!(chat.ends().code(), Some(code));
        assert!(chat.seen[0].starts_with("usage: chat serve URL..."), "{:#?}", chat.seen);
    }
}
