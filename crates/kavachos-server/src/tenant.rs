//! Opening a database in this process.

use kavachos::{Builder, Kavach};
use kavachos_auth::provider::ProviderSignIn;
use kavachos_core::secret::Secret;
use kavachos_engine::Error;
use kavachos_store::migration::{History, Pending};
use kavachos_store::{postgres, sqlite};

use crate::config::{self, Database};
use crate::failure::Failure;
use crate::mail;
use crate::master_key;
use crate::methods::migrations;
use crate::private_file;
use crate::transport::http;

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

/// Opens the database for `kavach serve`: from now on checkpoints of it are kept, or it does not open.
pub(crate) async fn to_serve(config: &config::Server, missing: Missing) -> Result<Kavach, Failure> {
    let file = config.checkpoint.clone();
    build(config, missing, |builder| match file {
        Some(file) => builder.checkpoints_in(file),
        None => builder,
    })
    .await
}

/// Opens the database for one command. The limits that a server would set count here too; webhooks are left to it.
pub(crate) async fn of_command(config: &config::Server) -> Result<Kavach, Failure> {
    build(config, Missing::Refuse, Builder::without_couriers).await
}

/// Opens a database that is to be repaired: nothing goes on by itself, and no checkpoint is looked at or kept.
pub(crate) async fn at_rest(
    config: &config::Server,
    database: &Database,
    pending: Pending,
) -> Result<Kavach, Failure> {
    let config = config::Server {
        database: database.clone(),
        checkpoint: None,
        ..config.clone()
    };
    find(database, Missing::Refuse)?;
    builder(&config, None)
        .at_rest()
        .pending(pending)
        .build()
        .await
        .map_err(|error| Failure::Database(error.to_string()))
}

/// Brings a database to the schema of this binary, and makes it if it is not there.
pub(crate) async fn migrated(config: &config::Server) -> Result<(), Failure> {
    let kavach = build(config, Missing::Create, Builder::without_couriers).await?;
    kavach.close().await;
    Ok(())
}

/// How far each migration has come. Makes and changes nothing.
pub(crate) fn history(database: &Database) -> Result<History, Failure> {
    match database {
        Database::File(path) => sqlite::history(path, &migrations())
            .map_err(|error| Failure::Database(error.to_string())),
        Database::Postgres(url) => postgres::history(url, &migrations())
            .map_err(|error| Failure::Database(error.to_string())),
    }
}

async fn build(
    config: &config::Server,
    missing: Missing,
    change: impl FnOnce(Builder) -> Builder,
) -> Result<Kavach, Failure> {
    find(&config.database, missing)?;
    let builder = builder(config, master_key::of(config)?);
    let builder = match &config.fetch_ca_file {
        Some(path) => builder.fetching_with_authorities(http::authorities(path)?),
        None => builder,
    };
    let builder = match mail::mailer(config)? {
        Some(mailer) => builder.mail(mailer),
        None => builder,
    };
    // A file that is there is one of this database: it is held against it, whoever opens it.
    let builder = match &config.checkpoint {
        Some(file) => builder.checkpoints_if_in(file),
        None => builder,
    };
    change(builder)
        .build()
        .await
        .map_err(|error| Failure::Database(error.to_string()))
}

fn builder(config: &config::Server, master_key: Option<Secret>) -> Builder {
    let builder = match &config.database {
        Database::File(path) => Kavach::builder().sqlite(path),
        Database::Postgres(url) => Kavach::builder().postgres(url),
    };
    let builder = match config.password_threads {
        Some(threads) => builder.password_threads(threads),
        None => builder,
    };
    let builder = match config.settings.providers.sign_in() {
        true => builder.plugin(ProviderSignIn),
        false => builder,
    };
    builder
        .settings(config.settings.clone())
        .plugins(config.methods.plugins())
        .trusted_proxies(config.trusted_proxies.clone())
        .public_url(&config.issuer.to_string())
        .fetching_from_loopback(config.loopback)
        .master_key(master_key)
        .max_import_bytes(config.max_import_bytes)
        .brand(config.brand.clone())
}

/// Makes sure that the database is there; tables are made when it is opened.
pub(crate) fn find(database: &Database, missing: Missing) -> Result<(), Failure> {
    match (missing, database) {
        _ if exists(database)? => Ok(()),
        (Missing::Refuse, _) => Err(Failure::Database(not_there(database))),
        (Missing::Create, Database::Postgres(_)) => Ok(()),
        (Missing::Create, Database::File(path)) => {
            sqlite::refuse_lost_database(path)
                .map_err(|error| Failure::Database(error.to_string()))?;
            private_file::create(path)
                .map_err(|error| Failure::file("create the database", path, &error))
        }
    }
}

/// Whether the file is there, or the server's database has tables of ours. The server itself has to be there.
pub(crate) fn exists(database: &Database) -> Result<bool, Failure> {
    match database {
        Database::File(path) => Ok(path.exists()),
        Database::Postgres(url) => {
            let all = migrations();
            let pending = postgres::plan(url, &all);
            let pending = pending.map_err(|error| Failure::Database(error.to_string()))?;
            Ok(pending.len() < all.len())
        }
    }
}

/// What to do about a database that is not there.
pub(crate) fn not_there(database: &Database) -> String {
    format!(
        "there is no database `{database}`: make one with `kavach init --database {database}`, or name another with `--database`"
    )
}

/// What a use case says to the one who runs the command.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure::Database(format!("{error} ({})", error.code()))
}
