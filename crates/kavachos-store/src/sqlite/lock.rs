//! One process owns a database: an operating-system lock on a file beside it, held for life.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::error::OpenError;

/// The lock; dropping it, or the end of the process in any way, releases it. The file stays.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this database, or says who has it.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = lock_path(database);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| OpenError::Io {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Held { path }),
            Err(TryLockError::Error(error)) => Err(OpenError::Io {
                path,
                reason: error.to_string(),
            }),
        }
    }
}

/// Whether a process has this database. Takes nothing.
pub(super) fn is_held(database: &Path) -> bool {
    let Ok(file) = File::open(lock_path(database)) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
