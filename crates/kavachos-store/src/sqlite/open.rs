//! Opening a database: lock, connection, schema, log, threads.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use rusqlite::Connection;

use super::SqliteStore;
use super::checkpoint::Checkpoints;
use super::connection::Database;
use super::error::OpenError;
use super::lock::Lock;
use super::log::Log;
use super::migrate;
use super::queue::{Limit, Queue};
use super::reader;
use super::shared::Shared;
use super::writer::{Session, Writer};
use crate::contract::Observer;
use crate::host::{Clock, Rng};
use crate::migration::{MIGRATIONS, Migration};

/// How many readers a store has unless told otherwise; point reads are short.
const READERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// How many batches wait: some groups' worth, so that a stalled disk shows quickly.
const QUEUED_BATCHES: usize = 8_192;
/// How much memory waiting batches may take.
const QUEUED_BYTES: usize = 32 << 20;
/// How many reads wait.
const QUEUED_READS: usize = 4_096;
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

/// What to do with migrations that were not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Apply them.
    Apply,
    /// Refuse to open the database.
    Refuse,
}

/// What the store needs from the process around it.
#[derive(Clone)]
pub struct Host {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names a new log.
    pub rng: Arc<dyn Rng>,
    /// Is told what changed.
    pub observer: Arc<dyn Observer>,
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
    if !path.exists() {
        return Ok(migrations.to_vec());
    }
    let database = Database::new(Some(path.to_owned()), BUSY_TIMEOUT, None);
    let connection = database
        .reader()
        .map_err(|error| OpenError::of(&error, path))?;
    migrate::pending(&connection, migrations, path)
}

impl SqliteStore {
    /// Opens the database, makes or migrates it, and starts its threads. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with the file, its lock, its schema or its settings, and what to do.
    pub fn open(options: &Options, host: Host) -> Result<Self, OpenError> {
        let path = options.path.as_deref().map(locate).transpose()?;
        let lock = path.as_deref().map(Lock::take).transpose()?;
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
        return Err(OpenError::Pending { count: steps.len() });
    }
    migrate::apply(connection, &steps, host.clock.now(), database.shown())?;
    Log::create(connection, &*host.rng).map_err(|error| OpenError::of(&error, database.shown()))
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
    let shared = Arc::new(Shared::new(session.log().head()));
    let writes = Arc::new(Queue::new(Limit {
        items: options.queued_batches,
        bytes: QUEUED_BYTES,
    }));
    let reads = database.path.is_some().then(|| {
        Arc::new(Queue::new(Limit {
            items: QUEUED_READS,
            bytes: usize::MAX,
        }))
    });
    let readers = match &reads {
        Some(queue) => reader::start(options.readers.get(), &database, queue).map_err(io)?,
        None => Vec::new(),
    };
    let checkpoints = match &database.path {
        Some(_) => Some(Checkpoints::start(&database).map_err(io)?),
        None => None,
    };
    let path = database.path.as_deref();
    let directory = path.and_then(Path::parent).map(Path::to_owned);
    let writer = Writer {
        database,
        session: Some(session),
        shared: Arc::clone(&shared),
        queue: Arc::clone(&writes),
        reads: reads.clone(),
        clock: host.clock,
        observer: host.observer,
        readers,
        checkpoints,
        lock,
    };
    let thread = Builder::new()
        .name("kavach-write".to_owned())
        .spawn(move || writer.run())
        .map_err(io)?;
    Ok(SqliteStore {
        writes,
        reads,
        shared,
        directory,
        thread: Mutex::new(Some(thread)),
    })
}
