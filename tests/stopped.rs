//! Client processes that are stopped, killed and started again, by signals of the system, while
//! their server goes on talking to them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/mod.rs"]
mod support;

use emitwire::{Client, Config, Data, Missed, Namespace, Outcome, ResumeToken, Server, Socket};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{becomes, endpoint, within};

/// Where the process of [`client`] finds its server, and the session of the one before.
const SERVER: &str = "EMITWIRE_STOPPED_SERVER";
const TOKEN: &str = "EMITWIRE_STOPPED_TOKEN";

/// How often either end says something.
const PACE: Duration = Duration::from_millis(5);

/// Whoever is silent for a second is given up.
fn short_of_patience() -> Config {
    let mut config = Config::default();
    config.heartbeat_interval = Duration::from_millis(250);
    config.liveness_timeout = Duration::from_secs(1);
    config
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Whoever reads may be gone, and so will this process be.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The client process: it counts, and says what it hears, until it is killed. When nobody has told
/// it where its server is, it is one of many tests, and there is nothing to do.
#[tokio::test]
async fn client() {
    let Ok(server) = std::env::var(SERVER) else { return };
    say(format_args!(""));
    let namespace = Namespace::new("/")
        .on("n", |Data(value): Data<u64>| async move { say(format_args!("heard {value}")) })
        .on_gap(|missed: &Missed| say(format_args!("gap {}", missed.count)))
        .on_attach(|outcome: Outcome| async move { say(format_args!("attached {outcome:?}")) });
    let mut client = Client::new(endpoint(&server))
        .config(short_of_patience())
        .mount(namespace)
        .on_resume_token(|token| say(format_args!("token {token}")));
    if let Ok(token) = std::env::var(TOKEN) {
        client = client.resume_with(token.parse().unwrap());
    }
    let session = within(client.connect()).await.unwrap();
    say(format_args!("outcome {:?}", session.outcome()));
    let socket = session.of("/").unwrap();
    let mut pace = tokio::time::interval(PACE);
    for value in 0_u64.. {
        pace.tick().await;
        socket.emit("n", &value).await.unwrap();
    }
}

/// A server that counts too, and the process of its client.
struct Stage {
    server: Server,
    url: String,
    heard: Arc<Mutex<Vec<u64>>>,
}

/// What a client process says, by the first word of its lines.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Stage {
    async fn new(scheme: &str) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let namespace = Namespace::new("/").on("n", move |Data(value): Data<u64>| {
            hears.lock().unwrap().push(value);
            async {}
        });
        let server = Server::with_config(short_of_patience()).mount(namespace).unwrap();
        let listening = support::listen(&server, &support::fresh(scheme)).await;
        Self { server, url: listening.endpoint().to_owned(), heard }
    }

    fn start(&self, token: Option<&ResumeToken>) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "client", "--nocapture", "--test-threads=1"]);
        command.env(SERVER, &self.url).stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs(support::trust());
        if let Some(token) = token {
            command.env(TOKEN, token.to_string());
        }
        let mut child = command.spawn().unwrap();
        let (said, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            let _ = lines.into_iter().try_for_each(|line| said.send(line));
        });
        Process { child, lines }
    }

    async fn socket(&self) -> Socket {
        becomes(|| self.server.stats().sockets, 1).await;
        let id = support::sockets(&self.server.of("/"))[0];
        self.server.socket("/", id).unwrap()
    }

    /// Numbers from here on, at the pace of this test, until `enough`.
    async fn count(&self, next: &mut u64, mut enough: impl FnMut(u64) -> bool) {
        let mut pace = tokio::time::interval(PACE);
        let began = Instant::now();
        while !enough(*next) {
            assert!(began.elapsed() < support::DEADLINE, "{:?}", self.server.stats());
            pace.tick().await;
            self.server.of("/").emit("n", next).await.unwrap();
            *next += 1;
        }
    }
}

impl Process {
    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Ends it as a power cut would, and gives all that it has said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The wires to other processes.
fn wires() -> impl Iterator<Item = &'static str> {
    support::wires().into_iter().filter(|scheme| *scheme != "mem")
}

/// What stands behind this word.
fn behind<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

fn numbers(lines: &[String]) -> Vec<u64> {
    behind(lines, "heard").iter().map(|number| number.parse().unwrap()).collect()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_for_longer_than_anybody_waits_misses_nothing() {
    for wire in wires() {
        stop_twice(Stage::new(wire).await).await;
    }
}

#[cfg(unix)]
async fn stop_twice(stage: Stage) {
    let process = stage.start(None);
    let far = stage.socket().await;
    let mut next = 0;
    let heard = || stage.heard.lock().unwrap().len();
    for stops in 1..=2 {
        let before = heard();
        stage.count(&mut next, |_| heard() >= before + 20).await;
        process.signal("STOP");
        stage.count(&mut next, |_| !far.is_attached()).await;
        let given_up = next;
        stage.count(&mut next, |next| next >= given_up + 50).await;
        process.signal("CONT");
        stage.count(&mut next, |_| far.is_attached()).await;
        assert_eq!(stage.server.stats().silent_peers, stops);
    }
    let before = heard();
    becomes(|| heard() >= before + 20, true).await;
    becomes(|| stage.server.stats().waiting, 0).await;
    far.emit("n", &next).received().await.unwrap();
    let lines = process.kill();
    assert!(numbers(&lines).into_iter().eq(0..=next), "{:?}", numbers(&lines));
    assert_eq!(behind(&lines, "attached"), ["Resumed", "Resumed"]);
    assert!(behind(&lines, "gap").is_empty());
    let heard = stage.heard.lock().unwrap().clone();
    assert!(heard.iter().copied().eq(0..heard.len() as u64), "{heard:?}");
    let stats = stage.server.stats();
    assert_eq!((stats.sessions, stats.resumed), (1, 2));
}

#[cfg(not(unix))]
#[test]
fn nobody_can_stop_a_process_here() {
    println!("skipped: there is no SIGSTOP on this system");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_and_started_again_goes_on_with_what_was_not_confirmed() {
    for wire in wires() {
        kill_and_start_again(Stage::new(wire).await).await;
    }
}

async fn kill_and_start_again(stage: Stage) {
    let first = stage.start(None);
    let far = stage.socket().await;
    let mut next = 0;
    let heard = || stage.heard.lock().unwrap().len();
    stage.count(&mut next, |_| heard() >= 20).await;
    far.emit("n", &next).received().await.unwrap();
    let confirmed = next;
    next += 1;
    let lines = first.kill();
    stage.count(&mut next, |_| !far.is_attached()).await;
    let token = behind(&lines, "token").last().unwrap().parse().unwrap();
    let before = heard();
    let second = stage.start(Some(&token));
    stage.count(&mut next, |_| heard() >= before + 20).await;
    far.emit("n", &next).received().await.unwrap();
    let lines_again = second.kill();
    assert_eq!(behind(&lines_again, "outcome"), ["Resumed"]);
    // What it had heard and not confirmed comes again: the new process does not know of it.
    let (old, new) = (numbers(&lines), numbers(&lines_again));
    assert!(old.iter().copied().eq(0..old.len() as u64), "{old:?}");
    assert!(new[0] > confirmed && new[0] <= old.len() as u64, "{} of {}", new[0], old.len());
    assert!(new.iter().copied().eq(new[0]..=next), "{new:?}");
    // What the old one had said arrived but for the end, and the new one counts anew.
    let heard = stage.heard.lock().unwrap().clone();
    let (old, new) = heard.split_at(before);
    assert!(
        old.iter().copied().eq(0..before as u64) && new.iter().copied().eq(0..new.len() as u64)
    );
    assert_eq!(stage.server.stats().sessions, 1);
}
