//! The two passages: one state read over a connection of its own, and the transaction that fills an empty database, over
//! the connection that writes.

use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio_postgres::{Client, Error};

use super::connect::Target;
use super::error::{Fault, OpenError};
use super::lock::{self, Key};
use super::pipeline::Pipeline;
use super::reader::Reader;
use super::records;
use super::rewrite::own;
use super::session::Session;
use super::value::{Bound, misfit};
use crate::answer::{CommitError, ReadError};
use crate::batch::{Rows, Write};
use crate::passage::{Filled, Snapshot};
use crate::row::{Query, Row};
use crate::writer::errand::{Order, Orders, REPLACE_LOG, errand};

/// One state for as long as its reader keeps it: longer than a reader of ours may take for a page.
const BEGIN_SNAPSHOT: &str = "SET idle_in_transaction_session_timeout = '150s'; \
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A caller may have to wait for what it is to fill in.
const BEGIN_FILLING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
    SET LOCAL idle_in_transaction_session_timeout = '150s'";
/// How long the server may take over some statements, or over COMMIT.
const PATIENCE: Duration = Duration::from_secs(120);
const NO_ANSWER: &str = "the server does not answer";

/// Connects, and serves one state on a thread that ends with the reader.
pub(super) fn snapshot(target: &Target) -> Result<Box<dyn Snapshot>, ReadError> {
    let unavailable = |error: std::io::Error| ReadError::Unavailable(error.to_string().into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(unavailable)?;
    let (errand, orders) = errand();
    let target = target.clone();
    Builder::new()
        .name("kavach-snapshot".to_owned())
        .spawn(move || {
            let mut opened = runtime.block_on(begun(&target));
            while let Some(order) = orders.next(|| true) {
                runtime.block_on(serve(&mut opened, order));
            }
        })
        .map_err(unavailable)?;
    Ok(Box::new(errand))
}

async fn begun(target: &Target) -> Result<Reader, OpenError> {
    let reader = Reader::new(Arc::new(target.reader().await?.client));
    reader.client().batch_execute(BEGIN_SNAPSHOT).await?;
    Ok(reader)
}

/// What cannot be opened is told to the first who asks.
async fn serve(opened: &mut Result<Reader, OpenError>, order: Order) {
    match order {
        Order::Query(query, answer) => {
            let rows = match opened {
                Ok(reader) => one(reader.run(&[query]).await),
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

fn one(rows: Result<Vec<Vec<Row>>, ReadError>) -> Result<Vec<Row>, ReadError> {
    Ok(rows?.pop().unwrap_or_default())
}

fn read_only() -> CommitError {
    CommitError::Rejected {
        write: None,
        reason: "a snapshot is only read".to_owned(),
    }
}

/// How the transaction that fills the database ends, if it does not fail.
pub(super) enum End {
    /// Its caller went away: nothing of it is to stay.
    Abandoned,
    /// All is written, and only COMMIT is left.
    Ready(Box<Filled>, futures_channel::oneshot::Sender<FinishAnswer>),
}

pub(super) type FinishAnswer = Result<crate::answer::Head, CommitError>;

/// Serves a filling up to its COMMIT. An error that was answered ends it as [`End::Abandoned`].
pub(super) async fn filled(
    session: &mut Session,
    orders: &Orders,
    mut go_on: impl FnMut() -> bool,
) -> End {
    let begun = session.client.batch_execute(BEGIN_FILLING).await;
    let mut broken = begun.err().map(|error| unavailable(&error));
    while let Some(order) = orders.next(&mut go_on) {
        match order {
            Order::Query(query, answer) => {
                let rows = match &broken {
                    Some(_) => Err(ReadError::Unavailable(NO_ANSWER.into())),
                    None => select(session, &query).await,
                };
                let _ = answer.send(rows);
            }
            Order::Write(writes, answer) => {
                if broken.is_none() {
                    broken = write(session, &writes).await.err();
                }
                let _ = answer.send(broken.clone().map_or(Ok(()), Err));
                if broken.is_some() {
                    return End::Abandoned;
                }
            }
            Order::Finish(filled, answer) => {
                if broken.is_none() {
                    broken = replace_log(session, &filled).await.err();
                }
                let Some(error) = broken else {
                    return End::Ready(filled, answer);
                };
                let _ = answer.send(Err(error));
                return End::Abandoned;
            }
        }
    }
    End::Abandoned
}

async fn select(session: &mut Session, query: &Query) -> Result<Vec<Row>, ReadError> {
    // A reader of its own, so that the statements of this one transaction do not crowd out the writer's.
    let mut reader = Reader::new(Arc::clone(&session.client));
    one(reader.run(std::slice::from_ref(query)).await)
}

/// Runs statements together, each of which must change as many rows as it states.
async fn write(session: &mut Session, writes: &[Write]) -> Result<(), CommitError> {
    let mut statements = Vec::with_capacity(writes.len());
    for (index, write) in writes.iter().enumerate() {
        let rejected = |reason| CommitError::Rejected {
            write: Some(index),
            reason,
        };
        let prepared = session.statement(&write.sql).await;
        let prepared = prepared.map_err(|fault| CommitError::Unavailable(fault.reason().into()))?;
        let statement = prepared.map_err(rejected)?;
        if let Some(reason) = misfit(&write.params, statement.params()) {
            return Err(rejected(reason));
        }
        statements.push(statement);
    }
    let client: &Client = &session.client;
    let mut pipeline = Pipeline::new();
    for (write, statement) in writes.iter().zip(&statements) {
        let params = write.params.iter().map(Bound);
        pipeline.send(async move { client.execute_raw(statement, params).await });
    }
    let answers = pipeline.answers_within(PATIENCE).await;
    let answers = answers.ok_or(CommitError::Unavailable(NO_ANSWER.into()))?;
    for (index, (write, answer)) in writes.iter().zip(answers).enumerate() {
        judge(index, write, answer)?;
    }
    Ok(())
}

fn judge(index: usize, write: &Write, answer: Result<u64, Error>) -> Result<(), CommitError> {
    let changed = answer.map_err(|error| match Fault::of(&error) {
        Fault::Data(reason) => CommitError::Rejected {
            write: Some(index),
            reason,
        },
        Fault::Busy => CommitError::Busy,
        fault => CommitError::Unavailable(fault.reason().into()),
    })?;
    match write.rows {
        Rows::Exactly(rows) if rows != changed => Err(CommitError::Conflict { write: Some(index) }),
        _ => Ok(()),
    }
}

/// Makes this the log, which nobody else may be writing.
async fn replace_log(session: &mut Session, filled: &Filled) -> Result<(), CommitError> {
    let client = &session.client;
    if filled.log != session.log.id() {
        let held = lock::take(client, Key::of_log(filled.log), None).await;
        held.map_err(|error| CommitError::Unavailable(error.to_string().into()))?;
    }
    let number = records::number;
    let commits = session.log.commits;
    let changed = client
        .execute(
            &own(REPLACE_LOG),
            &[
                &filled.log.0.as_slice(),
                &number(filled.epoch),
                &number(commits.saturating_add(1)),
                &filled.frontier.encode(),
                &filled.last_time.as_micros(),
                &number(filled.revocation.rseq),
                &filled.revocation.rhash.as_slice(),
                &number(commits),
            ],
        )
        .await;
    match changed {
        Ok(1) => Ok(()),
        Ok(_) => Err(CommitError::Unavailable(Fault::OtherWriter.reason().into())),
        Err(error) => Err(unavailable(&error)),
    }
}

fn unavailable(error: &Error) -> CommitError {
    CommitError::Unavailable(Fault::of(error).reason().into())
}

/// Commits it. `Err` says that it is not known what came of it.
pub(super) async fn commit(session: &Session) -> Result<(), String> {
    let committed = session.client.batch_execute("COMMIT");
    match tokio::time::timeout(PATIENCE, committed).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Fault::of(&error).reason()),
        Err(_) => Err(NO_ANSWER.to_owned()),
    }
}
