//! Who should hear what, and who did.
//!
//! What is expected is written down before it is said; what arrives, when it arrives. It knows
//! nothing of emitwire.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Two columns, expected and received, that have to be equal in the end.
#[derive(Default)]
pub(crate) struct Ledger {
    pages: Mutex<BTreeMap<Page, Columns>>,
    changed: Notify,
}

/// One hearer, one kind of event, one speaker: within these three, order counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Page {
    pub(crate) who: String,
    pub(crate) event: String,
    pub(crate) from: String,
}

#[derive(Default)]
struct Columns {
    expected: Vec<String>,
    received: Vec<String>,
}

/// One thing that is wrong on a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing(Page, String),
    Doubled(Page, String),
    Unexpected(Page, String),
    OutOfOrder(Page, String),
}

/// Everything that is wrong; at least one thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Ledger {
    /// `who` should hear this, once.
    pub(crate) fn expect(&self, who: &str, event: &str, from: &str, text: &str) {
        self.columns(who, event, from, |columns| columns.expected.push(text.to_owned()));
    }

    /// `who` has heard this.
    pub(crate) fn receive(&self, who: &str, event: &str, from: &str, text: &str) {
        self.columns(who, event, from, |columns| columns.received.push(text.to_owned()));
        self.changed.notify_waiters();
    }

    /// Waits until as much was received as is expected.
    pub(crate) async fn settled(&self, deadline: Duration) -> Result<(), Faults> {
        let settled = async {
            loop {
                let changed = self.changed.notified();
                let short = |columns: &Columns| columns.received.len() < columns.expected.len();
                if !self.lock().values().any(short) {
                    return;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(deadline, settled).await {
            Ok(()) => Ok(()),
            Err(_) => self.verdict(),
        }
    }

    /// Compares the two columns of every page.
    pub(crate) fn verdict(&self) -> Result<(), Faults> {
        let pages = self.lock();
        let faults: Vec<_> =
            pages.iter().flat_map(|(page, columns)| columns.faults(page)).collect();
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }

    /// How much `who` should have heard, and how much it was.
    pub(crate) fn totals(&self, who: &str) -> (usize, usize) {
        let pages = self.lock();
        let own = pages.iter().filter(|(page, _)| page.who == who);
        own.fold((0, 0), |(expected, received), (_, columns)| {
            (expected + columns.expected.len(), received + columns.received.len())
        })
    }

    /// Who has heard this.
    pub(crate) fn hearers(&self, event: &str, from: &str, text: &str) -> Vec<String> {
        let pages = self.lock();
        let said = pages.iter().filter(|(page, _)| page.event == event && page.from == from);
        let heard = said.filter(|(_, columns)| columns.received.iter().any(|it| it == text));
        heard.map(|(page, _)| page.who.clone()).collect()
    }

    fn columns(&self, who: &str, event: &str, from: &str, change: impl FnOnce(&mut Columns)) {
        let [who, event, from] = [who, event, from].map(str::to_owned);
        change(self.lock().entry(Page { who, event, from }).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Page, Columns>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Columns {
    fn faults(&self, page: &Page) -> Vec<Fault> {
        let fault =
            |kind: fn(Page, String) -> Fault, text: &String| kind(page.clone(), text.clone());
        let mut due: HashMap<_, usize> = HashMap::new();
        for text in &self.expected {
            *due.entry(text).or_default() += 1;
        }
        let (mut faults, mut came) = (Vec::new(), Vec::new());
        for text in &self.received {
            match due.get_mut(text) {
                None => faults.push(fault(Fault::Unexpected, text)),
                Some(0) => faults.push(fault(Fault::Doubled, text)),
                Some(count) => {
                    *count -= 1;
                    came.push(text);
                }
            }
        }
        // Of a text that is due more often than it came, the last ones are missing.
        let mut in_turn = Vec::new();
        for text in self.expected.iter().rev() {
            match due.get_mut(text) {
                Some(count @ 1..) => {
                    *count -= 1;
                    faults.push(fault(Fault::Missing, text));
                }
                _ => in_turn.push(text),
            }
        }
        let first = in_turn.iter().rev().zip(came).find(|(turn, came)| *turn != came);
        faults.extend(first.map(|(_, came)| fault(Fault::OutOfOrder, came)));
        faults
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (page, text, what) = match self {
            Self::Missing(page, text) => (page, text, "did not arrive"),
            Self::Doubled(page, text) => (page, text, "arrived twice"),
            Self::Unexpected(page, text) => (page, text, "arrived, but was not for this one"),
            Self::OutOfOrder(page, text) => (page, text, "arrived out of order"),
        };
        write!(f, "{}: {} \"{text}\" from {} {what}", page.who, page.event, page.from)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            [only] => write!(f, "{only}"),
            [first, rest @ ..] => write!(f, "{first} (and {} more)", rest.len()),
        }
    }
}

impl std::error::Error for Faults {}
