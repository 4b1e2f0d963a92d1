//! What the steps of the story share: the server, the guests, the books.

use crate::guest::{Books, Guest, Invitation, PATIENCE, config};
use crate::kitchen::{Line, kitchen};
use crate::relay::Relay;
use crate::transcript::{Row, Transcript};
use emitwire::{BoxError, Endpoint, Server, Stats, disabled_schemes, schemes};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Everybody has a way of saying hello. Four come always, the others if there are more wires.
const CAST: [(&str, &str); 8] = [
    ("Ada", "Come in, come in!"),
    ("Bo", "Good evening. Am I late?"),
    ("Cy", "Hey."),
    ("Dee", "Oh! Is it evening already?"),
    ("Eli", "Something smells good."),
    ("Fay", "I brought bread."),
    ("Gus", "Is there a chair left?"),
    ("Hal", "What did I miss?"),
];

pub(crate) struct House<'a> {
    pub(crate) out: &'a Transcript,
    pub(crate) server: Server,
    /// Ends when the server has drained.
    pub(crate) serving: JoinHandle<()>,
    pub(crate) books: Books,
    pub(crate) guests: Vec<Guest>,
    /// Between Cy and the server.
    pub(crate) relay: Relay,
    /// Each wire with the place where the server listens on it.
    pub(crate) doors: Vec<(&'static str, Endpoint)>,
}

impl<'a> House<'a> {
    /// One server, one namespace, all wires. It serves until somebody says good night.
    pub(crate) async fn open(out: &'a Transcript) -> Result<Self, BoxError> {
        let wires = wires();
        let lights_out = Arc::new(Notify::new());
        let server = Server::with_config(config()).mount(kitchen(Arc::clone(&lights_out)))?;
        let mut doors = Vec::new();
        for wire in &wires {
            let local = Endpoint::local(wire)?;
            let listening = server.listen(local.clone()).await?;
            doors.push((*wire, local.at(listening.endpoint())?));
        }
        for urls in lines(doors.iter().map(|(_, door)| door.to_string())) {
            out.line("server", "listen", urls);
        }
        if let Some(missing) = missing() {
            out.line("server", "missing", missing);
        }
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.run_until(lights_out.notified()).await }
        });
        let (wire, target) = &doors[0];
        let relay = Relay::start(&Endpoint::local(wire)?, target.clone()).await?;
        let (books, guests) = (Books::default(), Vec::new());
        Ok(Self { out, server, serving, books, guests, relay, doors })
    }

    /// The guests, dealt out over the wires. Cy shares the first wire, behind the relay, so that
    /// every wire has a guest without one.
    pub(crate) fn invitations(&self) -> Vec<Invitation> {
        let guests = (self.doors.len() + 1).max(4);
        let mut doors = self.doors.iter().cycle();
        let invitations = CAST.iter().take(guests).filter_map(|(name, hello)| {
            let (wire, door) = match *name {
                "Cy" => (self.doors[0].0, self.relay.endpoint()),
                _ => doors.next().map(|(wire, door)| (*wire, door))?,
            };
            Some(Invitation { name, hello, wire, door: door.clone() })
        });
        invitations.collect()
    }

    pub(crate) fn guest(&self, name: &str) -> &Guest {
        let found = self.guests.iter().find(|guest| guest.name == name);
        found.expect("everybody joins before the story goes on")
    }

    /// All names but these.
    pub(crate) fn all_but(&self, absent: &[&str]) -> Vec<&'static str> {
        let names = self.guests.iter().map(|guest| guest.name);
        names.filter(|name| !absent.contains(name)).collect()
    }

    /// Writes down who should hear a line; before it is said.
    pub(crate) fn expect(&self, hearers: &[&str], event: &str, line: &Line) {
        for who in hearers {
            self.books.events.expect(who, event, &line.from, &line.text);
        }
    }

    /// Waits until all who should have heard, and says who else has heard this line.
    pub(crate) async fn heard(&self, event: &str, line: &Line) -> Result<String, BoxError> {
        self.books.events.settled(PATIENCE).await?;
        let mut hearers = self.books.events.hearers(event, &line.from, &line.text);
        hearers.retain(|who| *who != line.from);
        Ok(if hearers.is_empty() { "nobody else yet".to_owned() } else { hearers.join(", ") })
    }

    /// One counter of all guests' sessions together.
    pub(crate) fn sum(&self, counter: impl Fn(&Stats) -> u64) -> usize {
        let counts = self.guests.iter().map(|guest| counter(&guest.session.stats()));
        counts.sum::<u64>() as usize
    }

    /// One row of the table for each wire.
    pub(crate) fn rows(&self, round_trips: &[Vec<Duration>]) -> Vec<Row> {
        let mut rows = Vec::new();
        for ((wire, _), round_trips) in self.doors.iter().zip(round_trips) {
            let (mut guests, mut expected, mut received) = (0, 0, 0);
            for guest in self.guests.iter().filter(|guest| guest.wire == *wire) {
                let totals = self.books.events.totals(guest.name);
                guests += 1;
                expected += totals.0;
                received += totals.1;
            }
            let mut sorted = round_trips.clone();
            sorted.sort_unstable();
            let (acks, median) = (sorted.len(), sorted[sorted.len() / 2]);
            rows.push(Row { wire, guests, expected, received, acks, median });
        }
        rows
    }
}

/// A wait with a deadline that says what it waited for.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T, BoxError> {
    let late = |_| format!("waited {PATIENCE:?} for {what}").into();
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}

/// As many beside each other as fit into a line.
fn lines(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + word.len() <= DETAIL_COLUMNS => {
                *line = format!("{line}  {word}");
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// What of a line follows who does what.
const DETAIL_COLUMNS: usize = 75;

/// All wires that are compiled in, the one without a network last.
fn wires() -> Vec<&'static str> {
    let mut wires: Vec<_> = schemes().filter(|wire| Endpoint::local(wire).is_ok()).collect();
    wires.sort_by_key(|wire| *wire == "mem");
    wires
}

/// The wires that are not, and how to have them.
fn missing() -> Option<String> {
    let missing: Vec<_> = disabled_schemes().map(|(wire, _)| wire).collect();
    (!missing.is_empty()).then(|| format!("{}: run it with --all-features", missing.join(", ")))
}
