//! Files that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes an empty file, or leaves the one that is there. SQLite gives the files beside a database the same rights.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Writes a file whole: a crash leaves the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    refuse_device(path)?;
    let beside = beside(path);
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of it is no use to anybody.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new_only(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is left of it is no use to anybody.
        let _ = fs::remove_file(path);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn open_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options().write(true).create_new(true).open(path)
}

/// A file that is written piece by piece, and stands under its name once it is whole.
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    beside: PathBuf,
    is_whole: bool,
}

impl Draft {
    /// Begins a file that is to have this name.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        refuse_device(path)?;
        let beside = beside(path);
        Ok(Self {
            file: open_new(&beside)?,
            path: path.to_owned(),
            beside,
            is_whole: false,
        })
    }

    /// Adds to it.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name, now that it is whole.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            // What is left of it is no use to anybody.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// The new file takes the place of the old one, and must not take that of `/dev/null`.
fn refuse_device(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "what is there is no ordinary file; name another one, or write to standard output",
        )),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    File::options()
}

/// The rights of a file beyond those of its owner, in octal; `None` when there are none or nobody can tell.
pub(crate) fn rights_of_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_an_ordinary_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let to_device = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &to_device).unwrap();
        for path in [directory.path(), &to_device] {
            assert!(Draft::begin(path).is_err());
            assert!(write(path, b"new").is_err());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_is_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "old").unwrap();
        assert!(rights_of_others(&path).is_some());
        write(&path, b"new").unwrap();
        assert_eq!(
            (
                fs::read_to_string(&path).unwrap().as_str(),
                rights_of_others(&path)
            ),
            ("new", None)
        );
        create(&path).unwrap();
        assert!(write_new_only(&path, b"other").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let mut draft = Draft::begin(&path).unwrap();
        draft.add(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let mut draft = Draft::begin(&path).unwrap();
        draft.add(b"whole").unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(rights_of_others(&path), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
