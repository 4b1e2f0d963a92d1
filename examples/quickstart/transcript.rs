//! What is printed: who, what and detail in columns, and a table in the end.

use std::env;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Prints at once, in colour on a terminal that wants it.
pub(crate) struct Transcript {
    colour: bool,
}

/// How one wire did.
pub(crate) struct Row {
    pub(crate) wire: &'static str,
    pub(crate) guests: usize,
    pub(crate) expected: usize,
    pub(crate) received: usize,
    pub(crate) acks: usize,
    pub(crate) median: Duration,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        let colour = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    /// One line of the story.
    pub(crate) fn line(&self, who: &str, what: &str, detail: impl Display) {
        let (who_colour, what_colour) = (colour_of_name(who), colour_of_deed(what));
        let who = self.paint(who_colour, format_args!("{who:<7}"));
        let what = self.paint(what_colour, format_args!("{what:<14}"));
        print(format_args!("{who}  {what}  {detail}"));
    }

    /// A sentence of its own, or an empty line.
    pub(crate) fn plain(&self, sentence: &str) {
        print(format_args!("{sentence}"));
    }

    pub(crate) fn table(&self, rows: &[Row]) {
        let head = "wire     guests   expected   received   acks   median round trip";
        let build = if cfg!(debug_assertions) { " (debug build)" } else { "" };
        print(format_args!("{}", self.paint(BOLD, format_args!("{head}{build}"))));
        for row in rows {
            let [expected, received] = [row.expected, row.received].map(thousands);
            let micros = (row.median.as_nanos() + 500) / 1000;
            print(format_args!(
                "{:<7}  {:>6}   {expected:>8}   {received:>8}   {:>4}   {micros:>14} µs",
                row.wire, row.guests, row.acks,
            ));
        }
        self.plain("");
    }

    /// The very last line.
    pub(crate) fn verdict(&self, outcome: Result<(), &dyn Display>) {
        match outcome {
            Ok(()) => print(format_args!("{}", self.paint(GREEN, format_args!("quickstart: ok")))),
            Err(why) => {
                let line = self.paint(RED, format_args!("quickstart: FAILED: {why}"));
                print(format_args!("{line}"));
            }
        }
    }

    fn paint(&self, colour: u8, text: fmt::Arguments<'_>) -> String {
        if self.colour && colour != PLAIN {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// An event with the words that came with it.
pub(crate) fn said(event: &str, words: &str) -> String {
    format!("{event}: {}", quoted(words))
}

pub(crate) fn quoted(words: &str) -> String {
    format!("\"{words}\"")
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Whoever closes the pipe early does not want to hear that it was closed.
fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn colour_of_name(who: &str) -> u8 {
    match who.as_bytes() {
        [] | b"server" => BOLD,
        [first, ..] => FIRST_COLOUR + first % COLOURS,
    }
}

fn colour_of_deed(what: &str) -> u8 {
    match what {
        "ack" => GREEN,
        "nak" | "refused" | "dropped" | "on_disconnect" => RED,
        _ => PLAIN,
    }
}

const PLAIN: u8 = 0;
const BOLD: u8 = 1;
const RED: u8 = 31;
const GREEN: u8 = 32;
const FIRST_COLOUR: u8 = 33;
const COLOURS: u8 = 4;
