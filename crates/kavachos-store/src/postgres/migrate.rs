//! Bringing a database to the schema of this binary.

use kavachos_core::time::Timestamp;
use tokio_postgres::{Client, Error};

use super::error::{OpenError, reason};
use super::rewrite::own;
use crate::migration::{BOOTSTRAP, Dialect, Migration, SchemaError};
use crate::writer::schema::{APPLICATION_NAME, Applied, Schema, Step};
use crate::writer::statement::{APPLICATION, APPLIED, INSERT_APPLICATION, INSERT_MIGRATION};

/// Tables and views of the schema that no extension brought.
const OBJECTS: &str = "SELECT c.relname::text FROM pg_class c \
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
        AND d.deptype = 'e')";

/// What the database says of its own schema.
pub(super) async fn schema(client: &Client, name: &str) -> Result<Schema, OpenError> {
    let rows = client.query(OBJECTS, &[]).await?;
    if rows.is_empty() {
        return Ok(Schema::Empty);
    }
    let tables: Result<Vec<String>, Error> = rows.iter().map(|row| row.try_get(0)).collect();
    let tables = tables?;
    let foreign = || OpenError::Foreign {
        schema: name.to_owned(),
    };
    if !["meta", "migration"]
        .iter()
        .all(|own| tables.iter().any(|table| table == own))
    {
        return Err(foreign());
    }
    // A table of this name may be anybody's: one without these columns is not ours.
    let application = client.query_opt(APPLICATION, &[]).await;
    let application: Option<String> = match application {
        Ok(Some(row)) => row.try_get(0).ok(),
        Ok(None) => None,
        Err(error) if error.as_db_error().is_some() => None,
        Err(error) => return Err(error.into()),
    };
    if application.as_deref() != Some(APPLICATION_NAME) {
        return Err(foreign());
    }
    Ok(Schema::Ours(applied(client).await?))
}

async fn applied(client: &Client) -> Result<Applied, OpenError> {
    let unreadable =
        |_| OpenError::Damaged("a number of an applied migration is negative".to_owned());
    let mut applied = Applied::new();
    for row in client.query(APPLIED, &[]).await? {
        let (number, min_binary): (i64, i64) = (row.try_get(1)?, row.try_get(3)?);
        let step = Step {
            checksum: row.try_get(2)?,
            min_binary: min_binary.try_into().map_err(unreadable)?,
            name: row.try_get(4)?,
            time: Timestamp::from_micros(row.try_get(5)?),
        };
        let number = number.try_into().map_err(unreadable)?;
        applied.insert((row.try_get(0)?, number), step);
    }
    Ok(applied)
}

/// Applies migrations, each in a transaction of its own, so that a crash leaves whole steps.
pub(super) async fn apply(
    client: &Client,
    found: &Schema,
    steps: &[Migration],
    now: Timestamp,
) -> Result<(), OpenError> {
    if matches!(found, Schema::Empty) {
        let bootstrap = Dialect::Postgres.render(BOOTSTRAP);
        let all = format!("BEGIN; {bootstrap}; {INSERT_APPLICATION}; COMMIT");
        undo_failed(client, client.batch_execute(&all).await).await?;
    }
    for step in steps {
        let taken = take_step(client, step, now).await;
        undo_failed(client, taken)
            .await
            .map_err(|error| SchemaError::Fails {
                owner: step.owner.to_owned(),
                number: step.number,
                reason: reason(&error),
            })?;
    }
    Ok(())
}

async fn take_step(client: &Client, step: &Migration, now: Timestamp) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    client
        .batch_execute(&Dialect::Postgres.render(step.sql))
        .await?;
    let (number, min_binary) = (i64::from(step.number), i64::from(step.min_binary));
    client
        .execute(
            &own(INSERT_MIGRATION),
            &[
                &step.owner,
                &number,
                &step.name,
                &step.checksum().as_slice(),
                &min_binary,
                &now.as_micros(),
            ],
        )
        .await?;
    client.batch_execute("COMMIT").await
}

async fn undo_failed(client: &Client, done: Result<(), Error>) -> Result<(), Error> {
    if done.is_err() {
        // If this fails too the connection is gone, and the transaction with it.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    done
}
