//! One group: many batches, one transaction, one fsync.
//!
//! Batches apply in order. One that fails is undone to its savepoint and leaves no trace, no gap in the numbers
//! either; the group goes on. What fails the whole group is a [`Failed`].

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kavachos_core::ledger::{Entry, Hash};
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use rusqlite::{CachedStatement, Connection, ffi, params, params_from_iter};

use super::error::Fault;
use super::log;
use super::value::{Bound, to_i64};
use crate::answer::CommitError;
use crate::batch::{Batch, Rows, Write};
use crate::handle;
use crate::host::Clock;
use crate::writer::job::{Held, Verdict};
use crate::writer::log::Log;
use crate::writer::statement::{INSERT_ENTRY, INSERT_KILL, INSERT_MEMBER, RAISE, STORE_COUNTER};
use crate::writer::take::{self, Counters};

/// The whole group failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Before COMMIT: nothing of it is on disk.
    Before(Fault),
    /// COMMIT gave an error: whether it was done shows in the number of commits.
    AtCommit {
        fault: Fault,
        verdicts: Vec<Verdict>,
        commits: u64,
    },
}

/// What ends the way of one batch.
enum Stop {
    Batch(CommitError),
    Group(Fault),
}

/// Applies the batches and commits. On failure the transaction is left open, or SQLite has ended it.
pub(super) fn run<'a>(
    connection: &Connection,
    log: &mut Log,
    batches: impl Iterator<Item = &'a Batch>,
    clock: &dyn Clock,
) -> Result<Vec<Verdict>, Failed> {
    let before = |fault| Failed::Before(fault);
    let begun = connection
        .prepare_cached("BEGIN IMMEDIATE")
        .and_then(|mut begin| begin.execute([]));
    begun.map_err(|error| before(Fault::of(&error)))?;
    let mut group = Group::new(connection, log).map_err(before)?;
    let mut verdicts = Vec::new();
    for batch in batches {
        verdicts.push(match group.apply(batch, clock) {
            Ok(held) => Ok(held),
            Err(Stop::Batch(error)) => Err(error),
            Err(Stop::Group(fault)) => return Err(before(fault)),
        });
    }
    group.flush().map_err(before)?;
    let commits = log.commits;
    let done = connection
        .prepare_cached("COMMIT")
        .and_then(|mut commit| commit.execute([]));
    match done {
        Ok(_) => Ok(verdicts),
        Err(error) => Err(Failed::AtCommit {
            fault: Fault::of(&error),
            verdicts,
            commits,
        }),
    }
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Batch(error)
    }
}

struct Group<'a> {
    connection: &'a Connection,
    log: &'a mut Log,
    /// What batches of this group took; written once per counter, at the end.
    taken: HashMap<Box<[u8]>, (Vec<u8>, Timestamp), RandomState>,
    /// The leaves of the batch at hand: they join the tree when all its entries are in.
    leaves: Vec<Hash>,
    any_held: bool,
    insert_entry: CachedStatement<'a>,
    savepoint: CachedStatement<'a>,
    release: CachedStatement<'a>,
}

impl<'a> Group<'a> {
    fn new(connection: &'a Connection, log: &'a mut Log) -> Result<Self, Fault> {
        let prepare = |sql| {
            let prepared = connection.prepare_cached(sql);
            prepared.map_err(|error| Fault::inside(connection, &error))
        };
        Ok(Self {
            connection,
            log,
            taken: HashMap::default(),
            leaves: Vec::new(),
            any_held: false,
            insert_entry: prepare(INSERT_ENTRY)?,
            savepoint: prepare("SAVEPOINT batch")?,
            release: prepare("RELEASE batch")?,
        })
    }

    fn apply(&mut self, batch: &Batch, clock: &dyn Clock) -> Result<Held, Stop> {
        let clock = clock.now();
        batch.check_deadline(clock)?;
        let now = self.log.time(clock);
        self.check_reads(&batch.reads)?;
        let taken = take::evaluate(self, &batch.takes, now)?;
        let first_seq = self.log.frontier.size();
        if is_one_statement(batch) {
            // A single INSERT undoes itself when it fails.
            self.insert_entries(&batch.entries, now)?;
        } else {
            self.change(batch, now)?;
        }
        // INVARIANT: from here on nothing of the batch can fail, so memory and transaction agree.
        for state in self.leaves.drain(..) {
            self.log.frontier.append(state);
        }
        for (counter, state) in taken {
            self.taken.insert(counter.into(), (state, now));
        }
        for kill in &batch.kills {
            self.log.revocation = self.log.revocation.append(*kill);
            self.log.handles.put(kill.handle, kill.generation);
        }
        self.log.last_time = now;
        self.any_held = true;
        Ok(Held {
            first_seq: (!batch.entries.is_empty()).then_some(first_seq),
            time: now,
        })
    }

    fn check_reads(&mut self, reads: &[Mark]) -> Result<(), Stop> {
        for mark in reads {
            let current = log::generation(self.log, self.connection, mark.handle);
            let current = current.map_err(|error| self.stop(None, &error))?;
            if current != Some(mark.generation) {
                return Err(Stop::Batch(CommitError::Conflict { write: None }));
            }
        }
        Ok(())
    }

    /// Kills, writes and entries, undone together if one of them fails.
    fn change(&mut self, batch: &Batch, now: Timestamp) -> Result<(), Stop> {
        let begun = self.savepoint.execute([]);
        begun.map_err(|error| Stop::Group(Fault::inside(self.connection, &error)))?;
        let changed = self
            .kill(&batch.kills)
            .and_then(|()| self.write(&batch.writes))
            .and_then(|()| self.insert_entries(&batch.entries, now));
        if matches!(changed, Err(Stop::Group(_))) {
            return changed;
        }
        if changed.is_err() {
            let undo = self.connection.prepare_cached("ROLLBACK TO batch");
            let undone = undo.and_then(|mut undo| undo.execute([]));
            undone.map_err(|error| Stop::Group(as_group_fault(self.connection, &error)))?;
        }
        let released = self.release.execute([]);
        released.map_err(|error| Stop::Group(as_group_fault(self.connection, &error)))?;
        changed
    }

    fn kill(&mut self, kills: &[Mark]) -> Result<(), Stop> {
        let mut head = self.log.revocation;
        for kill in kills {
            head = head.append(*kill);
            let raised = self.raise(*kill, head.rseq, &head.rhash);
            if !raised.map_err(|error| self.stop(None, &error))? {
                return Err(Stop::Batch(CommitError::Conflict { write: None }));
            }
        }
        Ok(())
    }

    /// Raises one generation and records it; `false` when it is already as high.
    fn raise(&self, kill: Mark, rseq: u64, rhash: &Hash) -> rusqlite::Result<bool> {
        let handle = handle::encode(kill.handle);
        let generation = to_i64(kill.generation)?;
        let mut raise = self.connection.prepare_cached(RAISE)?;
        if generation == 0 || raise.execute(params![handle, generation])? != 1 {
            return Ok(false);
        }
        let mut insert = self.connection.prepare_cached(INSERT_KILL)?;
        insert.execute(params![to_i64(rseq)?, handle, generation, rhash])?;
        Ok(true)
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), Stop> {
        for (index, write) in writes.iter().enumerate() {
            let prepared = self.connection.prepare_cached(&write.sql);
            let mut statement = prepared.map_err(|error| self.stop(Some(index), &error))?;
            // So is COMMIT, which would end the group in the middle.
            if statement.readonly() {
                return Err(Stop::Batch(CommitError::Rejected {
                    write: Some(index),
                    reason: "the statement changes no rows".to_owned(),
                }));
            }
            let changed = statement
                .execute(params_from_iter(write.params.iter().map(Bound)))
                .map_err(|error| self.stop(Some(index), &error))?;
            let holds = match write.rows {
                Rows::Any => true,
                Rows::Exactly(rows) => u64::try_from(changed) == Ok(rows),
            };
            if !holds {
                let conflict = CommitError::Conflict { write: Some(index) };
                return Err(Stop::Batch(conflict));
            }
        }
        Ok(())
    }

    fn insert_entries(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), Stop> {
        self.leaves.clear();
        for (entry, seq) in entries.iter().zip(self.log.frontier.size()..) {
            let inserted = self.insert_entry(entry, seq, now);
            if let Err(error) = inserted {
                return Err(if is_taken_number(&error) {
                    Stop::Group(Fault::OtherWriter)
                } else {
                    self.stop(None, &error)
                });
            }
        }
        Ok(())
    }

    fn insert_entry(&mut self, entry: &Entry, seq: u64, now: Timestamp) -> rusqlite::Result<()> {
        let leaf = self.log.leaf(entry, seq, now);
        let seq = to_i64(seq)?;
        let columns = entry.projections();
        self.insert_entry.execute(params![
            seq,
            now.as_micros(),
            columns.id,
            columns.kind,
            columns.outcome,
            columns.code,
            columns.actor,
            columns.subject,
            columns.agent,
            columns.action,
            columns.resource,
            columns.request_id,
            entry.body(),
            entry.salt(),
            entry.personal(),
            leaf,
        ])?;
        if !columns.chain.is_empty() {
            let mut insert = self.connection.prepare_cached(INSERT_MEMBER)?;
            for member in &columns.chain {
                insert.execute(params![member, seq])?;
            }
        }
        self.leaves.push(leaf);
        Ok(())
    }

    /// Stores what the group took, and the head. A group in which nothing held stores nothing.
    fn flush(self) -> Result<(), Fault> {
        if !self.any_held {
            return Ok(());
        }
        let connection = self.connection;
        let stored = || -> rusqlite::Result<bool> {
            let mut store = connection.prepare_cached(STORE_COUNTER)?;
            for (counter, (state, time)) in self.taken {
                store.execute(params![&counter[..], state, time.as_micros()])?;
                self.log.counters.put(counter, state);
            }
            log::save(self.log, connection)
        };
        match stored() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::OtherWriter),
            Err(error) => Err(as_group_fault(connection, &error)),
        }
    }

    fn stop(&self, write: Option<usize>, error: &rusqlite::Error) -> Stop {
        stop(self.connection, write, error)
    }
}

impl Counters for Group<'_> {
    type Error = Stop;

    fn state(&mut self, counter: &[u8]) -> Result<Option<&[u8]>, Stop> {
        if let Some((state, _)) = self.taken.get(counter) {
            return Ok(Some(state));
        }
        log::counter(self.log, self.connection, counter)
            .map_err(|error| stop(self.connection, None, &error))
    }
}

/// Whether the batch is one INSERT into the ledger at most, which needs no savepoint.
fn is_one_statement(batch: &Batch) -> bool {
    batch.writes.is_empty()
        && batch.kills.is_empty()
        && match batch.entries.as_slice() {
            [] => true,
            [entry] => entry.projections().chain.is_empty(),
            _ => false,
        }
}

fn stop(connection: &Connection, write: Option<usize>, error: &rusqlite::Error) -> Stop {
    match Fault::inside(connection, error) {
        Fault::Data(reason) => Stop::Batch(CommitError::Rejected { write, reason }),
        fault => Stop::Group(fault),
    }
}

/// A statement of our own that fails is never one batch's fault.
fn as_group_fault(connection: &Connection, error: &rusqlite::Error) -> Fault {
    match Fault::inside(connection, error) {
        Fault::Data(reason) => Fault::Disk(reason),
        fault => fault,
    }
}

/// Whether the ledger already has a record of this number: somebody else numbers this log.
fn is_taken_number(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID
        )
    })
}
