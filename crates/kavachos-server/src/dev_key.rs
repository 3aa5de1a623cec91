//! The operator key of `kavach dev`: kept in a file beside the database, so that the command line finds it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kavachos::Kavach;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::NewKey;
use kavachos_engine::actor::{Actor, Caller, Scopes};

use crate::config::Database;
use crate::failure::Failure;
use crate::private_file;
use crate::tenant;

/// The largest file that is looked at.
const MAX_BYTES: u64 = 4096;

/// A key, and whether it was made just now.
pub(crate) struct DevKey {
    /// The key.
    pub(crate) secret: Secret,
    /// The file that keeps it.
    pub(crate) path: PathBuf,
    /// Whether it is new.
    pub(crate) is_new: bool,
}

/// The key in the file if it still works, else a new one with every scope.
pub(crate) async fn ensure(kavach: &Kavach, database: &Database) -> Result<DevKey, Failure> {
    let path = database.dev_key();
    if *database == Database::File(path.clone()) {
        return Err(Failure::Database(format!(
            "`{}` is where the key is kept: name the database otherwise",
            path.display()
        )));
    }
    if let Some(secret) = kept(&path)?
        && let Ok(Caller::Operator(_)) = kavach.engine().authenticate(secret.reveal()).await
    {
        return Ok(DevKey {
            secret,
            path,
            is_new: false,
        });
    }
    let secret = make(kavach).await?;
    private_file::write(&path, format!("{}\n", secret.reveal()).as_bytes())
        .map_err(|error| Failure::file("write", &path, &error))?;
    Ok(DevKey {
        secret,
        path,
        is_new: true,
    })
}

/// What the file keeps, if it is a key.
fn kept(path: &Path) -> Result<Option<Secret>, Failure> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
        Ok(metadata) if metadata.len() > MAX_BYTES => return Ok(None),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let secret = str::from_utf8(&bytes)
        .ok()
        .and_then(|text| Secret::parse(text.trim()).ok());
    Ok(secret.filter(|secret| secret.kind() == SecretKind::Operator))
}

async fn make(kavach: &Kavach) -> Result<Secret, Failure> {
    let engine = kavach.engine();
    let actor = Actor::local(engine.id());
    let new = NewKey {
        name: "dev".to_owned(),
        scopes: Scopes::Every,
        ceiling: None,
        expires_at: None,
    };
    let issued = engine
        .create_key(&actor, &new)
        .await
        .map_err(|error| tenant::failure(&error))?;
    issued
        .token
        .ok_or_else(|| Failure::Database("the new key was not shown".to_owned()))
}
