//! The store: one thread that writes, one that reads, behind the queues that all executors share.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use kavachos_store::migration::{Migration, SchemaError};
use kavachos_store::{
    Batch, BoxFuture, Clock, CommitError, Head, Health, Host, Query, ReadError, Receipt, Row, Store,
};

use crate::draft::{Draft, Step, draft, save};
use crate::guard;
use crate::link::{Link, LinkError, Statement};
use crate::session::{self, Place};
use crate::writer::front::{Front, QUEUED_BATCHES, queue_of_batches, queue_of_reads};
use crate::writer::job::{Desk, Job, Work, answer_all};
use crate::writer::log::Log;
use crate::writer::queue::{Limit, Queue};
use crate::writer::shared::Shared;
use crate::{reader, schema};

/// How many batches one `batch()` carries: with a few statements each it stays below what one invocation of a Worker
/// may send.
const GROUP: Limit = Limit {
    items: 64,
    bytes: 1 << 20,
};
/// How many statements one invocation of a Worker may send; a group with more is cut in two.
const MAX_STATEMENTS: usize = 1_000;
/// How often a group is worked out anew because another executor was faster, before it is `Busy`.
const MAX_RACES: usize = 16;
/// How often the database is asked what became of a group whose answer was lost.
const MAX_QUESTIONS: usize = 3;
const REPLACED: &str = "the database was replaced or restored: start this executor again";
const LEAF: &str = "SELECT leaf FROM ledger WHERE seq = ?1";

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// D1 did not do what it was asked.
    #[error("the database cannot be used: {0}")]
    Link(#[from] LinkError),
    /// The schema is not one of ours that this binary knows.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It is somebody else's.
    #[error("the database belongs to another program")]
    Foreign,
    /// It contradicts itself.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A store in a D1 database. Others may write to the same database at the same time.
pub struct D1Store {
    front: Front,
}

impl D1Store {
    /// Opens the database, makes or migrates it, and starts the threads. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with the database.
    pub fn open(
        link: Arc<dyn Link>,
        migrations: &[Migration],
        host: Host,
    ) -> Result<Self, OpenError> {
        schema::prepare(&*link, migrations, &host)?;
        let log = session::load(&*link)?;
        let shared = Arc::new(Shared::new(log.head()));
        let (writes, reads) = (queue_of_batches(QUEUED_BATCHES), queue_of_reads());
        let reader = reader::start(Arc::clone(&link), Arc::clone(&reads))?;
        let writer = Writer {
            link,
            log: Some(log),
            desk: Desk {
                shared: Arc::clone(&shared),
                observer: host.observer,
            },
            queue: Arc::clone(&writes),
            clock: host.clock,
            reader: Some(reader),
        };
        let front = Front {
            writes,
            reads: Some(reads),
            shared,
        };
        Builder::new()
            .name("kavach-d1-write".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self { front })
    }
}

impl Drop for D1Store {
    fn drop(&mut self) {
        self.front.shut();
    }
}

impl Store for D1Store {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        self.front.commit(batch)
    }

    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        self.front.read(queries)
    }

    fn head(&self) -> Head {
        self.front.head()
    }

    fn health(&self) -> Health {
        self.front.health()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.front.close()
    }
}

struct Writer {
    link: Arc<dyn Link>,
    /// `None` when it has to be read again.
    log: Option<Log>,
    desk: Desk,
    queue: Arc<Queue<Work>>,
    clock: Arc<dyn Clock>,
    reader: Option<JoinHandle<()>>,
}

/// What came of sending a draft.
enum Sent {
    Applied,
    /// Another executor moved the head.
    Overtaken,
    /// This batch conflicts; the others are not to blame.
    Conflict(usize, CommitError),
    /// A statement is wrong, and D1 does not say which.
    Refused(String),
    Lost(String),
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.abandon();
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has answered nothing; its callers were told by the dropped sender.
            let _ = reader.join();
        }
        self.desk.shared.end();
    }
}

impl Writer {
    fn run(mut self) {
        let mut work = Vec::new();
        while self.queue.drain(&mut work, GROUP) {
            let jobs = work.drain(..).filter_map(|work| match work {
                Work::Commit(job) => Some(job),
                // Nobody here gives one: whoever waits for it is told by the dropped sender.
                Work::Read(_) | Work::Errand(_) => None,
            });
            self.commit(jobs.collect());
            if let Health::Stopped(_) = self.desk.shared.health() {
                return;
            }
        }
    }

    /// Applies a group and answers it.
    fn commit(&mut self, mut jobs: Vec<Job>) {
        let mut failed: Vec<Option<CommitError>> = jobs.iter().map(|_| None).collect();
        let mut races = 0_usize;
        while races < MAX_RACES {
            let (before, draft) = match self.work_out(&jobs, &failed) {
                Ok(worked_out) => worked_out,
                Err(Fault::Replaced) => return self.desk.stopped(jobs, REPLACED.to_owned()),
                Err(Fault::Link(error)) => return self.desk.failing(jobs, error.to_string()),
            };
            if draft.statements.len() > MAX_STATEMENTS && jobs.len() > 1 {
                let second_half = jobs.split_off(jobs.len() / 2);
                self.commit(jobs);
                return self.commit(second_half);
            }
            match self.send(&draft) {
                Sent::Applied => return self.applied(jobs, draft),
                Sent::Overtaken => {
                    // What was found to conflict was judged on an older state.
                    failed.fill(None);
                    races = races.saturating_add(1);
                    self.overtaken();
                }
                Sent::Conflict(job, conflict) => {
                    if let Some(slot) = failed.get_mut(job) {
                        *slot = Some(conflict);
                    }
                }
                Sent::Refused(reason) => return self.refused(jobs, &draft, reason),
                Sent::Lost(reason) => return self.lost(jobs, &before, draft, reason),
            }
        }
        answer_all(jobs, &CommitError::Busy);
    }

    fn work_out(
        &mut self,
        jobs: &[Job],
        failed: &[Option<CommitError>],
    ) -> Result<(Place, Draft), Fault> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => session::load(&*self.link)?,
        };
        let mut counters: Vec<&[u8]> = Vec::new();
        for take in jobs.iter().flat_map(|job| &job.batch.takes) {
            if !counters.contains(&&*take.counter) {
                counters.push(&take.counter);
            }
        }
        let mut states = session::look_up(&*self.link, &mut log, &counters)?;
        if !log.continues(&self.desk.shared.head()) {
            return Err(Fault::Replaced);
        }
        let draft = draft(&mut log, &mut states, jobs, failed, &*self.clock);
        let before = Place::of(&log);
        self.log = Some(log);
        Ok((before, draft))
    }

    fn send(&self, draft: &Draft) -> Sent {
        let reason = match self.link.batch(&draft.statements) {
            Ok(_) => return Sent::Applied,
            Err(LinkError::Lost(reason)) => return Sent::Lost(reason),
            Err(LinkError::Refused(reason)) => reason,
        };
        match guard::failed_step(&reason).and_then(|step| draft.steps.get(step)) {
            Some(Step::Head) => Sent::Overtaken,
            Some(Step::Read { job }) => Sent::Conflict(*job, CommitError::Conflict { write: None }),
            Some(Step::Write { job, write }) => Sent::Conflict(
                *job,
                CommitError::Conflict {
                    write: Some(*write),
                },
            ),
            None => Sent::Refused(reason),
        }
    }

    fn applied(&mut self, jobs: Vec<Job>, draft: Draft) {
        let Some(log) = &mut self.log else {
            return answer_all(jobs, &CommitError::Unknown);
        };
        draft.after.apply(log);
        for (counter, state) in draft.taken {
            log.counters.put(counter, state);
        }
        self.desk.committed(log.head(), jobs, draft.verdicts);
    }

    /// Everything that is remembered of the database may be old, the observer's memory too.
    fn overtaken(&mut self) {
        self.log = None;
        self.desk.observer.overtaken();
    }

    /// One batch is to blame. Which one, and which write of it, is found out by trying.
    fn refused(&mut self, jobs: Vec<Job>, draft: &Draft, reason: String) {
        if jobs.len() > 1 {
            return jobs.into_iter().for_each(|job| self.commit(vec![job]));
        }
        let write = self.culprit(draft);
        answer_all(jobs, &CommitError::Rejected { write, reason });
    }

    /// The write that D1 refuses: the shortest beginning of the draft that is refused ends with it. Each beginning is
    /// sent with a guard behind it that undoes it. `None` when it is no write, or cannot be found out.
    fn culprit(&self, draft: &Draft) -> Option<usize> {
        let undo = draft.steps.len();
        let holds = |length: usize| {
            let beginning = draft.statements.get(..length)?;
            let tried: Vec<Statement> = beginning
                .iter()
                .cloned()
                .chain([guard::never(undo)])
                .collect();
            match self.link.batch(&tried) {
                Err(LinkError::Refused(reason)) => match guard::failed_step(&reason) {
                    Some(step) => (step == undo).then_some(true),
                    None => Some(false),
                },
                _ => None,
            }
        };
        let (mut good, mut bad) = (0, draft.statements.len().saturating_add(1));
        while bad.saturating_sub(good) > 1 {
            let middle = good.midpoint(bad);
            if holds(middle)? {
                good = middle;
            } else {
                bad = middle;
            }
        }
        // All of it holds: it was refused at the end, by a deferred constraint.
        *draft.origins.get(good)?
    }

    fn lost(&mut self, jobs: Vec<Job>, before: &Place, draft: Draft, reason: String) {
        let applied = self.resolve(before, &draft);
        self.log = None;
        match applied.map(|applied| (applied, session::load(&*self.link))) {
            Some((true, Ok(log))) => {
                self.desk.committed(log.head(), jobs, draft.verdicts);
                self.log = Some(log);
            }
            Some((false, _)) => self.desk.failing(jobs, reason),
            Some((true, Err(_))) | None => self.desk.unknown(jobs, reason),
        }
    }

    /// Whether a group whose answer was lost is applied. There is no lock whose holder has ended, and the group may
    /// still be under way: so the head is moved one commit further, from where the group would move it. If that works,
    /// the group can never be applied any more; if not, its first leaf tells.
    fn resolve(&self, before: &Place, draft: &Draft) -> Option<bool> {
        let mut fence = session::load(&*self.link).ok();
        for _ in 0..MAX_QUESTIONS {
            let Some(mut log) = fence.take() else {
                fence = session::load(&*self.link).ok();
                continue;
            };
            before.apply(&mut log);
            log.commits = before.commits.saturating_add(1);
            let moved = [save(&log, before.commits), guard::changed(0, 1)];
            match self.link.batch(&moved) {
                Ok(_) => return Some(false),
                Err(LinkError::Refused(_)) => return self.has_leaf(draft),
                Err(LinkError::Lost(_)) => fence = session::load(&*self.link).ok(),
            }
        }
        None
    }

    /// Whether the group's first record is in the ledger; `None` for a group without records.
    fn has_leaf(&self, draft: &Draft) -> Option<bool> {
        let (seq, leaf) = draft.first_leaf?;
        let select = Statement::new(LEAF, vec![seq.into()]);
        let mut lists = self.link.batch(&[select]).ok()?;
        Some(session::one::<[u8; 32]>(lists.pop()).ok()? == Some(leaf))
    }
}

/// Why a group could not be worked out.
enum Fault {
    Replaced,
    Link(LinkError),
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}
