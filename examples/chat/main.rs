//! A chat for terminals: one server on any number of wires, and whoever joins by one of them.
//!
//! ```text
//! $ cargo run --example chat -- serve tcp://127.0.0.1:7300 ws://127.0.0.1:7301
//! listening on tcp://127.0.0.1:7300
//! listening on ws://127.0.0.1:7301
//!
//! $ cargo run --example chat -- join ws://127.0.0.1:7301 Ada
//! * welcome, Ada: you are in lobby, with nobody else
//! * Bo came
//! Bo: hello
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `main.rs` | the command line, and what both sides share |
//! | `serve.rs`, `guests.rs` | the server: who hears what, and who is here |
//! | `join.rs`, `me.rs`, `typed.rs` | the client: what is shown, said and typed |

mod guests;
mod join;
mod me;
mod serve;
mod typed;

use serde::{Deserialize, Serialize};
use std::io::Write;
use std::iter::successors;
use std::process::ExitCode;

const USAGE: &str = "\
usage: chat serve URL...      serves on all of these URLs, until Ctrl-C
       chat join URL NAME     joins by one of them, until /quit or the end of the input

A URL is tcp://HOST:PORT or ws://HOST:PORT. Whoever has joined finds more under /help.";

/// The namespace, and the room that everybody begins in.
const CHAT: &str = "/chat";
const LOBBY: &str = "lobby";

/// Who is where: what a client says first on each connection, and again to change rooms.
#[derive(Serialize, Deserialize)]
struct Card {
    name: String,
    room: String,
    /// The sockets that it had since its last answer: the server may still wait for them.
    before: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["serve", ref urls @ ..] if !urls.is_empty() => serve::serve(urls).await,
        ["join", url, name] => join::join(url, name).await,
        ["help" | "--help" | "-h"] => {
            USAGE.lines().for_each(show);
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // An error speaks of its own level only; what is below it is its source.
    let levels = successors(Some(&*error as &dyn std::error::Error), |&error| error.source());
    let levels = levels.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    eprintln!("chat: {}", plain(&levels));
    ExitCode::FAILURE
}

/// One line to the terminal; when that has gone away there is nobody left to tell.
fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain(line));
}

/// Most of what is shown has come from others. It must not steer the terminal, look like more
/// lines than one, or turn the direction of the text. What joins letters and emoji may stay.
fn plain(line: &str) -> String {
    let is_format = |it| {
        matches!(it, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}')
            || matches!(it, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    line.replace(|it: char| it.is_control() || is_format(it), " ")
}
