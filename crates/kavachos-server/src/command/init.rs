//! `kavach init`: a database and its first operator key.

use kavachos::Kavach;
use kavachos_engine::NewKey;
use kavachos_engine::actor::{Actor, Scopes};
use serde_json::json;

use super::Outcome;
use crate::config;
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::tenant::{self, Missing};

pub(crate) async fn run(config: config::Server, output: &mut Output) -> Result<Outcome, Failure> {
    let kavach = tenant::of_server(&config, Missing::Create).await?;
    let made = first_key(&kavach, &config).await;
    kavach.close().await;
    let token = made?;
    let database = config.database.to_string();
    if output.form() == Form::Json {
        output.json(
            json!({ "data": { "database": database, "token": token } })
                .to_string()
                .as_bytes(),
        );
        return Ok(Outcome::Done);
    }
    output.line(&format!("database      {database}"));
    output.line(&format!("operator key  {token}"));
    output.note("keep the key now: it is not shown again; `kavach serve` starts the server");
    Ok(Outcome::Done)
}

async fn first_key(kavach: &Kavach, config: &config::Server) -> Result<String, Failure> {
    let engine = kavach.engine();
    if engine
        .has_keys()
        .await
        .map_err(|error| tenant::failure(&error))?
    {
        let path = &config.database;
        return Err(Failure::Database(format!(
            "`{path}` is initialised already: use it as it is, or name another"
        )));
    }
    let new = NewKey {
        name: "first".to_owned(),
        scopes: Scopes::Every,
        ceiling: None,
        expires_at: None,
    };
    let issued = engine
        .create_first_key(&Actor::local(engine.id()), &new)
        .await;
    let issued = issued.map_err(|error| tenant::failure(&error))?;
    issued
        .token
        .map(|token| token.reveal().to_owned())
        .ok_or_else(|| {
            Failure::Database(
                "the new key was not shown: remove the database and make it again".to_owned(),
            )
        })
}
