//! Starting and ending: what is missing, taken, held, newer or read-only gives one clear line, loses nothing, and
//! works again afterwards.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use kavachos_test::postgres::{Cluster, PASSWORD, name_of};

use crate::support::{Place, files, is_one_line};
use rustix::process::Signal;

/// Starts a server that is not expected to run.
const SERVE: &str = "serve --listen 127.0.0.1:0";
/// Reads the database directly.
const LIST: &str = "agent list --database kavach.db";
/// No read of a test waits longer than this.
const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn a_signal_ends_the_server_and_releases_the_database() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        place.init();
        let server = place.start("serve");
        server.signal(signal);
        assert_eq!(server.ended().code, 0);
        place.done(LIST);
    }
}

#[test]
fn a_postgresql_database_serves_as_well_as_a_file() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let url = cluster.database();
    let place = Place::new();
    let missing = place.run(format!("serve --listen 127.0.0.1:0 --database {url}"));
    assert!(
        missing.code != 0 && missing.err.contains("kavach init"),
        "{}",
        missing.err
    );
    let made = place.done(format!("init --database {url}"));
    let shown = name_of(&url);
    assert!(made.out.contains(shown), "{}", made.out);
    let server = place.start(&format!("serve --database {url}"));
    let held = place.run(format!("agent list --database {url}"));
    assert!(held.code != 0 && held.err.contains("--url"), "{}", held.err);
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.code, 0);
    place.done(format!("agent list --database {url}"));
    for said in [&missing.err, &made.out, &held.err, &ended.err] {
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let place = Place::new();
    let key = place.init();
    let server = place.start("serve");
    let body = r#"{"name":"late","scopes":["agents:read"]}"#;
    let head = format!(
        "POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(LIMIT).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The server asks for the body, so the request is under way.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    server.signal(Signal::TERM);
    server.logged("asked to end");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let address = server.address().to_owned();
    assert_eq!(server.ended().code, 0);
    assert!(TcpStream::connect(address).is_err());
    assert!(
        place
            .done("key list --database kavach.db")
            .out
            .contains("late")
    );
}

#[test]
fn a_second_signal_does_not_wait_for_requests() {
    let place = Place::new();
    let key = place.init();
    let server = place.start("serve");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(LIMIT).unwrap();
    let head = format!(
        "POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    server.signal(Signal::TERM);
    server.logged("asked to end");
    server.signal(Signal::TERM);
    server.logged("asked again");
    assert_eq!(server.ended().code, 0);
}

#[test]
fn a_store_that_stopped_ends_the_server_with_an_error() {
    let mut place = Place::new();
    place.set("KAVACH_KEY", place.init());
    let server = place.start("serve");
    let database = rusqlite::Connection::open(place.path("kavach.db")).unwrap();
    // What no other process may do: the numbers of the log are this server's.
    let changed = database
        .execute("UPDATE log SET commits = commits + 1", [])
        .unwrap();
    assert_eq!(changed, 1);
    let create = format!("key create --name x --scope * --url {}", server.url);
    let ran = place.run(create);
    // Where something of its own was to be written first, it has ended already.
    let refused = ["ledger_unavailable", "cannot reach"];
    let is_refused = refused.iter().any(|words| ran.err.contains(words));
    assert!(ran.code == 1 && is_refused, "{ran:?}");
    let ended = server.ended();
    assert!(
        ended.code == 1 && ended.err.contains("the database stopped"),
        "{ended:?}"
    );
}

#[test]
fn a_taken_port_is_told_and_nothing_is_made() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = place.run(format!("dev --listen {}", address));
    assert!(
        ran.code == 1
            && is_one_line(&ran)
            && ran.err.contains(&address)
            && ran.err.contains("--listen"),
        "{ran:?}"
    );
    assert_eq!(files(place.directory.path()), Vec::<String>::new());
    drop(taken);
    crate::support::Server::start(place.command(format!("dev --listen {}", address)));
}

#[test]
fn a_held_database_is_refused_and_points_to_the_server() {
    let mut place = Place::new();
    place.set("KAVACH_KEY", place.init());
    let server = place.start("serve");
    for args in [LIST, SERVE, "dev --listen 127.0.0.1:0", "init"] {
        let ran = place.run(args);
        assert!(
            ran.code == 1 && is_one_line(&ran) && ran.err.contains("`--url`"),
            "{args}: {ran:?}"
        );
    }
    place.done(format!("agent list --url {}", server.url));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.init();
    let alter = |sql: &str| {
        rusqlite::Connection::open(place.path("kavach.db"))
            .unwrap()
            .execute(sql, [])
            .unwrap()
    };
    assert!(alter("UPDATE migration SET min_binary = 999") > 0);
    for args in [SERVE, LIST, "init"] {
        let ran = place.run(args);
        assert!(
            ran.code == 1 && is_one_line(&ran) && ran.err.contains("newer kavach"),
            "{args}: {ran:?}"
        );
    }
    assert_eq!(place.run("doctor").code, 1);
    alter("UPDATE migration SET min_binary = 1");
    place.start("serve");
}

#[test]
fn a_read_only_database_is_refused_until_it_can_be_written() {
    let place = Place::new();
    place.init();
    let mode = |mode| {
        fs::set_permissions(place.path("kavach.db"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o400);
    for args in [SERVE, LIST] {
        let ran = place.run(args);
        assert!(
            ran.code == 1 && is_one_line(&ran) && ran.err.contains("read-only"),
            "{args}: {ran:?}"
        );
    }
    mode(0o600);
    place.start("serve");
}

#[test]
fn a_directory_that_is_missing_or_takes_no_file_is_told() {
    let place = Place::new();
    // Nobody can make a file in a directory of the kernel's, not even root.
    for database in ["missing/kavach.db", "/sys/kernel/kavach.db"] {
        for command in ["init", "dev --listen 127.0.0.1:0"] {
            let args = format!("{command} --database {database}");
            let ran = place.run(&args);
            assert!(
                ran.code == 1 && is_one_line(&ran) && ran.err.contains(database),
                "{args}: {ran:?}"
            );
        }
    }
    assert_eq!(files(place.directory.path()), Vec::<String>::new());
}

#[test]
fn what_is_no_database_of_ours_is_left_alone() {
    let place = Place::new();
    fs::write(
        place.path("kavach.db"),
        "some other file, long enough to have a header of its own\n",
    )
    .unwrap();
    let before = fs::read(place.path("kavach.db")).unwrap();
    let ran = place.run(SERVE);
    assert!(
        ran.code == 1 && is_one_line(&ran) && ran.err.contains("not an SQLite database"),
        "{ran:?}"
    );
    assert_eq!(fs::read(place.path("kavach.db")).unwrap(), before);
}

#[test]
fn a_server_needs_an_initialised_database() {
    let place = Place::new();
    for args in [SERVE, LIST] {
        let ran = place.run(args);
        assert!(
            ran.code == 1 && is_one_line(&ran) && ran.err.contains("kavach init"),
            "{ran:?}"
        );
    }
    assert_eq!(files(place.directory.path()), Vec::<String>::new());
}

#[test]
fn init_makes_a_private_database_once() {
    let place = Place::new();
    let key = place.init();
    assert!(key.starts_with("kv_key_"));
    let mode = fs::metadata(place.path("kavach.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = place.run("init");
    assert!(
        again.code == 1 && again.err.contains("initialised already"),
        "{again:?}"
    );
    let keys = place.done("key list --json --database kavach.db").json();
    assert_eq!(keys["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_configured_key_lives_as_long_as_it_is_configured_and_stays_dead_once_revoked() {
    let mut place = Place::new();
    let elsewhere = Place::new().init();
    place.set("KAVACH_ADMIN_KEY", &elsewhere);
    place.set("KAVACH_KEY", &elsewhere);
    let server = place.start("serve");
    place.done(format!("agent list --url {}", server.url));
    drop(server);
    // Without the variable the key is dead at the next start.
    place.unset("KAVACH_ADMIN_KEY");
    let server = place.start("serve");
    let ran = place.run(format!("agent list --url {}", server.url));
    assert!(
        ran.code == 1 && ran.err.contains("unauthenticated"),
        "{ran:?}"
    );
    drop(server);
    place.set("KAVACH_ADMIN_KEY", &elsewhere);
    let server = place.start("serve");
    let keys = place
        .done(format!("key list --json --url {}", server.url))
        .json();
    place.done(format!(
        "key revoke {} --url {}",
        keys["data"][0]["id"].as_str().unwrap(),
        server.url
    ));
    drop(server);
    let ran = place.run(SERVE);
    assert!(
        ran.code == 1 && ran.err.contains("KAVACH_ADMIN_KEY") && ran.err.contains("revoked"),
        "{ran:?}"
    );
}

#[test]
fn dev_keeps_its_key_and_makes_a_new_one_when_it_is_lost_or_revoked() {
    let mut place = Place::new();
    let key = |place: &Place| fs::read_to_string(place.path("kavach.dev-key")).unwrap();
    let mut server = place.start("dev");
    server.line("operator key  kv_key_");
    let first = key(&place);
    let mode = fs::metadata(place.path("kavach.dev-key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Killed without a chance to tidy up.
    drop(server);
    let mut server = place.start("dev");
    let line = server.line("operator key  kv_key_");
    assert!(!line.contains(first.trim()), "{line}");
    assert_eq!(key(&place), first);
    place.set("KAVACH_KEY_FILE", "kavach.dev-key");
    let keys = place
        .done(format!("key list --json --url {}", server.url))
        .json();
    place.done(format!(
        "key revoke {} --url {}",
        keys["data"][0]["id"].as_str().unwrap(),
        server.url
    ));
    drop(server);
    let mut server = place.start("dev");
    server.line("operator key  kv_key_");
    let second = key(&place);
    assert_ne!(second, first);
    place.done(format!("agent list --url {}", server.url));
    drop(server);
    fs::remove_file(place.path("kavach.dev-key")).unwrap();
    let mut server = place.start("dev");
    server.line("operator key  kv_key_");
    assert_ne!(key(&place), second);
}

#[test]
fn dev_listens_on_this_machine_only() {
    let ran = Place::new().run("dev --listen 0.0.0.0:0");
    assert!(
        ran.code != 0 && ran.err.contains("listen on 127.0.0.1"),
        "{ran:?}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_told_with_their_place() {
    let mut place = Place::new();
    place.init();
    for (text, told) in [
        (
            "listen = 3000\n\n[agents]\nmax_per_owner = \"many\"\n",
            "`listen` (kavach.toml, line 1)",
        ),
        (
            "[agents]\nmax_per_owner = \"many\"\n",
            "`agents.max_per_owner` (kavach.toml, line 2)",
        ),
        (
            "[agents]\nmax_per_ownr = 1\n",
            "did you mean `agents.max_per_owner`",
        ),
        (
            "issuer = \"http://kavach.example.com\"\n",
            "`issuer` (kavach.toml, line 1)",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n",
            "`trusted_proxies` (kavach.toml, line 1)",
        ),
        ("admin_key = \"kv_key_x\"\n", "KAVACH_ADMIN_KEY_FILE"),
        ("database = \n", "`kavach.toml` (line 1)"),
    ] {
        fs::write(place.path("kavach.toml"), text).unwrap();
        let ran = place.run("serve");
        assert!(
            ran.code == 1 && ran.out.is_empty() && ran.err.contains(told),
            "{text}: {ran:?}"
        );
        // One line for each thing that is wrong, and nothing else.
        let wrong = if text.starts_with("listen") { 2 } else { 1 };
        let errors = ran.err.lines().filter(|line| line.starts_with("error: `"));
        assert_eq!((errors.count(), ran.err.lines().count()), (wrong, wrong));
        assert_eq!(place.run("doctor").code, 1);
    }
    fs::write(place.path("kavach.toml"), "[agents]\nmax_per_owner = 1\n").unwrap();
    place.set("KAVACH_AGENTS_MAX_PER_OWNR", "2");
    let create =
        "agent create --database kavach.db --owner-external demo:ada --allow 'read a' --name x";
    let ran = place.done(create);
    assert!(
        ran.err.contains("did you mean KAVACH_AGENTS_MAX_PER_OWNER"),
        "{ran:?}"
    );
    assert!(place.run(create).err.contains("agent_limit_exceeded"));
    place.set("KAVACH_AGENTS_MAX_PER_OWNER", "2");
    place.done(create);
}

#[test]
fn the_log_is_json_where_asked_for_and_holds_no_secret() {
    let mut place = Place::new();
    let key = place.init();
    place.set("KAVACH_LOG_FORMAT", "json");
    place.set("KAVACH_LOG", "trace");
    place.set("KAVACH_KEY", &key);
    let server = place.start("serve");
    let made = place.done(format!(
        "key create --json --name x --scope * --url {}",
        server.url
    ));
    server.signal(Signal::TERM);
    let ran = server.ended();
    assert_eq!(ran.code, 0);
    for line in ran.err.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()),
            "{line}"
        );
    }
    assert!(ran.err.contains("asked to end"));
    assert!(!ran.err.contains(&key) && !ran.err.contains(&made.member("token")));
}
