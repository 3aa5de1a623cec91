//! What becomes of a refresh token that is shown: a pure function of what is known of its line.
//!
//! Promises: of a line one token is good at a time. Whoever shows the one before it, because the answer with the new one was
//! lost, gets the same new one again, while nobody has used that: twice at most, and for a short time. Whoever shows one that
//! was replaced long ago, or whose successor was used, shows a copy: the line is over.

use std::time::Duration;

use crate::time::Timestamp;

/// For how long the answer is given again to whoever proves the key that the line is bound to.
pub const AGAIN_WHEN_BOUND: Duration = Duration::from_secs(30);
/// For how long it is given again to anybody else.
pub const AGAIN: Duration = Duration::from_secs(10);
/// For how long whoever comes late is refused without harm.
pub const LATE: Duration = Duration::from_secs(30);
/// How often the answer is given again.
pub const MOST_AGAIN: u8 = 2;

/// A line of refresh tokens, of which each takes the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The number of the token that is good.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// How often it was given again.
    pub repeats: u8,
    /// Whether each use proves a key.
    pub is_bound: bool,
}

/// What becomes of a token that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It is good: the next one takes its place.
    Good,
    /// The answer was lost: the same successor is given again.
    Again,
    /// Too late or too often for that, and too soon to tell a copy from a client in a hurry: refused, and nothing else.
    Late,
    /// A copy: refused, and the line ends.
    Reused,
}

impl Line {
    /// What becomes of the token with this number.
    pub fn show(&self, number: u64, now: Timestamp) -> Shown {
        if number == self.number {
            return Shown::Good;
        }
        let age = now.since(self.since);
        let is_last = number.checked_add(1) == Some(self.number);
        let again = if self.is_bound {
            AGAIN_WHEN_BOUND
        } else {
            AGAIN
        };
        match is_last {
            true if age < again && self.repeats < MOST_AGAIN => Shown::Again,
            true if age < LATE => Shown::Late,
            _ => Shown::Reused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(is_bound: bool, repeats: u8) -> Line {
        Line {
            number: 7,
            since: Timestamp::from_micros(0),
            repeats,
            is_bound,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_newest_token_is_good_however_old() {
        for seconds in [0, 9, 31, 1_000_000] {
            assert_eq!(line(false, 2).show(7, at(seconds)), Shown::Good);
        }
    }

    #[test]
    fn a_lost_answer_is_given_again_twice_and_for_a_while() {
        for (is_bound, repeats, seconds, expected) in [
            (false, 0, 0, Shown::Again),
            (false, 1, 9, Shown::Again),
            (false, 2, 9, Shown::Late),
            (false, 0, 10, Shown::Late),
            (false, 0, 29, Shown::Late),
            (false, 0, 30, Shown::Reused),
            (true, 0, 29, Shown::Again),
            (true, 1, 10, Shown::Again),
            (true, 2, 10, Shown::Late),
            (true, 0, 30, Shown::Reused),
        ] {
            let shown = line(is_bound, repeats).show(6, at(seconds));
            assert_eq!(shown, expected, "{is_bound} {repeats} {seconds}");
        }
    }

    #[test]
    fn a_token_whose_successor_was_used_is_a_copy() {
        for number in [0, 5, 8, u64::MAX] {
            assert_eq!(line(true, 0).show(number, at(0)), Shown::Reused, "{number}");
        }
    }
}
