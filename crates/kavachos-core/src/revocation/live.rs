//! What was killed, for look-ups by the millisecond: the generation of each handle that was ever killed.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{Handle, HandleKind, LogHead, Mark};
use crate::token::{Authority, Code, Failure};

/// A handle's bytes and kind beside its generation: 25 bytes, so that a million take little.
type Generations = HashMap<[u8; 16], Packed, RandomState>;

/// A generation without the alignment of a `u64`, which would pad every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Packed([u8; 8]);

impl Packed {
    fn of(generation: u64) -> Self {
        Self(generation.to_be_bytes())
    }

    fn get(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

/// The live set: which generation of each handle is the lowest that lives, in which epoch, as of which head.
#[derive(Debug, Clone, Default)]
pub struct LiveSet {
    epoch: u64,
    head: LogHead,
    /// By kind, in the order of its numbers: handles are random, and of one kind each.
    generations: [Generations; 6],
}

impl LiveSet {
    /// The set of an issuer that has killed nothing.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// A set as it was taken from an issuer: the highest generation of each handle, and the head that it goes with.
    pub fn from_snapshot(epoch: u64, head: LogHead, marks: impl IntoIterator<Item = Mark>) -> Self {
        let mut set = Self::new(epoch);
        for mark in marks {
            set.raise(mark);
        }
        set.head = head;
        set
    }

    /// The issuer's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The head of the log up to which the set goes.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// How many handles were killed.
    pub fn len(&self) -> usize {
        self.generations.iter().map(HashMap::len).sum()
    }

    /// Whether nothing was killed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next record of the log in.
    pub fn apply(&mut self, kill: Mark) {
        self.raise(kill);
        self.head = self.head.append(kill);
    }

    fn raise(&mut self, mark: Mark) {
        if let Some(known) = self.generations.get_mut(place(mark.handle.kind)) {
            let lowest = known.entry(mark.handle.bytes).or_default();
            *lowest = Packed::of(lowest.get().max(mark.generation));
        }
    }

    /// The lowest generation of a handle that lives.
    #[inline]
    pub fn generation(&self, handle: &Handle) -> u64 {
        let known = self.generations.get(place(handle.kind));
        known
            .and_then(|known| known.get(&handle.bytes))
            .map_or(0, |lowest| lowest.get())
    }

    /// Whether something of this generation is dead.
    #[inline]
    pub fn is_dead(&self, mark: &Mark) -> bool {
        mark.generation < self.generation(&mark.handle)
    }

    /// Whether an authority is alive: it is of this epoch, and nothing that it comes from was killed.
    ///
    /// # Errors
    /// [`Code::Revoked`]; [`Code::RevocationStale`] when it is of an epoch that is not known yet.
    pub fn check(&self, authority: &Authority) -> Result<(), Failure> {
        if authority.epoch > self.epoch {
            return Err(Failure::new(
                Code::RevocationStale,
                "the token is of a later epoch of its issuer than the one that is followed here",
            ));
        }
        if authority.epoch < self.epoch || authority.all_marks().any(|mark| self.is_dead(&mark)) {
            return Err(Failure::new(
                Code::Revoked,
                "the token, or something that it comes from, was revoked",
            ));
        }
        Ok(())
    }
}

const fn place(kind: HandleKind) -> usize {
    // The numbers of the kinds are 1 to 6.
    (kind as usize).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: HandleKind, byte: u8, generation: u64) -> Mark {
        Mark {
            handle: Handle {
                kind,
                bytes: [byte; 16],
            },
            generation,
        }
    }

    #[test]
    fn a_kill_ends_lower_generations_of_its_own_handle_and_kind() {
        let mut set = LiveSet::new(1);
        set.apply(mark(HandleKind::Agent, 1, 3));
        for (mark, dead) in [
            (mark(HandleKind::Agent, 1, 2), true),
            (mark(HandleKind::Agent, 1, 3), false),
            (mark(HandleKind::Agent, 2, 0), false),
            (mark(HandleKind::Grant, 1, 0), false),
        ] {
            assert_eq!(set.is_dead(&mark), dead, "{mark:?}");
        }
    }

    #[test]
    fn a_generation_never_falls() {
        let mut set = LiveSet::new(1);
        set.apply(mark(HandleKind::User, 1, 5));
        set.apply(mark(HandleKind::User, 1, 4));
        assert!(set.is_dead(&mark(HandleKind::User, 1, 4)));
        assert_eq!((set.len(), set.head().rseq), (1, 2));
    }

    #[test]
    fn a_snapshot_is_the_set_that_the_records_make() {
        let kills = [mark(HandleKind::Key, 1, 1), mark(HandleKind::Grant, 2, 7)];
        let mut applied = LiveSet::new(1);
        kills.iter().for_each(|kill| applied.apply(*kill));
        let taken = LiveSet::from_snapshot(1, applied.head(), kills);
        assert_eq!((taken.head(), taken.len()), (applied.head(), applied.len()));
        assert!(
            kills
                .iter()
                .all(|kill| taken.generation(&kill.handle) == kill.generation)
        );
    }
}
