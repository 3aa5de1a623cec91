//! The writer: one thread that owns the log. It drains the queue, applies a group, commits, and answers.
//!
//! What it promises when something fails: an answer never says more than is in the database. A group that failed before
//! COMMIT is applied once more if the connection was lost, and is `Unavailable` after that; when the answer to COMMIT
//! itself is lost, it connects again, takes the log's lock, so that the old session is over, and looks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kavachos_core::ledger::LogId;
use tokio::runtime::Runtime;

use super::connect::Target;
use super::error::{Fault, OpenError};
use super::group::{self, Failed, Fate};
use super::passage::{self, End};
use super::session::Session;
use crate::answer::{CommitError, Head, Health};
use crate::batch::Batch;
use crate::host::Clock;
use crate::passage::Filled;
use crate::writer::errand::Orders;
use crate::writer::job::{Desk, GROUP, Job, ReadJob, Work, answer_all, turn_away};
use crate::writer::queue::Queue;

/// How many groups a batch is put into before somebody else's lock makes it `Busy`.
const TRIES: u8 = 5;
/// How often a group is applied whose connection was lost before it was committed.
const ATTEMPTS: u8 = 2;
/// How long between two questions what became of a group.
const PAUSE: Duration = Duration::from_millis(100);

/// A batch, who waits for it, and how many groups it was in.
struct Waiting {
    job: Job,
    groups: u8,
}

/// Where the log was when it was last known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) commits: u64,
    /// A group of which it is not known whether it was committed.
    pub(super) doubt: Option<Head>,
    /// The session that held the lock.
    pub(super) pid: i64,
}

/// Everything that the writer's thread owns.
pub(super) struct Writer {
    pub(super) runtime: Runtime,
    pub(super) line: Line,
    pub(super) readers: Vec<JoinHandle<()>>,
}

/// What the writer works with.
pub(super) struct Line {
    pub(super) target: Target,
    /// `None` after a failure, until the next group connects again.
    pub(super) session: Option<Session>,
    pub(super) known: Known,
    pub(super) desk: Desk,
    pub(super) queue: Arc<Queue<Work>>,
    pub(super) reads: Arc<Queue<ReadJob>>,
    pub(super) clock: Arc<dyn Clock>,
    /// How long to ask what became of a group before that is `Unknown`.
    pub(super) decide_within: Duration,
}

/// What became of a group whose answer was lost.
enum Found {
    Committed,
    NotCommitted,
    Undecided,
}

impl Drop for Writer {
    /// However the thread ends, by a panic too: nobody waits for ever, and the lock goes last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the writer failed: end the process and start it again";
            self.line
                .desk
                .shared
                .set_health(Health::Stopped(reason.into()));
        }
        self.line.queue.abandon();
        self.line.reads.close();
        for reader in self.readers.drain(..) {
            // A reader that panicked has answered nothing; its callers were told by the dropped sender.
            let _ = reader.join();
        }
        if let Some(session) = self.line.session.take()
            && let Err(error) = self.runtime.block_on(session.release())
        {
            tracing::warn!(%error, "the lock of the log is not released; the server does it soon");
        }
        self.line.desk.shared.end();
    }
}

impl Writer {
    /// Serves the queue until it is closed and empty, or the writer has to stop.
    pub(super) fn run(mut self) {
        let mut later: Vec<Waiting> = Vec::new();
        let mut work = Vec::new();
        loop {
            if later.is_empty() {
                if !self.line.queue.drain(&mut work, GROUP) {
                    return;
                }
            } else {
                self.line.queue.drain_now(&mut work, GROUP);
            }
            let mut waiting = std::mem::take(&mut later);
            let (commits, errands) = sorted(work.drain(..));
            waiting.extend(commits);
            if !waiting.is_empty() {
                later = self.runtime.block_on(self.line.commit(waiting));
            }
            for orders in errands {
                self.runtime.block_on(self.line.run_errand(&orders));
            }
            if let Health::Stopped(reason) = self.line.desk.shared.health() {
                let answer = CommitError::Unavailable(reason);
                answer_all(jobs(later), &answer);
                return self.refuse_rest(&answer);
            }
        }
    }

    /// Answers what still waits: none of it was begun.
    fn refuse_rest(&self, answer: &CommitError) {
        self.line.queue.close();
        let mut work = Vec::new();
        while self.line.queue.drain(&mut work, GROUP) {
            let (waiting, _) = sorted(work.drain(..));
            answer_all(jobs(waiting), answer);
        }
    }
}

/// Batches, and errands. Reads go to readers of their own here.
fn sorted(work: impl Iterator<Item = Work>) -> (Vec<Waiting>, Vec<Orders>) {
    let (mut commits, mut errands) = (Vec::new(), Vec::new());
    for item in work {
        match item {
            Work::Commit(job) => commits.push(Waiting { job, groups: 0 }),
            Work::Read(_) => {}
            Work::Errand(orders) => errands.push(orders),
        }
    }
    (commits, errands)
}

fn jobs(waiting: Vec<Waiting>) -> Vec<Job> {
    waiting.into_iter().map(|waiting| waiting.job).collect()
}

impl Line {
    /// Commits a group, in parts if a record of it is refused, and returns what belongs into a later one.
    async fn commit(&mut self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let mut later = Vec::new();
        let mut groups = VecDeque::from([waiting]);
        while let Some(mut waiting) = groups.pop_front() {
            match self.attempt(&waiting).await {
                Ok(fates) => later.extend(self.answer(waiting, fates)),
                Err(Failed::Before(Fault::Data(_))) if waiting.len() > 1 => {
                    self.reset().await;
                    let rest = waiting.split_off(waiting.len() / 2);
                    groups.push_front(rest);
                    groups.push_front(waiting);
                }
                Err(Failed::Before(fault)) => later.extend(self.lost(waiting, fault).await),
                Err(Failed::AtCommit(group)) => self.desk.unknown(jobs(waiting), group.reason),
            }
        }
        later
    }

    /// Applies a group. One whose connection is lost is applied again if it is certain that it was not committed.
    async fn attempt(&mut self, waiting: &[Waiting]) -> Result<Vec<Fate>, Failed> {
        let batches: Vec<&Batch> = waiting.iter().map(|waiting| &waiting.job.batch).collect();
        for attempt in 1..=ATTEMPTS {
            let last = attempt == ATTEMPTS;
            match self.run(&batches).await {
                Err(Failed::Before(Fault::Lost(reason))) if !last => {
                    tracing::warn!(%reason, "the connection to the database was lost; connecting again");
                    self.session = None;
                }
                Err(Failed::AtCommit(group)) => {
                    self.known.doubt = Some(group.head);
                    match self.ask().await {
                        Found::Committed => return Ok(group.fates),
                        Found::NotCommitted if last => {
                            return Err(Failed::Before(Fault::Lost(group.reason)));
                        }
                        Found::NotCommitted => {}
                        Found::Undecided => return Err(Failed::AtCommit(group)),
                    }
                }
                done => return done,
            }
        }
        Err(Failed::Before(Fault::Server("no connection".to_owned())))
    }

    async fn run(&mut self, batches: &[&Batch]) -> Result<Vec<Fate>, Failed> {
        if self.session.is_none() {
            self.connect().await.map_err(Failed::Before)?;
        }
        let Some(session) = &mut self.session else {
            return Err(Failed::Before(Fault::Server("no connection".to_owned())));
        };
        let fates = group::run(session, batches, &*self.clock).await?;
        self.known.commits = session.log.commits;
        Ok(fates)
    }

    /// Gives the connection to one caller until its errand is over. What it did not finish has never been.
    async fn run_errand(&mut self, orders: &Orders) {
        if self.session.is_none()
            && let Err(fault) = self.connect().await
        {
            // Its caller is told by the dropped orders.
            tracing::warn!(reason = %fault.reason(), "an errand cannot begin");
            return;
        }
        let Some(session) = &mut self.session else {
            return;
        };
        let old = session.log.id();
        match passage::filled(session, orders, || turn_away(&self.queue)).await {
            End::Abandoned => self.reset().await,
            End::Ready(filled, answer) => {
                let committed = self.finish_errand(*filled, old).await;
                let _ = answer.send(committed);
            }
        }
    }

    /// Commits what was filled, and reads the log that it made.
    async fn finish_errand(&mut self, filled: Filled, old: LogId) -> Result<Head, CommitError> {
        let head = Head {
            log: filled.log,
            epoch: filled.epoch,
            size: filled.frontier.size(),
            root: filled.frontier.root(),
            revocation: filled.revocation,
        };
        let Some(session) = &self.session else {
            return Err(CommitError::Unknown);
        };
        match passage::commit(session).await {
            Ok(()) => {
                self.known.commits = self.known.commits.saturating_add(1);
                self.reset().await;
                if let Some(session) = &self.session {
                    session.let_go(old).await;
                }
            }
            Err(reason) => {
                self.known.doubt = Some(head);
                match self.ask().await {
                    Found::Committed => {}
                    Found::NotCommitted => return Err(CommitError::Unavailable(reason.into())),
                    Found::Undecided => return Err(CommitError::Unknown),
                }
            }
        }
        self.desk.filled(head, &filled.effects);
        Ok(head)
    }

    /// Connects again. Nobody else may have written meanwhile: what was told of it would be missing in memory.
    async fn connect(&mut self) -> Result<(), Fault> {
        let opened = Session::again(&self.target, Some(self.known.pid)).await;
        let session = opened.map_err(|error| match error {
            OpenError::Damaged(_) => Fault::OtherWriter,
            error => Fault::Server(error.to_string()),
        })?;
        self.known.pid = session.pid;
        let doubt = self.known.doubt;
        let moved = session.log.commits.checked_sub(self.known.commits);
        let expected = match moved {
            Some(0) => session.log.continues(&self.desk.shared.head()),
            Some(1) => doubt == Some(session.log.head()),
            _ => false,
        };
        if !expected {
            return Err(Fault::OtherWriter);
        }
        self.known.commits = session.log.commits;
        self.known.doubt = None;
        self.desk.shared.set_head(session.log.head());
        self.session = Some(session);
        Ok(())
    }

    /// Whether the group in doubt was committed.
    async fn ask(&mut self) -> Found {
        self.session = None;
        let before = self.known.commits;
        let asked = tokio::time::timeout(self.decide_within, self.ask_until_answered()).await;
        match asked {
            Ok(true) if self.known.commits == before => Found::NotCommitted,
            Ok(true) => Found::Committed,
            Ok(false) | Err(_) => Found::Undecided,
        }
    }

    /// `false`: somebody else wrote, so it cannot be found out at all.
    async fn ask_until_answered(&mut self) -> bool {
        loop {
            match self.connect().await {
                Ok(()) => return true,
                Err(Fault::OtherWriter) => {
                    let reason = Fault::OtherWriter.reason();
                    self.desk.shared.set_health(Health::Stopped(reason.into()));
                    return false;
                }
                Err(fault) => tracing::warn!(
                    reason = %fault.reason(),
                    "a group was sent and its answer was lost; asking again"
                ),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The group is in the database: answers what is settled, and returns the rest.
    fn answer(&self, waiting: Vec<Waiting>, fates: Vec<Fate>) -> Vec<Waiting> {
        let Some(session) = &self.session else {
            answer_all(jobs(waiting), &CommitError::Unknown);
            return Vec::new();
        };
        let mut settled = (Vec::new(), Vec::new());
        let mut later = Vec::new();
        for (mut waiting, fate) in waiting.into_iter().zip(fates) {
            waiting.groups = waiting.groups.saturating_add(1);
            let verdict = match fate {
                Fate::Settled(verdict) => verdict,
                Fate::Later if waiting.groups < TRIES => {
                    later.push(waiting);
                    continue;
                }
                Fate::Later => Err(CommitError::Busy),
            };
            settled.0.push(waiting.job);
            settled.1.push(verdict);
        }
        let (jobs, verdicts) = settled;
        self.desk.committed(session.log.head(), jobs, verdicts);
        later
    }

    /// Nothing of the group is in the database. Returns what may be tried in a later one.
    async fn lost(&mut self, mut waiting: Vec<Waiting>, fault: Fault) -> Vec<Waiting> {
        let reason = fault.reason();
        tracing::error!(%reason, batches = waiting.len(), "a group of batches could not be applied");
        match fault {
            Fault::Lost(_) => self.session = None,
            _ => self.reset().await,
        }
        match fault {
            Fault::OtherWriter => self.desk.stopped(jobs(waiting), reason),
            Fault::Data(reason) => {
                let rejected = CommitError::Rejected {
                    write: None,
                    reason,
                };
                answer_all(jobs(waiting), &rejected);
            }
            Fault::Busy => {
                for waiting in &mut waiting {
                    waiting.groups = waiting.groups.saturating_add(1);
                }
                let (later, busy) = waiting
                    .into_iter()
                    .partition(|waiting| waiting.groups < TRIES);
                answer_all(jobs(busy), &CommitError::Busy);
                return later;
            }
            Fault::Lost(_) | Fault::Server(_) => self.desk.failing(jobs(waiting), reason),
        }
        Vec::new()
    }

    /// Back to what is in the database. A connection that cannot be used any more is opened again by the next group.
    async fn reset(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        match session.rolled_back().await {
            Ok(session) => self.session = Some(session),
            Err(error) => tracing::warn!(%error, "the log cannot be read again yet"),
        }
    }
}

impl Known {
    /// What a session that was just opened knows.
    pub(super) fn of(session: &Session) -> Self {
        Self {
            commits: session.log.commits,
            doubt: None,
            pid: session.pid,
        }
    }
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        Self::Io {
            reason: error.to_string(),
        }
    }
}
