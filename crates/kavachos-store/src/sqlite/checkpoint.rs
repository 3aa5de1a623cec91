//! Copying the write-ahead log into the database beside the writer, which would otherwise keep everybody waiting for
//! many times as long as an fsync takes.
//!
//! A thread with a connection of its own copies while the writer goes on. SQLite begins the log anew only when all of
//! it was copied, and a writer that goes on never lets that happen; so once the log is long, the writer copies the
//! little that is left itself, after it has answered. It copies everything only if the thread cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;

use super::connection::Database;
use crate::writer::queue::{Limit, Queue};

/// After how many new pages of the log the thread copies them: 16 MiB.
const AHEAD: u32 = 4_000;
/// A log of so many pages should begin anew: 64 MiB.
const LONG: u32 = 16_000;
/// How much the writer copies itself to make that possible: 8 MiB.
const REST: u32 = 2_000;
/// So many pages that nobody copied are copied by the writer in any case: 256 MiB.
const FAR: u32 = 64_000;

const ONE: Limit = Limit { items: 1, bytes: 1 };

/// How long the log is and how much of it was copied, in pages. Both may be a little old: they say when to copy, and
/// SQLite alone says what may be written over.
#[derive(Debug, Default)]
pub(super) struct Progress {
    length: AtomicU32,
    copied: AtomicU32,
}

impl Progress {
    /// Lets this connection tell the length after each of its commits.
    pub(super) fn follow(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let progress = Arc::clone(self);
        connection.wal_hook(Some(move |_: &mut Wal, length| {
            let length = u32::try_from(length).unwrap_or(0);
            progress.length.store(length, Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Copies what no reader still needs.
    fn copy(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (_, copied) = connection.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE)?;
        let copied = u32::try_from(copied).unwrap_or(0);
        self.copied.store(copied, Ordering::Relaxed);
        Ok(())
    }
}

/// The thread that copies.
pub(super) struct Checkpoints {
    progress: Arc<Progress>,
    asked: Arc<Queue<()>>,
    thread: Option<JoinHandle<()>>,
    /// How long the log was when the thread was last asked.
    asked_at: u32,
    /// How long the log was when the writer last copied the rest.
    finished_at: u32,
}

impl Checkpoints {
    /// Starts the thread.
    pub(super) fn start(database: &Database) -> std::io::Result<Self> {
        let (database, asked) = (database.clone(), Arc::new(Queue::new(ONE)));
        let (progress, queue) = (Arc::clone(&database.log), Arc::clone(&asked));
        let thread = Builder::new()
            .name("kavach-checkpoint".to_owned())
            .spawn(move || serve(&database, &queue))?;
        Ok(Self {
            progress,
            asked,
            thread: Some(thread),
            asked_at: 0,
            finished_at: 0,
        })
    }

    /// Does what is due; the writer calls this after each group, when its callers have their answers.
    pub(super) fn after_group(&mut self, writer: &Connection) {
        let length = self.progress.length.load(Ordering::Relaxed);
        // A log that is shorter than it was has begun anew.
        let since = |then: u32| length.checked_sub(then).unwrap_or(length);
        let rest = since(self.progress.copied.load(Ordering::Relaxed));
        // Where a reader keeps the log from beginning anew, copying again after every group would not help.
        let again = since(self.finished_at) >= AHEAD;
        if again && (length >= LONG && rest <= REST || rest >= FAR) {
            match self.progress.copy(writer) {
                Ok(()) => self.finished_at = length,
                // The thread is at it.
                Err(error) => {
                    tracing::debug!(%error, "the write-ahead log was not copied; tried again");
                }
            }
        } else if rest >= AHEAD && since(self.asked_at) >= AHEAD {
            self.asked_at = length;
            // Full means that the thread was asked already.
            let _ = self.asked.push((), 1);
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.asked.close();
        if let Some(thread) = self.thread.take() {
            // One that panicked left only the copying undone.
            let _ = thread.join();
        }
    }
}

fn serve(database: &Database, asked: &Queue<()>) {
    let mut connection = None;
    let mut asks = Vec::with_capacity(1);
    while asked.drain(&mut asks, ONE) {
        asks.clear();
        if let Err(error) = copy(&mut connection, database) {
            tracing::warn!(%error, "the write-ahead log could not be copied into the database; tried again later");
            connection = None;
        }
    }
}

fn copy(slot: &mut Option<Connection>, database: &Database) -> rusqlite::Result<()> {
    let connection = match slot {
        Some(connection) => connection,
        empty => empty.insert(database.checkpointer()?),
    };
    database.log.copy(connection)
}
