//! Checkpoints in a file: one line, replaced as a whole, on disk before anybody is told.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kavachos_engine::{Checkpoint, CheckpointKeeper};
use kavachos_store::BoxFuture;

/// The largest file that is read: a checkpoint has at most some thousand bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A file that holds the last checkpoint. Keep it where it is not put back together with the database: on another disk,
/// say.
#[derive(Debug, Clone)]
pub struct CheckpointFile(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// What this process wrote last. Whoever writes holds it, so that none goes back.
    last: Mutex<Option<Checkpoint>>,
}

impl CheckpointFile {
    /// The file with this name, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Kept {
            path: path.into(),
            last: Mutex::new(None),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What it holds; `None` when it is not there.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(&self) -> io::Result<Option<Checkpoint>> {
        let file = match File::open(&self.0.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text)?;
        let wrong = |error: kavachos_core::invalid::Invalid| {
            io::Error::new(ErrorKind::InvalidData, error.to_string())
        };
        text.parse().map(Some).map_err(wrong)
    }

    /// Puts this in its place, whatever it holds. Blocks until it is on disk.
    ///
    /// # Errors
    /// Those of the disk; what was there is there still.
    pub fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(checkpoint)?;
        *last = Some(checkpoint.clone());
        Ok(())
    }

    fn write_later(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|last| checkpoint.is_after(last)) {
            self.replace(checkpoint)?;
            *last = Some(checkpoint.clone());
        }
        Ok(())
    }

    fn replace(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let path = &self.0.path;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let written = write_new(Path::new(&beside), checkpoint.text().as_bytes())
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| sync_directory(path));
        if written.is_err() {
            // What is left of it is no use to anybody.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

impl CheckpointKeeper for CheckpointFile {
    fn keep(&self, checkpoint: Checkpoint) -> BoxFuture<'static, Result<(), String>> {
        let file = self.clone();
        Box::pin(async move {
            let path = file.path().display().to_string();
            let writing = tokio::task::spawn_blocking(move || file.write_later(&checkpoint));
            let written = writing.await.map_err(|error| error.to_string())?;
            written.map_err(|error| format!("`{path}`: {error}"))
        })
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new name is on disk once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::ledger::{Frontier, LogId};
    use kavachos_core::revocation::LogHead;
    use kavachos_core::time::Timestamp;

    use super::*;

    fn checkpoint(rseq: u64) -> Checkpoint {
        Checkpoint {
            log: LogId([1; 16]),
            epoch: 1,
            edge: Frontier::default(),
            revocation: LogHead {
                rseq,
                rhash: [2; 32],
            },
            time: Timestamp::from_micros(3),
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_there_afterwards_and_never_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(directory.path().join("kavach.checkpoint"));
        assert_eq!(file.read().unwrap(), None);
        for (kept, held) in [(2, 2), (1, 2), (3, 3)] {
            file.keep(checkpoint(kept)).await.unwrap();
            assert_eq!(file.read().unwrap(), Some(checkpoint(held)));
        }
        // Whoever restored a database says so in so many words.
        file.write(&checkpoint(1)).unwrap();
        assert_eq!(file.read().unwrap(), Some(checkpoint(1)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_or_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = CheckpointFile::new(directory.path().join("none/kavach.checkpoint"));
        assert!(nowhere.keep(checkpoint(1)).await.is_err());
        let path = directory.path().join("kavach.checkpoint");
        let whole = checkpoint(1).text();
        for text in ["", "{}", whole.get(..whole.len() / 2).unwrap()] {
            fs::write(&path, text).unwrap();
            assert!(CheckpointFile::new(&path).read().is_err(), "{text}");
        }
    }
}
