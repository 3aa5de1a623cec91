//! The two passages through which a whole database goes: out of one state of it, and into an empty one.
//!
//! Everything else reads one page at a time and changes one batch at a time. A tenant that moves is more than that: what
//! leaves must be of one moment, and what comes in must come in whole or not at all.

use kavachos_core::ledger::{Frontier, LogId};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;

use crate::answer::{CommitError, Head, ReadError};
use crate::batch::{Effect, Write};
use crate::contract::BoxFuture;
use crate::row::{FromRow, Query, Row, Select};

/// One state of the database, to be read in as many pages as it takes. It costs the database something for as long as
/// it is kept: drop it soon.
pub trait Snapshot: Send + Sync {
    /// The rows of a query on that state.
    fn query(&mut self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, ReadError>>;
}

/// One transaction that nothing else comes between: others are answered `Busy` until it ends. Dropped, it has never
/// been.
///
/// It may write any table, those of the log too; nothing of the contract of `commit` is checked. It is for filling an
/// empty database and for beginning an epoch, and for nothing else.
pub trait Filling: Send + Sync {
    /// The rows of a query, as the transaction has left them.
    fn query(&mut self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, ReadError>>;

    /// Runs the statements. After an error the transaction is over, and nothing of it is left.
    fn write(&mut self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Makes this the log, tells the observer, and answers once all of it is on disk.
    fn finish(&mut self, filled: Filled) -> BoxFuture<'_, Result<Head, CommitError>>;
}

/// What a filled database comes to.
#[derive(Debug, Clone)]
pub struct Filled {
    /// Which log it is now.
    pub log: LogId,
    /// Its epoch.
    pub epoch: u64,
    /// The edge of the ledger's tree.
    pub frontier: Frontier,
    /// No record to come is older.
    pub last_time: Timestamp,
    /// The head of the revocation log.
    pub revocation: LogHead,
    /// What the observer is told.
    pub effects: Vec<Effect>,
}

impl dyn Filling + '_ {
    /// All rows of a query, decoded.
    ///
    /// # Errors
    /// As [`Filling::query`]; [`ReadError::Rejected`] when a row is not what the query's type says.
    pub async fn list<T: FromRow>(&mut self, select: Select<T>) -> Result<Vec<T>, ReadError> {
        decoded(self.query(select.into_query()).await?)
    }
}

impl dyn Snapshot + '_ {
    /// All rows of a query, decoded.
    ///
    /// # Errors
    /// As [`Snapshot::query`]; [`ReadError::Rejected`] when a row is not what the query's type says.
    pub async fn list<T: FromRow>(&mut self, select: Select<T>) -> Result<Vec<T>, ReadError> {
        decoded(self.query(select.into_query()).await?)
    }
}

fn decoded<T: FromRow>(rows: Vec<Row>) -> Result<Vec<T>, ReadError> {
    let decode = |row: Row| row.decode().map_err(ReadError::from);
    rows.into_iter().map(decode).collect()
}
