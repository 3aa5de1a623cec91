//! Bringing a database to the schema of this binary.

use std::path::Path;

use kavachos_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::OpenError;
use crate::migration::{BOOTSTRAP, Dialect, Migration, SchemaError};
use crate::writer::schema::{APPLICATION_NAME, Applied, Schema, Step};
use crate::writer::statement::{APPLICATION, APPLIED, INSERT_APPLICATION, INSERT_MIGRATION};

/// The migrations that are still to be applied, in order.
pub(super) fn pending(
    connection: &Connection,
    known: &[Migration],
    path: &Path,
) -> Result<Vec<Migration>, OpenError> {
    Ok(schema(connection, path)?.pending(known)?)
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
            OpenError::Sqlite { reason, .. } => OpenError::Schema(SchemaError::Fails {
                owner: step.owner.to_owned(),
                number: step.number,
                reason,
            }),
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
    transaction.execute(INSERT_APPLICATION, [])?;
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
        INSERT_MIGRATION,
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

/// What the database says of its own schema.
pub(super) fn schema(connection: &Connection, path: &Path) -> Result<Schema, OpenError> {
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
            .query_row(APPLICATION, [], |row| row.get(0))
            .optional()?;
        if application.as_deref() != Some(APPLICATION_NAME) {
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
    let mut select = connection.prepare(APPLIED)?;
    let rows = select.query_map([], |row| {
        let key = (row.get(0)?, row.get(1)?);
        let step = Step {
            checksum: row.get(2)?,
            min_binary: row.get(3)?,
            name: row.get(4)?,
            time: Timestamp::from_micros(row.get(5)?),
        };
        Ok((key, step))
    })?;
    rows.collect()
}
