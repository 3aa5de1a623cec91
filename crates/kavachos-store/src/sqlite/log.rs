//! Where the log stands, and what the writer remembers of the tables that only it changes.
//!
//! A [`Log`] is changed as batches hold. When a group fails it is thrown away and read again, so it never has to be
//! wound back further than one batch.

use std::path::Path;

use kavachos_core::ledger::{Frontier, LogId};
use kavachos_core::revocation::{Handle, LogHead};
use kavachos_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::OpenError;
use super::recent::Recent;
use super::value::to_i64;
use crate::answer::Head;
use crate::handle;
use crate::host::Rng;

/// How many handles are remembered for certain: those of the tokens and agents in use.
const HANDLES: usize = 1 << 16;
/// How many counters are remembered for certain; each has at most about 300 bytes.
const COUNTERS: usize = 1 << 15;

const LOAD: &str = "SELECT log, epoch, commits, frontier, last_time, rseq, rhash FROM log";
const SAVE: &str = "UPDATE log SET commits = ?1, frontier = ?2, last_time = ?3, rseq = ?4, rhash = ?5 \
    WHERE only = 1 AND commits = ?6";

/// The head of the log, and a memory of handles and counters.
pub(super) struct Log {
    id: LogId,
    epoch: u64,
    /// How many groups were committed; tells after a lost COMMIT whether it was done.
    pub(super) commits: u64,
    pub(super) frontier: Frontier,
    pub(super) last_time: Timestamp,
    pub(super) revocation: LogHead,
    pub(super) handles: Recent<Handle, u64>,
    pub(super) counters: Recent<Box<[u8]>, Vec<u8>>,
}

impl Log {
    /// The name of the log.
    pub(super) fn id(&self) -> LogId {
        self.id
    }

    /// Reads the head; the memory starts empty.
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, OpenError> {
        connection
            .query_row(LOAD, [], Stored::read)
            .map_err(|error| OpenError::of(&error, path))?
            .check()
    }

    /// Makes the one row of a new log.
    pub(super) fn create(connection: &Connection, rng: &dyn Rng) -> rusqlite::Result<()> {
        let mut id = [0; 16];
        rng.fill(&mut id);
        connection.execute(
            "INSERT INTO log (only, log, epoch, commits, frontier, last_time, rseq, rhash) \
             VALUES (1, ?1, 1, 0, ?2, 0, 0, ?3) ON CONFLICT (only) DO NOTHING",
            params![id, Frontier::default().encode(), LogHead::EMPTY.rhash],
        )?;
        Ok(())
    }

    /// Stores the head as it is now, one commit further. `false`: somebody else moved it.
    pub(super) fn save(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let before = self.commits;
        self.commits = before.saturating_add(1);
        let changed = connection.prepare_cached(SAVE)?.execute(params![
            to_i64(self.commits)?,
            self.frontier.encode(),
            self.last_time.as_micros(),
            to_i64(self.revocation.rseq)?,
            self.revocation.rhash,
            to_i64(before)?,
        ])?;
        Ok(changed == 1)
    }

    /// Whether this is the log that had the given head, or a later state of it. Otherwise somebody replaced the file.
    pub(super) fn continues(&self, head: &Head) -> bool {
        self.id == head.log
            && self.epoch == head.epoch
            && self.frontier.size() >= head.size
            && self.revocation.rseq >= head.revocation.rseq
    }

    /// The head for receipts.
    pub(super) fn head(&self) -> Head {
        Head {
            log: self.id,
            epoch: self.epoch,
            size: self.frontier.size(),
            root: self.frontier.root(),
            revocation: self.revocation,
        }
    }

    /// The current generation of a handle; `None` when it was never stored.
    pub(super) fn generation(
        &mut self,
        connection: &Connection,
        handle: Handle,
    ) -> rusqlite::Result<Option<u64>> {
        if let Some(generation) = self.handles.touch(&handle) {
            return Ok(Some(*generation));
        }
        let stored: Option<u64> = connection
            .prepare_cached("SELECT generation FROM handles WHERE handle = ?1")?
            .query_row([handle::encode(handle)], |row| unsigned(row, 0))
            .optional()?;
        if let Some(generation) = stored {
            self.handles.put(handle, generation);
        }
        Ok(stored)
    }

    /// The stored state of a counter; `None` when nothing was ever taken from it.
    pub(super) fn counter(
        &mut self,
        connection: &Connection,
        counter: &[u8],
    ) -> rusqlite::Result<Option<&[u8]>> {
        if self.counters.touch(counter).is_none() {
            let stored: Option<Vec<u8>> = connection
                .prepare_cached("SELECT state FROM counters WHERE counter = ?1")?
                .query_row([counter], |row| row.get(0))
                .optional()?;
            if let Some(state) = stored {
                self.counters.put(counter.into(), state);
            }
        }
        Ok(self.counters.touch(counter).map(Vec::as_slice))
    }
}

/// The row as it is stored.
struct Stored {
    id: [u8; 16],
    epoch: u64,
    commits: u64,
    frontier: Vec<u8>,
    last_time: i64,
    revocation: LogHead,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
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

    fn check(self) -> Result<Log, OpenError> {
        let frontier = Frontier::decode(&self.frontier)
            .map_err(|error| OpenError::Damaged(error.message().to_owned()))?;
        Ok(Log {
            id: LogId(self.id),
            epoch: self.epoch,
            commits: self.commits,
            frontier,
            last_time: Timestamp::from_micros(self.last_time),
            revocation: self.revocation,
            handles: Recent::new(HANDLES),
            counters: Recent::new(COUNTERS),
        })
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}
