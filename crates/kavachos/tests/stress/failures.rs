//! When the store fails: a clear error, nothing lost, no allow without a record, and recovery without a restart.

use std::path::{Path, PathBuf};

use kavachos::Kavach;
use kavachos_test::damage;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::support::world::{Agent, Setup, World, ask, reading};
use kavachos_test::blocking::Answer;

/// How large the small database may grow.
const SMALL: u64 = 5 << 18;
/// More decisions than fit into it.
const MORE_THAN_FIT: usize = 4_000;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kavach.db");
    (directory, path)
}

fn small(path: &Path) -> (World, Agent) {
    let setup = Setup {
        path: Some(path.to_owned()),
        max_bytes: Some(SMALL),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let agent = world.agent(&ada, reading("mcp:github:*"));
    (world, agent)
}

fn is_unavailable(answer: &Answer) -> bool {
    answer.status == 503
        && answer.code() == "ledger_unavailable"
        && !answer.header("retry-after").is_empty()
}

/// Takes room that can be given back, as another program's files would.
fn ballast(path: &Path) {
    let other = Connection::open(path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE ballast (data BLOB); INSERT INTO ballast VALUES (zeroblob(500000))",
        )
        .unwrap();
}

fn remove_ballast(path: &Path) {
    let other = Connection::open(path).unwrap();
    other.execute_batch("DROP TABLE ballast").unwrap();
}

/// A resource whose records are long.
fn filling() -> String {
    format!("mcp:github:{}", "x".repeat(490))
}

/// Asks until the disk is full; how many were allowed.
fn fill(world: &World, agent: &Agent) -> usize {
    let mut client = world.operator();
    for allowed in 0..MORE_THAN_FIT {
        let answer = ask(&mut client, &agent.id, &filling());
        if !answer.allowed() {
            assert!(is_unavailable(&answer), "{answer}");
            return allowed;
        }
    }
    panic!("the disk never became full");
}

#[test]
fn a_full_disk_refuses_everything_loses_nothing_and_recovers_when_there_is_room() {
    let (_directory, path) = place();
    let (world, agent) = small(&path);
    ballast(&path);
    let allowed = fill(&world, &agent);
    assert!(allowed > 10, "{allowed}");
    assert_eq!(
        world.allows(&agent.id),
        allowed,
        "every allow has its record"
    );

    let full = world.engine.head();
    for _ in 0..20 {
        assert!(is_unavailable(&world.ask(&agent.id, &filling())));
        let grace = world
            .operator()
            .post("/api/v1/users", &json!({ "name": "Grace" }));
        assert!(is_unavailable(&grace), "{grace}");
        let revoked = world
            .operator()
            .delete(&format!("/api/v1/agents/{}", agent.id));
        assert!(is_unavailable(&revoked), "{revoked}");
    }
    assert_eq!(world.engine.head(), full);
    // The small record of a recovery may still find room, and then it is ready until the next call needs more.
    let full = (0..50).any(|_| {
        assert!(is_unavailable(&world.ask(&agent.id, &filling())));
        world.stranger().get("/readyz").status == 503
    });
    assert!(full);
    for _ in 0..3 {
        assert_eq!(world.stranger().get("/readyz").status, 503);
    }
    let full = world.engine.head();
    world.stranger().get("/healthz").expect(200);
    // What is stored can still be read, and a refused revocation revoked nothing.
    let shown = world
        .operator()
        .get(&format!("/api/v1/agents/{}", agent.id))
        .expect(200);
    assert_eq!(shown.text_at("/data/status"), "active");
    assert_eq!(world.engine.head(), full);

    remove_ballast(&path);
    let ready = world.stranger().get("/readyz");
    assert_eq!(
        ready.status, 200,
        "room is noticed without any other call: {ready}"
    );
    assert!(world.ask(&agent.id, "mcp:github:repos").allowed());
    assert_eq!(world.allows(&agent.id), allowed + 1);
    let head = world.engine.head();
    assert_eq!(head.size, full.size + 2, "the recovery and the decision");
    world.close();
    assert_eq!(damage(&Connection::open(&path).unwrap(), &head), None);
}

#[test]
fn calls_at_once_on_a_disk_that_becomes_full_have_a_record_for_every_allow() {
    let (_directory, path) = place();
    let (world, agent) = small(&path);
    let allowed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| fill(&world, &agent)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(world.allows(&agent.id), allowed);
    let head = world.engine.head();
    world.close();
    assert_eq!(damage(&Connection::open(&path).unwrap(), &head), None);
}

#[test]
fn a_database_that_another_program_locks_is_busy_and_goes_on_when_it_is_let_go() {
    let (_directory, path) = place();
    let setup = Setup {
        path: Some(path.clone()),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let agent = world.agent(&ada, reading("mcp:github:*"));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = world.ask(&agent.id, "mcp:github:repos");
    assert_eq!((answer.status, answer.code()), (503, "busy"), "{answer}");
    assert!(!answer.header("retry-after").is_empty());
    world
        .operator()
        .get(&format!("/api/v1/agents/{}", agent.id))
        .expect(200);
    other.execute_batch("ROLLBACK").unwrap();
    assert!(world.ask(&agent.id, "mcp:github:repos").allowed());
    assert_eq!(world.allows(&agent.id), 1);
}

/// Why the library cannot open this database.
fn refusal(path: &Path) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(Kavach::builder().sqlite(path).build()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

/// What stands in the database, byte for byte.
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn closed_database(path: &Path) {
    let setup = Setup {
        path: Some(path.to_owned()),
        ..Setup::default()
    };
    let world = setup.start();
    world.user();
    world.close();
}

#[test]
fn a_database_that_a_running_server_holds_is_refused_and_pointed_to_the_server() {
    let (_directory, path) = place();
    let setup = Setup {
        path: Some(path.clone()),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let message = refusal(&path);
    assert!(
        message.contains("kavach.db.lock") && message.contains("--url"),
        "{message}"
    );
    world
        .operator()
        .get(&format!("/api/v1/users/{ada}"))
        .expect(200);
    assert_eq!(world.stranger().get("/readyz").status, 200);
}

#[test]
fn a_read_only_database_is_refused_and_left_as_it_is() {
    let (_directory, path) = place();
    closed_database(&path);
    let before = bytes(&path);
    let mut rights = std::fs::metadata(&path).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&path, rights).unwrap();
    let message = refusal(&path);
    assert!(
        message.contains("read-only") && message.contains("permissions"),
        "{message}"
    );
    assert_eq!(bytes(&path), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let message = refusal(Path::new("/proc/kavach.db"));
    assert!(
        message.contains("cannot open `/proc/kavach.db"),
        "{message}"
    );
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (_directory, path) = place();
    closed_database(&path);
    let later = "INSERT INTO migration VALUES ('core', 99, 'later', x'00', 99, 0)";
    Connection::open(&path)
        .unwrap()
        .execute_batch(later)
        .unwrap();
    let before = bytes(&path);
    let message = refusal(&path);
    assert!(message.contains("newer kavach"), "{message}");
    assert_eq!(bytes(&path), before);
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let (_directory, path) = place();
    std::fs::write(&path, "a letter, and no database; ".repeat(400)).unwrap();
    let before = bytes(&path);
    let message = refusal(&path);
    assert!(message.contains("is not an SQLite database"), "{message}");
    assert_eq!(bytes(&path), before);
}

#[test]
fn after_the_close_nothing_is_decided() {
    let world = World::new();
    let ada = world.user();
    let agent = world.agent(&ada, reading("mcp:github:*"));
    assert!(world.ask(&agent.id, "mcp:github:repos").allowed());
    world.runtime.block_on(world.engine.close());
    let error = world.decide(&agent.id, "mcp:github:repos").unwrap_err();
    assert_eq!(error.code(), "ledger_unavailable");
    assert_eq!(world.ask(&agent.id, "mcp:github:repos").status, 503);
}
