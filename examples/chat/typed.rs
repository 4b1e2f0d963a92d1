//! What is typed, line by line.

use std::future::pending;
use std::io::BufRead;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// The lines up to `/quit` or the end of the input; and a future that ends when whoever has typed
/// `/quit` waits no longer for the lines before it.
///
/// A thread reads them, because tokio's own reader would keep the program from ending until one
/// more line is typed.
pub(crate) fn typed() -> (Receiver<String>, impl Future<Output = ()>) {
    let (sender, lines) = channel(LINES_AHEAD_MAX);
    let (quits, quit) = oneshot::channel();
    std::thread::spawn(move || {
        // As bytes, because `lines` would end at the first that is no UTF-8.
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if line == "/quit" {
                return quits.send(()).unwrap_or_default();
            }
            if sender.blocking_send(line).is_err() {
                return; // it is over
            }
        }
    });
    let hurry = async {
        match quit.await {
            Ok(()) => sleep(PATIENCE).await,
            Err(_) => pending().await, // the input has ended, and there is time for all of it
        }
    };
    (lines, hurry)
}

const PATIENCE: Duration = Duration::from_secs(1);

/// How many are read while one waits for its answer.
const LINES_AHEAD_MAX: usize = 100;
