//! Budgets of guesses: how many may be wrong at an account before each further one has to wait.
//!
//! A guess is paid for before it is looked at, by one statement, so that a thousand at once are no more than the budget;
//! whoever was right gets the whole budget back.

use std::time::Duration;

use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// How many may be wrong, and what comes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many in one window.
    pub guesses: u64,
    /// How long a window is.
    pub window: Duration,
    /// How long the first guess beyond them waits; each further one twice as long.
    pub first_pause: Duration,
    /// The longest wait.
    pub longest_pause: Duration,
}

/// Pays for one guess, if one may be made now.
pub fn pay(bucket: [u8; 32], budget: Budget, now: Timestamp) -> Write {
    // `g.since <= ?3`: the window is over and a new one begins.
    Write::exactly(
        1,
        "INSERT INTO guesses AS g (bucket, failures, since, pause, free_at) VALUES (?1, 1, ?2, 0, ?2) \
         ON CONFLICT (bucket) DO UPDATE SET \
           failures = CASE WHEN g.since <= ?3 AND g.free_at <= ?2 THEN 1 ELSE g.failures + 1 END, \
           since = CASE WHEN g.since <= ?3 AND g.free_at <= ?2 THEN ?2 ELSE g.since END, \
           free_at = CASE WHEN g.since <= ?3 AND g.free_at <= ?2 THEN ?2 WHEN g.failures + 1 < ?4 THEN g.free_at \
             WHEN g.pause = 0 THEN ?2 + ?5 WHEN g.pause * 2 > ?6 THEN ?2 + ?6 ELSE ?2 + g.pause * 2 END, \
           pause = CASE WHEN g.since <= ?3 AND g.free_at <= ?2 THEN 0 WHEN g.failures + 1 < ?4 THEN 0 \
             WHEN g.pause = 0 THEN ?5 WHEN g.pause * 2 > ?6 THEN ?6 ELSE g.pause * 2 END \
         WHERE g.free_at <= ?2",
    )
    .bind(bucket)
    .bind(now)
    .bind(now.minus(budget.window))
    .bind(budget.guesses)
    .bind(micros(budget.first_pause))
    .bind(micros(budget.longest_pause))
}

/// From when on the next guess may be made.
pub fn free_at(bucket: [u8; 32]) -> Select<(Timestamp,)> {
    Query::new(1, "SELECT free_at FROM guesses WHERE bucket = ?1")
        .bind(bucket)
        .of()
}

/// Writes a budget as it is: as much work for the disk as a record, and nothing is kept.
pub fn touch(bucket: [u8; 32]) -> Write {
    Write::any("UPDATE guesses SET since = since WHERE bucket = ?1").bind(bucket)
}

/// Gives a whole budget back.
pub fn give_back(bucket: [u8; 32]) -> Write {
    Write::any("DELETE FROM guesses WHERE bucket = ?1").bind(bucket)
}

/// Gives one guess back out of a budget that others pay out of too.
pub fn give_one_back(bucket: [u8; 32]) -> Write {
    Write::any("UPDATE guesses SET failures = failures - 1 WHERE bucket = ?1 AND failures > 0")
        .bind(bucket)
}

/// Forgets budgets whose window began before this time, and that nobody waits for.
pub fn forget(before: Timestamp, now: Timestamp) -> Write {
    Write::any("DELETE FROM guesses WHERE since < ?1 AND free_at < ?2")
        .bind(before)
        .bind(now)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1)
}
