//! The revocation log, read back for those who follow it. Only the writer writes it.
//!
//! Records are never changed and none is dropped, so what the log came to at one of them can be read in pages however
//! many are added meanwhile.

use kavachos_core::revocation::{Handle, LogHead, Mark, Record};

use crate::handle;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// Where the log stands, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// How often the database was restored from a backup.
    pub epoch: u64,
    /// The last record.
    pub head: LogHead,
}

impl FromRow for LogState {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (epoch, rseq, rhash) = row.decode()?;
        Ok(Self {
            epoch,
            head: LogHead { rseq, rhash },
        })
    }
}

impl FromRow for Record {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (rseq, handle, generation) = row.decode()?;
        Ok(Self {
            rseq,
            kill: Mark { handle, generation },
        })
    }
}

impl FromRow for Mark {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (handle, generation) = row.decode()?;
        Ok(Self { handle, generation })
    }
}

/// Where the log stands.
pub fn state() -> Select<LogState> {
    Query::new(1, "SELECT l.epoch, l.rseq, l.rhash FROM log l").of()
}

/// A state of the database as a whole: the name of its log, the epoch, and how many groups were committed. Of two of the
/// same log and epoch the one with more groups is the later one.
pub fn version() -> Select<([u8; 16], u64, u64)> {
    Query::new(1, "SELECT l.log, l.epoch, l.commits FROM log l").of()
}

/// The hash of the log up to the record of this number; there is no row for an empty log.
pub fn hash_at(rseq: u64) -> Select<([u8; 32],)> {
    Query::new(1, "SELECT r.rhash FROM revocation_log r WHERE r.rseq = ?1")
        .bind(stored(rseq))
        .of()
}

/// At most `limit` records after the one of this number, in their order.
pub fn after(rseq: u64, limit: usize) -> Select<Record> {
    Query::new(
        limit,
        "SELECT r.rseq, r.handle, r.generation FROM revocation_log r WHERE r.rseq > ?1 ORDER BY r.rseq LIMIT ?2",
    )
    .bind(stored(rseq))
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// What the records up to this one have killed: at most `limit` handles after the given one, in the order of kind and
/// handle, each with its highest generation.
pub fn killed(up_to: u64, after: Option<Handle>, limit: usize) -> Select<Mark> {
    let after = after.map(handle::encode);
    Query::new(
        limit,
        "SELECT r.handle, MAX(r.generation) FROM revocation_log r WHERE r.handle > ?1 AND r.rseq <= ?2 \
         GROUP BY r.handle ORDER BY r.handle LIMIT ?3",
    )
    .bind(after.map_or(Vec::new(), Vec::from))
    .bind(stored(up_to))
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// A number as far as it can be stored: no record has a higher one.
fn stored(rseq: u64) -> u64 {
    rseq.min(i64::MAX.unsigned_abs())
}
