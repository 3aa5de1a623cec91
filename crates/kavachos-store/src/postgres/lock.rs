//! One process writes a log: a lock of the session on the log's name, which the server lets go when the session ends in
//! whatever way.

use std::time::Duration;

use kavachos_core::ledger::LogId;
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, Error};

use super::error::{Fault, OpenError};

/// How often a lock is tried whose holder may be just ending.
const TRIES: u32 = 40;
/// How long between.
const PAUSE: Duration = Duration::from_millis(50);

const TRY: &str = "SELECT pg_try_advisory_lock($1)";
const HOLDER: &str = "SELECT l.pid::bigint, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'this machine') \
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
    AND ((l.classid::bigint << 32) | l.objid::bigint) = $1";

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(i64);

impl Key {
    /// The right to write this log.
    pub(super) fn of_log(log: LogId) -> Self {
        Self::of("log", &log.0)
    }

    /// The right to change the tables of this schema.
    pub(super) fn of_schema(schema: &str) -> Self {
        Self::of("schema", schema.as_bytes())
    }

    fn of(what: &str, name: &[u8]) -> Self {
        let digest = Sha256::digest([b"kavachos ", what.as_bytes(), b" ", name].concat());
        let first = digest.iter().take(8);
        Self(first.fold(0, |key, byte| (key << 8) | i64::from(*byte)))
    }
}

/// Takes the lock for the life of the session. A holder that is just ending is waited for; `own` is the session that
/// this process had before, which is ended if it still holds the lock.
pub(super) async fn take(client: &Client, key: Key, own: Option<i64>) -> Result<(), OpenError> {
    for _ in 0..TRIES {
        if client.query_one(TRY, &[&key.0]).await?.try_get(0)? {
            return Ok(());
        }
        if let (Some(own), Some((pid, _))) = (own, holder(client, key).await?)
            && own == pid
        {
            client
                .query_one("SELECT pg_terminate_backend($1::bigint::int)", &[&own])
                .await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let holder = holder(client, key).await?;
    let holder = holder.map_or("it has just ended".to_owned(), |(_, shown)| shown);
    Err(OpenError::Held { holder })
}

/// Waits for the lock, since nobody holds it for long.
pub(super) async fn wait(client: &Client, key: Key) -> Result<(), OpenError> {
    client.batch_execute("SET lock_timeout = '30s'").await?;
    match client
        .execute("SELECT pg_advisory_lock($1)", &[&key.0])
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if Fault::of(&error) == Fault::Busy => Err(OpenError::Held {
            holder: "it is changing the schema".to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Lets a lock go before the session ends.
pub(super) async fn release(client: &Client, key: Key) -> Result<(), Error> {
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&key.0])
        .await?;
    Ok(())
}

/// The session that has the lock, and what to say of it.
async fn holder(client: &Client, key: Key) -> Result<Option<(i64, String)>, Error> {
    let Some(row) = client.query_opt(HOLDER, &[&key.0]).await? else {
        return Ok(None);
    };
    let pid: i64 = row.try_get(0)?;
    let (name, host): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Some((
        pid,
        format!("`{name}` on {host}, session {pid} of the server"),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_and_every_schema_has_a_lock_of_its_own() {
        let (one, other) = (LogId([1; 16]), LogId([2; 16]));
        assert_eq!(Key::of_log(one), Key::of_log(one));
        assert_ne!(Key::of_log(one), Key::of_log(other));
        assert_ne!(Key::of_schema("a"), Key::of_schema("b"));
    }
}
