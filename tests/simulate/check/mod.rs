//! The laws, as pure functions over a history.
//!
//! | file | holds |
//! | --- | --- |
//! | `view.rs` | a history by event and socket |
//! | `fates.rs` | each event ends in one way, and both sides count alike |
//! | `order.rs` | what is first started when |
//! | `answers.rs` | each ack ends once, and truly |
//! | `peace.rs` | bounds, rest, and what is left behind |
//! | `tests.rs` | histories made by hand, right and wrong |

mod answers;
mod fates;
mod order;
mod peace;
#[cfg(test)]
mod tests;
mod view;

use super::history::{Entry, Label, Number};
use std::fmt;
use view::View;

/// A law that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) law: &'static str,
    pub(crate) words: String,
    /// Which event at which socket, if it is one.
    pub(crate) of: Option<(Number, Label)>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.words)?;
        self.of.map_or(Ok(()), |(event, socket)| write!(f, " ({event} at #{socket})"))
    }
}

type Law = fn(&View<'_>) -> Vec<Breach>;

const LAWS: [(&str, Law); 20] = [
    ("no event is handled twice", fates::once),
    ("only what was accepted is handled", fates::accepted_first),
    ("what is lost was not handled", fates::lost_is_not_handled),
    ("each event has one fate", fates::one_fate),
    ("what is accepted is counted", fates::accepted_is_counted),
    ("emitted is received, lost or in doubt", fates::conservation),
    ("what arrives is handled or refused", fates::arrived_is_answered),
    ("where nothing ends nothing is lost", fates::without_an_end_nothing_is_lost),
    ("what is counted is told", fates::counted_is_told),
    ("where nobody leaves sessions live", fates::steady_sessions_live),
    ("a socket that lives has handled all", fates::living_sockets_miss_nothing),
    ("first starts keep the order of acceptance", order::first_starts),
    ("each ack ends once", answers::each_ends_once),
    ("an answer is true", answers::are_true),
    ("no answer comes twice", answers::none_twice),
    ("a receipt is true", answers::receipts_are_true),
    ("nothing is written to whom has it", peace::no_duplicates),
    ("nothing holds up what is said in calm", peace::in_calm_all_is_prompt),
    ("memory is bounded, and all comes to rest", peace::at_rest),
    ("nothing is left behind", peace::nothing_left),
];

/// All breaches of all laws.
pub(crate) fn all(history: &[Entry]) -> Vec<Breach> {
    let view = View::new(history);
    let named = |(law, breaches): (&'static str, Law)| {
        let breaches = breaches(&view).into_iter();
        breaches.map(move |breach| Breach { law, ..breach })
    };
    LAWS.into_iter().flat_map(named).collect()
}

/// A breach of a law that is named later.
fn breach(words: impl Into<String>, of: Option<(Number, Label)>) -> Breach {
    Breach { law: "", words: words.into(), of }
}
