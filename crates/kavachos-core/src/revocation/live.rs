//! What was killed, for look-ups by the millisecond: the generation of each handle that was ever killed.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use super::{Handle, HandleKind, LogHead, Mark};
use crate::token::{Authority, Code, Failure};

/// In how many tables the handles of one kind lie. A table that grows is held twice for a moment, and is copied while
/// nobody can look things up: of sixteen small ones neither is noticed.
const SHELVES: usize = 16;

/// What the digest of a set begins with, so that it is the digest of nothing else.
const DOMAIN: &[u8] = b"kavachos revocation set 1\n";

/// How many bits of a [`Shelf`]'s filter there are for each handle in it, at least.
const BITS_EACH: usize = 8;
/// The fewest words of a filter.
const FEWEST_WORDS: usize = 4;

/// A handle's bytes beside its generation: 24 bytes, so that a million take little.
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
    /// By kind, in the order of its numbers, then by a byte of the handle, which is random.
    generations: [[Shelf; SHELVES]; HandleKind::ALL.len()],
}

/// Some of the handles of one kind.
///
/// Nearly every handle that is looked up was never killed, and a table of many lies in no cache. So each has a filter before
/// it, a bit for each handle by its first bytes, which are random: where the bit is not set the table is not looked at.
#[derive(Debug, Clone, Default)]
struct Shelf {
    generations: Generations,
    /// INVARIANT: none, or a power of two, with [`BITS_EACH`] for each handle, of each of which the bit is set.
    filter: Vec<u64>,
}

impl Shelf {
    #[inline]
    fn get(&self, bytes: &[u8; 16]) -> Option<u64> {
        let (word, bit) = bit_of(bytes, self.filter.len())?;
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        self.generations.get(bytes).map(|lowest| lowest.get())
    }

    fn set(&mut self, bytes: [u8; 16], lowest: u64) {
        self.generations.insert(bytes, Packed::of(lowest));
        let words = self.filter.len();
        if words * 64 < self.generations.len() * BITS_EACH {
            let mut wider = vec![0; (words * 2).max(FEWEST_WORDS)];
            (self.generations.keys()).for_each(|bytes| note(&mut wider, bytes));
            self.filter = wider;
        } else {
            note(&mut self.filter, &bytes);
        }
    }

    /// The bit of a handle that is taken out stays: it may be another's too.
    fn take_out(&mut self, bytes: &[u8; 16]) {
        self.generations.remove(bytes);
    }
}

fn note(filter: &mut [u64], bytes: &[u8; 16]) {
    if let Some((word, bit)) = bit_of(bytes, filter.len())
        && let Some(word) = filter.get_mut(word)
    {
        *word |= bit;
    }
}

/// The bit of a handle in a filter of so many words: in which word, and which of it; `None` without a filter.
#[inline]
fn bit_of(bytes: &[u8; 16], words: usize) -> Option<(usize, u64)> {
    let last = words.checked_sub(1)?;
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    // As many bits as a word of any machine has.
    let word = usize::try_from(number >> 6 & u64::from(u32::MAX)).unwrap_or_default() & last;
    Some((word, 1 << (number & 63)))
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
        set.merge(head, marks);
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
        let shelves = self.generations.iter().flatten();
        shelves.map(|shelf| shelf.generations.len()).sum()
    }

    /// Whether nothing was killed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every handle that was killed, with the lowest generation of it that lives, in no order.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let kinds = HandleKind::ALL.into_iter().zip(&self.generations);
        kinds.flat_map(|(kind, shelves)| {
            let held = shelves.iter().flat_map(|shelf| &shelf.generations);
            held.map(move |(bytes, lowest)| Mark {
                handle: Handle {
                    kind,
                    bytes: *bytes,
                },
                generation: lowest.get(),
            })
        })
    }

    /// The digest of what is in the set, which a snapshot's head carries: see [`digest_of`].
    pub fn digest(&self) -> [u8; 32] {
        digest_of(&self.marks().collect::<Vec<_>>())
    }

    /// Takes the next record of the log in.
    pub fn apply(&mut self, kill: Mark) {
        self.raise(kill);
        self.head = self.head.append(kill);
    }

    /// Takes a snapshot in, and forgets nothing.
    pub(super) fn merge(&mut self, head: LogHead, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            self.raise(mark);
        }
        self.head = head;
    }

    fn raise(&mut self, mark: Mark) {
        if let Some(shelf) = self.shelf(&mark.handle) {
            let lowest = shelf.get(&mark.handle.bytes).unwrap_or(0);
            shelf.set(mark.handle.bytes, lowest.max(mark.generation));
        }
    }

    /// Takes the last record back: what the generation was before it, and which head.
    pub(super) fn take_back(&mut self, before: Mark, head: LogHead) {
        self.head = head;
        let Some(shelf) = self.shelf(&before.handle) else {
            return;
        };
        if before.generation == 0 {
            shelf.take_out(&before.handle.bytes);
        } else {
            shelf.set(before.handle.bytes, before.generation);
        }
    }

    fn shelf(&mut self, handle: &Handle) -> Option<&mut Shelf> {
        let (kind, shelf) = place(handle);
        self.generations.get_mut(kind)?.get_mut(shelf)
    }

    /// The lowest generation of a handle that lives.
    #[inline]
    pub fn generation(&self, handle: &Handle) -> u64 {
        let (kind, shelf) = place(handle);
        (self.generations.get(kind))
            .and_then(|shelves| shelves.get(shelf)?.get(&handle.bytes))
            .unwrap_or(0)
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

/// The digest of a set of marks: SHA-256 over a text that no other digest begins with, then for each mark, in the order
/// of kind and handle, the kind in one byte, the 16 bytes of the handle and the generation in 8, big-endian.
///
/// Marks in another order are sorted first; a snapshot is best sent in order.
pub fn digest_of(marks: &[Mark]) -> [u8; 32] {
    let mut sorted = Cow::Borrowed(marks);
    if !marks.is_sorted() {
        sorted.to_mut().sort_unstable();
    }
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    for mark in sorted.iter() {
        hash.update([mark.handle.kind as u8]);
        hash.update(mark.handle.bytes);
        hash.update(mark.generation.to_be_bytes());
    }
    hash.finalize().into()
}

const fn place(handle: &Handle) -> (usize, usize) {
    // The numbers of the kinds are 1 to 6.
    let kind = (handle.kind as usize).saturating_sub(1);
    let [.., last] = handle.bytes;
    (kind, last as usize % SHELVES)
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
    fn what_was_killed_is_found_however_many_there_are_and_nothing_else_is() {
        let handle = |number: u64| Handle {
            kind: HandleKind::Grant,
            // All on one shelf, the last byte being the same, and many with the same bit.
            bytes: (u128::from(number % 97) | u128::from(number) << 64).to_le_bytes(),
        };
        let mut set = LiveSet::new(1);
        for number in 0..5_000 {
            assert_eq!(set.generation(&handle(number)), 0, "{number}");
            set.apply(Mark {
                handle: handle(number),
                generation: number + 1,
            });
        }
        for number in 0..5_000 {
            assert_eq!(set.generation(&handle(number)), number + 1);
            assert_eq!(set.generation(&handle(number + 5_000)), 0);
        }
        assert_eq!(set.len(), 5_000);
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

    #[test]
    fn the_digest_is_of_the_content_whatever_the_order() {
        let marks = [
            mark(HandleKind::Key, 1, 1),
            mark(HandleKind::Grant, 2, 7),
            mark(HandleKind::Grant, 1, 7),
        ];
        let set = LiveSet::from_snapshot(3, LogHead::EMPTY, marks);
        let mut sorted = marks;
        sorted.sort_unstable();
        assert_eq!(set.digest(), digest_of(&marks));
        assert_eq!(set.digest(), digest_of(&sorted));
    }

    #[test]
    fn every_part_of_every_mark_is_in_the_digest() {
        let marks = [mark(HandleKind::Grant, 1, 1), mark(HandleKind::Key, 1, 1)];
        let digests = [
            digest_of(&marks),
            digest_of(&marks[..1]),
            digest_of(&[marks[0], mark(HandleKind::Key, 1, 2)]),
            digest_of(&[marks[0], mark(HandleKind::Key, 2, 1)]),
            digest_of(&[marks[0], mark(HandleKind::Agent, 1, 1)]),
            digest_of(&[]),
        ];
        let different: std::collections::HashSet<_> = digests.into_iter().collect();
        assert_eq!(different.len(), digests.len());
    }

    #[test]
    fn a_record_that_is_taken_back_leaves_no_trace() {
        let mut set = LiveSet::new(1);
        set.apply(mark(HandleKind::Agent, 1, 3));
        let (digest, head) = (set.digest(), set.head());
        for kill in [mark(HandleKind::Agent, 1, 9), mark(HandleKind::Agent, 2, 1)] {
            let generation = set.generation(&kill.handle);
            set.apply(kill);
            assert_ne!(set.digest(), digest);
            let before = Mark { generation, ..kill };
            set.take_back(before, head);
            assert_eq!((set.digest(), set.head()), (digest, head));
        }
    }
}
