//! Opening a database in this process.

use std::path::Path;

use kavachos::{Builder, Kavach};
use kavachos_engine::Error;

use crate::config;
use crate::failure::Failure;
use crate::master_key;
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
    build(config, missing, |builder| builder).await
}

/// Opens the database for one command. The limits that a server would set count here too; webhooks are left to it.
pub(crate) async fn of_command(config: &config::Server) -> Result<Kavach, Failure> {
    build(config, Missing::Refuse, Builder::without_couriers).await
}

async fn build(
    config: &config::Server,
    missing: Missing,
    change: fn(Builder) -> Builder,
) -> Result<Kavach, Failure> {
    find(&config.database, missing)?;
    let builder = Kavach::builder()
        .sqlite(&config.database)
        .settings(config.settings.clone())
        .trusted_proxies(config.trusted_proxies.clone())
        .fetching_from_loopback(config.loopback)
        .master_key(master_key::of(config)?);
    change(builder)
        .build()
        .await
        .map_err(|error| Failure::Database(error.to_string()))
}

/// Makes sure that the file of the database is there.
pub(crate) fn find(path: &Path, missing: Missing) -> Result<(), Failure> {
    match missing {
        _ if path.exists() => Ok(()),
        Missing::Refuse => Err(Failure::Database(not_there(path))),
        Missing::Create => private_file::create(path)
            .map_err(|error| Failure::file("create the database", path, &error)),
    }
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
