//! Opening a database: lock, connection, schema, log, threads.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use super::SqliteStore;
use super::checkpoint::Checkpoints;
use super::connection::Database;
use super::error::OpenError;
use super::lock::Lock;
use super::writer::{Session, Writer};
use super::{log, migrate, reader};
use crate::answer::ReadError;
use crate::host::Host;
use crate::migration::{History, MIGRATIONS, Migration, Pending, SchemaError};
use crate::row::{Query, Row};
use crate::writer::front::{Front, QUEUED_BATCHES, queue_of_batches, queue_of_reads};
use crate::writer::job::Desk;
use crate::writer::schema::Schema;
use crate::writer::shared::Shared;

/// How many readers a store has unless told otherwise; point reads are short.
const READERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// How long another process, such as a backup, may hold a lock before a group fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Which database, and how it is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The database file; `None` keeps everything in memory, for tests.
    pub path: Option<PathBuf>,
    /// The schema: [`MIGRATIONS`], followed by those of plugins.
    pub migrations: Vec<Migration>,
    /// What to do when the schema is older than that.
    pub pending: Pending,
    /// How many reads run at the same time.
    pub readers: NonZeroUsize,
    /// How many batches wait before the next is answered `Busy`.
    pub queued_batches: usize,
    /// How long to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// The largest size of the database; reaching it is like a full disk. `None` is as large as the disk.
    pub max_bytes: Option<u64>,
}

impl Options {
    /// A database in this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::memory()
        }
    }

    /// A database in memory, gone when the store is dropped.
    pub fn memory() -> Self {
        Self {
            path: None,
            migrations: MIGRATIONS.to_vec(),
            pending: Pending::Apply,
            readers: READERS,
            queued_batches: QUEUED_BATCHES,
            busy_timeout: BUSY_TIMEOUT,
            max_bytes: None,
        }
    }
}

/// Which migrations opening this database would apply. Does not change it and needs no lock.
///
/// # Errors
/// As [`SqliteStore::open`], for what is wrong with the file or its schema.
pub fn plan(path: &Path, migrations: &[Migration]) -> Result<Vec<Migration>, OpenError> {
    Ok(schema(path)?.pending(migrations)?)
}

/// How far each of these migrations, and each that the database has, has come. Makes and changes nothing, and needs no
/// lock.
///
/// # Errors
/// As [`SqliteStore::open`], for what is wrong with the file. What is wrong with its schema is told as obstacle.
pub fn history(path: &Path, migrations: &[Migration]) -> Result<History, OpenError> {
    Ok(schema(path)?.history(migrations))
}

fn schema(path: &Path) -> Result<Schema, OpenError> {
    if !path.exists() {
        return Ok(Schema::Empty);
    }
    let database = Database::new(Some(path.to_owned()), BUSY_TIMEOUT, None);
    let connection = database
        .observer()
        .map_err(|error| OpenError::of(&error, path))?;
    migrate::schema(&connection, path)
}

/// A database, there or not, that no other process opens for as long as this is kept.
pub struct Claim {
    path: PathBuf,
    _lock: Lock,
}

impl Claim {
    /// Its one true path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Keeps every other process from opening this database, which need not be there. Opens and changes nothing.
///
/// # Errors
/// Another process has it, or its directory is not there.
pub fn claim(path: &Path) -> Result<Claim, OpenError> {
    let path = locate(path)?;
    let lock = Lock::take(&path)?;
    Ok(Claim { path, _lock: lock })
}

/// Refuses to have a database made where the write-ahead log of another one lies: SQLite would remove that log, and with it
/// the last changes of whatever database it belongs to.
///
/// # Errors
/// There is no database, and a log that is not empty.
pub fn refuse_lost_database(path: &Path) -> Result<(), OpenError> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    if size(path) > 0 || size(&log) == 0 {
        return Ok(());
    }
    Err(OpenError::LostDatabase { log })
}

/// Copies the write-ahead log of a database that nobody has open into it, and empties it: then the file alone is all of
/// the database. Blocks.
///
/// # Errors
/// What SQLite says. Nothing is lost then: log and database are as they were, or the log was copied in part.
pub fn settle(claim: &Claim) -> Result<(), OpenError> {
    let database = Database::new(Some(claim.path.clone()), BUSY_TIMEOUT, None);
    let said = |error: rusqlite::Error| OpenError::of(&error, &claim.path);
    let connection = database.checkpointer().map_err(said)?;
    connection
        .wal_checkpoint_v2(Some("main"), CheckpointMode::TRUNCATE)
        .map(drop)
        .map_err(said)
}

/// Reads a database as it is now, beside the process that holds it. Changes nothing and needs no lock. Blocks.
///
/// # Errors
/// As [`crate::Store::read`].
pub fn read(path: &Path, queries: &[Query]) -> Result<Vec<Vec<Row>>, ReadError> {
    let database = Database::new(Some(path.to_owned()), BUSY_TIMEOUT, None);
    let connection = database
        .reader()
        .map_err(|error| ReadError::Unavailable(error.to_string().into()))?;
    reader::run(&connection, queries)
}

impl SqliteStore {
    /// Opens the database, makes or migrates it, and starts its threads. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with the file, its lock, its schema or its settings, and what to do.
    pub fn open(options: &Options, host: Host) -> Result<Self, OpenError> {
        let path = options.path.as_deref().map(locate).transpose()?;
        let lock = path.as_deref().map(Lock::take).transpose()?;
        path.as_deref().map(refuse_lost_database).transpose()?;
        let database = Database::new(path, options.busy_timeout, options.max_bytes);
        let mut connection = database.writer()?;
        prepare(&mut connection, options, &host, &database)?;
        let session = Session::new(connection, &database)?;
        start(options, host, database, session, lock)
    }
}

/// The one true path of the database, so that two names of it have one lock file.
fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let io = |error: std::io::Error| OpenError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    if path.exists() {
        let read_only = fs::metadata(path).map_err(io)?.permissions().readonly();
        if read_only {
            return Err(OpenError::ReadOnly {
                path: path.to_owned(),
            });
        }
        return path.canonicalize().map_err(io);
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory {
            path: directory.to_owned(),
        });
    }
    let name = path.file_name().ok_or_else(|| OpenError::NotADatabase {
        path: path.to_owned(),
    })?;
    Ok(directory.canonicalize().map_err(io)?.join(name))
}

fn prepare(
    connection: &mut Connection,
    options: &Options,
    host: &Host,
    database: &Database,
) -> Result<(), OpenError> {
    let steps = migrate::pending(connection, &options.migrations, database.shown())?;
    if options.pending == Pending::Refuse && !steps.is_empty() {
        return Err(SchemaError::Pending { count: steps.len() }.into());
    }
    migrate::apply(connection, &steps, host.clock.now(), database.shown())?;
    log::create(connection, &*host.rng).map_err(|error| OpenError::of(&error, database.shown()))
}

fn start(
    options: &Options,
    host: Host,
    database: Database,
    session: Session,
    lock: Option<Lock>,
) -> Result<SqliteStore, OpenError> {
    let shown = database.shown().to_owned();
    let io = |error: std::io::Error| OpenError::Io {
        path: shown.clone(),
        reason: error.to_string(),
    };
    let front = Front {
        writes: queue_of_batches(options.queued_batches),
        reads: database.path.is_some().then(queue_of_reads),
        shared: Arc::new(Shared::new(session.log().head())),
    };
    let readers = match &front.reads {
        Some(queue) => reader::start(options.readers.get(), &database, queue).map_err(io)?,
        None => Vec::new(),
    };
    let checkpoints = match &database.path {
        Some(_) => Some(Checkpoints::start(&database).map_err(io)?),
        None => None,
    };
    let path = database.path.as_deref();
    let directory = path.and_then(Path::parent).map(Path::to_owned);
    let of_store = database.clone();
    let writer = Writer {
        database,
        session: Some(session),
        desk: Desk {
            shared: Arc::clone(&front.shared),
            observer: host.observer,
        },
        queue: Arc::clone(&front.writes),
        reads: front.reads.clone(),
        clock: host.clock,
        readers,
        checkpoints,
        lock,
    };
    let thread = Builder::new()
        .name("kavach-write".to_owned())
        .spawn(move || writer.run())
        .map_err(io)?;
    Ok(SqliteStore {
        front,
        directory,
        database: of_store,
        thread: Mutex::new(Some(thread)),
    })
}
