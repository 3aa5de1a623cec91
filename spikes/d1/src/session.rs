//! What an executor believes of the log, and reading it from the database.

use std::collections::HashMap;

use kavachos_core::ledger::{Frontier, Hash};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::{FromRow, Row};

use crate::link::{Link, LinkError, Statement};
use crate::writer::log::{Log, StoredLog};
use crate::writer::statement::LOAD;

/// How many counters one statement asks for.
const COUNTERS_PER_QUERY: usize = 64;

/// A row of the table `log`.
type LogRow = ([u8; 16], u64, u64, Vec<u8>, i64, u64, Hash);

/// The states of the counters that a group takes from. None for one from which nothing was taken yet.
pub(crate) type States = HashMap<Box<[u8]>, Vec<u8>>;

/// Where the log stands: what a group moves, and what is put back when it was not applied.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) commits: u64,
    pub(crate) frontier: Frontier,
    pub(crate) last_time: Timestamp,
    pub(crate) revocation: LogHead,
}

impl Place {
    /// Where this log stands.
    pub(crate) fn of(log: &Log) -> Self {
        Self {
            commits: log.commits,
            frontier: log.frontier.clone(),
            last_time: log.last_time,
            revocation: log.revocation,
        }
    }

    /// Moves the log there.
    pub(crate) fn apply(&self, log: &mut Log) {
        log.commits = self.commits;
        log.frontier = self.frontier.clone();
        log.last_time = self.last_time;
        log.revocation = self.revocation;
    }
}

/// Reads the head; the memory of counters starts empty.
pub(crate) fn load(link: &dyn Link) -> Result<Log, LinkError> {
    stored(link.batch(&[plain(LOAD)])?.pop())
}

/// Reads the head, and those of the counters that the log does not remember, in one moment. A newer head than the log's
/// replaces the log.
pub(crate) fn look_up(
    link: &dyn Link,
    log: &mut Log,
    counters: &[&[u8]],
) -> Result<States, LinkError> {
    let mut states = States::new();
    let mut unknown: Vec<&[u8]> = Vec::new();
    for counter in counters {
        match log.counters.touch(*counter) {
            Some(state) => drop(states.insert((*counter).into(), state.clone())),
            None => unknown.push(counter),
        }
    }
    if unknown.is_empty() {
        return Ok(states);
    }
    let mut statements = vec![plain(LOAD)];
    statements.extend(unknown.chunks(COUNTERS_PER_QUERY).map(select));
    let mut lists = link.batch(&statements)?.into_iter();
    let newest = stored(lists.next())?;
    if newest.commits != log.commits {
        // What is remembered may be old. Asking again for all of it happens once per overtaking.
        *log = newest;
        return look_up(link, log, counters);
    }
    for row in lists.flatten() {
        let (counter, state): (Vec<u8>, Vec<u8>) = decode(row)?;
        log.counters.put(counter.as_slice().into(), state.clone());
        states.insert(counter.into(), state);
    }
    Ok(states)
}

fn select(counters: &[&[u8]]) -> Statement {
    let query = kavachos_store::counter::states(counters).into_query();
    Statement::new(query.sql, query.params)
}

/// The first column of the first row.
pub(crate) fn one<T: kavachos_store::FromCell>(
    rows: Option<Vec<Row>>,
) -> Result<Option<T>, LinkError> {
    let Some(row) = rows.and_then(|mut rows| rows.pop()) else {
        return Ok(None);
    };
    decode::<(T,)>(row).map(|(value,)| Some(value))
}

fn stored(rows: Option<Vec<Row>>) -> Result<Log, LinkError> {
    let damaged = |reason: String| LinkError::Refused(format!("the head cannot be read: {reason}"));
    let row = rows.and_then(|mut rows| rows.pop());
    let row = row.ok_or_else(|| damaged("it is missing".to_owned()))?;
    let (id, epoch, commits, frontier, last_time, rseq, rhash): LogRow = decode(row)?;
    let stored = StoredLog {
        id,
        epoch,
        commits,
        frontier,
        last_time,
        revocation: LogHead { rseq, rhash },
    };
    stored.check().map_err(damaged)
}

fn decode<T: FromRow>(row: Row) -> Result<T, LinkError> {
    row.decode()
        .map_err(|error| LinkError::Refused(error.to_string()))
}

fn plain(sql: &'static str) -> Statement {
    Statement::new(sql, Vec::new())
}
