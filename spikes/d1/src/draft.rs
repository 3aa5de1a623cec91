//! A group worked out: the statements of one `batch()`, and what becomes of each batch if they are applied.
//!
//! Numbers, leaves and takes are computed here, on the head that the first statement insists on. What depends on rows
//! (writes, kills, `reads`) is asserted by guards, each in its batch's turn.

use kavachos_core::ledger::{Entry, Hash};
use kavachos_core::revocation::{LogHead, Mark};
use kavachos_core::time::Timestamp;
use kavachos_store::{Clock, CommitError, Rows, Write};

use crate::guard;
use crate::link::Statement;
use crate::session::{Place, States};
use crate::text;
use crate::writer::job::{Held, Job, Verdict};
use crate::writer::log::Log;
use crate::writer::statement::{
    INSERT_ENTRY, INSERT_KILL, INSERT_MEMBER, RAISE, SAVE, STORE_COUNTER,
};
use crate::writer::take::{self, Counters};

/// What a step's guard watches over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The head is where it was believed to be.
    Head,
    /// What a batch relies on, or its kill, holds.
    Read { job: usize },
    /// A write changes as many rows as stated.
    Write { job: usize, write: usize },
}

/// The statements of a group.
pub(crate) struct Draft {
    pub(crate) statements: Vec<Statement>,
    pub(crate) steps: Vec<Step>,
    /// Which write of its batch a statement is; parallel to the statements.
    pub(crate) origins: Vec<Option<usize>>,
    pub(crate) verdicts: Vec<Verdict>,
    /// Where the log stands once it is applied.
    pub(crate) after: Place,
    /// The first leaf that it adds, with its number: whether it is there tells whether the group was applied.
    pub(crate) first_leaf: Option<(u64, Hash)>,
    /// The counters that it changes.
    pub(crate) taken: Vec<(Box<[u8]>, Vec<u8>)>,
}

/// Works out a group. `failed` says what is known to fail, by batch; the log stays as it is.
pub(crate) fn draft(
    log: &mut Log,
    states: &mut States,
    jobs: &[Job],
    failed: &[Option<CommitError>],
    clock: &dyn Clock,
) -> Draft {
    let before = Place::of(log);
    let mut drafting = Drafting {
        log,
        states,
        statements: Vec::new(),
        steps: vec![Step::Head],
        origins: Vec::new(),
        taken: Vec::new(),
        first_leaf: None,
    };
    let verdicts: Vec<Verdict> = jobs
        .iter()
        .zip(failed)
        .enumerate()
        .map(|(number, (job, failed))| match failed {
            Some(error) => Err(error.clone()),
            None => drafting.batch(number, job, clock.now()),
        })
        .collect();
    let held = verdicts.iter().any(Result::is_ok);
    let draft = drafting.finish(held, &before, verdicts);
    before.apply(log);
    draft
}

struct Drafting<'a> {
    log: &'a mut Log,
    states: &'a mut States,
    statements: Vec<Statement>,
    steps: Vec<Step>,
    origins: Vec<Option<usize>>,
    taken: Vec<(Box<[u8]>, Vec<u8>, Timestamp)>,
    first_leaf: Option<(u64, Hash)>,
}

impl Counters for States {
    type Error = CommitError;

    fn state(&mut self, counter: &[u8]) -> Result<Option<&[u8]>, CommitError> {
        Ok(self.get(counter).map(Vec::as_slice))
    }
}

impl Drafting<'_> {
    /// One batch in its turn. What fails here leaves no statements behind.
    fn batch(&mut self, number: usize, job: &Job, clock: Timestamp) -> Verdict {
        let (statements, steps) = (self.statements.len(), self.steps.len());
        let verdict = self.hold(number, job, clock);
        if verdict.is_err() {
            self.statements.truncate(statements);
            self.origins.truncate(statements);
            self.steps.truncate(steps);
        }
        verdict
    }

    fn hold(&mut self, number: usize, job: &Job, clock: Timestamp) -> Verdict {
        let batch = &job.batch;
        batch.check_deadline(clock)?;
        let now = self.log.time(clock);
        let taken = take::evaluate(self.states, &batch.takes, now)?;
        self.reads(number, &batch.reads);
        let revocation = self.kills(number, &batch.kills)?;
        self.writes(number, &batch.writes)?;
        // Nothing of it can fail here any more: from now on it counts for those behind it.
        for (counter, state) in taken {
            self.states.insert(counter.into(), state.clone());
            self.taken.push((counter.into(), state, now));
        }
        self.log.revocation = revocation;
        let first_seq = self.log.frontier.size();
        for entry in &batch.entries {
            self.entry(entry, now);
        }
        self.log.last_time = now;
        Ok(Held {
            first_seq: (!batch.entries.is_empty()).then_some(first_seq),
            time: now,
        })
    }

    fn push(&mut self, origin: Option<usize>, statement: Statement) {
        self.statements.push(statement);
        self.origins.push(origin);
    }

    fn step(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len().saturating_sub(1)
    }

    fn reads(&mut self, job: usize, reads: &[Mark]) {
        for mark in reads {
            let step = self.step(Step::Read { job });
            self.push(
                None,
                guard::generation(step, mark.handle.into(), mark.generation),
            );
        }
    }

    fn kills(&mut self, job: usize, kills: &[Mark]) -> Result<LogHead, CommitError> {
        let mut head = self.log.revocation;
        for kill in kills {
            if kill.generation == 0 {
                return Err(CommitError::Conflict { write: None });
            }
            head = head.append(*kill);
            let step = self.step(Step::Read { job });
            let raise = vec![kill.handle.into(), kill.generation.into()];
            self.push(None, Statement::new(RAISE, raise));
            self.push(None, guard::changed(step, 1));
            let record = vec![
                head.rseq.into(),
                kill.handle.into(),
                kill.generation.into(),
                head.rhash.into(),
            ];
            self.push(None, Statement::new(INSERT_KILL, record));
        }
        Ok(head)
    }

    fn writes(&mut self, job: usize, writes: &[Write]) -> Result<(), CommitError> {
        for (index, write) in writes.iter().enumerate() {
            if !text::is_change(&write.sql) {
                return Err(CommitError::Rejected {
                    write: Some(index),
                    reason: "the statement changes no rows".to_owned(),
                });
            }
            self.push(
                Some(index),
                Statement::new(write.sql.clone(), write.params.clone()),
            );
            if let Rows::Exactly(rows) = write.rows {
                let step = self.step(Step::Write { job, write: index });
                self.push(None, guard::changed(step, rows));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, now: Timestamp) {
        let seq = self.log.frontier.size();
        let leaf = self.log.leaf(entry, seq, now);
        let columns = entry.projections();
        let row = vec![
            seq.into(),
            now.into(),
            columns.id.clone().into(),
            columns.kind.into(),
            columns.outcome.into(),
            columns.code.into(),
            columns.actor.clone().into(),
            columns.subject.clone().into(),
            columns.agent.clone().into(),
            columns.action.clone().into(),
            columns.resource.clone().into(),
            columns.request_id.clone().into(),
            entry.body().to_owned().into(),
            (*entry.salt()).into(),
            entry.personal().to_owned().into(),
            leaf.into(),
        ];
        self.push(None, Statement::new(INSERT_ENTRY, row));
        for member in &columns.chain {
            let row = vec![member.clone().into(), seq.into()];
            self.push(None, Statement::new(INSERT_MEMBER, row));
        }
        self.log.frontier.append(leaf);
        self.first_leaf.get_or_insert((seq, leaf));
    }

    /// Puts the head in front: moved where something held, else only asserted.
    fn finish(mut self, held: bool, before: &Place, verdicts: Vec<Verdict>) -> Draft {
        let counters = self.newest_states();
        let mut head = vec![guard::commits(0, before.commits)];
        if held {
            self.log.commits = before.commits.saturating_add(1);
            head = vec![save(self.log, before.commits), guard::changed(0, 1)];
        }
        self.origins.splice(0..0, head.iter().map(|_| None));
        self.statements.splice(0..0, head);
        let mut taken = Vec::new();
        for (counter, state, time) in counters {
            let row = vec![counter.to_vec().into(), state.clone().into(), time.into()];
            self.push(None, Statement::new(STORE_COUNTER, row));
            taken.push((counter, state));
        }
        Draft {
            statements: self.statements,
            steps: self.steps,
            origins: self.origins,
            verdicts,
            after: Place::of(self.log),
            first_leaf: self.first_leaf,
            taken,
        }
    }

    /// Each counter once, as the last batch left it.
    fn newest_states(&mut self) -> Vec<(Box<[u8]>, Vec<u8>, Timestamp)> {
        let mut newest: Vec<(Box<[u8]>, Vec<u8>, Timestamp)> = Vec::new();
        for (counter, state, time) in std::mem::take(&mut self.taken) {
            match newest.iter_mut().find(|(known, ..)| *known == counter) {
                Some(known) => *known = (counter, state, time),
                None => newest.push((counter, state, time)),
            }
        }
        newest
    }
}

/// Moves the head from where it was believed to be.
pub(crate) fn save(log: &Log, before: u64) -> Statement {
    let head = vec![
        log.commits.into(),
        log.frontier.encode().into(),
        log.last_time.into(),
        log.revocation.rseq.into(),
        log.revocation.rhash.into(),
        before.into(),
    ];
    Statement::new(SAVE, head)
}
