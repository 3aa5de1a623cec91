//! The master key: of it the secrets of webhooks are derived. `init` and `dev` keep one in a file beside the database,
//! or, when that is a server's, where they were started; unless one is configured.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kavachos::store::Rng;
use kavachos_core::secret::{Secret, SecretKind};

use crate::config::{self, Database};
use crate::failure::Failure;
use crate::private_file;

/// The largest file that is looked at.
const MAX_BYTES: u64 = 4_096;

/// The configured key, else the one in the file beside the database, if there is one.
pub(crate) fn of(config: &config::Server) -> Result<Option<Secret>, Failure> {
    match &config.master_key {
        Some(key) => Ok(Some(key.clone())),
        None => kept(&config.database.master_key()),
    }
}

/// Makes a key beside the database if there is none and none is configured. Says where it was put.
pub(crate) fn ensure(config: &config::Server) -> Result<Option<PathBuf>, Failure> {
    let path = config.database.master_key();
    if config.database == Database::File(path.clone()) {
        return Err(Failure::Database(format!(
            "`{}` is where the master key is kept: name the database otherwise",
            path.display()
        )));
    }
    if of(config)?.is_some() {
        return Ok(None);
    }
    let mut random = [0; 32];
    kavachos::SystemRng.fill(&mut random);
    let key = Secret::new(SecretKind::Master, random);
    private_file::write(&path, format!("{}\n", key.reveal()).as_bytes())
        .map_err(|error| Failure::file("write", &path, &error))?;
    Ok(Some(path))
}

/// What the file keeps. One that keeps something else is an error: to go on without it would change every secret.
fn kept(path: &Path) -> Result<Option<Secret>, Failure> {
    let wrong = |reason: &str| {
        let error = std::io::Error::new(ErrorKind::InvalidData, reason.to_owned());
        Failure::file("use the master key in", path, &error)
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
        Ok(metadata) if metadata.len() > MAX_BYTES => return Err(wrong("it is too large")),
        Ok(_) => {}
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let key = Secret::parse(text.trim()).map_err(|error| wrong(error.message()))?;
    if key.kind() == SecretKind::Master {
        Ok(Some(key))
    } else {
        Err(wrong("it must begin with `kv_master_`"))
    }
}
