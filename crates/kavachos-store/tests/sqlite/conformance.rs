//! The SQLite executor passes the conformance suite, on a file and in memory.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::sync::Arc;

use kavachos_store::conformance::{self, Database, Engine};
use kavachos_store::sqlite::{Options, SqliteStore};
use kavachos_store::{BoxFuture, Clock, Observer, Store};

use crate::support::{host, run_all};

struct Files;

struct InFile(tempfile::TempDir);

impl Engine for Files {
    fn database(&self) -> Arc<dyn Database> {
        Arc::new(InFile(tempfile::tempdir().unwrap()))
    }
}

impl Database for InFile {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> BoxFuture<'_, Arc<dyn Store>> {
        open(
            Options::file(self.0.path().join("kavach.db")),
            clock,
            observer,
        )
    }

    fn lasts(&self) -> bool {
        true
    }
}

struct Memory;

impl Engine for Memory {
    fn database(&self) -> Arc<dyn Database> {
        Arc::new(Self)
    }
}

impl Database for Memory {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> BoxFuture<'_, Arc<dyn Store>> {
        open(Options::memory(), clock, observer)
    }

    fn lasts(&self) -> bool {
        false
    }
}

fn open(
    mut options: Options,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
) -> BoxFuture<'static, Arc<dyn Store>> {
    options.migrations = conformance::migrations();
    let store = SqliteStore::open(&options, host(clock, observer)).unwrap();
    Box::pin(async move { Arc::new(store) as Arc<dyn Store> })
}

#[test]
fn a_database_file_passes_every_case() {
    run_all(&Files);
}

#[test]
fn a_database_in_memory_passes_every_case() {
    run_all(&Memory);
}
