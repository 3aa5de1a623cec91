//! Migrations: how the schema grows. Numbered, embedded, append-only; a released one is never edited.
//!
//! They are written once, in the common subset, with placeholders where databases differ ([`Dialect`]). First expand,
//! release, and contract later: so an older binary can go on beside a newer one, until a migration states that it
//! cannot ([`Migration::min_binary`]).

use kavachos_core::time::Timestamp;
use sha2::{Digest, Sha256};

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Whose tables it makes: `core`, or the id of a plugin. Each owner counts from 1.
    pub owner: &'static str,
    /// Its number among those of its owner, without gaps.
    pub number: u32,
    /// A short name for people.
    pub name: &'static str,
    /// The statements, see [`Dialect`].
    pub sql: &'static str,
    /// The lowest level a binary must have to work on the schema after this step. A binary's level, per owner, is the
    /// number of the last migration that it knows.
    pub min_binary: u32,
}

/// What to do with migrations that were not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Apply them.
    Apply,
    /// Refuse to open the database.
    Refuse,
}

/// How far a migration has come in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It was applied as this binary has it.
    Applied,
    /// It is still to be applied.
    Pending,
    /// It was applied, and is not the one that this binary has.
    Edited,
    /// It was applied by a binary that knows more than this one.
    Unknown,
}

/// One migration, as a database and this binary have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose tables.
    pub owner: String,
    /// Its number among those of its owner.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What was applied, or what would be.
    pub checksum: Vec<u8>,
    /// How far it has come.
    pub progress: Progress,
    /// When it was applied.
    pub time: Option<Timestamp>,
}

/// All migrations that a database or this binary has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Those of this binary in their order, then those that only the database has.
    pub migrations: Vec<Told>,
    /// Why this binary cannot use the database, if it cannot.
    pub obstacle: Option<SchemaError>,
}

/// Why a schema cannot be used by this binary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The schema was changed by a newer binary in a way that this one does not know.
    #[error(
        "the database needs a newer kavach: its `{owner}` tables ask for level {needs} and this binary knows {known}"
    )]
    BinaryTooOld {
        /// Whose tables.
        owner: String,
        /// The level that they ask for.
        needs: u32,
        /// The level of this binary.
        known: u32,
    },
    /// A migration is not what it was when it was applied, or they do not follow each other.
    #[error(
        "migration {number} of `{owner}` is not the one that was applied: use the binary that made the database"
    )]
    Edited {
        /// Whose migration.
        owner: String,
        /// Its number.
        number: u32,
    },
    /// A migration does not apply.
    #[error("migration {number} of `{owner}` does not apply: {reason}")]
    Fails {
        /// Whose migration.
        owner: String,
        /// Its number.
        number: u32,
        /// What the database said.
        reason: String,
    },
    /// The schema is older than the binary, and it was not asked to change it.
    #[error("{count} migrations are pending: run `kavach migrate apply`")]
    Pending {
        /// How many.
        count: usize,
    },
}

/// The owner of the tables of KavachOS itself.
pub const CORE: &str = "core";

/// The migrations of KavachOS itself.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        owner: CORE,
        number: 1,
        name: "log",
        sql: include_str!("../migrations/0001_log.sql"),
        min_binary: 1,
    },
    Migration {
        owner: CORE,
        number: 2,
        name: "principals",
        sql: include_str!("../migrations/0002_principals.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 3,
        name: "approvals",
        sql: include_str!("../migrations/0003_approvals.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 4,
        name: "sessions",
        sql: include_str!("../migrations/0004_sessions.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 5,
        name: "webhooks",
        sql: include_str!("../migrations/0005_webhooks.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 6,
        name: "tool servers",
        sql: include_str!("../migrations/0006_tool_servers.sql"),
        // An older binary knows no tool servers, and so lets none of them call.
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 7,
        name: "ledger filters",
        sql: include_str!("../migrations/0007_ledger_filters.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 8,
        name: "signing keys",
        sql: include_str!("../migrations/0008_signing_keys.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 9,
        name: "revocation handles",
        sql: include_str!("../migrations/0009_revocation_handles.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 10,
        name: "used proofs",
        sql: include_str!("../migrations/0010_used_proofs.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 11,
        name: "grant uses",
        sql: include_str!("../migrations/0011_grant_uses.sql"),
        // An older binary knows no uses, and so lets none.
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 12,
        name: "promised tokens",
        sql: include_str!("../migrations/0012_promised_tokens.sql"),
        // An older binary would make tokens without a proof for agents that have a key to prove.
        min_binary: 12,
    },
    Migration {
        owner: CORE,
        number: 13,
        name: "begun kills",
        sql: include_str!("../migrations/0013_begun_kills.sql"),
        // An older binary finishes no kill that is begun, and names sessions to third parties.
        min_binary: 13,
    },
    Migration {
        owner: CORE,
        number: 14,
        name: "used id tokens",
        sql: include_str!("../migrations/0014_used_id_tokens.sql"),
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 15,
        name: "reserved grants",
        sql: include_str!("../migrations/0015_reserved_grants.sql"),
        // An older binary would take a grant that is for one token alone for one like any other.
        min_binary: 15,
    },
    Migration {
        owner: CORE,
        number: 16,
        name: "token grants",
        sql: include_str!("../migrations/0016_token_grants.sql"),
        // What an older binary makes is kept for ever.
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 17,
        name: "restoration",
        sql: include_str!("../migrations/0017_restoration.sql"),
        // An older binary would make humans anew who were banned or deleted.
        min_binary: 17,
    },
    Migration {
        owner: CORE,
        number: 18,
        name: "feed documents",
        sql: include_str!("../migrations/0018_feed_documents.sql"),
        // An older binary would replace the keys of the feed without their root.
        min_binary: 18,
    },
    Migration {
        owner: CORE,
        number: 19,
        name: "sign-in",
        sql: include_str!("../migrations/0019_sign_in.sql"),
        // An older binary would take an impersonation for the human, and leave bans as they are that have ended.
        min_binary: 19,
    },
    Migration {
        owner: CORE,
        number: 20,
        name: "mails",
        sql: include_str!("../migrations/0020_mails.sql"),
        // An older binary leaves alone what waits here.
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 21,
        name: "stopped humans",
        sql: include_str!("../migrations/0021_stopped_humans.sql"),
        // An older binary would not note who is banned, whose provider's tokens then count again after the ban.
        min_binary: 21,
    },
    Migration {
        owner: CORE,
        number: 22,
        name: "roles",
        sql: include_str!("../migrations/0022_roles.sql"),
        min_binary: 21,
    },
    Migration {
        owner: CORE,
        number: 23,
        name: "makers",
        sql: include_str!("../migrations/0023_makers.sql"),
        // What an older binary makes in a session would outlive the recovery of its account.
        min_binary: 23,
    },
    Migration {
        owner: CORE,
        number: 24,
        name: "former identities",
        sql: include_str!("../migrations/0024_former_identities.sql"),
        // An older binary would make somebody new of an identity that was taken from its account.
        min_binary: 24,
    },
    Migration {
        owner: CORE,
        number: 25,
        name: "mail queue",
        sql: include_str!("../migrations/0025_mail_queue.sql"),
        // What an older binary queues and sends is counted by the next upkeep.
        min_binary: 2,
    },
    Migration {
        owner: CORE,
        number: 26,
        name: "two factors",
        sql: include_str!("../migrations/0026_two_factors.sql"),
        // An older binary would let people in with one factor where two are demanded, and count no guesses in a row.
        min_binary: 26,
    },
    Migration {
        owner: CORE,
        number: 27,
        name: "former addresses",
        sql: include_str!("../migrations/0027_former_addresses.sql"),
        // An older binary would keep the addresses of whoever deletes their account, and links that an operator ended.
        min_binary: 27,
    },
    Migration {
        owner: CORE,
        number: 28,
        name: "given identities",
        sql: include_str!("../migrations/0028_given_identities.sql"),
        // By an older binary somebody would come in who is not noted.
        min_binary: 28,
    },
    Migration {
        owner: CORE,
        number: 29,
        name: "clients",
        sql: include_str!("../migrations/0029_clients.sql"),
        // An older binary would forget keys that lines of refresh tokens stand on.
        min_binary: 29,
    },
];

/// The tables in which a database says what it is and which migrations it has; made before the first of them.
pub const BOOTSTRAP: &str = "
CREATE TABLE meta (
    name {text} PRIMARY KEY,
    value {text} NOT NULL
) {keyed};
CREATE TABLE migration (
    owner {text} NOT NULL,
    number {int} NOT NULL,
    name {text} NOT NULL,
    checksum {bytes} NOT NULL,
    min_binary {int} NOT NULL,
    time {int} NOT NULL,
    PRIMARY KEY (owner, number)
) {keyed};
";

impl Migration {
    /// What is stored of an applied migration, to notice that it was edited afterwards.
    pub fn checksum(&self) -> [u8; 32] {
        Sha256::digest(self.sql.as_bytes()).into()
    }
}

/// What differs by database in the definition of tables. In migrations stand `{int}`, `{text}`, `{bytes}` for the
/// types of columns, and `{rows}` or `{keyed}` after the closing parenthesis of a table: `{keyed}` for tables that are
/// only reached by their primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Types are enforced by STRICT; an integer primary key is the row's own number.
    Sqlite,
    /// PostgreSQL 15 or newer.
    Postgres,
}

impl Dialect {
    const fn placeholders(self) -> [(&'static str, &'static str); 5] {
        match self {
            Self::Sqlite => [
                ("{int}", "INTEGER"),
                ("{text}", "TEXT"),
                ("{bytes}", "BLOB"),
                ("{rows}", "STRICT"),
                ("{keyed}", "WITHOUT ROWID, STRICT"),
            ],
            Self::Postgres => [
                ("{int}", "BIGINT"),
                ("{text}", "TEXT COLLATE \"C\""),
                ("{bytes}", "BYTEA"),
                ("{rows}", ""),
                ("{keyed}", ""),
            ],
        }
    }

    /// The statements for this database.
    pub fn render(self, sql: &str) -> String {
        self.placeholders()
            .iter()
            .fold(sql.to_owned(), |sql, (from, to)| sql.replace(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_known_to_every_dialect() {
        for sql in MIGRATIONS.iter().map(|step| step.sql).chain([BOOTSTRAP]) {
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                let rendered = dialect.render(sql);
                assert!(!rendered.contains(['{', '}']), "{rendered}");
            }
        }
    }

    #[test]
    fn the_migrations_are_numbered_without_gaps() {
        let numbers: Vec<u32> = MIGRATIONS.iter().map(|step| step.number).collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected);
    }
}
