//! The transaction that fills an empty database, on the writer's own connection; and, for a database in memory, which
//! has no other, the reading of one state.

use rusqlite::{Connection, params, params_from_iter};

use super::error::Fault;
use super::reader;
use super::value::{Bound, to_i64};
use crate::answer::CommitError;
use crate::batch::{Rows, Write};
use crate::passage::Filled;
use crate::row::{Query, Row};
use crate::writer::errand::REPLACE_LOG;

/// Begins the transaction.
pub(super) fn begin(connection: &Connection) -> Result<(), Fault> {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    begun.map_err(|error| Fault::of(&error))
}

/// The rows of a query inside of it.
pub(super) fn query(
    connection: &Connection,
    query: &Query,
) -> Result<Vec<Row>, crate::answer::ReadError> {
    reader::select(connection, query)
}

/// Runs statements, each of which must change as many rows as it states.
pub(super) fn write(connection: &Connection, writes: &[Write]) -> Result<(), CommitError> {
    for (index, write) in writes.iter().enumerate() {
        let changed = connection
            .prepare_cached(&write.sql)
            .and_then(|mut statement| {
                statement.execute(params_from_iter(write.params.iter().map(Bound)))
            })
            .map_err(|error| refused(index, &error))?;
        if let Rows::Exactly(rows) = write.rows
            && u64::try_from(changed) != Ok(rows)
        {
            return Err(CommitError::Conflict { write: Some(index) });
        }
    }
    Ok(())
}

/// Makes this the log, one commit after the last. COMMIT is the caller's.
pub(super) fn replace_log(
    connection: &Connection,
    filled: &Filled,
    commits: u64,
) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        REPLACE_LOG,
        params![
            filled.log.0,
            to_i64(filled.epoch)?,
            to_i64(commits.saturating_add(1))?,
            filled.frontier.encode(),
            filled.last_time.as_micros(),
            to_i64(filled.revocation.rseq)?,
            filled.revocation.rhash,
            to_i64(commits)?,
        ],
    )?;
    Ok(changed == 1)
}

fn refused(index: usize, error: &rusqlite::Error) -> CommitError {
    match Fault::of(error) {
        Fault::Data(reason) => CommitError::Rejected {
            write: Some(index),
            reason,
        },
        Fault::Busy => CommitError::Busy,
        fault => CommitError::Unavailable(fault.reason().into()),
    }
}
