//! A whole tenant as rows: what is read of each table, in which order, and how it is written back.
//!
//! Promises: [`TABLES`] names everything that a tenant is made of, in an order in which each row stands after those it
//! refers to; the order within a table is that of its key, so two databases with the same rows give them in the same
//! order. What is not in it, a tenant does without: `Idempotency-Key`s of the last day, which id_tokens and proofs were used,
//! tokens that were promised and not made yet, and the tables of plugins. Whether first mentions are held follows from the
//! records ([`crate::restoration`]).

mod contradiction;

use kavachos_core::ledger::Hash;
use kavachos_core::time::Timestamp;

use crate::batch::{Param, Write};
use crate::row::{Cell, FromRow, Malformed, Query, Row, Select};

pub use contradiction::{CONTRADICTIONS, State, contradiction};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// TEXT.
    Text,
    /// BIGINT.
    Number,
    /// BYTEA.
    Bytes,
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// What it is called outside.
    pub member: &'static str,
    /// What it holds.
    pub form: Form,
    /// Whether it may hold nothing.
    pub optional: bool,
    name: &'static str,
}

/// One table, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// What one row of it is called.
    pub kind: &'static str,
    /// Its columns, those of the key first.
    pub columns: &'static [Column],
    /// How many columns the key has.
    pub key: usize,
    /// How many rows are read at once: few where a row may be long.
    pub page: usize,
    name: &'static str,
    /// The column by which rows are read before all others, so that a row stands after the one above it.
    level: Option<&'static str>,
    part: Part,
}

/// Which part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Rows,
    /// Some columns of rows that are there already, where the last of them is set.
    Rest,
}

/// How many rows of a table whose rows may be long are read at once.
const FEW: usize = 64;
/// How many rows of any other table.
const MANY: usize = 250;
/// How many levels a table may have: those of delegations.
pub const LEVELS: u8 = kavachos_core::grant::MAX_DEPTH;

const fn text(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Text)
}

const fn number(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Number)
}

const fn bytes(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Bytes)
}

const fn column(member: &'static str, name: &'static str, form: Form) -> Column {
    Column {
        member,
        form,
        optional: false,
        name,
    }
}

impl Column {
    const fn or_null(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

const fn table(
    kind: &'static str,
    name: &'static str,
    page: usize,
    columns: &'static [Column],
) -> Table {
    Table {
        kind,
        columns,
        key: 1,
        page,
        name,
        level: None,
        part: Part::Rows,
    }
}

/// Every handle with its generation.
pub const HANDLES: Table = table(
    "handle",
    "handles",
    MANY,
    &[
        bytes("handle", "handle"),
        number("generation", "generation"),
    ],
);

/// The revocation log.
pub const REVOCATIONS: Table = table(
    "revocation",
    "revocation_log",
    MANY,
    &[
        number("rseq", "rseq"),
        bytes("handle", "handle"),
        number("generation", "generation"),
        bytes("rhash", "rhash"),
    ],
);

/// Humans.
pub const USERS: Table = table(
    "user",
    "users",
    FEW,
    &[
        text("id", "id"),
        text("status", "status"),
        text("email", "email").or_null(),
        text("name", "name").or_null(),
        text("provider", "provider").or_null(),
        text("externalId", "external_id").or_null(),
        text("permissions", "permissions").or_null(),
        bytes("handle", "handle"),
        number("kills", "kills"),
        text("pseudonym", "pseudonym"),
        number("agents", "agents"),
        number("version", "version"),
        number("createdAt", "created_at"),
        number("emailVerifiedAt", "email_verified_at").or_null(),
        text("role", "role").or_null(),
        number("bannedUntil", "banned_until").or_null(),
    ],
);

/// Humans' passwords, as hashes.
pub const PASSWORDS: Table = table(
    "password",
    "passwords",
    MANY,
    &[
        text("user", "user_id"),
        text("phc", "phc"),
        number("mustReset", "must_reset"),
        number("setAt", "set_at"),
    ],
);

/// Which methods are a second factor of a human.
pub const SECOND_FACTORS: Table = Table {
    key: 2,
    ..table(
        "secondFactor",
        "second_factors",
        MANY,
        &[
            text("user", "user_id"),
            text("method", "method"),
            number("armedAt", "armed_at"),
        ],
    )
};

/// Agents, but for the agents that own some of them: an owner may stand after what it owns.
pub const AGENTS: Table = table(
    "agent",
    "agents",
    FEW,
    &[
        text("id", "id"),
        text("ownerUser", "owner_user").or_null(),
        text("root", "root"),
        text("name", "name"),
        text("type", "type"),
        text("status", "status"),
        number("expiresAt", "expires_at").or_null(),
        text("metadata", "metadata").or_null(),
        text("rootGrant", "root_grant"),
        bytes("handle", "handle"),
        number("kills", "kills"),
        number("version", "version"),
        number("createdAt", "created_at"),
        text("proofKey", "proof_key").or_null(),
        bytes("proofHandle", "proof_handle").or_null(),
    ],
);

/// The agents that own agents.
pub const AGENT_OWNERS: Table = Table {
    part: Part::Rest,
    ..table(
        "agentOwner",
        "agents",
        MANY,
        &[text("id", "id"), text("ownerAgent", "owner_agent")],
    )
};

/// Agents' keys.
pub const AGENT_KEYS: Table = table(
    "agentKey",
    "agent_keys",
    MANY,
    &[
        bytes("hash", "hash"),
        text("agent", "agent"),
        text("shown", "shown"),
        text("status", "status"),
        number("expiresAt", "expires_at"),
        number("agentKills", "agent_kills"),
        number("userKills", "user_kills"),
        bytes("handle", "handle"),
        number("endedAt", "ended_at").or_null(),
        number("createdAt", "created_at"),
    ],
);

/// Grants, each after the one it was derived from.
pub const GRANTS: Table = Table {
    key: 2,
    level: Some("depth"),
    ..table(
        "grant",
        "grants",
        FEW,
        &[
            number("depth", "depth"),
            text("id", "id"),
            text("parent", "parent").or_null(),
            text("giverUser", "giver_user").or_null(),
            text("giverAgent", "giver_agent").or_null(),
            text("receiver", "receiver"),
            text("root", "root"),
            text("permissions", "permissions"),
            text("guards", "guards").or_null(),
            number("maxDepth", "max_depth"),
            number("expiresAt", "expires_at").or_null(),
            text("reason", "reason").or_null(),
            text("status", "status"),
            bytes("handle", "handle"),
            number("version", "version"),
            number("createdAt", "created_at"),
            text("uses", "uses").or_null(),
            text("reservedFor", "reserved_for").or_null(),
        ],
    )
};

/// Which grants were made for one token each.
pub const TOKEN_GRANTS: Table = table(
    "tokenGrant",
    "token_grants",
    MANY,
    &[text("grant", "grant_id"), number("endsAt", "ends_at")],
);

/// Tool servers, with the hashes of their keys.
pub const TOOL_SERVERS: Table = table(
    "toolServer",
    "tool_servers",
    FEW,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("audience", "audience"),
        text("name", "name"),
        text("scopes", "scopes"),
        text("policy", "policy"),
        text("status", "status"),
        bytes("handle", "handle"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// Operators' keys.
pub const OPERATOR_KEYS: Table = table(
    "operatorKey",
    "operator_keys",
    FEW,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("name", "name"),
        text("origin", "origin"),
        text("scopes", "scopes"),
        text("ceiling", "ceiling").or_null(),
        text("status", "status"),
        number("expiresAt", "expires_at").or_null(),
        bytes("handle", "handle"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// Humans' sessions.
pub const SESSIONS: Table = table(
    "session",
    "sessions",
    MANY,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("user", "user_id"),
        text("openedBy", "opened_by"),
        text("status", "status"),
        number("userKills", "user_kills"),
        bytes("handle", "handle"),
        number("signedInAt", "signed_in_at"),
        number("usedAt", "used_at"),
        number("expiresAt", "expires_at"),
        number("createdAt", "created_at"),
        text("method", "method").or_null(),
        text("ip", "ip").or_null(),
        text("userAgent", "user_agent").or_null(),
        text("impersonator", "impersonator").or_null(),
        bytes("impersonatorHandle", "impersonator_handle").or_null(),
        number("impersonatorGeneration", "impersonator_generation").or_null(),
    ],
);

/// Requests for approval.
pub const APPROVALS: Table = table(
    "approval",
    "approvals",
    FEW,
    &[
        text("id", "id"),
        text("agent", "agent"),
        text("subject", "subject"),
        text("action", "action"),
        text("resource", "resource"),
        text("grantPath", "grant_path"),
        text("document", "document"),
        bytes("digest", "digest"),
        bytes("argumentsDigest", "arguments_digest").or_null(),
        text("status", "status"),
        text("decidedBy", "decided_by").or_null(),
        bytes("approver", "approver").or_null(),
        number("approverGeneration", "approver_generation").or_null(),
        number("decidedAt", "decided_at").or_null(),
        number("expiresAt", "expires_at"),
        number("createdAt", "created_at"),
    ],
);

/// Webhooks. Their secrets are stored nowhere.
pub const WEBHOOKS: Table = table(
    "webhook",
    "webhooks",
    FEW,
    &[
        text("id", "id"),
        text("url", "url"),
        text("name", "name").or_null(),
        text("kinds", "kinds"),
        number("denials", "denials"),
        text("status", "status"),
        number("position", "position"),
        number("secret", "secret"),
        number("overlapUntil", "overlap_until").or_null(),
        bytes("master", "master"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// What webhooks were not told yet.
pub const DELIVERIES: Table = Table {
    key: 2,
    ..table(
        "delivery",
        "webhook_deliveries",
        MANY,
        &[
            text("webhook", "webhook"),
            text("audit", "audit"),
            text("status", "status"),
            number("attempts", "attempts"),
            number("nextAt", "next_at"),
            text("problem", "problem").or_null(),
        ],
    )
};

/// Counters of rates and budgets.
pub const COUNTERS: Table = table(
    "counter",
    "counters",
    MANY,
    &[
        bytes("counter", "counter"),
        bytes("state", "state"),
        number("time", "time"),
    ],
);

/// The ledger. What else stands in its columns follows from the body.
pub const RECORDS: Table = table(
    "record",
    "ledger",
    MANY,
    &[
        number("seq", "seq"),
        number("time", "time"),
        text("body", "body"),
        bytes("salt", "salt").or_null(),
        text("personal", "personal").or_null(),
    ],
);

/// All of them, in the order in which they are written and read. The ledger is the last.
pub const TABLES: [Table; 18] = [
    HANDLES,
    REVOCATIONS,
    USERS,
    PASSWORDS,
    SECOND_FACTORS,
    AGENTS,
    AGENT_OWNERS,
    AGENT_KEYS,
    GRANTS,
    TOKEN_GRANTS,
    TOOL_SERVERS,
    OPERATOR_KEYS,
    SESSIONS,
    APPROVALS,
    WEBHOOKS,
    DELIVERIES,
    COUNTERS,
    RECORDS,
];

impl Table {
    /// How many levels it is read in, the first one first.
    pub const fn levels(&self) -> u8 {
        if self.level.is_some() { LEVELS + 1 } else { 1 }
    }

    /// The next rows of one level after the row with this key, all columns of each.
    pub fn rows(&self, level: u8, after: Option<&[Cell]>) -> Query {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let mut conditions = Vec::new();
        let mut params: Vec<Param> = Vec::new();
        let key = if let Some(name) = self.level {
            params.push(level.into());
            conditions.push(format!("t.{name} = ?1"));
            names.get(1..self.key).unwrap_or_default()
        } else {
            names.get(..self.key).unwrap_or_default()
        };
        if self.part == Part::Rest
            && let Some(name) = names.last()
        {
            conditions.push(format!("t.{name} IS NOT NULL"));
        }
        let key: Vec<String> = key.iter().map(|name| format!("t.{name}")).collect();
        if let Some(after) = after {
            let skipped = self.key.saturating_sub(key.len());
            let mut slots = Vec::with_capacity(key.len());
            for cell in after.iter().skip(skipped) {
                params.push(param(cell));
                slots.push(format!("?{}", params.len()));
            }
            conditions.push(format!("({}) > ({})", key.join(", "), slots.join(", ")));
        }
        let mut sql = format!("SELECT t.{} FROM {} t", names.join(", t."), self.name);
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(&format!(" ORDER BY {} LIMIT {}", key.join(", "), self.page));
        let mut query = Query::new(self.page, sql);
        query.params = params;
        query
    }

    /// Stores one row with these columns.
    pub fn store(&self, cells: &[Cell]) -> Write {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let sql = match self.part {
            Part::Rows => {
                let slots: Vec<String> = (1..=names.len()).map(|slot| format!("?{slot}")).collect();
                let (names, slots) = (names.join(", "), slots.join(", "));
                format!("INSERT INTO {} ({names}) VALUES ({slots})", self.name)
            }
            Part::Rest => format!(
                "UPDATE {} SET {} = ?2 WHERE {} = ?1",
                self.name,
                names.get(1).unwrap_or(&""),
                names.first().unwrap_or(&"")
            ),
        };
        let mut write = Write::exactly(1, sql);
        write.params = cells.iter().map(param).collect();
        write
    }
}

fn param(cell: &Cell) -> Param {
    match cell {
        Cell::Null => Param::Null,
        Cell::Integer(number) => Param::Integer(*number),
        Cell::Text(text) => Param::Text(text.clone().into()),
        Cell::Blob(bytes) => Param::Blob(bytes.clone()),
    }
}

/// One record of the ledger, with the columns that follow from its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// The body, canonical JSON.
    pub body: String,
    /// The salt of the personal fields; `None` once they are erased.
    pub salt: Option<Vec<u8>>,
    /// The personal fields; `None` once they are erased.
    pub personal: Option<String>,
    /// Its leaf of the tree.
    pub leaf: Hash,
    /// `id`, `kind`, `outcome`, `code` and `actor`, as the body has them.
    pub named: [String; 5],
    /// `subject`, `agent`, `action`, `resource` and `requestId`, as the body has them.
    pub about: [Option<String>; 5],
    /// The ancestors that the body names.
    pub chain: Vec<String>,
}

impl Record {
    /// Stores it, and by whom it can be found.
    pub fn store(self) -> Vec<Write> {
        let mut write = Write::exactly(
            1,
            "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, subject, agent, action, resource, \
             request_id, body, salt, personal, leaf) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .bind(self.seq)
        .bind(self.time);
        write = self.named.into_iter().fold(write, Write::bind);
        write = self.about.into_iter().fold(write, Write::bind);
        let write = write
            .bind(self.body)
            .bind(self.salt)
            .bind(self.personal)
            .bind(self.leaf);
        let seq = self.seq;
        let member = |member: String| {
            Write::any(
                "INSERT INTO ledger_member (member, seq) VALUES (?1, ?2) \
                 ON CONFLICT (member, seq) DO NOTHING",
            )
            .bind(member)
            .bind(seq)
        };
        std::iter::once(write)
            .chain(self.chain.into_iter().map(member))
            .collect()
    }
}

/// What is in a database that is not empty: a table, in the words of a message. A new database has keys that were made
/// with it or stand in a configuration, and records.
pub fn occupants() -> Select<(String,)> {
    Query::new(
        8,
        "SELECT 'users' WHERE EXISTS (SELECT 1 FROM users) \
         UNION ALL SELECT 'agents' WHERE EXISTS (SELECT 1 FROM agents) \
         UNION ALL SELECT 'tool servers' WHERE EXISTS (SELECT 1 FROM tool_servers) \
         UNION ALL SELECT 'webhooks' WHERE EXISTS (SELECT 1 FROM webhooks) \
         UNION ALL SELECT 'operator keys that were made with others' \
         WHERE (SELECT COUNT(*) FROM operator_keys k WHERE k.origin = 'created') > 1",
    )
    .of()
}

/// Takes out what a new database has.
pub fn clear() -> Vec<Write> {
    [
        "DELETE FROM operator_keys",
        "DELETE FROM idempotency",
        "DELETE FROM restoration",
        "DELETE FROM handles",
        "DELETE FROM revocation_log",
        "DELETE FROM counters",
        "DELETE FROM ledger_member",
        "DELETE FROM ledger",
    ]
    .into_iter()
    .map(Write::any)
    .collect()
}

/// Where the log of a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its name.
    pub log: [u8; 16],
    /// Its epoch.
    pub epoch: u64,
    /// The edge of the ledger's tree, encoded.
    pub frontier: Vec<u8>,
    /// When its last record was committed, or later.
    pub last_time: Timestamp,
    /// The number of the last revocation.
    pub rseq: u64,
    /// The hash of the last revocation.
    pub rhash: Hash,
}

impl FromRow for Log {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (log, epoch, frontier, last_time, rseq, rhash) = row.decode()?;
        Ok(Self {
            log,
            epoch,
            frontier,
            last_time,
            rseq,
            rhash,
        })
    }
}

/// Where the log stands.
pub fn log() -> Select<Log> {
    Query::new(
        1,
        "SELECT l.log, l.epoch, l.frontier, l.last_time, l.rseq, l.rhash FROM log l",
    )
    .of()
}

/// The body of the record of the last import.
pub fn last_import() -> Select<(String,)> {
    Query::new(
        1,
        // That it is no decision lets SQLite see that the index of acts has it.
        "SELECT l.body FROM ledger l WHERE l.kind = 'tenant.imported' AND l.kind <> 'decision' AND l.outcome = 'allowed' \
         ORDER BY l.seq DESC LIMIT 1",
    )
    .of()
}

/// The leaves of records from this number on, at most so many, in their order.
pub fn leaves(from: u64, limit: usize) -> Select<(Hash,)> {
    Query::new(
        limit,
        "SELECT l.leaf FROM ledger l WHERE l.seq >= ?1 ORDER BY l.seq LIMIT ?2",
    )
    .bind(from.min(i64::MAX.unsigned_abs()))
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_kind_and_members_of_its_own() {
        for (index, table) in TABLES.iter().enumerate() {
            assert!(
                TABLES
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.kind != table.kind)
            );
            let mut members: Vec<&str> = table.columns.iter().map(|one| one.member).collect();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), table.columns.len(), "{}", table.kind);
            assert!(!members.contains(&"kind"), "{}", table.kind);
        }
    }

    #[test]
    fn rows_are_read_after_a_key_and_by_level() {
        let users = USERS.rows(0, Some(&[Cell::Text("user_1".to_owned())]));
        assert!(
            users
                .sql
                .contains("WHERE (t.id) > (?1) ORDER BY t.id LIMIT 64")
        );
        let key = [Cell::Integer(2), Cell::Text("grant_1".to_owned())];
        let grants = GRANTS.rows(2, Some(&key));
        assert!(
            grants
                .sql
                .contains("WHERE t.depth = ?1 AND (t.id) > (?2) ORDER BY t.id")
        );
        let owners = AGENT_OWNERS.rows(0, None);
        assert!(
            owners
                .sql
                .contains("WHERE t.owner_agent IS NOT NULL ORDER BY t.id")
        );
    }
}
