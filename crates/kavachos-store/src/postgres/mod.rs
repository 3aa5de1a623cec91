//! The executor for PostgreSQL 15 or newer: one thread that writes over one connection, a few that read, and a lock of
//! the session that keeps other processes out.
//!
//! Promises: `synchronous_commit = on`, on a server with `fsync` and `full_page_writes`, or it does not open; one
//! process writes a log; no answer before COMMIT was answered, or was found to have been done. A lost connection is
//! made again by itself. The futures run on any runtime; tokio runs inside of the store's own threads alone.
//!
//! Connect to the server itself, or through a pooler that keeps sessions: one that shares sessions between transactions
//! would share the lock too.

mod connect;
mod draft;
mod error;
mod group;
mod lock;
mod log;
mod migrate;
mod open;
mod passage;
mod pipeline;
mod reader;
mod records;
mod rewrite;
mod session;
mod statement;
mod tls;
mod value;
mod writer;

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use self::connect::Target;
use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::Batch;
use crate::contract::{BoxFuture, Store};
use crate::passage::{Filling, Snapshot};
use crate::row::{Query, Row};
use crate::writer::front::Front;

pub use self::error::OpenError;
pub use self::open::{Options, history, plan, read};
pub use crate::host::Host;
pub use crate::migration::Pending;

/// A store in a PostgreSQL database. Dropping it drains the queue like [`Store::close`], and blocks until that is done.
pub struct PostgresStore {
    front: Front,
    target: Target,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store for PostgresStore {
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

    fn snapshot(&self) -> BoxFuture<'static, Result<Box<dyn Snapshot>, ReadError>> {
        let opened = passage::snapshot(&self.target);
        Box::pin(std::future::ready(opened))
    }

    fn fill(&self) -> BoxFuture<'static, Result<Box<dyn Filling>, CommitError>> {
        self.front.fill()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.front.close()
    }
}

impl Drop for PostgresStore {
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
