//! A process that is killed at any moment loses no record that it was told of, and writes none without its change.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kavachos_core::id::AuditId;
use kavachos_store::conformance::{self, ManualClock, recompute};
use kavachos_store::sqlite::{Options, SqliteStore};
use kavachos_store::{Batch, Query, Store, Write};

use crate::support::{block_on, host, recorded};

/// How often a process is killed.
const KILLS: usize = 5;
/// After how many answers.
const ANSWERS: usize = 300;
/// How many batches the process has under way.
const UNDER_WAY: u64 = 16;
/// The name of the database, by which the child finds its path among its arguments.
const DATABASE: &str = "killed.db";

fn open(path: &Path) -> SqliteStore {
    let mut options = Options::file(path);
    options.migrations = conformance::migrations();
    SqliteStore::open(
        &options,
        host(Arc::new(ManualClock::default()), Arc::new(())),
    )
    .unwrap()
}

fn batch(number: u64) -> Batch {
    let id = AuditId::from_bits(number.into());
    Batch {
        writes: vec![Write::exactly(1, "INSERT INTO probe (name, value) VALUES (?1, 0)").bind(id)],
        ..recorded(number.into())
    }
}

#[test]
#[ignore = "the process that the next test kills"]
fn child() {
    let Some(path) = std::env::args().find(|argument| argument.ends_with(DATABASE)) else {
        return;
    };
    let store = open(Path::new(&path));
    let mut out = std::io::stdout();
    for round in 0.. {
        let first = store.head().size.max(round * UNDER_WAY);
        let queued: Vec<_> = (first..first + UNDER_WAY)
            .map(|number| (number, store.commit(batch(number))))
            .collect();
        for (number, answer) in queued {
            block_on(answer).unwrap();
            if writeln!(out, "done {number}").is_err() {
                return;
            }
        }
    }
}

/// Starts the child, kills it in the midst of its work, and returns what it was told of.
fn kill_one(path: &Path) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--ignored", "--nocapture"])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut done = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        let number = line
            .strip_suffix('\n')
            .and_then(|line| line.strip_prefix("done "));
        done.extend(number.and_then(|number| number.parse::<u64>().ok()));
        if done.len() == ANSWERS {
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success());
    done
}

#[test]
fn a_killed_process_loses_nothing_that_it_was_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(DATABASE);
    let mut told = Vec::new();
    for _ in 0..KILLS {
        let done = kill_one(&path);
        assert!(done.len() >= ANSWERS);
        told.extend(done);
        let store = open(&path);
        let head = store.head();
        assert_eq!(block_on(recompute(&store)).unwrap(), (head.size, head.root));
        check_rows(&store, &told);
        block_on(store.close());
    }
}

fn check_rows(store: &dyn Store, told: &[u64]) {
    let names = |sql: &'static str| {
        let rows: Vec<(AuditId,)> = block_on(store.list(Query::new(1_000_000, sql).of())).unwrap();
        rows.into_iter().map(|(id,)| id.bits()).collect::<Vec<_>>()
    };
    let changes = names("SELECT name FROM probe ORDER BY name");
    let records = names("SELECT id FROM ledger ORDER BY id");
    assert_eq!(changes, records);
    let lost = told
        .iter()
        .filter(|number| records.binary_search(&u128::from(**number)).is_err());
    assert_eq!(lost.count(), 0);
}
