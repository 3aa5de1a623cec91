//! Mails that wait to be sent, as rows.

use kavachos_core::id::MailId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One mail that was not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// Its id.
    pub id: MailId,
    /// Which template.
    pub kind: String,
    /// Recipient, language and values; only the engine can open it.
    pub sealed: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// From when on it is not sent any more.
    pub expires_at: Timestamp,
    /// When it was queued.
    pub created_at: Timestamp,
}

impl FromRow for MailRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, kind, sealed, attempts, next_at, expires_at, created_at) = row.decode()?;
        Ok(Self {
            id,
            kind,
            sealed,
            attempts,
            next_at,
            expires_at,
            created_at,
        })
    }
}

/// Counts a mail that is to be queued.
const COUNTED: &str = "UPDATE mail_queue SET waiting = waiting + 1 WHERE one = 1 AND waiting < ?1";

/// Queues a mail, if fewer than `max` wait. How many do is counted in a row: whoever queues one looks at no other.
pub fn insert(mail: MailRow, max: u64) -> [Write; 2] {
    let row = "INSERT INTO mails (id, kind, sealed, attempts, next_at, expires_at, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row = Write::exactly(1, row)
        .bind(mail.id)
        .bind(mail.kind)
        .bind(mail.sealed)
        .bind(mail.attempts)
        .bind(mail.next_at)
        .bind(mail.expires_at)
        .bind(mail.created_at);
    [Write::exactly(1, COUNTED).bind(max), row]
}

/// Whether this write counts a mail that is to be queued: where it changes nothing, too many wait.
pub fn counts(write: &Write) -> bool {
    write.sql == COUNTED
}

/// How many mails wait.
pub fn waiting() -> Select<(u64,)> {
    Query::new(1, "SELECT waiting FROM mail_queue WHERE one = 1").of()
}

const COLUMNS: &str =
    "SELECT m.id, m.kind, m.sealed, m.attempts, m.next_at, m.expires_at, m.created_at FROM mails m";

/// The mail with this id.
pub fn by_id(id: MailId) -> Select<MailRow> {
    Query::new(1, format!("{COLUMNS} WHERE m.id = ?1"))
        .bind(id)
        .of()
}

/// At most `limit` mails, those first that were due first or will be.
pub fn next(limit: usize) -> Select<MailRow> {
    Query::new(
        limit,
        format!("{COLUMNS} ORDER BY m.next_at, m.id LIMIT ?1"),
    )
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// A mail could not be sent after so many attempts, and is tried again at this time.
pub fn put_off(id: MailId, attempts: u32, next_at: Timestamp) -> Write {
    Write::any("UPDATE mails SET attempts = ?2, next_at = ?3 WHERE id = ?1")
        .bind(id)
        .bind(attempts)
        .bind(next_at)
}

/// A mail was sent, or is given up.
pub fn settle(id: MailId) -> [Write; 2] {
    let counted = "UPDATE mail_queue SET waiting = waiting - 1 \
         WHERE one = 1 AND EXISTS (SELECT 1 FROM mails m WHERE m.id = ?1)";
    [
        Write::any(counted).bind(id),
        Write::any("DELETE FROM mails WHERE id = ?1").bind(id),
    ]
}

/// Forgets mails that were over before this time and that nobody was there to send or to give up, and counts the rest anew.
pub fn forget(before: Timestamp) -> [Write; 2] {
    let recount = "UPDATE mail_queue SET waiting = (SELECT COUNT(*) FROM mails) WHERE one = 1";
    [
        Write::any("DELETE FROM mails WHERE expires_at < ?1").bind(before),
        Write::any(recount),
    ]
}
