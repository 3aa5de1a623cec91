//! The bare database: the ledger's rows of a run, inserted again by a loop over one prepared statement.
//!
//! Same schema, same indexes, same settings, same number of rows for each fsync; no queue, no answers, no tree.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kavachos::store::Store;
use kavachos::store::sqlite::{Host, Options, SqliteStore};
use kavachos::{SystemClock, SystemRng};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::machine::cpu_seconds;

const COLUMNS: &str = "seq, time, id, kind, outcome, code, actor, subject, agent, action, resource, request_id, body, \
    salt, personal, leaf";
const COLUMN_COUNT: usize = 16;

/// A bare database beside ours, which gets the rows that ours just wrote.
pub(crate) trait Beside {
    /// Whose database it is.
    const NAME: &str;

    /// How many groups ours has committed, and how many records it has.
    async fn counts(&self) -> (u64, u64);

    /// Inserts the records of ours from this number on, so many for each commit.
    async fn again(&mut self, first: u64, group: usize) -> Again;
}

/// The rows that were inserted again, and how long that took in seconds.
pub(crate) struct Again {
    pub(crate) rows: usize,
    pub(crate) wall: f64,
}

/// One row of a ledger, as it is stored.
pub(crate) type Row = [Value; COLUMN_COUNT];

/// A look into the database of a running tenant.
pub(crate) struct Look(Connection);

/// What inserting rows took, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Bare SQLite beside a tenant that runs.
pub(crate) struct BesideFile {
    ours: Look,
    bare: Bare,
}

/// An SQLite database with the tables of a tenant and nobody else at it.
pub(crate) struct Bare(Connection);

impl Look {
    pub(crate) fn at(path: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self(Connection::open_with_flags(path, flags).expect("a database"))
    }

    /// How many groups were committed, and how many records there are.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let sql = "SELECT commits, (SELECT COALESCE(MAX(seq) + 1, 0) FROM ledger) FROM log";
        let counts = self.0.query_row(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let (commits, records) = counts.expect("the log");
        (commits as u64, records as u64)
    }

    /// The records from this number on.
    pub(crate) fn rows(&self, first: u64) -> Vec<Row> {
        let sql = format!("SELECT {COLUMNS} FROM ledger WHERE seq >= ?1 ORDER BY seq");
        let mut statement = self.0.prepare(&sql).expect("a statement");
        let rows = statement.query_map([first as i64], |row| {
            let cells: Result<Vec<Value>, _> = (0..COLUMN_COUNT).map(|at| row.get(at)).collect();
            Ok(Row::try_from(cells?).expect("16 columns"))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }
}

impl BesideFile {
    pub(crate) fn new(ours: Look, bare: Bare) -> Self {
        Self { ours, bare }
    }
}

impl Beside for BesideFile {
    const NAME: &str = "SQLite";

    async fn counts(&self) -> (u64, u64) {
        self.ours.counts()
    }

    async fn again(&mut self, first: u64, group: usize) -> Again {
        let rows = self.ours.rows(first);
        Again {
            rows: rows.len(),
            wall: self.bare.insert(&rows, group).wall,
        }
    }
}

impl Bare {
    pub(crate) async fn create(path: &Path) -> Self {
        let host = Host {
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            observer: Arc::new(()),
        };
        let store = SqliteStore::open(&Options::file(path), host).expect("a database");
        store.close().await;
        drop(store);
        let connection = Connection::open(path).expect("a database");
        for (setting, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("secure_delete", "ON"),
            ("foreign_keys", "ON"),
            ("temp_store", "MEMORY"),
            ("cache_size", "-32768"),
            ("wal_autocheckpoint", "4000"),
        ] {
            connection
                .execute_batch(&format!("PRAGMA {setting} = {value}"))
                .expect("a setting");
        }
        Self(connection)
    }

    /// Inserts the rows, so many for each commit.
    pub(crate) fn insert(&mut self, rows: &[Row], group: usize) -> Took {
        let sql = format!(
            "INSERT INTO ledger ({COLUMNS}) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        );
        let own = std::process::id();
        let (cpu, begun) = (cpu_seconds(own), Instant::now());
        for group in rows.chunks(group.max(1)) {
            let transaction = self.0.transaction().expect("a transaction");
            {
                let mut insert = transaction.prepare_cached(&sql).expect("a statement");
                for row in group {
                    insert.execute(params_from_iter(row)).expect("a row");
                }
            }
            transaction.commit().expect("a commit");
        }
        Took {
            wall: begun.elapsed().as_secs_f64(),
            cpu: cpu_seconds(own) - cpu,
        }
    }
}
