//! The writer's connection: the lock of the log, what is prepared, and what is known of the log.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use kavachos_core::ledger::LogId;
use kavachos_core::revocation::Handle;
use tokio_postgres::{Client, Error, Statement};

use super::connect::{Connected, Target};
use super::draft::{Draft, Handles, Stand, Stands};
use super::error::{Fault, OpenError, reason};
use super::lock::{self, Key};
use super::log::{self, Own};
use super::migrate;
use super::open::Options;
use super::statement::{Prepared, Purpose, Unprepared};
use crate::batch::Batch;
use crate::handle;
use crate::host::Host;
use crate::migration::{Pending, SchemaError};
use crate::writer::log::Log;
use crate::writer::schema::Schema;

/// The statements of a group by their text: prepared, or why not.
pub(super) type Statements<'a> = HashMap<&'a str, Result<Statement, String>, RandomState>;

/// A connection that holds the lock of the log.
pub(super) struct Session {
    pub(super) client: Arc<Client>,
    pub(super) own: Own,
    pub(super) log: Log,
    /// The server's number of this session.
    pub(super) pid: i64,
    prepared: Prepared,
}

impl Session {
    /// Opens the database for the first time: makes or migrates it, and takes the log.
    pub(super) async fn first(
        target: &Target,
        options: &Options,
        host: &Host,
    ) -> Result<Self, OpenError> {
        let connected = target.writer().await?;
        let client = &connected.client;
        let change = Key::of_schema(&connected.schema);
        lock::wait(client, change).await?;
        // An older server of this log must be gone before its tables change.
        let found = migrate::schema(client, &connected.schema).await?;
        let mut log = None;
        let steps = found.pending(&options.migrations)?;
        if has_log(client).await? {
            log = log::load(client).await?;
        }
        if let Some(log) = &log {
            lock::take(client, Key::of_log(log.id()), None).await?;
        }
        if options.pending == Pending::Refuse && !steps.is_empty() {
            return Err(SchemaError::Pending { count: steps.len() }.into());
        }
        migrate::apply(client, &found, &steps, host.clock.now()).await?;
        if log.is_none() {
            log::create(client, &*host.rng).await?;
            let id = load(client).await?.id();
            lock::take(client, Key::of_log(id), None).await?;
        }
        lock::release(client, change).await?;
        client.batch_execute("SET lock_timeout = '10ms'").await?;
        Self::holding(connected).await
    }

    /// Opens it again after the connection was lost; `own` is the session of before.
    pub(super) async fn again(target: &Target, own: Option<i64>) -> Result<Self, OpenError> {
        let connected = target.writer().await?;
        let client = &connected.client;
        let log = load(client).await?;
        lock::take(client, Key::of_log(log.id()), own).await?;
        Self::holding(connected).await
    }

    /// The head is read after the lock was taken, so that nobody moves it any more.
    async fn holding(connected: Connected) -> Result<Self, OpenError> {
        let Connected { client, pid, .. } = connected;
        Ok(Self {
            own: Own::prepare(&client).await?,
            log: load(&client).await?,
            prepared: Prepared::new(Purpose::Change),
            client: Arc::new(client),
            pid,
        })
    }

    /// Ends an open transaction without a trace and reads the log again.
    pub(super) async fn rolled_back(mut self) -> Result<Self, OpenError> {
        // Outside of a transaction this is a warning.
        self.client.batch_execute("ROLLBACK").await?;
        self.log = load(&self.client).await?;
        Ok(self)
    }

    /// Lets the log go. The server does the same when the connection ends, but some time later.
    pub(super) async fn release(self) -> Result<(), Error> {
        lock::release(&self.client, Key::of_log(self.log.id())).await
    }

    /// Lets another log go, which this session wrote before.
    pub(super) async fn let_go(&self, other: LogId) {
        if other != self.log.id()
            && let Err(error) = lock::release(&self.client, Key::of_log(other)).await
        {
            tracing::warn!(%error, "the lock of the old log stays until this process ends");
        }
    }

    /// Prepares what the batches want to run. A wrong statement fails its own batch later.
    pub(super) async fn statements<'a>(
        &mut self,
        batches: &[&'a Batch],
    ) -> Result<Statements<'a>, Fault> {
        let mut statements = Statements::default();
        let writes = batches.iter().flat_map(|batch| &batch.writes);
        for sql in writes.map(|write| write.sql.as_ref()) {
            if !statements.contains_key(sql) {
                let statement = self.statement(sql).await?;
                statements.insert(sql, statement);
            }
        }
        Ok(statements)
    }

    /// One statement, prepared now if need be, or why it cannot be.
    pub(super) async fn statement(
        &mut self,
        sql: &str,
    ) -> Result<Result<Statement, String>, Fault> {
        match self.prepared.statement(&self.client, sql).await {
            Ok(statement) if statement.columns().is_empty() => Ok(Ok(statement)),
            Ok(_) => Ok(Err("the statement returns rows".to_owned())),
            Err(Unprepared::Refused(reason)) => Ok(Err(reason)),
            Err(Unprepared::Failed(error)) => match Fault::of(&error) {
                Fault::Data(_) => Ok(Err(reason(&error))),
                fault => Err(fault),
            },
        }
    }

    /// Looks up all that the batches may ask for.
    pub(super) async fn draft(&mut self, batches: &[&Batch]) -> Result<Draft, Fault> {
        let handles = self.handles(batches).await?;
        let counters = self.counters(batches).await?;
        Ok(Draft::new(&self.log, handles, counters))
    }

    async fn handles(&mut self, batches: &[&Batch]) -> Result<Handles, Fault> {
        let mut handles = Handles::default();
        let mut missing: Vec<Handle> = Vec::new();
        let marks = batches
            .iter()
            .flat_map(|batch| batch.reads.iter().chain(&batch.kills));
        for mark in marks {
            if handles.contains_key(&mark.handle) {
                continue;
            }
            let known = self.log.handles.touch(&mark.handle).copied();
            if known.is_none() {
                missing.push(mark.handle);
            }
            handles.insert(mark.handle, known);
        }
        if missing.is_empty() {
            return Ok(handles);
        }
        let keys: Vec<Vec<u8>> = missing
            .into_iter()
            .map(|handle| handle::encode(handle).to_vec())
            .collect();
        let rows = self.client.query(&self.own.find_handles, &[&keys]).await;
        for row in rows.map_err(|error| Fault::of_own(&error))? {
            let read =
                || -> Result<(Vec<u8>, i64), Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
            let (key, generation) = read().map_err(|error| Fault::of_own(&error))?;
            if let (Some(handle), Ok(generation)) =
                (handle::decode(&key), u64::try_from(generation))
            {
                handles.insert(handle, Some(generation));
                self.log.handles.put(handle, generation);
            }
        }
        Ok(handles)
    }

    async fn counters(&mut self, batches: &[&Batch]) -> Result<Stands, Fault> {
        let mut counters = Stands::default();
        let mut missing: Vec<&[u8]> = Vec::new();
        let stand = |state| Stand {
            state,
            taken_at: None,
        };
        for take in batches.iter().flat_map(|batch| &batch.takes) {
            if counters.contains_key(&take.counter) {
                continue;
            }
            let known = self.log.counters.touch(&take.counter).cloned();
            if known.is_none() {
                missing.push(&take.counter);
            }
            counters.insert(take.counter.clone(), stand(known));
        }
        if missing.is_empty() {
            return Ok(counters);
        }
        let rows = self
            .client
            .query(&self.own.find_counters, &[&missing])
            .await;
        for row in rows.map_err(|error| Fault::of_own(&error))? {
            let read =
                || -> Result<(Vec<u8>, Vec<u8>), Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
            let (key, state) = read().map_err(|error| Fault::of_own(&error))?;
            counters.insert(key.into(), stand(Some(state)));
        }
        Ok(counters)
    }
}

async fn has_log(client: &Client) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT to_regclass(quote_ident(current_schema()) || '.log') IS NOT NULL",
            &[],
        )
        .await?;
    row.try_get(0)
}

async fn load(client: &Client) -> Result<Log, OpenError> {
    let log = log::load(client).await?;
    log.ok_or_else(|| OpenError::Damaged("the row of the log is missing".to_owned()))
}

/// Whether the log can be used at all is found out without changing anything.
pub(super) async fn planned(target: &Target) -> Result<Schema, OpenError> {
    let connected = target.reader().await?;
    migrate::schema(&connected.client, &connected.schema).await
}
