//! Opening a database in this process.

use std::path::Path;

use kavachos::{Builder, Kavach};
use kavachos_engine::Error;

use crate::config;
use crate::failure::Failure;
use crate::private_file;

/// Whether a database that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made, for its owner alone.
    Create,
    /// It is an error.
    Refuse,
}

/// Opens the database for a server.
pub(crate) async fn of_server(
    config: &config::Server,
    missing: Missing,
) -> Result<Kavach, Failure> {
    let builder = Kavach::builder()
        .settings(config.settings.clone())
        .trusted_proxies(config.trusted_proxies.clone())
        .public_url(&config.issuer.to_string());
    open(&config.database, builder, missing).await
}

/// Opens the database for one command. The limits that a server would set count here too.
pub(crate) async fn of_command(config: &config::Server) -> Result<Kavach, Failure> {
    of_server(config, Missing::Refuse).await
}

async fn open(path: &Path, builder: Builder, missing: Missing) -> Result<Kavach, Failure> {
    if !path.exists() {
        match missing {
            Missing::Refuse => return Err(Failure::Database(not_there(path))),
            Missing::Create => private_file::create(path)
                .map_err(|error| Failure::file("create the database", path, &error))?,
        }
    }
    builder
        .sqlite(path)
        .build()
        .await
        .map_err(|error| Failure::Database(error.to_string()))
}

/// What to do about a database that is not there.
pub(crate) fn not_there(path: &Path) -> String {
    let path = path.display();
    format!(
        "there is no database `{path}`: make one with `kavach init --database {path}`, or name another with `--database`"
    )
}

/// What a use case says to the one who runs the command.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure::Database(format!("{error} ({})", error.code()))
}
