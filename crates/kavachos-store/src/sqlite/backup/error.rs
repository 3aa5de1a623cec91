//! Why there is no copy.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::sqlite::error::OpenError;

/// Why a database was not copied. Nothing is left of it. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database cannot be read, or a directory is not there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file already.
    #[error("`{}` is there already: name another file, or replace it with `--force`", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The target is no name of a file.
    #[error("`{}` is no name of a file: name the file that the copy goes to", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The target belongs to the database that is copied.
    #[error("`{}` belongs to the database that is copied: name another file", path.display())]
    Itself {
        /// The file.
        path: PathBuf,
    },
    /// A process has the target open as its database.
    #[error("`{}` is the database of a process that runs: name another file, or end that process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A log lies beside the target, which would be taken for a part of the copy.
    #[error("`{}` is left of another database, and would be taken for a part of the copy: move it away first", path.display())]
    OldLog {
        /// The log.
        path: PathBuf,
    },
    /// Another backup to the same file runs.
    #[error("another backup writes `{}`: wait for its end", path.display())]
    Running {
        /// Its file.
        path: PathBuf,
    },
    /// The copy would not fit.
    #[error(
        "there is no room in `{}`: {} MiB are needed and {} MiB are free; make room, or name a file on another disk",
        path.display(), needed.div_ceil(1 << 20), free >> 20
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// How many bytes are needed.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// The disk of the copy is full.
    #[error("the disk is full: make room for `{}`, or name a file on another disk", path.display())]
    Full {
        /// The copy.
        path: PathBuf,
    },
    /// The disk of the database is nearly full.
    #[error("the disk of the database is nearly full, and the server comes first: make room in `{}`", path.display())]
    Crowded {
        /// The directory.
        path: PathBuf,
    },
    /// Too much was written meanwhile.
    #[error(
        "the write-ahead log of the database grew by {} MiB while it was copied, and cannot begin anew until the copy is \
         done: try again when less is written, or name a faster disk",
        bytes >> 20
    )]
    LogGrew {
        /// By how much, in bytes.
        bytes: u64,
    },
    /// Somebody holds a lock of the database.
    #[error("another process holds a lock of the database: try again")]
    Busy,
    /// The copy, and so perhaps the database, contradicts itself.
    #[error(
        "the copy is damaged ({0}), and so perhaps is the database: keep the last good backup, and see `kavach doctor`"
    )]
    Damaged(String),
    /// A file cannot be used.
    #[error("cannot {action} `{}`: {reason}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl BackupError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io {
                action,
                path,
                reason: error.to_string(),
            },
        }
    }

    /// What SQLite's error says about the copy at this path.
    pub(super) fn of(error: &rusqlite::Error, path: &Path) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full {
                path: path.to_owned(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Io {
                action: "copy to",
                path: path.to_owned(),
                reason: error.to_string(),
            },
        }
    }
}
