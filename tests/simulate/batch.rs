//! Many seeds, one after another on each of two threads, and what is said about them.

use super::check::Breach;
use super::coverage::Coverage;
use super::history::{Entry, What};
use super::trace;
use super::world::{self, Outcome};
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// What plain `cargo test` runs.
const SEEDS: u64 = 12;

/// From so many seeds on everything wanted has to have happened.
const SEEDS_TO_COVER: u64 = 100;

const THREADS: usize = 2;

/// Lines of a history that a failure shows.
const LINES: usize = 60;

/// Lines of the one event or socket that it is about.
const LINES_OF_IT: usize = 30;

/// Runs `EMITWIRE_SEEDS` seeds from `EMITWIRE_SEED` on. With `EMITWIRE_TRACE` it prints all that
/// happens in them; with `EMITWIRE_GO_ON` one that fails does not end the batch.
///
/// # Panics
/// When one of them breaks a law, or all of them together never met something that they should.
pub(crate) fn run() {
    let (from, seeds) = (number("EMITWIRE_SEED", 1), number("EMITWIRE_SEEDS", SEEDS));
    let shows_all = env::var_os("EMITWIRE_TRACE").is_some();
    let goes_on = env::var_os("EMITWIRE_GO_ON").is_some();
    let next = AtomicU64::new(0);
    let (failed, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (coverage, failures) = (Mutex::new(Coverage::default()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        break;
                    }
                    let began = Instant::now();
                    let outcome = world::run(from.wrapping_add(number));
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let (seed, seconds) = (outcome.seed, began.elapsed().as_secs_f64());
                    let how = if outcome.breaches.is_empty() { "ok" } else { "FAILED" };
                    let hash = outcome.hash;
                    println!(
                        "seed {seed} {how}, {count}/{seeds}, {seconds:.1} s, trace {hash:016x}"
                    );
                    if shows_all {
                        println!("{}", trace::tail(&outcome.history, usize::MAX));
                    }
                    coverage.lock().unwrap().add(&outcome.coverage);
                    if !outcome.breaches.is_empty() {
                        failed.store(!goes_on, Ordering::Relaxed);
                        failures.lock().unwrap().push(report(&outcome));
                    }
                }
            });
        }
    });
    let (coverage, failures) = (coverage.into_inner().unwrap(), failures.into_inner().unwrap());
    assert!(failures.is_empty(), "\n\n{}", failures.join("\n\n"));
    println!("what happened in {seeds} seeds:\n{}", coverage.report());
    if seeds >= SEEDS_TO_COVER {
        let missing = coverage.missing();
        assert!(missing.is_empty(), "never happened in {seeds} seeds: {}", missing.join(", "));
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => otherwise,
    }
}

/// All that is needed to understand a failure, and to see it again.
fn report(outcome: &Outcome) -> String {
    let Outcome { seed, history, breaches, .. } = outcome;
    let mut text = format!("seed {seed} breaks {} laws:\n", breaches.len());
    for breach in breaches.iter().take(12) {
        text += &format!("  {breach}\n");
    }
    if let Some(first) = breaches.iter().find(|breach| breach.of.is_some()) {
        let about = about(history, first);
        text += &format!("\nwhat concerns it:\n{}", trace::tail(&about, LINES_OF_IT));
    }
    text += &format!("\nwhat happened last:\n{}", trace::tail(history, LINES));
    text + &format!("\nto see it again:\n  cargo xtask simulate --seeds 1 --from {seed}\n")
}

fn about(history: &[Entry], breach: &Breach) -> Vec<Entry> {
    let Some((it, at)) = breach.of else { return Vec::new() };
    let concerns = |entry: &&Entry| match &entry.what {
        What::Offered { event, .. }
        | What::Accepted { event }
        | What::Declined { event, .. }
        | What::Fanout { event, .. }
        | What::Started { event, .. }
        | What::Finished { event, .. }
        | What::Answered { event, .. }
        | What::Confirmed { event, .. }
        | What::Fated { event, .. } => *event == it,
        What::Began { socket, .. }
        | What::Detached { socket, .. }
        | What::Attached { socket, .. }
        | What::Missed { socket, .. }
        | What::Ended { socket, .. } => *socket == at,
        _ => false,
    };
    history.iter().filter(concerns).cloned().collect()
}
