//! What somebody who looks after a database reads of it, beside its server: whether the end of the ledger is what was
//! recorded, and what waits for attention.
//!
//! Promises: bounded reading, in one snapshot, of a database with the schema of this binary. It knows nothing of where
//! the rows come from.

use kavachos_core::id::WebhookId;
use kavachos_core::ledger::{Frontier, Hash, LogId, leaf};
use kavachos_core::time::Timestamp;

use crate::row::{FromRow, Malformed, Query, Row};

/// How many records are hashed again.
pub const RECOMPUTED: usize = 1_000;
/// How many leaves are held against the edge of the tree.
pub const JOINED: usize = 1 << 16;
/// More webhooks than there can be.
const WEBHOOKS: usize = 10_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// How many records the log says there are.
    pub records: u64,
    /// The time of the newest.
    pub last_time: Timestamp,
    /// How much of the ledger's end was compared, or how it contradicts itself.
    pub ledger: Result<Compared, String>,
    /// Whether there is an operator key, of any state.
    pub has_keys: bool,
    /// The webhooks.
    pub webhooks: Vec<WebhookCheckup>,
}

/// How much of the ledger's end was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// So many records have the leaves that were stored with them.
    pub recomputed: u64,
    /// So many leaves make the edge of the tree that is stored.
    pub joined: u64,
}

/// What of a webhook needs looking after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCheckup {
    /// Its id.
    pub id: WebhookId,
    /// Tells the master key that its secret is derived from.
    pub master: [u8; 8],
    /// How many deliveries were given up.
    pub dead: u64,
}

/// What has to be read, in one snapshot.
pub fn queries() -> Vec<Query> {
    vec![
        Query::new(1, "SELECT log, frontier, last_time FROM log"),
        Query::new(
            RECOMPUTED,
            format!(
                "SELECT l.seq, l.time, l.body, l.leaf FROM ledger l ORDER BY l.seq DESC LIMIT {RECOMPUTED}"
            ),
        ),
        Query::new(
            JOINED,
            format!("SELECT l.leaf FROM ledger l ORDER BY l.seq DESC LIMIT {JOINED}"),
        ),
        Query::new(1, "SELECT CAST(COUNT(*) AS BIGINT) FROM operator_keys"),
        Query::new(
            WEBHOOKS,
            "SELECT w.id, w.master, (SELECT CAST(COUNT(*) AS BIGINT) FROM webhook_deliveries d WHERE d.webhook = w.id \
             AND d.status = 'dead') FROM webhooks w ORDER BY w.id",
        ),
    ]
}

impl Checkup {
    /// Judges the rows of [`queries`].
    ///
    /// # Errors
    /// A row is not of this schema.
    pub fn of(answers: Vec<Vec<Row>>) -> Result<Self, Malformed> {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let log: Option<(LogBytes, Vec<u8>, Timestamp)> = all(next())?.pop();
        let (records, leaves) = (all::<Record>(next())?, all::<(Hash,)>(next())?);
        let keys: u64 = all::<(u64,)>(next())?.iter().map(|(count,)| *count).sum();
        let webhooks = all(next())?;
        let leaves: Vec<Hash> = leaves.into_iter().rev().map(|(leaf,)| leaf).collect();
        let (size, last_time, ledger) = match log {
            None => (
                0,
                Timestamp::MIN,
                Err("the row of the log is missing".to_owned()),
            ),
            Some((id, frontier, last_time)) => match Frontier::decode(&frontier) {
                Err(error) => (0, last_time, Err(error.message().to_owned())),
                Ok(frontier) => (
                    frontier.size(),
                    last_time,
                    compare(LogId(id), &frontier, &records, &leaves),
                ),
            },
        };
        Ok(Self {
            records: size,
            last_time,
            ledger,
            has_keys: keys > 0,
            webhooks,
        })
    }
}

type LogBytes = [u8; 16];

/// One record, newest first.
struct Record {
    seq: u64,
    time: Timestamp,
    body: String,
    leaf: Hash,
}

impl FromRow for Record {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (seq, time, body, leaf) = row.decode()?;
        Ok(Self {
            seq,
            time,
            body,
            leaf,
        })
    }
}

impl FromRow for WebhookCheckup {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, master, dead) = row.decode()?;
        Ok(Self { id, master, dead })
    }
}

fn all<T: FromRow>(rows: Vec<Row>) -> Result<Vec<T>, Malformed> {
    rows.into_iter().map(Row::decode).collect()
}

fn compare(
    log: LogId,
    frontier: &Frontier,
    records: &[Record],
    leaves: &[Hash],
) -> Result<Compared, String> {
    let newest = records
        .first()
        .map_or(0, |record| record.seq.saturating_add(1));
    if newest != frontier.size() {
        return Err(format!(
            "the log says {} records, and the ledger has them up to {newest}",
            frontier.size()
        ));
    }
    let mut expected = newest;
    for record in records {
        expected = expected.saturating_sub(1);
        if record.seq != expected {
            return Err(format!("record {expected} is missing"));
        }
        if leaf(log, record.seq, record.time, &record.body) != record.leaf {
            return Err(format!(
                "the body or the time of record {expected} is not what was recorded"
            ));
        }
    }
    let joined = frontier
        .confirm(leaves)
        .map_err(|first| format!("the tree has another edge than the records from {first} on"))?;
    Ok(Compared {
        recomputed: u64::try_from(records.len()).unwrap_or(u64::MAX),
        joined,
    })
}
