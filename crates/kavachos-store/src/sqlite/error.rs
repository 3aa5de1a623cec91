//! What SQLite's errors mean here.

use std::path::PathBuf;

use rusqlite::{Connection, Error, ErrorCode};

use crate::migration::SchemaError;

/// Why a database cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory of the database is not there.
    #[error("the directory `{}` does not exist: create it first", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Another process has the database.
    #[error(
        "another process holds the lock file `{}`: use the running server instead (`--url`), or stop it first",
        path.display()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The file may not be written.
    #[error("the database `{}` is read-only: change its permissions or copy it elsewhere", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The last changes of a database lie there, and the database does not.
    #[error(
        "`{}` has the last changes of a database that is not beside it: put the two together again, or move it away",
        log.display()
    )]
    LostDatabase {
        /// The write-ahead log.
        log: PathBuf,
    },
    /// The file is something else.
    #[error("`{}` is not an SQLite database: name another file, or restore a backup if it was one", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The database belongs to another program.
    #[error("`{}` is a database of another program: name another file", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The schema is not one for this binary.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A setting that durability or erasure rests on is weaker than it must be.
    #[error(
        "the database runs with `{setting} = {value}`, which loses or keeps what it must not: it is not used"
    )]
    Weak {
        /// The pragma.
        setting: &'static str,
        /// What it is.
        value: String,
    },
    /// There is no room.
    #[error("the disk is full: make room for `{}`", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// What is stored contradicts itself.
    #[error("the database is damaged: {0}; restore a backup")]
    Damaged(String),
    /// The operating system refuses.
    #[error("cannot open `{}`: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// Anything else that SQLite says.
    #[error("SQLite cannot open `{}`: {reason}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    /// The error that this one of SQLite is, for the database at this path.
    pub(super) fn of(error: &Error, path: &std::path::Path) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite {
                path,
                reason: error.to_string(),
            },
        }
    }
}

/// What went wrong while a group was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The batch's own statement or data: the batch fails and the group goes on.
    Data(String),
    /// Somebody else holds a lock of the database.
    Busy,
    /// No room. Nothing of the group is on disk.
    Full,
    /// The database or the disk fails.
    Disk(String),
    /// Somebody else wrote into the log, or replaced the file.
    OtherWriter,
}

impl Fault {
    /// Judges an error that came while a transaction was open.
    pub(super) fn inside(connection: &Connection, error: &Error) -> Self {
        let fault = Self::of(error);
        // SQLite may have dropped the whole transaction by itself; then the batches before are gone too.
        match fault {
            Self::Data(reason) if connection.is_autocommit() => Self::Disk(reason),
            fault => fault,
        }
    }

    /// Judges an error by its code alone.
    pub(super) fn of(error: &Error) -> Self {
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            // `Unknown` is SQLITE_ERROR: a wrong statement. No code: rusqlite refused the parameters.
            None
            | Some(
                ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::ApiMisuse
                | ErrorCode::Unknown,
            ) => Self::Data(reason),
            Some(_) => Self::Disk(reason),
        }
    }

    /// What to tell callers and `/readyz`.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Data(reason) | Self::Disk(reason) => reason.clone(),
            Self::Busy => "another process holds a lock of the database".to_owned(),
            Self::Full => "the disk is full".to_owned(),
            Self::OtherWriter => "another process wrote into the log or replaced it: end that process, then start this one again".to_owned(),
        }
    }
}
