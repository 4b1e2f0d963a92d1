//! A history in lines to be read, and as one number to be compared.

use super::history::{Entry, Side, What};
use std::fmt;

/// FNV-1a, 64 bits, of all lines.
pub(crate) fn hash(history: &[Entry]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for entry in history {
        for byte in entry.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The last lines, oldest first.
pub(crate) fn tail(history: &[Entry], lines: usize) -> String {
    let from = history.len().saturating_sub(lines);
    history[from..].iter().map(|entry| format!("  {entry}\n")).collect()
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Client(number) => write!(f, "client {number}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3} s  {}", self.at.as_secs_f64(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World { words, .. } => f.write_str(words),
            Self::Trouble { client, words } => write!(f, "client {client}: {words}"),
            Self::Began { side, socket, path } => write!(f, "{side}: #{socket} begins in {path}"),
            Self::Ended { side, socket, reason } => {
                write!(f, "{side}: #{socket} has ended: {reason}")
            }
            Self::Detached { side, socket, reason } => {
                write!(f, "{side}: #{socket} has no link: {reason}")
            }
            Self::Attached { side, socket, outcome } => {
                write!(f, "{side}: #{socket} has a link again: {outcome}")
            }
            Self::Killed { client, sockets } => {
                write!(f, "client {client}: its process is killed, with {sockets:?}")
            }
            Self::Offered { event, from, socket, kind, wants_ack, wants_receipt } => {
                let how = match (wants_ack, wants_receipt) {
                    (true, _) => " and wants an ack",
                    (_, true) => " and wants a receipt",
                    _ => "",
                };
                write!(f, "{from} to #{socket}: offers {} {event}{how}", kind.name())
            }
            Self::Accepted { event } => write!(f, "{event} is accepted"),
            Self::Declined { event, why } => write!(f, "{event} is not accepted: {why}"),
            Self::Fanout { event, kind, members, accepted, wants_ack } => {
                let how = if *wants_ack { " and wants acks" } else { "" };
                let name = kind.name();
                write!(f, "server to {members:?}: {name} {event}, {accepted} accept{how}")
            }
            Self::Started { event, at, socket } => write!(f, "{at} at #{socket}: {event} starts"),
            Self::Finished { event, at, socket } => {
                write!(f, "{at} at #{socket}: {event} has finished")
            }
            Self::Answered { event, socket, answer } => {
                write!(f, "{event} at #{socket} is answered: {answer:?}")
            }
            Self::Confirmed { event, socket, receipt } => {
                write!(f, "{event} at #{socket}, at its peer: {receipt:?}")
            }
            Self::Missed { at, socket, count, reason } => {
                write!(f, "{at} at #{socket}: {count} will never come: {reason}")
            }
            Self::Fated { event, socket, fate } => {
                write!(f, "{event} at #{socket} has come to a bad end: {fate:?}")
            }
            Self::Overfull { side, words } => write!(f, "{side} keeps too much: {words}"),
            Self::Calm => {
                f.write_str("all trouble is over, and everybody says something once more")
            }
            Self::AtRest => f.write_str("nothing moves any more"),
            Self::Restless { words } => write!(f, "there is no rest: {words}"),
            Self::Over { tasks } => write!(f, "all have gone, {tasks} tasks are left"),
            Self::Counted { side, totals } => write!(f, "{side}: {totals:?}"),
        }
    }
}
