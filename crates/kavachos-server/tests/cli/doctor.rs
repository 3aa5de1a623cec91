//! What `kavach doctor` finds, each with a healthy twin that does not show it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use kavachos_test::postgres::{Cluster, name_of};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, eventually};

/// Settings that do not meet those of others, and that nothing is to be said of.
const SETTINGS: &str = "listen = \"127.0.0.1:0\"\n\n[mail]\nsender = \"smtp\"\nfrom = \"auth@example.com\"\n\
    smtp_host = \"localhost\"\nsmtp_security = \"plain\"\n";

/// A database that nothing is wrong with, and settings that do not meet those of others.
fn healthy() -> Place {
    let place = Place::new();
    place.init();
    fs::write(place.path("kavach.toml"), SETTINGS).unwrap();
    place
}

/// The findings that are not ok, with their levels; each explains itself, and the exit code is right.
fn findings(place: &Place, line: &str) -> Vec<(String, String)> {
    let ran = place.run(format!("{line} --json"));
    let json = ran.json();
    let all = json["data"].as_array().unwrap();
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    let not_ok = all.iter().filter(|finding| finding["level"] != "ok");
    let found: Vec<_> = not_ok
        .map(|finding| {
            let said = [
                text(finding, "says"),
                text(finding, "why"),
                text(finding, "do"),
            ];
            assert!(said.iter().all(|text| !text.is_empty()), "{finding}");
            (text(finding, "id"), text(finding, "level"))
        })
        .collect();
    let is_bad = found.iter().any(|(_, level)| level == "bad");
    assert_eq!(ran.code, i32::from(is_bad), "{json}");
    found
}

#[track_caller]
fn assert_found(place: &Place, id: &str, level: &str) {
    let found = findings(place, "doctor");
    let expected = (id.to_owned(), level.to_owned());
    assert!(found.contains(&expected), "{id}: {found:?}");
}

/// What is not ok apart from the disk, which is that of the machine.
fn ids(place: &Place, line: &str) -> Vec<String> {
    let found = findings(place, line).into_iter().map(|(id, _)| id);
    found.filter(|id| !id.starts_with("disk.")).collect()
}

#[track_caller]
fn assert_well(place: &Place) {
    assert_eq!(ids(place, "doctor"), Vec::<String>::new());
}

/// Changes the database past everything that guards it.
fn alter(place: &Place, sql: &str) {
    let database = Connection::open(place.path("kavach.db")).unwrap();
    database.execute_batch(sql).unwrap();
}

#[test]
fn a_healthy_server_is_well_whether_it_runs_or_not() {
    let place = healthy();
    assert_well(&place);
    let server = place.start("serve");
    assert_well(&place);
    let held = place.done("doctor");
    let process = format!("held by process {}", server.pid());
    assert!(held.out.contains(&process), "{held:?}");
    assert!(
        held.out.contains("the last 1 were hashed again"),
        "{held:?}"
    );
    assert!(held.out.lines().last().unwrap().starts_with("0 bad, "));
    place.done(format!("doctor --url {}", server.url));
    let url = server.url.clone();
    drop(server);
    let line = format!("doctor --url {url}");
    assert_eq!(
        findings(&place, &line),
        [("server.unready".into(), "bad".into())]
    );
}

#[test]
fn settings_that_cannot_be_used_or_should_not_are_found() {
    let mut place = healthy();
    for (variable, value, id, level) in [
        ("KAVACH_LISTEN", "here", "config.invalid", "bad"),
        ("KAVACH_LISTN", "x", "config.variable", "warning"),
        (
            "KAVACH_FETCH_LOOPBACK",
            "allow",
            "config.loopback",
            "warning",
        ),
        ("KAVACH_DATABASE", "none.db", "database.missing", "bad"),
        ("KAVACH_MAIL_SENDER", "off", "mail.off", "warning"),
        ("KAVACH_MAIL_TEMPLATES", "none", "mail.unusable", "bad"),
        (
            "KAVACH_MAIL_SMTP_HOST",
            "smtp.example.com",
            "mail.unusable",
            "bad",
        ),
        ("KAVACH_LISTEN", "192.0.2.1:3000", "config.invalid", "bad"),
    ] {
        place.set(variable, value);
        assert_found(&place, id, level);
        place.unset(variable);
        assert_well(&place);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    place.set("KAVACH_LISTEN", taken.local_addr().unwrap());
    assert_found(&place, "listen.taken", "bad");
    drop(taken);
    assert_well(&place);
}

#[test]
fn files_that_others_may_read_are_found() {
    let mut place = healthy();
    let key = place.path("key");
    fs::write(&key, "kv_key_x").unwrap();
    fs::write(place.path("kavach.dev-key"), "kv_key_x").unwrap();
    place.set("KAVACH_KEY_FILE", key.display());
    let set = |name: &str, mode| {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("key", 0o600);
    set("kavach.dev-key", 0o600);
    for (name, id) in [
        ("kavach.db", "database.mode"),
        ("kavach.master-key", "master_key.mode"),
        ("kavach.dev-key", "dev_key.mode"),
        ("key", "secret.mode"),
    ] {
        assert_well(&place);
        set(name, 0o640);
        assert_found(&place, id, "warning");
        assert!(place.done("doctor").out.contains("chmod 600"));
        set(name, 0o600);
    }
}

#[test]
fn a_schema_that_is_not_this_binary_s_is_found_and_left_alone() {
    let place = healthy();
    let last = "(SELECT max(number) FROM migration)";
    for (sql, undo, id, level) in [
        (
            format!("CREATE TABLE kept AS SELECT * FROM migration WHERE number = {last}; DELETE FROM migration WHERE number = {last}"),
            "INSERT INTO migration SELECT * FROM kept; DROP TABLE kept".to_owned(),
            "schema.pending",
            "warning",
        ),
        (
            "CREATE TABLE kept AS SELECT checksum FROM migration WHERE owner = 'core' AND number = 1; UPDATE migration SET checksum = x'00' WHERE owner = 'core' AND number = 1".to_owned(),
            "UPDATE migration SET checksum = (SELECT checksum FROM kept) WHERE owner = 'core' AND number = 1; DROP TABLE kept".to_owned(),
            "schema.edited",
            "bad",
        ),
        (
            "UPDATE migration SET min_binary = min_binary + 100".to_owned(),
            "UPDATE migration SET min_binary = min_binary - 100".to_owned(),
            "schema.newer",
            "bad",
        ),
        (
            "UPDATE meta SET value = 'another'".to_owned(),
            "UPDATE meta SET value = 'kavachos'".to_owned(),
            "database.foreign",
            "bad",
        ),
    ] {
        alter(&place, &sql);
        assert_found(&place, id, level);
        // Looking has changed nothing.
        assert_found(&place, id, level);
        alter(&place, &undo);
        assert_well(&place);
    }
}

#[test]
fn a_file_that_cannot_be_used_is_found() {
    let place = healthy();
    let path = place.path("kavach.db");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o400);
    assert_found(&place, "database.read_only", "bad");
    mode(0o600);
    assert_well(&place);
    let kept = fs::read(&path).unwrap();
    fs::write(&path, "this is no database, whatever its name says").unwrap();
    assert_found(&place, "database.foreign", "bad");
    fs::write(&path, kept).unwrap();
    assert_well(&place);
    alter(
        &place,
        "CREATE TABLE kept AS SELECT * FROM log; UPDATE log SET frontier = x'00'",
    );
    assert_found(&place, "database.damaged", "bad");
    alter(
        &place,
        "UPDATE log SET frontier = (SELECT frontier FROM kept); DROP TABLE kept",
    );
    assert_well(&place);
}

#[test]
fn a_ledger_whose_end_was_changed_is_found_beside_a_server_too() {
    let place = healthy();
    let server = place.start("serve");
    for (sql, undo) in [
        (
            "UPDATE ledger SET body = body || ' '",
            "UPDATE ledger SET body = rtrim(body)",
        ),
        (
            "UPDATE ledger SET time = time - 1",
            "UPDATE ledger SET time = time + 1",
        ),
        (
            "UPDATE ledger SET seq = seq + 1000",
            "UPDATE ledger SET seq = seq - 1000",
        ),
    ] {
        alter(&place, sql);
        assert_found(&place, "ledger.tail", "bad");
        alter(&place, undo);
        assert_well(&place);
    }
    drop(server);
}

#[test]
fn a_clock_that_is_behind_and_missing_keys_are_found() {
    let mut place = healthy();
    alter(&place, "UPDATE log SET last_time = last_time + 3600000000");
    assert_found(&place, "clock.behind", "bad");
    alter(&place, "UPDATE log SET last_time = last_time - 3600000000");
    assert_well(&place);
    alter(
        &place,
        "CREATE TABLE kept AS SELECT * FROM operator_keys; DELETE FROM operator_keys",
    );
    assert_found(&place, "keys.none", "bad");
    alter(
        &place,
        "INSERT INTO operator_keys SELECT * FROM kept; DROP TABLE kept",
    );
    assert_well(&place);
    place.limit_files(100);
    assert_found(&place, "descriptors.low", "warning");
    place.launcher.clear();
    assert_well(&place);
}

#[test]
fn webhooks_that_cannot_be_sent_are_found() {
    let place = healthy();
    let made = place
        .done("webhook create https://hooks.example.com/ --kind '*' --database kavach.db --json");
    let hook = made.member("id");
    assert_well(&place);
    let note = format!(
        "INSERT INTO webhook_deliveries (webhook, audit, status, attempts, next_at) SELECT '{hook}', id, 'dead', 10, 0 FROM ledger"
    );
    alter(&place, &note);
    assert_found(&place, "webhooks.dead", "warning");
    alter(&place, "UPDATE webhook_deliveries SET status = 'waiting'");
    assert_well(&place);
    let key = place.path("kavach.master-key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert_found(&place, "master_key.missing", "bad");
    place.done("init");
    assert_found(&place, "master_key.other", "bad");
    fs::write(&key, "kv_key_x").unwrap();
    assert_found(&place, "master_key.unusable", "bad");
    fs::write(&key, kept).unwrap();
    assert_well(&place);
}

#[test]
fn a_server_that_crashed_or_is_stopped_is_found() {
    let place = Place::new();
    let key = place.init();
    fs::write(place.path("kavach.toml"), SETTINGS).unwrap();
    let server = place.start("serve");
    server.signal(Signal::STOP);
    eventually("the process is stopped", || {
        ids(&place, "doctor") == ["lock.stalled"]
    });
    server.signal(Signal::CONT);
    eventually("the process runs", || ids(&place, "doctor").is_empty());
    let ada = serde_json::json!({ "name": "Ada" });
    server.client(&key).post("/api/v1/users", &ada).expect(201);
    server.killed();
    assert_found(&place, "database.unclean", "note");
    // The first look has opened it, and so taken the log in.
    assert_well(&place);
}

#[test]
fn a_postgresql_that_cannot_be_relied_on_is_found() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let mut place = Place::new();
    fs::write(place.path("kavach.toml"), SETTINGS).unwrap();
    let url = cluster.database();
    place.set("KAVACH_DATABASE", &url);
    assert_found(&place, "database.missing", "bad");
    place.init();
    assert_well(&place);
    let server = place.start("serve");
    assert_well(&place);
    drop(server);
    let wrong_password = url.replace(kavachos_test::postgres::PASSWORD, "wrong");
    let nobody = url.replace(&cluster.port().to_string(), "1");
    for (wrong, id) in [
        (wrong_password, "postgres.denied"),
        (nobody, "postgres.unreachable"),
        (cluster.url("nothing"), "database.missing"),
    ] {
        place.set("KAVACH_DATABASE", wrong);
        assert_found(&place, id, "bad");
    }
    place.set("KAVACH_DATABASE", &url);
    cluster.psql(name_of(&url), "UPDATE ledger SET time = time - 1");
    eventually("the change is found", || {
        ids(&place, "doctor") == ["ledger.tail"]
    });
    cluster.psql(name_of(&url), "UPDATE ledger SET time = time + 1");
    assert_well(&place);
}

#[test]
fn a_postgresql_that_would_lose_records_is_found() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let mut place = Place::new();
    fs::write(place.path("kavach.toml"), SETTINGS).unwrap();
    place.set("KAVACH_DATABASE", cluster.database());
    place.init();
    for setting in ["fsync", "full_page_writes"] {
        assert_well(&place);
        cluster.psql("postgres", &format!("ALTER SYSTEM SET {setting} = off"));
        cluster.psql("postgres", "SELECT pg_reload_conf()");
        eventually("the setting is found", || {
            ids(&place, "doctor") == ["postgres.durability"]
        });
        cluster.psql("postgres", &format!("ALTER SYSTEM RESET {setting}"));
        cluster.psql("postgres", "SELECT pg_reload_conf()");
        eventually("it is well again", || ids(&place, "doctor").is_empty());
    }
}
