//! Which proofs were used: each at most once while it could hold, in bounded memory.
//!
//! A proof is looked at here only after everything else about it and its token was found right, so only holders of live
//! tokens take space. What an agent takes is counted over all its keys and tokens, and what a human's agents take
//! together; the fuller it is the less each of them may have, so there is always room for others. What is full refuses;
//! nothing is forgotten early.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;
use kavachos_core::id::AgentId;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{MAX_PROOF_AGE, Proof, Subject};
use sha2::{Digest, Sha256};

/// Proofs are forgotten by the bucket, so in steps of this.
const BUCKET: Duration = Duration::from_secs(16);
/// An agent may have as much as the part of the free space that this divides it into; a human's agents as much as all of
/// it. So one agent never fills more than a fifth, and one human more than half.
const PART_OF_FREE: usize = 4;

/// What is remembered of a proof: a hash of its key and its name.
type Seen = [u8; 16];

/// Whose token a proof came with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    pub(crate) agent: AgentId,
    pub(crate) human: &'a Subject,
}

/// Why a proof cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It was used.
    Replayed,
    /// It ended before what is still remembered begins: the clock went back.
    Forgotten,
    /// Its agent, its human's agents, or all together used too many.
    TooMany,
}

/// The proofs that ended, or will end, in the same stretch of time.
#[derive(Debug, Default)]
struct Bucket {
    number: u64,
    seen: HashSet<Seen, RandomState>,
    by_agent: HashMap<AgentId, usize, RandomState>,
    by_human: HashMap<Subject, usize, RandomState>,
}

/// The proofs that were used and could still hold.
#[derive(Debug)]
pub(crate) struct Replays {
    per_agent: usize,
    most: usize,
    /// By number, the oldest first.
    buckets: VecDeque<Bucket>,
    /// Buckets below this are forgotten.
    floor: u64,
}

impl Replays {
    /// Remembers so many proofs of one agent, and so many in all.
    pub(crate) fn new(per_agent: usize, most: usize) -> Self {
        Self {
            per_agent,
            most,
            buckets: VecDeque::new(),
            floor: 0,
        }
    }

    /// How many proofs are remembered.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.seen.len()).sum()
    }

    /// Whether a proof was used.
    pub(crate) fn has_seen(&self, proof: &Proof) -> bool {
        let name = name(proof);
        (self.buckets.iter()).any(|bucket| bucket.seen.contains(&name))
    }

    /// Uses a proof, if it was not used before.
    pub(crate) fn use_up(
        &mut self,
        proof: &Proof,
        holder: Holder<'_>,
        now: Timestamp,
    ) -> Result<(), Unusable> {
        self.forget(bucket_of(now));
        let number = bucket_of(proof.issued_at.plus(MAX_PROOF_AGE));
        if number < self.floor {
            return Err(Unusable::Forgotten);
        }
        if self.has_seen(proof) {
            return Err(Unusable::Replayed);
        }
        if !self.has_room_for(holder) {
            return Err(Unusable::TooMany);
        }
        self.remember(number, name(proof), holder);
        Ok(())
    }

    /// Whether the holder has taken less than its part of what is still free.
    fn has_room_for(&self, holder: Holder<'_>) -> bool {
        let free = self.most.saturating_sub(self.len());
        let of_agent = |bucket: &Bucket| bucket.by_agent.get(&holder.agent).copied().unwrap_or(0);
        let of_agent: usize = self.buckets.iter().map(of_agent).sum();
        let of_human = |bucket: &Bucket| bucket.by_human.get(holder.human).copied().unwrap_or(0);
        let of_human: usize = self.buckets.iter().map(of_human).sum();
        of_agent < self.per_agent && of_agent.saturating_mul(PART_OF_FREE) < free && of_human < free
    }

    /// Drops what ended before this bucket; never goes back.
    fn forget(&mut self, current: u64) {
        self.floor = self.floor.max(current);
        while (self.buckets.front()).is_some_and(|bucket| bucket.number < self.floor) {
            self.buckets.pop_front();
        }
    }

    fn remember(&mut self, number: u64, name: Seen, holder: Holder<'_>) {
        let place = (self.buckets).partition_point(|bucket| bucket.number < number);
        let known = (self.buckets.get_mut(place)).filter(|bucket| bucket.number == number);
        let mut new = Bucket::default();
        let missing = known.is_none();
        let bucket = known.unwrap_or(&mut new);
        bucket.seen.insert(name);
        *bucket.by_agent.entry(holder.agent).or_default() += 1;
        match bucket.by_human.get_mut(holder.human) {
            Some(count) => *count += 1,
            None => {
                bucket.by_human.insert(holder.human.clone(), 1);
            }
        }
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

    fn human(name: &str) -> Subject {
        format!("pair_{name}").parse().unwrap()
    }

    /// Uses a proof of an agent of a human.
    fn use_up(
        replays: &mut Replays,
        proof: &Proof,
        (agent, name): (u128, &str),
        now: Timestamp,
    ) -> Result<(), Unusable> {
        let holder = Holder {
            agent: AgentId::from_bits(agent),
            human: &human(name),
        };
        replays.use_up(proof, holder, now)
    }

    const ADA: (u128, &str) = (1, "ada");

    #[test]
    fn a_proof_is_used_once_and_another_name_or_key_is_another_proof() {
        let mut replays = Replays::new(10, 100);
        let mut used = |proof: &Proof| use_up(&mut replays, proof, ADA, now());
        assert_eq!(used(&proof("a", 1, now())), Ok(()));
        assert_eq!(used(&proof("a", 1, now())), Err(Unusable::Replayed));
        assert_eq!(used(&proof("b", 1, now())), Ok(()));
        assert_eq!(used(&proof("a", 2, now())), Ok(()));
        // The twin: who remembers nothing takes the same proof again.
        let forgetful = || {
            use_up(
                &mut Replays::new(10, 100),
                &proof("a", 1, now()),
                ADA,
                now(),
            )
        };
        assert_eq!((forgetful(), forgetful()), (Ok(()), Ok(())));
    }

    #[test]
    fn a_proof_is_remembered_for_as_long_as_it_holds() {
        // From the future as far as that goes, to the last second in which it holds.
        for made in [now(), now().plus(CLOCK_SKEW)] {
            let mut replays = Replays::new(10, 100);
            assert_eq!(
                use_up(&mut replays, &proof("a", 1, made), ADA, now()),
                Ok(())
            );
            let last = made.plus(MAX_PROOF_AGE);
            let again = use_up(&mut replays, &proof("a", 1, made), ADA, last);
            assert_eq!(again, Err(Unusable::Replayed));
            let later = last.plus(BUCKET);
            use_up(&mut replays, &proof("b", 1, later), ADA, later).unwrap();
            assert_eq!(replays.len(), 1, "and no longer");
        }
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_proof_usable_again() {
        let mut replays = Replays::new(10, 100);
        assert_eq!(
            use_up(&mut replays, &proof("a", 1, now()), ADA, now()),
            Ok(())
        );
        let later = now().plus(Duration::from_secs(300));
        use_up(&mut replays, &proof("b", 1, later), ADA, later).unwrap();
        let back = use_up(&mut replays, &proof("a", 1, now()), ADA, now());
        assert_eq!(back, Err(Unusable::Forgotten));
    }

    /// How many proofs, each by a key of its own, these holders can use one after the other, and whether another
    /// human's agent can use one afterwards.
    fn filled(replays: &mut Replays, holder: impl Fn(u8) -> (u128, String)) -> (usize, bool) {
        let used = (0..=u8::MAX).filter(|key| {
            let (agent, human) = holder(*key);
            use_up(replays, &proof("a", *key, now()), (agent, &human), now()).is_ok()
        });
        let used = used.count();
        let other = use_up(replays, &proof("other", 1, now()), (999, "bob"), now());
        (used, other.is_ok())
    }

    #[test]
    fn an_agent_with_many_keys_cannot_take_the_space_of_others() {
        let one_agent = |_| (1, "ada".to_owned());
        assert_eq!(filled(&mut Replays::new(10, 100), one_agent), (10, true));
        assert_eq!(
            filled(&mut Replays::new(usize::MAX, 100), one_agent),
            (20, true),
            "a fifth"
        );
        let one_human = |key: u8| (u128::from(key), "ada".to_owned());
        assert_eq!(
            filled(&mut Replays::new(10, 100), one_human),
            (50, true),
            "half"
        );
        // The twin: where each key counts for itself, as if it were an agent of a human of its own, keys fill it.
        let by_key = |key: u8| (u128::from(key), format!("human{key}"));
        assert_eq!(filled(&mut Replays::new(10, 100), by_key), (100, false));
    }

    #[test]
    fn what_is_full_forgets_nothing_early() {
        let mut replays = Replays::new(10, 5);
        let by_key = |key: u8| (u128::from(key), format!("human{key}"));
        filled(&mut replays, by_key);
        let again = use_up(&mut replays, &proof("a", 0, now()), ADA, now());
        assert_eq!(again, Err(Unusable::Replayed));
        let later = now().plus(MAX_PROOF_AGE + BUCKET);
        assert_eq!(
            use_up(&mut replays, &proof("b", 9, later), ADA, later),
            Ok(())
        );
    }
}
