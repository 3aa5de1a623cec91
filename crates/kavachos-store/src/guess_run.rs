//! How many guesses in a row were wrong at what proves a human, and the end of them.
//!
//! Each is counted before it is looked at, by one statement, so that of a thousand at once no more are looked at than may
//! be; whoever was right ends the run.

use kavachos_core::id::UserId;

use crate::batch::Write;
use crate::row::{Query, Select};

/// Whose guesses at what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Who is guessed at.
    pub user: UserId,
    /// What is guessed.
    pub authenticator: &'static str,
    /// The browser, where it is known: 32 bytes, or none for strangers.
    pub browser: Vec<u8>,
}

/// How many there were.
pub fn length(run: &Run) -> Select<(u64,)> {
    let sql = "SELECT in_a_row FROM guess_runs WHERE user_id = ?1 AND authenticator = ?2 AND browser = ?3";
    Query::new(1, sql)
        .bind(run.user)
        .bind(run.authenticator)
        .bind(run.browser.clone())
        .of()
}

/// Counts one more, if there were fewer than this.
pub fn count_below(run: &Run, limit: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO guess_runs AS r (user_id, authenticator, browser, in_a_row) VALUES (?1, ?2, ?3, 1) \
         ON CONFLICT (user_id, authenticator, browser) DO UPDATE SET in_a_row = r.in_a_row + 1 WHERE r.in_a_row < ?4",
    )
    .bind(run.user)
    .bind(run.authenticator)
    .bind(run.browser.clone())
    .bind(limit)
}

/// Counts the one behind the last that may be looked at, for whoever comes first.
pub fn close(run: &Run, limit: u64) -> Write {
    Write::exactly(
        1,
        "UPDATE guess_runs SET in_a_row = in_a_row + 1 \
         WHERE user_id = ?1 AND authenticator = ?2 AND browser = ?3 AND in_a_row = ?4",
    )
    .bind(run.user)
    .bind(run.authenticator)
    .bind(run.browser.clone())
    .bind(limit)
}

/// Writes a run as it is: as much work for the disk as counting.
pub fn touch(run: &Run) -> Write {
    Write::any(
        "UPDATE guess_runs SET in_a_row = in_a_row WHERE user_id = ?1 AND authenticator = ?2 AND browser = ?3",
    )
    .bind(run.user)
    .bind(run.authenticator)
    .bind(run.browser.clone())
}

/// Ends the runs at one thing that proves a human.
pub fn end(user: UserId, authenticator: &'static str) -> Write {
    Write::any("DELETE FROM guess_runs WHERE user_id = ?1 AND authenticator = ?2")
        .bind(user)
        .bind(authenticator)
}

/// Ends all runs at a human.
pub fn end_of(user: UserId) -> Write {
    Write::any("DELETE FROM guess_runs WHERE user_id = ?1").bind(user)
}
