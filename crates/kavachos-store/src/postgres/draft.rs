//! What a group would leave behind, in memory: generations, counters, the revocation log, the time.
//!
//! All that a group may ask for is looked up before it begins, since a pipeline cannot stop in the middle. A batch that
//! turns out bad is taken back, together with those after it, and they are judged again.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kavachos_core::revocation::{Handle, LogHead, Mark};
use kavachos_core::time::Timestamp;

use crate::answer::CommitError;
use crate::batch::Batch;
use crate::handle;
use crate::host::Clock;
use crate::writer::log::Log;
use crate::writer::take::{self, Counters};

/// The generation of each handle that was looked up; `None` for one that was never stored.
pub(super) type Handles = HashMap<Handle, Option<u64>, RandomState>;

/// The counters that were looked up.
pub(super) type Stands = HashMap<Box<[u8]>, Stand, RandomState>;

/// What a counter has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand {
    /// `None` when nothing was ever taken.
    pub(super) state: Option<Vec<u8>>,
    /// When this group took from it.
    pub(super) taken_at: Option<Timestamp>,
}

/// The memory of a group.
pub(super) struct Draft {
    pub(super) handles: Handles,
    pub(super) counters: Stands,
    pub(super) last_time: Timestamp,
    pub(super) revocation: LogHead,
}

/// What one batch changed in the memory, so that it can be taken back.
pub(super) struct Change {
    /// The time of the batch.
    pub(super) time: Timestamp,
    /// The kills and the records of the revocation log that they make.
    pub(super) kills: Vec<(Mark, LogHead)>,
    handles: Vec<(Handle, Option<Option<u64>>)>,
    counters: Vec<(Box<[u8]>, Stand)>,
    last_time: Timestamp,
    revocation: LogHead,
}

impl Draft {
    /// Starts from where the log stands.
    pub(super) fn new(log: &Log, handles: Handles, counters: Stands) -> Self {
        Self {
            handles,
            counters,
            last_time: log.last_time,
            revocation: log.revocation,
        }
    }

    /// Judges what can be judged in memory, and changes it as if the batch held.
    pub(super) fn apply(
        &mut self,
        batch: &Batch,
        clock: &dyn Clock,
    ) -> Result<Change, CommitError> {
        let clock = clock.now();
        batch.check_deadline(clock)?;
        let time = clock.max(self.last_time);
        self.check_reads(&batch.reads)?;
        let taken = take::evaluate(self, &batch.takes, time)?;
        let mut change = Change {
            time,
            kills: Vec::new(),
            handles: Vec::new(),
            counters: Vec::new(),
            last_time: self.last_time,
            revocation: self.revocation,
        };
        if let Err(error) = self.kill(&batch.kills, &mut change) {
            self.take_back(change);
            return Err(error);
        }
        for mark in batch.writes.iter().filter_map(handle::birth) {
            self.set(mark, &mut change);
        }
        for (counter, state) in taken {
            let stand = Stand {
                state: Some(state),
                taken_at: Some(time),
            };
            let before = self.counters.insert(counter.into(), stand);
            let before = before.unwrap_or(Stand {
                state: None,
                taken_at: None,
            });
            change.counters.push((counter.into(), before));
        }
        self.last_time = time;
        Ok(change)
    }

    /// Undoes a change. The last one first.
    pub(super) fn take_back(&mut self, change: Change) {
        for (handle, before) in change.handles.into_iter().rev() {
            match before {
                Some(before) => self.handles.insert(handle, before),
                None => self.handles.remove(&handle),
            };
        }
        self.counters.extend(change.counters);
        self.last_time = change.last_time;
        self.revocation = change.revocation;
    }

    fn check_reads(&self, reads: &[Mark]) -> Result<(), CommitError> {
        let current = |mark: &Mark| self.handles.get(&mark.handle).copied().flatten();
        let all = reads
            .iter()
            .all(|mark| current(mark) == Some(mark.generation));
        if all {
            Ok(())
        } else {
            Err(CommitError::Conflict { write: None })
        }
    }

    fn kill(&mut self, kills: &[Mark], change: &mut Change) -> Result<(), CommitError> {
        for kill in kills {
            let current = self.handles.get(&kill.handle).copied().flatten();
            if kill.generation <= current.unwrap_or_default() {
                return Err(CommitError::Conflict { write: None });
            }
            if i64::try_from(kill.generation).is_err() {
                return Err(CommitError::Rejected {
                    write: None,
                    reason: "a generation is a number beyond 2^63".to_owned(),
                });
            }
            self.revocation = self.revocation.append(*kill);
            change.kills.push((*kill, self.revocation));
            self.set(*kill, change);
        }
        Ok(())
    }

    fn set(&mut self, mark: Mark, change: &mut Change) {
        let before = self.handles.insert(mark.handle, Some(mark.generation));
        change.handles.push((mark.handle, before));
    }
}

impl Counters for Draft {
    type Error = CommitError;

    fn state(&mut self, counter: &[u8]) -> Result<Option<&[u8]>, CommitError> {
        let stand = self.counters.get(counter);
        Ok(stand.and_then(|stand| stand.state.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::counter::Rule;
    use kavachos_core::ledger::Frontier;
    use kavachos_core::revocation::HandleKind;

    use super::*;
    use crate::batch::Take;
    use crate::writer::log::StoredLog;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_000)
        }

        fn running(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    fn mark(generation: u64) -> Mark {
        let handle = Handle {
            kind: HandleKind::Agent,
            bytes: [1; 16],
        };
        Mark { handle, generation }
    }

    fn draft() -> Draft {
        let stored = StoredLog {
            id: [7; 16],
            epoch: 1,
            commits: 0,
            frontier: Frontier::default().encode(),
            last_time: 0,
            revocation: LogHead::EMPTY,
        };
        let handles = [(mark(1).handle, Some(1))].into_iter().collect();
        Draft::new(&stored.check().unwrap(), handles, Stands::default())
    }

    fn full() -> Batch {
        Batch {
            reads: vec![mark(1)],
            takes: vec![Take {
                counter: b"a".as_slice().into(),
                rule: Rule::Budget { amount: 10 },
                n: 10,
            }],
            kills: vec![mark(2), mark(3)],
            ..Batch::default()
        }
    }

    #[test]
    fn what_is_taken_back_never_was() {
        let mut draft = draft();
        let change = draft.apply(&full(), &Still).unwrap();
        assert_eq!(change.kills.len(), 2);
        // While it stands, the same batch is a conflict and its counter is empty.
        assert!(draft.apply(&full(), &Still).is_err());
        draft.take_back(change);
        assert_eq!(draft.handles.get(&mark(1).handle), Some(&Some(1)));
        assert_eq!(draft.revocation, LogHead::EMPTY);
        assert_eq!(draft.last_time, Timestamp::from_micros(0));
        assert!(draft.apply(&full(), &Still).is_ok());
    }

    #[test]
    fn a_batch_that_fails_in_memory_leaves_it_as_it_was() {
        let mut draft = draft();
        let sinking = Batch {
            kills: vec![mark(2), mark(2)],
            ..full()
        };
        assert!(draft.apply(&sinking, &Still).is_err());
        assert!(draft.apply(&full(), &Still).is_ok());
    }

    #[test]
    fn a_birth_is_known_to_the_next_batch_and_forgotten_when_it_is_taken_back() {
        let mut draft = draft();
        let newborn = Mark {
            handle: Handle {
                kind: HandleKind::Grant,
                bytes: [2; 16],
            },
            generation: 1,
        };
        let relying = Batch {
            reads: vec![newborn],
            ..Batch::default()
        };
        let bearing = Batch {
            writes: vec![handle::born(newborn)],
            ..Batch::default()
        };
        assert!(draft.apply(&relying, &Still).is_err());
        let change = draft.apply(&bearing, &Still).unwrap();
        assert!(draft.apply(&relying, &Still).is_ok());
        draft.take_back(change);
        assert!(draft.apply(&relying, &Still).is_err());
    }
}
