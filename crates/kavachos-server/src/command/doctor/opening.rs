//! What a server would meet when it opens the database.

use std::sync::Arc;

use kavachos::{SystemClock, SystemRng};
use kavachos_store::migration::SchemaError;
use kavachos_store::postgres::{self, PostgresStore};
use kavachos_store::sqlite::{self, Host, Pending, SqliteStore};

use super::Finding;
use super::catalogue::{self, Kind};
use super::database::Holder;
use crate::config::Database;

/// Opens the database as a server would, which checks its settings and its log, and closes it again. Applies nothing.
pub(super) fn try_it(database: &Database) -> (Holder, Vec<Finding>) {
    match database {
        Database::File(path) => {
            let mut options = sqlite::Options::file(path);
            options.pending = Pending::Refuse;
            match SqliteStore::open(&options, host()) {
                Ok(_) => (
                    Holder::Nobody,
                    vec![opens("write-ahead log, synchronous FULL")],
                ),
                // Said already.
                Err(sqlite::OpenError::Schema(SchemaError::Pending { .. })) => {
                    (Holder::Nobody, Vec::new())
                }
                Err(error) => (Holder::Nobody, vec![of_file(&error)]),
            }
        }
        Database::Postgres(url) => {
            let mut options = postgres::Options::url(url);
            options.pending = Pending::Refuse;
            match PostgresStore::open(&options, host()) {
                Ok(_) => {
                    let on = "fsync, full_page_writes and synchronous_commit are on";
                    (Holder::Nobody, vec![opens(on)])
                }
                Err(postgres::OpenError::Held { holder }) => {
                    let says = format!("held by {holder}, which is the server if one runs");
                    (Holder::Other, vec![Finding::ok("lock", says)])
                }
                // Said already.
                Err(postgres::OpenError::Schema(SchemaError::Pending { .. })) => {
                    (Holder::Nobody, Vec::new())
                }
                Err(error) => (Holder::Nobody, vec![of_server(&error)]),
            }
        }
    }
}

fn opens(how: &str) -> Finding {
    Finding::ok("open", format!("it opens: {how}"))
}

fn host() -> Host {
    Host {
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        observer: Arc::new(()),
    }
}

/// What an error of SQLite is.
pub(super) fn of_file(error: &sqlite::OpenError) -> Finding {
    use sqlite::OpenError;
    let kind = match error {
        OpenError::NotADatabase { .. } | OpenError::Foreign { .. } => &catalogue::DATABASE_FOREIGN,
        OpenError::ReadOnly { .. } => &catalogue::DATABASE_READ_ONLY,
        OpenError::Weak { .. } => &catalogue::DATABASE_SETTINGS,
        OpenError::Full { .. } => &catalogue::DISK_FULL,
        OpenError::Damaged(_) => &catalogue::DATABASE_DAMAGED,
        OpenError::Schema(error) => of_schema(error),
        _ => &catalogue::DATABASE_UNUSABLE,
    };
    Finding::of(kind, error.to_string())
}

/// What an error of PostgreSQL is.
pub(super) fn of_server(error: &postgres::OpenError) -> Finding {
    use postgres::OpenError;
    let kind = match error {
        OpenError::Url { .. } => &catalogue::CONFIG_INVALID,
        OpenError::Unreachable { .. } => &catalogue::POSTGRES_UNREACHABLE,
        OpenError::Denied { .. } => &catalogue::POSTGRES_DENIED,
        OpenError::NoDatabase { .. } => &catalogue::DATABASE_MISSING,
        OpenError::Tls { .. } => &catalogue::POSTGRES_TLS,
        OpenError::TooOld { .. } => &catalogue::POSTGRES_VERSION,
        OpenError::Encoding { .. } => &catalogue::POSTGRES_ENCODING,
        OpenError::Replica => &catalogue::POSTGRES_REPLICA,
        OpenError::Weak { .. } => &catalogue::POSTGRES_DURABILITY,
        OpenError::Foreign { .. } => &catalogue::DATABASE_FOREIGN,
        OpenError::Damaged(_) => &catalogue::DATABASE_DAMAGED,
        OpenError::Schema(error) => of_schema(error),
        _ => &catalogue::DATABASE_UNUSABLE,
    };
    Finding::of(kind, error.to_string())
}

fn of_schema(error: &SchemaError) -> &'static Kind {
    match error {
        SchemaError::BinaryTooOld { .. } => &catalogue::SCHEMA_NEWER,
        SchemaError::Edited { .. } => &catalogue::SCHEMA_EDITED,
        SchemaError::Pending { .. } => &catalogue::SCHEMA_PENDING,
        _ => &catalogue::DATABASE_UNUSABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tests of the binary cannot bring about: old servers, other encodings, replicas.
    #[test]
    fn a_server_that_cannot_be_used_is_told_by_its_own_name() {
        use postgres::OpenError;
        let text = || "x".to_owned();
        for (error, id) in [
            (OpenError::TooOld { found: text() }, "postgres.version"),
            (OpenError::Encoding { found: text() }, "postgres.encoding"),
            (OpenError::Replica, "postgres.replica"),
            (
                OpenError::Tls {
                    target: text(),
                    reason: text(),
                },
                "postgres.tls",
            ),
            (OpenError::NoSchema, "database.unusable"),
        ] {
            assert_eq!(of_server(&error).id, id, "{error}");
        }
    }

    /// What this binary's own SQLite never does.
    #[test]
    fn a_file_that_cannot_be_used_is_told_by_its_own_name() {
        use sqlite::OpenError;
        let weak = OpenError::Weak {
            setting: "synchronous",
            value: "0".to_owned(),
        };
        assert_eq!(of_file(&weak).id, "database.settings");
        let damaged = OpenError::Damaged("x".to_owned());
        assert_eq!(of_file(&damaged).id, "database.damaged");
        let path = "kavach.db".into();
        assert_eq!(of_file(&OpenError::Full { path }).id, "disk.full");
    }
}
