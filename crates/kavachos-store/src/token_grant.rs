//! Which grants were made for one token each, and their removal once they have been over for long.
//!
//! Promises: a grant goes only if it ended before a time, is no agent's own and nothing hangs on it; with it go the
//! promise of its token and its handle. A handle that was ever killed stays, since the revocation log names it for ever:
//! so no kill is forgotten, and a handle that is gone was alive to the end of everything that carried it.

use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::revocation::Handle;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// How many are removed at once.
pub const GRANTS_PER_STEP: usize = 64;

/// Notes that a grant is made for one token; belongs into the batch that stores the grant. Never an agent's own.
pub fn insert(grant: GrantId, ends_at: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO token_grants (grant_id, ends_at) VALUES (?1, ?2)",
    )
    .bind(grant)
    .bind(ends_at)
}

/// A grant that was made for one token and is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverGrant {
    /// Its id.
    pub id: GrantId,
    /// The agent that it was given to.
    pub receiver: AgentId,
    /// Its handle.
    pub handle: Handle,
}

impl FromRow for OverGrant {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, receiver, handle) = row.decode()?;
        Ok(Self {
            id,
            receiver,
            handle,
        })
    }
}

/// The first of those that ended before this time: at most [`GRANTS_PER_STEP`], those below before those above.
pub fn over(before: Timestamp) -> Select<OverGrant> {
    Query::new(
        GRANTS_PER_STEP,
        format!(
            "SELECT t.grant_id, g.receiver, g.handle FROM token_grants t JOIN grants g ON g.id = t.grant_id \
             WHERE t.ends_at < ?1 AND NOT EXISTS (SELECT 1 FROM grants c JOIN token_grants m ON m.grant_id = c.id \
             WHERE c.parent = t.grant_id) ORDER BY t.ends_at, t.grant_id LIMIT {GRANTS_PER_STEP}"
        ),
    )
    .bind(before)
    .of()
}

/// Removes these grants, at most [`GRANTS_PER_STEP`], as far as they may go. One that something else hangs on stays, and
/// is an ordinary one from then on.
pub fn forget(over: &[OverGrant], before: Timestamp) -> [Write; 4] {
    let slots: Vec<String> = (2..over.len().saturating_add(2))
        .map(|slot| format!("?{slot}"))
        .collect();
    let slots = slots.join(", ");
    let by_id = |sql: String| {
        let write = Write::any(sql).bind(before);
        over.iter().fold(write, |write, grant| write.bind(grant.id))
    };
    let promises =
        format!("DELETE FROM promised_tokens WHERE expires_at < ?1 AND grant_id IN ({slots})");
    let grants = format!(
        "DELETE FROM grants WHERE expires_at < ?1 AND id IN ({slots}) \
         AND NOT EXISTS (SELECT 1 FROM grants c WHERE c.parent = grants.id) \
         AND NOT EXISTS (SELECT 1 FROM promised_tokens p WHERE p.grant_id = grants.id) \
         AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = grants.receiver AND a.root_grant = grants.id)"
    );
    let notes = format!("DELETE FROM token_grants WHERE ends_at < ?1 AND grant_id IN ({slots})");
    let (promises, grants, notes) = (by_id(promises), by_id(grants), by_id(notes));
    [promises, grants, handles(over), notes]
}

/// The handles of grants that are gone, but for those that were killed.
fn handles(over: &[OverGrant]) -> Write {
    let slots: Vec<String> = (1..=over.len()).map(|slot| format!("?{slot}")).collect();
    let sql = format!(
        "DELETE FROM handles WHERE handle IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.handle = handles.handle) \
         AND NOT EXISTS (SELECT 1 FROM revocation_log r WHERE r.handle = handles.handle)",
        slots.join(", ")
    );
    let write = Write::any(sql);
    over.iter()
        .fold(write, |write, grant| write.bind(grant.handle))
}
