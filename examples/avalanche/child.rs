//! Children: this program once more, in a process of its own, which ends with its parent.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use std::{env, thread};

/// A child at work. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Worker {
    /// Starts this program with these words. `lines` gets what it says, each line with `name`.
    pub(crate) fn start(
        words: &[&str],
        name: usize,
        lines: Sender<(usize, String)>,
    ) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut said = BufReader::new(stdout).lines().map_while(Result::ok);
                said.all(|line| lines.send((name, line)).is_ok())
            });
        }
        Ok(Self { child, stdin })
    }

    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kill();
    }
}

/// The child's part: hears its parent, and ends when that does, or after a time in any case.
pub(crate) fn obey(mut hear: impl FnMut(&str) + Send + 'static) {
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            hear(&line);
        }
        process::exit(0);
    });
    thread::spawn(|| {
        thread::sleep(LIFE_MAX);
        process::exit(3);
    });
}

/// No child lives longer, whatever happens.
const LIFE_MAX: Duration = Duration::from_secs(180);
