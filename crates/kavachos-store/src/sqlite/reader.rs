//! Reads: a few threads with a read-only connection each, behind a bounded queue.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rusqlite::{CachedStatement, Connection, params_from_iter};

use super::connection::Database;
use super::error::Fault;
use super::value::{Bound, cell};
use crate::answer::ReadError;
use crate::row::{Query, Row};
use crate::writer::job::{ReadJob, Rows};
use crate::writer::queue::{Limit, Queue};

const ONE: Limit = Limit {
    items: 1,
    bytes: usize::MAX,
};

/// Starts so many readers. They end when the queue is closed and empty.
pub(super) fn start(
    count: usize,
    database: &Database,
    queue: &Arc<Queue<ReadJob>>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    (0..count)
        .map(|number| {
            let (database, queue) = (database.clone(), Arc::clone(queue));
            Builder::new()
                .name(format!("kavach-read-{number}"))
                .spawn(move || serve(&database, &queue))
        })
        .collect()
}

fn serve(database: &Database, queue: &Queue<ReadJob>) {
    let mut connection: Option<Connection> = None;
    let mut jobs = Vec::with_capacity(1);
    while queue.drain(&mut jobs, ONE) {
        for job in jobs.drain(..) {
            let rows = match connected(&mut connection, database) {
                Ok(connection) => run(connection, &job.queries),
                Err(error) => Err(error),
            };
            if matches!(rows, Err(ReadError::Unavailable(_))) {
                connection = None;
            }
            // A caller that no longer waits needs no answer.
            let _ = job.answer.send(rows);
        }
    }
}

fn connected<'a>(
    slot: &'a mut Option<Connection>,
    database: &Database,
) -> Result<&'a Connection, ReadError> {
    match slot {
        Some(connection) => Ok(connection),
        empty => database
            .reader()
            .map(|connection| &*empty.insert(connection))
            .map_err(|error| ReadError::Unavailable(error.to_string().into())),
    }
}

/// Runs queries on one snapshot of a connection that is in no transaction.
pub(super) fn run(connection: &Connection, queries: &[Query]) -> Rows {
    if let [query] = queries {
        // A statement alone is a snapshot of its own.
        return Ok(vec![select(connection, query)?]);
    }
    execute(connection, "BEGIN")?;
    let rows = queries
        .iter()
        .map(|query| select(connection, query))
        .collect();
    execute(connection, "COMMIT").or_else(|_| execute(connection, "ROLLBACK"))?;
    rows
}

/// The rows of one query.
pub(super) fn select(connection: &Connection, query: &Query) -> Result<Vec<Row>, ReadError> {
    let mut statement = connection
        .prepare_cached(&query.sql)
        .map_err(|error| judge(&error))?;
    if !statement.readonly() {
        let reason = "it changes something: that is what `commit` is for";
        return Err(ReadError::Rejected(reason.to_owned()));
    }
    collect(&mut statement, query)
}

fn collect(statement: &mut CachedStatement<'_>, query: &Query) -> Result<Vec<Row>, ReadError> {
    let columns = statement.column_count();
    let mut found = statement
        .query(params_from_iter(query.params.iter().map(Bound)))
        .map_err(|error| judge(&error))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(|error| judge(&error))? {
        if rows.len() == query.max_rows {
            return Err(ReadError::TooManyRows(query.max_rows));
        }
        let mut cells = Vec::with_capacity(columns);
        for column in 0..columns {
            let value = row.get_ref(column).map_err(|error| judge(&error))?;
            let reason = || ReadError::Rejected("a value is neither number, text nor bytes".into());
            cells.push(cell(value).ok_or_else(reason)?);
        }
        rows.push(Row::new(cells));
    }
    Ok(rows)
}

fn execute(connection: &Connection, sql: &str) -> Result<(), ReadError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(|_| ())
        .map_err(|error| judge(&error))
}

fn judge(error: &rusqlite::Error) -> ReadError {
    match Fault::of(error) {
        Fault::Data(reason) => ReadError::Rejected(reason),
        Fault::Busy => ReadError::Busy,
        fault => ReadError::Unavailable(fault.reason().into()),
    }
}
