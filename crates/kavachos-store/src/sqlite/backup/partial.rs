//! The file of a copy that is not whole yet: beside its target, under another name, until it is published.
//!
//! A lock tells one that is being written from one that a killed backup left, which the next one clears away.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::{Existing, directory, with_end};

/// How often to try to be the one who makes the file.
const TRIES: usize = 3;

/// A copy that is being written; unless it is published, dropping it removes it.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl Partial {
    /// Makes the file anew, for its owner alone.
    pub(super) fn begin(target: &Path) -> Result<Self, BackupError> {
        // What replaces an old copy must not take the place of `/dev/null`.
        if fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            let error =
                io::Error::new(ErrorKind::InvalidInput, "what is there is no ordinary file");
            return Err(BackupError::io("replace", target, &error));
        }
        let path = with_end(target, ".partial");
        let running = || BackupError::Running { path: path.clone() };
        for _ in 0..TRIES {
            let made = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Ok(file) => {
                    // Somebody may have taken it for a left one.
                    file.try_lock().map_err(|_| running())?;
                    return Ok(Self {
                        file,
                        path,
                        target: target.to_owned(),
                        is_published: false,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !clear(&path)? {
                        return Err(running());
                    }
                }
                Err(error) => return Err(BackupError::io("make", &path, &error)),
            }
        }
        Err(running())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until everything so far is on disk.
    pub(super) fn sync(&self) -> Result<(), BackupError> {
        self.file
            .sync_all()
            .map_err(|error| BackupError::io("write", &self.path, &error))
    }

    /// Gives the whole copy its name.
    pub(super) fn publish(mut self, existing: Existing) -> Result<(), BackupError> {
        let named = match existing {
            Existing::Replace => fs::rename(&self.path, &self.target),
            Existing::Keep => self.name_anew(),
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => BackupError::Exists {
                path: self.target.clone(),
            },
            _ => BackupError::io("name the copy", &self.target, &error),
        })?;
        self.is_published = true;
        let directory = directory(&self.target);
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| BackupError::io("sync", directory, &error))
    }

    /// Unlike a rename, a link replaces nothing.
    fn name_anew(&self) -> io::Result<()> {
        match fs::hard_link(&self.path, &self.target) {
            Ok(()) => fs::remove_file(&self.path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            Err(_) if self.target.symlink_metadata().is_ok() => {
                Err(ErrorKind::AlreadyExists.into())
            }
            Err(_) => fs::rename(&self.path, &self.target),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_published {
            // What is left of it is no use to anybody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a backup left that was killed; `false` when one still writes it.
fn clear(path: &Path) -> Result<bool, BackupError> {
    let failed = |error: &io::Error| BackupError::io("remove", path, error);
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(&error)),
    };
    if !found.is_file() {
        let error = io::Error::other("it is no file that a backup left; move it away");
        return Err(failed(&error));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(&error)),
    };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    // Whoever had it may have published it since: then the lock is that of another file.
    let is_same =
        |now: &Metadata, then: &Metadata| now.ino() == then.ino() && now.dev() == then.dev();
    let locked = file.metadata().map_err(|error| failed(&error))?;
    match path.symlink_metadata() {
        Ok(now) if is_same(&now, &locked) => {
            fs::remove_file(path).map_err(|error| failed(&error))?;
            Ok(true)
        }
        _ => Ok(true),
    }
}
