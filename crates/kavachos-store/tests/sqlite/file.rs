//! What is particular to SQLite: the file, its lock, its limits, and what happens when it fails.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavachos_core::counter::Rule;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_store::conformance::{self, ManualClock, recompute};
use kavachos_store::migration::{CORE, Migration, Progress, SchemaError};
use kavachos_store::sqlite::{
    OpenError, Options, Pending, SqliteStore, claim, history, plan, settle,
};
use kavachos_store::{
    Batch, CommitError, Effect, Health, Observer, Query, Store, Take, Write, handle,
};

use crate::support::{block_on, host, recorded};

/// A directory with a database in it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("kavach.db")
    }

    fn options(&self) -> Options {
        let mut options = Options::file(self.path());
        options.migrations = conformance::migrations();
        options.busy_timeout = Duration::ZERO;
        options
    }

    fn open(&self) -> SqliteStore {
        open(&self.options()).unwrap()
    }

    /// A connection past the lock, as another program would have.
    fn intruder(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

fn open(options: &Options) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(
        options,
        host(Arc::new(ManualClock::default()), Arc::new(())),
    )
}

fn open_error(options: &Options) -> OpenError {
    match open(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn insert(name: String, data: Vec<u8>) -> Write {
    Write::exactly(
        1,
        "INSERT INTO probe (name, value, data) VALUES (?1, 0, ?2)",
    )
    .bind(name)
    .bind(data)
}

fn writing(write: Write) -> Batch {
    Batch {
        writes: vec![write],
        ..Batch::default()
    }
}

fn spend_all() -> Batch {
    Batch {
        takes: vec![Take {
            counter: b"counter".as_slice().into(),
            rule: Rule::Budget { amount: 10 },
            n: 10,
        }],
        ..Batch::default()
    }
}

fn mark(generation: u64) -> Mark {
    let handle = Handle {
        kind: HandleKind::User,
        bytes: [1; 16],
    };
    Mark { handle, generation }
}

fn relying(generation: u64) -> Batch {
    Batch {
        reads: vec![mark(generation)],
        ..Batch::default()
    }
}

fn count(store: &SqliteStore, table: &str) -> u64 {
    let store: &dyn Store = store;
    let query = Query::new(1, format!("SELECT count(*) FROM {table}"));
    block_on(store.find(query.of::<(u64,)>()))
        .unwrap()
        .unwrap()
        .0
}

/// Holds the writer inside its first call of the observer until it is let go.
struct Gate {
    entered: Mutex<Option<Sender<()>>>,
    open: Mutex<Receiver<()>>,
}

impl Observer for Gate {
    fn committed(&self, _: &[Effect]) {
        if let Some(entered) = self.entered.lock().unwrap().take() {
            entered.send(()).unwrap();
            self.open.lock().unwrap().recv().unwrap();
        }
    }
}

/// A store whose writer is held after its first group; sending opens the gate.
fn held_back(options: &Options) -> (SqliteStore, Sender<()>) {
    let (entered, wait) = channel();
    let (let_go, open) = channel();
    let gate = Gate {
        entered: Mutex::new(Some(entered)),
        open: Mutex::new(open),
    };
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(options, host(clock, Arc::new(gate))).unwrap();
    drop(store.commit(Batch {
        effects: vec![Effect { kind: 0, key: 0 }],
        ..Batch::default()
    }));
    wait.recv().unwrap();
    (store, let_go)
}

#[test]
fn a_second_opener_is_refused_and_told_what_to_do() {
    let place = Place::new();
    let first = place.open();
    let message = open_error(&place.options()).to_string();
    assert!(
        message.contains("kavach.db.lock") && message.contains("--url"),
        "{message}"
    );
    block_on(first.close());
    place.open();
}

#[cfg(unix)]
#[test]
fn another_name_of_the_file_is_the_same_lock() {
    let place = Place::new();
    let first = place.open();
    let link = place.directory.path().join("other.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let mut options = place.options();
    options.path = Some(link);
    assert!(matches!(open_error(&options), OpenError::Held { .. }));
    drop(first);
    open(&options).unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_reason() {
    let place = Place::new();
    let missing = Options::file(place.directory.path().join("none").join("kavach.db"));
    assert!(matches!(
        open_error(&missing),
        OpenError::NoDirectory { .. }
    ));

    std::fs::write(
        place.path(),
        "this is a letter and no database, ".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(place.path()).unwrap();
    assert!(matches!(
        open_error(&place.options()),
        OpenError::NotADatabase { .. }
    ));
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    std::fs::remove_file(place.path()).unwrap();

    place
        .intruder()
        .execute_batch("CREATE TABLE songs (name TEXT)")
        .unwrap();
    assert!(matches!(
        open_error(&place.options()),
        OpenError::Foreign { .. }
    ));
    std::fs::remove_file(place.path()).unwrap();

    drop(place.open());
    let mut rights = std::fs::metadata(place.path()).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(place.path(), rights).unwrap();
    assert!(matches!(
        open_error(&place.options()),
        OpenError::ReadOnly { .. }
    ));
}

#[test]
fn only_a_binary_that_is_too_old_is_refused() {
    let place = Place::new();
    drop(place.open());
    let newer = |min_binary: u32| {
        place
            .intruder()
            .execute(
                "INSERT OR REPLACE INTO migration VALUES ('core', 99, 'later', x'00', ?1, 0)",
                [min_binary],
            )
            .unwrap();
    };
    newer(1);
    drop(place.open());
    newer(99);
    let error = open_error(&place.options());
    assert!(
        matches!(
            error,
            OpenError::Schema(SchemaError::BinaryTooOld { needs: 99, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("newer kavach"), "{error}");
}

#[test]
fn an_edited_migration_is_refused() {
    let place = Place::new();
    drop(place.open());
    let mut options = place.options();
    let edited = options
        .migrations
        .iter_mut()
        .find(|step| step.owner == CORE);
    edited.unwrap().sql = "CREATE TABLE other (a {int})";
    assert!(matches!(
        open_error(&options),
        OpenError::Schema(SchemaError::Edited { number: 1, .. })
    ));
}

#[test]
fn pending_migrations_are_planned_applied_once_and_only_when_asked() {
    let place = Place::new();
    let all = place.options().migrations.len();
    let planned = |options: &Options| plan(&place.path(), &options.migrations).unwrap().len();
    assert_eq!(planned(&place.options()), all);
    drop(place.open());
    assert_eq!(planned(&place.options()), 0);

    let mut grown = place.options();
    grown.migrations.push(Migration {
        owner: "conformance",
        number: 2,
        name: "more",
        sql: "CREATE TABLE more (a {int} NOT NULL) {rows};",
        min_binary: 1,
    });
    assert_eq!(planned(&grown), 1);
    grown.pending = Pending::Refuse;
    assert!(matches!(
        open_error(&grown),
        OpenError::Schema(SchemaError::Pending { count: 1 })
    ));
    grown.pending = Pending::Apply;
    assert_eq!(count(&open(&grown).unwrap(), "more"), 0);
    assert_eq!(count(&open(&grown).unwrap(), "more"), 0);
}

#[test]
fn a_history_tells_how_far_each_migration_has_come_and_leaves_no_trace() {
    let place = Place::new();
    let told = |options: &Options| history(&place.path(), &options.migrations).unwrap();
    let states = |options: &Options| -> Vec<Progress> {
        let migrations = told(options).migrations.into_iter();
        migrations.map(|migration| migration.progress).collect()
    };
    let mut options = place.options();
    let all = options.migrations.len();
    assert_eq!(states(&options), vec![Progress::Pending; all]);
    assert!(!place.path().exists());
    drop(place.open());
    let files = || {
        std::fs::read_dir(place.path().parent().unwrap())
            .unwrap()
            .count()
    };
    let before = files();
    assert_eq!(states(&options), vec![Progress::Applied; all]);
    assert!(
        told(&options)
            .migrations
            .iter()
            .all(|step| step.time.is_some())
    );
    // While a store has it open there is a write-ahead log, and it is read.
    let open = place.open();
    assert_eq!(states(&options), vec![Progress::Applied; all]);
    drop(open);
    assert_eq!(files(), before);

    options.migrations[1].sql = "CREATE TABLE other (a {int})";
    let last = options.migrations.pop().unwrap();
    let history = told(&options);
    let state = |at: usize| history.migrations[at].progress;
    assert_eq!((state(0), state(1)), (Progress::Applied, Progress::Edited));
    let unknown = history.migrations.last().unwrap();
    assert_eq!(
        (unknown.progress, unknown.name.as_str()),
        (Progress::Unknown, last.name)
    );
    assert!(matches!(
        history.obstacle,
        Some(SchemaError::Edited { number: 2, .. })
    ));
}

#[test]
fn a_migration_that_fails_leaves_nothing_of_itself() {
    let place = Place::new();
    drop(place.open());
    let mut broken = place.options();
    broken.migrations.push(Migration {
        owner: "plugin",
        number: 1,
        name: "half",
        sql: "CREATE TABLE half (a {int}) {rows}; CREATE TABLE half (a {int}) {rows};",
        min_binary: 1,
    });
    let error = open_error(&broken);
    assert!(
        matches!(
            error,
            OpenError::Schema(SchemaError::Fails { number: 1, .. })
        ),
        "{error}"
    );
    assert!(!place.intruder().table_exists(None, "half").unwrap());
}

#[test]
fn a_full_disk_fails_whole_groups_and_recovers_by_itself() {
    let place = Place::new();
    let mut options = place.options();
    options.max_bytes = Some(1 << 20);
    drop(open(&options).unwrap());
    let (store, let_go) = held_back(&options);
    let born = store.commit(writing(handle::born(mark(1))));
    let first = store.commit(recorded(1));
    let kill = store.commit(Batch {
        kills: vec![mark(2)],
        ..recorded(2)
    });
    let spend = store.commit(spend_all());
    let conflict = store.commit(writing(Write::exactly(1, "DELETE FROM probe")));
    let filler: Vec<_> = (0..20)
        .map(|number| store.commit(writing(insert(number.to_string(), vec![1; 100_000]))))
        .collect();
    let_go.send(()).unwrap();
    let mut answers = vec![block_on(born), block_on(first), block_on(kill)];
    answers.extend([block_on(spend), block_on(conflict)]);
    answers.extend(filler.into_iter().map(block_on));
    for answer in answers {
        assert!(
            matches!(answer, Err(CommitError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(matches!(store.health(), Health::Failing(reason) if reason.contains("full")));
    assert_eq!((count(&store, "ledger"), count(&store, "probe")), (0, 0));

    // Nothing of the lost group is remembered: not the number, the kill, the handle, nor the take.
    assert!(block_on(store.commit(relying(1))).is_err());
    block_on(store.commit(writing(handle::born(mark(1))))).unwrap();
    block_on(store.commit(relying(1))).unwrap();
    assert_eq!(
        block_on(store.commit(recorded(3))).unwrap().first_seq,
        Some(0)
    );
    block_on(store.commit(spend_all())).unwrap();
    assert!(block_on(store.commit(spend_all())).is_err());
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(store.head().revocation.rseq, 0);
}

#[test]
fn a_database_that_grew_full_goes_on_when_rows_are_removed() {
    let place = Place::new();
    let mut options = place.options();
    options.max_bytes = Some(1 << 20);
    let store = open(&options).unwrap();
    let fill = |number: u32| writing(insert(number.to_string(), vec![1; 100_000]));
    let full = (0..20).find(|number| block_on(store.commit(fill(*number))).is_err());
    assert!(full.is_some_and(|number| number > 3), "{full:?}");
    block_on(store.commit(writing(Write::any("DELETE FROM probe")))).unwrap();
    block_on(store.commit(fill(99))).unwrap();
    assert_eq!(store.health(), Health::Ready);
}

#[test]
fn a_lock_of_another_process_makes_groups_busy_until_it_is_gone() {
    let place = Place::new();
    let store = place.open();
    let intruder = place.intruder();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(block_on(store.commit(recorded(1))), Err(CommitError::Busy));
    intruder.execute_batch("ROLLBACK").unwrap();
    let receipt = block_on(store.commit(recorded(1))).unwrap();
    assert_eq!(receipt.first_seq, Some(0));
}

#[test]
fn a_full_queue_is_busy_at_once_and_loses_nothing() {
    let place = Place::new();
    let mut options = place.options();
    options.queued_batches = 3;
    let (store, let_go) = held_back(&options);
    let queued = [1, 2, 3].map(|number| store.commit(recorded(number)));
    assert_eq!(block_on(store.commit(recorded(4))), Err(CommitError::Busy));
    let_go.send(()).unwrap();
    for (seq, answer) in (0..).zip(queued) {
        assert_eq!(block_on(answer).unwrap().first_seq, Some(seq));
    }
    assert_eq!(count(&store, "ledger"), 3);
}

#[test]
fn a_writer_that_panics_answers_unknown_and_says_so() {
    struct Panics;
    impl Observer for Panics {
        fn committed(&self, _: &[Effect]) {
            panic!("on purpose");
        }
    }
    let place = Place::new();
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(&place.options(), host(clock, Arc::new(Panics))).unwrap();
    block_on(store.commit(recorded(1))).unwrap();
    let fatal = Batch {
        effects: vec![Effect { kind: 0, key: 0 }],
        ..recorded(2)
    };
    assert_eq!(block_on(store.commit(fatal)), Err(CommitError::Unknown));
    block_on(store.close());
    assert!(matches!(store.health(), Health::Stopped(_)));
    let late = block_on(store.commit(recorded(3)));
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
    // The lock is free, and what was committed before the panic is there.
    assert_eq!(count(&place.open(), "ledger"), 2);
}

#[test]
fn a_writer_that_finds_its_number_taken_stops() {
    for intrusion in [
        "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, body, leaf) \
         VALUES (0, 0, 'x', 'x', 'x', 'x', 'x', '{}', zeroblob(32))",
        "UPDATE log SET commits = commits + 1",
    ] {
        let place = Place::new();
        let store = place.open();
        place.intruder().execute_batch(intrusion).unwrap();
        let answer = block_on(store.commit(recorded(1)));
        assert!(
            matches!(answer, Err(CommitError::Unavailable(_))),
            "{answer:?}"
        );
        block_on(store.close());
        assert!(matches!(store.health(), Health::Stopped(_)));
    }
}

#[test]
fn takers_on_many_threads_get_exactly_what_there_is() {
    let place = Place::new();
    let store = place.open();
    let given = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let take = Take {
                    counter: b"shared".as_slice().into(),
                    rule: Rule::Budget { amount: 100 },
                    n: 1,
                };
                for _ in 0..4 {
                    let batch = Batch {
                        takes: vec![take.clone()],
                        ..Batch::default()
                    };
                    if block_on(store.commit(batch)).is_ok() {
                        given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(given.into_inner(), 100);
}

#[test]
fn closing_leaves_one_file_with_everything_in_it() {
    let place = Place::new();
    let store = place.open();
    let queued: Vec<_> = (1..100)
        .map(|number| store.commit(recorded(number)))
        .collect();
    block_on(store.close());
    assert!(queued.into_iter().all(|answer| block_on(answer).is_ok()));
    assert!(!place.directory.path().join("kavach.db-wal").exists());
    let store = place.open();
    let (size, root) = block_on(recompute(&store)).unwrap();
    assert_eq!((size, root), (store.head().size, store.head().root));
    assert_eq!(size, 99);
}

/// 64 MiB and what is written while the thread copies; without it, the log would grow to all that was ever written.
#[test]
fn the_write_ahead_log_stays_short_while_the_writer_goes_on() {
    const WRITES: u8 = 250;
    const BYTES: usize = 900_000;
    let place = Place::new();
    let store = place.open();
    block_on(store.commit(writing(insert("row".to_owned(), Vec::new())))).unwrap();
    for round in 0..WRITES {
        let sql = "UPDATE probe SET value = value + 1, data = ?1 WHERE name = 'row'";
        let data = vec![round; BYTES];
        block_on(store.commit(writing(Write::exactly(1, sql).bind(data)))).unwrap();
    }
    let log = place.directory.path().join("kavach.db-wal");
    let length = std::fs::metadata(log).unwrap().len();
    assert!(
        length > 16 << 20,
        "{length}: the log is not what was measured"
    );
    assert!(length < 128 << 20, "{length}");
    block_on(store.close());
    let store = place.open();
    let rows = "SELECT name FROM probe WHERE name = 'row' AND value = ?1 AND CAST(length(data) AS TEXT) = ?2";
    let row = Query::new(2, rows)
        .bind(u64::from(WRITES))
        .bind(BYTES.to_string());
    assert_eq!(block_on(store.query(row)).unwrap().len(), 1);
}

/// A promise of before there was a column for it is no ordinary delegation afterwards.
#[test]
fn the_step_that_reserves_grants_reserves_those_that_were_promised_before() {
    let place = Place::new();
    let mut options = place.options();
    let all = std::mem::take(&mut options.migrations);
    let reserved = |step: &&Migration| step.name == "reserved grants";
    let number = all.iter().find(reserved).unwrap().number;
    let before = |step: &&Migration| step.owner == CORE && step.number < number;
    options.migrations = all.iter().filter(before).copied().collect();
    drop(open(&options).unwrap());
    let other = place.intruder();
    let written = other.execute_batch(
        "PRAGMA foreign_keys = OFF;
         INSERT INTO tool_servers (id, hash, shown, audience, name, scopes, policy, status, handle, version, created_at)
           VALUES ('server', x'01', 's', 'https://tools.example.com', 'n', '[]', '{}', 'active', x'01', 0, 0);
         INSERT INTO grants (id, receiver, root, permissions, depth, max_depth, status, handle, version, created_at)
           VALUES ('promised', 'b', 'u', '[]', 1, 3, 'active', x'02', 0, 0), ('plain', 'b', 'u', '[]', 1, 3, 'active', x'03', 0, 0),
             ('given on', 'b', 'u', '[]', 1, 3, 'active', x'04', 0, 0);
         INSERT INTO grants (id, parent, receiver, root, permissions, depth, max_depth, status, handle, version, created_at)
           VALUES ('below', 'given on', 'c', 'u', '[]', 2, 3, 'active', x'05', 0, 0);
         INSERT INTO promised_tokens (grant_id, giver, server, bound, marks, epoch, expires_at)
           VALUES ('promised', 'a', 'server', 0, x'', 1, 9), ('given on', 'a', 'server', 0, x'', 1, 9);",
    );
    written.unwrap();
    drop(other);
    options.migrations = all;
    drop(open(&options).unwrap());
    let other = place.intruder();
    let said = |id: &str| -> Option<String> {
        let sql = "SELECT reserved_for FROM grants WHERE id = ?1";
        other.query_row(sql, [id], |row| row.get(0)).unwrap()
    };
    assert_eq!(
        said("promised").as_deref(),
        Some("https://tools.example.com")
    );
    // The twin.
    assert_eq!(said("plain"), None);
    // Below a reserved one nothing stands, so a file of the tenant would be refused.
    assert_eq!(said("given on"), None);
}

#[test]
fn no_database_is_made_where_the_log_of_another_one_lies() {
    let place = Place::new();
    let log = place.directory.path().join("kavach.db-wal");
    std::fs::write(&log, "the last changes of another").unwrap();
    // Whoever makes the file first makes it empty.
    for is_there in [false, true] {
        if is_there {
            std::fs::write(place.path(), "").unwrap();
        }
        let error = open_error(&place.options());
        assert!(matches!(error, OpenError::LostDatabase { .. }), "{error}");
        assert_eq!(place.path().exists(), is_there);
        assert_eq!(
            std::fs::read_to_string(&log).unwrap(),
            "the last changes of another"
        );
    }
    // The twin: an empty log has nothing to lose.
    std::fs::write(&log, "").unwrap();
    drop(place.open());
}

#[test]
fn a_settled_database_is_whole_in_its_file() {
    let (place, crashed) = (Place::new(), Place::new());
    drop(place.open());
    let intruder = place.intruder();
    intruder
        .execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE last_change (x)")
        .unwrap();
    for end in ["", "-wal"] {
        let with = |place: &Place| place.directory.path().join(format!("kavach.db{end}"));
        std::fs::copy(with(&place), with(&crashed)).unwrap();
    }
    let has_change = |path: PathBuf| {
        let alone = crashed.directory.path().join("alone.db");
        std::fs::copy(path, &alone).unwrap();
        let connection = rusqlite::Connection::open(alone).unwrap();
        let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'last_change'";
        let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        count == 1
    };
    // The twin: as the crash left it, the change is in the log alone.
    assert!(!has_change(crashed.path()));
    settle(&claim(&crashed.path()).unwrap()).unwrap();
    assert!(has_change(crashed.path()));
    let log = crashed.directory.path().join("kavach.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |log| log.len()), 0);
}
