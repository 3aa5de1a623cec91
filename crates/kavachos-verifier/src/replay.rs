//! Which proofs were used: each at most once while it could hold, in bounded memory.
//!
//! A proof is looked at here only after everything else about it and its token was found right, so only holders of live
//! tokens take space, and one key cannot take the space of others. What is full refuses; nothing is forgotten early.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{MAX_PROOF_AGE, Proof, Thumbprint};
use sha2::{Digest, Sha256};

/// Proofs are forgotten by the bucket, so in steps of this.
const BUCKET: Duration = Duration::from_secs(16);

/// What is remembered of a proof: a hash of its key and its name.
type Seen = [u8; 16];

/// Why a proof cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It was used.
    Replayed,
    /// It ended before what is still remembered begins: the clock went back.
    Forgotten,
    /// Its key, or all keys together, used too many.
    TooMany,
}

/// The proofs that ended, or will end, in the same stretch of time.
#[derive(Debug, Default)]
struct Bucket {
    number: u64,
    seen: HashSet<Seen, RandomState>,
    by_key: HashMap<Thumbprint, usize, RandomState>,
}

/// The proofs that were used and could still hold.
#[derive(Debug)]
pub(crate) struct Replays {
    per_key: usize,
    most: usize,
    /// By number, the oldest first.
    buckets: VecDeque<Bucket>,
    /// Buckets below this are forgotten.
    floor: u64,
}

impl Replays {
    /// Remembers so many proofs of one key, and so many in all.
    pub(crate) fn new(per_key: usize, most: usize) -> Self {
        Self {
            per_key,
            most,
            buckets: VecDeque::new(),
            floor: 0,
        }
    }

    /// How many proofs are remembered.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.seen.len()).sum()
    }

    /// Uses a proof, if it was not used before.
    pub(crate) fn use_up(&mut self, proof: &Proof, now: Timestamp) -> Result<(), Unusable> {
        self.forget(bucket_of(now));
        let number = bucket_of(proof.issued_at.plus(MAX_PROOF_AGE));
        if number < self.floor {
            return Err(Unusable::Forgotten);
        }
        let name = name(proof);
        if (self.buckets.iter()).any(|bucket| bucket.seen.contains(&name)) {
            return Err(Unusable::Replayed);
        }
        let of_key = |bucket: &Bucket| bucket.by_key.get(&proof.key).copied().unwrap_or(0);
        let of_key: usize = self.buckets.iter().map(of_key).sum();
        if of_key >= self.per_key || self.len() >= self.most {
            return Err(Unusable::TooMany);
        }
        self.remember(number, name, proof.key);
        Ok(())
    }

    /// Drops what ended before this bucket; never goes back.
    fn forget(&mut self, current: u64) {
        self.floor = self.floor.max(current);
        while (self.buckets.front()).is_some_and(|bucket| bucket.number < self.floor) {
            self.buckets.pop_front();
        }
    }

    fn remember(&mut self, number: u64, name: Seen, key: Thumbprint) {
        let place = (self.buckets).partition_point(|bucket| bucket.number < number);
        let known = (self.buckets.get_mut(place)).filter(|bucket| bucket.number == number);
        let mut new = Bucket::default();
        let missing = known.is_none();
        let bucket = known.unwrap_or(&mut new);
        bucket.seen.insert(name);
        *bucket.by_key.entry(key).or_default() += 1;
        if missing {
            new.number = number;
            self.buckets.insert(place, new);
        }
    }
}

fn bucket_of(time: Timestamp) -> u64 {
    time.since(Timestamp::MIN).as_secs() / BUCKET.as_secs()
}

fn name(proof: &Proof) -> Seen {
    let mut hash = Sha256::new();
    hash.update(proof.key.0);
    hash.update(proof.id.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut name = [0; 16];
    name.copy_from_slice(hash.first_chunk::<16>().unwrap_or(&[0; 16]));
    name
}

#[cfg(test)]
mod tests {
    use kavachos_core::token::{Algorithm, CLOCK_SKEW, SigningKey};

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn proof(id: &str, key: u8, issued_at: Timestamp) -> Proof {
        let key = SigningKey::from_seed(Algorithm::Ed25519, &[key; 32]).unwrap();
        Proof {
            id: id.to_owned(),
            key: key.thumbprint(),
            public_key: key.public().clone(),
            nonce: None,
            issued_at,
        }
    }

    #[test]
    fn a_proof_is_used_once_and_another_name_or_key_is_another_proof() {
        let mut replays = Replays::new(10, 10);
        assert_eq!(replays.use_up(&proof("a", 1, now()), now()), Ok(()));
        let again = replays.use_up(&proof("a", 1, now()), now());
        assert_eq!(again, Err(Unusable::Replayed));
        assert_eq!(replays.use_up(&proof("b", 1, now()), now()), Ok(()));
        assert_eq!(replays.use_up(&proof("a", 2, now()), now()), Ok(()));
    }

    #[test]
    fn a_proof_is_remembered_for_as_long_as_it_holds() {
        // From the future as far as that goes, to the last second in which it holds.
        for made in [now(), now().plus(CLOCK_SKEW)] {
            let mut replays = Replays::new(10, 10);
            assert_eq!(replays.use_up(&proof("a", 1, made), now()), Ok(()));
            let last = made.plus(MAX_PROOF_AGE);
            let again = replays.use_up(&proof("a", 1, made), last);
            assert_eq!(again, Err(Unusable::Replayed));
            let later = last.plus(BUCKET);
            replays.use_up(&proof("b", 1, later), later).unwrap();
            assert_eq!(replays.len(), 1, "and no longer");
        }
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_proof_usable_again() {
        let mut replays = Replays::new(10, 10);
        assert_eq!(replays.use_up(&proof("a", 1, now()), now()), Ok(()));
        let later = now().plus(Duration::from_secs(300));
        replays.use_up(&proof("b", 1, later), later).unwrap();
        let back = replays.use_up(&proof("a", 1, now()), now());
        assert_eq!(back, Err(Unusable::Forgotten));
    }

    #[test]
    fn one_key_cannot_take_the_space_of_others_and_nothing_is_forgotten_early() {
        let mut replays = Replays::new(2, 3);
        for id in ["a", "b"] {
            replays.use_up(&proof(id, 1, now()), now()).unwrap();
        }
        let more = replays.use_up(&proof("c", 1, now()), now());
        assert_eq!(more, Err(Unusable::TooMany));
        assert_eq!(replays.use_up(&proof("c", 2, now()), now()), Ok(()));
        let more = replays.use_up(&proof("c", 3, now()), now());
        assert_eq!(more, Err(Unusable::TooMany));
        let again = replays.use_up(&proof("a", 1, now()), now());
        assert_eq!(again, Err(Unusable::Replayed));
    }
}
