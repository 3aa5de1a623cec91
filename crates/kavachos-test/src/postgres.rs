//! A PostgreSQL cluster of the tests' own, from the binaries that are installed.
//!
//! Promises: nothing is left behind, however the test process ends. A guardian process keeps the server as its child
//! and reads from a pipe that only the test process holds; when that closes, it ends the server by its process id and
//! removes the files. The server listens on the loopback alone, with a port and a password of its own.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The oldest server that KavachOS works with.
const OLDEST: u32 = 15;
/// How often a free port is chosen, should somebody else take it first.
const PORTS: usize = 5;
/// What has to be installed beside each other.
const PROGRAMS: [&str; 4] = ["initdb", "pg_isready", "postgres", "psql"];
/// Whom the server runs as where the tests run as root, which it refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Where a cluster is put if there is room: in memory nothing waits for a disk. What a crash of the server leaves is the
/// same there.
const MEMORY: &str = "/dev/shm";
/// The room it takes at most, in MiB: the log that it keeps, and the databases of the tests.
const ROOM: u64 = 4_096;
/// How many databases may be over before they are dropped together: each drop waits for a checkpoint, and only the first
/// of them has something to write.
const MAX_OVER: usize = 32;
/// The superuser of the cluster.
const OWNER: &str = "postgres";
/// Its password over TCP.
pub const PASSWORD: &str = "of-the-tests";

/// Starts the server, says `ready` or `failed`, crashes and starts it again for every line that it reads, and cleans up
/// at the end of its input. Arguments: the directory of the binaries, our directory, the port, more options.
const GUARDIAN: &str = r#"
bin=$1 home=$2 port=$3; shift 3
start() {
  "$bin/postgres" -D "$home/data" -c "listen_addresses=127.0.0.1" -c "port=$port" \
    -c "unix_socket_directories=$home" -c max_connections=500 -c shared_buffers=32MB "$@" >>"$home/log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    if "$bin/pg_isready" -q -h "$home" -p "$port"; then echo ready; return; fi
    if ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.05
  done
  echo failed
}
crash() { kill -QUIT "$server"; wait "$server"; }
start "$@"
while read -r line; do crash; start "$@"; done
crash 2>/dev/null
rm -rf "$home"
"#;

/// A running cluster.
pub struct Cluster {
    binaries: PathBuf,
    home: PathBuf,
    port: u16,
    guardian: Mutex<Guardian>,
    databases: AtomicU64,
    /// The names of those that nobody holds any more.
    over: Mutex<Vec<String>>,
}

/// A database that goes when it is let go of. The tests make more than a thousand, which together fill a disk.
pub struct Lent {
    cluster: &'static Cluster,
    url: String,
}

impl Lent {
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.cluster.take_back(name_of(&self.url));
    }
}

struct Guardian {
    process: Child,
    /// Closing it ends the server.
    orders: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

impl Cluster {
    /// The cluster that the tests of this process share. `None` where no PostgreSQL is installed, which is said aloud.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A cluster of one's own, to be ended at will.
    pub fn start() -> Option<Self> {
        Self::with_options(&[])
    }

    /// A cluster with other settings, for example `fsync=off`.
    pub fn with_options(options: &[&str]) -> Option<Self> {
        Self::with_files(options, &[])
    }

    /// A cluster that speaks TLS with this certificate and key, both in PEM.
    pub fn with_tls(certificate: &str, key: &str) -> Option<Self> {
        let files = [("server.crt", certificate), ("server.key", key)];
        Self::with_files(&["ssl=on"], &files)
    }

    fn with_files(options: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            say_what_is_missing();
            return None;
        };
        (0..PORTS)
            .find_map(|_| Self::try_start(&binaries, options, files))
            .or_else(|| panic!("the cluster does not start"))
    }

    fn try_start(binaries: &Path, options: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let home = tempfile::Builder::new()
            .prefix("kavach-pg-")
            .tempdir_in(if is_roomy(MEMORY) { MEMORY } else { "/tmp" })
            .expect("there is room for a directory")
            .keep();
        let user = hand_over(&home);
        initialise(binaries, &home, user);
        for (name, text) in files {
            place(&home.join("data").join(name), text, user);
        }
        let port = free_port();
        let mut guardian = command("/bin/sh", user);
        guardian
            .args(["-c", GUARDIAN, "guardian"])
            .arg(binaries)
            .arg(&home)
            .arg(port.to_string())
            .args(options.iter().flat_map(|option| ["-c", option]))
            // The signals of a terminal end the tests alone; the guardian sees the end of its input.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = guardian.spawn().expect("a shell can be started");
        let mut guardian = Guardian {
            orders: process.stdin.take(),
            says: BufReader::new(process.stdout.take().expect("its output is piped")),
            process,
        };
        if guardian.hears() != "ready" {
            return None;
        }
        Some(Self {
            binaries: binaries.to_owned(),
            home,
            port,
            guardian: Mutex::new(guardian),
            databases: AtomicU64::new(0),
            over: Mutex::default(),
        })
    }

    /// Makes an empty database for as long as it is held.
    pub fn lend(&'static self) -> Lent {
        Lent {
            cluster: self,
            url: self.database(),
        }
    }

    fn take_back(&self, name: &str) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.push(name.to_owned());
        if over.len() < MAX_OVER {
            return;
        }
        let names = std::mem::take(&mut *over);
        drop(over);
        let drops = names.iter().flat_map(|name| {
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            ["--command".to_owned(), sql]
        });
        // What cannot be dropped goes with the cluster; a test that fails already must not fail here again.
        let _ = self.asking(OWNER).args(drops).output();
    }

    /// Makes an empty database that stays as long as the cluster, and returns its URL.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        self.psql(OWNER, &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database, over TCP.
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    /// The URL of a database behind a proxy on this port of the loopback.
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://{OWNER}:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// The URL of a database, over the socket in the file system.
    pub fn socket_url(&self, database: &str) -> String {
        let home = self.home.to_string_lossy().replace('/', "%2F");
        format!("postgres://{OWNER}@{home}:{}/{database}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as another program would, and returns the rows, cells separated by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self
            .asking(database)
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .output()
            .expect("psql can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `psql` on a database, before it is told what to do.
    fn asking(&self, database: &str) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--username", OWNER, "--dbname", database])
            .arg("--host")
            .arg(&self.home)
            .args(["--port", &self.port.to_string()]);
        psql
    }

    /// A session of another program, which keeps its transaction and its locks between statements.
    pub fn session(&self, database: &str) -> Session {
        let mut process = self
            .asking(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql can be started");
        Session {
            asks: process.stdin.take().expect("its input is piped"),
            says: BufReader::new(process.stdout.take().expect("its output is piped")),
            process,
        }
    }

    /// Ends the server without a checkpoint, as a crash would, and starts it again.
    pub fn crash(&self) {
        let mut guardian = self.guardian.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = guardian.orders.as_mut().expect("it is open until the end");
        writeln!(orders, "again").expect("the guardian listens");
        assert_eq!(guardian.hears(), "ready");
    }
}

/// A session of another program.
pub struct Session {
    process: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Session {
    /// Runs a statement and waits until it is done.
    pub fn run(&mut self, sql: &str) {
        writeln!(self.asks, "{sql};\n\\echo done").expect("psql listens");
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            let read = self.says.read_line(&mut line).expect("psql answers");
            assert!(read > 0, "psql ended");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Guardian {
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.says
            .read_line(&mut line)
            .expect("the guardian answers");
        line.trim().to_owned()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It has ended either way.
        let _ = self.process.wait();
    }
}

/// The name of the database in a URL of ours.
pub fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// The directory with the newest server that is installed.
fn binaries() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = candidates()
        .into_iter()
        .filter(|directory| PROGRAMS.iter().all(|name| directory.join(name).exists()))
        .filter_map(|directory| Some((version(&directory)?, directory)))
        .filter(|(version, _)| *version >= OLDEST)
        .collect();
    found.sort();
    found.pop().map(|(_, directory)| directory)
}

fn candidates() -> Vec<PathBuf> {
    let mut all = Vec::new();
    let in_path = Command::new("/bin/sh")
        .args(["-c", "command -v postgres"])
        .output();
    if let Ok(output) = in_path {
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        all.extend(path.parent().map(Path::to_owned));
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    for version in versions.into_iter().flatten().flatten() {
        all.push(version.path().join("bin"));
    }
    all
}

fn version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(2)?;
    number
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Says on the standard error, past the capture of the tests, that nothing was tested.
fn say_what_is_missing() {
    static SAID: OnceLock<()> = OnceLock::new();
    SAID.get_or_init(|| {
        let line = format!(
            "skipped: PostgreSQL (no server of version {OLDEST} or newer is installed; `apt-get install postgresql`)"
        );
        // Whoever closed the standard error does not want to know.
        let _ = writeln!(std::io::stderr(), "\n{line}");
    });
}

fn is_roomy(directory: &str) -> bool {
    let free = Command::new("df")
        .args(["--output=avail", "-B1M", directory])
        .output();
    free.is_ok_and(|free| {
        let text = String::from_utf8_lossy(&free.stdout);
        let last = text.lines().next_back().unwrap_or_default();
        last.trim().parse().is_ok_and(|free: u64| free >= ROOM)
    })
}

/// Gives our directory to a user without rights where we are root.
fn hand_over(home: &Path) -> Option<(u32, u32)> {
    let owner = std::fs::metadata(home).expect("it was just made").uid();
    if owner != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the users can be read");
    let (uid, gid) = USERS
        .iter()
        .find_map(|name| ids(&users, name))
        .expect("there is a user without rights");
    chown(home, Some(uid), Some(gid)).expect("root can give away");
    Some((uid, gid))
}

fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut parts = line.split(':').skip(2);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn command(program: impl AsRef<std::ffi::OsStr>, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/tmp");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn initialise(binaries: &Path, home: &Path, user: Option<(u32, u32)>) {
    let password = home.join("password");
    std::fs::write(&password, PASSWORD).expect("there is room for a file");
    let output = command(binaries.join("initdb"), user)
        .args(["--no-sync", "--encoding=UTF8", "--locale=C"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .args(["--username", OWNER, "--pwfile"])
        .arg(&password)
        .arg("--pgdata")
        .arg(home.join("data"))
        .output()
        .expect("initdb can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb: {errors}");
}

/// Writes a file that only the server reads.
fn place(file: &Path, text: &str, user: Option<(u32, u32)>) {
    std::fs::write(file, text).expect("there is room for a file");
    let private = Permissions::from_mode(0o600);
    std::fs::set_permissions(file, private).expect("it is ours");
    if let Some((uid, gid)) = user {
        chown(file, Some(uid), Some(gid)).expect("root can give away");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has ports");
    listener.local_addr().expect("it is bound").port()
}
