//! What waits in the queues, and how those who wait are answered.

use std::borrow::Cow;
use std::sync::Arc;

use futures_channel::oneshot;
use kavachos_core::time::Timestamp;

use super::errand::Orders;
use super::queue::{Limit, Queue};
use super::shared::Shared;
use crate::answer::{CommitError, Head, Health, ReadError, Receipt};
use crate::batch::{Batch, Effect};
use crate::contract::Observer;
use crate::row::{Query, Row};

/// A group ends here, so that the first of it does not wait too long for the last.
pub(crate) const GROUP: Limit = Limit {
    items: 2_048,
    bytes: 4 << 20,
};

/// What a caller of `commit` waits for.
pub(crate) type Answer = Result<Receipt, CommitError>;

/// A batch and who waits for it.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The rows of each query.
pub(crate) type Rows = Result<Vec<Vec<Row>>, ReadError>;

/// Queries that wait for a reader.
pub(crate) struct ReadJob {
    pub(crate) queries: Vec<Query>,
    pub(crate) answer: oneshot::Sender<Rows>,
}

/// What the writer's queue holds.
pub(crate) enum Work {
    /// A batch to commit.
    Commit(Job),
    /// Queries; only on a database in memory, which has no other connection.
    Read(ReadJob),
    /// An errand, which gets the writer's connection to itself.
    Errand(Orders),
}

/// A batch that holds: answered with a receipt once the group is committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) first_seq: Option<u64>,
    pub(crate) time: Timestamp,
}

/// What becomes of one batch when its group is committed.
pub(crate) type Verdict = Result<Held, CommitError>;

/// Publishes what became of a group, and answers.
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Desk {
    /// The group is on disk: publish the head, tell the observer, then answer.
    pub(crate) fn committed(&self, head: Head, jobs: Vec<Job>, verdicts: Vec<Verdict>) {
        self.shared.set_head(head);
        self.shared.set_health(Health::Ready);
        let held = jobs
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_ok());
        self.tell(held.map(|(job, _)| &job.batch));
        for (job, verdict) in jobs.into_iter().zip(verdicts) {
            let answer = verdict.map(|held| Receipt {
                first_seq: held.first_seq,
                time: held.time,
                head,
            });
            // A caller that no longer waits needs no answer.
            let _ = job.answer.send(answer);
        }
    }

    /// Nothing of the group is on disk, and the next one may fare better.
    pub(crate) fn failing(&self, jobs: Vec<Job>, reason: String) {
        let reason: Cow<'static, str> = reason.into();
        self.shared.set_health(Health::Failing(reason.clone()));
        answer_all(jobs, &CommitError::Unavailable(reason));
    }

    /// Nothing of the group is on disk, and the writer must stop.
    pub(crate) fn stopped(&self, jobs: Vec<Job>, reason: String) {
        let reason: Cow<'static, str> = reason.into();
        self.shared.set_health(Health::Stopped(reason.clone()));
        answer_all(jobs, &CommitError::Unavailable(reason));
    }

    /// It cannot be found out whether the group is on disk.
    pub(crate) fn unknown(&self, jobs: Vec<Job>, reason: String) {
        tracing::error!(%reason, batches = jobs.len(), "it is unknown whether a group was committed");
        self.shared.set_health(Health::Failing(reason.into()));
        self.tell(jobs.iter().map(|job| &job.batch));
        answer_all(jobs, &CommitError::Unknown);
    }

    /// An errand filled the database: publish the head and tell the observer, before its caller is answered.
    pub(crate) fn filled(&self, head: Head, effects: &[Effect]) {
        self.shared.set_head(head);
        self.shared.set_health(Health::Ready);
        self.observer.committed(effects);
    }

    fn tell<'a>(&self, batches: impl Iterator<Item = &'a Batch>) {
        let effects: Vec<Effect> = batches
            .flat_map(|batch| batch.effects.iter().copied())
            .collect();
        if !effects.is_empty() {
            self.observer.committed(&effects);
        }
    }
}

/// Answers what waits, while an errand has the writer: nobody else's turn comes before it is over. `false` once the store
/// is to be closed.
pub(crate) fn turn_away(queue: &Queue<Work>) -> bool {
    let mut work = Vec::new();
    queue.drain_now(&mut work, GROUP);
    for item in work {
        match item {
            Work::Commit(job) => {
                let _ = job.answer.send(Err(CommitError::Busy));
            }
            Work::Read(read) => {
                let _ = read.answer.send(Err(ReadError::Busy));
            }
            // Its caller is told by the dropped orders.
            Work::Errand(_) => {}
        }
    }
    queue.is_open()
}

/// Answers all of them alike.
pub(crate) fn answer_all(jobs: Vec<Job>, error: &CommitError) {
    for job in jobs {
        let _ = job.answer.send(Err(error.clone()));
    }
}
