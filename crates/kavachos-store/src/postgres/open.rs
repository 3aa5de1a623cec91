//! Opening a database: connection, lock, schema, log, threads.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Builder};
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use super::PostgresStore;
use super::connect::Target;
use super::error::OpenError;
use super::reader;
use super::session::{Session, planned};
use super::writer::{Known, Line, Writer};
use crate::answer::ReadError;
use crate::host::Host;
use crate::migration::{History, MIGRATIONS, Migration, Pending};
use crate::row::{Query, Row};
use crate::writer::front::{Front, QUEUED_BATCHES, queue_of_batches, queue_of_reads};
use crate::writer::job::Desk;
use crate::writer::schema::Schema;
use crate::writer::shared::Shared;

/// How many readers a store has unless told otherwise; point reads are short.
const READERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// How long a group is in doubt unless told otherwise: long enough for a server to recover from a crash.
const DECIDE_WITHIN: Duration = Duration::from_secs(15);

/// Which database, and how it is used.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// `postgres://user:password@host:5432/database`. A server on another machine is reached through TLS, and its
    /// certificate is checked, unless the URL says `sslmode=disable`; `sslrootcert` names a file of authorities.
    /// Another schema than `public` is chosen by `options=-c%20search_path%3Dname`.
    pub url: String,
    /// The schema: [`MIGRATIONS`], followed by those of plugins.
    pub migrations: Vec<Migration>,
    /// What to do when the schema is older than that.
    pub pending: Pending,
    /// How many reads run at the same time, each on a connection of its own.
    pub readers: NonZeroUsize,
    /// How many batches wait before the next is answered `Busy`.
    pub queued_batches: usize,
    /// How long to find out what became of a group whose answer was lost, before its batches are answered `Unknown`.
    /// Meanwhile others wait.
    pub decide_within: Duration,
}

impl Options {
    /// The database at this URL.
    pub fn url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            migrations: MIGRATIONS.to_vec(),
            pending: Pending::Apply,
            readers: READERS,
            queued_batches: QUEUED_BATCHES,
            decide_within: DECIDE_WITHIN,
        }
    }
}

/// Which migrations opening this database would apply. Does not change it and needs no lock. Blocks.
///
/// # Errors
/// As [`PostgresStore::open`], for what is wrong with the server or its schema.
pub fn plan(url: &str, migrations: &[Migration]) -> Result<Vec<Migration>, OpenError> {
    Ok(schema(url)?.pending(migrations)?)
}

/// How far each of these migrations, and each that the database has, has come. Makes and changes nothing, and needs no
/// lock. Blocks.
///
/// # Errors
/// As [`PostgresStore::open`], for what is wrong with the server. What is wrong with the schema is told as obstacle.
pub fn history(url: &str, migrations: &[Migration]) -> Result<History, OpenError> {
    Ok(schema(url)?.history(migrations))
}

fn schema(url: &str) -> Result<Schema, OpenError> {
    let target = Target::parse(url)?;
    // On a thread of its own, since the caller's may be one of a runtime, which must not be blocked by another.
    thread::scope(|scope| {
        let asked = scope.spawn(|| runtime()?.block_on(planned(&target)));
        asked.join().unwrap_or_else(|_| Err(interrupted()))
    })
}

/// Reads a database as it is now, beside the process that holds it. Changes nothing and needs no lock. Blocks.
///
/// # Errors
/// As [`crate::Store::read`].
pub fn read(url: &str, queries: &[Query]) -> Result<Vec<Vec<Row>>, ReadError> {
    let unavailable = |error: OpenError| ReadError::Unavailable(error.to_string().into());
    let target = Target::parse(url).map_err(unavailable)?;
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let runtime = runtime().map_err(unavailable)?;
            runtime.block_on(reader::once(&target, queries))
        });
        asked
            .join()
            .unwrap_or_else(|_| Err(unavailable(interrupted())))
    })
}

impl PostgresStore {
    /// Opens the database, makes or migrates it, and starts its threads. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with the server, its settings, the log's lock or the schema, and what to do.
    pub fn open(options: &Options, host: Host) -> Result<Self, OpenError> {
        let target = Target::parse(&options.url)?;
        let (opened, wait) = channel();
        let of_store = target.clone();
        let options = options.clone();
        let thread = Builder::new()
            .name("kavach-write".to_owned())
            .spawn(move || write(target, &options, host, &opened))?;
        let front = wait.recv().unwrap_or_else(|_| Err(interrupted()))?;
        Ok(Self {
            front,
            target: of_store,
            thread: Mutex::new(Some(thread)),
        })
    }
}

/// The writer's thread: opens, says how that went, and serves.
fn write(target: Target, options: &Options, host: Host, opened: &Sender<Result<Front, OpenError>>) {
    match prepare(target, options, host) {
        Ok((front, writer)) => {
            // Whoever opens waits for this; if not, the queues close and the writer ends by itself.
            if opened.send(Ok(front)).is_ok() {
                writer.run();
            }
        }
        Err(error) => {
            let _ = opened.send(Err(error));
        }
    }
}

fn prepare(target: Target, options: &Options, host: Host) -> Result<(Front, Writer), OpenError> {
    let runtime = runtime()?;
    let session = runtime.block_on(Session::first(&target, options, &host))?;
    let (writes, reads) = (queue_of_batches(options.queued_batches), queue_of_reads());
    let shared = Arc::new(Shared::new(session.log.head()));
    let writer = Writer {
        readers: reader::start(options.readers.get(), &target, &reads)?,
        runtime,
        line: Line {
            target,
            known: Known::of(&session),
            session: Some(session),
            desk: Desk {
                shared: Arc::clone(&shared),
                observer: host.observer,
            },
            queue: Arc::clone(&writes),
            reads: Arc::clone(&reads),
            clock: host.clock,
            decide_within: options.decide_within,
        },
    };
    let front = Front {
        writes,
        reads: Some(reads),
        shared,
    };
    Ok((front, writer))
}

fn runtime() -> Result<Runtime, OpenError> {
    Ok(runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn interrupted() -> OpenError {
    OpenError::Io {
        reason: "opening the database was interrupted".to_owned(),
    }
}
