//! What is lost and what is not when sessions, connections and servers end under the writer.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavachos_core::id::AuditId;
use kavachos_store::conformance::{self, ManualClock, recompute};
use kavachos_store::postgres::{Options, PostgresStore};
use kavachos_store::{Batch, CommitError, Health, Query, Store, Write};
use kavachos_test::postgres::{Cluster, name_of};

use crate::proxy::{Plan, Proxy};
use crate::support::{block_on, host, recorded};

/// How many callers commit at the same time.
const CALLERS: usize = 8;
/// After how many answers something is broken.
const BETWEEN: u64 = 100;

/// Ends the session that has the lock of this database's log.
const END_WRITER: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database \
    WHERE locktype = 'advisory' AND granted AND d.datname = current_database()";

fn open(url: &str) -> PostgresStore {
    let mut options = Options::url(url);
    options.migrations = conformance::migrations();
    options.decide_within = Duration::from_secs(60);
    PostgresStore::open(
        &options,
        host(Arc::new(ManualClock::default()), Arc::new(())),
    )
    .unwrap()
}

/// A record and a row of the same name.
fn batch(number: u64) -> Batch {
    let id = AuditId::from_bits(number.into());
    Batch {
        writes: vec![Write::exactly(1, "INSERT INTO probe (name, value) VALUES (?1, 0)").bind(id)],
        ..recorded(number.into())
    }
}

fn names(store: &dyn Store, sql: &'static str) -> Vec<u128> {
    let rows: Vec<(AuditId,)> = block_on(store.list(Query::new(1_000_000, sql).of())).unwrap();
    rows.into_iter().map(|(id,)| id.bits()).collect()
}

/// What callers were told.
#[derive(Default)]
struct Told {
    applied: HashSet<u128>,
    not_applied: HashSet<u128>,
    unknown: usize,
}

/// Commits from many callers, breaks something again and again, and returns what they were told.
fn under_load(store: &PostgresStore, times: u64, mut disturb: impl FnMut()) -> Told {
    /// A test that fails while its callers go on would never end.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let told = Mutex::new(Told::default());
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (answered, answers) = channel();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (answered, told, next, over) = (answered.clone(), &told, &next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let answer = block_on(store.commit(batch(number)));
                    let mut told = told.lock().unwrap();
                    match answer {
                        Ok(_) => {
                            told.applied.insert(number.into());
                            let _ = answered.send(());
                        }
                        Err(CommitError::Unknown) => told.unknown += 1,
                        Err(CommitError::Unavailable(_) | CommitError::Busy) => {
                            told.not_applied.insert(number.into());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let ends = Ends(&over);
        for _ in 0..times {
            (0..BETWEEN).for_each(|_| answers.recv().unwrap());
            disturb();
        }
        // It goes on afterwards, too.
        (0..BETWEEN).for_each(|_| answers.recv().unwrap());
        drop(ends);
        drop(answered);
        while answers.recv().is_ok() {}
    });
    told.into_inner().unwrap()
}

fn check(store: &PostgresStore, told: &Told) {
    assert_eq!(store.health(), Health::Ready);
    let head = store.head();
    assert_eq!(block_on(recompute(store)).unwrap(), (head.size, head.root));
    let records = names(store, "SELECT id FROM ledger ORDER BY id");
    let changes = names(store, "SELECT name FROM probe ORDER BY name");
    assert_eq!(records, changes, "a change without its record");
    let there: HashSet<u128> = records.into_iter().collect();
    assert_eq!(told.applied.difference(&there).count(), 0, "lost");
    assert_eq!(told.not_applied.intersection(&there).count(), 0, "denied");
    assert_eq!(told.unknown, 0);
    assert_eq!(told.applied.len(), there.len(), "each was answered once");
}

#[test]
fn a_writer_whose_session_is_ended_under_load_loses_nothing() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let store = open(&url);
    let mut ended = 0;
    let told = under_load(&store, 20, || {
        // Nobody has the lock while the writer is just connecting again.
        ended += cluster.psql(name_of(&url), END_WRITER).lines().count();
    });
    assert!(ended > 10, "{ended}");
    check(&store, &told);
}

#[test]
fn a_server_that_crashes_under_load_loses_nothing_and_is_found_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let store = open(&cluster.database());
    let told = under_load(&store, 4, || cluster.crash());
    check(&store, &told);
}

/// A store behind a proxy, and its database.
fn proxied(cluster: &Cluster, decide_within: Duration) -> (PostgresStore, Proxy, String) {
    let name = name_of(&cluster.database()).to_owned();
    let proxy = Proxy::start(cluster.port());
    let mut options = Options::url(cluster.url_at(proxy.port(), &name));
    options.migrations = conformance::migrations();
    options.decide_within = decide_within;
    let host = host(Arc::new(ManualClock::default()), Arc::new(()));
    (PostgresStore::open(&options, host).unwrap(), proxy, name)
}

#[test]
fn an_answer_to_commit_that_is_lost_is_found_out() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (store, proxy, name) = proxied(cluster, Duration::from_secs(60));
    let mut number = 0;
    for plan in [Plan::Pass, Plan::CutBefore, Plan::CutAfter, Plan::CutAfter] {
        for make in [batch, |number| recorded(u128::from(number))] {
            proxy.plan(plan);
            let receipt = block_on(store.commit(make(number))).unwrap();
            assert!(proxy.is_done(), "{plan:?}");
            assert_eq!(receipt.first_seq, Some(number), "{plan:?}");
            number += 1;
        }
    }
    // Each once, whether the server had seen COMMIT or not.
    let count = cluster.psql(&name, "SELECT count(*), max(seq) FROM ledger");
    assert_eq!(count, "8|7");
    let head = store.head();
    assert_eq!(block_on(recompute(&store)).unwrap(), (head.size, head.root));
}

#[test]
fn a_group_is_unknown_only_while_it_cannot_be_found_out() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (store, proxy, name) = proxied(cluster, Duration::from_millis(300));
    block_on(store.commit(batch(0))).unwrap();
    proxy.plan(Plan::CutAfterAndStay);
    let answer = block_on(store.commit(batch(1)));
    assert_eq!(answer, Err(CommitError::Unknown));
    let refused = block_on(store.commit(batch(2)));
    assert!(
        matches!(refused, Err(CommitError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(matches!(store.health(), Health::Failing(_)));
    proxy.plan(Plan::Pass);
    // The unknown one was committed, and the log goes on after it.
    let receipt = block_on(store.commit(batch(3))).unwrap();
    assert_eq!(receipt.first_seq, Some(2));
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(cluster.psql(&name, "SELECT count(*) FROM probe"), "3");
}

#[test]
fn a_connection_that_ended_while_nobody_used_it_costs_nothing() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let store = open(&cluster.database());
    block_on(store.commit(batch(0))).unwrap();
    assert_eq!(names(&store, "SELECT name FROM probe"), [0]);
    cluster.crash();
    assert_eq!(names(&store, "SELECT name FROM probe"), [0]);
    block_on(store.commit(batch(1))).unwrap();
    cluster.crash();
    block_on(store.commit(recorded(2))).unwrap();
    assert_eq!(store.head().size, 3);
}

#[test]
fn a_writer_that_was_replaced_while_it_was_away_stops() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (store, proxy, name) = proxied(cluster, Duration::from_secs(60));
    block_on(store.commit(batch(0))).unwrap();
    proxy.plan(Plan::Closed);
    cluster.psql(&name, END_WRITER);
    let other = open(&cluster.url(&name));
    proxy.plan(Plan::Pass);
    // Nothing is decided while the other has the log.
    let refused = block_on(store.commit(batch(1)));
    assert!(
        matches!(&refused, Err(CommitError::Unavailable(reason)) if reason.contains("another process")),
        "{refused:?}"
    );
    block_on(other.commit(batch(2))).unwrap();
    block_on(other.close());
    // What the other wrote is not in this one's memory.
    let stopped = block_on(store.commit(batch(3)));
    assert!(
        matches!(stopped, Err(CommitError::Unavailable(_))),
        "{stopped:?}"
    );
    block_on(store.close());
    assert!(matches!(store.health(), Health::Stopped(_)));
}
