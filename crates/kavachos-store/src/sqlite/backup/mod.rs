//! A copy of a database, made beside the server that holds it.
//!
//! Promises: the copy is one state of the database, with every record that was acknowledged before the copying began;
//! it was checked before it gets its name; it is its owner's alone. Whatever goes wrong, nothing is left under that
//! name, and what was there before is still there.
//!
//! The state is held by a reader, and while it is, SQLite cannot begin its write-ahead log anew. So the copying gives
//! up when the log has grown too far, or when the disk of the database becomes full meanwhile. The writer waits for
//! none of it. See ADR 0018.

mod error;
mod partial;

use std::ffi::c_int;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

pub use self::error::BackupError;
use self::partial::Partial;
use super::connection::Database;
use super::error::OpenError;
use super::{lock, log, migrate};
use crate::answer::Head;

/// How long to wait for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// What is left free on the disk of the database, in bytes: a server that runs needs it.
const RESERVE: u64 = 64 << 20;
/// How many steps the copy may be ahead of the disk: 64 MiB, so that the server's own syncs wait for no more.
const STEPS_PER_SYNC: u64 = 16;

/// How much is copied and may happen at once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// How many pages one step copies: 4 MiB.
    step: c_int,
    /// How far the write-ahead log may grow meanwhile, in bytes.
    growth: u64,
}

const LIMITS: Limits = Limits {
    step: 1_024,
    growth: 2 << 30,
};

/// What to do about a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    Keep,
    /// Put the copy in its place, once that is whole.
    Replace,
}

/// How far the copying has come, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// This much is copied.
    pub copied: u64,
    /// Of this.
    pub total: u64,
}

/// A finished copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Its size in bytes.
    pub bytes: u64,
    /// The head of the ledger in it.
    pub head: Head,
}

/// Copies the database at `from` to a new file at `to`, whether or not a server holds it. Blocks.
///
/// # Errors
/// Says what is wrong with the database, with the file or its disk, or that the log grew too far. Nothing is left.
pub fn backup(
    from: &Path,
    to: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Copying),
) -> Result<Copied, BackupError> {
    run(from, to, existing, LIMITS, progress)
}

fn run(
    from: &Path,
    to: &Path,
    existing: Existing,
    limits: Limits,
    progress: &mut dyn FnMut(Copying),
) -> Result<Copied, BackupError> {
    let source = Source::open(from)?;
    let to = placed(to)?;
    check_target(&to, &source.path, existing)?;
    source.check_room(&to)?;
    let partial = Partial::begin(&to)?;
    source.copy(&partial, limits, progress)?;
    let expected = source.head;
    // From here on the log can begin anew.
    drop(source.connection);
    let copied = verified(partial.path(), expected)?;
    partial.publish(existing)?;
    Ok(copied)
}

/// The database, with its state held.
struct Source {
    connection: Connection,
    path: PathBuf,
    head: Head,
    bytes: u64,
    /// How long the log was when the state was taken.
    log: u64,
    /// Whether its disk had room then.
    had_room: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self, BackupError> {
        let path = path
            .canonicalize()
            .map_err(|error| BackupError::io("read", path, &error))?;
        let database = Database::new(Some(path.clone()), BUSY_TIMEOUT, None);
        let open = |error: rusqlite::Error| OpenError::of(&error, &path);
        let connection = database.reader().map_err(open)?;
        connection.execute_batch("BEGIN").map_err(open)?;
        // The first reads take the state.
        migrate::pending(&connection, &[], &path)?;
        let head = log::load(&connection, &path)?.head();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = pragma("page_count").map_err(open)?;
        let page = pragma("page_size").map_err(open)?;
        Ok(Self {
            head,
            bytes: u64::try_from(pages.saturating_mul(page)).unwrap_or(0),
            log: length_of_log(&path),
            had_room: free_beside(&path).is_none_or(|free| free >= RESERVE),
            connection,
            path,
        })
    }

    /// Refuses to begin what cannot end.
    fn check_room(&self, to: &Path) -> Result<(), BackupError> {
        let reserve = if is_same_disk(&self.path, to) {
            RESERVE
        } else {
            0
        };
        let needed = self.bytes.saturating_add(reserve);
        match free_beside(to) {
            Some(free) if free < needed => Err(BackupError::NoRoom {
                path: directory(to).to_owned(),
                needed,
                free,
            }),
            _ => Ok(()),
        }
    }

    fn copy(
        &self,
        partial: &Partial,
        limits: Limits,
        progress: &mut dyn FnMut(Copying),
    ) -> Result<(), BackupError> {
        let failed = |error: rusqlite::Error| BackupError::of(&error, partial.path());
        let mut target = opened(
            partial.path(),
            "nolock=1",
            OpenFlags::SQLITE_OPEN_READ_WRITE,
        )
        .map_err(failed)?;
        // The file has no name that anybody opens until it is whole and was synced.
        target
            .pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))
            .map_err(failed)?;
        target
            .pragma_update(None, "synchronous", "OFF")
            .map_err(failed)?;
        let backup = Backup::new(&self.connection, &mut target).map_err(failed)?;
        let mut steps: u64 = 0;
        loop {
            let step = backup.step(limits.step).map_err(failed)?;
            progress(self.copying(backup.progress()));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(BackupError::Busy),
            }
            self.check_neighbour(limits)?;
            steps = steps.saturating_add(1);
            if steps.is_multiple_of(STEPS_PER_SYNC) {
                partial.sync()?;
            }
        }
        drop(backup);
        target.close().map_err(|(_, error)| failed(error))?;
        partial.sync()
    }

    fn copying(&self, progress: rusqlite::backup::Progress) -> Copying {
        let done = progress.pagecount.saturating_sub(progress.remaining);
        let done = u64::try_from(done).unwrap_or(0);
        let pages = u64::try_from(progress.pagecount).unwrap_or(0).max(1);
        Copying {
            copied: (self.bytes / pages).saturating_mul(done),
            total: self.bytes,
        }
    }

    /// The server beside comes first.
    fn check_neighbour(&self, limits: Limits) -> Result<(), BackupError> {
        let grown = length_of_log(&self.path).saturating_sub(self.log);
        if grown > limits.growth {
            return Err(BackupError::LogGrew { bytes: grown });
        }
        if self.had_room && free_beside(&self.path).is_some_and(|free| free < RESERVE) {
            return Err(BackupError::Crowded {
                path: directory(&self.path).to_owned(),
            });
        }
        Ok(())
    }
}

/// Checks the copy whole: SQLite's own check of every page and index, and that it is the state that was held.
fn verified(path: &Path, expected: Head) -> Result<Copied, BackupError> {
    let failed = |error: rusqlite::Error| BackupError::of(&error, path);
    // Nobody changes it, so it needs no files beside it.
    let copy = opened(path, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let verdict: String = copy
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(failed)?;
    if verdict != "ok" {
        return Err(BackupError::Damaged(verdict));
    }
    let head = log::load(&copy, path)?.head();
    if head != expected {
        let reason = "its ledger has another head than the database".to_owned();
        return Err(BackupError::Damaged(reason));
    }
    let bytes = fs::metadata(path).map_err(|error| BackupError::io("read", path, &error))?;
    Ok(Copied {
        bytes: bytes.len(),
        head,
    })
}

/// Where the copy will lie, by the one true path of its directory.
fn placed(to: &Path) -> Result<PathBuf, BackupError> {
    let name = to.file_name().ok_or_else(|| BackupError::NoFile {
        path: to.to_owned(),
    })?;
    let directory = directory(to);
    let directory = directory.canonicalize();
    let directory = directory.map_err(|_| OpenError::NoDirectory {
        path: self::directory(to).to_owned(),
    })?;
    Ok(directory.join(name))
}

/// Refuses what would harm a database: the one that is copied, or one that lies at the target.
fn check_target(to: &Path, from: &Path, existing: Existing) -> Result<(), BackupError> {
    let path = || to.to_owned();
    let own = ["", "-wal", "-shm", "-journal", ".lock"];
    if own.iter().any(|end| with_end(from, end) == to)
        || to.canonicalize().is_ok_and(|real| real == from)
    {
        return Err(BackupError::Itself { path: path() });
    }
    if to.is_dir() {
        return Err(BackupError::NoFile { path: path() });
    }
    if existing == Existing::Keep && to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: path() });
    }
    // SQLite would take what a log beside the copy holds for a part of it.
    for end in ["-wal", "-journal"] {
        let beside = with_end(to, end);
        if fs::metadata(&beside).is_ok_and(|file| file.len() > 0) {
            return Err(BackupError::OldLog { path: beside });
        }
    }
    if lock::is_held(to) {
        return Err(BackupError::InUse { path: path() });
    }
    Ok(())
}

/// Opens a file with a parameter that only a URI can give.
fn opened(path: &Path, parameter: &str, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            // Writing into a String cannot fail.
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("{uri}?{parameter}"), flags)
}

fn length_of_log(database: &Path) -> u64 {
    fs::metadata(with_end(database, "-wal")).map_or(0, |file| file.len())
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn free_beside(file: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory(file)).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn is_same_disk(one: &Path, other: &Path) -> bool {
    let disk = |file: &Path| rustix::fs::stat(directory(file)).map(|found| found.st_dev);
    match (disk(one), disk(other)) {
        (Ok(one), Ok(other)) => one == other,
        // Careful where it is not known.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use kavachos_core::time::Timestamp;

    use super::*;
    use crate::host::{Clock, Host, Rng};
    use crate::sqlite::{Options, SqliteStore};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::MIN
        }

        fn running(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl Rng for Still {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    /// A database in a directory of its own, with something in it to copy; a server holds it.
    struct Place {
        directory: tempfile::TempDir,
        _server: SqliteStore,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let host = Host {
                clock: Arc::new(Still),
                rng: Arc::new(Still),
                observer: Arc::new(()),
            };
            let options = Options::file(directory.path().join("kavach.db"));
            let server = SqliteStore::open(&options, host).unwrap();
            let place = Self {
                directory,
                _server: server,
            };
            place
                .writer()
                .execute_batch("CREATE TABLE load (x); INSERT INTO load VALUES (zeroblob(1000000))")
                .unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// Another connection, as the server's own writer would have one.
        fn writer(&self) -> Connection {
            let writer = Connection::open(self.path("kavach.db")).unwrap();
            writer.pragma_update(None, "synchronous", "OFF").unwrap();
            writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
            writer
        }

        fn copied(&self, to: &str, existing: Existing) -> Result<Copied, BackupError> {
            backup(
                &self.path("kavach.db"),
                &self.path(to),
                existing,
                &mut |_| (),
            )
        }

        fn files(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with("kavach.db"))
                .collect();
            names.sort();
            names
        }
    }

    fn rows(path: &Path) -> i64 {
        let copy = Connection::open(path).unwrap();
        copy.query_row("SELECT count(*) FROM load", [], |row| row.get(0))
            .unwrap()
    }

    const SMALL: Limits = Limits {
        step: 16,
        growth: 2 << 30,
    };

    #[test]
    fn a_copy_is_one_state_although_the_database_changes_at_every_step() {
        let place = Place::new();
        let writer = place.writer();
        let (mut steps, mut last) = (0, 0);
        let to = place.path("copy %41?.db");
        let from = place.path("kavach.db");
        let done = run(&from, &to, Existing::Keep, SMALL, &mut |copying| {
            let more = "INSERT INTO load VALUES (zeroblob(10000))";
            writer.execute_batch(more).unwrap();
            assert!(copying.copied > last && copying.copied <= copying.total);
            (steps, last) = (steps + 1, copying.copied);
        });
        assert_eq!(done.unwrap().bytes, fs::metadata(&to).unwrap().len());
        assert!(steps > 10, "{steps}");
        // What was there when it began, and nothing that came later.
        assert_eq!((rows(&to), rows(&from)), (1, steps + 1));
        let mode = fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(place.files(), ["copy %41?.db"]);
    }

    #[test]
    fn a_log_that_grows_too_far_ends_it_and_nothing_is_left() {
        let place = Place::new();
        let writer = place.writer();
        let mut grow = |_: Copying| {
            let more = "INSERT INTO load VALUES (zeroblob(100000))";
            writer.execute_batch(more).unwrap();
        };
        let (from, to) = (place.path("kavach.db"), place.path("copy.db"));
        let limited = Limits {
            growth: 500_000,
            ..SMALL
        };
        let grew = run(&from, &to, Existing::Keep, limited, &mut grow);
        assert!(matches!(grew, Err(BackupError::LogGrew { .. })), "{grew:?}");
        assert_eq!(place.files(), Vec::<String>::new());
        run(&from, &to, Existing::Keep, SMALL, &mut grow).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_where_that_was_asked_for() {
        let place = Place::new();
        let to = place.path("copy.db");
        fs::write(&to, "old").unwrap();
        let kept = place.copied("copy.db", Existing::Keep);
        assert!(matches!(kept, Err(BackupError::Exists { .. })), "{kept:?}");
        assert_eq!(fs::read(&to).unwrap(), b"old");
        place.copied("copy.db", Existing::Replace).unwrap();
        assert_eq!(rows(&to), 1);
    }

    #[test]
    fn a_copy_never_lands_on_a_database_that_it_would_harm() {
        let place = Place::new();
        for own in ["kavach.db", "kavach.db-wal", "kavach.db.lock"] {
            let itself = place.copied(own, Existing::Replace);
            assert!(matches!(itself, Err(BackupError::Itself { .. })), "{own}");
        }
        fs::write(place.path("copy.db-wal"), "the log of another database").unwrap();
        let old = place.copied("copy.db", Existing::Replace);
        assert!(matches!(old, Err(BackupError::OldLog { .. })), "{old:?}");
        fs::remove_file(place.path("copy.db-wal")).unwrap();
        let held = lock::Lock::take(&place.path("copy.db")).unwrap();
        let used = place.copied("copy.db", Existing::Replace);
        assert!(matches!(used, Err(BackupError::InUse { .. })), "{used:?}");
        drop(held);
        place.copied("copy.db", Existing::Replace).unwrap();
    }

    #[test]
    fn what_a_killed_backup_left_is_cleared_away_and_one_that_runs_is_not() {
        let place = Place::new();
        let left = place.path("copy.db.partial");
        fs::write(&left, "half").unwrap();
        let running = fs::File::open(&left).unwrap();
        running.try_lock().unwrap();
        let refused = place.copied("copy.db", Existing::Keep);
        assert!(
            matches!(refused, Err(BackupError::Running { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&left).unwrap(), b"half");
        drop(running);
        place.copied("copy.db", Existing::Keep).unwrap();
        assert_eq!(place.files(), ["copy.db"]);
        // Somebody else's link is not followed.
        fs::write(place.path("precious"), "x").unwrap();
        std::os::unix::fs::symlink(place.path("precious"), &left).unwrap();
        assert!(place.copied("copy.db", Existing::Replace).is_err());
        assert_eq!(fs::read(place.path("precious")).unwrap(), b"x");
    }

    #[test]
    fn what_is_no_database_of_ours_is_not_copied() {
        let place = Place::new();
        let other = place.path("other.db");
        Connection::open(&other)
            .unwrap()
            .execute_batch("CREATE TABLE t (x)")
            .unwrap();
        let copied = backup(&other, &place.path("copy.db"), Existing::Keep, &mut |_| ());
        let foreign = matches!(&copied, Err(BackupError::Open(OpenError::Foreign { .. })));
        assert!(foreign, "{copied:?}");
    }
}
