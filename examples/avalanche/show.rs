//! The show: a server, its clients, a restart, and how long it takes until all are back.

use crate::child::Worker;
use crate::clients::Standing;
use crate::descriptors::open_files_max;
use crate::options::Options;
use crate::say;
use crate::server::DRAIN;
use emitwire::BoxError;
use std::iter::repeat_n;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The words that make this program a child.
pub(crate) const SERVE: &str = "serve";
pub(crate) const CONNECT: &str = "connect";

/// What a child has said, and which.
type Line = (usize, String);

pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    check_sockets(options)?;
    let (sender, lines) = mpsc::channel();
    let any = format!("{}://127.0.0.1:0", options.wire);
    let (mut server, url) = serve(&any, options)?;
    let shares = options.shares();
    let how = if options.kill { "killed" } else { "drained" };
    let Options { clients, wire, .. } = options;
    say(format_args!(
        "{clients} clients in {} process{}, by {wire}; the server is {how}",
        shares.len(),
        if shares.len() == 1 { "" } else { "es" },
    ));
    let mut crowd = Vec::new();
    for (process, share) in shares.iter().enumerate() {
        let words = [CONNECT, &url, &share.to_string()];
        crowd.push(Worker::start(&words, process, sender.clone())?);
    }
    drop(sender); // so that the end of all clients is noticed
    let mut standings: Vec<_> = repeat_n(Standing::default(), shares.len()).collect();
    let began = Instant::now();
    let is_here = |standing: &Standing| standing.here;
    follow(options, &lines, &mut standings, "here", is_here, began)?;

    let began = Instant::now();
    if options.kill {
        server.kill()?;
    } else {
        server.tell(DRAIN)?;
        server.ended(DRAIN_MAX)?;
    }
    let gone = began.elapsed();
    thread::sleep(options.away);
    let _server = serve(&url, options)?;
    let listens = began.elapsed();
    say(format_args!(
        "{:>6.2} s  the server is gone\n{:>6.2} s  another one listens",
        gone.as_secs_f64(),
        listens.as_secs_f64()
    ));
    let is_back = |standing: &Standing| standing.back;
    let times = follow(options, &lines, &mut standings, "back", is_back, began)?;
    verdict(options, times, Standing::sum(&standings))
}

/// When half, 99 % and all of them were there.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    half: Option<Duration>,
    most: Option<Duration>,
    all: Option<Duration>,
}

/// Hears the clients until all are there, and prints how it goes once a second.
fn follow(
    options: &Options,
    lines: &Receiver<Line>,
    standings: &mut [Standing],
    what: &str,
    which: fn(&Standing) -> u64,
    began: Instant,
) -> Result<Times, BoxError> {
    let clients = options.clients as u64;
    let mut times = Times::default();
    let mut next_look = began.elapsed() + LOOK;
    loop {
        let elapsed = began.elapsed();
        let count = which(&Standing::sum(standings));
        for (time, needed) in [
            (&mut times.half, clients.div_ceil(2)),
            (&mut times.most, (clients * 99).div_ceil(100)),
            (&mut times.all, clients),
        ] {
            if count >= needed {
                time.get_or_insert(elapsed);
            }
        }
        if elapsed >= next_look || times.all.is_some() {
            say(format_args!("{:>6.2} s  {count} of {clients} are {what}", elapsed.as_secs_f64()));
            next_look += LOOK;
        }
        if times.all.is_some() {
            return Ok(times);
        }
        if elapsed > PATIENCE {
            let standing = Standing::sum(standings);
            return Err(format!(
                "{} of {clients} are not {what} after {PATIENCE:?}; {} attempts refused",
                clients - count,
                standing.refused
            )
            .into());
        }
        match lines.recv_timeout(next_look.saturating_sub(elapsed)) {
            Ok((process, line)) => {
                if let Some(standing) = standings.get_mut(process) {
                    *standing = line.parse()?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("nobody says anything".into()),
        }
    }
}

/// Starts a server, and waits until it says where it listens.
fn serve(url: &str, options: &Options) -> Result<(Worker, String), BoxError> {
    let spread = options.spread().as_millis().to_string();
    let (sender, receiver) = mpsc::channel();
    let server = Worker::start(&[SERVE, url, &spread], 0, sender)?;
    let (_, bound) = receiver.recv_timeout(PATIENCE).map_err(|_| "the server does not start")?;
    Ok((server, bound))
}

fn verdict(options: &Options, times: Times, standing: Standing) -> Result<(), BoxError> {
    let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
    let (most_max, all_max) = options.bounds();
    let (most_max, all_max) = (most_max.map(|it| it + options.away), all_max + options.away);
    let refused = match standing.refused {
        0 => "none refused".to_owned(),
        refused => format!("{refused} attempts refused"),
    };
    say(format_args!("50 % back after {:.2} s", seconds(times.half)));
    if let Some(most_max) = most_max {
        say(format_args!("bounds: 99 % within {most_max:?}, all within {all_max:?}"));
    } else {
        say(format_args!("bound: all within {all_max:?}"));
    }
    say(format_args!("{} attempts found nobody, {} lost again", standing.failed, standing.again));
    say(format_args!(
        "99 % back after {:.2} s, all after {:.2} s, {refused}",
        seconds(times.most),
        seconds(times.all)
    ));
    let is_late = |time: Option<Duration>, max: Option<Duration>| match (time, max) {
        (Some(time), Some(max)) => time > max,
        _ => false,
    };
    if is_late(times.most, most_max) || is_late(times.all, Some(all_max)) {
        return Err("that is too late".into());
    }
    if standing.refused > 0 {
        return Err("somebody was refused".into());
    }
    Ok(())
}

/// The server has a socket for each client; no process has more.
fn check_sockets(options: &Options) -> Result<(), String> {
    let needed = options.clients + OTHER_DESCRIPTORS;
    let allowed = open_files_max(needed); // children inherit it
    if needed <= allowed {
        return Ok(());
    }
    Err(format!("the server needs {needed} open files, the limit is {allowed}"))
}

const OTHER_DESCRIPTORS: usize = 100;

/// Between two looks at how it goes.
const LOOK: Duration = Duration::from_secs(1);

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(45);

/// A drain has its own deadline, and some more.
const DRAIN_MAX: Duration = Duration::from_secs(20);
