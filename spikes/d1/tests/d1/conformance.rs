//! The conformance suite of the store, unchanged, and what D1 would limit of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use kavachos_spike_d1::Http;
use kavachos_store::conformance::{self, Database, Engine};
use kavachos_store::{BoxFuture, Clock, Observer, Store, Write};

use crate::server::{database, open, plain, writing};

/// The cases that D1 cannot pass. `docs/adr/0014` says why of each.
const DOES_NOT_FIT: &[&str] = &["every_type_of_value_reads_back"];

/// What Cloudflare documents.
const MAX_PARAMS: u64 = 100;
const MAX_SQL_BYTES: u64 = 100_000;
const MAX_ROW_BYTES: u64 = 2_000_000;
const MAX_QUERIES_OF_INVOCATION: u64 = 1_000;

#[derive(Default)]
struct Databases(Mutex<Vec<Http>>);

struct InMiniflare(Http);

impl Engine for Databases {
    fn database(&self) -> Arc<dyn Database> {
        let link = database();
        self.0.lock().unwrap().push(link.clone());
        Arc::new(InMiniflare(link))
    }
}

impl Database for InMiniflare {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async move { open(Arc::new(self.0.clone()), clock, observer) })
    }

    fn lasts(&self) -> bool {
        true
    }
}

#[test]
fn every_case_passes_but_those_that_d1_cannot() {
    let databases = Databases::default();
    let cases = conformance::cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    let failed: Vec<&str> = cases
        .iter()
        .filter(|case| {
            let run = AssertUnwindSafe(|| futures_executor::block_on(case.run(&databases)));
            match catch_unwind(run) {
                Ok(Ok(())) => false,
                Ok(Err(error)) => {
                    eprintln!("{}: {error}", case.name);
                    true
                }
                Err(_) => true,
            }
        })
        .map(|case| case.name)
        .collect();
    assert_eq!(failed, DOES_NOT_FIT);
    let most = |of: fn(&Http) -> u64| databases.0.lock().unwrap().iter().map(of).max().unwrap();
    let found = [
        (
            "parameters",
            most(|link| link.tally().most_params.load(Relaxed)),
            MAX_PARAMS,
        ),
        (
            "bytes of SQL",
            most(|link| link.tally().longest_sql.load(Relaxed)),
            MAX_SQL_BYTES,
        ),
        (
            "bytes of a row",
            most(|link| link.tally().most_bound.load(Relaxed)),
            MAX_ROW_BYTES,
        ),
        (
            "statements",
            most(|link| link.tally().most_statements.load(Relaxed)),
            MAX_QUERIES_OF_INVOCATION,
        ),
    ];
    println!(
        "{} of {} cases pass; the most of each, and D1's limit: {found:?}",
        cases.len() - failed.len(),
        cases.len()
    );
    assert!(
        found.iter().all(|(_, most, limit)| most <= limit),
        "{found:?}"
    );
}

#[test]
fn a_group_of_more_statements_than_a_worker_may_send_is_cut_in_two() {
    let link = database();
    let store = plain(link.clone());
    let step = |value: i64| {
        let sql = "UPDATE probe SET value = ?1 + 1 WHERE name = 'a' AND value = ?1";
        Write::exactly(1, sql).bind(value)
    };
    let made = Write::exactly(1, "INSERT INTO probe (name, value) VALUES ('a', 0)");
    futures_executor::block_on(store.commit(writing(made))).unwrap();
    let batches = (0..90_i64).map(|batch| {
        let mut ten = writing(step(batch * 10));
        ten.writes
            .extend((1..10).map(|write| step(batch * 10 + write)));
        ten
    });
    let queued: Vec<_> = batches.map(|batch| store.commit(batch)).collect();
    for answer in queued {
        assert!(futures_executor::block_on(answer).is_ok());
    }
    let most = link.tally().most_statements.load(Relaxed);
    assert!((500..=MAX_QUERIES_OF_INVOCATION).contains(&most), "{most}");
}
