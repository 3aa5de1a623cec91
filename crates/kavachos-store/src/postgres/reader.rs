//! Reads: a few threads with a read-only connection each, behind a bounded queue.

use std::pin::pin;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::runtime::{self, Runtime};
use tokio_postgres::{Client, Error, RowStream, Statement};

use super::connect::Target;
use super::error::Fault;
use super::pipeline::Pipeline;
use super::statement::{Prepared, Purpose, Unprepared};
use super::value::{Bound, Read, misfit};
use crate::answer::ReadError;
use crate::row::{Query, Row};
use crate::writer::job::{ReadJob, Rows};
use crate::writer::queue::{Limit, Queue};

/// How long the server may take, beyond the bound that it has on a query, before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(60);

const ONE: Limit = Limit {
    items: 1,
    bytes: usize::MAX,
};

/// A connection that only reads.
pub(super) struct Reader {
    client: Arc<Client>,
    prepared: Prepared,
}

/// Starts so many readers. They end when the queue is closed and empty.
pub(super) fn start(
    count: usize,
    target: &Target,
    queue: &Arc<Queue<ReadJob>>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    (0..count)
        .map(|number| {
            let (target, queue) = (target.clone(), Arc::clone(queue));
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Builder::new()
                .name(format!("kavach-read-{number}"))
                .spawn(move || serve(&runtime, &target, &queue))
        })
        .collect()
}

fn serve(runtime: &Runtime, target: &Target, queue: &Queue<ReadJob>) {
    let mut reader: Option<Reader> = None;
    let mut jobs = Vec::with_capacity(1);
    while queue.drain(&mut jobs, ONE) {
        for job in jobs.drain(..) {
            let rows = runtime.block_on(answer(&mut reader, target, &job.queries));
            // A caller that no longer waits needs no answer.
            let _ = job.answer.send(rows);
        }
    }
}

/// A connection may have ended since it was last used; reading changes nothing, so it is tried once more.
async fn answer(slot: &mut Option<Reader>, target: &Target, queries: &[Query]) -> Rows {
    if let Some(reader) = slot {
        match reader.run(queries).await {
            Err(ReadError::Unavailable(_)) => *slot = None,
            rows => return rows,
        }
    }
    let connected = target.reader().await;
    let connected = connected.map_err(|error| ReadError::Unavailable(error.to_string().into()))?;
    let reader = slot.insert(Reader::new(Arc::new(connected.client)));
    let rows = reader.run(queries).await;
    if matches!(rows, Err(ReadError::Unavailable(_))) {
        *slot = None;
    }
    rows
}

/// Runs queries on one snapshot, over a connection of their own.
pub(super) async fn once(target: &Target, queries: &[Query]) -> Rows {
    answer(&mut None, target, queries).await
}

impl Reader {
    /// A reader on this connection, which may be in a transaction.
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            prepared: Prepared::new(Purpose::Read),
        }
    }

    /// The connection.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs queries on one snapshot.
    pub(super) async fn run(&mut self, queries: &[Query]) -> Rows {
        let mut statements = Vec::with_capacity(queries.len());
        for query in queries {
            statements.push(self.statement(query).await?);
        }
        let client = &self.client;
        let mut pipeline = Pipeline::new();
        let selects = || statements.iter().zip(queries);
        if queries.len() == 1 {
            // A statement alone is a snapshot of its own.
            selects().for_each(|(statement, query)| {
                pipeline.send(select(client, statement, query));
            });
            return all(pipeline).await;
        }
        pipeline.send(text(
            client,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ));
        selects().for_each(|(statement, query)| pipeline.send(select(client, statement, query)));
        pipeline.send(text(client, "COMMIT"));
        let rows: Result<Vec<Vec<Row>>, ReadError> = pipeline.answers().await.into_iter().collect();
        // What BEGIN and COMMIT answered is no query's.
        rows.map(|mut rows| {
            rows.pop();
            rows.drain(1..).collect()
        })
    }

    async fn statement(&mut self, query: &Query) -> Result<Statement, ReadError> {
        let statement = self.prepared.statement(&self.client, &query.sql).await;
        let statement = statement.map_err(|error| match error {
            Unprepared::Refused(reason) => ReadError::Rejected(reason),
            Unprepared::Failed(error) => judge(&error),
        })?;
        match misfit(&query.params, statement.params()) {
            Some(reason) => Err(ReadError::Rejected(reason)),
            None => Ok(statement),
        }
    }
}

async fn all(pipeline: Pipeline<'_, Result<Vec<Row>, ReadError>>) -> Rows {
    match pipeline.answers_within(PATIENCE).await {
        Some(answers) => answers.into_iter().collect(),
        None => Err(ReadError::Unavailable("the server does not answer".into())),
    }
}

async fn text(client: &Client, sql: &str) -> Result<Vec<Row>, ReadError> {
    let done = client.batch_execute(sql).await;
    done.map(|()| Vec::new()).map_err(|error| judge(&error))
}

async fn select(
    client: &Client,
    statement: &Statement,
    query: &Query,
) -> Result<Vec<Row>, ReadError> {
    let params = query.params.iter().map(Bound);
    let found = client.query_raw(statement, params).await;
    collect(found.map_err(|error| judge(&error))?, query).await
}

async fn collect(found: RowStream, query: &Query) -> Result<Vec<Row>, ReadError> {
    let mut found = pin!(found);
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await.map_err(|error| judge(&error))? {
        if rows.len() == query.max_rows {
            return Err(ReadError::TooManyRows(query.max_rows));
        }
        let mut cells = Vec::with_capacity(row.len());
        for column in 0..row.len() {
            let cell: Result<Read, Error> = row.try_get(column);
            let reason = || ReadError::Rejected("a value is neither number, text nor bytes".into());
            cells.push(cell.map_err(|_| reason())?.0);
        }
        rows.push(Row::new(cells));
    }
    Ok(rows)
}

fn judge(error: &Error) -> ReadError {
    // A write inside of a query.
    if error.code().is_some_and(|code| code.code() == "25006") {
        return ReadError::Rejected(super::error::reason(error));
    }
    match Fault::of(error) {
        Fault::Data(reason) => ReadError::Rejected(reason),
        Fault::Busy => ReadError::Busy,
        fault => ReadError::Unavailable(fault.reason().into()),
    }
}
