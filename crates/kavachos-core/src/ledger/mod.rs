//! The ledger: how a record becomes bytes, bytes a leaf, and leaves a tree that shows every later change.
//!
//! Promises: the encoding is fixed from the first record on, and the same record gives the same bytes everywhere.
//! It knows nothing of storage: who numbers a record ([`leaf`]) and keeps the tree's edge ([`Frontier`]) is the
//! store's writer.

mod members;
mod merkle;
mod record;

use sha2::{Digest, Sha256};

use crate::id::{Id, Named};
use crate::time::Timestamp;

pub use merkle::{EMPTY_ROOT, Frontier, Hash};
pub use record::{
    Actor, Blinding, Cost, Entry, MAX_RECORD_BYTES, MAX_USER_AGENT_BYTES, Outcome, Personal,
    Projections, Record, RevocationPoint,
};

/// The name of one log: 16 random bytes, part of every leaf, so that no record can be moved to another log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// Names people in the ledger.
#[derive(Debug)]
pub enum Person {}

impl Named for Person {
    const PREFIX: &'static str = "person";
}

/// A person as the ledger knows them: a random name of their own, made with [`Id::from_bits`] of 128 random bits.
///
/// It differs from the user id, so that erasing the table that joins the two leaves no trace of a person in the tree.
pub type Pseudonym = Id<Person>;

/// The version of the encoding, the second byte that a leaf hashes.
const LEAF_VERSION: u8 = 1;
/// RFC 6962, 2.1: what a leaf hashes first, so that no leaf can pass for an inner node.
const LEAF_PREFIX: u8 = 0x00;

/// The hash of one record at its place: `SHA-256(0x00 || 1 || log || seq || time || body)`, integers big-endian.
///
/// `seq` is the index of the leaf in the tree: the first record has 0.
pub fn leaf(log: LogId, seq: u64, time: Timestamp, body: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update([LEAF_PREFIX, LEAF_VERSION]);
    hash.update(log.0);
    hash.update(seq.to_be_bytes());
    hash.update(time.as_micros().to_be_bytes());
    hash.update(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_depends_on_log_place_time_and_body() {
        let time = Timestamp::from_micros(5);
        let base = leaf(LogId([1; 16]), 2, time, "{}");
        let others = [
            leaf(LogId([2; 16]), 2, time, "{}"),
            leaf(LogId([1; 16]), 3, time, "{}"),
            leaf(LogId([1; 16]), 2, Timestamp::from_micros(6), "{}"),
            leaf(LogId([1; 16]), 2, time, "[]"),
        ];
        assert!(!others.contains(&base));
    }

    #[test]
    fn a_leaf_is_the_hash_of_exactly_these_bytes() {
        let mut bytes = vec![0, 1];
        bytes.extend([7; 16]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 0]);
        bytes.extend(b"{\"a\":1}");
        let expected: Hash = Sha256::digest(&bytes).into();
        let time = Timestamp::from_micros(256);
        assert_eq!(leaf(LogId([7; 16]), 9, time, "{\"a\":1}"), expected);
    }
}
