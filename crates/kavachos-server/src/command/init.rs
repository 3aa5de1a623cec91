//! `kavach init`: a database, its first operator key, and a master key.

use kavachos::Kavach;
use kavachos_engine::NewKey;
use kavachos_engine::actor::{Actor, Scopes};
use serde_json::json;

use super::Outcome;
use crate::config;
use crate::failure::Failure;
use crate::master_key;
use crate::output::{Form, Output};
use crate::tenant::{self, Missing};

pub(crate) async fn run(config: config::Server, output: &mut Output) -> Result<Outcome, Failure> {
    output.check_member(&["database", "token", "masterKeyFile"])?;
    let kavach = tenant::of_server(&config, Missing::Create).await?;
    let made = first_key(&kavach).await;
    kavach.close().await;
    let token = made?;
    // On a database that has its keys this makes the master key that earlier versions did not make.
    let master_key = master_key::ensure(&config)?;
    let database = config.database.to_string();
    if token.is_none() && master_key.is_none() {
        return Err(Failure::Database(format!(
            "`{database}` is initialised already: use it as it is, or name another"
        )));
    }
    let master_key = master_key.map(|path| path.display().to_string());
    if output.form() == Form::Json {
        output.data(&json!({ "database": database, "token": token, "masterKeyFile": master_key }));
        return Ok(Outcome::Done);
    }
    output.line(&format!("database      {database}"));
    if let Some(path) = master_key {
        output.line(&format!(
            "master key    in {path} (keep it apart from copies of the database)"
        ));
    }
    if let Some(token) = token {
        output.line(&format!("operator key  {token}"));
        output.note("keep the key now: it is not shown again; `kavach serve` starts the server");
    }
    Ok(Outcome::Done)
}

/// The first key of a new database; `None` for one that has keys.
async fn first_key(kavach: &Kavach) -> Result<Option<String>, Failure> {
    let engine = kavach.engine();
    let has_keys = engine.has_keys().await;
    if has_keys.map_err(|error| tenant::failure(&error))? {
        return Ok(None);
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
        .map(|token| Some(token.reveal().to_owned()))
        .ok_or_else(|| {
            Failure::Database(
                "the new key was not shown: remove the database and make it again".to_owned(),
            )
        })
}
