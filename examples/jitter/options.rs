//! The command line, and the times that follow from it.

use std::str::FromStr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: jitter [--clients N] [--events M] [--transport tcp|tls|ws|wss|quic|unix|mem|quic+tcp|…]
              [--time-scale X] [--seed S] [--silent]

N clients in one room hear M numbered events, one a second, and each of them says M numbered
events back; meanwhile their links are cut again and again. All times are multiplied by X.
With `a+b` each client takes turns with these wires. With `--silent` no cut is reported: bytes
stop to flow, and it takes a heartbeat to notice.
Without arguments: --clients 200 --events 60 --transport tcp --time-scale 0.2 --seed 1";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) clients: usize,
    /// Numbered events of each stream.
    pub(crate) events: u32,
    /// Schemes; a client goes to the next of them at each connect.
    pub(crate) wires: Vec<String>,
    pub(crate) scale: f64,
    pub(crate) seed: u64,
    /// Whether cuts are silent.
    pub(crate) silent: bool,
}

impl Default for Options {
    fn default() -> Self {
        let wires = vec!["tcp".to_owned()];
        Self { clients: 200, events: 60, wires, scale: 0.2, seed: 1, silent: false }
    }
}

impl Options {
    /// Reads the words behind the program's name. `known` are the schemes that there are.
    pub(crate) fn parse(words: &[String], known: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--clients" => options.clients = value(word, words.next())?,
                "--events" => options.events = value(word, words.next())?,
                "--transport" => {
                    let wires: String = value(word, words.next())?;
                    options.wires = wires.split('+').map(str::to_owned).collect();
                }
                "--time-scale" => options.scale = value(word, words.next())?,
                "--seed" => options.seed = value(word, words.next())?,
                "--silent" => options.silent = true,
                other => return Err(format!("`{other}` is no option")),
            }
        }
        options.check(known).map(|()| options)
    }

    fn check(&self, known: &[&str]) -> Result<(), String> {
        if let Some(wire) = self.wires.iter().find(|wire| !known.contains(&wire.as_str())) {
            return Err(format!("there is no wire `{wire}`; there are {}", known.join(", ")));
        }
        if self.clients == 0 || self.events == 0 {
            return Err("without clients or events there is nothing to see".to_owned());
        }
        if !(0.001..=100.0).contains(&self.scale) {
            return Err("a time scale is between 0.001 and 100".to_owned());
        }
        Ok(())
    }

    /// Between two events of a stream.
    pub(crate) fn period(&self) -> Duration {
        self.scaled(1.0)
    }

    /// Between two cuts of a client's link, on average.
    pub(crate) fn between_cuts(&self) -> Duration {
        self.scaled(15.0)
    }

    /// How long after a cut a client is refused.
    pub(crate) fn outage(&self) -> Duration {
        self.scaled(2.0)
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.scaled(if self.silent { 1.0 } else { 5.0 })
    }

    /// After so much silence a link counts as lost.
    pub(crate) fn heartbeat_timeout(&self) -> Duration {
        self.scaled(if self.silent { 3.0 } else { 20.0 })
    }

    /// All events are said within this time.
    pub(crate) fn length(&self) -> Duration {
        self.period() * self.events
    }

    /// After so long whoever was cut off knows it, and finds the way back; a connection takes its
    /// time, and so does what has waited for it.
    pub(crate) fn recovery(&self) -> Duration {
        let noticed = if self.silent { self.heartbeat_timeout() } else { Duration::ZERO };
        self.outage() + noticed + BACKOFF_MAX
    }

    /// How long what is missing after the last event is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.outage() + self.heartbeat_timeout() + BACKOFF_MAX + STRAGGLERS
    }

    /// Sockets that may be open at the same time, at both ends, beside which there is little else.
    pub(crate) fn sockets(&self) -> usize {
        // Some have been cut and are not gone yet; those that were cut silently stay longer.
        let per_ten_clients = if self.silent { 25 } else { 21 };
        self.clients * per_ten_clients / 10 + OTHER_DESCRIPTORS
    }

    fn scaled(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }
}

fn value<T: FromStr>(option: &str, word: Option<&String>) -> Result<T, String> {
    let word = word.ok_or_else(|| format!("`{option}` needs a value"))?;
    word.parse().map_err(|_| format!("`{word}` is no value of `{option}`"))
}

/// A client that lost its link tries again within this time, whatever the time scale.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

const STRAGGLERS: Duration = Duration::from_secs(4);

const OTHER_DESCRIPTORS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, &["mem", "tcp", "ws"])
    }

    #[test]
    fn nothing_is_asked_for_and_the_default_is_given() {
        assert_eq!(parse(""), Ok(Options::default()));
    }

    #[test]
    fn everything_is_asked_for_and_given() {
        let line = "--clients 3 --events 7 --transport tcp+ws --time-scale 0.5 --seed 9 --silent";
        let expected = Options {
            clients: 3,
            events: 7,
            wires: vec!["tcp".to_owned(), "ws".to_owned()],
            scale: 0.5,
            seed: 9,
            silent: true,
        };
        assert_eq!(parse(line), Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (line, reason) in [
            ("--clients", "`--clients` needs a value"),
            ("--clients many", "`many` is no value of `--clients`"),
            ("--loud", "`--loud` is no option"),
            ("--transport tcp+pigeon", "there is no wire `pigeon`; there are mem, tcp, ws"),
            ("--events 0", "without clients or events there is nothing to see"),
            ("--time-scale 0", "a time scale is between 0.001 and 100"),
            ("--time-scale NaN", "a time scale is between 0.001 and 100"),
        ] {
            assert_eq!(parse(line), Err(reason.to_owned()), "{line}");
        }
    }

    #[test]
    fn times_are_scaled_and_silence_is_noticed_sooner() {
        let loud = parse("--events 10 --time-scale 0.5").unwrap();
        assert_eq!(loud.length(), Duration::from_secs(5));
        assert_eq!(loud.outage(), Duration::from_secs(1));
        assert_eq!(loud.heartbeat_timeout(), Duration::from_secs(10));
        let silent = parse("--time-scale 0.5 --silent").unwrap();
        assert_eq!(silent.heartbeat_timeout(), Duration::from_millis(1500));
        assert!(silent.sockets() > loud.sockets());
    }
}
