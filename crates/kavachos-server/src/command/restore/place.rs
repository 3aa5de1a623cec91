//! The place of a database in a file: claimed for as long as a restoration takes, and given to the new one at its end.
//!
//! Promises: no server starts there meanwhile; what was there is never removed; a crash leaves the old database, the new
//! one, or none, and never the old one without its last changes: those are in its file before it is moved, and the files
//! beside it are moved after it. A failure leaves all of it as it was.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kavachos_store::sqlite::{self, Claim, Existing};

use crate::failure::Failure;

/// A database and the files that SQLite keeps beside it, in the order in which they are moved.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// A place that no other process has.
pub(super) struct Place {
    path: PathBuf,
    claim: Claim,
}

/// A copy of a backup beside the place; removed unless it is put there.
pub(super) struct Copy<'a> {
    place: &'a Place,
    path: PathBuf,
}

/// What became of a place that was given to a copy.
#[derive(Debug)]
pub(super) struct Put {
    /// The name under which what was there is kept.
    pub(super) replaced: Option<PathBuf>,
    /// Why it is not known to be on disk.
    pub(super) unsynced: Option<Failure>,
}

/// Gives a file another name. Tests have one that fails.
type Rename<'r> = &'r mut dyn FnMut(&Path, &Path) -> io::Result<()>;

impl Place {
    /// Claims the place of this database, which need not be there.
    pub(super) fn claim(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: sqlite::OpenError| Failure::Database(error.to_string());
        let claim = sqlite::claim(path).map_err(unusable)?;
        sqlite::refuse_lost_database(claim.path()).map_err(unusable)?;
        Ok(Self {
            path: claim.path().to_owned(),
            claim,
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

    /// Has the last changes of what is there in its file, if that can be done: if not, its log is moved after it.
    fn settle(&self) {
        if self.path.exists()
            && let Err(error) = sqlite::settle(&self.claim)
        {
            tracing::debug!(%error, "the write-ahead log of the old database was not emptied");
        }
    }
}

impl Copy<'_> {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the place. What was there is kept, under a name with the new epoch; gives that name.
    pub(super) fn put(self, epoch: u64) -> Result<Put, Failure> {
        self.place.settle();
        self.put_by(epoch, &mut |from, to| fs::rename(from, to))
    }

    fn put_by(self, epoch: u64, rename: Rename<'_>) -> Result<Put, Failure> {
        let old = &self.place.path;
        let aside = with_end(old, &format!(".before-epoch-{epoch}"));
        self.check_closed()?;
        // Before anything is moved.
        ENDS.iter()
            .try_for_each(|end| check_free(&with_end(&aside, end)))?;
        let was_there = old.exists();
        let mut moves: Vec<(PathBuf, PathBuf)> = (ENDS.iter())
            .map(|end| (with_end(old, end), with_end(&aside, end)))
            .filter(|(from, _)| from.exists())
            .collect();
        moves.push((self.path.clone(), old.clone()));
        move_all(&moves, rename)?;
        let synced = sync_directory(old);
        Ok(Put {
            replaced: was_there.then_some(aside),
            unsynced: synced
                .map_err(|error| Failure::file("write", old, &error))
                .err(),
        })
    }

    fn check_closed(&self) -> Result<(), Failure> {
        let log = with_end(&self.path, "-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(Failure::Database(format!(
                "the restored database was not closed: `{}` is not empty; nothing was replaced",
                log.display()
            )));
        }
        Ok(())
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

/// Renames all of them in this order, or none.
fn move_all(moves: &[(PathBuf, PathBuf)], rename: Rename<'_>) -> Result<(), Failure> {
    for (done, (from, to)) in moves.iter().enumerate() {
        let Err(error) = rename(from, to) else {
            continue;
        };
        for (from, to) in moves.iter().take(done).rev() {
            // If that fails too, the next start finds no database, and refuses to make one where a log lies.
            let _ = rename(to, from);
        }
        return Err(Failure::file("move", from, &error));
    }
    Ok(())
}

fn check_free(path: &Path) -> Result<(), Failure> {
    // A link that leads nowhere is there, too.
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    Err(Failure::Database(format!(
        "`{}` is there from an earlier restoration: move it away first; nothing was replaced",
        path.display()
    )))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;

    use super::*;

    /// What is no database, so that nothing but this file touches it.
    const OLD: &str = "the old database";
    const LOG: &str = "its last changes";

    struct Scene {
        directory: TempDir,
        place: Place,
    }

    impl Scene {
        /// An old database with a log that cannot be copied into it, and a copy that is to take its place.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("kavach.db");
            for (end, text) in [("", OLD), ("-wal", LOG), ("-shm", "its index")] {
                fs::write(with_end(&path, end), text).unwrap();
            }
            let place = Place::claim(&path).unwrap();
            fs::write(with_end(&place.path, ".restoring"), "the new database").unwrap();
            Self { directory, place }
        }

        fn put(&self, rename: Rename<'_>) -> Result<Put, Failure> {
            let path = with_end(&self.place.path, ".restoring");
            let place = &self.place;
            Copy { place, path }.put_by(9, rename)
        }

        /// What is there, but for the lock and the copy.
        fn files(&self) -> BTreeMap<String, String> {
            let entries = fs::read_dir(self.directory.path()).unwrap();
            let read = |entry: io::Result<fs::DirEntry>| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap_or_default())
            };
            let mut files: BTreeMap<String, String> = entries.map(read).collect();
            files.retain(|name, _| !name.ends_with(".lock") && !name.ends_with(".restoring"));
            files
        }

        fn text(&self, end: &str) -> Option<String> {
            fs::read_to_string(with_end(&self.place.path, end)).ok()
        }
    }

    #[test]
    fn what_was_there_is_kept_with_its_log_and_the_new_one_has_the_place() {
        let scene = Scene::new();
        let put = scene.put(&mut |from, to| fs::rename(from, to)).unwrap();
        assert!(put.unsynced.is_none() && put.replaced.is_some());
        let text = |end: &str| scene.text(end);
        assert_eq!(text("").as_deref(), Some("the new database"));
        assert_eq!(text(".before-epoch-9").as_deref(), Some(OLD));
        assert_eq!(text(".before-epoch-9-wal").as_deref(), Some(LOG));
        assert_eq!(text("-wal"), None);
    }

    #[test]
    fn a_name_that_is_taken_leaves_everything_as_it_was() {
        for taken in ["", "-wal", "-shm"] {
            let scene = Scene::new();
            let taken = with_end(&scene.place.path, &format!(".before-epoch-9{taken}"));
            fs::write(&taken, "earlier").unwrap();
            let before = scene.files();
            let refused = scene.put(&mut |from, to| fs::rename(from, to));
            assert!(refused.is_err(), "{taken:?}");
            assert_eq!(scene.files(), before, "{taken:?}");
            // The twin: the name is free.
            let scene = Scene::new();
            assert!(scene.put(&mut |from, to| fs::rename(from, to)).is_ok());
        }
    }

    /// Fails from this rename on, once or, as after a crash, for good.
    fn failing(at: usize, for_good: bool) -> impl FnMut(&Path, &Path) -> io::Result<()> {
        let mut seen = 0;
        move |from, to| {
            seen += 1;
            if seen == at || (for_good && seen > at) {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            fs::rename(from, to)
        }
    }

    #[test]
    fn a_move_that_fails_leaves_everything_as_it_was() {
        for at in 1..=4 {
            let scene = Scene::new();
            let before = scene.files();
            assert!(scene.put(&mut failing(at, false)).is_err(), "{at}");
            assert_eq!(scene.files(), before, "{at}");
        }
        // The twin: there is no fifth.
        assert!(Scene::new().put(&mut failing(5, false)).is_ok());
    }

    #[test]
    fn a_crash_leaves_no_database_without_its_log_and_no_place_where_one_is_made() {
        for at in 1..=4 {
            let scene = Scene::new();
            assert!(scene.put(&mut failing(at, true)).is_err(), "{at}");
            let stays = scene.text("").as_deref() == Some(OLD);
            assert_eq!(stays, at == 1, "{at}");
            // The old database has its log beside it, under the one name or the other, or none is opened.
            let path = &scene.place.path;
            let lost = sqlite::refuse_lost_database(path).is_err();
            assert_eq!(lost, at == 2, "{at}");
            let end = if stays { "" } else { ".before-epoch-9" };
            let with_log = scene.text(&format!("{end}-wal")).as_deref() == Some(LOG);
            assert!(with_log || lost, "{at}");
            assert_eq!(scene.text(end).as_deref(), Some(OLD), "{at}");
        }
    }
}
