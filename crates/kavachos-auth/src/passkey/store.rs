//! The tables of passkeys: the credentials of humans, and the challenges that are open.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::Context;
use kavachos_store::{Query, Write};

use super::challenge::Open;
use super::webauthn::Used;

/// How many passkeys a human may have.
pub(super) const MAX_CREDENTIALS: usize = 20;

/// How the tables come to be.
pub(super) const TABLES: &str = "
    CREATE TABLE passkey_credential (
        id {text} NOT NULL PRIMARY KEY,
        -- The id that the authenticator gave it.
        credential {bytes} NOT NULL,
        user_id {text} NOT NULL,
        name {text} NOT NULL,
        -- As COSE writes it.
        public_key {bytes} NOT NULL,
        counter {int} NOT NULL,
        -- Whether it may be copied to other devices of its owner, which never changes, and whether it is.
        may_be_copied {int} NOT NULL,
        is_copied {int} NOT NULL,
        -- How browsers reach the authenticator, one word after the other.
        transports {text} NOT NULL,
        used_at {int},
        created_at {int} NOT NULL
    ) {rows};
    CREATE UNIQUE INDEX passkey_credential_by_credential ON passkey_credential (credential);
    CREATE INDEX passkey_credential_by_user ON passkey_credential (user_id, created_at, id);
    CREATE TABLE passkey_challenge (
        hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
        ceremony {text} NOT NULL,
        -- Who alone may answer it, and in which session; nothing where nobody is known yet.
        user_id {text},
        session_id {text},
        expires_at {int} NOT NULL
    ) {rows};
    CREATE INDEX passkey_challenge_by_end ON passkey_challenge (expires_at);
    CREATE INDEX passkey_challenge_by_user ON passkey_challenge (user_id);
";

/// The columns of a credential, as [`Cells`] are.
const COLUMNS: &str = "id, credential, user_id, name, public_key, counter, may_be_copied, is_copied, transports, used_at, \
                       created_at";

/// A credential as it is stored.
#[derive(Debug, Clone)]
pub(super) struct CredentialRow {
    pub(super) id: String,
    pub(super) credential: Vec<u8>,
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) public_key: Vec<u8>,
    pub(super) counter: u32,
    pub(super) may_be_copied: bool,
    pub(super) is_copied: bool,
    pub(super) transports: String,
    pub(super) used_at: Option<Timestamp>,
    pub(super) created_at: Timestamp,
}

type Cells = (
    String,
    Vec<u8>,
    UserId,
    String,
    Vec<u8>,
    u32,
    bool,
    bool,
    String,
    Option<Timestamp>,
    Timestamp,
);

fn row(cells: Cells) -> CredentialRow {
    let (
        id,
        credential,
        user,
        name,
        public_key,
        counter,
        may_be_copied,
        is_copied,
        transports,
        used_at,
        created_at,
    ) = cells;
    CredentialRow {
        id,
        credential,
        user,
        name,
        public_key,
        counter,
        may_be_copied,
        is_copied,
        transports,
        used_at,
        created_at,
    }
}

/// The credential that an authenticator knows under this id.
pub(super) async fn by_credential(
    context: &Context,
    credential: &[u8],
) -> Result<Option<CredentialRow>> {
    let query = Query::new(
        1,
        format!("SELECT {COLUMNS} FROM passkey_credential WHERE credential = ?1"),
    );
    let rows: Vec<Cells> = context.read(query.bind(credential.to_vec())).await?;
    Ok(rows.into_iter().next().map(row))
}

/// The credentials of a human, oldest first.
pub(super) async fn of_user(context: &Context, user: UserId) -> Result<Vec<CredentialRow>> {
    let query = Query::new(
        MAX_CREDENTIALS,
        format!(
            "SELECT {COLUMNS} FROM passkey_credential WHERE user_id = ?1 ORDER BY created_at, id"
        ),
    );
    let rows: Vec<Cells> = context.read(query.bind(user)).await?;
    Ok(rows.into_iter().map(row).collect())
}

/// Keeps a credential, if nobody has it and its human may have one more.
pub(super) fn keep(row: CredentialRow) -> Write {
    let limit = u64::try_from(MAX_CREDENTIALS).unwrap_or_default();
    Write::exactly(
        1,
        "INSERT INTO passkey_credential (id, credential, user_id, name, public_key, counter, may_be_copied, is_copied, \
         transports, created_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 \
         WHERE (SELECT COUNT(*) FROM passkey_credential WHERE user_id = ?3) < ?11 ON CONFLICT DO NOTHING",
    )
    .bind(row.id)
    .bind(row.credential)
    .bind(row.user)
    .bind(row.name)
    .bind(row.public_key)
    .bind(row.counter)
    .bind(row.may_be_copied)
    .bind(row.is_copied)
    .bind(row.transports)
    .bind(row.created_at)
    .bind(limit)
}

/// Notes a use, if the credential is still there and nobody used it meanwhile.
pub(super) fn note_use(row: &CredentialRow, used: Used, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE passkey_credential SET counter = ?3, is_copied = ?4, used_at = ?5 WHERE id = ?1 AND counter = ?2",
    )
    .bind(row.id.clone())
    .bind(row.counter)
    .bind(used.counter)
    .bind(used.is_copied)
    .bind(now)
}

/// Gives a credential of a human another name.
pub(super) fn rename(user: UserId, id: String, name: String) -> Write {
    Write::exactly(
        1,
        "UPDATE passkey_credential SET name = ?3 WHERE user_id = ?1 AND id = ?2",
    )
    .bind(user)
    .bind(id)
    .bind(name)
}

/// Removes a credential of a human.
pub(super) fn remove(user: UserId, id: String) -> Write {
    Write::exactly(
        1,
        "DELETE FROM passkey_credential WHERE user_id = ?1 AND id = ?2",
    )
    .bind(user)
    .bind(id)
}

/// Removes all credentials of a human.
pub(super) fn forget_credentials(user: UserId) -> Write {
    Write::any("DELETE FROM passkey_credential WHERE user_id = ?1").bind(user)
}

/// Removes the credentials of a human that were added at this time or later.
pub(super) fn forget_credentials_since(user: UserId, since: Timestamp) -> Write {
    Write::any("DELETE FROM passkey_credential WHERE user_id = ?1 AND created_at >= ?2")
        .bind(user)
        .bind(since)
}

/// An open challenge.
pub(super) async fn challenge(context: &Context, hash: [u8; 32]) -> Result<Option<Open>> {
    let query = Query::new(
        1,
        "SELECT ceremony, user_id, session_id, expires_at FROM passkey_challenge WHERE hash = ?1",
    );
    type Cells = (String, Option<UserId>, Option<SessionId>, Timestamp);
    let rows: Vec<Cells> = context.read(query.bind(hash)).await?;
    let open = |(ceremony, user, session, expires_at)| Open {
        ceremony,
        user,
        session,
        expires_at,
    };
    Ok(rows.into_iter().next().map(open))
}

/// Keeps a challenge.
pub(super) fn ask(hash: [u8; 32], open: &Open) -> Write {
    Write::exactly(
        1,
        "INSERT INTO passkey_challenge (hash, ceremony, user_id, session_id, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(hash)
    .bind(open.ceremony.clone())
    .bind(open.user)
    .bind(open.session)
    .bind(open.expires_at)
}

/// Consumes a challenge: for whoever comes first.
pub(super) fn consume(hash: [u8; 32]) -> Write {
    Write::exactly(1, "DELETE FROM passkey_challenge WHERE hash = ?1").bind(hash)
}

/// Removes the challenges that only this human may answer.
pub(super) fn forget_challenges(user: UserId) -> Write {
    Write::any("DELETE FROM passkey_challenge WHERE user_id = ?1").bind(user)
}
