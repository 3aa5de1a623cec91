//! Generations: how one record kills a principal or a grant and everything that was derived from it.
//!
//! Everything that can be killed has a random *handle* and a *generation*. What is derived from it (a decision, a
//! token) carries both; a kill raises the generation, and whatever carries a lower one is dead. No clock is compared.
//! The log of kills is dense and linked, so that a follower notices a dropped, reordered or forged record.
//!
//! A [`Follower`] is whoever keeps a copy of the log and accepts tokens by it: a tool server, a peer process. It accepts
//! for as long as its [`Lease`] runs, which only the issuer's signed [`FeedHead`] renews: what was killed and
//! acknowledged at T is accepted by no follower with lease S after T + S, whatever the network does. The forms in which
//! issuer and followers talk are [`PollRequest`], [`PollAnswer`], [`SnapshotRequest`], [`SnapshotAnswer`] and [`Record`].

mod fault;
mod followed;
mod follower;
mod head;
mod lease;
mod live;
mod wire;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::invalid::Invalid;
use crate::json::Object;
pub use fault::Fault;
pub use followed::{MAX_AHEAD, Pushed};
pub use follower::{Follower, Need, Progress};
pub use head::FeedHead;
pub use lease::{Lease, Reading};
pub use live::{LiveSet, digest_of};
pub use wire::{
    FollowerName, Instance, MAX_RECORDS, MAX_SNAPSHOT_MARKS, Nonce, PollAnswer, PollRequest,
    Record, SnapshotAnswer, SnapshotRequest,
};

/// What a handle belongs to; the number is part of the log's hash and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HandleKind {
    /// A human.
    User = 1,
    /// A signed-in session.
    Session = 2,
    /// An OAuth client.
    Client = 3,
    /// A grant.
    Grant = 4,
    /// An agent.
    Agent = 5,
    /// A key: an agent's, an operator's, a tool server's or a proof key.
    Key = 6,
}

impl HandleKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::User,
        Self::Session,
        Self::Client,
        Self::Grant,
        Self::Agent,
        Self::Key,
    ];
}

impl TryFrom<i64> for HandleKind {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        (Self::ALL.into_iter())
            .find(|kind| i64::from(*kind as u8) == number)
            .ok_or_else(|| Invalid::new(format!("`{number}` is no kind of handle")))
    }
}

/// The unguessable name of something that can be killed. Never an id (an id shows a time), never a hash of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// What the handle belongs to.
    pub kind: HandleKind,
    /// 16 random bytes.
    pub bytes: [u8; 16],
}

/// A handle at a generation: what a decision relied on, what a token carries, what a kill raises.
///
/// On the wire `{"kind": 5, "handle": "AQEBAQEBAQEBAQEBAQEBAQ", "generation": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "wire::WireMark", try_from = "Object<wire::WireMark>")]
pub struct Mark {
    /// Which thing.
    pub handle: Handle,
    /// How often it has been killed or narrowed; a lower number than the current one is dead.
    pub generation: u64,
}

/// The head of a tenant's revocation log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogHead {
    /// The number of the last record; 0 for an empty log. Numbers have no gaps.
    pub rseq: u64,
    /// The hash of the last record, linked to all before it.
    pub rhash: [u8; 32],
}

impl LogHead {
    /// The head of an empty log.
    pub const EMPTY: Self = Self {
        rseq: 0,
        rhash: [0; 32],
    };

    /// The head after one more kill: `rhash_n = SHA-256(rhash_{n-1} || rseq || kind || handle || generation)`,
    /// integers big-endian.
    #[must_use]
    pub fn append(self, kill: Mark) -> Self {
        let rseq = self.rseq.saturating_add(1);
        let mut hash = Sha256::new();
        hash.update(self.rhash);
        hash.update(rseq.to_be_bytes());
        hash.update([kill.handle.kind as u8]);
        hash.update(kill.handle.bytes);
        hash.update(kill.generation.to_be_bytes());
        Self {
            rseq,
            rhash: hash.finalize().into(),
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_log_is_dense_and_every_part_of_a_record_is_in_its_hash() {
        let head = LogHead::EMPTY.append(kill(1, 1));
        assert_eq!(head.rseq, 1);
        let others = [kill(2, 1), kill(1, 2)].map(|other| LogHead::EMPTY.append(other).rhash);
        assert!(!others.contains(&head.rhash));
        assert_ne!(
            head.append(kill(2, 1)).append(kill(3, 1)),
            head.append(kill(3, 1)).append(kill(2, 1))
        );
    }
}
