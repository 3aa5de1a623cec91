//! Copying the write-ahead log into the database beside the writer, which would otherwise keep everybody waiting for
//! many times as long as an fsync takes.
//!
//! A thread with a connection of its own copies while the writer goes on. SQLite begins the log anew only when all of
//! it was copied, and a writer that goes on never lets that happen; so once the log is long, the writer copies the
//! little that is left itself, after it has answered. It copies everything only if the thread cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
    /// Whether a reader, such as a backup, kept the last copy from being whole.
    is_held: AtomicBool,
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
        let (length, copied) =
            connection.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE)?;
        self.is_held.store(copied < length, Ordering::Relaxed);
        let copied = u32::try_from(copied).unwrap_or(0);
        self.copied.store(copied, Ordering::Relaxed);
        Ok(())
    }
}

/// Who has to copy now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    Thread,
    Writer,
}

/// What decides that, in pages.
#[derive(Debug, Clone, Copy)]
struct State {
    length: u32,
    /// How much nobody copied.
    rest: u32,
    /// How much was written since the writer last copied.
    since_finished: u32,
    /// How much was written since the thread was last asked.
    since_asked: u32,
    /// Whether a reader kept the last copy from being whole.
    is_held: bool,
}

impl State {
    fn of(progress: &Progress, length: u32, finished_at: u32, asked_at: u32) -> Self {
        // A log that is shorter than it was has begun anew.
        let since = |then: u32| length.checked_sub(then).unwrap_or(length);
        Self {
            length,
            rest: since(progress.copied.load(Ordering::Relaxed)),
            since_finished: since(finished_at),
            since_asked: since(asked_at),
            is_held: progress.is_held.load(Ordering::Relaxed),
        }
    }

    fn due(self) -> Due {
        // Where a reader keeps the log from beginning anew, copying again after every group would not help.
        let again = self.since_finished >= AHEAD;
        let is_nearly_whole = self.length >= LONG && self.rest <= REST;
        // What gathered while a reader held the log is not the thread's fault: it copies that when the reader is
        // gone, and the writer, which would stall, leaves it to it.
        let is_left = self.rest >= FAR && !self.is_held;
        if again && (is_nearly_whole || is_left) {
            Due::Writer
        } else if self.rest >= AHEAD && self.since_asked >= AHEAD {
            Due::Thread
        } else {
            Due::Nothing
        }
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
        let state = State::of(&self.progress, length, self.finished_at, self.asked_at);
        match state.due() {
            Due::Nothing => {}
            Due::Writer => match self.progress.copy(writer) {
                Ok(()) => self.finished_at = length,
                // The thread is at it.
                Err(error) => {
                    tracing::debug!(%error, "the write-ahead log was not copied; tried again");
                }
            },
            Due::Thread => {
                self.asked_at = length;
                // Full means that the thread was asked already.
                let _ = self.asked.push((), 1);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has to copy: `(length, copied, finished_at, asked_at)`.
    fn due((length, copied, finished_at, asked_at): (u32, u32, u32, u32), is_held: bool) -> Due {
        let progress = Progress {
            length: length.into(),
            copied: copied.into(),
            is_held: is_held.into(),
        };
        State::of(&progress, length, finished_at, asked_at).due()
    }

    #[test]
    fn the_thread_copies_and_the_writer_only_what_lets_the_log_begin_anew_or_what_nobody_copies() {
        for (log, free, held) in [
            // Short.
            ((0, 0, 0, 0), Due::Nothing, Due::Nothing),
            ((AHEAD - 1, 0, 0, 0), Due::Nothing, Due::Nothing),
            // The thread is asked once for each 16 MiB.
            ((AHEAD, 0, 0, 0), Due::Thread, Due::Thread),
            ((AHEAD + 1, 0, 0, AHEAD), Due::Nothing, Due::Nothing),
            ((2 * AHEAD, 0, 0, AHEAD), Due::Thread, Due::Thread),
            ((2 * AHEAD, AHEAD + 1, 0, 0), Due::Nothing, Due::Nothing),
            // Long, and nearly whole: the writer copies the rest, once for each 16 MiB.
            ((LONG, LONG - REST, 0, LONG), Due::Writer, Due::Writer),
            ((LONG - 1, LONG - REST, 0, LONG), Due::Nothing, Due::Nothing),
            ((LONG, LONG - REST - 1, 0, LONG), Due::Nothing, Due::Nothing),
            (
                (LONG, LONG, LONG - AHEAD + 1, 0),
                Due::Nothing,
                Due::Nothing,
            ),
            ((LONG, LONG, LONG - AHEAD, 0), Due::Writer, Due::Writer),
            // Nobody copies: the writer has to, unless nobody could because of a reader.
            ((FAR - 1, 0, 0, FAR - 1), Due::Nothing, Due::Nothing),
            ((FAR, 0, 0, 0), Due::Writer, Due::Thread),
            ((FAR, 0, 0, FAR), Due::Writer, Due::Nothing),
            ((FAR, 0, FAR - AHEAD + 1, 0), Due::Thread, Due::Thread),
            ((4 * FAR, FAR, 0, 0), Due::Writer, Due::Thread),
            // It has begun anew: what was known of the one before does not count.
            ((100, LONG, LONG, LONG), Due::Nothing, Due::Nothing),
            ((AHEAD, LONG, LONG, LONG), Due::Thread, Due::Thread),
        ] {
            assert_eq!((due(log, false), due(log, true)), (free, held), "{log:?}");
        }
    }

    #[test]
    fn a_reader_that_holds_the_log_is_noticed_and_so_is_that_it_went() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kavach.db");
        let database = Database::new(Some(path), std::time::Duration::ZERO, None);
        let writer = database.writer().unwrap();
        writer.execute_batch("CREATE TABLE t (x)").unwrap();
        let reader = database.reader().unwrap();
        reader.execute_batch("BEGIN; SELECT x FROM t").unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        let is_held = || {
            database.log.copy(&writer).unwrap();
            database.log.is_held.load(Ordering::Relaxed)
        };
        assert!(is_held());
        reader.execute_batch("COMMIT").unwrap();
        assert!(!is_held());
    }
}
