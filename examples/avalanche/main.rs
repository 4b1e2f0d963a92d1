//! All clients at once: a server with thousands of them is restarted, and all are to be back soon.
//!
//! ```text
//! cargo run --release --example avalanche -- --clients 5000
//! cargo run --release --example avalanche -- --clients 5000 --transport ws --kill
//! ```
//!
//! The server is a process, and so are the clients, 6,000 in one at most. The server is drained,
//! or killed; then another one listens at the same address. The last line is like
//! `99 % back after 1.31 s, all after 1.40 s, none refused`; it fails when that is too late, or
//! when anybody was refused.
//!
//! | file | holds |
//! | --- | --- |
//! | `main.rs` | which part this process plays |
//! | `show.rs` | the restart, and how long it takes until all are back: begin here |
//! | `server.rs`, `clients.rs` | the other processes |
//! | `child.rs` | how they are started, and end |
//! | `options.rs` | the command line, and how soon everybody has to be back |

mod child;
mod clients;
#[path = "../jitter/descriptors.rs"]
mod descriptors;
mod options;
mod server;
mod show;

use emitwire::BoxError;
use options::{Options, USAGE};
use show::{CONNECT, SERVE};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let known: Vec<_> = emitwire::schemes().collect();
    let done = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--help"] => {
            say(USAGE);
            Ok(())
        }
        [SERVE, url, spread] => serve(url, spread),
        [CONNECT, url, count] => connect(url, count),
        _ => match Options::parse(&words, &known) {
            Ok(options) => show::run(&options),
            Err(error) => {
                eprintln!("avalanche: {error}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("avalanche: FAILED: {error}");
    ExitCode::FAILURE
}

fn serve(url: &str, spread: &str) -> Result<(), BoxError> {
    let spread = Duration::from_millis(spread.parse()?);
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(server::serve(url, spread))
}

fn connect(url: &str, count: &str) -> Result<(), BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(clients::connect(url, count.parse()?))
}

/// Prints one line. Whoever closes the pipe early does not want to hear that it was closed.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
