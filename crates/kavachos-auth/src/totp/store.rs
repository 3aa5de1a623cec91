//! The tables of codes: one factor of each human, and the backup codes that were not used.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::Context;
use kavachos_store::{Query, Write};

use super::backup::CODES;
use super::code::Step;

/// How the tables come to be.
pub(super) const TABLES: &str = "
    CREATE TABLE totp_factor (
        user_id {text} NOT NULL PRIMARY KEY,
        -- The seed of codes and the key of backup codes, with the human whose they are, under the master key.
        sealed {bytes} NOT NULL,
        -- The step of the last code that was accepted: none at or before it ever is again.
        last_step {int} NOT NULL,
        -- Since when codes are asked for; nothing before the first one was shown.
        enabled_at {int},
        created_at {int} NOT NULL
    ) {rows};
    CREATE TABLE totp_backup_code (
        user_id {text} NOT NULL,
        hash {bytes} NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (user_id, hash)
    ) {keyed};
";

/// How backup codes are kept by a password hash. Those of before are not, so they end: nobody but their human could hash
/// them anew.
pub(super) const STRETCHED: &str = "
    -- How the backup codes are stretched before they are hashed: a PHC string without its hash. A salt of each set.
    ALTER TABLE totp_factor ADD COLUMN stretching {text};
    DELETE FROM totp_backup_code;
";

/// A factor as it is stored.
#[derive(Debug, Clone)]
pub(super) struct FactorRow {
    pub(super) user: UserId,
    pub(super) sealed: Vec<u8>,
    pub(super) last_step: Step,
    pub(super) enabled_at: Option<Timestamp>,
    /// How its backup codes are stretched; of none, it has none.
    pub(super) stretching: Option<String>,
}

/// The factor of a human, turned on or not.
pub(super) async fn factor(context: &Context, user: UserId) -> Result<Option<FactorRow>> {
    let query = Query::new(
        1,
        "SELECT sealed, last_step, enabled_at, stretching FROM totp_factor WHERE user_id = ?1",
    );
    type Cells = (Vec<u8>, u64, Option<Timestamp>, Option<String>);
    let rows: Vec<Cells> = context.read(query.bind(user)).await?;
    let row = |(sealed, step, enabled_at, stretching)| FactorRow {
        user,
        sealed,
        last_step: Step(step),
        enabled_at,
        stretching,
    };
    Ok(rows.into_iter().next().map(row))
}

/// The hashes of the backup codes that a human has left.
pub(super) async fn codes(context: &Context, user: UserId) -> Result<Vec<[u8; 32]>> {
    let query = Query::new(
        CODES,
        "SELECT hash FROM totp_backup_code WHERE user_id = ?1",
    );
    let rows: Vec<([u8; 32],)> = context.read(query.bind(user)).await?;
    Ok(rows.into_iter().map(|(hash,)| hash).collect())
}

/// Removes what was set up and never turned on.
pub(super) fn forget_setup(user: UserId) -> Write {
    Write::any("DELETE FROM totp_factor WHERE user_id = ?1 AND enabled_at IS NULL").bind(user)
}

/// Keeps what is set up, if nothing is turned on.
pub(super) fn begin(user: UserId, sealed: Vec<u8>, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO totp_factor (user_id, sealed, last_step, created_at) VALUES (?1, ?2, 0, ?3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(sealed)
    .bind(now)
}

/// Turns on what was set up, if it is still that.
pub(super) fn enable(row: FactorRow, step: Step, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE totp_factor SET enabled_at = ?3, last_step = ?4 \
         WHERE user_id = ?1 AND sealed = ?2 AND enabled_at IS NULL",
    )
    .bind(row.user)
    .bind(row.sealed)
    .bind(now)
    .bind(step.0)
}

/// Uses a step up, and all before it: for whoever comes first.
pub(super) fn use_step(user: UserId, step: Step) -> Write {
    Write::exactly(
        1,
        "UPDATE totp_factor SET last_step = ?2 WHERE user_id = ?1 AND last_step < ?2 AND enabled_at IS NOT NULL",
    )
    .bind(user)
    .bind(step.0)
}

/// Uses a backup code up: for whoever comes first.
pub(super) fn use_code(user: UserId, hash: [u8; 32]) -> Write {
    Write::exactly(
        1,
        "DELETE FROM totp_backup_code WHERE user_id = ?1 AND hash = ?2",
    )
    .bind(user)
    .bind(hash)
}

/// Says how the codes of a new set are stretched.
pub(super) fn stretch(user: UserId, way: &str) -> Write {
    Write::exactly(
        1,
        "UPDATE totp_factor SET stretching = ?2 WHERE user_id = ?1 AND enabled_at IS NOT NULL",
    )
    .bind(user)
    .bind(way.to_owned())
}

/// Keeps a backup code.
pub(super) fn keep_code(user: UserId, hash: [u8; 32]) -> Write {
    Write::exactly(
        1,
        "INSERT INTO totp_backup_code (user_id, hash) VALUES (?1, ?2)",
    )
    .bind(user)
    .bind(hash)
}

/// Writes nothing new, and holds only while codes are turned on.
pub(super) fn still_enabled(row: FactorRow) -> Write {
    Write::exactly(
        1,
        "UPDATE totp_factor SET sealed = ?2 WHERE user_id = ?1 AND sealed = ?2 AND enabled_at IS NOT NULL",
    )
    .bind(row.user)
    .bind(row.sealed)
}

/// Removes what is turned on.
pub(super) fn disable(user: UserId) -> Write {
    Write::exactly(
        1,
        "DELETE FROM totp_factor WHERE user_id = ?1 AND enabled_at IS NOT NULL",
    )
    .bind(user)
}

/// Removes the factor of a human.
pub(super) fn forget_factor(user: UserId) -> Write {
    Write::any("DELETE FROM totp_factor WHERE user_id = ?1").bind(user)
}

/// Removes the backup codes of a human.
pub(super) fn forget_codes(user: UserId) -> Write {
    Write::any("DELETE FROM totp_backup_code WHERE user_id = ?1").bind(user)
}

/// Removes a factor that is turned on since this time or later, or not yet, with its backup codes.
pub(super) fn forget_since(user: UserId, since: Timestamp) -> [Write; 2] {
    let which = "user_id = ?1 AND (enabled_at IS NULL OR enabled_at >= ?2)";
    let all = [
        format!(
            "DELETE FROM totp_backup_code WHERE user_id = ?1 AND EXISTS (SELECT 1 FROM totp_factor WHERE {which})"
        ),
        format!("DELETE FROM totp_factor WHERE {which}"),
    ];
    all.map(|sql| Write::any(sql).bind(user).bind(since))
}
