//! The log's row, and the statements of the writer's own.

use kavachos_core::ledger::Frontier;
use kavachos_core::revocation::LogHead;
use tokio_postgres::{Client, Error, Row, Statement};

use super::error::OpenError;
use super::rewrite::own;
use crate::host::Rng;
use crate::writer::log::{Log, StoredLog};
use crate::writer::statement::{CREATE, INSERT_KILL, LOAD, RAISE};

const INSERT_ENTRIES: &str = "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, subject, agent, action, \
    resource, request_id, body, salt, personal, leaf) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::text[], $16::bytea[])";
const INSERT_MEMBERS: &str = "INSERT INTO ledger_member (member, seq) \
    SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT (member, seq) DO NOTHING";
const STORE_COUNTERS: &str = "INSERT INTO counters (counter, state, time) \
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) \
    ON CONFLICT (counter) DO UPDATE SET state = excluded.state, time = excluded.time";
/// An epoch of 0 is refused by the table, which fails the transaction before COMMIT: somebody else moved the head.
const SAVE: &str = "UPDATE log SET commits = $1, frontier = $2, last_time = $3, rseq = $4, rhash = $5, \
    epoch = CASE WHEN commits = $6 THEN epoch ELSE 0 END WHERE \"only\" = 1";
const COMMITS: &str = "SELECT commits FROM log";
const FIND_HANDLES: &str = "SELECT handle, generation FROM handles WHERE handle = ANY($1::bytea[])";
const FIND_COUNTERS: &str = "SELECT counter, state FROM counters WHERE counter = ANY($1::bytea[])";

/// The writer's own statements, prepared on its connection.
pub(super) struct Own {
    pub(super) raise: Statement,
    pub(super) insert_kill: Statement,
    pub(super) insert_entries: Statement,
    pub(super) insert_members: Statement,
    pub(super) store_counters: Statement,
    pub(super) save: Statement,
    pub(super) commits: Statement,
    pub(super) find_handles: Statement,
    pub(super) find_counters: Statement,
}

impl Own {
    /// Prepares them; the tables must be there.
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            raise: client.prepare(&own(RAISE)).await?,
            insert_kill: client.prepare(&own(INSERT_KILL)).await?,
            insert_entries: client.prepare(INSERT_ENTRIES).await?,
            insert_members: client.prepare(INSERT_MEMBERS).await?,
            store_counters: client.prepare(STORE_COUNTERS).await?,
            save: client.prepare(SAVE).await?,
            commits: client.prepare(COMMITS).await?,
            find_handles: client.prepare(FIND_HANDLES).await?,
            find_counters: client.prepare(FIND_COUNTERS).await?,
        })
    }
}

/// Reads the head; the memory starts empty. `None` where there is no log yet.
pub(super) async fn load(client: &Client) -> Result<Option<Log>, OpenError> {
    match client.query_opt(LOAD, &[]).await? {
        None => Ok(None),
        Some(row) => stored(&row)?.check().map_err(OpenError::Damaged).map(Some),
    }
}

/// Makes the one row of a new log.
pub(super) async fn create(client: &Client, rng: &dyn Rng) -> Result<(), Error> {
    let mut id = [0; 16];
    rng.fill(&mut id);
    let frontier = Frontier::default().encode();
    let empty = LogHead::EMPTY.rhash;
    client
        .execute(
            &own(CREATE),
            &[&id.as_slice(), &frontier, &empty.as_slice()],
        )
        .await?;
    Ok(())
}

fn stored(row: &Row) -> Result<StoredLog, OpenError> {
    let damaged = |what: &str| OpenError::Damaged(format!("`{what}` of the log is not readable"));
    let bytes = |column: usize| row.try_get::<_, &[u8]>(column);
    let unsigned = |column: usize, what: &str| -> Result<u64, OpenError> {
        let number: i64 = row.try_get(column)?;
        number.try_into().map_err(|_| damaged(what))
    };
    Ok(StoredLog {
        id: bytes(0)?.try_into().map_err(|_| damaged("log"))?,
        epoch: unsigned(1, "epoch")?,
        commits: unsigned(2, "commits")?,
        frontier: bytes(3)?.to_vec(),
        last_time: row.try_get(4)?,
        revocation: LogHead {
            rseq: unsigned(5, "rseq")?,
            rhash: bytes(6)?.try_into().map_err(|_| damaged("rhash"))?,
        },
    })
}
