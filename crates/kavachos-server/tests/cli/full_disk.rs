//! A file system that is really full: a clear refusal, no allow without a record, and recovery without a restart.
//!
//! The database lies on a small file system of its own, in a namespace of its own. Where the system permits no such
//! namespace, the test says that it was skipped.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kavachos_test::blocking::{Answer, Client};
use kavachos_test::{damage, may, stored_head};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Place, Ran, Server, eventually, is_one_line, skipped};

/// A file system in MiB that is full before the write-ahead log is copied into the database for the first time.
const SMALL: usize = 8;
/// One that is full after it was.
const LARGER: usize = 24;
/// How much of it is given back in the end, in bytes.
const BALLAST: usize = 1 << 20;
/// More than fit.
const MORE_THAN_FIT: usize = 20_000;
/// How often a backup is tried until the disk is full in its middle.
const TRIES: usize = 20;
/// How many callers fill the disk at once.
const CALLERS: usize = 4;

/// A small file system that only processes in its namespace see. It is gone with this.
struct Disk {
    /// Keeps the namespace: it reads its input, which ends with this process, however that ends.
    holder: Child,
    /// Where it is, inside.
    directory: TempDir,
    launcher: Vec<String>,
}

impl Disk {
    /// A disk of so many MiB; `None`, and a word about it, where the system permits none.
    fn mount(mebibytes: usize) -> Option<Self> {
        let as_user = ["--user", "--map-root-user"];
        let into_user = ["--user", "--preserve-credentials"];
        let disk = Self::mount_with(mebibytes, &as_user, &into_user);
        // Where users may have no namespace, root may still have one without a namespace of users.
        let disk = disk.or_else(|| Self::mount_with(mebibytes, &[], &[]));
        if disk.is_none() {
            skipped("full_disk: no namespace with a file system of its own is permitted");
        }
        disk
    }

    fn mount_with(mebibytes: usize, unshare: &[&str], enter: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m,mode=700");
        let mut holder = Command::new("unshare")
            .args(unshare)
            .args(["--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o \"$0\" none \"$1\" && echo mounted && exec cat >&2")
            .args([size.as_ref(), directory.path().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let out = holder.stdout.take().unwrap();
        let _ = BufReader::new(out).read_line(&mut line);
        let pid = holder.id().to_string();
        let enter = [&["nsenter"], enter, &["--mount", "--target", &pid, "--"]].concat();
        let disk = Self {
            holder,
            directory,
            launcher: enter.into_iter().map(str::to_owned).collect(),
        };
        (line == "mounted\n" && disk.can_be_entered()).then_some(disk)
    }

    fn can_be_entered(&self) -> bool {
        let (program, args) = self.launcher.split_first().unwrap();
        let entered = Command::new(program).args(args).arg("true").status();
        entered.is_ok_and(|status| status.success())
    }

    /// The path of a file on it for processes outside.
    fn outside(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        let inside = self.directory.path().join(name);
        Path::new(&root).join(inside.strip_prefix("/").unwrap())
    }

    fn put_ballast(&self) {
        fs::write(self.outside("ballast"), vec![1; BALLAST]).unwrap();
    }

    /// Ballast as large as the disk.
    fn put_nothing_but_ballast(&self) {
        let written = fs::write(self.outside("ballast"), vec![1; (SMALL << 20) + 1]);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
    }

    fn remove_ballast(&self) {
        fs::remove_file(self.outside("ballast")).unwrap();
    }

    /// A place whose commands run on this disk.
    fn place(&self) -> Place {
        let mut place = Place::new();
        place.set("KAVACH_AGENTS_MAX_PER_OWNER", MORE_THAN_FIT);
        place.launcher.clone_from(&self.launcher);
        place.set(
            "KAVACH_DATABASE",
            self.directory.path().join("kavach.db").display(),
        );
        place
    }

    /// The database, once no server has it.
    fn database(&self, place: &Place) -> Connection {
        for end in ["", "-wal"] {
            let name = format!("kavach.db{end}");
            if self.outside(&name).exists() {
                fs::copy(self.outside(&name), place.path(&name)).unwrap();
            }
        }
        Connection::open(place.path("kavach.db")).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What callers were told.
#[derive(Default)]
struct Told {
    agents: Vec<(String, String)>,
    allows: Vec<String>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.agents.extend(other.agents);
        self.allows.extend(other.allows);
    }
}

/// One caller, who makes agents and asks for them.
struct Caller {
    client: Client,
    ada: String,
    told: Told,
}

impl Caller {
    fn new(server: &Server, operator: &str, ada: &str) -> Self {
        Self {
            client: server.client(operator),
            ada: ada.to_owned(),
            told: Told::default(),
        }
    }

    fn create(&mut self) -> Answer {
        let body = json!({
            "ownerId": self.ada, "name": "one", "type": "service",
            "permissions": may(&["read"], "mcp:github:*"),
        });
        let made = self.client.post("/api/v1/agents", &body);
        if made.status == 201 {
            let agent = (made.id(), made.text_at("/data/token").to_owned());
            self.told.agents.push(agent);
        }
        made
    }

    /// Asks with a long resource, whose record is long too.
    fn ask(&mut self, agent: &str) -> Answer {
        let resource = format!("mcp:github:{}", "x".repeat(490));
        let question = json!({ "agentId": agent, "action": "read", "resource": resource });
        let asked = self.client.post("/api/v1/authorize", &question);
        if asked.allowed() {
            self.told
                .allows
                .push(asked.text_at("/data/auditId").to_owned());
        }
        asked
    }

    /// Works until nothing more is taken.
    fn fill(mut self) -> Told {
        for number in 0..MORE_THAN_FIT {
            let answer = match self.told.agents.last().filter(|_| number % 10 > 0) {
                Some((agent, _)) => self.ask(&agent.clone()),
                None => self.create(),
            };
            if answer.status >= 300 {
                assert_full(&answer);
                return self.told;
            }
        }
        panic!("the disk never became full");
    }
}

#[track_caller]
fn assert_full(answer: &Answer) {
    let told = answer.status == 503
        && answer.code() == "ledger_unavailable"
        && answer.text.contains("the disk is full")
        && !answer.header("retry-after").is_empty();
    assert!(told, "{answer}");
}

/// Callers fill the disk at once; what they were told.
fn fill(server: &Server, operator: &str, ada: &str) -> Told {
    let mut all = Told::default();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| scope.spawn(|| Caller::new(server, operator, ada).fill()))
            .collect();
        for caller in callers {
            all.add(caller.join().unwrap());
        }
    });
    assert!(all.agents.len() > 10 && all.allows.len() > 100);
    all
}

fn user(server: &Server, operator: &str) -> String {
    let ada = json!({ "name": "Ada" });
    let made = server.client(operator).post("/api/v1/users", &ada);
    made.expect(201).id()
}

/// Nothing is decided or changed, and all of it is said; the caller has what was told until there was no room for even
/// a small record.
fn refuses_everything(
    server: &Server,
    mut caller: Caller,
    (agent, key): &(String, String),
) -> Told {
    eventually("there is no room for a small record either", || {
        caller.ask(agent);
        server.stranger().get("/readyz").status == 503
    });
    for _ in 0..10 {
        assert_full(&caller.ask(agent));
        assert_full(&caller.create());
        assert_full(&caller.client.delete(&format!("/api/v1/agents/{agent}")));
    }
    server.stranger().get("/healthz").expect(200);
    // What is stored can still be read, and a revocation that was refused revoked nothing.
    let shown = server.client(key).get(&format!("/api/v1/agents/{agent}"));
    assert_eq!(shown.expect(200).text_at("/data/status"), "active");
    assert_eq!(server.stranger().get("/readyz").status, 503);
    caller.told
}

/// Everything that callers were told is there, and nothing else was allowed.
fn check(disk: &Disk, place: &Place, told: &Told) {
    let database = disk.database(place);
    assert_eq!(damage(&database, &stored_head(&database)), None);
    let column = |sql: &str| -> Vec<String> {
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let allows =
        "SELECT id FROM ledger WHERE kind = 'decision' AND outcome = 'allowed' ORDER BY id";
    assert_eq!(column(allows), sorted(told.allows.clone()));
    let agents = told.agents.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(column("SELECT id FROM agents ORDER BY id"), sorted(agents));
}

#[test]
fn a_full_file_system_refuses_everything_loses_nothing_and_recovers_when_there_is_room() {
    let Some(disk) = Disk::mount(SMALL) else {
        return;
    };
    let place = disk.place();
    let operator = place.init();
    let server = place.start("serve");
    let ada = user(&server, &operator);
    disk.put_ballast();
    let mut told = fill(&server, &operator, &ada);
    let caller = Caller::new(&server, &operator, &ada);
    told.add(refuses_everything(&server, caller, &told.agents[0]));

    disk.remove_ballast();
    eventually("readyz notices the room without any other call", || {
        server.stranger().get("/readyz").status == 200
    });
    let mut caller = Caller::new(&server, &operator, &ada);
    assert!(caller.ask(&told.agents[0].0).allowed());
    caller.create().expect(201);
    told.add(caller.told);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, 0);
    check(&disk, &place, &told);
}

#[test]
fn a_server_that_is_killed_on_a_full_file_system_starts_on_it_and_has_everything() {
    let Some(disk) = Disk::mount(LARGER) else {
        return;
    };
    let place = disk.place();
    let operator = place.init();
    let server = place.start("serve");
    let ada = user(&server, &operator);
    disk.put_ballast();
    let told = fill(&server, &operator, &ada);
    server.killed();

    let server = place.start("serve");
    for (agent, key) in &told.agents {
        let shown = server.client(key).get(&format!("/api/v1/agents/{agent}"));
        assert_eq!(shown.expect(200).text_at("/data/status"), "active");
    }
    server.killed();
    disk.remove_ballast();
    let server = place.start("serve");
    server.stranger().get("/readyz").expect(200);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, 0);
    check(&disk, &place, &told);
}

#[test]
fn a_database_that_there_is_no_room_for_is_told_and_can_be_made_later() {
    let Some(disk) = Disk::mount(SMALL) else {
        return;
    };
    let place = disk.place();
    disk.put_nothing_but_ballast();
    let ran = place.run("init");
    assert!(
        ran.code == 1 && is_one_line(&ran) && ran.err.contains("full"),
        "{ran:?}"
    );
    disk.remove_ballast();
    place.init();
    place.start("serve");
}

#[test]
fn a_copy_that_there_is_no_room_for_is_told_and_leaves_nothing() {
    let Some(disk) = Disk::mount(SMALL) else {
        return;
    };
    let mut place = Place::new();
    place.init();
    place.launcher.clone_from(&disk.launcher);
    let database = place.path("kavach.db");
    place.set("KAVACH_DATABASE", database.display());
    let inside = disk.directory.path().join("copy.db");
    let backup = format!("backup --output {}", inside.display());
    place.done(&backup);
    fs::remove_file(disk.outside("copy.db")).unwrap();
    disk.put_nothing_but_ballast();
    let ran = place.run(&backup);
    assert!(
        ran.code == 1 && is_one_line(&ran) && ran.err.contains("no room"),
        "{ran:?}"
    );
    disk.remove_ballast();
    // Others take the room while it is copied: a disk that is as good as full.
    let load = "CREATE TABLE load (x); INSERT INTO load VALUES (zeroblob(7000000))";
    Connection::open(database)
        .unwrap()
        .execute_batch(load)
        .unwrap();
    let was_full = (0..TRIES).any(|_| {
        let ran = copied_while_room_is_taken(&disk, &place, &backup);
        assert!(!disk.outside("copy.db.partial").exists());
        if ran.code == 0 {
            fs::remove_file(disk.outside("copy.db")).unwrap();
            return false;
        }
        assert!(is_one_line(&ran) && ran.err.contains("full"), "{ran:?}");
        assert!(!disk.outside("copy.db").exists());
        true
    });
    assert!(was_full, "the disk never became full in the middle");
}

/// Runs a backup, and takes all the room there is as soon as it has begun.
fn copied_while_room_is_taken(disk: &Disk, place: &Place, backup: &str) -> Ran {
    let (partial, taken) = (disk.outside("copy.db.partial"), disk.outside("taken"));
    let ended = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                if partial.exists() {
                    // As much as there is.
                    let _ = fs::write(&taken, vec![1; SMALL << 20]);
                    return;
                }
            }
        });
        let ran = place.run(backup);
        ended.store(true, Ordering::SeqCst);
        ran
    });
    let _ = fs::remove_file(&taken);
    ran
}
