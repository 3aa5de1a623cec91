//! The executor for SQLite: one thread that writes, a few that read, one that copies the write-ahead log, and a lock
//! that keeps other processes out.
//!
//! Promises: `synchronous = FULL` on a write-ahead log, or it does not open; one process per file; no answer before
//! the fsync. A database in memory behaves the same, except that it is gone afterwards and that its reads run on the
//! writer's thread, since it has one connection only.

mod checkpoint;
mod connection;
mod error;
mod group;
mod lock;
mod log;
mod migrate;
mod open;
mod queue;
mod reader;
mod recent;
mod shared;
mod value;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_channel::oneshot;

use self::queue::{NoRoom, Queue};
use self::reader::ReadJob;
use self::shared::Shared;
use self::writer::{Job, Work};
use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::Batch;
use crate::contract::{BoxFuture, Store};
use crate::row::{MAX_QUERIES, Query, Row};

pub use self::error::OpenError;
pub use self::open::{Host, Options, Pending, plan};

/// Why nothing is taken in after the end.
const CLOSED: &str = "the store is closed";

/// A store in an SQLite database. Dropping it drains the queue like [`Store::close`], and blocks until that is done.
pub struct SqliteStore {
    writes: Arc<Queue<Work>>,
    /// `None` for a database in memory: its reads go through the writer.
    reads: Option<Arc<Queue<ReadJob>>>,
    shared: Arc<Shared>,
    /// Where the file lies; `None` for a database in memory.
    directory: Option<PathBuf>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    fn enqueue(&self, batch: Batch) -> Result<oneshot::Receiver<writer::Answer>, CommitError> {
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

    fn enqueue_read(
        &self,
        queries: Vec<Query>,
    ) -> Result<oneshot::Receiver<reader::Rows>, ReadError> {
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

    fn why_closed(&self) -> std::borrow::Cow<'static, str> {
        match self.shared.health() {
            Health::Stopped(reason) => reason,
            _ => CLOSED.into(),
        }
    }

    fn close_queues(&self) {
        self.writes.close();
        if let Some(reads) = &self.reads {
            reads.close();
        }
    }
}

impl Store for SqliteStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        let queued = self.enqueue(batch);
        // A writer that ended without an answer may have committed before it did.
        Box::pin(async move { queued?.await.unwrap_or(Err(CommitError::Unknown)) })
    }

    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        let queued = self.enqueue_read(queries);
        let ended = || Err(ReadError::Unavailable(CLOSED.into()));
        Box::pin(async move { queued?.await.unwrap_or_else(|_| ended()) })
    }

    fn head(&self) -> Head {
        self.shared.head()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.directory.as_ref()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.close_queues();
        let ended = self.shared.ended();
        Box::pin(async move {
            // Either way it has ended.
            let _ = ended.await;
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close_queues();
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The last owner may be the observer, on the writer's own thread: it cannot wait for itself.
        let own = std::thread::current().id();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != own) {
            let _ = thread.join();
        }
    }
}
