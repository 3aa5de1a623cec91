//! What stands between a server and its database, where a test wants something to happen there: somebody else comes
//! first, the database fails, time passes while it writes.

use std::future::ready;
use std::sync::Arc;

use kavachos::store::{
    Batch, BoxFuture, CommitError, Filling, Head, Health, Query, ReadError, Receipt, Row, Snapshot,
    Store,
};

/// Is asked about every batch before it reaches the database.
pub trait Keeper: Send + Sync + 'static {
    /// Lets a batch through, perhaps changed or after something else, or fails it as the database would.
    fn before(&self, _batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        Box::pin(ready(Ok(())))
    }

    /// A batch with so many kills is committed, and nobody has been told yet.
    fn after(&self, _kills: usize) {}
}

/// A database with a keeper before it.
pub(crate) struct Kept {
    pub(crate) keeper: Arc<dyn Keeper>,
    pub(crate) store: Arc<dyn Store>,
}

impl Store for Kept {
    fn commit(&self, mut batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        let (keeper, store) = (Arc::clone(&self.keeper), Arc::clone(&self.store));
        Box::pin(async move {
            keeper.before(&mut batch).await?;
            let kills = batch.kills.len();
            let receipt = store.commit(batch).await?;
            keeper.after(kills);
            Ok(receipt)
        })
    }

    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        self.store.read(queries)
    }

    fn head(&self) -> Head {
        self.store.head()
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.store.free_bytes()
    }

    fn snapshot(&self) -> BoxFuture<'static, Result<Box<dyn Snapshot>, ReadError>> {
        self.store.snapshot()
    }

    fn fill(&self) -> BoxFuture<'static, Result<Box<dyn Filling>, CommitError>> {
        self.store.fill()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.store.close()
    }
}
