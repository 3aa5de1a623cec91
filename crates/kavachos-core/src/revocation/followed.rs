//! The log as a follower has it: what the issuer has signed for, and what came after that and is not signed for yet.
//!
//! Unsigned records are taken in at once, because they can only kill more, but each can be taken back until a signed
//! head goes over it. So a forged record does harm only until the next head, and never to what was signed for.

use std::collections::VecDeque;

use super::wire::Record;
use super::{LiveSet, LogHead, Mark};

/// How many records are taken in beyond the last that a signed head goes over; who is further behind takes a snapshot.
pub const MAX_AHEAD: usize = 16_384;

/// What became of a record that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is the next one, and is taken in.
    Applied,
    /// It was known.
    Known,
    /// Records before it are missing, or too many are unconfirmed: poll.
    Gap,
    /// It contradicts another unsigned record, one of which is forged: the lease has ended; poll.
    Forked,
}

/// A record that no signed head goes over yet.
#[derive(Debug, Clone)]
struct Unsigned {
    /// The head with it.
    head: LogHead,
    /// The handle, and its generation before.
    before: Mark,
}

/// What a follower has of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    set: LiveSet,
    /// The last head that the issuer signed for: the set without what is ahead.
    signed: LogHead,
    ahead: VecDeque<Unsigned>,
}

impl Followed {
    pub(super) fn set(&self) -> &LiveSet {
        &self.set
    }

    pub(super) fn head(&self) -> LogHead {
        self.set.head()
    }

    /// Whether the log went through this head, not longer ago than what was signed for.
    pub(super) fn contains(&self, head: &LogHead) -> bool {
        self.at(head.rseq) == Some(*head)
    }

    fn at(&self, rseq: u64) -> Option<LogHead> {
        let ahead = rseq.checked_sub(self.signed.rseq)?;
        let Some(index) = ahead.checked_sub(1) else {
            return Some(self.signed);
        };
        let index = usize::try_from(index).ok()?;
        self.ahead.get(index).map(|unsigned| unsigned.head)
    }

    /// Takes a pushed record in if it is the next one.
    pub(super) fn push(&mut self, record: &Record) -> Pushed {
        let Some(before) = record.rseq.checked_sub(1) else {
            return Pushed::Known;
        };
        // What contradicts something that is signed for is forged, and of no interest.
        if record.rseq <= self.signed.rseq {
            return Pushed::Known;
        }
        match (self.at(before), self.at(record.rseq)) {
            (Some(before), Some(known)) if before.append(record.kill) == known => Pushed::Known,
            (Some(_), Some(_)) => Pushed::Forked,
            (Some(_), None) if self.append(record.kill) => Pushed::Applied,
            _ => Pushed::Gap,
        }
    }

    /// Takes records in that a signed head goes over, in the place of everything that came after the head that they
    /// start from; `false` if the log does not contain that one.
    pub(super) fn take_signed(&mut self, from: &LogHead, records: &[Record]) -> bool {
        if !self.contains(from) {
            return false;
        }
        self.take_back_to(from);
        self.confirm(from);
        (records.iter()).all(|record| self.append(record.kill))
    }

    /// Takes the next record in; `false` if there is no room.
    fn append(&mut self, kill: Mark) -> bool {
        if self.ahead.len() >= MAX_AHEAD {
            return false;
        }
        let generation = self.set.generation(&kill.handle);
        self.set.apply(kill);
        self.ahead.push_back(Unsigned {
            head: self.set.head(),
            before: Mark { generation, ..kill },
        });
        true
    }

    /// Takes back what came after a head that the log [contains](Self::contains).
    fn take_back_to(&mut self, head: &LogHead) {
        while self.head().rseq > head.rseq {
            let Some(last) = self.ahead.pop_back() else {
                return;
            };
            let previous = self.ahead.back().map_or(self.signed, |last| last.head);
            self.set.take_back(last.before, previous);
        }
    }

    /// A signed head goes over what it contains: that is not taken back any more.
    pub(super) fn confirm(&mut self, head: &LogHead) {
        let is_covered = |unsigned: &Unsigned| unsigned.head.rseq <= head.rseq;
        while self.ahead.front().is_some_and(is_covered) {
            self.ahead.pop_front();
        }
        self.signed = *head;
    }

    /// Everything anew from a snapshot that was signed for.
    ///
    /// In the same epoch nothing that was signed for is forgotten: if the issuer's log was exchanged for another one
    /// that is longer, what it had killed stays dead here. A new epoch ends every token of the old one, and its
    /// generations start from what was restored.
    pub(super) fn replace(&mut self, epoch: u64, head: LogHead, marks: &[Mark]) {
        let signed = self.signed;
        self.take_back_to(&signed);
        if self.set.epoch() != epoch {
            self.set = LiveSet::new(epoch);
        }
        self.set.merge(head, marks.iter().copied());
        self.signed = head;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Handle, HandleKind};
    use super::*;

    fn kill(byte: u8, generation: u64) -> Mark {
        Mark {
            handle: Handle {
                kind: HandleKind::Agent,
                bytes: [byte; 16],
            },
            generation,
        }
    }

    fn record(rseq: u64, byte: u8) -> Record {
        Record {
            rseq,
            kill: kill(byte, 1),
        }
    }

    fn followed(records: u64) -> Followed {
        let mut followed = Followed::default();
        for rseq in 1..=records {
            let byte = u8::try_from(rseq).unwrap();
            assert_eq!(followed.push(&record(rseq, byte)), Pushed::Applied);
        }
        followed
    }

    #[test]
    fn only_the_next_record_is_taken_in() {
        let mut followed = followed(3);
        let digest = followed.set().digest();
        for (record, expected) in [
            (record(0, 1), Pushed::Known),
            (record(2, 2), Pushed::Known),
            (record(3, 3), Pushed::Known),
            (record(2, 9), Pushed::Forked),
            (record(3, 9), Pushed::Forked),
            (record(5, 5), Pushed::Gap),
            (record(u64::MAX, 5), Pushed::Gap),
        ] {
            assert_eq!(followed.push(&record), expected, "{record:?}");
        }
        assert_eq!(followed.set().digest(), digest);
        assert_eq!(followed.push(&record(4, 4)), Pushed::Applied);
    }

    #[test]
    fn what_is_signed_for_cannot_be_contradicted() {
        let mut followed = followed(3);
        assert_eq!(followed.clone().push(&record(2, 9)), Pushed::Forked);
        let head = followed.at(2).unwrap();
        followed.confirm(&head);
        assert_eq!(followed.push(&record(2, 9)), Pushed::Known);
        assert_eq!(followed.push(&record(3, 9)), Pushed::Forked);
        assert!(followed.contains(&head));
    }

    #[test]
    fn what_is_not_signed_for_can_be_taken_back() {
        let mut followed = followed(2);
        let (head, digest) = (followed.head(), followed.set().digest());
        followed.confirm(&head);
        for (rseq, kill) in [(3, kill(1, 5)), (4, kill(1, 7)), (5, kill(8, 1))] {
            assert_eq!(followed.push(&Record { rseq, kill }), Pushed::Applied);
        }
        assert!(followed.set().is_dead(&kill(1, 6)));
        followed.take_back_to(&head);
        assert_eq!((followed.head(), followed.set().digest()), (head, digest));
    }

    #[test]
    fn unsigned_records_have_a_limit() {
        let mut followed = followed(0);
        for rseq in 1..=MAX_AHEAD {
            let rseq = u64::try_from(rseq).unwrap();
            assert_eq!(followed.push(&record(rseq, 1)), Pushed::Applied);
        }
        let next = record(followed.head().rseq + 1, 1);
        assert_eq!(followed.push(&next), Pushed::Gap);
        // The twin: with a head over one of them there is room for one more.
        let first = followed.at(1).unwrap();
        followed.confirm(&first);
        assert_eq!(followed.push(&next), Pushed::Applied);
    }

    #[test]
    fn a_snapshot_of_the_epoch_forgets_what_was_forged_and_nothing_that_was_signed_for() {
        let mut followed = followed(2);
        let head = followed.head();
        followed.confirm(&head);
        followed.push(&record(3, 66));
        let later = LogHead {
            rseq: 9,
            rhash: [9; 32],
        };
        let mut same = followed.clone();
        same.replace(0, later, &[kill(1, 1)]);
        assert!(same.set().is_dead(&kill(2, 0)) && !same.set().is_dead(&kill(66, 0)));
        // The twin: a new epoch starts with nothing but the snapshot.
        followed.replace(1, later, &[kill(1, 1)]);
        assert!(!followed.set().is_dead(&kill(2, 0)) && followed.contains(&later));
    }
}
