//! One group: many batches, one transaction, one fsync.
//!
//! Batches go out in windows, each a pipeline with a savepoint before every batch. The first that turns out bad is
//! undone to its savepoint, and only those after it are judged and sent again. What the batches record, what they took
//! and the head go out last, together with COMMIT. A group without statements of its batches' own is one pipeline.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::ledger::{Entry, Hash};
use kavachos_core::time::Timestamp;
use tokio_postgres::{Error, Statement};

use super::draft::{Change, Draft};
use super::error::{Fault, reason};
use super::pipeline::Pipeline;
use super::records::{self, Params};
use super::session::{Session, Statements};
use super::value::{Bound, Hidden, misfit};
use crate::answer::{CommitError, Head};
use crate::batch::{Batch, Rows, Write};
use crate::handle;
use crate::host::Clock;
use crate::writer::job::{Held, Verdict};

/// How many batches with statements are under way before their answers are looked at: so many savepoints are nested,
/// and so many batches are sent again after a bad one.
const WINDOW: usize = 64;
/// How many statements of a window are under way.
const WINDOW_STATEMENTS: usize = 1_024;

/// What becomes of one batch.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its answer once the group is committed.
    Settled(Verdict),
    /// A lock was in its way: it belongs into a later group.
    Later,
}

/// The whole group failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of it is in the database.
    Before(Fault),
    /// The answer to COMMIT is lost.
    AtCommit(Box<InDoubt>),
}

/// A group of which it is not known yet whether it was committed.
#[derive(Debug)]
pub(super) struct InDoubt {
    pub(super) reason: String,
    /// What becomes of the batches if it was.
    pub(super) fates: Vec<Fate>,
    /// The head that the log then has.
    pub(super) head: Head,
}

/// How long the server may take over a window of statements, or over a COMMIT, before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(60);
const NO_ANSWER: &str = "the server does not answer";

type Answer = Result<u64, Error>;

/// Applies the batches and commits. On failure the transaction may still be open.
pub(super) async fn run(
    session: &mut Session,
    batches: &[&Batch],
    clock: &dyn Clock,
) -> Result<Vec<Fate>, Failed> {
    let statements = session.statements(batches).await.map_err(Failed::Before)?;
    let draft = session.draft(batches).await.map_err(Failed::Before)?;
    let mut group = Group {
        next_seq: session.log.frontier.size(),
        session,
        statements,
        draft,
        fates: Vec::with_capacity(batches.len()),
        entries: Vec::new(),
        opening: BEGIN.to_owned(),
        any_held: false,
    };
    // Every window settles at least one batch.
    while let Some(rest) = batches
        .get(group.fates.len()..)
        .filter(|rest| !rest.is_empty())
    {
        group.window(rest, clock).await.map_err(Failed::Before)?;
    }
    group.finish().await
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A record that is to be inserted with the group.
pub(super) struct Numbered<'a> {
    pub(super) entry: &'a Entry,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
}

struct Group<'a, 's> {
    session: &'s mut Session,
    statements: Statements<'a>,
    draft: Draft,
    /// Of the batches so far.
    fates: Vec<Fate>,
    entries: Vec<Numbered<'a>>,
    next_seq: u64,
    /// What has to go before the next pipeline.
    opening: String,
    any_held: bool,
}

/// A batch of a window.
struct Step<'a> {
    batch: &'a Batch,
    judged: Result<Change, CommitError>,
    /// How many answers are its own.
    answers: usize,
}

/// Why a batch does not hold, found in the database.
enum Bad {
    /// It changed nothing, so there is nothing to undo.
    Unchanged(CommitError),
    Batch(CommitError),
    Later,
    Group(Fault),
}

impl<'a> Group<'a, '_> {
    /// Sends as many batches as a window holds, and settles them up to the first bad one.
    async fn window(&mut self, batches: &[&'a Batch], clock: &dyn Clock) -> Result<(), Fault> {
        let mut pipeline = Pipeline::new();
        let mut steps = Vec::new();
        let mut savepoints = 0_usize;
        for batch in batches {
            if savepoints >= WINDOW || pipeline.len() >= WINDOW_STATEMENTS {
                break;
            }
            let judged = self
                .draft
                .apply(batch, clock)
                .and_then(|change| self.check_writes(batch, change));
            let sent = pipeline.len();
            if let Ok(change) = &judged
                && has_statements(batch)
            {
                let opening = std::mem::take(&mut self.opening);
                self.send_text(&mut pipeline, savepoint(&opening, savepoints));
                savepoints = savepoints.saturating_add(1);
                self.send(&mut pipeline, batch, change);
            }
            steps.push(Step {
                batch,
                judged,
                answers: pipeline.len().saturating_sub(sent),
            });
        }
        let answers = pipeline.answers_within(PATIENCE).await;
        let answers = answers.ok_or_else(|| Fault::Lost(NO_ANSWER.to_owned()))?;
        self.settle(steps, answers)
    }

    /// Finds out before anything is sent whether a statement can run at all.
    fn check_writes(&mut self, batch: &Batch, change: Change) -> Result<Change, CommitError> {
        let wrong = batch.writes.iter().enumerate().find_map(|(index, write)| {
            let reason = match self.statements.get(write.sql.as_ref()) {
                Some(Ok(statement)) => misfit(&write.params, statement.params())?,
                Some(Err(reason)) => reason.clone(),
                None => "the statement was not prepared".to_owned(),
            };
            Some((index, reason))
        });
        let Some((index, reason)) = wrong else {
            return Ok(change);
        };
        self.draft.take_back(change);
        Err(CommitError::Rejected {
            write: Some(index),
            reason,
        })
    }

    fn send(&self, pipeline: &mut Pipeline<'a, Answer>, batch: &'a Batch, change: &Change) {
        let own = &self.session.own;
        for (kill, head) in &change.kills {
            let handle = handle::encode(kill.handle).to_vec();
            let generation = records::number(kill.generation);
            let raise: Params<'a> = vec![
                Box::new(Hidden(handle.clone())),
                Box::new(Hidden(generation)),
            ];
            self.execute(pipeline, &own.raise, raise);
            let insert: Params<'a> = vec![
                Box::new(Hidden(records::number(head.rseq))),
                Box::new(Hidden(handle)),
                Box::new(Hidden(generation)),
                Box::new(Hidden(head.rhash.to_vec())),
            ];
            self.execute(pipeline, &own.insert_kill, insert);
        }
        for write in &batch.writes {
            if let Some(Ok(statement)) = self.statements.get(write.sql.as_ref()) {
                let (client, statement) = (Arc::clone(&self.session.client), statement.clone());
                let params = write.params.iter().map(Bound);
                pipeline.send(async move { client.execute_raw(&statement, params).await });
            }
        }
    }

    fn execute(
        &self,
        pipeline: &mut Pipeline<'a, Answer>,
        statement: &Statement,
        params: Params<'a>,
    ) {
        let (client, statement) = (Arc::clone(&self.session.client), statement.clone());
        pipeline.send(async move { client.execute_raw(&statement, params).await });
    }

    fn send_text(&self, pipeline: &mut Pipeline<'a, Answer>, text: String) {
        let client = Arc::clone(&self.session.client);
        pipeline.send(async move { client.batch_execute(&text).await.map(|()| 0) });
    }

    /// Settles the batches of a window up to the first that has to be undone.
    fn settle(&mut self, steps: Vec<Step<'a>>, answers: Vec<Answer>) -> Result<(), Fault> {
        let mut answers = answers.into_iter();
        let mut steps = steps.into_iter();
        let mut savepoint = 0_usize;
        while let Some(step) = steps.next() {
            let change = match step.judged {
                Ok(change) => change,
                Err(error) => {
                    self.fates.push(Fate::Settled(Err(error)));
                    continue;
                }
            };
            let found = match step.answers {
                0 => Ok(()),
                count => judge(step.batch, answers.by_ref().take(count).collect()),
            };
            let fate = match found {
                Ok(()) => {
                    self.hold(step.batch, &change);
                    None
                }
                Err(Bad::Unchanged(error)) => {
                    self.fates.push(Fate::Settled(Err(error)));
                    None
                }
                Err(Bad::Batch(error)) => Some(Fate::Settled(Err(error))),
                Err(Bad::Later) => Some(Fate::Later),
                Err(Bad::Group(fault)) => return Err(fault),
            };
            if let Some(fate) = fate {
                self.undo(change, steps, savepoint);
                self.fates.push(fate);
                return Ok(());
            }
            if step.answers > 0 {
                savepoint = savepoint.saturating_add(1);
            }
        }
        if savepoint > 0 {
            "RELEASE SAVEPOINT w0".clone_into(&mut self.opening);
        }
        Ok(())
    }

    /// Takes a bad batch and those after it back: in memory now, in the database before anything else is sent.
    fn undo(&mut self, bad: Change, after: impl Iterator<Item = Step<'a>>, savepoint: usize) {
        let mut undone = vec![bad];
        undone.extend(after.filter_map(|step| step.judged.ok()));
        while let Some(change) = undone.pop() {
            self.draft.take_back(change);
        }
        self.opening = format!("ROLLBACK TO SAVEPOINT w{savepoint}; RELEASE SAVEPOINT w0");
    }

    /// Numbers a batch, now that nothing of it can fail any more.
    fn hold(&mut self, batch: &'a Batch, change: &Change) {
        let first_seq = (!batch.entries.is_empty()).then_some(self.next_seq);
        for entry in &batch.entries {
            self.entries.push(Numbered {
                entry,
                seq: self.next_seq,
                time: change.time,
            });
            self.next_seq = self.next_seq.saturating_add(1);
        }
        self.any_held = true;
        self.fates.push(Fate::Settled(Ok(Held {
            first_seq,
            time: change.time,
        })));
    }

    /// Stores what the group records and took, and the head, and commits. A group in which nothing held stores nothing.
    async fn finish(mut self) -> Result<Vec<Fate>, Failed> {
        if !self.any_held {
            if self.opening != BEGIN {
                let undone = self.session.client.batch_execute("ROLLBACK").await;
                undone.map_err(|error| Failed::Before(Fault::of(&error)))?;
            }
            return Ok(self.fates);
        }
        let leaves = self.advance();
        let mut pipeline = Pipeline::new();
        self.send_finish(&mut pipeline, &leaves);
        let answers = pipeline.answers_within(PATIENCE).await;
        self.judge_finish(answers.unwrap_or_default())
    }

    /// Moves the log in memory to where it will be, and returns the leaves of the records.
    fn advance(&mut self) -> Vec<Hash> {
        let log = &mut self.session.log;
        log.commits = log.commits.saturating_add(1);
        log.last_time = self.draft.last_time;
        log.revocation = self.draft.revocation;
        let mut leaves = Vec::with_capacity(self.entries.len());
        for record in &self.entries {
            let leaf = log.leaf(record.entry, record.seq, record.time);
            log.frontier.append(leaf);
            leaves.push(leaf);
        }
        leaves
    }

    fn send_finish(&mut self, pipeline: &mut Pipeline<'a, Answer>, leaves: &[Hash]) {
        let opening = std::mem::take(&mut self.opening);
        self.send_text(pipeline, opening);
        let own = &self.session.own;
        if !self.entries.is_empty() {
            let entries = records::entries(&self.entries, leaves);
            self.execute(pipeline, &own.insert_entries, entries);
        }
        if let Some(members) = records::members(&self.entries) {
            self.execute(pipeline, &own.insert_members, members);
        }
        if let Some(counters) = records::counters(&self.draft.counters) {
            self.execute(pipeline, &own.store_counters, counters);
        }
        self.execute(pipeline, &own.save, records::head(&self.session.log));
        self.send_text(pipeline, "COMMIT".to_owned());
        let (client, commits) = (Arc::clone(&self.session.client), own.commits.clone());
        pipeline.send(async move {
            let row = client.query_one(&commits, &[]).await?;
            let commits: i64 = row.try_get(0)?;
            Ok(u64::try_from(commits).unwrap_or_default())
        });
    }

    /// COMMIT of a transaction that was aborted says ROLLBACK, which the driver does not pass on. So every answer before
    /// it counts, and the number of commits, read after it, has the last word.
    fn judge_finish(self, mut answers: Vec<Answer>) -> Result<Vec<Fate>, Failed> {
        let expected = self.session.log.commits;
        let commits = answers.pop();
        let failed = answers.iter().find_map(|answer| answer.as_ref().err());
        match (failed.map(Fault::of_own), commits) {
            (None, Some(Ok(commits))) if commits == expected => {
                remember(self.session, self.draft);
                Ok(self.fates)
            }
            (Some(Fault::Lost(reason)), _) => Err(self.in_doubt(reason)),
            (Some(fault), _) => Err(Failed::Before(fault)),
            (None, Some(Ok(_))) => Err(Failed::Before(Fault::OtherWriter)),
            (None, Some(Err(error))) => Err(self.in_doubt(reason(&error))),
            (None, None) => Err(self.in_doubt(NO_ANSWER.to_owned())),
        }
    }

    fn in_doubt(self, reason: String) -> Failed {
        Failed::AtCommit(Box::new(InDoubt {
            reason,
            fates: self.fates,
            head: self.session.log.head(),
        }))
    }
}

/// Keeps what was looked up and what changed for the next group.
fn remember(session: &mut Session, draft: Draft) {
    for (handle, generation) in draft.handles {
        if let Some(generation) = generation {
            session.log.handles.put(handle, generation);
        }
    }
    for (counter, stand) in draft.counters {
        if let Some(state) = stand.state {
            session.log.counters.put(counter, state);
        }
    }
}

/// Whether the batch asks the database for anything before the group ends.
fn has_statements(batch: &Batch) -> bool {
    !batch.kills.is_empty() || !batch.writes.is_empty()
}

/// Whether a batch whose only write changed no row has nothing to undo, in memory neither.
fn is_one_write(batch: &Batch) -> bool {
    batch.writes.len() == 1
        && batch.kills.is_empty()
        && batch.takes.is_empty()
        && batch
            .writes
            .iter()
            .all(|write| handle::birth(write).is_none())
}

fn savepoint(opening: &str, number: usize) -> String {
    match opening {
        "" => format!("SAVEPOINT w{number}"),
        opening => format!("{opening}; SAVEPOINT w{number}"),
    }
}

/// Holds the answers to a batch's statements against what it states.
fn judge(batch: &Batch, answers: Vec<Answer>) -> Result<(), Bad> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Ok(u64::MAX));
    if let Err(error) = next() {
        return Err(Bad::Group(Fault::of_own(&error)));
    }
    // To raise a generation and to record it: memory has said that both change one row.
    for _ in batch.kills.iter().flat_map(|_| [(), ()]) {
        match next() {
            Ok(1) => {}
            Ok(_) => return Err(Bad::Group(Fault::OtherWriter)),
            Err(error) => match Fault::of_own(&error) {
                Fault::Busy => return Err(Bad::Later),
                fault => return Err(Bad::Group(fault)),
            },
        }
    }
    for (index, write) in batch.writes.iter().enumerate() {
        let changed = next().map_err(|error| refused(index, &error))?;
        if !holds(write, changed) {
            let conflict = CommitError::Conflict { write: Some(index) };
            return Err(match changed {
                0 if is_one_write(batch) => Bad::Unchanged(conflict),
                _ => Bad::Batch(conflict),
            });
        }
    }
    Ok(())
}

fn holds(write: &Write, changed: u64) -> bool {
    match write.rows {
        Rows::Any => true,
        Rows::Exactly(rows) => changed == rows,
    }
}

fn refused(index: usize, error: &Error) -> Bad {
    match Fault::of(error) {
        Fault::Data(reason) => Bad::Batch(CommitError::Rejected {
            write: Some(index),
            reason,
        }),
        Fault::Busy => Bad::Later,
        fault => Bad::Group(fault),
    }
}
