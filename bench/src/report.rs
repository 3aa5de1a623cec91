//! Figures: what was measured, beside what, and whether it holds.

use std::fmt;

/// A bound that a ratio must keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Told beside a figure, and bound by nothing.
    None,
}

/// The values of one side or one ratio, a value a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(pub(crate) Vec<f64>);

/// One line of the table.
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) reference: String,
    pub(crate) ratio: Rounds,
    pub(crate) must: Bound,
    pub(crate) aim: Bound,
}

impl Rounds {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn bounds(&self) -> (f64, f64) {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    }

    /// Each value of ours by the reference's of the same round.
    pub(crate) fn by(&self, reference: &Self) -> Self {
        let pairs = self.0.iter().zip(&reference.0);
        Self(pairs.map(|(ours, theirs)| ours / theirs).collect())
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.bounds();
        if self.0.len() < 2 {
            return write!(f, "{:.2}", self.median());
        }
        write!(f, "{:.2} ({least:.2}..{most:.2})", self.median())
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::None => f.write_str("-"),
        }
    }
}

impl Figure {
    fn verdict(&self) -> &'static str {
        match self.must {
            Bound::None => "-",
            _ if !self.must.holds(self.ratio.median()) => "FAIL",
            _ if self.aim.holds(self.ratio.median()) => "aim",
            _ => "pass",
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.must.holds(self.ratio.median())
    }
}

/// Prints the figures as a Markdown table.
pub(crate) fn print(figures: &[Figure]) {
    println!("\n| # | what | ours | reference | ratio, median (min..max) | must | aim | |");
    println!("|---|---|---|---|---|---|---|---|");
    for figure in figures {
        let Figure {
            id,
            what,
            ours,
            reference,
            ratio,
            must,
            aim,
        } = figure;
        let verdict = figure.verdict();
        println!("| {id} | {what} | {ours} | {reference} | {ratio} | {must} | {aim} | {verdict} |");
    }
}
