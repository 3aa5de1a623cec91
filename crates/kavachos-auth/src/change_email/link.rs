//! Links that were mailed to new addresses, as rows: one of each human at most.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::Context;
use kavachos_store::{FromRow, Malformed, Query, Row, Write};

/// How the tables come to be.
pub(super) const TABLES: &str = "
    CREATE TABLE change_email_link (
        hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
        user_id {text} NOT NULL,
        -- The address when it was asked for: a link of before another change leads nowhere.
        old_email {text} NOT NULL,
        new_email {text} NOT NULL,
        expires_at {int} NOT NULL
    ) {rows};
    CREATE UNIQUE INDEX change_email_link_by_user ON change_email_link (user_id);
    CREATE INDEX change_email_link_by_end ON change_email_link (expires_at);
";

/// A link that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) user: UserId,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) expires_at: Timestamp,
}

impl FromRow for Link {
    fn from_row(row: Row) -> std::result::Result<Self, Malformed> {
        let (user, old, new, expires_at) = row.decode()?;
        Ok(Self {
            user,
            old,
            new,
            expires_at,
        })
    }
}

impl Link {
    pub(super) fn insert(self, hash: [u8; 32]) -> Write {
        Write::exactly(
            1,
            "INSERT INTO change_email_link (hash, user_id, old_email, new_email, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(hash)
        .bind(self.user)
        .bind(self.old)
        .bind(self.new)
        .bind(self.expires_at)
    }
}

/// The link of this human with this hash, if it is still good.
pub(super) async fn find(
    context: &Context,
    (hash, user): ([u8; 32], UserId),
) -> Result<Option<Link>> {
    let query = Query::new(
        1,
        "SELECT user_id, old_email, new_email, expires_at FROM change_email_link \
         WHERE hash = ?1 AND user_id = ?2 AND expires_at > ?3",
    );
    let query = query.bind(hash).bind(user).bind(context.now());
    Ok(context.read(query).await?.into_iter().next())
}

/// Uses a link up: for whoever comes first.
pub(super) fn consume(hash: [u8; 32], now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM change_email_link WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
}

/// Removes the link of a human.
pub(super) fn forget(user: UserId) -> Write {
    Write::any("DELETE FROM change_email_link WHERE user_id = ?1").bind(user)
}

/// Removes links to and from this address.
pub(super) fn forget_address(email: &str) -> Write {
    Write::any("DELETE FROM change_email_link WHERE old_email = ?1 OR new_email = ?1")
        .bind(email.to_owned())
}
