//! Bringing a database to the schema of this binary.

use std::collections::HashMap;
use std::path::Path;

use kavachos_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::OpenError;
use crate::migration::{BOOTSTRAP, Dialect, Migration};

/// What marks a database as ours.
const APPLICATION: &str = "kavachos";

/// What a database says of its own schema.
enum Schema {
    /// Nothing is in it.
    Empty,
    /// These were applied.
    Ours(Applied),
}

type Applied = HashMap<(String, u32), Step>;

struct Step {
    checksum: Vec<u8>,
    min_binary: u32,
}

/// The migrations that are still to be applied, in order.
pub(super) fn pending(
    connection: &Connection,
    known: &[Migration],
    path: &Path,
) -> Result<Vec<Migration>, OpenError> {
    match schema(connection, path)? {
        Schema::Empty => Ok(known.to_vec()),
        Schema::Ours(applied) => {
            check_level(&applied, known)?;
            check_history(&applied, known)?;
            let is_new = |step: &&Migration| !applied.contains_key(&key(step));
            Ok(known.iter().filter(is_new).copied().collect())
        }
    }
}

/// Applies migrations, each in a transaction of its own, so that a crash leaves whole steps.
pub(super) fn apply(
    connection: &mut Connection,
    steps: &[Migration],
    now: Timestamp,
    path: &Path,
) -> Result<(), OpenError> {
    bootstrap(connection).map_err(|error| OpenError::of(&error, path))?;
    for step in steps {
        take_step(connection, step, now).map_err(|error| match OpenError::of(&error, path) {
            OpenError::Sqlite { reason, .. } => OpenError::Migration {
                owner: step.owner.to_owned(),
                number: step.number,
                reason,
            },
            plain => plain,
        })?;
    }
    Ok(())
}

fn bootstrap(connection: &mut Connection) -> rusqlite::Result<()> {
    if has_table(connection, "meta")? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&Dialect::Sqlite.render(BOOTSTRAP))?;
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('application', ?1)",
        [APPLICATION],
    )?;
    transaction.commit()
}

fn take_step(
    connection: &mut Connection,
    step: &Migration,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&Dialect::Sqlite.render(step.sql))?;
    transaction.execute(
            "INSERT INTO migration (owner, number, name, checksum, min_binary, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                step.owner,
                step.number,
                step.name,
                step.checksum(),
                step.min_binary,
                now.as_micros()
            ],
        )?;
    transaction.commit()
}

fn schema(connection: &Connection, path: &Path) -> Result<Schema, OpenError> {
    let read = || -> rusqlite::Result<Option<Schema>> {
        let count: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if count == 0 {
            return Ok(Some(Schema::Empty));
        }
        if !has_table(connection, "meta")? || !has_table(connection, "migration")? {
            return Ok(None);
        }
        let application: Option<String> = connection
            .query_row(
                "SELECT value FROM meta WHERE name = 'application'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        if application.as_deref() != Some(APPLICATION) {
            return Ok(None);
        }
        applied(connection).map(|steps| Some(Schema::Ours(steps)))
    };
    let found = read().map_err(|error| OpenError::of(&error, path))?;
    found.ok_or_else(|| OpenError::Foreign {
        path: path.to_owned(),
    })
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.table_exists(None, name)
}

fn applied(connection: &Connection) -> rusqlite::Result<Applied> {
    let mut select =
        connection.prepare("SELECT owner, number, checksum, min_binary FROM migration")?;
    let rows = select.query_map([], |row| {
        let key = (row.get(0)?, row.get(1)?);
        let step = Step {
            checksum: row.get(2)?,
            min_binary: row.get(3)?,
        };
        Ok((key, step))
    })?;
    rows.collect()
}

/// Only a binary that is too old is refused; a database that is ahead of it otherwise is fine. Tables of a plugin
/// that is not there do not matter.
fn check_level(applied: &Applied, known: &[Migration]) -> Result<(), OpenError> {
    let mut levels: HashMap<&str, u32> = HashMap::new();
    for step in known {
        let level = levels.entry(step.owner).or_default();
        *level = step.number.max(*level);
    }
    for ((owner, _), step) in applied {
        if let Some(level) = levels.get(owner.as_str())
            && step.min_binary > *level
        {
            return Err(OpenError::BinaryTooOld {
                owner: owner.clone(),
                needs: step.min_binary,
                known: *level,
            });
        }
    }
    Ok(())
}

/// What was applied is what is embedded, and nothing was left out in between.
fn check_history(applied: &Applied, known: &[Migration]) -> Result<(), OpenError> {
    for step in known {
        let edited = applied
            .get(&key(step))
            .is_some_and(|done| done.checksum != step.checksum());
        let skipped = !applied.contains_key(&key(step))
            && applied
                .keys()
                .any(|(owner, number)| owner == step.owner && *number > step.number);
        if edited || skipped {
            return Err(OpenError::Edited {
                owner: step.owner.to_owned(),
                number: step.number,
            });
        }
    }
    Ok(())
}

fn key(step: &Migration) -> (String, u32) {
    (step.owner.to_owned(), step.number)
}
