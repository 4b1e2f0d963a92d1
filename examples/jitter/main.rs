//! Links that are cut again and again, and two streams that are to arrive whole all the same.
//!
//! ```text
//! cargo run --release --example jitter
//! cargo run --release --example jitter -- --clients 5000 --transport tcp+ws --silent
//! ```
//!
//! A server says numbered events to a room, one a second, and every client says as many back.
//! Meanwhile each client's link is cut every 15 seconds or so, and for two seconds it is refused.
//! Every event is to be handled once and in order, in both directions: then the last line is
//! `delivered 100.000 %`; else it fails, and says what is missing.
//!
//! | file | holds |
//! | --- | --- |
//! | `main.rs` | the order of events |
//! | `options.rs` | the command line, and the times that follow from it |
//! | `stage.rs`, `crowd.rs` | the server, and the clients: begin here |
//! | `storm.rs`, `chance.rs` | whose link is cut, and when |
//! | `cable.rs`, `link.rs` | a transport around others, and a connection that can be cut |
//! | `books.rs`, `sequence.rs`, `latency.rs` | what has arrived, in which order, how late |
//! | `report.rs`, `descriptors.rs` | what is printed; how many sockets there may be |
//! | `resume.rs` | what depends on sessions that outlive their links |

mod books;
mod cable;
mod chance;
mod crowd;
mod descriptors;
mod latency;
mod link;
mod options;
mod report;
mod resume;
mod sequence;
mod stage;
mod storm;

use books::Books;
use crowd::Crowd;
use emitwire::BoxError;
use options::{Options, USAGE};
use report::{Counts, show};
use stage::Stage;
use std::future::pending;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use storm::Storm;
use tokio::time::{Instant, interval, sleep, timeout};

/// Between two looks at how it goes.
const LOOK: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        show(USAGE);
        return ExitCode::SUCCESS;
    }
    let known: Vec<_> = emitwire::schemes().collect();
    let options = match Options::parse(&words, &known) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("jitter: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show(format_args!("jitter: FAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), BoxError> {
    check_sockets(&options)?;
    let books = Arc::new(Books::open(&options));
    let stage = Stage::open(&options, &books).await?;
    introduce(&options);
    let crowd = Crowd::gather(&options, &books, stage.doors.clone()).await?;
    show(format_args!("{:>6.1} s  everybody is here", books.elapsed().as_secs_f64()));
    let storm = Storm::default();
    let start = Instant::now();
    let play = async {
        let streams = async {
            let down = stage.broadcast(&options, &books, start);
            tokio::join!(down, crowd.speak(&options, &books, start)).0
        };
        streams.await?;
        // What is late is waited for; then everybody is given the time to come back once more,
        // for it might be with something that has been heard before.
        let _late = timeout(options.patience(), books.complete()).await;
        sleep(options.recovery()).await;
        Ok::<_, BoxError>(())
    };
    let weather = async {
        storm.rage(&crowd.cables, &options, start).await;
        pending().await
    };
    let watch = async {
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            let resumes = resume::resumes(&stage.server.stats());
            report::progress(&books, options.events, storm.cuts(), resumes);
        }
    };
    tokio::select! {
        played = play => played?,
        () = weather => {}
        () = watch => {}
    }
    let server = stage.server.stats();
    let counts = Counts {
        cuts: storm.cuts(),
        resumes: resume::resumes(&server),
        gaps: crowd.missed() + server.missed,
        new_sessions: stage.sessions().saturating_sub(options.clients as u64),
    };
    let verdict = report::verdict(&books, &counts);
    if let (Err(_), Some(refusal)) = (&verdict, crowd.first_refusal()) {
        show(format_args!("the first event that was not accepted: {refusal}"));
    }
    Ok(verdict?)
}

/// Both ends of every link are in this process.
fn check_sockets(options: &Options) -> Result<(), String> {
    let needed = options.sockets();
    let allowed = descriptors::open_files_max(needed);
    if options.wires.iter().all(|wire| wire == "mem") || needed <= allowed {
        return Ok(());
    }
    let clients = options.clients * allowed / needed;
    let what = format!("{} clients need {needed} open files", options.clients);
    Err(format!("{what}, the limit is {allowed}: that is enough for {clients}"))
}

fn introduce(options: &Options) {
    let Options { clients, events, wires, scale, seed, silent } = options;
    let cuts = if *silent { "cuts are silent" } else { "cuts are abrupt" };
    show(format_args!(
        "{clients} clients, {events} events each way, by {}, {cuts}; times × {scale}, seed {seed}",
        wires.join(" and "),
    ));
    if resume::mixes_wires(options) {
        show(resume::ALLOWS_PLAIN);
    }
}
