//! A whole tenant as rows: what is read of each table, in which order, and how it is written back.
//!
//! Promises: [`TABLES`] and the tables of plugins are everything that a tenant is made of, in an order in which each row
//! stands after those it refers to; the order within a table is that of its key, so two databases with the same rows give
//! them in the same order. What is not in it, a tenant does without: `Idempotency-Key`s of the last day, which id_tokens and
//! proofs were used, tokens that were promised and not made yet, sign-ins under way, what clients pushed or devices ask for,
//! mails that wait, browsers in which humans signed in, links that were mailed, and what plugins name as passing. Whether
//! first mentions are held follows from the records
//! ([`crate::restoration`]).

mod contradiction;
mod factor;
mod record;
mod table;
mod tables;

use kavachos_core::ledger::Hash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

pub use contradiction::{CONTRADICTIONS, State, contradiction};
pub use factor::Factor;
pub use record::Record;
pub use table::{Column, Form, LEVELS, Table};
pub use tables::*;

/// What is in a database that is not empty: a table, in the words of a message. A new database has keys that were made
/// with it or stand in a configuration, and records. These tables of plugins have nothing in a new one.
pub fn occupants(of_plugins: &[Table]) -> Select<(String,)> {
    let mut sql = String::from(
        "SELECT 'users' WHERE EXISTS (SELECT 1 FROM users) \
         UNION ALL SELECT 'agents' WHERE EXISTS (SELECT 1 FROM agents) \
         UNION ALL SELECT 'tool servers' WHERE EXISTS (SELECT 1 FROM tool_servers) \
         UNION ALL SELECT 'clients' WHERE EXISTS (SELECT 1 FROM oauth_clients) \
         UNION ALL SELECT 'webhooks' WHERE EXISTS (SELECT 1 FROM webhooks) \
         UNION ALL SELECT 'operator keys that were made with others' \
         WHERE (SELECT COUNT(*) FROM operator_keys k WHERE k.origin = 'created') > 1",
    );
    for Table { name, .. } in of_plugins {
        sql.push_str(&format!(
            " UNION ALL SELECT 'rows in {name}' WHERE EXISTS (SELECT 1 FROM {name})"
        ));
    }
    Query::new(of_plugins.len().saturating_add(8), sql).of()
}

/// Takes out what a new database has, and what is passing in these tables of plugins.
pub fn clear(passing: &[&str]) -> Vec<Write> {
    let own = [
        "operator_keys",
        "idempotency",
        "mails",
        "guesses",
        "guess_runs",
        "pushed_requests",
        "device_requests",
        "restoration",
        "handles",
        "revocation_log",
        "counters",
        "ledger_member",
        "ledger",
    ];
    let all = passing.iter().chain(&own);
    all.map(|name| clear_table(name)).collect()
}

/// Where the log of a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its name.
    pub log: [u8; 16],
    /// Its epoch.
    pub epoch: u64,
    /// The edge of the ledger's tree, encoded.
    pub frontier: Vec<u8>,
    /// When its last record was committed, or later.
    pub last_time: Timestamp,
    /// The number of the last revocation.
    pub rseq: u64,
    /// The hash of the last revocation.
    pub rhash: Hash,
}

impl FromRow for Log {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (log, epoch, frontier, last_time, rseq, rhash) = row.decode()?;
        Ok(Self {
            log,
            epoch,
            frontier,
            last_time,
            rseq,
            rhash,
        })
    }
}

/// Where the log stands.
pub fn log() -> Select<Log> {
    Query::new(
        1,
        "SELECT l.log, l.epoch, l.frontier, l.last_time, l.rseq, l.rhash FROM log l",
    )
    .of()
}

/// The body of the record of the last import.
pub fn last_import() -> Select<(String,)> {
    Query::new(
        1,
        // That it is no decision lets SQLite see that the index of acts has it.
        "SELECT l.body FROM ledger l WHERE l.kind = 'tenant.imported' AND l.kind <> 'decision' AND l.outcome = 'allowed' \
         ORDER BY l.seq DESC LIMIT 1",
    )
    .of()
}

/// The leaves of records from this number on, at most so many, in their order.
pub fn leaves(from: u64, limit: usize) -> Select<(Hash,)> {
    Query::new(
        limit,
        "SELECT l.leaf FROM ledger l WHERE l.seq >= ?1 ORDER BY l.seq LIMIT ?2",
    )
    .bind(from.min(i64::MAX.unsigned_abs()))
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Takes out every row of a table.
pub fn clear_table(name: &str) -> Write {
    Write::any(format!("DELETE FROM {name}"))
}

/// How many mails wait to be sent.
pub fn mails() -> Select<(u64,)> {
    Query::new(1, "SELECT CAST(COUNT(*) AS BIGINT) FROM mails m").of()
}
