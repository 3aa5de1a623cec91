//! One state of a database file, read on a thread and a connection of its own for as long as its reader keeps it.
//!
//! Meanwhile the write-ahead log cannot be emptied, so it grows with what is written.

use std::thread::Builder;

use super::connection::Database;
use super::reader;
use crate::answer::{CommitError, ReadError};
use crate::passage::Snapshot;
use crate::writer::errand::{Order, Orders, errand};

/// Opens a connection, and serves it on a thread that ends with the reader.
pub(super) fn open(database: &Database) -> Result<Box<dyn Snapshot>, ReadError> {
    let (errand, orders) = errand();
    let database = database.clone();
    Builder::new()
        .name("kavach-snapshot".to_owned())
        .spawn(move || serve(&database, &orders))
        .map_err(|error| ReadError::Unavailable(error.to_string().into()))?;
    Ok(Box::new(errand))
}

/// The state is that of the first query. What cannot be opened is told to the first who asks.
fn serve(database: &Database, orders: &Orders) {
    let opened = database.reader().and_then(|connection| {
        connection.execute_batch("BEGIN")?;
        Ok(connection)
    });
    while let Some(order) = orders.next(|| true) {
        match order {
            Order::Query(query, answer) => {
                let rows = match &opened {
                    Ok(connection) => reader::select(connection, &query),
                    Err(error) => Err(ReadError::Unavailable(error.to_string().into())),
                };
                let _ = answer.send(rows);
            }
            Order::Write(_, answer) => {
                let _ = answer.send(Err(read_only()));
            }
            Order::Finish(_, answer) => {
                let _ = answer.send(Err(read_only()));
            }
        }
    }
}

fn read_only() -> CommitError {
    CommitError::Rejected {
        write: None,
        reason: "a snapshot is only read".to_owned(),
    }
}
