//! The log's row, and looking up what the writer does not remember.

use std::path::Path;

use kavachos_core::ledger::Frontier;
use kavachos_core::revocation::{Handle, LogHead};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::OpenError;
use super::value::to_i64;
use crate::handle;
use crate::host::Rng;
use crate::writer::log::{Log, StoredLog};
use crate::writer::statement::{CREATE, LOAD, SAVE};

/// Reads the head; the memory starts empty.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<Log, OpenError> {
    connection
        .query_row(LOAD, [], stored)
        .map_err(|error| OpenError::of(&error, path))?
        .check()
        .map_err(OpenError::Damaged)
}

/// Makes the one row of a new log.
pub(super) fn create(connection: &Connection, rng: &dyn Rng) -> rusqlite::Result<()> {
    let mut id = [0; 16];
    rng.fill(&mut id);
    let empty = params![id, Frontier::default().encode(), LogHead::EMPTY.rhash];
    connection.execute(CREATE, empty)?;
    Ok(())
}

/// Stores the head as it is now, one commit further. `false`: somebody else moved it.
pub(super) fn save(log: &mut Log, connection: &Connection) -> rusqlite::Result<bool> {
    let before = log.commits;
    log.commits = before.saturating_add(1);
    let changed = connection.prepare_cached(SAVE)?.execute(params![
        to_i64(log.commits)?,
        log.frontier.encode(),
        log.last_time.as_micros(),
        to_i64(log.revocation.rseq)?,
        log.revocation.rhash,
        to_i64(before)?,
    ])?;
    Ok(changed == 1)
}

/// The current generation of a handle; `None` when it was never stored.
pub(super) fn generation(
    log: &mut Log,
    connection: &Connection,
    handle: Handle,
) -> rusqlite::Result<Option<u64>> {
    if let Some(generation) = log.handles.touch(&handle) {
        return Ok(Some(*generation));
    }
    let stored: Option<u64> = connection
        .prepare_cached("SELECT generation FROM handles WHERE handle = ?1")?
        .query_row([handle::encode(handle)], |row| unsigned(row, 0))
        .optional()?;
    if let Some(generation) = stored {
        log.handles.put(handle, generation);
    }
    Ok(stored)
}

/// The stored state of a counter; `None` when nothing was ever taken from it.
pub(super) fn counter<'a>(
    log: &'a mut Log,
    connection: &Connection,
    counter: &[u8],
) -> rusqlite::Result<Option<&'a [u8]>> {
    if log.counters.touch(counter).is_none() {
        let stored: Option<Vec<u8>> = connection
            .prepare_cached("SELECT state FROM counters WHERE counter = ?1")?
            .query_row([counter], |row| row.get(0))
            .optional()?;
        if let Some(state) = stored {
            log.counters.put(counter.into(), state);
        }
    }
    Ok(log.counters.touch(counter).map(Vec::as_slice))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredLog> {
    Ok(StoredLog {
        id: row.get(0)?,
        epoch: unsigned(row, 1)?,
        commits: unsigned(row, 2)?,
        frontier: row.get(3)?,
        last_time: row.get(4)?,
        revocation: LogHead {
            rseq: unsigned(row, 5)?,
            rhash: row.get(6)?,
        },
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}
