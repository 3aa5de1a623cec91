//! The place of a database in a file: claimed for as long as a restoration takes, and given to the new one at its end.
//!
//! Promises: no server starts there meanwhile; what was there is never removed; a crash leaves the old database, the new
//! one, or both under names of their own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kavachos_store::sqlite::{self, Claim, Existing};

use crate::failure::Failure;

/// A database and the files that SQLite keeps beside it: first those that belong to it while it is open.
const ENDS: [&str; 3] = ["-wal", "-shm", ""];

/// A place that no other process has.
pub(super) struct Place {
    path: PathBuf,
    _claim: Claim,
}

/// A copy of a backup beside the place; removed unless it is put there.
pub(super) struct Copy<'a> {
    place: &'a Place,
    path: PathBuf,
}

impl Place {
    /// Claims the place of this database, which need not be there.
    pub(super) fn claim(path: &Path) -> Result<Self, Failure> {
        let claim = sqlite::claim(path).map_err(|error| Failure::Database(error.to_string()))?;
        Ok(Self {
            path: claim.path().to_owned(),
            _claim: claim,
        })
    }

    /// Copies a backup to where it is restored, and checks the copy.
    pub(super) fn copy_of(&self, backup: &Path) -> Result<Copy<'_>, Failure> {
        let path = with_end(&self.path, ".restoring");
        let copy = Copy { place: self, path };
        copy.remove();
        let copied = sqlite::backup(backup, &copy.path, Existing::Replace, &mut |_| ());
        copied.map_err(|error| Failure::Database(error.to_string()))?;
        Ok(copy)
    }
}

impl Copy<'_> {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the place. What was there is kept, under a name with the new epoch; gives that name.
    pub(super) fn put(self, epoch: u64) -> Result<Option<PathBuf>, Failure> {
        let old = &self.place.path;
        let aside = with_end(old, &format!(".before-epoch-{epoch}"));
        let log = with_end(&self.path, "-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(Failure::Database(format!(
                "the restored database was not closed: `{}` is not empty; nothing was replaced",
                log.display()
            )));
        }
        let was_there = old.exists();
        for end in ENDS {
            set_aside(&with_end(old, end), &with_end(&aside, end))?;
        }
        fs::rename(&self.path, old).map_err(|error| Failure::file("write", old, &error))?;
        sync_directory(old).map_err(|error| Failure::file("write", old, &error))?;
        Ok(was_there.then_some(aside))
    }

    fn remove(&self) {
        for end in ENDS.into_iter().chain([".lock"]) {
            // What is not there need not be removed, and a failure shows when it is written.
            let _ = fs::remove_file(with_end(&self.path, end));
        }
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Renames a file, if it is there, to a name that is not taken.
fn set_aside(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.exists() {
        return Ok(());
    }
    if to.exists() {
        return Err(Failure::Database(format!(
            "`{}` is there from an earlier restoration: move it away first",
            to.display()
        )));
    }
    fs::rename(from, to).map_err(|error| Failure::file("keep", from, &error))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
