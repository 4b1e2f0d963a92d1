//! The command line, and how soon everybody has to be back.

use std::str::FromStr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: avalanche [--clients N] [--transport tcp|ws] [--kill] [--away S]

N clients in processes of their own are connected when their server is restarted. It is drained,
or with --kill it just dies; the next one starts S seconds later. All are to be back soon, and
none is to be refused.
Without arguments: --clients 5000 --transport tcp --away 0";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) clients: usize,
    pub(crate) wire: String,
    /// Whether the server dies instead of being drained.
    pub(crate) kill: bool,
    /// How long there is no server at all.
    pub(crate) away: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { clients: 5000, wire: "tcp".to_owned(), kill: false, away: Duration::ZERO }
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
                "--transport" => options.wire = value(word, words.next())?,
                "--kill" => options.kill = true,
                "--away" => {
                    let seconds: f64 = value(word, words.next())?;
                    if !(0.0..=AWAY_MAX).contains(&seconds) {
                        return Err(format!("a server is away for 0 to {AWAY_MAX} seconds"));
                    }
                    options.away = Duration::from_secs_f64(seconds);
                }
                other => return Err(format!("`{other}` is no option")),
            }
        }
        if options.clients == 0 {
            return Err("without clients nobody comes back".to_owned());
        }
        if options.wire == "mem" || !known.contains(&options.wire.as_str()) {
            return Err(format!("there is no wire `{}` between processes", options.wire));
        }
        Ok(options)
    }

    /// How many clients each process has.
    pub(crate) fn shares(&self) -> Vec<usize> {
        let processes = self.clients.div_ceil(SHARE_MAX);
        let (share, rest) = (self.clients / processes, self.clients % processes);
        (0..processes).map(|process| share + usize::from(process < rest)).collect()
    }

    /// A server that drains spreads its clients' return over this time: so many at a time can be
    /// welcomed at ease.
    pub(crate) fn spread(&self) -> Duration {
        Duration::from_secs_f64(self.clients as f64 / RETURNS_PER_SECOND)
    }

    /// How long 99 % and all of them may take, once there is a server again. A bound on the former
    /// there is up to 5,000.
    pub(crate) fn bounds(&self) -> (Option<Duration>, Duration) {
        if self.clients <= 5000 {
            (Some(Duration::from_secs(3)), Duration::from_secs(6))
        } else {
            (None, Duration::from_secs(15))
        }
    }
}

fn value<T: FromStr>(option: &str, word: Option<&String>) -> Result<T, String> {
    let word = word.ok_or_else(|| format!("`{option}` needs a value"))?;
    word.parse().map_err(|_| format!("`{word}` is no value of `{option}`"))
}

/// In seconds.
const AWAY_MAX: f64 = 20.0;

/// Clients of one process.
const SHARE_MAX: usize = 6000;

const RETURNS_PER_SECOND: f64 = 4000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, &["mem", "tcp", "ws"])
    }

    #[test]
    fn what_is_asked_for_is_given() {
        assert_eq!(parse(""), Ok(Options::default()));
        let away = Duration::from_millis(500);
        let expected = Options { clients: 7, wire: "ws".to_owned(), kill: true, away };
        assert_eq!(parse("--clients 7 --transport ws --kill --away 0.5"), Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (line, reason) in [
            ("--clients few", "`few` is no value of `--clients`"),
            ("--clients 0", "without clients nobody comes back"),
            ("--transport mem", "there is no wire `mem` between processes"),
            ("--away -1", "a server is away for 0 to 20 seconds"),
            ("--gently", "`--gently` is no option"),
        ] {
            assert_eq!(parse(line), Err(reason.to_owned()), "{line}");
        }
    }

    #[test]
    fn clients_are_shared_out_evenly_and_no_process_has_too_many() {
        let shares = |clients| Options { clients, ..Options::default() }.shares();
        assert_eq!(shares(5), [5]);
        assert_eq!(shares(6001), [3001, 3000]);
        assert_eq!(shares(18_000), [6000; 3]);
    }

    #[test]
    fn bounds_go_by_size() {
        let bounds = |clients| Options { clients, ..Options::default() }.bounds();
        assert_eq!(bounds(5000), (Some(Duration::from_secs(3)), Duration::from_secs(6)));
        assert_eq!(bounds(18_000), (None, Duration::from_secs(15)));
    }
}
