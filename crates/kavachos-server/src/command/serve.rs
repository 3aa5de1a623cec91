//! `kavach serve`: a server on an initialised database.

use kavachos::Kavach;
use kavachos_engine::actor::Actor;

use super::Outcome;
use crate::config::{self, Via};
use crate::failure::Failure;
use crate::log;
use crate::output::Output;
use crate::server::{self, Server};
use crate::tenant::{self, Missing};

pub(crate) async fn run(config: config::Server, output: &mut Output) -> Result<Outcome, Failure> {
    if config.mail.via == Some(Via::Console) {
        return Err(Failure::Usage(
            "`mail.sender` is `console`, which prints links that sign people in: it is for `kavach dev`; name another, or \
             `off`"
                .to_owned(),
        ));
    }
    log::start(&config.log);
    // A database without any key could be used by nobody; with a configured key it need not be there yet.
    let missing = if config.admin_key.is_some() {
        Missing::Create
    } else {
        Missing::Refuse
    };
    // Before the database is touched: who cannot listen changes nothing.
    let server = Server::bind(&config).await?;
    let kavach = tenant::to_serve(&config, missing).await?;
    if let Err(failure) = prepare(&kavach, &config).await {
        kavach.close().await;
        return Err(failure);
    }
    for address in server.addresses() {
        output.line(&format!("listening on http://{address}"));
    }
    tracing::info!(database = %config.database, issuer = %config.issuer, "ready");
    server.run(kavach).await?;
    Ok(Outcome::Done)
}

async fn prepare(kavach: &Kavach, config: &config::Server) -> Result<(), Failure> {
    configure_key(kavach, config).await?;
    if !kavach
        .engine()
        .has_keys()
        .await
        .map_err(|error| tenant::failure(&error))?
    {
        let path = &config.database;
        return Err(Failure::Database(format!(
            "`{path}` has no operator key yet: run `kavach init --database {path}`, or set KAVACH_ADMIN_KEY"
        )));
    }
    Ok(())
}

/// Makes the configured operator key the only live one of its kind.
pub(super) async fn configure_key(kavach: &Kavach, config: &config::Server) -> Result<(), Failure> {
    let engine = kavach.engine();
    let configured = engine
        .configure_key(&Actor::local(engine.id()), config.admin_key.as_ref())
        .await;
    configured.map_err(|error| server::failure(&format!("KAVACH_ADMIN_KEY: {error}")))
}
