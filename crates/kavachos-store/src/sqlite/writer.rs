//! The writer: one thread that owns the log. It drains the queue, applies a group, commits, and answers.
//!
//! What it promises when something fails: an answer never says more than is on disk. A group that failed before
//! COMMIT is `Unavailable`; when COMMIT itself gave an error, the database is opened again and asked.

use std::sync::Arc;
use std::thread::JoinHandle;

use futures_channel::oneshot;
use rusqlite::Connection;

use super::checkpoint::Checkpoints;
use super::connection::Database;
use super::error::{Fault, OpenError};
use super::group::{self, Failed};
use super::lock::Lock;
use super::{filling, log, reader};
use crate::answer::{CommitError, Head, Health, ReadError};
use crate::host::Clock;
use crate::passage::Filled;
use crate::writer::errand::{Order, Orders};
use crate::writer::job::{Desk, GROUP, Job, ReadJob, Verdict, Work, answer_all, turn_away};
use crate::writer::log::Log;
use crate::writer::queue::Queue;

/// Who waits for the end of a filling.
type Finish = oneshot::Sender<Result<Head, CommitError>>;

/// A connection and what is known of its log.
pub(super) struct Session {
    connection: Connection,
    log: Log,
}

/// Everything that the writer's thread owns.
pub(super) struct Writer {
    pub(super) database: Database,
    /// `None` after a failure, until the next group opens the database again.
    pub(super) session: Option<Session>,
    pub(super) desk: Desk,
    pub(super) queue: Arc<Queue<Work>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reads: Option<Arc<Queue<ReadJob>>>,
    pub(super) readers: Vec<JoinHandle<()>>,
    /// `None` for a database in memory.
    pub(super) checkpoints: Option<Checkpoints>,
    /// Released last.
    pub(super) lock: Option<Lock>,
}

impl Session {
    /// Reads the log over this connection.
    pub(super) fn new(connection: Connection, database: &Database) -> Result<Self, OpenError> {
        let log = log::load(&connection, database.shown())?;
        Ok(Self { connection, log })
    }

    /// The log.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    fn reopen(database: &Database) -> Result<Self, OpenError> {
        Self::new(database.reopen()?, database)
    }

    /// Ends an open transaction without a trace and reads the log again.
    fn rolled_back(self, database: &Database) -> Result<Self, OpenError> {
        let connection = self.connection;
        if !connection.is_autocommit() {
            connection
                .execute_batch("ROLLBACK")
                .map_err(|error| OpenError::of(&error, database.shown()))?;
        }
        Self::new(connection, database)
    }
}

impl Drop for Writer {
    /// However the thread ends, by a panic too: nobody waits for ever, and the lock goes last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the writer failed: end the process and start it again";
            self.desk.shared.set_health(Health::Stopped(reason.into()));
        }
        self.queue.abandon();
        if let Some(reads) = &self.reads {
            reads.close();
        }
        for reader in self.readers.drain(..) {
            // A reader that panicked has answered nothing; its callers were told by the dropped sender.
            let _ = reader.join();
        }
        drop(self.checkpoints.take());
        if let Some(session) = self.session.take() {
            let emptied =
                session
                    .connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                        row.get::<_, i64>(0)
                    });
            if !matches!(emptied, Ok(0)) {
                tracing::warn!("the write-ahead log is not empty; the next start reads it");
            }
        }
        drop(self.lock.take());
        self.desk.shared.end();
    }
}

impl Writer {
    /// Serves the queue until it is closed and empty, or the writer has to stop.
    pub(super) fn run(mut self) {
        let mut work = Vec::new();
        while self.queue.drain(&mut work, GROUP) {
            let mut jobs = Vec::with_capacity(work.len());
            let mut reads = Vec::new();
            let mut errands = Vec::new();
            for item in work.drain(..) {
                match item {
                    Work::Commit(job) => jobs.push(job),
                    Work::Read(read) => reads.push(read),
                    Work::Errand(orders) => errands.push(orders),
                }
            }
            if !jobs.is_empty() {
                self.commit(jobs);
                self.checkpoint();
            }
            reads.into_iter().for_each(|read| self.read(read));
            for orders in errands {
                self.run_errand(&orders);
                self.checkpoint();
            }
            if let Health::Stopped(reason) = self.desk.shared.health() {
                return self.refuse_rest(&CommitError::Unavailable(reason));
            }
        }
    }

    fn checkpoint(&mut self) {
        if let (Some(checkpoints), Some(session)) = (&mut self.checkpoints, &self.session) {
            checkpoints.after_group(&session.connection);
        }
    }

    /// Answers what still waits: none of it was begun.
    fn refuse_rest(&self, answer: &CommitError) {
        self.queue.close();
        let mut work = Vec::new();
        while self.queue.drain(&mut work, GROUP) {
            for item in work.drain(..) {
                if let Work::Commit(job) = item {
                    let _ = job.answer.send(Err(answer.clone()));
                }
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        match self.attempt(&jobs) {
            Ok(verdicts) => self.answer(jobs, verdicts),
            Err(Failed::Before(fault)) => self.lost(jobs, &fault),
            Err(Failed::AtCommit {
                fault,
                verdicts,
                commits,
            }) => self.doubtful(jobs, fault, verdicts, commits),
        }
    }

    /// Gives the connection to one caller until its errand is over. What it did not finish has never been.
    fn run_errand(&mut self, orders: &Orders) {
        let opened = self.open_again();
        let begun = opened.and_then(|()| match &self.session {
            Some(session) => filling::begin(&session.connection),
            None => Err(Fault::Disk("no connection".to_owned())),
        });
        if let Err(fault) = begun {
            // Its caller is told by the dropped orders.
            tracing::warn!(reason = %fault.reason(), "an errand cannot begin");
            return;
        }
        if let Some((filled, answer)) = self.serve_errand(orders) {
            let committed = self.finish_errand(&filled);
            let _ = answer.send(committed);
        } else {
            self.reset();
        }
    }

    /// Does what is ordered, up to the end.
    fn serve_errand(&mut self, orders: &Orders) -> Option<(Box<Filled>, Finish)> {
        let connection = &self.session.as_ref()?.connection;
        while let Some(order) = orders.next(|| turn_away(&self.queue)) {
            match order {
                Order::Query(query, answer) => {
                    let _ = answer.send(filling::query(connection, &query));
                }
                Order::Write(writes, answer) => {
                    let written = filling::write(connection, &writes);
                    let failed = written.is_err();
                    let _ = answer.send(written);
                    if failed {
                        return None;
                    }
                }
                Order::Finish(filled, answer) => return Some((filled, answer)),
            }
        }
        None
    }

    /// Commits what was filled, and reads the log that it made.
    fn finish_errand(&mut self, filled: &Filled) -> Result<Head, CommitError> {
        let Some(session) = &self.session else {
            return Err(CommitError::Unknown);
        };
        let commits = session.log.commits;
        let replaced = filling::replace_log(&session.connection, filled, commits)
            .and_then(|replaced| {
                if replaced {
                    session.connection.execute_batch("COMMIT")?;
                }
                Ok(replaced)
            })
            .map_err(|error| Fault::of(&error));
        let done = match replaced {
            Ok(true) => {
                self.reset();
                true
            }
            Ok(false) | Err(Fault::Data(_) | Fault::Busy | Fault::Full) => {
                self.reset();
                false
            }
            Err(_) => match self.ask_again(commits.saturating_add(1)) {
                Some(done) => done,
                None => return Err(CommitError::Unknown),
            },
        };
        if !done {
            let reason = replaced.err().unwrap_or(Fault::OtherWriter).reason();
            return Err(CommitError::Unavailable(reason.into()));
        }
        let Some(session) = &self.session else {
            return Err(CommitError::Unknown);
        };
        let head = session.log.head();
        self.desk.filled(head, &filled.effects);
        Ok(head)
    }

    /// Opens the database again if it was closed after a failure.
    fn open_again(&mut self) -> Result<(), Fault> {
        if self.session.is_none() {
            let opened = Session::reopen(&self.database);
            let opened = opened.map_err(|error| Fault::Disk(error.to_string()))?;
            if !opened.log.continues(&self.desk.shared.head()) {
                return Err(Fault::OtherWriter);
            }
            self.session = Some(opened);
        }
        Ok(())
    }

    fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Verdict>, Failed> {
        self.open_again().map_err(Failed::Before)?;
        let Some(session) = &mut self.session else {
            return Err(Failed::Before(Fault::Disk("no connection".to_owned())));
        };
        let batches = jobs.iter().map(|job| &job.batch);
        group::run(&session.connection, &mut session.log, batches, &*self.clock)
    }

    /// The group is on disk: publish the head, tell the observer, then answer.
    fn answer(&mut self, jobs: Vec<Job>, verdicts: Vec<Verdict>) {
        let Some(session) = &self.session else {
            return answer_all(jobs, &CommitError::Unknown);
        };
        self.desk.committed(session.log.head(), jobs, verdicts);
    }

    /// Nothing of the group is on disk.
    fn lost(&mut self, jobs: Vec<Job>, fault: &Fault) {
        let reason = fault.reason();
        tracing::error!(%reason, batches = jobs.len(), "a group of batches could not be applied");
        self.reset();
        match fault {
            Fault::OtherWriter => self.desk.stopped(jobs, reason),
            Fault::Busy => answer_all(jobs, &CommitError::Busy),
            _ => self.desk.failing(jobs, reason),
        }
    }

    /// COMMIT gave an error: find out what became of the group.
    fn doubtful(&mut self, jobs: Vec<Job>, fault: Fault, verdicts: Vec<Verdict>, commits: u64) {
        match fault {
            // SQLite refuses to commit, because of a deferred constraint; it wrote nothing. One batch is to blame.
            Fault::Data(reason) => self.one_by_one(jobs, &reason),
            // Both come before the frame that commits is complete.
            Fault::Busy | Fault::Full => self.lost(jobs, &fault),
            Fault::Disk(_) | Fault::OtherWriter => match self.ask_again(commits) {
                Some(true) => self.answer(jobs, verdicts),
                Some(false) => self.lost(jobs, &fault),
                None => self.unknown(jobs, &fault),
            },
        }
    }

    /// Runs the batches of a refused group each in a group of its own, so that the one to blame fails alone.
    fn one_by_one(&mut self, jobs: Vec<Job>, reason: &str) {
        self.reset();
        if jobs.len() > 1 {
            return jobs.into_iter().for_each(|job| self.commit(vec![job]));
        }
        let rejected = CommitError::Rejected {
            write: None,
            reason: reason.to_owned(),
        };
        answer_all(jobs, &rejected);
    }

    /// Whether the group with this number of commits is on disk; `None` while that cannot be decided.
    fn ask_again(&mut self, commits: u64) -> Option<bool> {
        if self.database.path.is_none() {
            self.reset();
            return Some(false);
        }
        self.session = None;
        let mut session = Session::reopen(&self.database).ok()?;
        let found = session.log.commits;
        let done = if found == commits {
            true
        } else if found.saturating_add(1) == commits {
            // The frames of the failed commit may still lie in the log file, and a crash could bring them back. Only
            // a commit that lies over them settles that they are gone.
            log::save(&mut session.log, &session.connection)
                .ok()
                .filter(|saved| *saved)?;
            false
        } else {
            return None;
        };
        self.session = Some(session);
        Some(done)
    }

    fn unknown(&mut self, jobs: Vec<Job>, fault: &Fault) {
        self.session = None;
        self.desk.unknown(jobs, fault.reason());
    }

    /// Back to what is on disk. What cannot be rolled back is closed and opened again by the next group.
    fn reset(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        match session.rolled_back(&self.database) {
            Ok(session) => self.session = Some(session),
            Err(error) if self.database.path.is_none() => {
                self.desk
                    .shared
                    .set_health(Health::Stopped(error.to_string().into()));
            }
            Err(error) => tracing::error!(%error, "the log cannot be read again yet"),
        }
    }

    fn read(&self, job: ReadJob) {
        let rows = match &self.session {
            Some(session) => reader::run(&session.connection, &job.queries),
            None => Err(ReadError::Unavailable("the database is closed".into())),
        };
        let _ = job.answer.send(rows);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use kavachos_core::time::Timestamp;

    use super::*;
    use crate::batch::Batch;
    use crate::host::Rng;
    use crate::migration::MIGRATIONS;
    use crate::sqlite::migrate;
    use crate::writer::job::{Answer, Held};
    use crate::writer::shared::Shared;

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

    /// A writer that has committed two groups, without its thread.
    fn writer(directory: &tempfile::TempDir) -> Writer {
        let path = directory.path().join("kavach.db");
        let database = Database::new(Some(path), Duration::ZERO, None);
        let mut connection = database.writer().unwrap();
        migrate::apply(
            &mut connection,
            MIGRATIONS,
            Timestamp::MIN,
            database.shown(),
        )
        .unwrap();
        log::create(&connection, &Still).unwrap();
        let session = Session::new(connection, &database).unwrap();
        let mut writer = Writer {
            desk: Desk {
                shared: Arc::new(Shared::new(session.log.head())),
                observer: Arc::new(()),
            },
            database,
            session: Some(session),
            queue: Arc::new(Queue::new(GROUP)),
            clock: Arc::new(Still),
            reads: None,
            readers: Vec::new(),
            checkpoints: None,
            lock: None,
        };
        (0..2).for_each(|_| drop(writer.attempt(&[job().0]).unwrap()));
        writer
    }

    fn job() -> (Job, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let batch = Batch::default();
        (Job { batch, answer }, answered)
    }

    /// What a caller is told when COMMIT of the group with this number of commits failed on the disk.
    fn told(writer: &mut Writer, commits: u64) -> Answer {
        let (job, mut answered) = job();
        let held = Held {
            first_seq: None,
            time: Timestamp::MIN,
        };
        let fault = Fault::Disk("disk I/O error".to_owned());
        writer.doubtful(vec![job], fault, vec![Ok(held)], commits);
        answered.try_recv().unwrap().unwrap()
    }

    fn commits(writer: &Writer) -> u64 {
        writer.session.as_ref().unwrap().log.commits
    }

    #[test]
    fn a_doubtful_group_that_is_on_disk_gets_its_receipts() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        assert!(told(&mut writer, 2).is_ok());
        assert_eq!(commits(&writer), 2);
    }

    #[test]
    fn a_doubtful_group_that_is_not_on_disk_is_settled_and_unavailable() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        let answer = told(&mut writer, 3);
        assert!(
            matches!(answer, Err(CommitError::Unavailable(_))),
            "{answer:?}"
        );
        // Another commit lies over what the failed one may have left.
        assert_eq!(commits(&writer), 3);
        assert!(writer.attempt(&[job().0]).is_ok());
    }

    #[test]
    fn a_doubtful_group_is_unknown_while_nothing_can_be_found_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        assert_eq!(told(&mut writer, 9), Err(CommitError::Unknown));
        let path: PathBuf = writer.database.path.clone().unwrap();
        let away = directory.path().join("away.db");
        writer.session = None;
        std::fs::rename(&path, &away).unwrap();
        assert_eq!(told(&mut writer, 2), Err(CommitError::Unknown));
        assert!(matches!(writer.desk.shared.health(), Health::Failing(_)));
        assert!(!path.exists(), "a lost database is not made anew");
        std::fs::rename(&away, &path).unwrap();
        assert!(told(&mut writer, 2).is_ok());
    }

    #[test]
    fn a_database_that_was_replaced_by_an_older_one_stops_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        let mut later = writer.desk.shared.head();
        later.size = 1;
        writer.desk.shared.set_head(later);
        writer.session = None;
        let (job, mut answered) = job();
        writer.commit(vec![job]);
        let answer = answered.try_recv().unwrap().unwrap();
        assert!(
            matches!(answer, Err(CommitError::Unavailable(_))),
            "{answer:?}"
        );
        assert!(matches!(writer.desk.shared.health(), Health::Stopped(_)));
    }
}
