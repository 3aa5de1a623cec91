//! What is particular to PostgreSQL: the server and its settings, the lock of the log, and locks of others.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use kavachos_store::conformance::{self, ManualClock, recompute};
use kavachos_store::migration::{CORE, Migration, Progress, SchemaError};
use kavachos_store::postgres::{OpenError, Options, Pending, PostgresStore, history, plan};
use kavachos_store::{Batch, CommitError, Effect, Health, Observer, Store, Write};
use kavachos_test::postgres::{Cluster, PASSWORD, name_of};

use crate::support::{block_on, host, recorded};

/// How the second process finds the database among its arguments.
const SCHEME: &str = "postgres://";

fn options(url: &str) -> Options {
    let mut options = Options::url(url);
    options.migrations = conformance::migrations();
    options
}

fn open_with(options: &Options) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(
        options,
        host(Arc::new(ManualClock::default()), Arc::new(())),
    )
}

fn open(url: &str) -> PostgresStore {
    open_with(&options(url)).unwrap()
}

fn open_error(options: &Options) -> OpenError {
    match open_with(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn writing(write: Write) -> Batch {
    Batch {
        writes: vec![write],
        ..Batch::default()
    }
}

fn insert(name: &'static str) -> Write {
    Write::exactly(1, "INSERT INTO probe (name, value) VALUES (?1, 0)").bind(name)
}

fn touch(name: &'static str) -> Write {
    Write::exactly(1, "UPDATE probe SET value = value + 1 WHERE name = ?1").bind(name)
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
fn held_back(options: &Options) -> (PostgresStore, Sender<()>) {
    let (entered, wait) = channel();
    let (let_go, open) = channel();
    let gate = Gate {
        entered: Mutex::new(Some(entered)),
        open: Mutex::new(open),
    };
    let clock = Arc::new(ManualClock::default());
    let store = PostgresStore::open(options, host(clock, Arc::new(gate))).unwrap();
    drop(store.commit(Batch {
        effects: vec![Effect { kind: 0, key: 0 }],
        ..Batch::default()
    }));
    wait.recv().unwrap();
    (store, let_go)
}

#[test]
fn a_server_that_cannot_be_used_is_refused_with_its_reason() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let wrong_password = url.replace(PASSWORD, "wrong");
    let no_password = url.replace(&format!(":{PASSWORD}"), "");
    for url in [&wrong_password, &no_password] {
        let error = open_error(&options(url));
        assert!(matches!(error, OpenError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("wrong@"), "{error}");
    }
    let error = open_error(&options(&cluster.url("nowhere")));
    assert!(matches!(error, OpenError::NoDatabase { .. }), "{error}");
    let nobody_listens = cluster.url_at(1, "postgres");
    let error = open_error(&options(&nobody_listens));
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    let error = open_error(&options(&format!("{url}?sslmode=require")));
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    let error = open_error(&options(&format!(
        "{url}?options=-c%20search_path%3Dmissing"
    )));
    assert!(matches!(error, OpenError::NoSchema), "{error}");
    for wrong in ["", "kavach.db", "mysql://localhost/kavach", "postgres://"] {
        let error = open_error(&options(wrong));
        assert!(matches!(error, OpenError::Url { .. }), "{wrong}: {error}");
    }
    let name = "in_ascii";
    cluster.psql(
        "postgres",
        &format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0"),
    );
    let error = open_error(&options(&cluster.url(name)));
    assert!(matches!(error, OpenError::Encoding { .. }), "{error}");
    // The twin: the right URL works, over the socket too.
    drop(open(&url));
    drop(open(&cluster.socket_url(name_of(&url))));
}

/// The certificate is for `localhost`, and who vouches for it is in `root.pem`.
#[test]
fn a_connection_is_encrypted_with_a_server_that_proves_who_it_is_and_with_no_other() {
    let (certificate, key) = (
        include_str!("testdata/server.pem"),
        include_str!("testdata/server.key"),
    );
    let Some(cluster) = Cluster::with_tls(certificate, key) else {
        return;
    };
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/postgres/testdata/root.pem"
    );
    let url = cluster.database();
    let named = url.replace("127.0.0.1", "localhost");
    let proven = format!("{named}?sslmode=verify-full&sslrootcert={root}");

    let store = open(&proven);
    block_on(store.commit(writing(insert("a")))).unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'kavach'";
    assert_eq!(cluster.psql(name_of(&url), encrypted), "t");
    drop(store);
    // The twins: another authority, another name, and encryption that nobody asked for.
    for (stranger, reason) in [
        (format!("{named}?sslmode=require"), "UnknownIssuer"),
        (
            format!("{url}?sslmode=require&sslrootcert={root}"),
            "not valid for name",
        ),
    ] {
        let error = open_error(&options(&stranger));
        assert!(error.to_string().contains(reason), "{error}");
    }
    let store = open(&url);
    assert_eq!(cluster.psql(name_of(&url), encrypted), "f");
    drop(store);
}

#[test]
fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    for (option, named) in [
        ("fsync=off", "fsync"),
        ("full_page_writes=off", "full_page_writes"),
    ] {
        let Some(cluster) = Cluster::with_options(&[option]) else {
            return;
        };
        match open_error(&options(&cluster.database())) {
            OpenError::Weak { setting, .. } => assert_eq!(setting, named),
            error => panic!("{error}"),
        }
    }
    // What the session itself can set is set, whatever the server's default.
    let Some(cluster) = Cluster::with_options(&["synchronous_commit=off"]) else {
        return;
    };
    drop(open(&cluster.database()));
}

#[test]
fn another_programs_tables_are_left_alone() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let name = name_of(&url);
    for table in ["songs", "meta"] {
        cluster.psql(name, &format!("CREATE TABLE {table} (name text)"));
        let error = open_error(&options(&url));
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        let error = plan(&url, &options(&url).migrations).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
    // A schema of its own beside them is as good as a database.
    cluster.psql(name, "CREATE SCHEMA own");
    let own = format!("{url}?options=-c%20search_path%3Down");
    block_on(open(&own).commit(recorded(1))).unwrap();
    assert_eq!(cluster.psql(name, "SELECT count(*) FROM own.ledger"), "1");
}

#[test]
fn only_a_binary_that_is_too_old_is_refused() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    drop(open(&url));
    let newer = |min_binary: u32| {
        cluster.psql(
            name_of(&url),
            &format!(
                "INSERT INTO migration VALUES ('core', 99, 'later', '', {min_binary}, 0) \
                 ON CONFLICT (owner, number) DO UPDATE SET min_binary = excluded.min_binary"
            ),
        );
    };
    newer(1);
    drop(open(&url));
    newer(99);
    let error = open_error(&options(&url));
    assert!(
        matches!(
            error,
            OpenError::Schema(SchemaError::BinaryTooOld { needs: 99, .. })
        ),
        "{error}"
    );
}

#[test]
fn pending_migrations_are_planned_applied_once_and_only_when_asked() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let planned = |options: &Options| plan(&url, &options.migrations).unwrap().len();
    let mut grown = options(&url);
    let states = |options: &Options| -> Vec<Progress> {
        let history = history(&url, &options.migrations).unwrap();
        history
            .migrations
            .into_iter()
            .map(|step| step.progress)
            .collect()
    };
    assert_eq!(planned(&grown), grown.migrations.len());
    assert_eq!(
        states(&grown),
        vec![Progress::Pending; grown.migrations.len()]
    );
    drop(open(&url));
    assert_eq!(planned(&grown), 0);
    assert_eq!(
        states(&grown),
        vec![Progress::Applied; grown.migrations.len()]
    );
    grown.migrations.push(Migration {
        owner: "conformance",
        number: 2,
        name: "more",
        sql: "CREATE TABLE more (a {int} NOT NULL) {rows};",
        min_binary: 1,
    });
    assert_eq!(planned(&grown), 1);
    grown.pending = Pending::Refuse;
    let error = open_error(&grown);
    assert!(
        matches!(error, OpenError::Schema(SchemaError::Pending { count: 1 })),
        "{error}"
    );
    grown.pending = Pending::Apply;
    drop(open_with(&grown).unwrap());
    drop(open_with(&grown).unwrap());
    let mut edited = options(&url);
    let first = edited.migrations.iter_mut().find(|step| step.owner == CORE);
    first.unwrap().sql = "CREATE TABLE other (a {int})";
    let error = open_error(&edited);
    assert!(
        matches!(
            error,
            OpenError::Schema(SchemaError::Edited { number: 1, .. })
        ),
        "{error}"
    );
}

#[test]
fn a_migration_that_fails_leaves_nothing_of_itself() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let mut broken = options(&url);
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
    let half = cluster.psql(name_of(&url), "SELECT to_regclass('half') IS NULL");
    assert_eq!(half, "t");
    drop(open(&url));
}

#[test]
#[ignore = "the process that the next test starts and kills"]
fn second_process() {
    let Some(url) = std::env::args().find(|argument| argument.starts_with(SCHEME)) else {
        return;
    };
    let store = open(&url);
    block_on(store.commit(recorded(1))).unwrap();
    use std::io::Write as _;
    writeln!(std::io::stdout(), "\nopen").unwrap();
    // Until it is killed.
    std::thread::park();
}

#[test]
fn one_process_writes_a_log_until_it_ends() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "server::second_process",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .arg(&url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "open"));
    let error = open_error(&options(&url));
    assert!(matches!(error, OpenError::Held { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("--url") && message.contains("kavach"),
        "{message}"
    );
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(open(&url).head().size, 1);
}

#[test]
fn a_lock_of_another_session_makes_one_batch_busy_and_no_other() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    drop({
        let store = open(&url);
        block_on(store.commit(writing(insert("locked")))).unwrap();
        block_on(store.commit(writing(insert("free")))).unwrap();
        store
    });
    let (store, let_go) = held_back(&options(&url));
    let mut other = cluster.session(name_of(&url));
    other.run("BEGIN");
    other.run("UPDATE probe SET value = 5 WHERE name = 'locked'");
    let before = store.commit(recorded(1));
    let stuck = store.commit(Batch {
        writes: vec![touch("free"), touch("locked")],
        ..recorded(2)
    });
    let after = store.commit(Batch {
        writes: vec![touch("free")],
        ..recorded(3)
    });
    let_go.send(()).unwrap();
    assert_eq!(block_on(before).unwrap().first_seq, Some(0));
    assert_eq!(block_on(after).unwrap().first_seq, Some(1));
    assert_eq!(block_on(stuck), Err(CommitError::Busy));
    let free = "SELECT value FROM probe WHERE name = 'free'";
    assert_eq!(cluster.psql(name_of(&url), free), "1");
    // The twin: the same batch once the lock is gone.
    other.run("ROLLBACK");
    let again = Batch {
        writes: vec![touch("free"), touch("locked")],
        ..recorded(2)
    };
    assert_eq!(block_on(store.commit(again)).unwrap().first_seq, Some(2));
}

#[test]
fn a_lock_on_the_ledger_makes_groups_busy_until_it_is_gone() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let store = open(&url);
    let mut other = cluster.session(name_of(&url));
    other.run("BEGIN");
    other.run("LOCK TABLE ledger IN SHARE MODE");
    assert_eq!(block_on(store.commit(recorded(1))), Err(CommitError::Busy));
    other.run("ROLLBACK");
    let receipt = block_on(store.commit(recorded(1))).unwrap();
    assert_eq!(receipt.first_seq, Some(0));
}

#[test]
fn a_record_that_is_there_already_fails_alone_in_a_large_group() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (store, let_go) = held_back(&options(&cluster.database()));
    let numbers = (0..300).map(|number| if number == 200 { 100 } else { number });
    let answers: Vec<_> = numbers
        .map(|number| store.commit(recorded(number)))
        .collect();
    let_go.send(()).unwrap();
    let answers: Vec<_> = answers.into_iter().map(block_on).collect();
    let bad: Vec<usize> = (0..300)
        .filter(|index| answers.get(*index).unwrap().is_err())
        .collect();
    assert_eq!(bad, [200]);
    assert!(matches!(
        answers.get(200),
        Some(Err(CommitError::Rejected { .. }))
    ));
    let last = answers.last().unwrap().as_ref().unwrap();
    assert_eq!(last.first_seq, Some(298));
    let head = store.head();
    assert_eq!(block_on(recompute(&store)).unwrap(), (head.size, head.root));
}

#[test]
fn bad_batches_in_every_window_of_a_group_fail_alone() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (store, let_go) = held_back(&options(&cluster.database()));
    // Every seventh finds no row, every eleventh breaks a constraint after a write that was fine.
    let make = |number: u64| {
        let named = |name: String| {
            Write::exactly(1, "INSERT INTO probe (name, value) VALUES (?1, 0)").bind(name)
        };
        let mut batch = writing(named(number.to_string()));
        batch.entries = recorded(number.into()).entries;
        if number.is_multiple_of(7) {
            batch.writes.push(touch("nobody"));
        } else if number.is_multiple_of(11) {
            batch.writes.push(named(number.to_string()));
        }
        batch
    };
    let answers: Vec<_> = (1..=400).map(|number| store.commit(make(number))).collect();
    let_go.send(()).unwrap();
    let mut seq = 0;
    for (number, answer) in (1_u64..).zip(answers) {
        match block_on(answer) {
            Ok(receipt) => {
                assert!(!number.is_multiple_of(7) && !number.is_multiple_of(11));
                assert_eq!(receipt.first_seq, Some(seq));
                seq += 1;
            }
            Err(CommitError::Conflict { write: Some(1) }) => assert!(number.is_multiple_of(7)),
            Err(CommitError::Rejected { write: Some(1), .. }) => {
                assert!(number.is_multiple_of(11));
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    let head = store.head();
    assert_eq!(
        (head.size, block_on(recompute(&store)).unwrap().0),
        (seq, seq)
    );
}

#[test]
fn a_writer_that_finds_its_number_taken_stops() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    for intrusion in [
        "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, body, leaf) \
         VALUES (0, 0, 'x', 'x', 'x', 'x', 'x', '{}', decode(repeat('00', 32), 'hex'))",
        "UPDATE log SET commits = commits + 1",
        "DELETE FROM log",
    ] {
        let url = cluster.database();
        let store = open(&url);
        cluster.psql(name_of(&url), intrusion);
        let answer = block_on(store.commit(recorded(1)));
        assert!(
            matches!(
                answer,
                Err(CommitError::Unavailable(_) | CommitError::Unknown)
            ),
            "{intrusion}: {answer:?}"
        );
        block_on(store.close());
        assert!(matches!(store.health(), Health::Stopped(_)), "{intrusion}");
    }
}

#[test]
fn a_writer_that_panics_answers_unknown_and_says_so() {
    struct Panics;
    impl Observer for Panics {
        fn committed(&self, _: &[Effect]) {
            panic!("on purpose");
        }
    }
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let clock = Arc::new(ManualClock::default());
    let store = PostgresStore::open(&options(&url), host(clock, Arc::new(Panics))).unwrap();
    block_on(store.commit(recorded(1))).unwrap();
    let fatal = Batch {
        effects: vec![Effect { kind: 0, key: 0 }],
        ..recorded(2)
    };
    assert_eq!(block_on(store.commit(fatal)), Err(CommitError::Unknown));
    block_on(store.close());
    assert!(matches!(store.health(), Health::Stopped(_)));
    // The lock is free, and what was committed before the panic is there.
    assert_eq!(open(&url).head().size, 2);
}
