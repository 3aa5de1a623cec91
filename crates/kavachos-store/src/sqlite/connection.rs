//! Opening a connection with the settings that durability and erasure rest on, and proving that they are on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::checkpoint::Progress;
use super::error::OpenError;

/// How many statements a connection keeps prepared.
const PREPARED: usize = 256;
/// The page cache of the writer, in KiB: the inner pages of the ledger's indexes should fit.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// The page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 4 * 1024;

/// Where a database is and how it is opened, again after a failure too.
#[derive(Debug, Clone)]
pub(super) struct Database {
    /// `None` is one in memory, which cannot be opened again.
    pub(super) path: Option<PathBuf>,
    pub(super) busy_timeout: Duration,
    pub(super) max_bytes: Option<u64>,
    /// How far the write-ahead log has come, as the connection that writes tells.
    pub(super) log: Arc<Progress>,
}

impl Database {
    /// A database at this path, or in memory.
    pub(super) fn new(
        path: Option<PathBuf>,
        busy_timeout: Duration,
        max_bytes: Option<u64>,
    ) -> Self {
        Self {
            path,
            busy_timeout,
            max_bytes,
            log: Arc::default(),
        }
    }

    /// The path, for messages.
    pub(super) fn shown(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(":memory:"))
    }

    /// Opens the connection that writes; makes the file if need be.
    pub(super) fn writer(&self) -> Result<Connection, OpenError> {
        self.verified(OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens the connection that writes again; the file must be there.
    pub(super) fn reopen(&self) -> Result<Connection, OpenError> {
        self.verified(OpenFlags::empty())
    }

    fn verified(&self, create: OpenFlags) -> Result<Connection, OpenError> {
        self.open_writer(create)
            .map_err(|error| OpenError::of(&error, self.shown()))
            .and_then(|connection| {
                verify(&connection, self.path.is_some(), self.shown())?;
                Ok(connection)
            })
    }

    /// Opens a connection that only reads, once, and leaves no file behind. SQLite makes a write-ahead log even to read,
    /// where there is none; then nobody has the database open, and it can be read as one that does not change.
    pub(super) fn observer(&self) -> rusqlite::Result<Connection> {
        let mut log = self.shown().as_os_str().to_owned();
        log.push("-wal");
        match self.shown().to_str().filter(|_| !Path::new(&log).exists()) {
            None => self.reader(),
            Some(path) => self.reading(unchanging(path), OpenFlags::SQLITE_OPEN_URI),
        }
    }

    /// Opens a connection that only reads.
    pub(super) fn reader(&self) -> rusqlite::Result<Connection> {
        self.reading(self.shown(), OpenFlags::empty())
    }

    fn reading(&self, name: impl AsRef<Path>, more: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        keep_prepared(&connection)?;
        connection.pragma_update(None, "query_only", "ON")?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        Ok(connection)
    }

    /// Opens a connection that copies the write-ahead log into the database, as durably as the writer would.
    pub(super) fn checkpointer(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.shown(), flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        sync_fully(&connection)?;
        self.bound(&connection)?;
        Ok(connection)
    }

    fn open_writer(&self, create: OpenFlags) -> rusqlite::Result<Connection> {
        let mut connection = match &self.path {
            None => Connection::open_in_memory()?,
            Some(path) => Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create,
            )?,
        };
        connection.busy_timeout(self.busy_timeout)?;
        keep_prepared(&connection)?;
        // Read before anything is written, so that a file which is no database is told apart and left alone.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        if self.path.is_some() {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        }
        sync_fully(&connection)?;
        connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // In place of SQLite's own checkpoint within a commit.
        self.log.follow(&mut connection)?;
        self.bound(&connection)?;
        Ok(connection)
    }

    fn bound(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(bytes) = self.max_bytes else {
            return Ok(());
        };
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }
}

/// A file as a URI that says that it does not change (SQLite, Uniform Resource Identifiers, 3.2).
fn unchanging(path: &str) -> String {
    let path = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{path}?immutable=1")
}

/// Has statements stay prepared. SQLite plans one anew for each value that is bound to it, unless told that its plan comes of its
/// text.
fn keep_prepared(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

fn sync_fully(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Where fsync alone does not reach the disk (macOS), ask for more; elsewhere these do nothing.
    connection.pragma_update(None, "fullfsync", "ON")?;
    connection.pragma_update(None, "checkpoint_fullfsync", "ON")
}

/// Reads the settings back; anything weaker is refused. A database in memory has no log to sync.
pub(super) fn verify(connection: &Connection, file: bool, path: &Path) -> Result<(), OpenError> {
    if file {
        let mode: String = read(connection, "journal_mode", path)?;
        expect("journal_mode", mode == "wal", &mode)?;
    }
    let settings: [(_, &[i64]); 3] = [
        // 2 is FULL, 3 is EXTRA. NORMAL loses acknowledged records on a power cut.
        ("synchronous", &[2, 3]),
        // 2 would be FAST, which leaves what was deleted on pages that are free.
        ("secure_delete", &[1]),
        ("foreign_keys", &[1]),
    ];
    for (setting, accepted) in settings {
        let value: i64 = read(connection, setting, path)?;
        expect(setting, accepted.contains(&value), &value.to_string())?;
    }
    Ok(())
}

fn read<T: rusqlite::types::FromSql>(
    connection: &Connection,
    setting: &str,
    path: &Path,
) -> Result<T, OpenError> {
    connection
        .pragma_query_value(None, setting, |row| row.get(0))
        .map_err(|error| OpenError::of(&error, path))
}

fn expect(setting: &'static str, holds: bool, value: &str) -> Result<(), OpenError> {
    if holds {
        Ok(())
    } else {
        Err(OpenError::Weak {
            setting,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    fn database(directory: &tempfile::TempDir) -> Database {
        let path = directory.path().join("kavach.db");
        Database::new(Some(path), Duration::ZERO, None)
    }

    #[test]
    fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory);
        let writer = database.writer().unwrap();
        for connection in [&writer, &database.reader().unwrap()] {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
            for name in ["a", "b", "c"] {
                let mut statement = connection.prepare_cached(sql).unwrap();
                let count: i64 = statement.query_row([name], |row| row.get(0)).unwrap();
                assert_eq!(count, 0);
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
            }
        }
    }

    #[test]
    fn a_weaker_setting_is_refused_and_the_right_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory);
        let weakened = |setting: &str, value: &str| {
            let connection = database.writer().unwrap();
            verify(&connection, true, database.shown()).unwrap();
            connection
                .pragma_update_and_check(None, setting, value, |_| Ok(()))
                .or_else(|_| connection.pragma_update(None, setting, value))
                .unwrap();
            let refused = verify(&connection, true, database.shown());
            connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
                .unwrap();
            refused
        };
        for (setting, value) in [
            ("synchronous", "NORMAL"),
            ("synchronous", "OFF"),
            ("secure_delete", "OFF"),
            ("secure_delete", "FAST"),
            ("foreign_keys", "OFF"),
            ("journal_mode", "DELETE"),
        ] {
            match weakened(setting, value) {
                Err(OpenError::Weak { setting: named, .. }) => assert_eq!(named, setting),
                other => panic!("{setting} = {value}: {other:?}"),
            }
        }
        assert!(weakened("synchronous", "EXTRA").is_ok());
    }
}
