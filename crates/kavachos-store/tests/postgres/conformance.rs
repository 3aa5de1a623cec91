//! The PostgreSQL executor passes the conformance suite.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::sync::Arc;

use kavachos_store::conformance::{self, Database, Engine};
use kavachos_store::postgres::{Options, PostgresStore};
use kavachos_store::{BoxFuture, Clock, Observer, Store};
use kavachos_test::postgres::{Cluster, Lent};

use crate::support::{host, run_all};

struct Databases(&'static Cluster);

struct At(Lent);

impl Engine for Databases {
    fn database(&self) -> Arc<dyn Database> {
        Arc::new(At(self.0.lend()))
    }
}

impl Database for At {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> BoxFuture<'_, Arc<dyn Store>> {
        let mut options = Options::url(self.0.url());
        options.migrations = conformance::migrations();
        let store = PostgresStore::open(&options, host(clock, observer)).unwrap();
        Box::pin(async move { Arc::new(store) as Arc<dyn Store> })
    }

    fn lasts(&self) -> bool {
        true
    }
}

#[test]
fn a_database_passes_every_case() {
    if let Some(cluster) = Cluster::shared() {
        run_all(&Databases(cluster));
    }
}
