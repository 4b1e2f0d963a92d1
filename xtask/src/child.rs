//! Runs one command to its end or to its limit, with its output in one piece.
//!
//! Two threads drain the child's streams, so it can never block on a full pipe; a child over its
//! limit is ended together with everything it started, found by parent ids and ended by id.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::family;

pub(crate) struct Outcome {
    /// Why it did not succeed, as the end of "the command …"; `None` when it did.
    pub(crate) failure: Option<String>,
    /// Both streams in order of arrival, a line at a time.
    pub(crate) output: Vec<u8>,
}

/// Cargo itself, the one that runs this, in the folder `root`.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root);
    // `cargo run` described this very package to us. Handed on, that would reach build scripts
    // which watch these names, and they would run again after every plain `cargo`.
    for (name, _) in env::vars_os() {
        let known = name.to_string_lossy();
        if known.starts_with("CARGO_PKG_") || known.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// `tick` is called all the while with the time since the start; `live` also passes the output on.
pub(crate) fn run(
    mut command: Command,
    limit: Duration,
    live: bool,
    mut tick: impl FnMut(Duration),
) -> Outcome {
    let started = Instant::now();
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Output::default();
    let failure = match command.spawn() {
        Err(error) => Some(format!("could not be started: {error}")),
        Ok(mut child) => {
            let readers = [
                output.collect(child.stdout.take(), live),
                output.collect(child.stderr.take(), live),
            ];
            let failure = wait(&mut child, started, limit, &mut tick);
            drain(&readers);
            failure
        }
    };
    let output = output.lock().clone();
    Outcome { failure, output }
}

/// Whoever outlives the child (a compiler cache gone to the background, say) may hold its streams
/// open for ever, so what has not come soon after its end is not waited for.
fn drain(readers: &[Option<JoinHandle<()>>]) {
    let ended = Instant::now();
    let reading = || readers.iter().flatten().any(|it| !it.is_finished());
    while reading() && ended.elapsed() < GRACE {
        thread::sleep(POLL);
    }
}

fn wait(
    child: &mut Child,
    started: Instant,
    limit: Duration,
    tick: &mut impl FnMut(Duration),
) -> Option<String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return None,
            Ok(Some(status)) => return Some(format!("ended with {status}")),
            Ok(None) if started.elapsed() >= limit => {
                return Some(match family::end(child) {
                    Ok(()) => format!("was ended at its limit of {} s", limit.as_secs_f32()),
                    Err(error) => format!("is over its limit and cannot be ended: {error}"),
                });
            }
            Ok(None) => tick(started.elapsed()),
            Err(error) => return Some(format!("is lost: {error}")),
        }
        thread::sleep(POLL);
    }
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn collect<S>(&self, stream: Option<S>, live: bool) -> Option<JoinHandle<()>>
    where
        S: Read + Send + 'static,
    {
        let mut stream = BufReader::new(stream?);
        let output = self.clone();
        Some(thread::spawn(move || {
            let mut line = Vec::new();
            while read_line(&mut stream, &mut line).is_ok_and(|length| length > 0) {
                output.push(&line, live);
                line.clear();
            }
        }))
    }

    fn push(&self, line: &[u8], live: bool) {
        let mut output = self.lock();
        if live {
            // A terminal that went away is no reason to stop the child.
            let _ = io::stdout().write_all(line);
        }
        if output.len() < OUTPUT_BYTES_MAX {
            output.extend_from_slice(line);
            if output.len() >= OUTPUT_BYTES_MAX {
                output.extend_from_slice(b"\n(more output than is kept)\n");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_line(stream: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    stream.take(LINE_BYTES_MAX).read_until(b'\n', line)
}

const POLL: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(5);
const LINE_BYTES_MAX: u64 = 64 * 1024;
const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{GRACE, run};

    const LONG: Duration = Duration::from_secs(60);

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn both_streams_end_in_one_output() {
        let outcome = run(shell("echo out; echo err >&2"), LONG, false, |_| ());
        let output = String::from_utf8(outcome.output).unwrap();
        assert!(output.contains("out\n") && output.contains("err\n"), "{output}");
        assert_eq!(outcome.failure, None);
    }

    #[test]
    fn a_failure_names_the_status() {
        let outcome = run(shell("exit 3"), LONG, false, |_| ());
        assert_eq!(outcome.failure.as_deref(), Some("ended with exit status: 3"));
    }

    #[test]
    fn a_command_that_is_not_there_is_a_failure() {
        let outcome = run(Command::new("no-such-program"), LONG, false, |_| ());
        assert!(outcome.failure.unwrap().starts_with("could not be started"));
    }

    #[test]
    fn what_runs_too_long_is_ended_with_its_children() {
        let started = Instant::now();
        // The grandchild holds the streams: were it left alone, reading would last for GRACE.
        let outcome = run(shell("sleep 60 & wait"), Duration::from_millis(200), false, |_| ());
        assert!(outcome.failure.unwrap().starts_with("was ended"));
        assert!(started.elapsed() < GRACE);
    }
}
