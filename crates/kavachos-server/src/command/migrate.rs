//! `kavach migrate`: the steps by which the database's schema grows, shown and taken. A server takes them too when it
//! starts.

use clap::Subcommand;
use kavachos_core::hex;
use kavachos_store::migration::{Progress, Told};
use serde_json::{Value, json};

use super::Outcome;
use crate::config;
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::tenant;
use crate::view;

/// What the help says about exit codes.
const EXIT: &str = "\
Exit codes: 0 this binary can use the database, also while migrations are pending; 1 it cannot: one was edited, the \
database is newer than the binary, is another program's, or cannot be read; 2 usage.";

/// How many digits of a hash stand in a table.
const SHOWN_DIGITS: usize = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// List migrations and whether they were applied; makes and changes nothing
    ///
    /// They are the server's own; a plugin's are in the binary that the plugin is compiled into.
    #[command(after_help = EXIT)]
    Plan,
    /// Apply those that are pending; makes the database if it is not there
    ///
    /// They are the server's own; a plugin's are applied by the binary that the plugin is compiled into.
    #[command(after_help = EXIT)]
    Apply,
}

impl Migrate {
    pub(crate) async fn run(
        &self,
        config: config::Server,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Plan => plan(&config, output),
            Self::Apply => apply(&config, output).await,
        }
    }
}

fn plan(config: &config::Server, output: &mut Output) -> Result<Outcome, Failure> {
    let history = tenant::history(&config.database)?;
    let pending = pending(&history.migrations).count();
    let obstacle = history.obstacle.map(|obstacle| obstacle.to_string());
    match output.form() {
        Form::Json => {
            output.data(&json!({
                "database": config.database.to_string(),
                "migrations": history.migrations.iter().map(told).collect::<Vec<_>>(),
                "pending": pending,
                "obstacle": obstacle,
            }));
        }
        Form::Text => {
            let rows: Vec<Value> = history.migrations.iter().map(row).collect();
            output.lines(view::table(
                &rows,
                &["id", "name", "state", "hash", "appliedAt"],
            ));
            output.note(&match (&obstacle, pending) {
                (Some(obstacle), _) => format!("error: {obstacle}"),
                (None, 0) => "nothing is pending".to_owned(),
                (None, count) => format!(
                    "{count} pending: `kavach migrate apply` applies them, and so does the next start of a server"
                ),
            });
        }
    }
    Ok(if obstacle.is_some() {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

async fn apply(config: &config::Server, output: &mut Output) -> Result<Outcome, Failure> {
    output.check_member(&["database", "applied"])?;
    let history = tenant::history(&config.database)?;
    if let Some(obstacle) = history.obstacle {
        return Err(Failure::Database(obstacle.to_string()));
    }
    let steps: Vec<&Told> = pending(&history.migrations).collect();
    if !steps.is_empty() {
        tenant::migrated(config).await?;
    }
    let database = config.database.to_string();
    match output.form() {
        Form::Json => {
            let applied: Vec<String> = steps.into_iter().map(id).collect();
            output.data(&json!({ "database": database, "applied": applied }));
        }
        Form::Text if steps.is_empty() => {
            output.line(&format!("nothing is pending in `{database}`"));
        }
        Form::Text => {
            let line = |step: &Told| format!("applied {} {} to `{database}`", id(step), step.name);
            output.lines(steps.into_iter().map(line));
        }
    }
    Ok(Outcome::Done)
}

fn pending(migrations: &[Told]) -> impl Iterator<Item = &Told> {
    let is_pending = |migration: &&Told| migration.progress == Progress::Pending;
    migrations.iter().filter(is_pending)
}

fn id(migration: &Told) -> String {
    format!("{}:{}", migration.owner, migration.number)
}

const fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Applied => "applied",
        Progress::Pending => "pending",
        Progress::Edited => "edited",
        Progress::Unknown => "unknown",
    }
}

fn told(migration: &Told) -> Value {
    json!({
        "id": id(migration),
        "name": migration.name,
        "state": state(migration.progress),
        "sha256": hex::encode(&migration.checksum),
        "appliedAt": applied_at(migration),
    })
}

fn row(migration: &Told) -> Value {
    let beginning: String = hex::digits(&migration.checksum)
        .take(SHOWN_DIGITS)
        .collect();
    json!({
        "id": id(migration),
        "name": migration.name,
        "state": state(migration.progress),
        "hash": beginning,
        "appliedAt": applied_at(migration),
    })
}

fn applied_at(migration: &Told) -> Option<String> {
    migration.time.map(|time| time.to_string())
}
