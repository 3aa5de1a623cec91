//! The contract that every executor keeps and `conformance` tests.

use std::pin::Pin;

use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::{Batch, Effect};
use crate::passage::{Filling, Snapshot};
use crate::row::{FromRow, Query, Row, Select};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A database with one writer.
///
/// Batches apply in the order in which `commit` was called, each seeing all before it. Every answer, conflicts too,
/// leaves after what it is based on is on disk, and any read begun after an answer sees what the answer speaks of.
pub trait Store: Send + Sync {
    /// Applies the batch, all or nothing, and answers once it is on disk.
    ///
    /// The batch is queued when `commit` is called, not when the future is first polled; dropping the future does not
    /// take it back.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>>;

    /// Runs queries on one consistent snapshot; the answers stand in the order of the queries.
    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>>;

    /// The heads of the ledger and the revocation log, as last committed. Does not touch the database.
    fn head(&self) -> Head;

    /// Whether the writer can commit, for `/readyz`. Does not touch the database.
    fn health(&self) -> Health;

    /// The free space where the database lies; `None` where there is no such bound, or it is not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// One state of the database, to read it whole. A store need not be able to.
    fn snapshot(&self) -> BoxFuture<'static, Result<Box<dyn Snapshot>, ReadError>> {
        let reason = "this database cannot be read as a whole";
        Box::pin(std::future::ready(Err(ReadError::Unavailable(
            reason.into(),
        ))))
    }

    /// The transaction that fills an empty database. Whoever begins it has to find out that it is empty. A store need not
    /// be able to.
    fn fill(&self) -> BoxFuture<'static, Result<Box<dyn Filling>, CommitError>> {
        let reason = "this database cannot be filled as a whole";
        Box::pin(std::future::ready(Err(CommitError::Unavailable(
            reason.into(),
        ))))
    }

    /// Refuses new batches, commits and answers the queued ones, and releases the database.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// Runs one query.
    fn query(&self, query: Query) -> BoxFuture<'static, Result<Vec<Row>, ReadError>> {
        let rows = self.read(vec![query]);
        Box::pin(async move { Ok(rows.await?.pop().unwrap_or_default()) })
    }
}

impl dyn Store + '_ {
    /// All rows of a query, decoded.
    ///
    /// # Errors
    /// As [`Store::query`]; [`ReadError::Rejected`] when a row is not what the query's type says.
    pub async fn list<T: FromRow>(&self, select: Select<T>) -> Result<Vec<T>, ReadError> {
        let rows = self.query(select.into_query()).await?;
        rows.into_iter()
            .map(|row| row.decode().map_err(ReadError::from))
            .collect()
    }

    /// The only row of a query, decoded; `None` when there is none.
    ///
    /// # Errors
    /// As `list`; [`ReadError::TooManyRows`] when there is more than one.
    pub async fn find<T: FromRow>(&self, select: Select<T>) -> Result<Option<T>, ReadError> {
        let only = select.into_query().at_most(1);
        let row = self.query(only).await?.pop();
        row.map(|row| row.decode().map_err(ReadError::from))
            .transpose()
    }
}

/// Is told what changed; the engine's directory of compiled agents is one.
pub trait Observer: Send + Sync {
    /// The effects of one or more batches, in commit order. The writer calls this after the commit and before it
    /// answers any batch of the group, so that nobody who has an answer can meet an older picture.
    ///
    /// It is also called when a commit's outcome stays unknown: an effect means "read this again", never "this is
    /// so". It runs on the writer's thread: it must be quick and must not panic (a panic stops the writer).
    fn committed(&self, effects: &[Effect]);

    /// Another writer has committed: what was learnt from reads before this call may be old, all of it. Only a store
    /// that lets several write to one database calls this, before it answers what was lost to the other.
    fn overtaken(&self) {}
}

/// Nobody needs to know.
impl Observer for () {
    fn committed(&self, _: &[Effect]) {}
}
