//! `kavach export | kavach import`, and the audit trail as a file.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use crate::support::{Place, Ran, Server, eventually, finish};

/// A database with a human, an agent and its key.
fn tenant() -> (Place, String, String) {
    let place = Place::new();
    let key = place.init();
    place.done("user create --name Ada --email ada@example.com --database kavach.db");
    let agent = place.done(
        "agent create --owner ada@example.com --name reader --allow 'read mcp:github:*' --json --database kavach.db",
    );
    (place, key, agent.member("token"))
}

/// Runs the two commands with a pipe between them.
fn piped(from: &Place, export: &str, to: &Place, import: &str, key: Option<&str>) -> (Ran, Ran) {
    let mut first = from.command(export).spawn().unwrap();
    let mut second = to.command(import);
    if let Some(key) = key {
        second.env("KAVACH_KEY", key);
    }
    second.stdin(Stdio::from(first.stdout.take().unwrap()));
    let second = finish(second);
    let first = first.wait_with_output().unwrap();
    let first = Ran {
        code: first.status.code().unwrap_or(-1),
        out: String::new(),
        err: String::from_utf8(first.stderr).unwrap(),
    };
    (first, second)
}

fn asks(server: &Server, key: &str) -> bool {
    let question = serde_json::json!({ "action": "read", "resource": "mcp:github:repos" });
    let answer = server.client(key).post("/api/v1/authorize", &question);
    answer.body["data"]["allowed"] == true
}

#[test]
fn a_tenant_moves_through_one_pipe_between_databases_and_between_servers() {
    let (place, key, agent) = tenant();
    let next = Place::new();
    next.init();
    let (out, done) = piped(
        &place,
        "export --database kavach.db",
        &next,
        "import --database kavach.db",
        None,
    );
    assert_eq!((out.code, done.code), (0, 0), "{out:?} {done:?}");
    let server = next.start("serve");
    assert!(asks(&server, &agent));
    // And from that server to a third, over HTTP on both sides.
    let third = Place::new();
    let third_key = third.init();
    let to = third.start("serve");
    let mut from = Place::new();
    from.set("KAVACH_KEY", &key);
    let (out, done) = piped(
        &from,
        &format!("export --url {}", server.url),
        &third,
        &format!("import --url {}", to.url),
        Some(&third_key),
    );
    assert_eq!((out.code, done.code), (0, 0), "{out:?} {done:?}");
    assert!(asks(&to, &agent));
    assert!(done.out.contains("records"), "{done:?}");
    // The key of the empty tenant is gone, that of the tenant works.
    assert_eq!(to.client(&third_key).get("/api/v1/users").status, 401);
    assert_eq!(to.client(&key).get("/api/v1/users").status, 200);
}

#[test]
fn an_export_that_does_not_come_to_its_end_is_imported_by_nobody() {
    let (place, ..) = tenant();
    place.done("export --database kavach.db --output whole.jsonl");
    let whole = fs::read_to_string(place.path("whole.jsonl")).unwrap();
    let half = whole.get(..whole.len() - 20).unwrap();
    fs::write(place.path("half.jsonl"), half).unwrap();
    let next = Place::new();
    next.init();
    let half = place.path("half.jsonl");
    let refused = next.run(format!("import --database kavach.db '{}'", half.display()));
    assert_eq!(refused.code, 1, "{refused:?}");
    let line = format!("field `line {}`", whole.lines().count());
    assert!(
        refused.err.contains(&line) && refused.err.contains("cut off"),
        "{refused:?}"
    );
    let users = next.done("user list --json --database kavach.db").json();
    assert_eq!(users["data"].as_array().unwrap().len(), 0);
    // The twin: the whole file is taken by the same database.
    let whole = place.path("whole.jsonl");
    next.done(format!("import --database kavach.db '{}'", whole.display()));
}

#[test]
fn an_export_prints_the_root_that_an_import_can_be_held_to() {
    let (place, ..) = tenant();
    let older = place.done("export --database kavach.db --output older.jsonl");
    let newer = place.done("export --database kavach.db --output newer.jsonl");
    let root = |ran: &Ran| {
        let root = ran.err.split("--expect-root ").nth(1).unwrap();
        root.get(..64).unwrap().to_owned()
    };
    assert_ne!(root(&older), root(&newer));
    let next = Place::new();
    next.init();
    let own = root(&older);
    let older = place.path("older.jsonl");
    let import = |root: &str| {
        format!(
            "import --database kavach.db --expect-root {root} '{}'",
            older.display()
        )
    };
    let refused = next.run(import(&root(&newer)));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("field `line 1`") && refused.err.contains(&root(&newer)),
        "{refused:?}"
    );
    assert_eq!(next.run(import("abc")).code, 2);
    // The twin: the same file with its own root, and with a key that can administer it.
    let ran = next.done(import(&own));
    assert!(!ran.err.contains("warning"), "{ran:?}");
}

#[test]
fn an_import_warns_when_nobody_can_administer_what_came_in() {
    let (place, ..) = tenant();
    let keys = place.done("key list --json --database kavach.db").json();
    let id = keys["data"][0]["id"].as_str().unwrap();
    place.done(format!("key revoke {id} --database kavach.db"));
    place.done("export --database kavach.db --output tenant.jsonl");
    let next = Place::new();
    next.init();
    let file = place.path("tenant.jsonl");
    let ran = next.done(format!("import --database kavach.db '{}'", file.display()));
    assert!(
        ran.err.contains("warning") && ran.err.contains("KAVACH_ADMIN_KEY"),
        "{ran:?}"
    );
}

/// Sends the beginning of a file to be imported, and keeps the connection.
fn half_an_import(server: &Server, key: &str, file: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /api/v1/import HTTP/1.1\r\nhost: kavach\r\nauthorization: Bearer {key}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        file.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .write_all(&file.as_bytes()[..file.len() - 20])
        .unwrap();
    stream
}

#[test]
fn a_kill_or_a_lost_connection_in_the_middle_of_an_import_leaves_an_empty_tenant() {
    let (place, _, agent) = tenant();
    let file = place.done("export --database kavach.db").out;
    let next = Place::new();
    let key = next.init();
    let server = next.start("serve");
    let lost = half_an_import(&server, &key, &file);
    // Others are told to come back while it comes. What they ask for is refused anyway, and so on record.
    let nobody = "/api/v1/users/user_01h455vb4pex5vsknk084sn02q";
    let told = |status: u16| {
        move |server: &Server, key: &str| server.client(key).delete(nobody).status == status
    };
    eventually("the import has the store to itself", || {
        told(503)(&server, &key)
    });
    drop(lost);
    eventually("the store is free again", || told(404)(&server, &key));
    let half = half_an_import(&server, &key, &file);
    eventually("the import has the store to itself", || {
        told(503)(&server, &key)
    });
    server.killed();
    drop(half);
    let server = next.start("serve");
    let users = server.client(&key).get("/api/v1/users");
    assert_eq!(
        users.body["data"].as_array().map(Vec::len),
        Some(0),
        "{users:?}"
    );
    drop(server);
    // The twin: all of it in one go is there after a kill.
    let whole = next.path("whole.jsonl");
    fs::write(&whole, &file).unwrap();
    let server = next.start("serve");
    let mut import = next.command(format!("import --url {} '{}'", server.url, whole.display()));
    import.env("KAVACH_KEY", &key);
    let done = finish(import);
    assert_eq!(done.code, 0, "{done:?}");
    server.killed();
    assert!(asks(&next.start("serve"), &agent));
}

#[test]
fn a_file_is_private_whole_and_not_written_over() {
    let (place, ..) = tenant();
    let export =
        "audit export --format csv --kind user.created --database kavach.db --output audit.csv";
    let done = place.done(format!("{export} --progress"));
    assert!(
        done.err.contains("records") && done.out.is_empty(),
        "{done:?}"
    );
    let first = fs::read_to_string(place.path("audit.csv")).unwrap();
    assert!(first.starts_with("seq,time,id,kind") && first.contains("ada@example.com"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(place.path("audit.csv"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = place.run(export);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("--force"), "{again:?}");
    assert_eq!(fs::read_to_string(place.path("audit.csv")).unwrap(), first);
    place.done(format!("{export} --force"));
    let wrong = place.run("audit export --format xml --database kavach.db");
    assert_eq!(wrong.code, 2);
    let json = place.done("audit export --format json --database kavach.db");
    assert!(json.json().as_array().unwrap().len() > 3, "{json:?}");
    assert!(
        !json.err.contains("records"),
        "no progress where nobody looks: {json:?}"
    );
}

/// The log of the empty database ends with an import, and the checkpoint knows that log until the import has noted its own.
#[test]
fn a_checkpoint_that_an_import_had_no_time_to_write_stops_no_start() {
    let (place, key, _) = tenant();
    let next = Place::new();
    next.init();
    let server = next.start("serve");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ended().code, 0);
    let noted = next.path("kavach.checkpoint");
    let before = fs::read_to_string(&noted).unwrap();
    let (out, done) = piped(
        &place,
        "export --database kavach.db",
        &next,
        "import --database kavach.db",
        None,
    );
    assert_eq!((out.code, done.code), (0, 0), "{out:?} {done:?}");
    let after = fs::read_to_string(&noted).unwrap();
    assert_ne!(after, before);
    // What a crash between the two leaves.
    fs::write(&noted, &before).unwrap();
    let doctor = next.run("doctor --json");
    assert!(!doctor.out.contains("checkpoint.setback"), "{doctor:?}");
    let server = next.start("serve");
    assert_eq!(server.client(&key).get("/api/v1/users").status, 200);
    drop(server);
    // The twin: the checkpoint of a database that this one did not replace.
    let other = Place::new();
    other.init();
    drop(other.start("serve"));
    fs::copy(other.path("kavach.checkpoint"), &noted).unwrap();
    let refused = next.run("serve --listen 127.0.0.1:0");
    assert!(
        refused.code == 1 && refused.err.contains("another database"),
        "{refused:?}"
    );
}
