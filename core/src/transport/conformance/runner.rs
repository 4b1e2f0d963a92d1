//! Runs one check: on a thread and a runtime of its own, with a deadline, whatever it does.

use super::breach::{Breach, said};
use super::check::{Check, Done, Threads, Verdict};
use super::report::{Checked, Outcome};
use super::stage::Stage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Runs it and waits for its outcome, at most for twice its deadline.
///
/// One at a time in a process: checks count the descriptors and the heap of all of it.
pub(super) fn run(check: &'static Check, stage: Stage, deadline: Duration) -> Checked {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let log = Arc::clone(&stage.log);
    log.begin(check.name.to_owned());
    let verdict = run_on_thread(check, stage, deadline);
    // It comes first: what else went wrong may follow from it.
    let outcome = match log.accusation().and(verdict) {
        Ok(Done::Kept) => Outcome::Kept { notes: log.notes() },
        Ok(Done::NotAsked(because)) => Outcome::NotAsked { because },
        Err(breach) => Outcome::Broken { breach },
    };
    Checked::new(check.name, began.elapsed(), outcome)
}

/// A thread whose poll never returns cannot be ended, only left behind.
fn run_on_thread(check: &'static Check, stage: Stage, deadline: Duration) -> Verdict {
    let log = Arc::clone(&stage.log);
    let (sender, receiver) = channel();
    let run = move || {
        let log = Arc::clone(&stage.log);
        let caught = catch_unwind(AssertUnwindSafe(|| run_here(check, stage, deadline)));
        let verdict = caught.unwrap_or_else(|panic| {
            Err(Breach::Panicked { panic: said(&*panic), doing: log.doing() })
        });
        // Nobody listens any more when the check came back after all, but too late.
        let _ = sender.send(verdict);
    };
    let spawned = thread::Builder::new().name("conformance".into()).spawn(run);
    spawned.map_err(|source| Breach::NotBegun { source })?;
    // A check that can still run is ended at its deadline.
    let after = deadline * 2;
    match receiver.recv_timeout(after) {
        Ok(verdict) => verdict,
        Err(RecvTimeoutError::Timeout) => Err(Breach::Blocked { after, doing: log.doing() }),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Breach::Panicked { panic: "twice".into(), doing: log.doing() })
        }
    }
}

fn run_here(check: &Check, stage: Stage, deadline: Duration) -> Verdict {
    let log = Arc::clone(&stage.log);
    let runtime = runtime(check.threads).map_err(|source| Breach::NotBegun { source })?;
    let verdict =
        runtime.block_on(async { tokio::time::timeout(deadline, (check.run)(stage)).await });
    // Not waiting for what the transport may have left on other threads, such as a name lookup.
    runtime.shutdown_background();
    verdict.unwrap_or_else(|_| Err(Breach::Deadline { after: deadline, doing: log.doing() }))
}

fn runtime(threads: Threads) -> std::io::Result<Runtime> {
    match threads {
        Threads::One => Builder::new_current_thread().enable_all().build(),
        Threads::Two => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    }
}

static ALONE: Mutex<()> = Mutex::new(());
