//! What devices ask for that have no browser (RFC 8628), as rows.

use kavachos_core::id::UserId;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// How many seconds a device that polls too soon waits longer from then on (RFC 8628, section 3.5).
const SLOWER: u32 = 5;
/// How many it waits at most.
pub const SLOWEST: u32 = 30;

/// A request that waits for its human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// The hash of the code that the device polls with.
    pub hash: SecretHash,
    /// What is stored of the code that a human types.
    pub user_code: SecretHash,
    /// The client.
    pub client: String,
    /// The network that it came from.
    pub source: String,
    /// What it asks for: a JSON object.
    pub wish: String,
    /// The thumbprint of the key that each poll proves.
    pub proof_key: Option<[u8; 32]>,
    /// The address that it came from.
    pub ip: Option<String>,
    /// What the device says it is.
    pub user_agent: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
    /// How many seconds lie between two polls.
    pub pause: u32,
    /// When it was last polled in time.
    pub polled_at: Option<Timestamp>,
    /// Who typed the code first.
    pub viewer: Option<UserId>,
    /// What they said.
    pub answer: Option<String>,
}

const COLUMNS: &str = "d.hash, d.user_code, d.client, d.source, d.wish, d.proof_key, d.ip, d.user_agent, d.created_at, \
    d.expires_at, d.pause, d.polled_at, d.viewer, d.answer";

impl FromRow for DeviceRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        type Cells = (
            [u8; 32],
            [u8; 32],
            String,
            String,
            String,
            Option<[u8; 32]>,
            Option<String>,
            Option<String>,
            Timestamp,
            Timestamp,
            u32,
            Option<Timestamp>,
            Option<UserId>,
            Option<String>,
        );
        let cells: Cells = row.decode()?;
        let (hash, user_code, client, source, wish, proof_key, ip, user_agent, ..) = cells;
        let (.., created_at, expires_at, pause, polled_at, viewer, answer) = cells;
        Ok(Self {
            hash: SecretHash::from_bytes(hash),
            user_code: SecretHash::from_bytes(user_code),
            client,
            source,
            wish,
            proof_key,
            ip,
            user_agent,
            created_at,
            expires_at,
            pause,
            polled_at,
            viewer,
            answer,
        })
    }
}

/// Stores a request; a conflict where another one has the same code to type.
pub fn insert(row: DeviceRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO device_requests (hash, user_code, client, source, wish, proof_key, ip, user_agent, created_at, expires_at, \
         pause) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (user_code) DO NOTHING",
    )
    .bind(*row.hash.as_bytes())
    .bind(*row.user_code.as_bytes())
    .bind(row.client)
    .bind(row.source)
    .bind(row.wish)
    .bind(row.proof_key)
    .bind(row.ip)
    .bind(row.user_agent)
    .bind(row.created_at)
    .bind(row.expires_at)
    .bind(row.pause)
}

/// The request of the device that polls with this code.
pub fn by_hash(hash: SecretHash) -> Select<DeviceRow> {
    Query::new(
        1,
        format!("SELECT {COLUMNS} FROM device_requests d WHERE d.hash = ?1"),
    )
    .bind(*hash.as_bytes())
    .of()
}

/// The request that waits for an answer under this code, and that nobody else looked at.
pub fn waiting(user_code: SecretHash, human: UserId, now: Timestamp) -> Select<DeviceRow> {
    Query::new(
        1,
        format!(
            "SELECT {COLUMNS} FROM device_requests d WHERE d.user_code = ?1 AND (d.viewer IS NULL OR d.viewer = ?2) \
             AND d.answer IS NULL AND d.expires_at > ?3"
        ),
    )
    .bind(*user_code.as_bytes())
    .bind(human)
    .bind(now)
    .of()
}

/// Gives a request to the first human who types its code: of many at once, one has it.
pub fn view(hash: SecretHash, human: UserId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE device_requests SET viewer = ?2 WHERE hash = ?1 AND (viewer IS NULL OR viewer = ?2) \
         AND answer IS NULL AND expires_at > ?3",
    )
    .bind(*hash.as_bytes())
    .bind(human)
    .bind(now)
}

/// Notes what its human says: of many answers at once, one counts.
pub fn answer(hash: SecretHash, (human, answer): (UserId, &'static str), now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE device_requests SET answer = ?3 WHERE hash = ?1 AND viewer = ?2 AND answer IS NULL AND expires_at > ?4",
    )
    .bind(*hash.as_bytes())
    .bind(human)
    .bind(answer)
    .bind(now)
}

/// How many requests of a client wait whose code nobody typed.
pub fn waiting_of(client: String, now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM device_requests d WHERE d.client = ?1 AND d.expires_at > ?2 AND d.viewer IS NULL",
    )
    .bind(client)
    .bind(now)
    .of()
}

/// Makes room for one more: the oldest goes whose code nobody typed, of the network that most of them came from.
pub fn make_room(client: String, now: Timestamp) -> Write {
    Write::any(
        "DELETE FROM device_requests WHERE hash = (SELECT w.hash FROM (\
           SELECT d.hash, d.created_at, COUNT(*) OVER (PARTITION BY d.source) AS many FROM device_requests d \
           WHERE d.client = ?1 AND d.expires_at > ?2 AND d.viewer IS NULL) w \
         ORDER BY w.many DESC, w.created_at, w.hash LIMIT 1)",
    )
    .bind(client)
    .bind(now)
}

/// Notes that the device polls, with the key that it proves from now on; a conflict where another poll came before.
pub fn poll(row: &DeviceRow, key: Option<[u8; 32]>, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE device_requests SET polled_at = ?3, proof_key = COALESCE(proof_key, ?2) \
         WHERE hash = ?1 AND COALESCE(polled_at, 0) = ?4",
    )
    .bind(*row.hash.as_bytes())
    .bind(key)
    .bind(now)
    .bind(row.polled_at.unwrap_or(Timestamp::from_micros(0)))
}

/// Has a device wait longer that came too soon.
pub fn slow_down(hash: SecretHash) -> Write {
    Write::any(format!(
        "UPDATE device_requests SET pause = CASE WHEN pause + {SLOWER} > {SLOWEST} THEN {SLOWEST} ELSE pause + {SLOWER} END \
         WHERE hash = ?1"
    ))
    .bind(*hash.as_bytes())
}

/// Removes requests that were over before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM device_requests WHERE expires_at < ?1").bind(before)
}

/// Removes what a human looked at.
pub fn forget_of(human: UserId) -> Write {
    Write::any("DELETE FROM device_requests WHERE viewer = ?1").bind(human)
}
