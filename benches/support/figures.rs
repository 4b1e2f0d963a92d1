//! What several rounds say together.

use std::fmt;

/// The figure of each round. On a shared machine only their middle means something, and how far
/// they lie apart.
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(rounds: I) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        Self(rounds)
    }
}

impl Figures {
    /// Zero without a round.
    pub(crate) fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match self.0.as_slice() {
            [] => 0.0,
            rounds if rounds.len() % 2 == 0 => (rounds[half - 1] + rounds[half]) / 2.0,
            rounds => rounds[half],
        }
    }

    fn ends(&self) -> (f64, f64) {
        (self.0.first().copied().unwrap_or(0.0), self.0.last().copied().unwrap_or(0.0))
    }
}

/// As `4.08 (3.84–6.31)`: the median, the least and the most.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let (least, most) = self.ends();
        let text = format!("{:.digits$} ({least:.digits$}–{most:.digits$})", self.median());
        write!(f, "{text:>width$}", width = f.width().unwrap_or(0))
    }
}
