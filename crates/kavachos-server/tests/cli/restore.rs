//! Disaster recovery from outside: an old backup in the place of the database, noticed and made safe.

use std::fs;
use std::path::{Path, PathBuf};

use kavachos_test::postgres::{Cluster, name_of};
use kavachos_test::{kill_strangers, may};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Place, Ran, Server, skipped};

/// More than one page of the log, and more than is written at once.
const KILLS: u32 = 2_345;

/// A tenant with a backup, after which things were revoked.
struct Disaster {
    place: Place,
    operator: String,
    /// The agent whose human was banned after the backup.
    banned: String,
    /// The agent that nothing happened to.
    spared: String,
    /// The session that was ended after the backup, and one that was not.
    sessions: [String; 2],
    /// The operator key that was revoked after the backup.
    revoked_key: String,
}

fn human(server: &Server, operator: &str, name: &str) -> String {
    let body = json!({ "name": name });
    let made = server.client(operator).post("/api/v1/users", &body);
    made.expect(201).id()
}

fn agent(server: &Server, operator: &str, owner: &str) -> (String, String) {
    let body = json!({
        "ownerId": owner, "name": "one", "type": "service",
        "permissions": may(&["read"], "mcp:github:*"),
    });
    let made = server.client(operator).post("/api/v1/agents", &body);
    let made = made.expect(201);
    (made.id(), made.text_at("/data/token").to_owned())
}

fn session(server: &Server, operator: &str, user: &str) -> (String, String) {
    let path = format!("/api/v1/users/{user}/sessions");
    let made = server.client(operator).post(&path, &json!({})).expect(201);
    (made.id(), made.text_at("/data/token").to_owned())
}

/// Whether the agent with this key is let do what it may.
fn is_allowed(server: &Server, key: &str) -> bool {
    let question = json!({ "action": "read", "resource": "mcp:github:repos" });
    let answer = server.client(key).post("/api/v1/authorize", &question);
    answer.body["data"]["allowed"] == true
}

fn is_known(server: &Server, credential: &str, path: &str) -> bool {
    server.client(credential).get(path).status == 200
}

impl Disaster {
    /// Backs a tenant up, and revokes a human, a session and a key afterwards, all of it acknowledged. The server is then
    /// killed, and its disk is lost but for what is kept elsewhere.
    fn strike() -> Self {
        let place = Place::new();
        let operator = place.init();
        let server = place.start("serve");
        let [ada, bob] = ["Ada", "Bob"].map(|name| human(&server, &operator, name));
        let (_, banned) = agent(&server, &operator, &ada);
        let (_, spared) = agent(&server, &operator, &bob);
        let (ended, first) = session(&server, &operator, &bob);
        let (_, second) = session(&server, &operator, &bob);
        let body = json!({ "name": "second", "scopes": ["*"] });
        let key = server
            .client(&operator)
            .post("/api/v1/keys", &body)
            .expect(201);
        let revoked_key = key.text_at("/data/token").to_owned();
        place.done("backup --output copy.db");
        let mut client = server.client(&operator);
        let ban = format!("/api/v1/users/{ada}/ban");
        client.post(&ban, &json!({})).expect(200);
        client
            .delete(&format!("/api/v1/sessions/{ended}"))
            .expect(200);
        client
            .delete(&format!("/api/v1/keys/{}", key.id()))
            .expect(200);
        let disaster = Self {
            operator,
            banned,
            spared,
            sessions: [first, second],
            revoked_key,
            place,
        };
        assert!(!is_allowed(&server, &disaster.banned));
        let export = format!("revocations export --output log.jsonl --url {}", server.url);
        let mut command = disaster.place.command(export);
        command.env("KAVACH_KEY", &disaster.operator);
        let exported = crate::support::finish(command);
        assert_eq!(exported.code, 0, "{exported:?}");
        server.killed();
        disaster
    }

    /// Puts the backup where the database was, as somebody does who knows nothing of `restore`.
    fn put_back(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(self.place.path(&format!("kavach.db{end}")));
        }
        fs::copy(self.place.path("copy.db"), self.place.path("kavach.db")).unwrap();
    }

    fn refused(&self) -> Ran {
        let ran = self.place.run("serve --listen 127.0.0.1:0");
        assert_eq!(ran.code, 1, "{ran:?}");
        ran
    }
}

fn epoch_of(restored: &Ran) -> u64 {
    member(restored, "/data/epoch").as_u64().unwrap()
}

/// Where the database that was replaced is kept.
fn kept(place: &Place, restored: &Ran) -> PathBuf {
    let epoch = epoch_of(restored);
    place.path(&format!("kavach.db.before-epoch-{epoch}"))
}

fn member(ran: &Ran, pointer: &str) -> Value {
    ran.json().pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn a_backup_that_is_put_back_is_noticed_and_with_the_log_what_was_revoked_stays_dead() {
    let disaster = Disaster::strike();
    disaster.put_back();
    let place = &disaster.place;
    let refused = disaster.refused();
    assert!(
        refused.err.contains("kavach restore") && refused.err.contains("4 revocations"),
        "{refused:?}"
    );
    // Commands that work on the database by themselves notice it too.
    assert_eq!(place.run("user list --database kavach.db").code, 1);
    let doctor = place.run("doctor --json");
    assert!(doctor.out.contains("checkpoint.setback"), "{doctor:?}");

    let restored = place.done("restore --in-place --revocations log.jsonl --json");
    for (pointer, expected) in [
        ("/data/fromEpoch", json!(1)),
        ("/data/kills", json!(4)),
        ("/data/unknownKills", json!(false)),
        ("/data/missingHumans", json!(0)),
        // Of who came since, and was allowed little, nothing tells.
        ("/data/humansHeld", json!(true)),
        ("/data/ended/users", json!(1)),
        ("/data/ended/grants", json!(1)),
        ("/data/ended/sessions", json!(1)),
        ("/data/ended/operatorKeys", json!(1)),
        ("/data/token", Value::Null),
    ] {
        assert_eq!(
            member(&restored, pointer),
            expected,
            "{pointer}: {restored:?}"
        );
    }
    let epoch = epoch_of(&restored);
    assert!(epoch > 1_700_000_000, "the clock in seconds: {epoch}");
    assert!(kept(place, &restored).exists());
    assert!(restored.err.contains("wait"), "{restored:?}");
    let server = place.start("serve");
    assert!(!is_allowed(&server, &disaster.banned));
    assert!(!is_known(&server, &disaster.sessions[0], "/api/v1/agents"));
    assert!(!is_known(&server, &disaster.revoked_key, "/api/v1/users"));
    // What was not revoked lives.
    assert!(is_allowed(&server, &disaster.spared));
    assert!(is_known(&server, &disaster.operator, "/api/v1/users"));
    let users = server.client(&disaster.operator).get("/api/v1/users");
    let statuses: Vec<&str> = (users.body["data"].as_array().unwrap().iter())
        .map(|user| user["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["active", "banned"]);
    let records = server
        .client(&disaster.operator)
        .get("/api/v1/audit?kind=tenant.restored");
    assert_eq!(records.body["data"][0]["details"]["epoch"], epoch);
}

/// The twin: nothing remembers how far the logs had come, and the dead live again.
#[test]
fn without_a_checkpoint_an_old_backup_is_served_and_the_dead_live_again() {
    let disaster = Disaster::strike();
    disaster.put_back();
    fs::remove_file(disaster.place.path("kavach.checkpoint")).unwrap();
    let server = disaster.place.start("serve");
    assert!(is_allowed(&server, &disaster.banned));
    assert!(is_known(&server, &disaster.revoked_key, "/api/v1/users"));
}

#[test]
fn without_the_log_every_credential_is_over_and_one_new_key_is_printed() {
    let disaster = Disaster::strike();
    let place = &disaster.place;
    let rehearsed = place.done("restore copy.db --without-revocations --dry-run --json");
    assert_eq!(member(&rehearsed, "/data/token"), Value::Null);
    let before = fs::read(place.path("kavach.checkpoint")).unwrap();
    let restored = place.done("restore copy.db --without-revocations --json");
    // The rehearsal told what would be, and changed nothing.
    for pointer in ["/data/ended", "/data/humansHeld", "/data/records"] {
        assert_eq!(member(&rehearsed, pointer), member(&restored, pointer));
    }
    assert_ne!(fs::read(place.path("kavach.checkpoint")).unwrap(), before);
    assert_eq!(member(&restored, "/data/kills"), Value::Null);
    assert_eq!(member(&restored, "/data/ended/agentKeys"), 2);
    for words in [
        "delegations that were revoked",
        "proof keys",
        "kavach user admit",
    ] {
        assert!(restored.err.contains(words), "{words}: {restored:?}");
    }
    let token = restored.member("token");
    // Nothing of the replaced database lies outside of its file, though its server was killed.
    let kept = kept(place, &restored);
    assert!(!PathBuf::from(format!("{}-wal", kept.display())).exists());
    let server = place.start("serve");
    for key in [&disaster.banned, &disaster.spared] {
        assert!(!is_allowed(&server, key));
    }
    for credential in [&disaster.operator, &disaster.revoked_key] {
        assert!(!is_known(&server, credential, "/api/v1/users"));
    }
    for session in &disaster.sessions {
        assert!(!is_known(&server, session, "/api/v1/agents"));
    }
    assert!(is_known(&server, &token, "/api/v1/users"));
    // The database that was replaced is kept, with everything that was in it.
    let users = place.done(format!("user list --json --database '{}'", kept.display()));
    assert!(users.out.contains("banned"), "{users:?}");
}

#[test]
fn a_restoration_is_refused_while_a_server_runs_and_where_the_log_is_not_what_it_must_be() {
    let disaster = Disaster::strike();
    let place = &disaster.place;
    let restore = "restore copy.db --revocations log.jsonl";
    // The old database is whole still, and its server may run.
    let server = place.start("serve");
    let held = place.run(restore);
    assert!(held.code == 1 && held.err.contains("lock"), "{held:?}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, 0);

    let whole = fs::read_to_string(place.path("log.jsonl")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let shorter = shortened(&lines, place.path("kavach.checkpoint").as_path());
    let other = whole.replacen("\"log\":\"", "\"log\":\"00", 1);
    for (text, told) in [
        (lines.split_last().unwrap().1.join("\n"), "cut off"),
        (
            whole.replacen("\"generation\":2", "\"generation\":7", 1),
            "line 5",
        ),
        (shorter, "there were 4"),
        (other, "no exported log"),
        (String::new(), "cut off"),
    ] {
        fs::write(place.path("wrong.jsonl"), text).unwrap();
        let refused = place.run("restore copy.db --revocations wrong.jsonl");
        assert!(
            refused.code == 1 && refused.err.contains(told),
            "{told}: {refused:?}"
        );
    }
    for line in [
        "restore copy.db",
        "restore --without-revocations",
        "restore copy.db --in-place --without-revocations",
        "restore copy.db --without-revocations --revocations log.jsonl",
        "restore copy.db --without-revocations --url http://localhost:1",
    ] {
        assert_eq!(place.run(line).code, 2, "{line}");
    }
    assert_eq!(place.run("restore none.db --without-revocations").code, 1);
    // Nothing was left behind by all that, and the right one is taken.
    let left = crate::support::files(place.directory.path());
    assert!(
        !left.iter().any(|name| name.contains("restoring")),
        "{left:?}"
    );
    place.done(restore);
    // An export of the epoch before is not enough for the next disaster.
    let again = place.run(restore);
    assert!(again.code == 1 && again.err.contains("epoch"), "{again:?}");
    place.done("restore copy.db --without-revocations");
    place.start("serve");
}

/// The log as it was exported one revocation earlier, by which the checkpoint knows of one more.
fn shortened(lines: &[&str], checkpoint: &Path) -> String {
    assert!(checkpoint.exists());
    let place = Place::new();
    let (head, records) = lines.split_first().unwrap();
    let records = records.get(..records.len() - 2).unwrap();
    let mut log = kavachos_core::revocation::LogHead::EMPTY;
    for record in records {
        let record: kavachos_core::revocation::Record = serde_json::from_str(record).unwrap();
        log = log.append(record.kill);
    }
    let end = json!({
        "kind": "end", "rseq": log.rseq, "rhash": kavachos_core::hex::encode(&log.rhash),
    });
    drop(place);
    format!("{head}\n{}\n{end}\n", records.join("\n"))
}

#[test]
fn a_long_log_is_exported_and_taken_in_whole_and_an_export_that_is_there_is_kept() {
    let place = Place::new();
    place.init();
    place.done("backup --output copy.db");
    let database = rusqlite::Connection::open(place.path("kavach.db")).unwrap();
    kill_strangers(&database, KILLS);
    database.close().unwrap();
    let export = "revocations export --database kavach.db --output log.jsonl";
    place.done(export);
    assert_eq!(place.run(export).code, 1);
    place.done(format!("{export} --force"));
    let text = fs::read_to_string(place.path("log.jsonl")).unwrap();
    assert_eq!(text.lines().count(), KILLS as usize + 2);
    let restored = place.done("restore copy.db --revocations log.jsonl --json");
    assert_eq!(member(&restored, "/data/kills"), KILLS);
    // The twin: exported from what was restored, it is the same log, in another epoch.
    place.done(format!("{export} --force"));
    let after = fs::read_to_string(place.path("log.jsonl")).unwrap();
    let epoch = format!("\"epoch\":{}", epoch_of(&restored));
    assert_eq!(after, text.replacen("\"epoch\":1", &epoch, 1));
}

#[test]
fn a_checkpoint_that_cannot_be_read_or_is_of_another_database_stops_the_start() {
    let mut place = Place::new();
    place.init();
    drop(place.start("serve"));
    let path = place.path("kavach.checkpoint");
    let own = fs::read_to_string(&path).unwrap();
    for (text, told) in [
        (own.replace("\"epoch\":1", "\"epoch\":2"), "epoch 2"),
        (
            own.replacen("\"log\":\"", "\"log\":\"0", 1),
            "cannot be read",
        ),
        ("{".to_owned(), "cannot be read"),
    ] {
        fs::write(&path, &text).unwrap();
        let ran = place.run("serve --listen 127.0.0.1:0");
        assert!(ran.code == 1 && ran.err.contains(told), "{told}: {ran:?}");
    }
    // The twins: as it was; not looked at; and another database, which is none of this file's.
    fs::write(&path, &own).unwrap();
    drop(place.start("serve"));
    fs::write(&path, "{").unwrap();
    place.set("KAVACH_CHECKPOINT_PATH", "off");
    drop(place.start("serve"));
    place.unset("KAVACH_CHECKPOINT_PATH");
    fs::write(&path, &own).unwrap();
    for end in ["", "-wal", "-shm"] {
        let [from, to] = ["kavach", "old"].map(|name| place.path(&format!("{name}.db{end}")));
        fs::rename(from, to).unwrap();
    }
    let other = place.run("init");
    assert!(
        other.code == 1 && other.err.contains("another database"),
        "{other:?}"
    );
}

#[test]
fn a_checkpoint_that_cannot_be_written_keeps_no_key_back_and_no_server_starts_before_it_can() {
    let mut place = Place::new();
    place.init();
    place.done("backup --output copy.db");
    place.set("KAVACH_CHECKPOINT_PATH", "notes/kavach.checkpoint");
    let restored = place.done("restore copy.db --without-revocations --json");
    assert!(
        restored.err.contains("warning") && restored.err.contains("notes/kavach.checkpoint"),
        "{restored:?}"
    );
    let token = restored.member("token");
    let refused = place.run("serve --listen 127.0.0.1:0");
    assert!(
        refused.code == 1 && refused.err.contains("no checkpoint can be kept"),
        "{refused:?}"
    );
    // Commands that only look have no need of one.
    place.done("user list --database kavach.db");
    // The twin: it can be written.
    fs::create_dir(place.path("notes")).unwrap();
    let server = place.start("serve");
    assert!(is_known(&server, &token, "/api/v1/users"));
    assert!(place.path("notes/kavach.checkpoint").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, 0);
    // One that is of this epoch does for now, as on a disk that is full: an earlier state shows by it.
    let beside = place.path("notes/kavach.checkpoint.new");
    fs::create_dir(&beside).unwrap();
    drop(place.start("serve"));
    // One of an epoch before says nothing of backups of the new one.
    let restored = place.done("restore --in-place --without-revocations --json");
    assert!(restored.err.contains("warning"), "{restored:?}");
    let refused = place.run("serve --listen 127.0.0.1:0");
    assert!(
        refused.code == 1 && refused.err.contains("no checkpoint can be kept"),
        "{refused:?}"
    );
    fs::remove_dir(&beside).unwrap();
    let server = place.start("serve");
    let token = restored.member("token");
    assert!(is_known(&server, &token, "/api/v1/users"));
}

#[test]
fn no_database_is_made_where_the_last_changes_of_another_one_lie() {
    let mut place = Place::new();
    let operator = place.init();
    place.done("backup --output copy.db");
    place.set("KAVACH_CHECKPOINT_PATH", "off");
    let server = place.start("serve");
    human(&server, &operator, "Ada");
    server.killed();
    let (database, log) = (place.path("kavach.db"), place.path("kavach.db-wal"));
    let changes = fs::read(&log).unwrap();
    assert!(!changes.is_empty());
    // What a crash leaves between moving the one and the other.
    fs::rename(&database, place.path("moved.db")).unwrap();
    place.set("KAVACH_ADMIN_KEY", &operator);
    for line in [
        "serve --listen 127.0.0.1:0",
        "init",
        "migrate apply",
        "restore copy.db --without-revocations",
    ] {
        let refused = place.run(line);
        assert!(
            refused.code == 1 && refused.err.contains("put the two together"),
            "{line}: {refused:?}"
        );
        assert!(!database.exists(), "{line}");
    }
    assert_eq!(fs::read(&log).unwrap(), changes);
    // The twin: together they are the database that it was.
    fs::rename(place.path("moved.db"), &database).unwrap();
    let users = place.done("user list --database kavach.db");
    assert!(users.out.contains("Ada"), "{users:?}");
    // And where no log lies one is made.
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.path(&format!("kavach.db{end}")));
    }
    drop(place.start("serve"));
}

#[test]
fn what_is_tried_on_postgresql_changes_nothing_the_schema_neither() {
    let Some(cluster) = Cluster::shared() else {
        return skipped("kavach restore on PostgreSQL (there is none)");
    };
    let (place, database) = (Place::new(), cluster.database());
    let run = |line: &str| place.run(format!("{line} --database {database}"));
    let done = |line: &str| {
        let ran = run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran
    };
    let pending = || member(&run("migrate plan --json"), "/data/pending");
    done("init");
    // A backup of an older version was put back.
    let behind = "DROP TABLE device_requests, pushed_requests, authorization_codes, refresh_tokens, refresh_lines, consents, \
        connections, oauth_clients; ALTER TABLE approvals DROP COLUMN server; \
        DELETE FROM migration WHERE owner = 'core' AND name = 'clients'";
    cluster.psql(name_of(&database), behind);
    assert_eq!(pending(), 1);
    let tried = run("restore --in-place --without-revocations --dry-run");
    assert!(
        tried.code == 1 && tried.err.contains("kavach migrate apply"),
        "{tried:?}"
    );
    assert_eq!(pending(), 1);
    done("migrate apply");
    let tried = done("restore --in-place --without-revocations --dry-run --json");
    assert_eq!(member(&tried, "/data/ended/operatorKeys"), 1);
    done("user list");
    // The twin: done, it migrates and ends.
    cluster.psql(name_of(&database), behind);
    let restored = done("restore --in-place --without-revocations --json");
    assert_eq!(member(&restored, "/data/ended/operatorKeys"), 1);
    assert_eq!(pending(), 0);
    let again = done("restore --in-place --without-revocations --json");
    assert!(epoch_of(&again) > epoch_of(&restored));
}
