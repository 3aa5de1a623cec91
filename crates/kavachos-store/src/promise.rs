//! Tokens that agents were promised by others, as rows: each is made once, by the agent that it was promised to.

use kavachos_core::id::{AgentId, GrantId, ToolServerId};
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::handle::{self, HANDLE_BYTES};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// How long one mark is: a handle and a generation.
const MARK_BYTES: usize = HANDLE_BYTES + 8;

/// A token that an agent was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseRow {
    /// The grant that it is made of, by whose id it is redeemed.
    pub grant: GrantId,
    /// The agent that gave it.
    pub giver: AgentId,
    /// The agent that may redeem it: the receiver of the grant.
    pub receiver: AgentId,
    /// The tool server that it is for.
    pub server: ToolServerId,
    /// Whether the token must be bound to a key, since what it comes from is.
    pub bound: bool,
    /// What it comes from, as it was then.
    pub marks: Vec<Mark>,
    /// In which epoch it was made.
    pub epoch: u64,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    pub redeemed_at: Option<Timestamp>,
}

impl FromRow for PromiseRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        type Cells = (
            GrantId,
            AgentId,
            AgentId,
            ToolServerId,
            bool,
            Vec<u8>,
            u64,
            Timestamp,
            Option<Timestamp>,
        );
        let (grant, giver, receiver, server, bound, marks, epoch, expires_at, redeemed_at): Cells =
            row.decode()?;
        Ok(Self {
            grant,
            giver,
            receiver,
            server,
            bound,
            marks: decode(&marks).ok_or(Malformed {
                column: 5,
                expected: "handles with generations",
            })?,
            epoch,
            expires_at,
            redeemed_at,
        })
    }
}

/// Stores a promise, if its giver has fewer than `limit` open ones at `now`.
pub fn insert(promise: &PromiseRow, now: Timestamp, limit: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO promised_tokens (grant_id, giver, server, bound, marks, epoch, expires_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
         WHERE (SELECT COUNT(*) FROM promised_tokens o WHERE o.giver = ?2 AND o.expires_at > ?8 \
                AND o.redeemed_at IS NULL) < ?9",
    )
    .bind(promise.grant)
    .bind(promise.giver)
    .bind(promise.server)
    .bind(promise.bound)
    .bind(encode(&promise.marks))
    .bind(promise.epoch)
    .bind(promise.expires_at)
    .bind(now)
    .bind(limit)
}

/// How many promises of an agent are open at `now`.
pub fn open_of(giver: AgentId, now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM promised_tokens o WHERE o.giver = ?1 AND o.expires_at > ?2 AND o.redeemed_at IS NULL",
    )
    .bind(giver)
    .bind(now)
    .of()
}

/// The promise of a token from this grant.
pub fn by_grant(id: GrantId) -> Select<PromiseRow> {
    Query::new(
        1,
        "SELECT p.grant_id, p.giver, g.receiver, p.server, p.bound, p.marks, p.epoch, p.expires_at, p.redeemed_at \
         FROM promised_tokens p JOIN grants g ON g.id = p.grant_id WHERE p.grant_id = ?1",
    )
    .bind(id)
    .of()
}

/// Redeems a promise that is open: of many at once, one does.
pub fn redeem(id: GrantId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE promised_tokens SET redeemed_at = ?2 \
         WHERE grant_id = ?1 AND redeemed_at IS NULL AND expires_at > ?2",
    )
    .bind(id)
    .bind(now)
}

/// Forgets promises that ended before this time, redeemed or not.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM promised_tokens WHERE expires_at < ?1").bind(before)
}

fn encode(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(marks.len().saturating_mul(MARK_BYTES));
    for mark in marks {
        bytes.extend_from_slice(&handle::encode(mark.handle));
        bytes.extend_from_slice(&mark.generation.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Mark>> {
    let (marks, rest) = bytes.as_chunks::<MARK_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mark = |bytes: &[u8; MARK_BYTES]| {
        let (handle, generation) = bytes.split_at(HANDLE_BYTES);
        Some(Mark {
            handle: handle::decode(handle)?,
            generation: u64::from_be_bytes(generation.try_into().ok()?),
        })
    };
    marks.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use kavachos_core::revocation::{Handle, HandleKind};

    use super::*;

    #[test]
    fn marks_read_back_as_they_were_stored_and_nothing_else_does() {
        let mark = |kind, generation| Mark {
            handle: Handle {
                kind,
                bytes: [7; 16],
            },
            generation,
        };
        let marks = vec![mark(HandleKind::Grant, 1), mark(HandleKind::Key, u64::MAX)];
        let bytes = encode(&marks);
        assert_eq!(decode(&bytes), Some(marks));
        assert_eq!(decode(&[]), Some(Vec::new()));
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(&[0; MARK_BYTES]), None);
    }
}
