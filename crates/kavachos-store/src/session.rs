//! Humans' sessions, as rows.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The hash of its token.
    pub hash: SecretHash,
    /// The first characters of the token.
    pub shown: String,
    /// Whose it is.
    pub user: UserId,
    /// Who opened it: the id of an operator key, or `system`.
    pub opened_by: String,
    /// `active` or `revoked`.
    pub status: Status,
    /// The human's `kills` when it was opened.
    pub user_kills: u64,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// When the human last proved who they are.
    pub signed_in_at: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Timestamp,
    /// When it ends however much it is used.
    pub expires_at: Timestamp,
    /// When it was opened.
    pub created_at: Timestamp,
    /// By which method it was opened; `None` where an operator did.
    pub method: Option<String>,
    /// From where it was opened.
    pub ip: Option<String>,
    /// With what it was opened, as that calls itself.
    pub user_agent: Option<String>,
    /// Who acts in the human's name in it.
    pub impersonator: Option<String>,
    /// With what an impersonation stands and falls.
    pub impersonator_mark: Option<Mark>,
    /// Whether whoever opened it proved two factors.
    pub two_factors: bool,
}

const COLUMNS: &str = "SELECT s.id, s.hash, s.shown, s.user_id, s.opened_by, s.status, s.user_kills, s.handle, \
    h.generation, s.signed_in_at, s.used_at, s.expires_at, s.created_at, s.method, s.ip, s.user_agent, \
    s.impersonator, s.impersonator_handle, s.impersonator_generation, s.two_factors \
    FROM sessions s JOIN handles h ON h.handle = s.handle";

type Cells = (
    SessionId,
    [u8; 32],
    String,
    UserId,
    String,
    Status,
    u64,
    Handle,
    u64,
    Timestamp,
    Timestamp,
    Timestamp,
    Timestamp,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Handle>,
    Option<u64>,
    Option<bool>,
);

impl FromRow for SessionRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            hash,
            shown,
            user,
            opened_by,
            status,
            user_kills,
            handle,
            generation,
            signed_in_at,
            used_at,
            expires_at,
            created_at,
            method,
            ip,
            user_agent,
            impersonator,
            impersonator_handle,
            impersonator_generation,
            two_factors,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            hash: SecretHash::from_bytes(hash),
            shown,
            user,
            opened_by,
            status,
            user_kills,
            mark: Mark { handle, generation },
            signed_in_at,
            used_at,
            expires_at,
            created_at,
            method,
            ip,
            user_agent,
            impersonator,
            impersonator_mark: impersonator_handle
                .zip(impersonator_generation)
                .map(|(handle, generation)| Mark { handle, generation }),
            two_factors: two_factors.unwrap_or(false),
        })
    }
}

/// Stores a new session, if its human has fewer than `limit` that may still be used.
/// The handle is stored apart, with [`crate::handle::born`].
pub fn open(session: SessionRow, limit: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO sessions (id, hash, shown, user_id, opened_by, status, user_kills, handle, signed_in_at, used_at, \
         expires_at, created_at, method, ip, user_agent, impersonator, impersonator_handle, impersonator_generation, \
         two_factors) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?14, ?15, ?16, ?17, ?18, ?19, ?20 \
         WHERE (SELECT COUNT(*) FROM sessions s WHERE s.user_id = ?4 AND s.status = 'active' AND s.user_kills = ?7 \
           AND s.expires_at > ?12) < ?13",
    )
    .bind(session.id)
    .bind(*session.hash.as_bytes())
    .bind(session.shown)
    .bind(session.user)
    .bind(session.opened_by)
    .bind(session.status)
    .bind(session.user_kills)
    .bind(session.mark.handle)
    .bind(session.signed_in_at)
    .bind(session.used_at)
    .bind(session.expires_at)
    .bind(session.created_at)
    .bind(limit)
    .bind(session.method)
    .bind(session.ip)
    .bind(session.user_agent)
    .bind(session.impersonator)
    .bind(session.impersonator_mark.map(|mark| mark.handle))
    .bind(session.impersonator_mark.map(|mark| mark.generation))
    .bind(session.two_factors)
}

/// The sessions of a human that may still be used, at most `limit`.
pub fn all_usable(
    (user, user_kills): (UserId, u64),
    now: Timestamp,
    limit: usize,
) -> Select<SessionRow> {
    let sql = format!(
        "{COLUMNS} WHERE s.user_id = ?1 AND s.status = 'active' AND s.user_kills = ?2 AND s.expires_at > ?3 LIMIT ?4"
    );
    let query = Query::new(limit, sql).bind(user).bind(user_kills).bind(now);
    query.bind(u32::try_from(limit).unwrap_or(u32::MAX)).of()
}

/// Takes away from where a human's sessions were opened.
pub fn forget_places(user: UserId) -> Write {
    Write::any("UPDATE sessions SET ip = NULL, user_agent = NULL WHERE user_id = ?1").bind(user)
}

/// How many sessions of a human may still be used.
pub fn usable(user: UserId, user_kills: u64, now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM sessions s WHERE s.user_id = ?1 AND s.status = 'active' AND s.user_kills = ?2 \
         AND s.expires_at > ?3",
    )
    .bind(user)
    .bind(user_kills)
    .bind(now)
    .of()
}

/// So many sessions of a human that may still be used and were not for the longest time.
pub fn least_used(
    (user, user_kills): (UserId, u64),
    now: Timestamp,
    limit: usize,
) -> Select<SessionRow> {
    let sql = format!(
        "{COLUMNS} WHERE s.user_id = ?1 AND s.status = 'active' AND s.user_kills = ?2 AND s.expires_at > ?3 \
         ORDER BY s.used_at, s.id LIMIT ?4"
    );
    let query = Query::new(limit, sql).bind(user).bind(user_kills).bind(now);
    query.bind(u32::try_from(limit).unwrap_or(u32::MAX)).of()
}

/// Holds only where no session of the human may be used any more but this one. Whatever ends all of them reads them before
/// its commit; one that was opened since is found by this.
pub fn none_usable_but(
    (user, user_kills): (UserId, u64),
    kept: Option<SessionId>,
    now: Timestamp,
) -> Write {
    Write::exactly(
        0,
        "UPDATE sessions SET status = status WHERE user_id = ?1 AND status = 'active' AND user_kills = ?2 \
         AND expires_at > ?3 AND (CAST(?4 AS TEXT) IS NULL OR id <> ?4)",
    )
    .bind(user)
    .bind(user_kills)
    .bind(now)
    .bind(kept)
}

/// Whether a human ever signed in by a method of their own, as far as is remembered.
pub fn any_by_method(user: UserId) -> Select<(SessionId,)> {
    Query::new(
        1,
        "SELECT s.id FROM sessions s WHERE s.user_id = ?1 AND s.method IS NOT NULL LIMIT 1",
    )
    .bind(user)
    .of()
}

/// Ends a session that has not ended.
pub fn end(id: SessionId) -> Write {
    Write::exactly(
        1,
        "UPDATE sessions SET status = 'revoked' WHERE id = ?1 AND status = 'active'",
    )
    .bind(id)
}

/// Ends the sessions of a human that died with them, so that they are shown as what they are. Belongs after the write that
/// stops the human.
pub fn end_dead(user: UserId) -> Write {
    Write::any(
        "UPDATE sessions SET status = 'revoked' WHERE user_id = ?1 AND status = 'active' \
         AND user_kills < (SELECT u.kills FROM users u WHERE u.id = ?1)",
    )
    .bind(user)
}

/// A session that died with its human, whose handle does not say so yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSession {
    /// Its id.
    pub id: SessionId,
    /// The hash of its token.
    pub hash: SecretHash,
    /// The handle, at its current generation.
    pub mark: Mark,
}

impl FromRow for DeadSession {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, hash, handle, generation) = row.decode()?;
        Ok(Self {
            id,
            hash: SecretHash::from_bytes(hash),
            mark: Mark { handle, generation },
        })
    }
}

/// At most `limit` sessions of a human that died with them, in the order of their ids, after the one of this text: others
/// go by their handles, who never see the human's.
pub fn dead_after(
    user: UserId,
    after: String,
    now: Timestamp,
    limit: usize,
) -> Select<DeadSession> {
    Query::new(
        limit,
        "SELECT s.id, s.hash, s.handle, h.generation FROM sessions s JOIN handles h ON h.handle = s.handle \
         JOIN users u ON u.id = s.user_id WHERE s.user_id = ?1 AND s.user_kills < u.kills AND h.generation = 1 \
         AND s.expires_at > ?3 AND s.id > ?2 ORDER BY s.id LIMIT ?4",
    )
    .bind(user)
    .bind(after)
    .bind(now)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Notes that a session is used.
pub fn touch(id: SessionId, now: Timestamp) -> Write {
    Write::any("UPDATE sessions SET used_at = ?2 WHERE id = ?1 AND used_at < ?2")
        .bind(id)
        .bind(now)
}

/// The session whose token has this hash.
pub fn by_hash(hash: SecretHash) -> Select<SessionRow> {
    Query::new(1, format!("{COLUMNS} WHERE s.hash = ?1"))
        .bind(*hash.as_bytes())
        .of()
}

/// The session with this id.
pub fn by_id(id: SessionId) -> Select<SessionRow> {
    Query::new(1, format!("{COLUMNS} WHERE s.id = ?1"))
        .bind(id)
        .of()
}

/// A page of at most `limit` sessions of a human, newest first, older than `before`.
pub fn page(user: UserId, before: Option<SessionId>, limit: usize) -> Select<Listed<SessionRow>> {
    let candidates = "SELECT s.id, 0 FROM sessions s WHERE s.user_id = ?2 AND (CAST(?3 AS TEXT) IS NULL OR s.id < ?3)";
    page::of(candidates, COLUMNS, limit)
        .bind(user)
        .bind(before)
        .of()
}

/// Removes sessions that had ended for certain before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM sessions WHERE expires_at < ?1").bind(before)
}
