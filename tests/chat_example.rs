//! The chat example as people use it: processes that are typed into and killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/example.rs"]
mod example;

use example::example;
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

    fn types(&mut self, line: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "{line}").unwrap();
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
    ada.sees("* the server is gone");
    bo.sees("* the server is gone");
    ada.types("can you hear me?");
    ada.sees("! `can you hear me?`: not sent");
    let (_server, again) = Chat::serve(&[&urls[0], &urls[1]]);
    assert_eq!(again, urls);
    ada.sees("* back, Ada: you are in tea");
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

#[test]
fn a_server_that_is_interrupted_tells_its_guests_and_ends_well() {
    if !cfg!(unix) {
        return; // elsewhere there is no Ctrl-C for one process alone
    }
    let (mut server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let mut ada = Chat::join(&urls[0], "Ada");
    let interrupt = Command::new("kill").args(["-INT", &server.child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(server.ends().code(), Some(0), "{:#?}", server.seen);
    ada.sees("* the server is gone (the server is draining), trying again");
    ada.quit();
}

#[test]
fn a_guest_is_back_before_the_end_of_its_last_connection_is_noticed() {
    let (_server, urls) = Chat::serve(&[&format!("tcp://{}:0", host())]);
    let (relay, cut) = relay(urls[0].trim_start_matches("tcp://"));
    let mut bo = Chat::join(&urls[0], "Bo");
    let mut ada = Chat::join(&relay, "Ada");
    bo.sees("* Ada came");
    cut.send(()).unwrap();
    ada.sees("* the server is gone");
    ada.sees("* back, Ada: you are in lobby, with Bo");
    bo.sees("* Ada is back");
    ada.types("where was I?");
    assert_eq!(bo.sees("where was I?"), "Ada: where was I?");
    ada.quit();
    bo.sees("* Ada left");
    assert!(!bo.seen[..bo.seen.len() - 1].contains(&"* Ada left".to_owned()), "{:#?}", bo.seen);
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
