//! The side of a store that its callers see: they put into the queues and wait.

use std::borrow::Cow;
use std::sync::Arc;

use futures_channel::oneshot;

use super::errand::{Errand, errand};
use super::job::{Answer, Job, ReadJob, Rows, Work};
use super::queue::{Limit, NoRoom, Queue};
use super::shared::Shared;
use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::Batch;
use crate::contract::BoxFuture;
use crate::passage::{Filling, Snapshot};
use crate::row::{MAX_QUERIES, Query, Row};

/// How many batches wait unless told otherwise: some groups' worth, so that a stalled disk shows quickly.
pub(crate) const QUEUED_BATCHES: usize = 8_192;
/// How much memory waiting batches may take.
const QUEUED_BYTES: usize = 32 << 20;
/// How many reads wait.
const QUEUED_READS: usize = 4_096;
/// Why nothing is taken in after the end.
const CLOSED: &str = "the store is closed";

/// The queues of a store, and what its writer says of itself.
pub(crate) struct Front {
    pub(crate) writes: Arc<Queue<Work>>,
    /// `None` for a database whose reads go through the writer.
    pub(crate) reads: Option<Arc<Queue<ReadJob>>>,
    pub(crate) shared: Arc<Shared>,
}

/// The queue of batches, with room for so many.
pub(crate) fn queue_of_batches(items: usize) -> Arc<Queue<Work>> {
    Arc::new(Queue::new(Limit {
        items,
        bytes: QUEUED_BYTES,
    }))
}

/// The queue of reads.
pub(crate) fn queue_of_reads() -> Arc<Queue<ReadJob>> {
    Arc::new(Queue::new(Limit {
        items: QUEUED_READS,
        bytes: usize::MAX,
    }))
}

impl Front {
    /// Queues the batch now; the future waits for the answer.
    pub(crate) fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        let queued = self.enqueue(batch);
        // A writer that ended without an answer may have committed before it did.
        Box::pin(async move { queued?.await.unwrap_or(Err(CommitError::Unknown)) })
    }

    /// Queues the queries now; the future waits for the rows.
    pub(crate) fn read(
        &self,
        queries: Vec<Query>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        let queued = self.enqueue_read(queries);
        let ended = || Err(ReadError::Unavailable(CLOSED.into()));
        Box::pin(async move { queued?.await.unwrap_or_else(|_| ended()) })
    }

    /// Has the writer begin an errand; refused when its queue is full.
    pub(crate) fn errand(&self) -> Result<Errand, NoRoom> {
        let (errand, orders) = errand();
        self.writes.push(Work::Errand(orders), 0)?;
        Ok(errand)
    }

    /// The transaction that fills the database.
    pub(crate) fn fill(&self) -> BoxFuture<'static, Result<Box<dyn Filling>, CommitError>> {
        let begun = self.errand().map_err(|refused| match refused {
            NoRoom::Full => CommitError::Busy,
            NoRoom::Closed => CommitError::Unavailable(self.why_closed()),
        });
        let filling = begun.map(|errand| Box::new(errand) as Box<dyn Filling>);
        Box::pin(std::future::ready(filling))
    }

    /// One state of a database that has no other connection than the writer's.
    #[cfg(feature = "sqlite")]
    pub(crate) fn only_connection(&self) -> Result<Box<dyn Snapshot>, ReadError> {
        match self.errand() {
            Ok(errand) => Ok(Box::new(errand)),
            Err(NoRoom::Full) => Err(ReadError::Busy),
            Err(NoRoom::Closed) => Err(ReadError::Unavailable(self.why_closed())),
        }
    }

    /// The last committed heads.
    pub(crate) fn head(&self) -> Head {
        self.shared.head()
    }

    /// What the writer says of itself.
    pub(crate) fn health(&self) -> Health {
        self.shared.health()
    }

    /// Takes nothing in any more. What waits is still served.
    pub(crate) fn shut(&self) {
        self.writes.close();
        if let Some(reads) = &self.reads {
            reads.close();
        }
    }

    /// Shuts, and waits for the writer's end.
    pub(crate) fn close(&self) -> BoxFuture<'static, ()> {
        self.shut();
        let ended = self.shared.ended();
        Box::pin(async move {
            // Either way it has ended.
            let _ = ended.await;
        })
    }

    fn enqueue(&self, batch: Batch) -> Result<oneshot::Receiver<Answer>, CommitError> {
        batch.check()?;
        let bytes = batch.bytes();
        let (answer, answered) = oneshot::channel();
        self.writes
            .push(Work::Commit(Job { batch, answer }), bytes)
            .map_err(|refused| match refused {
                NoRoom::Full => CommitError::Busy,
                NoRoom::Closed => CommitError::Unavailable(self.why_closed()),
            })?;
        Ok(answered)
    }

    fn enqueue_read(&self, queries: Vec<Query>) -> Result<oneshot::Receiver<Rows>, ReadError> {
        if queries.len() > MAX_QUERIES {
            let reason = format!("a snapshot serves at most {MAX_QUERIES} queries");
            return Err(ReadError::Rejected(reason));
        }
        for query in &queries {
            query.check().map_err(ReadError::Rejected)?;
        }
        let (answer, answered) = oneshot::channel();
        let job = ReadJob { queries, answer };
        let pushed = match &self.reads {
            Some(reads) => reads.push(job, 0),
            None => self.writes.push(Work::Read(job), 0),
        };
        pushed.map_err(|refused| match refused {
            NoRoom::Full => ReadError::Busy,
            NoRoom::Closed => ReadError::Unavailable(self.why_closed()),
        })?;
        Ok(answered)
    }

    fn why_closed(&self) -> Cow<'static, str> {
        match self.shared.health() {
            Health::Stopped(reason) => reason,
            _ => CLOSED.into(),
        }
    }
}
