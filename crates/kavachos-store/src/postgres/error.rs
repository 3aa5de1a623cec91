//! What PostgreSQL's errors mean here.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::migration::SchemaError;

/// Why a database cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one.
    #[error(
        "the database URL is wrong: {reason}; it looks like `postgres://user:password@host:5432/database`"
    )]
    Url {
        /// What is wrong with it, without its password.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "cannot connect to `{target}`: {reason}; check that PostgreSQL runs there and may be reached"
    )]
    Unreachable {
        /// The server, without the password.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The server does not know the user, or not with this password.
    #[error(
        "`{target}` refuses the user or the password: {reason}; check both in the database URL"
    )]
    Denied {
        /// The server, without the password.
        target: String,
        /// What the server said.
        reason: String,
    },
    /// The database is not there.
    #[error(
        "there is no such database at `{target}`: {reason}; create it first with `CREATE DATABASE`"
    )]
    NoDatabase {
        /// The server, without the password.
        target: String,
        /// What the server said.
        reason: String,
    },
    /// The connection would not be encrypted, or not to the right server.
    #[error(
        "no encrypted connection to `{target}`: {reason}; name the authority's certificate with `sslrootcert`, or put \
         `sslmode=disable` into the URL if nobody else can reach the network between"
    )]
    Tls {
        /// The server, without the password.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// No schema to put tables into.
    #[error(
        "the schema of the search path does not exist: create it with `CREATE SCHEMA`, or correct the path"
    )]
    NoSchema,
    /// The server is too old.
    #[error("this is PostgreSQL {found}, and 15 or newer is needed: upgrade it")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// Text would not be stored as it is.
    #[error(
        "the database has the encoding `{found}`: create one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding {
        /// Its encoding.
        found: String,
    },
    /// It can only be read.
    #[error("the server is a replica, which cannot be written: name the primary")]
    Replica,
    /// A setting that durability rests on is weaker than it must be.
    #[error(
        "the server runs with `{setting} = {value}`, which loses acknowledged records when it crashes: it is not used; \
         turn `{setting}` on"
    )]
    Weak {
        /// The setting.
        setting: &'static str,
        /// What it is.
        value: String,
    },
    /// Another process has the log.
    #[error(
        "another process holds the log of this database ({holder}): use the running server instead (`--url`), or stop \
         it first"
    )]
    Held {
        /// What is known of it.
        holder: String,
    },
    /// The schema is another program's.
    #[error(
        "the schema `{schema}` of this database holds tables of another program: name another database or schema"
    )]
    Foreign {
        /// The schema.
        schema: String,
    },
    /// The schema is not one for this binary.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What is stored contradicts itself.
    #[error("the database is damaged: {0}; restore a backup")]
    Damaged(String),
    /// The operating system gives no thread.
    #[error("cannot start: {reason}")]
    Io {
        /// What it said.
        reason: String,
    },
    /// Anything else that the server says.
    #[error("PostgreSQL cannot open the database: {reason}")]
    Server {
        /// What it said.
        reason: String,
    },
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Server {
            reason: reason(&error),
        }
    }
}

impl OpenError {
    /// Why there is no connection to this server.
    pub(super) fn connecting(error: &Error, target: &str) -> Self {
        let (target, reason) = (target.to_owned(), reason(error));
        match error.code() {
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Self::Denied { target, reason }
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => Self::NoDatabase { target, reason },
            Some(_) => Self::Unreachable { target, reason },
            None if is_about_tls(error) => Self::Tls { target, reason },
            None if reason.contains("password missing") => Self::Denied { target, reason },
            None => Self::Unreachable { target, reason },
        }
    }
}

/// The driver does not tell its errors apart in a type, but in their first words.
fn is_about_tls(error: &Error) -> bool {
    error.to_string().contains("TLS")
}

/// The whole chain of an error in one line.
pub(super) fn reason(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return match error.detail() {
            Some(detail) => format!("{} ({detail})", error.message()),
            None => error.message().to_owned(),
        };
    }
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

/// What went wrong while a group was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The batch's own statement or data.
    Data(String),
    /// A lock of somebody else, or a deadlock with it: another time it may go well.
    Busy,
    /// The connection is gone.
    Lost(String),
    /// The server fails: a full disk, no memory, a failover.
    Server(String),
    /// Somebody else wrote into the log, or replaced the database.
    OtherWriter,
}

impl Fault {
    /// Judges an error by its code.
    pub(super) fn of(error: &Error) -> Self {
        let reason = reason(error);
        let Some(code) = error.code() else {
            // The driver itself: a parameter that cannot be sent, or no connection.
            let about_values = error.to_string().starts_with("error serializing");
            return if about_values {
                Self::Data(reason)
            } else {
                Self::Lost(reason)
            };
        };
        match code.code() {
            // Lock not available, deadlock, serialization, a statement that somebody cancelled.
            "55P03" | "40P01" | "40001" | "57014" => Self::Busy,
            // Idle in a transaction for too long: the session is over.
            "25P03" | "57P01" | "57P02" | "57P03" | "57P05" => Self::Lost(reason),
            // A statement that the session no longer knows.
            "26000" => Self::Lost(reason),
            code if code.starts_with("08") => Self::Lost(reason),
            code if ["0A", "21", "22", "23", "42", "44", "54"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Self::Data(reason)
            }
            _ => Self::Server(reason),
        }
    }

    /// Judges an error of one of the writer's own statements, which are never one batch's fault, except for records
    /// that are there already.
    pub(super) fn of_own(error: &Error) -> Self {
        let constraint = error.as_db_error().and_then(|error| error.constraint());
        match (Self::of(error), constraint) {
            (Self::Data(_), Some("ledger_pkey" | "revocation_log_pkey" | "log_epoch_check")) => {
                Self::OtherWriter
            }
            (fault, _) => fault,
        }
    }

    /// What to tell callers and `/readyz`.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Data(reason) | Self::Server(reason) | Self::Lost(reason) => reason.clone(),
            Self::Busy => "another session holds a lock of the database".to_owned(),
            Self::OtherWriter => "another process wrote into the log or replaced the database: end that process, then \
                start this one again"
                .to_owned(),
        }
    }
}
