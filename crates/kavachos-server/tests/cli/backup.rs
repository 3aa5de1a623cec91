//! Backups of a database that is served, from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kavachos_test::{damage, may, stored_head};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{Place, Server, eventually, files, is_one_line};

/// How many backups are made while a server writes.
const ROUNDS: usize = 5;
/// How often a backup is killed at most until one was in its middle.
const KILLS: usize = 20;
/// What makes a backup long enough to be killed in its middle, in bytes.
const LOAD: usize = 100_000_000;

/// Asks for decisions until told to end; the ids that were acknowledged.
fn write(server: &Server, key: &str, told: &Mutex<Vec<String>>, ended: &AtomicBool) {
    let mut client = server.client(key);
    while !ended.load(Ordering::SeqCst) {
        let asked = json!({ "action": "read", "resource": "mcp:github:repos" });
        let asked = client.post("/api/v1/authorize", &asked);
        assert!(asked.allowed(), "{asked}");
        told.lock()
            .unwrap()
            .push(asked.text_at("/data/auditId").to_owned());
    }
}

fn agent(server: &Server, operator: &str) -> String {
    let mut client = server.client(operator);
    let ada = client
        .post("/api/v1/users", &json!({ "name": "Ada" }))
        .expect(201);
    let body = json!({
        "ownerId": ada.id(), "name": "one", "type": "service",
        "permissions": may(&["read"], "mcp:github:*"),
    });
    let made = client.post("/api/v1/agents", &body).expect(201);
    made.text_at("/data/token").to_owned()
}

#[test]
fn a_backup_of_a_server_that_writes_has_everything_that_was_acknowledged_before() {
    let place = Place::new();
    let operator = place.init();
    let server = place.start("serve");
    let key = agent(&server, &operator);
    let (told, ended) = (Mutex::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&server, &key, &told, &ended));
        }
        for round in 0..ROUNDS {
            eventually("the server writes", || {
                told.lock().unwrap().len() > 50 * (round + 1)
            });
            let before: Vec<String> = told.lock().unwrap().clone();
            let ran = place.done(format!("backup --output copy-{round}.db --json"));
            check(&place, round, &before, &ran.json());
        }
        ended.store(true, Ordering::SeqCst);
    });
    drop(server);
    // The copy is a database like any other.
    fs::write(place.path("kavach.toml"), "listen = \"127.0.0.1:0\"\n").unwrap();
    place.done("doctor --database copy-0.db");
    let copy = place.start("serve --database copy-0.db");
    copy.stranger().get("/readyz").expect(200);
    let asked = json!({ "action": "read", "resource": "mcp:github:repos" });
    let asked = copy.client(&key).post("/api/v1/authorize", &asked);
    assert!(asked.allowed(), "{asked}");
}

/// Everything that was told before is in the copy, the copy is whole, and it says of itself what is true.
fn check(place: &Place, round: usize, before: &[String], said: &serde_json::Value) {
    let path = place.path(&format!("copy-{round}.db"));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = Connection::open(&path).unwrap();
    let head = stored_head(&copy);
    assert_eq!(damage(&copy, &head), None);
    let check: String = copy
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    assert_eq!(said["data"]["records"], head.size);
    let has = |id: &String| {
        let sql = "SELECT count(*) FROM ledger WHERE id = ?1";
        copy.query_row(sql, [id], |row| row.get::<_, i64>(0))
            .unwrap()
            == 1
    };
    assert!(before.iter().all(has));
    // The twin: a record that came later is not in it.
    assert!(!has(&"audit_never".to_owned()));
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_under_its_name_and_the_next_one_clears_up() {
    let place = Place::new();
    place.init();
    let load = format!("CREATE TABLE load (x); INSERT INTO load VALUES (zeroblob({LOAD}))");
    Connection::open(place.path("kavach.db"))
        .unwrap()
        .execute_batch(&load)
        .unwrap();
    let partial = place.path("copy.db.partial");
    let was_half = (0..KILLS).any(|_| {
        let mut child = place.command("backup --output copy.db").spawn().unwrap();
        eventually("it has begun", || {
            partial.exists() || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let was_half = partial.exists();
        assert_eq!(place.path("copy.db").exists(), !was_half);
        let _ = fs::remove_file(place.path("copy.db"));
        was_half
    });
    assert!(was_half, "none was killed in its middle");
    place.done("backup --output copy.db");
    let names = files(place.directory.path());
    let of_copy: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("copy"))
        .collect();
    assert_eq!(of_copy, ["copy.db"]);
}

#[test]
fn what_is_there_is_kept_unless_it_may_be_replaced() {
    let place = Place::new();
    place.init();
    let backup = "backup --output copy.db";
    let first = place.done(backup);
    assert!(first.out.contains("records  1"), "{first:?}");
    assert!(first.err.contains("master key") && !first.err.contains('\r'));
    let refused = place.run(backup);
    assert!(
        refused.code == 1 && is_one_line(&refused) && refused.err.contains("--force"),
        "{refused:?}"
    );
    place.done(format!("{backup} --force"));
    for (line, code, told) in [
        ("backup --output kavach.db --force", 1, "belongs to"),
        ("backup --output away/copy.db", 1, "does not exist"),
        ("backup --output x.db --database none.db", 1, "none.db"),
        ("backup --output x.db --url http://localhost:1", 2, "--url"),
        ("backup", 2, "--output"),
    ] {
        let ran = place.run(line);
        assert!(
            ran.code == code && ran.err.contains(told),
            "{line}: {ran:?}"
        );
    }
    assert!(!place.path("x.db").exists());
}

#[test]
fn a_database_of_postgresql_is_left_to_its_own_tools() {
    let place = Place::new();
    let ran = place.run("backup --output copy.db --database postgres://localhost/kavach");
    for told in ["pg_dump", "pg_basebackup", "kavach export"] {
        assert!(
            ran.code == 1 && is_one_line(&ran) && ran.err.contains(told),
            "{ran:?}"
        );
    }
}
