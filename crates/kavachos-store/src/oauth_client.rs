//! OAuth clients, as rows.

use kavachos_core::id::AgentId;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// How many that nobody let in are removed at once.
pub const CLIENTS_PER_STEP: usize = 64;

/// One client.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    /// By what it is known.
    pub id: String,
    /// Who registered it: `operator`, `itself` or `document`.
    pub source: String,
    /// What it says of itself: a JSON object.
    pub metadata: String,
    /// The hash of its secret.
    pub secret: Option<SecretHash>,
    /// The hash of the credential by which it changes what it says of itself.
    pub manager: Option<SecretHash>,
    /// The agent that it is when it asks for itself.
    pub agent: Option<AgentId>,
    /// `active` or `revoked`.
    pub status: Status,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was registered, or first seen.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT c.id, c.source, c.metadata, c.secret, c.manager, c.agent, c.status, c.handle, h.generation, \
    c.version, c.created_at FROM oauth_clients c JOIN handles h ON h.handle = c.handle";

type Cells = (
    String,
    String,
    String,
    Option<[u8; 32]>,
    Option<[u8; 32]>,
    Option<AgentId>,
    Status,
    Handle,
    u64,
    u64,
    Timestamp,
);

impl FromRow for ClientRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            source,
            metadata,
            secret,
            manager,
            agent,
            status,
            handle,
            generation,
            version,
            created_at,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            source,
            metadata,
            secret: secret.map(SecretHash::from_bytes),
            manager: manager.map(SecretHash::from_bytes),
            agent,
            status,
            mark: Mark { handle, generation },
            version,
            created_at,
        })
    }
}

fn bytes(hash: Option<SecretHash>) -> Option<[u8; 32]> {
    hash.map(|hash| *hash.as_bytes())
}

/// Stores a new client; of several at once, one does. The handle is stored apart, with [`crate::handle::born`].
pub fn insert(client: ClientRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO oauth_clients (id, source, metadata, secret, manager, agent, status, handle, version, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )
    .bind(client.id)
    .bind(client.source)
    .bind(client.metadata)
    .bind(bytes(client.secret))
    .bind(bytes(client.manager))
    .bind(client.agent)
    .bind(client.status)
    .bind(client.mark.handle)
    .bind(client.version)
    .bind(client.created_at)
}

/// Replaces what may change of a client that is still as `client.version` says.
pub fn update(client: ClientRow) -> Write {
    Write::exactly(
        1,
        "UPDATE oauth_clients SET metadata = ?3, secret = ?4, manager = ?5, agent = ?6, status = ?7, version = version + 1 \
         WHERE id = ?1 AND version = ?2",
    )
    .bind(client.id)
    .bind(client.version)
    .bind(client.metadata)
    .bind(bytes(client.secret))
    .bind(bytes(client.manager))
    .bind(client.agent)
    .bind(client.status)
}

/// The client with this id.
pub fn by_id(id: String) -> Select<ClientRow> {
    Query::new(1, format!("{COLUMNS} WHERE c.id = ?1"))
        .bind(id)
        .of()
}

/// Which clients a list is of; `None` leaves them all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Who says what they are: `operator`, `itself` or `document`.
    pub source: Option<&'static str>,
    /// `active` or `revoked`.
    pub status: Option<Status>,
}

/// A page of at most `limit` clients, newest first, that come after the one of this time and id.
pub fn page(
    filter: &ClientFilter,
    after: Option<(Timestamp, String)>,
    limit: usize,
) -> Select<Listed<ClientRow>> {
    let candidates = "SELECT c.id, c.created_at, OCTET_LENGTH(c.metadata) FROM oauth_clients c \
         WHERE (CAST(?2 AS BIGINT) IS NULL OR c.created_at < ?2 OR (c.created_at = ?2 AND c.id < ?3)) \
         AND (CAST(?4 AS TEXT) IS NULL OR c.source = ?4) AND (CAST(?5 AS TEXT) IS NULL OR c.status = ?5)";
    let (since, id) = after.unzip();
    page::by_time(candidates, COLUMNS, limit)
        .bind(since)
        .bind(id)
        .bind(filter.source.map(str::to_owned))
        .bind(filter.status)
        .of()
}

/// A client that nobody let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedClient {
    /// By what it is known.
    pub id: String,
    /// Its handle.
    pub handle: Handle,
}

impl FromRow for UnusedClient {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, handle) = row.decode()?;
        Ok(Self { id, handle })
    }
}

/// That it is known by its own word or by its document, nobody let it in, and nothing is remembered with it: that it was
/// denied is.
const UNUSED: &str = "(source = 'itself' OR (source = 'document' AND status = 'active')) \
    AND NOT EXISTS (SELECT 1 FROM connections o WHERE o.client = oauth_clients.id) \
    AND NOT EXISTS (SELECT 1 FROM refresh_lines l WHERE l.client = oauth_clients.id)";

/// The first of those that nobody let in and that came before this time: at most [`CLIENTS_PER_STEP`].
pub fn unused(before: Timestamp) -> Select<UnusedClient> {
    Query::new(
        CLIENTS_PER_STEP,
        format!(
            "SELECT id, handle FROM oauth_clients WHERE created_at < ?1 AND {UNUSED} \
             ORDER BY created_at, id LIMIT {CLIENTS_PER_STEP}"
        ),
    )
    .bind(before)
    .of()
}

/// The client with this id, if nobody let it in.
pub fn unused_one(id: String) -> Select<UnusedClient> {
    Query::new(
        1,
        format!("SELECT id, handle FROM oauth_clients WHERE id = ?1 AND {UNUSED}"),
    )
    .bind(id)
    .of()
}

/// A client that may ask for something: by what it is known, its handle, and the generation of that.
pub type StandingClient = (String, Handle, u64);

/// Of the clients of this host (`https://app.example.com`), of every port, those that may ask for something: at most `limit` after
/// this one.
pub fn of_host_after(host: &str, after: String, limit: usize) -> Select<StandingClient> {
    Query::new(
        limit,
        "SELECT c.id, c.handle, h.generation FROM oauth_clients c JOIN handles h ON h.handle = c.handle \
         WHERE c.status = 'active' AND c.id > ?3 AND substr(c.id, 1, length(CAST(?1 AS TEXT))) IN (?1, ?2) \
         ORDER BY c.id LIMIT ?4",
    )
    .bind(format!("{host}/"))
    .bind(format!("{host}:"))
    .bind(after)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Makes sure that the client with this id was not denied, or ended.
pub fn is_not_ended(id: String) -> Write {
    Write::exactly(
        0,
        "UPDATE oauth_clients SET version = version WHERE id = ?1 AND status = 'revoked'",
    )
    .bind(id)
}

/// How many registered themselves since this time.
pub fn count_since(since: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT CAST(COUNT(*) AS BIGINT) FROM oauth_clients WHERE source = 'itself' AND created_at >= ?1",
    )
    .bind(since)
    .of()
}

/// The oldest of those that registered themselves since this time and that nobody let in: at most [`CLIENTS_PER_STEP`].
pub fn oldest_unused(since: Timestamp) -> Select<UnusedClient> {
    Query::new(
        CLIENTS_PER_STEP,
        format!(
            "SELECT id, handle FROM oauth_clients WHERE source = 'itself' AND created_at >= ?1 AND {UNUSED} \
             ORDER BY created_at, id LIMIT {CLIENTS_PER_STEP}"
        ),
    )
    .bind(since)
    .of()
}

/// Removes these clients, at most [`CLIENTS_PER_STEP`], as far as nobody let them in meanwhile, with those of their handles
/// that were never killed: the revocation log names the others for ever.
pub fn forget(unused: &[UnusedClient]) -> [Write; 2] {
    let slots: Vec<String> = (1..=unused.len()).map(|slot| format!("?{slot}")).collect();
    let slots = slots.join(", ");
    let clients = Write::any(format!(
        "DELETE FROM oauth_clients WHERE id IN ({slots}) AND {UNUSED}"
    ));
    let handles = Write::any(format!(
        "DELETE FROM handles WHERE handle IN ({slots}) \
         AND NOT EXISTS (SELECT 1 FROM oauth_clients c WHERE c.handle = handles.handle) \
         AND NOT EXISTS (SELECT 1 FROM revocation_log r WHERE r.handle = handles.handle)"
    ));
    [
        unused
            .iter()
            .fold(clients, |write, client| write.bind(client.id.clone())),
        unused
            .iter()
            .fold(handles, |write, client| write.bind(client.handle)),
    ]
}

/// Removes all that nobody let in, as [`forget`] does.
pub fn forget_unused() -> [Write; 2] {
    let handles = format!(
        "DELETE FROM handles WHERE handle IN (SELECT handle FROM oauth_clients WHERE {UNUSED}) \
         AND NOT EXISTS (SELECT 1 FROM revocation_log r WHERE r.handle = handles.handle)"
    );
    let clients = format!("DELETE FROM oauth_clients WHERE {UNUSED}");
    [Write::any(handles), Write::any(clients)]
}

/// Removes one client, with its handle as [`forget`] does; somebody who let it in meanwhile is a conflict.
pub fn remove(unused: &UnusedClient) -> [Write; 2] {
    let [_, handle] = forget(std::slice::from_ref(unused));
    let client = Write::exactly(
        1,
        format!("DELETE FROM oauth_clients WHERE id = ?1 AND {UNUSED}"),
    );
    [client.bind(unused.id.clone()), handle]
}

/// Ends every code and every line of a client, and takes back what humans said yes to, so that none of it lives again with
/// the client.
pub fn end_all(client: &str, now: Timestamp) -> [Write; 4] {
    ended(client, |id| format!("{id} = ?1"), now)
}

/// Ends every code and every line of a client. What humans said yes to stays.
pub fn end_lines(client: &str, now: Timestamp) -> [Write; 3] {
    let [codes, keys, lines, _] = end_all(client, now);
    [codes, keys, lines]
}

/// The same as [`end_all`] of all clients whose id begins so.
pub fn end_all_below(prefix: &str, now: Timestamp) -> [Write; 4] {
    let begins = |id: &str| format!("substr({id}, 1, length(CAST(?1 AS TEXT))) = ?1");
    ended(prefix, begins, now)
}

fn ended(client: &str, is_one: impl Fn(&str) -> String, now: Timestamp) -> [Write; 4] {
    let lines = format!(
        "SELECT l.id FROM refresh_lines l WHERE {}",
        is_one("l.client")
    );
    let of_client = |sql: String| Write::any(sql).bind(client.to_owned());
    [
        of_client(format!(
            "UPDATE authorization_codes SET expires_at = ?2 WHERE expires_at > ?2 AND line IN ({lines})"
        ))
        .bind(now),
        of_client(format!(
            "UPDATE agent_keys SET status = 'revoked', ended_at = ?2 WHERE status = 'active' AND hash IN ({lines})"
        ))
        .bind(now),
        of_client(format!(
            "UPDATE refresh_lines SET idle_ends_at = ?2 WHERE {} AND idle_ends_at > ?2",
            is_one("client")
        ))
        .bind(now),
        of_client(format!(
            "DELETE FROM consents WHERE agent IN (SELECT o.agent FROM connections o WHERE {})",
            is_one("o.client")
        )),
    ]
}
