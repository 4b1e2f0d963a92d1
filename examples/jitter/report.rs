//! What is printed: how it goes while it goes, and what came of it.

use crate::books::{Books, Direction};
use crate::sequence::Sequence;
use std::fmt;
use std::io::{self, Write};

/// What was counted beside the streams.
pub(crate) struct Counts {
    pub(crate) cuts: u64,
    pub(crate) resumes: u64,
    pub(crate) gaps: u64,
    /// Sessions beyond each client's first.
    pub(crate) new_sessions: u64,
}

/// Prints one line. Whoever closes the pipe early does not want to hear that it was closed.
pub(crate) fn show(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// How it stands now.
pub(crate) fn progress(books: &Books, events: u32, cuts: u64, resumes: u64) {
    let delivered = |direction: &Direction| {
        format!("{} of {}", thousands(direction.received()), thousands(direction.expected()))
    };
    show(format_args!(
        "{:>6.1} s  {:>3} of {events} events said, {} cuts, {} resumes; {} down, {} up",
        books.elapsed().as_secs_f64(),
        books.down.emitted(),
        thousands(cuts),
        thousands(resumes),
        delivered(&books.down),
        delivered(&books.up),
    ));
}

/// Prints the result, and says what is wrong with it.
pub(crate) fn verdict(books: &Books, counts: &Counts) -> Result<(), String> {
    let directions = [("down", &books.down), ("up", &books.up)]
        .map(|(name, direction)| (name, direction, direction.streams()));
    show("");
    show("latency in ms, from emit to handler");
    show(format_args!(
        "{:<5}{:>11}{:>10}{:>12}{:>14}{:>9}{:>9}{:>9}{:>9}",
        "", "delivered", "missing", "duplicates", "out of order", "p50", "p95", "p99", "max"
    ));
    for (name, direction, streams) in &directions {
        row(name, direction, streams);
    }
    let Counts { cuts, resumes, gaps, new_sessions } = counts;
    show(format_args!(
        "{} cuts, {} resumes, {} gaps, {} new sessions, {:.1} s in all",
        thousands(*cuts),
        thousands(*resumes),
        thousands(*gaps),
        thousands(*new_sessions),
        books.elapsed().as_secs_f64(),
    ));
    let mut faulty = 0;
    for (name, _, streams) in &directions {
        let faults = streams.iter().enumerate().filter(|(_, stream)| !stream.is_perfect());
        for (client, stream) in faults {
            if faulty < NAMED_MAX {
                show(format_args!("client {client}, {name}: {}", stream.faults()));
            }
            faulty += 1;
        }
    }
    let received = books.down.received() + books.up.received();
    let expected = books.down.expected() + books.up.expected();
    if faulty > 0 {
        let missing = thousands(expected - received);
        let delivered = percent(received, expected);
        return Err(format!(
            "delivered {delivered}: {faulty} streams are not as they were said, {missing} events \
             missing"
        ));
    }
    if *cuts == 0 {
        return Err("not one link was cut: let it run longer, or with more clients".to_owned());
    }
    show(format_args!("delivered {}", percent(received, expected)));
    Ok(())
}

fn row(name: &str, direction: &Direction, streams: &[Sequence]) {
    let sum = |of: fn(&Sequence) -> u32| streams.iter().map(|it| u64::from(of(it))).sum::<u64>();
    let [received, expected] = [direction.received(), direction.expected()];
    let duplicates = sum(|stream| stream.duplicates + stream.unexpected);
    let latency = |percent| direction.latency.percentile(percent);
    show(format_args!(
        "{name:<5}{:>11}{:>10}{:>12}{:>14}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
        percent(received, expected),
        thousands(expected - received),
        thousands(duplicates),
        thousands(sum(|stream| stream.out_of_order)),
        latency(50.0),
        latency(95.0),
        latency(99.0),
        latency(100.0),
    ));
}

/// Three places, cut off: a hundred is said only when really nothing is missing.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole.max(1));
    format!("{}.{:03} %", thousandths / 1000, thousandths % 1000)
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Streams whose faults are shown one by one.
const NAMED_MAX: usize = 5;
