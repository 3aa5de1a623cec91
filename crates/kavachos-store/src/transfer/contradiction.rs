//! What must not be found in a tenant that came in: rows that contradict one another, or what the records say of them.
//!
//! Where records are asked for by kind it is said that they are no decisions: only then does SQLite see that the index of
//! acts has them all, and does not go through the whole ledger.

use crate::batch::Param;
use crate::row::{Cell, FromRow, Malformed, Query, Row, Select};

use super::table::{Table, param};
use super::{
    AGENT_KEYS, AGENTS, CLIENTS, CONNECTIONS, GRANTS, HANDLES, OPERATOR_KEYS, RECORDS,
    REFRESH_LINES, REVOCATIONS, SESSIONS, TOKEN_GRANTS, TOOL_SERVERS, USERS,
};

/// The rows of a table whose handles are not in the live set.
macro_rules! orphans {
    ($table:literal, $key:literal) => {
        concat!(
            "SELECT t.",
            $key,
            " FROM ",
            $table,
            " t LEFT JOIN handles h ON h.handle = t.handle ",
            "WHERE h.handle IS NULL LIMIT 1"
        )
    };
}
/// The rows whose status is not that of the last record which changed it, where that one is of this kind.
macro_rules! last_act {
    ($table:literal, $thing:literal, $key:literal, $column:literal, $act:literal, $status:literal) => {
        concat!(
            "SELECT t.id FROM (SELECT l.",
            $column,
            " AS thing, MAX(l.seq) AS last FROM ledger l WHERE l.kind IN ('",
            $thing,
            ".banned', '",
            $thing,
            ".unbanned', '",
            $thing,
            ".deleted', '",
            $thing,
            ".suspended', '",
            $thing,
            ".resumed', '",
            $thing,
            ".revoked') AND l.kind <> 'decision' AND l.outcome = 'allowed' GROUP BY l.",
            $column,
            ") d JOIN ledger r ON r.seq = d.last JOIN ",
            $table,
            " t ON t.",
            $key,
            " = d.thing WHERE r.kind = '",
            $thing,
            ".",
            $act,
            "' AND t.status <> '",
            $status,
            "' LIMIT 1"
        )
    };
}

/// The rows that count fewer stops than there are records of them: what was issued before a stop would live again.
macro_rules! fewer_kills {
    ($table:literal, $key:literal, $column:literal, $kinds:literal) => {
        concat!(
            "SELECT t.id FROM (SELECT l.",
            $column,
            " AS thing, COUNT(*) AS stops FROM ledger l WHERE l.kind IN (",
            $kinds,
            ") AND l.kind <> 'decision' AND l.outcome = 'allowed' GROUP BY l.",
            $column,
            ") d JOIN ",
            $table,
            " t ON t.",
            $key,
            " = d.thing WHERE t.kills < d.stops LIMIT 1"
        )
    };
}

/// The rows that stand as active though their own handle was revoked, which happens to them only when they end.
macro_rules! revived {
    ($table:literal, $key:literal) => {
        concat!(
            "SELECT t.",
            $key,
            " FROM ",
            $table,
            " t JOIN handles h ON h.handle = t.handle WHERE t.status = 'active' AND h.generation > 1 LIMIT 1"
        )
    };
}

/// What must not be found in a database that was filled: in which table, the question, whose answer is the key of a row,
/// and what it means if it has one.
pub const CONTRADICTIONS: [(Table<'static>, &str, &str); 33] = [
    (
        REVOCATIONS,
        "SELECT r.rseq FROM revocation_log r LEFT JOIN handles h ON h.handle = r.handle \
         WHERE h.handle IS NULL OR h.generation < r.generation LIMIT 1",
        "what it revokes is not in the live set, or at a lower generation",
    ),
    (
        HANDLES,
        "SELECT h.handle FROM handles h LEFT JOIN \
         (SELECT r.handle AS handle, MAX(r.generation) AS last FROM revocation_log r GROUP BY r.handle) k \
         ON k.handle = h.handle WHERE h.generation <> COALESCE(k.last, 1) LIMIT 1",
        "it has a generation that no revocation gave it",
    ),
    (USERS, orphans!("users", "id"), NO_HANDLE),
    (AGENTS, orphans!("agents", "id"), NO_HANDLE),
    (AGENT_KEYS, orphans!("agent_keys", "hash"), NO_HANDLE),
    (GRANTS, orphans!("grants", "depth, t.id"), NO_HANDLE),
    (
        TOKEN_GRANTS,
        "SELECT t.grant_id FROM token_grants t LEFT JOIN grants g ON g.id = t.grant_id LEFT JOIN agents a ON a.id = g.receiver \
         WHERE g.id IS NULL OR g.expires_at IS NULL OR g.expires_at <> t.ends_at OR a.root_grant = g.id LIMIT 1",
        "its grant was not made for one token: it is missing, ends at another time, or is an agent's own",
    ),
    (TOOL_SERVERS, orphans!("tool_servers", "id"), NO_HANDLE),
    (OPERATOR_KEYS, orphans!("operator_keys", "id"), NO_HANDLE),
    (CLIENTS, orphans!("oauth_clients", "id"), NO_HANDLE),
    (SESSIONS, orphans!("sessions", "id"), NO_HANDLE),
    (
        AGENTS,
        "SELECT a.id FROM agents a LEFT JOIN agents o ON o.id = a.owner_agent \
         WHERE (a.owner_user IS NULL AND o.id IS NULL) OR (a.owner_user IS NOT NULL AND o.id IS NOT NULL) \
         OR a.root <> COALESCE(a.owner_user, o.root) LIMIT 1",
        "it has no owner, or two, or one below another human",
    ),
    (
        AGENTS,
        "WITH RECURSIVE reached (id) AS (SELECT a.id FROM agents a WHERE a.owner_user IS NOT NULL \
         UNION ALL SELECT a.id FROM agents a JOIN reached r ON a.owner_agent = r.id) \
         SELECT a.id FROM agents a LEFT JOIN reached r ON r.id = a.id LEFT JOIN grants g ON g.id = a.root_grant \
         WHERE r.id IS NULL OR g.id IS NULL OR g.receiver <> a.id LIMIT 1",
        "its owners go in a circle, or its own grant is missing or another's",
    ),
    (
        USERS,
        last_act!("users", "user", "pseudonym", "subject", "banned", "banned"),
        "the records say that it was banned, and it is not",
    ),
    (
        USERS,
        last_act!(
            "users",
            "user",
            "pseudonym",
            "subject",
            "unbanned",
            "active"
        ),
        "the records say that it was unbanned, and it is not active",
    ),
    (
        USERS,
        last_act!(
            "users",
            "user",
            "pseudonym",
            "subject",
            "deleted",
            "revoked"
        ),
        "the records say that it was deleted, and it is not",
    ),
    (
        USERS,
        // A quote that somebody wrote stands behind a backslash in a record, so only a member of its own reads so.
        "SELECT u.id FROM users u LEFT JOIN (SELECT l.subject AS thing, MAX(l.seq) AS last FROM ledger l \
         WHERE l.kind IN ('user.created', 'user.role_changed', 'user.deleted') AND l.kind <> 'decision' \
         AND l.outcome = 'allowed' GROUP BY l.subject) d ON d.thing = u.pseudonym LEFT JOIN ledger r ON r.seq = d.last \
         WHERE COALESCE(u.role, 'member') <> CASE WHEN r.kind = 'user.deleted' THEN 'member' \
         WHEN r.body LIKE '%\"to\":\"owner\"%' OR r.body LIKE '%\"role\":\"owner\"%' THEN 'owner' \
         WHEN r.body LIKE '%\"to\":\"admin\"%' OR r.body LIKE '%\"role\":\"admin\"%' THEN 'admin' \
         ELSE 'member' END LIMIT 1",
        "it has another role than the records say",
    ),
    (
        AGENTS,
        last_act!("agents", "agent", "id", "agent", "suspended", "suspended"),
        "the records say that it was suspended, and it is not",
    ),
    (
        AGENTS,
        last_act!("agents", "agent", "id", "agent", "resumed", "active"),
        "the records say that it was resumed, and it is not active",
    ),
    (
        AGENTS,
        last_act!("agents", "agent", "id", "agent", "revoked", "revoked"),
        "the records say that it was revoked, and it is not",
    ),
    (
        USERS,
        fewer_kills!(
            "users",
            "pseudonym",
            "subject",
            "'user.banned', 'user.deleted', 'user.recovered', 'user.signed_out'"
        ),
        "the records say that it was stopped more often than it counts",
    ),
    (
        AGENTS,
        fewer_kills!(
            "agents",
            "id",
            "agent",
            "'agent.suspended', 'agent.revoked'"
        ),
        "the records say that it was stopped more often than it counts",
    ),
    (
        RECORDS,
        "SELECT l.seq FROM ledger l LEFT JOIN users u ON u.pseudonym = l.subject \
         WHERE l.kind IN ('user.created', 'user.banned', 'user.deleted') AND l.kind <> 'decision' AND l.outcome = 'allowed' \
         AND u.id IS NULL LIMIT 1",
        "it tells of a human who is not in the file",
    ),
    (
        RECORDS,
        "SELECT l.seq FROM ledger l LEFT JOIN agents a ON a.id = l.agent \
         WHERE l.kind IN ('agent.created', 'agent.suspended', 'agent.revoked') AND l.kind <> 'decision' AND l.outcome = 'allowed' \
         AND a.id IS NULL LIMIT 1",
        "it tells of an agent that is not in the file",
    ),
    (AGENT_KEYS, revived!("agent_keys", "hash"), REVIVED),
    (SESSIONS, revived!("sessions", "id"), REVIVED),
    (
        CONNECTIONS,
        "SELECT c.agent FROM connections c JOIN agents a ON a.id = c.agent \
         WHERE a.owner_user IS NULL OR a.owner_user <> c.user_id LIMIT 1",
        "its agent is another human's",
    ),
    (
        CONNECTIONS,
        "SELECT d.agent FROM (SELECT MAX(c.agent) AS agent FROM connections c JOIN agents a ON a.id = c.agent \
         WHERE a.status <> 'revoked' GROUP BY c.user_id, c.client HAVING COUNT(*) > 1) d LIMIT 1",
        "its client is another live agent of the same human",
    ),
    (
        REFRESH_LINES,
        // A client that asks for itself has one at the agent that it is, which no human let in, and is let in nowhere by it.
        "SELECT l.id FROM refresh_lines l JOIN agent_keys k ON k.hash = l.id JOIN oauth_clients o ON o.id = l.client \
         LEFT JOIN connections c ON c.agent = l.agent WHERE k.agent <> l.agent OR c.client <> l.client \
         OR (c.agent IS NULL AND (l.targets <> '[]' OR (k.status = 'active' AND COALESCE(o.agent, '') <> l.agent))) LIMIT 1",
        "its key, or its client, is not that of its agent",
    ),
    (
        CLIENTS,
        // A quote that somebody wrote stands behind a backslash in a record, so only a member of its own reads so.
        "SELECT o.id FROM oauth_clients o WHERE o.source = 'document' AND o.status = 'active' AND (SELECT r.kind FROM ledger r \
         WHERE r.kind IN ('client.denied', 'client.allowed') AND r.kind <> 'decision' AND r.outcome = 'allowed' \
         AND REPLACE(r.body, '\"client\":\"' || o.id || '\"', '') <> r.body ORDER BY r.seq DESC LIMIT 1) = 'client.denied' LIMIT 1",
        "the records say that it was denied, and it is not",
    ),
    (
        USERS,
        // Those below a revoked agent may be counted still, whatever their own status.
        "WITH RECURSIVE off (id) AS (SELECT a.id FROM agents a WHERE a.status = 'revoked' \
         UNION SELECT a.id FROM agents a JOIN off o ON a.owner_agent = o.id) \
         SELECT u.id FROM users u LEFT JOIN (SELECT a.root AS root, COUNT(*) AS live FROM agents a \
         LEFT JOIN off o ON o.id = a.id WHERE o.id IS NULL GROUP BY a.root) c ON c.root = u.id \
         WHERE u.agents < COALESCE(c.live, 0) LIMIT 1",
        "it counts fewer agents than there are",
    ),
    (
        AGENT_KEYS,
        "SELECT k.hash FROM agent_keys k JOIN agents a ON a.id = k.agent JOIN users u ON u.id = a.root \
         WHERE k.agent_kills > a.kills OR k.user_kills > u.kills LIMIT 1",
        AHEAD,
    ),
    (
        SESSIONS,
        "SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.user_kills > u.kills LIMIT 1",
        AHEAD,
    ),
];

const NO_HANDLE: &str = "its handle is not in the live set";
const AHEAD: &str = "it would outlive revocations that are still to come";
const REVIVED: &str = "its handle was revoked, and it is active";

/// One of [`CONTRADICTIONS`], to ask: the key of a row, in a row of its own.
pub fn contradiction(sql: &'static str) -> Query {
    Query::new(1, sql)
}

impl Table<'_> {
    /// How many rows stand before the one with this key.
    pub fn place(&self, key: &[Cell]) -> Select<(u64,)> {
        let names = self.columns.iter().take(self.key);
        let names: Vec<String> = names.map(|column| format!("t.{}", column.name)).collect();
        let slots: Vec<String> = (1..=names.len()).map(|slot| format!("?{slot}")).collect();
        let mut query = Query::new(
            1,
            format!(
                "SELECT COUNT(*) FROM {} t WHERE ({}) < ({})",
                self.name,
                names.join(", "),
                slots.join(", ")
            ),
        );
        query.params = key.iter().map(param).collect();
        query.of()
    }

    /// What became of the things with these ids: those of a table whose rows have an `id` and a `status`.
    pub fn states(&self, ids: &[&str]) -> Select<State> {
        let names = self.columns.iter().take(self.key);
        let names: Vec<String> = names.map(|column| format!("t.{}", column.name)).collect();
        let slots: Vec<String> = (1..=ids.len()).map(|slot| format!("?{slot}")).collect();
        let mut query = Query::new(
            ids.len(),
            format!(
                "SELECT t.id, t.status, {} FROM {} t WHERE t.id IN ({})",
                names.join(", "),
                self.name,
                slots.join(", ")
            ),
        );
        query.params = ids
            .iter()
            .map(|id| Param::Text((*id).to_owned().into()))
            .collect();
        query.of()
    }
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its id.
    pub id: String,
    /// Its status, as it is stored.
    pub status: String,
    /// The key of its row.
    pub key: Vec<Cell>,
}

impl FromRow for State {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let mut cells = row.cells().into_iter();
        let mut text = |column| match cells.next() {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(Malformed {
                column,
                expected: "a text",
            }),
        };
        let (id, status) = (text(1)?, text(2)?);
        Ok(Self {
            id,
            status,
            key: cells.collect(),
        })
    }
}
