//! The executor for SQLite: one thread that writes, a few that read, one that copies the write-ahead log, and a lock
//! that keeps other processes out.
//!
//! Promises: `synchronous = FULL` on a write-ahead log, or it does not open; one process per file; no answer before
//! the fsync. A database in memory behaves the same, except that it is gone afterwards and that its reads run on the
//! writer's thread, since it has one connection only.

mod backup;
mod checkpoint;
mod connection;
mod error;
mod filling;
mod group;
mod lock;
mod log;
mod migrate;
mod open;
mod reader;
mod snapshot;
mod value;
mod writer;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use self::connection::Database;
use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::Batch;
use crate::contract::{BoxFuture, Store};
use crate::passage::{Filling, Snapshot};
use crate::row::{Query, Row};
use crate::writer::front::Front;

pub use self::backup::{BackupError, Copied, Copying, Existing, backup};
pub use self::error::OpenError;
pub use self::open::{Claim, Options, claim, history, plan, read, refuse_lost_database, settle};
pub use crate::host::Host;
pub use crate::migration::Pending;

/// A store in an SQLite database. Dropping it drains the queue like [`Store::close`], and blocks until that is done.
pub struct SqliteStore {
    front: Front,
    /// Where the file lies; `None` for a database in memory.
    directory: Option<PathBuf>,
    database: Database,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store for SqliteStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        self.front.commit(batch)
    }

    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        self.front.read(queries)
    }

    fn head(&self) -> Head {
        self.front.head()
    }

    fn health(&self) -> Health {
        self.front.health()
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.directory.as_ref()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn snapshot(&self) -> BoxFuture<'static, Result<Box<dyn Snapshot>, ReadError>> {
        let opened = if self.directory.is_some() {
            snapshot::open(&self.database)
        } else {
            self.front.only_connection()
        };
        Box::pin(std::future::ready(opened))
    }

    fn fill(&self) -> BoxFuture<'static, Result<Box<dyn Filling>, CommitError>> {
        self.front.fill()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.front.close()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.front.shut();
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
